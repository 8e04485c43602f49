// The identities of this node's pods: which are wanted, what is held for each, and what the data side is told of it.
//
//   pods and trust domain ─▶ wanted ─▶ Keeper: asked for, renewed, held ─┐
//   ConfigMap weft-roots ──────────────────────────────────────────────▶ told to the data side

import { randomBytes } from 'node:crypto'
import type { Held } from '../identity/held.ts'
import { Keeper, type KeepOptions, type Standing } from '../identity/keep.ts'
import { identityOf } from '../model/identity.ts'
import type { MeshSettings } from '../model/mesh-settings.ts'
import { readSpiffeUri } from '../model/spiffe.ts'
import type { Workload } from '../model/workload.ts'
import type { DataSide } from './workers.ts'

export interface LocalIdentitiesOptions extends Omit<KeepOptions, 'held'> {
  readonly data: Pick<DataSide, 'identify' | 'forget'>
  /** How long an identity is kept that no pod has any more: connections to a pod that leaves are still secured by it. */
  readonly lingerMs: number
  /** Hears that something is held that was not. */
  readonly changed: () => void
}

const SECRET_BYTES = 32
/** How often it is looked whether all are settled. */
const SETTLE_POLL_MS = 50
/** How long certificates are waited for at the start. */
const SETTLE_MOST_MS = 15_000

export class LocalIdentities {
  readonly #options: LocalIdentitiesOptions
  readonly #keeper: Keeper
  #mesh: MeshSettings | null = null
  #roots: string | null = null
  /** Since when no pod has it, by identity; null: one has. */
  readonly #wanted = new Map<string, number | null>()
  /** Of which the data side has been told. */
  readonly #told = new Set<string>()
  /** When pods were first told of, milliseconds since 1970. */
  #begunMs: number | null = null
  #callOff: () => void = () => {}

  constructor(options: LocalIdentitiesOptions) {
    this.#options = options
    this.#keeper = new Keeper({ ...options, held: (held) => this.#hold(held) })
  }

