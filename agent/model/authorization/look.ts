// One look at a call: its facts, and what conditions work out of them, at most once. Used again for the next one, so that a
// decision allocates nothing.

import { canonicalIp, familyOf, type IpFamily, ipWords } from '../address.ts'
import { pathOf } from '../http/match.ts'
import type { Arriving, Facts, Source } from './facts.ts'
import { type HostForms, hostForms } from './host.ts'
import { readings } from './path.ts'

const NOBODY: Source = { principals: [], trustDomains: [], namespace: null, serviceAccount: null, ip: '' }
const NOTHING: Facts = { source: NOBODY, destination: { ip: '', port: 0 }, serverName: null, request: null }

export interface Ip {
  readonly family: IpFamily
  readonly words: readonly number[]
}

export class Look {
  #facts = NOTHING
  #isPathSeen = false
  #path = ''
  #others: readonly string[] = []
  #folded: string | null = null
  #foldedOthers: readonly string[] = []
  /** Of the last authority that was asked for: many requests name the same. */
  #hosts = hostForms('', '')
  #authority = ''
  #scheme = ''

  /** Of the last field that was. */
  #linesText = ''
  #lines: readonly string[] = ['']

  #ipText = ''
  #ip: Ip | null = null

  /** From now on it is a look at these. */
  at(facts: Facts): void {
    this.#facts = facts
    this.#isPathSeen = false
    this.#folded = null
  }

  /** Holds on to nothing that it looked at. */
  away(): void {
    this.at(NOTHING)
  }

  get facts(): Facts {
    return this.#facts
  }

  get source(): Source {
    return this.#facts.source
  }

  /** Null of a connection whose bytes are not read. */
  get request(): Arriving | null {
    return this.#facts.request
  }

  /** The path as it arrives, without its query; '' where there is no request. */
  get path(): string {
    if (!this.#isPathSeen) this.#seePath()
    return this.#path
  }

  /** What else servers may take it for. */
  get others(): readonly string[] {
    if (!this.#isPathSeen) this.#seePath()
    return this.#others
  }

  /** The path in lower case. */
  get folded(): string {
    return (this.#folded ??= this.path.toLowerCase())
  }

  get foldedOthers(): readonly string[] {
    if (!this.#isPathSeen) this.#seePath()
    return this.#foldedOthers
  }

  /** An IP as its family and words; null for what is none. */
  ip(text: string): Ip | null {
    if (text !== this.#ipText) {
      this.#ipText = text
      const canonical = canonicalIp(text) // an IPv4-mapped one is IPv4
      this.#ip = canonical === null ? null : { family: familyOf(canonical), words: ipWords(canonical) ?? [] }
    }
    return this.#ip
  }

  /** The lines that a field's text is of, with commas between: many rules may look at one field, and it may have many. */
  lines(text: string): readonly string[] {
    if (text !== this.#linesText) {
      this.#linesText = text
      this.#lines = [...new Set(text.split(',').map((line) => line.trim()))]
    }
    return this.#lines
  }

  get hosts(): HostForms {
    const { authority = '', scheme = '' } = this.#facts.request ?? {}
    if (authority !== this.#authority || scheme !== this.#scheme) {
      this.#authority = authority
      this.#scheme = scheme
      this.#hosts = hostForms(authority, scheme)
    }
    return this.#hosts
  }

  #seePath(): void {
    this.#isPathSeen = true
    const path = pathOf(this.#facts.request?.target ?? '')
    if (path === this.#path) return // one request is looked at several times
    this.#path = path
    this.#others = readings(this.#path)
    this.#foldedOthers = this.#others.length === 0 ? this.#others : this.#others.map((one) => one.toLowerCase())
  }
}
