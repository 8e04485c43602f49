// By which authority is signed: follows the Secret that holds it, makes one where there is none, and sees to it that no
// certificate is issued under a root that peers have not heard of. Runs while this replica leads.
//
//   Secret ──read──▶ wanted ──its root is told of──▶ settles ──all have heard──▶ in force, its root told of first
//     └─ unusable: said, and the last good one stays in force

import { setTimeout as sleep } from 'node:timers/promises'
import type { Authority } from '../identity/authority.ts'
import { pemOf, readRoots, type Root, succeed } from '../identity/roots.ts'
import { type KubeClient, KubeError } from '../kube/client.ts'
import { builtIn } from '../kube/kinds.ts'
import { Reflector, type ReflectorLog } from '../kube/reflector.ts'
import type { Permission } from '../kube/status.ts'
import { configMapsPath, ROOTS, ROOTS_KEY, type RootsMap, rootsSource, SETTLING } from './published-roots.ts'
import { authorityIn, newRootSecret, ROOT, type Secret, secretsPath } from './root-secret.ts'

/** How often it looks where nothing tells it to: certificates end, and begin, by themselves. */
const LOOK_MS = 60_000
/** How long the API may take to answer. */
const ASK_MS = 10_000
/** First and longest wait after a failure; doubled at each in a row. */
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000

export interface AuthorityOptions {
  readonly namespace: string
  readonly settleMs: number
  readonly trustDomain: () => string
  /** Asked before each write. */
  readonly may: Permission
}

/** An authority as it is shown: its root by fingerprint, and when it ends. */
export interface ShownAuthority {
  readonly root: string
  readonly notAfter: string
}

/** How it stands. */
export interface AuthorityStatus {
  /** By which is signed, or null: nothing is. */
  readonly inForce: ShownAuthority | null
  /** Whose root agents are given the time to hear of, or null. */
  readonly settling: ShownAuthority | null
  /** What is wrong, or null. */
  readonly reason: string | null
}

/** Hears of what went well, too: who signs is worth a line. */
export interface SigningLog extends ReflectorLog {
  info(fields: object, message: string): void
}

interface Candidate {
  readonly authority: Authority
  readonly root: Root
  /** Of the Secret that it was read from: equal means that nothing changed. */
  readonly version: string
}

/** The authority of the mesh, from start() to stop(). */
export class AuthorityInForce {
  readonly #client: KubeClient
  readonly #options: AuthorityOptions
  readonly #on: { readonly change: () => void; readonly log: SigningLog }
  /** They tell that something changed; what it is like is read then, whole. So no key waits in memory for a look. */
  readonly #watches: readonly Reflector[]
  readonly #stop = new AbortController()
  #wake = Promise.withResolvers<void>()
  #running: Promise<void> = Promise.resolve()
  #inForce: Candidate | null = null
  #settling: { readonly candidate: Candidate; readonly sinceMs: number } | null = null
  #reason: string | null = 'the Secret has not been read yet'

  /** `on.change` hears when another authority is in force. */
  constructor(
    client: KubeClient,
    options: AuthorityOptions,
    on: { readonly change: () => void; readonly log: SigningLog },
  ) {
    this.#client = client
    this.#options = options
    this.#on = on
    const query = { fieldSelector: `metadata.name=${ROOT}` }
    const secret = builtIn('authority', secretsPath(options.namespace), { query, metadataOnly: true })
    const listen = { change: () => this.#wake.resolve(), log: on.log }
    this.#watches = [secret, rootsSource(options.namespace, { metadataOnly: true })].map(
      (source) => new Reflector(source, client, listen),
    )
  }

