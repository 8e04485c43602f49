// TLS that rules ask for, on the control side: which certificates and roots it needs, what was found of them, and what the
// data side is told of it.
//
//   DestinationRules ─▶ materials wanted ─▶ files and Secrets ─▶ told to the data side; what is amiss, as problems

import { materialOf, type OwnTls, ownTlsIn } from '../model/client-tls.ts'
import type { Changes } from '../model/delta.ts'
import { KEYS } from '../model/delta.ts'
import type { Problem } from '../model/policy.ts'
import type { ClientTls, DestinationRule } from '../model/traffic-policy.ts'
import type { ClientTlsMaterial, Trust } from '../proxy/plane/materials.ts'
import { Credentials } from '../proxy/transport/tls.ts'
import { type FollowSecret, type Found, type SecretName, TlsFiles, TlsSecrets } from './tls-sources.ts'
import type { DataSide } from './workers.ts'

export interface ClientTlsOptions {
  readonly data: Pick<DataSide, 'equip' | 'unequip'>
  /** Files are taken from this folder alone. */
  readonly folder: string
  readonly follow: FollowSecret
  /** Hears that there is something else to say. */
  readonly changed: () => void
  readonly nowMs: () => number
}

/** Materials at once; what rules want beyond is refused them. */
const MATERIALS_MOST = 256
/** How long one is kept that no rule wants any more: workers may still decide by the snapshot before. */
const LINGER_MS = 30_000
/** How often files are looked at. */
const LOOK_MS = 3000

/** What is amiss with a material, and by which field of the rule. */
interface Fault {
  readonly field: keyof ClientTls
  readonly reason: string
  readonly isPending: boolean
}

interface Wanted {
  readonly tls: OwnTls
  /** Every place that wants it. */
  users: readonly OwnTls[]
  /** Since when nobody wants it; null: somebody does. */
  unwantedMs: number | null
  /** What was told last, as text: another text is told again. */
  told: string | null
  /** Whether that may be used. */
  isSound: boolean
  fault: Fault | null
}

/** Parts of a material that were found. */
interface Parts {
  readonly certificatePem: string | null
  readonly privateKeyPem: string | null
  readonly trust: Trust
}

