// The certificates of the node's pods, as this worker has them from the control side.

import { identityOf } from '../../model/identity.ts'
import type { MeshSettings } from '../../model/mesh-settings.ts'
import type { Workload } from '../../model/workload.ts'
import { certificatesIn, Credentials } from '../transport/tls.ts'

/** What the control side tells of one identity: all that its pods show and believe. */
export interface IdentityCredentials {
  readonly uri: string
  readonly certificatePem: string
  readonly privateKeyPem: string
  readonly rootsPem: string
  /** Made anew with each certificate and each set of roots: sessions of before are not resumed. */
  readonly ticketSecret: Uint8Array
}

/** How long what was secured is good for. */
export interface Term {
  /** Whether nothing new is to be begun on it any more, at a time of the transport's coarse clock. */
  isOver(nowMs: number): boolean
}

/** Of what no certificate stands behind. */
export const ENDLESS: Term = { isOver: () => false }

/** Credentials by identity. */
export class Identities {
  readonly #credentials = new Map<string, Credentials>()
  readonly #wallMs: () => number
  readonly #coarseMs: () => number
  /** The roots in force, how often one of them was taken away, and when that was last, by the coarse clock. */
  #roots: ReadonlySet<string> = new Set()
  #losses = 0
  readonly #lossesAt = new WeakMap<Credentials, number>()
  #lostMs = -Infinity
  /** The mesh's trust domains, how often one of them went, and when that was last. */
  #domains: ReadonlySet<string> = new Set()
  #departures = 0
  #departedMs = -Infinity

  /** `wallMs`: milliseconds since 1970; `coarseMs`: the transport's coarse clock. */
  constructor(wallMs: () => number, coarseMs: () => number) {
    this.#wallMs = wallMs
    this.#coarseMs = coarseMs
  }

  /** What a pod of this identity shows; null where there is none that is valid still. */
  of(uri: string | null): Credentials | null {
    const credentials = uri === null ? undefined : this.#credentials.get(uri)
    return credentials === undefined || credentials.notAfter <= this.#wallMs() ? null : credentials
  }

  /** What a pod shows: by an alias of the trust domain, while that changes and its new certificate is not there. */
  ofPod(pod: Workload, mesh: MeshSettings): Credentials | null {
    for (const trustDomain of [mesh.trustDomain, ...mesh.trustDomainAliases]) {
      const credentials = this.of(identityOf(pod, { trustDomain }))
      if (credentials !== null) return credentials
    }
    return null
  }

  /** From now on an identity has these. Throws where they cannot be used, and keeps those before. */
  set({ uri, ...given }: IdentityCredentials): void {
    const credentials = new Credentials(given)
    const roots = certificatesIn(given.rootsPem)
    if ([...this.#roots].some((root) => !roots.has(root))) {
      this.#losses++
      this.#lostMs = this.#coarseMs()
    }
    this.#credentials.set(uri, credentials)
    this.#lossesAt.set(credentials, this.#losses)
    this.#roots = roots
  }

  /** The mesh's settings from now on: who is of a trust domain that is none of its own any more proves nothing. */
  know({ trustDomain, trustDomainAliases }: MeshSettings): void {
    const domains = new Set([trustDomain, ...trustDomainAliases])
    if ([...this.#domains].some((domain) => !domains.has(domain))) {
      this.#departures++
      this.#departedMs = this.#coarseMs()
    }
    this.#domains = domains
  }

  /** No pod of this identity is left. */
  forget(uri: string): void {
    this.#credentials.delete(uri)
  }

  /**
   * How long a connection is good for that was secured just now: neither certificate's end is outlived, nor a root or a
   * trust domain that is taken away.
   */
  term(own: Credentials, peerNotAfter: number): Term {
    const untilMs = this.#coarseMs() + Math.min(own.notAfter, peerNotAfter) - this.#wallMs()
    const losses = this.#lossesAt.get(own) // a handshake may have begun before a root was taken away
    const departures = this.#departures
    const isLost = (nowMs: number): boolean => this.#losses !== losses && nowMs >= this.#lostMs
    const isDeparted = (nowMs: number): boolean => this.#departures !== departures && nowMs >= this.#departedMs
    return { isOver: (nowMs) => nowMs >= untilMs || isLost(nowMs) || isDeparted(nowMs) }
  }
}