  start(): void {
    for (const watch of this.#watches) void watch.run() // never throws: it logs and tries again
    this.#running = this.#run()
  }

  /** Resolves when no write is on its way any more. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake.resolve()
    for (const watch of this.#watches) watch.stop()
    await this.#running
  }

  /** By which to sign at this moment, or null. */
  current(): Authority | null {
    const authority = this.#inForce?.authority ?? null
    return authority !== null && authority.notAfterMs > Date.now() ? authority : null
  }

  status(): AuthorityStatus {
    return {
      inForce: shown(this.#inForce),
      settling: shown(this.#settling?.candidate ?? null),
      reason: this.#reason,
    }
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted;) {
      this.#wake = Promise.withResolvers<void>()
      const wake = this.#wake.promise
      try {
        await this.#idle(wake, await this.#look())
        failures = 0
      } catch (error) {
        this.#say((error as Error).message)
        await this.#idle(null, FIRST_WAIT_MS) // in no hurry, whatever changes
        await this.#idle(wake, Math.min(FIRST_WAIT_MS * 2 ** failures++, LONGEST_WAIT_MS))
      }
    }
  }

  /** Until so long has passed, or `wake` is resolved. */
  async #idle(wake: Promise<void> | null, ms: number): Promise<void> {
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, this.#stop.signal])
    const time = sleep(ms, undefined, { signal }).catch(() => undefined) // aborted: nobody waits any more
    await (wake === null ? time : Promise.race([time, wake]))
    over.abort()
  }

  /** One look at Secret and ConfigMap, and what follows. Gives how long the next may wait. Throws what hinders it. */
  async #look(): Promise<number> {
    const secret = (await this.#read(`${secretsPath(this.#options.namespace)}/${ROOT}`)) as Secret | null
    if (secret === null) {
      await this.#make()
      return FIRST_WAIT_MS // whoever made it, it is there now
    }
    let trouble: string | null = null
    let wanted = this.current() === null ? null : this.#inForce
    try {
      wanted = candidateIn(secret)
    } catch (error) {
      trouble = (error as Error).message
    }
    const waitMs = wanted === null ? LOOK_MS : await this.#bring(wanted)
    this.#say(trouble)
    return waitMs
  }

  /** Brings an authority into force: tells of its root, and gives agents the time to hear of it. */
  async #bring(wanted: Candidate): Promise<number> {
    const { namespace, settleMs } = this.#options
    const map = (await this.#read(`${configMapsPath(namespace)}/${ROOTS}`)) as RootsMap | null
    const published = rootsIn(map)
    const isTold = published.some(({ fingerprint }) => fingerprint === wanted.root.fingerprint)
    const isSame = this.#settling?.candidate.root.fingerprint === wanted.root.fingerprint
    const sinceMs = isTold && isSame ? (this.#settling?.sinceMs ?? null) : null
    const leftMs = sinceMs === null ? settleMs : sinceMs + settleMs - performance.now()
    const standing = { published, settling: settlingIn(map), inForce: this.#inForce?.root ?? null, wanted: wanted.root }
    const step = succeed({ ...standing, settled: leftMs <= 0 }, Date.now())
    const isSaid = pemOf(step.roots) === pemOf(published) && step.settling === standing.settling
    if (!isSaid) await this.#publish(map, step)
    if (step.signs) {
      this.#settling = null
      this.#enforce(wanted)
      return LOOK_MS
    }
    this.#settling = { candidate: wanted, sinceMs: sinceMs ?? performance.now() }
    return Math.max(0, Math.min(leftMs, LOOK_MS))
  }

  #enforce(wanted: Candidate): void {
    if (this.#inForce?.version === wanted.version) return
    this.#inForce = wanted
    this.#on.log.info({ ...shown(wanted) }, 'authority in force')
    this.#on.change()
  }

  /** Throws without the API's words: they may quote what it was sent. */
  async #make(): Promise<void> {
    const { namespace, trustDomain, may } = this.#options
    try {
      await this.#client.create(secretsPath(namespace), newRootSecret(namespace, trustDomain(), Date.now()), may())
      this.#on.log.info({ secret: ROOT, namespace }, 'root made')
    } catch (error) {
      if (!(error instanceof KubeError)) throw error
      if (error.status !== 409) throw new Error(`Secret ${ROOT} cannot be made: HTTP ${error.status}`)
    }
  }

  /** Writes over the ConfigMap as it was read. Throws where it is not so any more. */
  async #publish(
    map: RootsMap | null,
    { roots, settling }: { roots: readonly Root[]; settling: string | null },
  ): Promise<void> {
    const { namespace, may } = this.#options
    const { [SETTLING]: _was, ...others } = map?.metadata.annotations ?? {}
    const annotations = { ...others, ...(settling === null ? {} : { [SETTLING]: settling }) }
    const data = { ...map?.data, [ROOTS_KEY]: pemOf(roots) }
    const path = configMapsPath(namespace)
    if (map !== null) {
      await this.#client.replace(
        `${path}/${ROOTS}`,
        { ...map, metadata: { ...map.metadata, annotations }, data },
        may(),
      )
      return
    }
    const kind = { apiVersion: 'v1', kind: 'ConfigMap' }
    await this.#client.create(path, { ...kind, metadata: { namespace, name: ROOTS, annotations }, data }, may())
  }

  async #read(path: string): Promise<unknown> {
    try {
      return await this.#client.get(path, ASK_MS)
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return null
      throw error
    }
  }

  /** Says what is wrong, or null; logs it once in a row. */
  #say(reason: string | null): void {
    if (reason !== null && reason !== this.#reason && !this.#stop.signal.aborted) {
      this.#on.log.warn({ reason, signs: this.current() !== null }, 'trouble with the authority')
    }
    this.#reason = reason
  }
}

function candidateIn(secret: Secret): Candidate {
  const authority = authorityIn(secret, Date.now())
  const [root] = readRoots(authority.rootPem)
  if (root === undefined) throw new Error('an authority without a root')
  return { authority, root, version: `${secret.metadata.uid} ${secret.metadata.resourceVersion}` }
}

function rootsIn(map: RootsMap | null): readonly Root[] {
  try {
    return readRoots(map?.data?.[ROOTS_KEY] ?? '')
  } catch (error) {
    throw new Error(`ConfigMap ${ROOTS}: data["${ROOTS_KEY}"] ${(error as Error).message}`, { cause: error })
  }
}

const settlingIn = (map: RootsMap | null): string | null => map?.metadata.annotations?.[SETTLING] ?? null

function shown(candidate: Candidate | null): ShownAuthority | null {
  if (candidate === null) return null
  const { root, authority } = candidate
  return { root: root.fingerprint, notAfter: new Date(authority.notAfterMs).toISOString() }
}