export class ClientTlsMaterials {
  readonly #options: ClientTlsOptions
  readonly #files: TlsFiles
  readonly #secrets: TlsSecrets
  readonly #rules = new Map<string, readonly OwnTls[]>()
  readonly #wanted = new Map<string, Wanted>()
  /** Places that want one more than there may be. */
  #surplus: readonly OwnTls[] = []
  #problems: readonly Problem[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(options: ClientTlsOptions) {
    this.#options = options
    this.#files = new TlsFiles(options.folder)
    this.#secrets = new TlsSecrets(options.follow, () => this.look())
  }

  /** What cannot be had, and who wants it. The same array as long as there is nothing else to say. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  /** Looks from now on whether files are others. */
  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_MS)
  }

  /** Follows nothing any more. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#secrets.keepOnly([])
  }

  /** Takes what changed of the rules; with `isWhole` they are all there are. */
  take({ set, gone }: Changes<DestinationRule>, isWhole: boolean): void {
    if (!isWhole && set.length === 0 && gone.length === 0) return
    if (isWhole) this.#rules.clear()
    for (const key of gone) this.#rules.delete(key)
    for (const rule of set) {
      const own = ownTlsIn(rule)
      if (own.length > 0) this.#rules.set(KEYS.destinationRules(rule), own)
      else this.#rules.delete(KEYS.destinationRules(rule))
    }
    this.#want()
    this.look()
  }

  /** Looks at all that is wanted, and tells what is another. */
  look(): void {
    const nowMs = this.#options.nowMs()
    const counted = this.#wanted.size
    for (const [name, { unwantedMs }] of this.#wanted) {
      if (unwantedMs === null || nowMs - unwantedMs <= LINGER_MS) continue
      this.#wanted.delete(name)
      this.#options.data.unequip(name)
    }
    if (this.#wanted.size < counted) this.#want() // there may be room now for who was refused it
    this.#follow()
    for (const [name, wanted] of this.#wanted) this.#settle(name, wanted)
    this.#say()
  }

  #want(): void {
    const nowMs = this.#options.nowMs()
    const users = new Map<string, OwnTls[]>()
    for (const tls of [...this.#rules.values()].flat()) {
      const name = materialOf(tls)
      const known = users.get(name)
      if (known === undefined) users.set(name, [tls])
      else known.push(tls)
    }
    for (const [name, wanted] of this.#wanted) {
      wanted.users = users.get(name) ?? []
      wanted.unwantedMs = wanted.users.length > 0 ? null : (wanted.unwantedMs ?? nowMs)
      users.delete(name)
    }
    const surplus: OwnTls[] = []
    for (const [name, list] of users) {
      const [tls] = list
      if (tls === undefined || this.#wanted.size >= MATERIALS_MOST) surplus.push(...list)
      else {
        const fresh = { unwantedMs: null, told: null, isSound: false, fault: null }
        this.#wanted.set(name, { tls, users: list, ...fresh })
      }
    }
    this.#surplus = surplus
  }

  /** Sources that nobody wants are let go. */
  #follow(): void {
    const secrets: SecretName[] = []
    const files: [path: string, within: string][] = []
    for (const { tls } of this.#wanted.values()) {
      if (tls.credentialName !== '') secrets.push(secretOf(tls))
      for (const field of FILE_FIELDS) if (tls[field] !== '') files.push([tls[field], withinOf(tls, field)])
    }
    this.#secrets.keepOnly(secrets)
    this.#files.keepOnly(files)
  }

  #settle(name: string, wanted: Wanted): void {
    const parts = this.#gather(wanted.tls)
    if ('reason' in parts) {
      wanted.fault = parts
      wanted.isSound = false
      this.#tell(wanted, { name, failure: failureText(wanted.tls, parts) })
      return
    }
    const text = JSON.stringify({ name, ...parts })
    if (wanted.told === text) {
      wanted.fault = null
      return
    }
    const fault = faultIn(wanted.tls, parts)
    wanted.fault = fault
    if (fault === null) {
      wanted.isSound = true
      this.#tell(wanted, { name, ...parts })
    } else if (!wanted.isSound) {
      this.#tell(wanted, { name, failure: failureText(wanted.tls, fault) })
    } // else the last sound one stays
  }

  #tell(wanted: Wanted, material: ClientTlsMaterial): void {
    const text = JSON.stringify(material)
    if (wanted.told === text) return
    wanted.told = text
    this.#options.data.equip(material)
  }

  /** All parts, or the first that is not there. */
  #gather(tls: OwnTls): Parts | Fault {
    const from = (field: keyof ClientTls, found: Found): string | Fault =>
      'text' in found ? found.text : { field, reason: found.why, isPending: found.isPending ?? false }
    const isByName = tls.credentialName !== ''
    const part = (of: 'certificate' | 'key' | 'roots', field: FileField) =>
      isByName
        ? from('credentialName', this.#secrets.find(secretOf(tls), of))
        : from(field, this.#files.find(tls[field], withinOf(tls, field)))
    const isMutual = tls.mode === 'MUTUAL'
    const certificatePem = isMutual ? part('certificate', 'clientCertificate') : null
    if (certificatePem !== null && typeof certificatePem !== 'string') return certificatePem
    const privateKeyPem = isMutual ? part('key', 'privateKey') : null
    if (privateKeyPem !== null && typeof privateKeyPem !== 'string') return privateKeyPem
    const own = { certificatePem, privateKeyPem }
    if (tls.insecureSkipVerify) return { ...own, trust: { kind: 'anyone' } }
    if (!isByName && tls.caCertificates === '') return { ...own, trust: { kind: 'public' } }
    const rootsPem = part('roots', 'caCertificates')
    return typeof rootsPem === 'string' ? { ...own, trust: { kind: 'given', rootsPem } } : rootsPem
  }

  #say(): void {
    const amiss = [...this.#wanted.values()].flatMap(({ users, fault }) => {
      if (fault === null || fault.isPending) return []
      return users.map((user) => problemOf(user, fault))
    })
    const many = {
      field: 'mode',
      reason: `there are more than ${MATERIALS_MOST} such settings`,
      isPending: false,
    } as const
    const problems = [...amiss, ...this.#surplus.map((user) => problemOf(user, many))]
    if (JSON.stringify(problems) === JSON.stringify(this.#problems)) return
    this.#problems = problems
    this.#options.changed()
  }
}

/** What connections that it keeps from being made are told. */
function failureText(tls: OwnTls, { field, reason }: Fault): string {
  return `${field} ${JSON.stringify(tls[field])}: ${reason}`
}

function problemOf({ by: { object, field } }: OwnTls, fault: Fault): Problem {
  return { object, field: `${field}.${fault.field}`, reason: fault.reason }
}

function secretOf({ by, credentialName }: OwnTls): SecretName {
  return { namespace: by.object.namespace, name: credentialName }
}

/** What is wrong with texts that were found: workers would refuse them. */
function faultIn(tls: OwnTls, { certificatePem, privateKeyPem, trust }: Parts): Fault | null {
  const amiss = (field: keyof ClientTls, certificate: string | null, rootsPem: string | null): Fault | null => {
    try {
      new Credentials({ certificatePem: certificate, privateKeyPem, rootsPem })
      return null
    } catch (error) {
      const named = tls.credentialName === '' ? field : 'credentialName'
      return { field: named, reason: `cannot be used: ${(error as Error).message}`, isPending: false }
    }
  }
  const roots = trust.kind === 'given' ? trust.rootsPem : null
  return amiss('clientCertificate', certificatePem, null) ?? amiss('caCertificates', null, roots)
}

const FILE_FIELDS = ['clientCertificate', 'privateKey', 'caCertificates'] as const
type FileField = (typeof FILE_FIELDS)[number]

/** Where in the folder a file may be: what a namespace shows is its own, roots are everybody's. */
function withinOf({ by }: OwnTls, field: FileField): string {
  return field === 'caCertificates' ? '' : by.object.namespace
}
