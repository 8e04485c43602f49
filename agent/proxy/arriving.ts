// A request as it arrives at its callee: as it came, and with all that rules, tokens and authorizers have changed in it.

import type { Token } from '../model/authentication/request-authentication.ts'
import type { Arriving } from '../model/authorization/facts.ts'
import { changedField, remoteIpOf } from '../model/http/arrival.ts'
import type { HeaderChanges } from '../model/policy.ts'
import type { Errand } from './exchange.ts'
import type { Rewritten } from './http1/upstream.ts'

/** What a request leaves with. */
export type Leaving = Pick<Errand, 'method' | 'target' | 'authority' | 'requestId'> & {
  readonly head: Pick<Errand['head'], 'passed' | 'names' | 'upgrade'>
}

/** Where it arrives, and by whose word. */
export interface Arrives {
  /** At which the application listens. */
  readonly port: number
  /** IP address of the connection's other end. */
  readonly client: string
  /** What the application is told of who calls (x-forwarded-client-cert), or null. */
  readonly clientCert: string | null
  /** Proxies whose word on where a request comes from is taken. */
  readonly trustedProxies: number
}

export class ArrivingRequest implements Arriving {
  readonly method: string
  readonly scheme = 'http'
  readonly port: number
  readonly authority: string
  tokens: readonly Token[] = []
  changes: readonly HeaderChanges[]
  readonly #requestId: string
  #target: string
  /** Other than its rule has it. */
  isRetargeted = false
  readonly #at: Arrives
  /** As they came; of a request whose head is gone by now, a copy. */
  #came: Pick<Leaving['head'], 'passed'>
  readonly #leaving: Leaving

  constructor(leaving: Leaving, rewritten: Rewritten, at: Arrives) {
    const { method, head, requestId } = leaving
    const isTunnel = method === 'CONNECT' // its target is no path that a rule could rewrite, and its Host says the same
    this.method = method
    this.#target = (isTunnel ? null : rewritten.target) ?? leaving.target
    this.authority = (isTunnel ? null : rewritten.authority) ?? leaving.authority
    this.port = at.port
    this.changes = rewritten.changes.request
    this.#requestId = requestId
    this.#at = at
    this.#came = head
    this.#leaving = leaving
  }

  get target(): string {
    return this.#target
  }

  /** Its target is another: parameters that were tokens go no further. */
  retarget(target: string | null): void {
    if (target === null) return
    this.#target = target
    this.isRetargeted = true
  }

  header(name: string): string | undefined {
    switch (name) {
      case 'host':
        return this.authority
      case 'x-forwarded-client-cert':
        return this.#at.clientCert ?? undefined
      default:
        return changedField(name, this.#came.passed(name) ?? this.#added(name), this.changes)
    }
  }

  /** Names of all its fields, in lower case. */
  names(): readonly string[] {
    const changed = this.changes.flatMap(({ set, add }) => [...set, ...add].map(([name]) => name))
    return [...new Set([...this.#leaving.head.names(), ...changed])]
  }

  get remoteIp(): string {
    const { client, trustedProxies } = this.#at
    return trustedProxies === 0 ? client : remoteIpOf(this.header('x-forwarded-for'), client, trustedProxies)
  }

  /** One more change, on top of those before. */
  change(changes: HeaderChanges | null): void {
    if (changes !== null) this.changes = [...this.changes, changes]
  }

  /** Its head may go: what it said is kept. */
  keep(): void {
    const { head } = this.#leaving
    const names = [...head.names(), 'connection'] // which is written anew
    const fields = new Map(names.map((name) => [name, head.passed(name)]))
    this.#came = { passed: (name) => fields.get(name) }
  }

  /** What the mesh adds where it is missing (see Http1Upstream). */
  #added(name: string): string | undefined {
    if (name === 'x-request-id') return this.#requestId
    return name === 'x-forwarded-proto' ? this.scheme : undefined
  }
}