  /** The node's pods as they are now, and the mesh's settings. */
  want(pods: readonly Workload[], mesh: MeshSettings): void {
    this.#mesh = mesh
    const nowMs = this.#options.clock.nowMs()
    this.#begunMs ??= nowMs
    const now = new Set(pods.filter(isMember).flatMap((pod) => identityOf(pod, mesh) ?? []))
    for (const [uri, sinceMs] of this.#wanted) if (!now.has(uri) && sinceMs === null) this.#wanted.set(uri, nowMs)
    for (const uri of now) this.#wanted.set(uri, null)
    this.#sweep()
  }

  /** Lets go of identities that no pod has had for a while, and of what others have left in the folder. */
  #sweep(): void {
    const { clock, lingerMs, data } = this.#options
    for (const [uri, sinceMs] of this.#wanted) {
      if (sinceMs !== null && clock.nowMs() - sinceMs > lingerMs && !this.#standsIn(uri)) this.#wanted.delete(uri)
    }
    this.#keeper.want(new Set(this.#wanted.keys()))
    for (const uri of this.#told) {
      if (this.#wanted.has(uri)) continue
      this.#told.delete(uri)
      data.forget(uri)
    }
    this.#callOff()
    const isLingering = [...this.#wanted.values()].some((sinceMs) => sinceMs !== null)
    this.#callOff = isLingering ? clock.after(lingerMs, () => this.#sweep()) : () => {}
  }

  /** Whether it stands for an account whose identity in another trust domain is wanted, and not held yet. */
  #standsIn(uri: string): boolean {
    const id = readSpiffeUri(uri)
    return [...this.#wanted].some(([other, sinceMs]) => {
      if (sinceMs !== null || this.#keeper.get(other) !== null) return false
      const wanted = readSpiffeUri(other)
      return wanted?.namespace === id?.namespace && wanted?.serviceAccount === id?.serviceAccount
    })
  }

  /** The roots to believe from now on; a text that holds none is told, and those before stay. */
  believe(rootsPem: string): void {
    if (rootsPem === this.#roots) return
    try {
      this.#keeper.roots(rootsPem)
    } catch (error) {
      this.#options.log.warn({ reason: `ConfigMap weft-roots: ${(error as Error).message}` }, 'roots not taken')
      return
    }
    this.#roots = rootsPem
    for (const { uri } of this.#keeper.standings()) this.#tell(uri)
    this.#options.changed()
  }

  /** Why a pod cannot be secured now, or null. */
  lackOf(pod: Workload): string | null {
    if (this.#mesh === null || this.#roots === null)
      return 'the roots of the mesh are not known yet (ConfigMap weft-roots)'
    const uris = this.#urisOf(pod)
    if (uris.length === 0) return 'its service account is not known'
    if (uris.some((uri) => this.#keeper.get(uri) !== null)) return null
    const failure = this.#keeper.standings().find(({ uri }) => uri === uris[0])?.failure ?? null
    return failure === null ? 'its certificate is asked for' : `it has no certificate: ${failure}`
  }

  /** Whom it may show itself as: the mesh's own first, then by aliases, while the trust domain changes. */
  #urisOf(pod: Workload): string[] {
    const { trustDomain, trustDomainAliases } = this.#mesh ?? { trustDomain: '', trustDomainAliases: [] }
    return [trustDomain, ...trustDomainAliases].flatMap((domain) => identityOf(pod, { trustDomain: domain }) ?? [])
  }

  /** How it stands with the certificate of a pod; null: none is wanted. */
  standingOf(pod: Workload): Standing | null {
    const uri = this.#mesh === null ? null : identityOf(pod, this.#mesh)
    return this.#keeper.standings().find((standing) => standing.uri === uri) ?? null
  }

  standings(): readonly Standing[] {
    return this.#keeper.standings()
  }

  /**
   * What is waited for before the node can secure what its pods do, or null. Not for one that the signer denies, and not for
   * ever: what is held by then serves, and a pod without a certificate waits by itself.
   */
  unsettled(): string | null {
    if (this.#roots === null) return 'waiting for the roots of the mesh (ConfigMap weft-roots)'
    if (this.#begunMs === null) return 'waiting for the first list of the cluster'
    if (this.#options.clock.nowMs() - this.#begunMs > SETTLE_MOST_MS) return null
    const standings = this.#keeper.standings()
    const open = standings.filter(({ notAfterMs, failure }) => notAfterMs === null && failure === null)
    return open.length === 0 ? null : `waiting for ${open.length} of ${standings.length} certificates`
  }

  /** Resolves once nothing is waited for any more; or with false where `isOver` says so first. */
  async settle(isOver: () => boolean): Promise<boolean> {
    while (!isOver()) {
      if (this.unsettled() === null) return true
      await new Promise((resolve) => setTimeout(resolve, SETTLE_POLL_MS))
    }
    return false
  }

  /** Asks for nothing any more. */
  stop(): void {
    this.#callOff()
    this.#keeper.stop()
  }

  #hold({ uri }: Held): void {
    this.#tell(uri)
    this.#options.changed()
  }

  /**
   * Tells the data side what stands for an identity, or that nothing does. With a new secret each time: no session goes on
   * that began by another certificate or other roots.
   */
  #tell(uri: string): void {
    const held = this.#roots === null ? null : this.#keeper.get(uri)
    if (held === null || this.#roots === null) {
      if (this.#told.delete(uri)) this.#options.data.forget(uri)
      return
    }
    this.#told.add(uri)
    const { certificatePem, privateKeyPem } = held
    const ticketSecret = randomBytes(SECRET_BYTES)
    this.#options.data.identify({ uri, certificatePem, privateKeyPem, rootsPem: this.#roots, ticketSecret })
  }
}

/** Who takes part in the mesh's TLS, or did a moment ago. */
function isMember({ joined, unfit, captured }: Workload): boolean {
  return unfit === null && (joined || captured !== null)
}
