// Judges requests for certificates and answers them, while this replica leads: each is denied, or approved and signed.
//
//   open ──judged──▶ granted ──approved──▶ signed
//     │       ├─ not yet ──▶ judged anew, for ten seconds
//     │       └─ denied
//     └─ the API refuses ──▶ tried anew, later each time

import { type Facts, judge, type Judgement, LONGEST_SECONDS, type RunningPod } from '../identity/judge.ts'
import type { Authority } from '../identity/authority.ts'
import { type KubeClient, KubeError } from '../kube/client.ts'
import { builtIn } from '../kube/kinds.ts'
import type { KubeObject, Pod } from '../kube/object.ts'
import { type ObjectChange, Reflector, type ReflectorLog } from '../kube/reflector.ts'
import type { Permission } from '../kube/status.ts'
import { hasEnded } from '../kube/workload.ts'
import {
  answered,
  conditionOf,
  isDecided,
  isOpen,
  keptOf,
  type KubeSigningRequest,
  readSigningRequest,
  REQUESTS_PATH,
  SIGNER_NAME,
  withCertificate,
} from './signing-request.ts'

/** Answered at once. */
const AT_ONCE_MOST = 16
/** For how long a denial is only a matter of time, and how often it is looked at again. */
const PATIENCE_MS = 10_000
const LOOK_AGAIN_MS = 250
/** First and longest wait after a failure of one request; doubled at each in a row. */
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000
/** How often one is read anew because another writer was faster. */
const TRIES = 4
/** How far a certificate begins in the past: clocks of other nodes may be slow. Never more than this part of its life. */
const SKEW_MS = 60_000
const SKEW_PART = 0.1
/** A certificate that ends sooner is no use: it means that the authority ends. */
const LIFE_LEAST_MS = 1000

export interface RequestsOptions {
  /** By which to sign at this moment, or null. */
  readonly authority: () => Authority | null
  readonly facts: () => Omit<Facts, 'pods'>
  readonly certificateSeconds: number
  /** Asked before each write. */
  readonly may: Permission
}

/** Hears of each answer, and of each failure to give one. */
export interface RequestsHear {
  readonly signed: () => void
  readonly denied: () => void
  readonly failed: () => void
  readonly log: ReflectorLog
}

/** A request that has no answer yet. */
interface Open {
  readonly uid: string
  readonly name: string
  readonly sinceMs: number
  failures: number
  /** Calls off its next turn. */
  timer: NodeJS.Timeout | null
}

/** The requests of the cluster, from start() to stop(). */
export class Requests {
  readonly #client: KubeClient
  readonly #options: RequestsOptions
  readonly #hear: RequestsHear
  readonly #requests: Reflector
  readonly #podWatch: Reflector
  /** By uid, as they are judged by. */
  readonly #pods = new Map<string, RunningPod>()
  /** By uid: bounded by what the cluster has. */
  readonly #open = new Map<string, Open>()
  /** Whose turn it is, the last one first: whoever asked long ago may not wait for it any more. */
  readonly #due: Open[] = []
  readonly #running = new Set<Promise<void>>()
  #arePodsKnown = false
  #isStopped = false

  constructor(client: KubeClient, options: RequestsOptions, hear: RequestsHear) {
    this.#client = client
    this.#options = options
    this.#hear = hear
    const { log } = hear
    const query = { fieldSelector: `spec.signerName=${SIGNER_NAME}` }
    const requests = builtIn('certificate signing requests', REQUESTS_PATH, { query, keep: keptOf })
    const change = (changes: readonly ObjectChange[]): void => this.#take(changes)
    this.#requests = new Reflector(requests, client, { change, log })
    const pods = builtIn('pods', '/api/v1/pods', { keep: keptOfPod })
    this.#podWatch = new Reflector(pods, client, { change: (changes) => this.#takePods(changes), log })
  }

  start(): void {
    for (const each of [this.#podWatch, this.#requests]) void each.run() // never throws: it logs and tries again
    void this.#podWatch.synced.then(() => {
      this.#arePodsKnown = true
      this.goOn()
    })
  }

  /** Resolves when no write is on its way any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    for (const each of [this.#podWatch, this.#requests]) each.stop()
    for (const { timer } of this.#open.values()) if (timer !== null) clearTimeout(timer)
    await Promise.all(this.#running)
  }

  /** Requests that have no answer yet. */
  get pending(): number {
    return this.#open.size
  }

  /** Answers what is due. To be called when there is an authority that was not there before. */
  goOn(): void {
    while (!this.#isStopped && this.#arePodsKnown && this.#running.size < AT_ONCE_MOST) {
      const open = this.#options.authority() === null ? undefined : this.#due.pop()
      if (open === undefined) return
      if (this.#open.get(open.uid) !== open) continue // gone meanwhile
      const done = this.#answer(open).finally(() => {
        this.#running.delete(done)
        this.goOn()
      })
      this.#running.add(done)
    }
  }

  #take(changes: readonly ObjectChange[]): void {
    const fresh: KubeSigningRequest[] = []
    for (const { before, after } of changes) {
      const uid = (after ?? before)?.metadata.uid ?? ''
      if (after === null || !isOpen(after)) this.#forget(uid)
      else if (!this.#open.has(uid)) fresh.push(after)
    }
    const madeMs = ({ metadata }: KubeObject): number => Date.parse(metadata.creationTimestamp ?? '') || 0
    for (const { metadata } of fresh.sort((one, other) => madeMs(one) - madeMs(other))) {
      const { uid, name } = metadata
      const open: Open = { uid, name, sinceMs: performance.now(), failures: 0, timer: null }
      this.#open.set(uid, open)
      this.#due.push(open)
    }
    this.goOn()
  }

  #takePods(changes: readonly ObjectChange[]): void {
    for (const { before, after } of changes) {
      if (after !== null) this.#pods.set(after.metadata.uid, runningPod(after as Pod))
      else if (before !== null) this.#pods.delete(before.metadata.uid)
    }
  }

  #forget(uid: string): void {
    const { timer = null } = this.#open.get(uid) ?? {}
    if (timer !== null) clearTimeout(timer)
    this.#open.delete(uid)
  }

  /** One turn of a request. Never rejects. */
  async #answer(open: Open): Promise<void> {
    const known = this.#requests.objects.get(open.uid)
    if (known === undefined || !isOpen(known)) return
    try {
      const isAnswered = await this.#settle(open, known)
      open.failures = 0
      if (!isAnswered) this.#later(open, LOOK_AGAIN_MS)
    } catch (error) {
      if (this.#isStopped) return
      this.#hear.failed()
      const waitMs = Math.min(FIRST_WAIT_MS * 2 ** open.failures++, LONGEST_WAIT_MS)
      this.#hear.log.warn({ request: open.name, reason: (error as Error).message, waitMs }, 'a request is not answered')
      this.#later(open, waitMs)
    }
  }

  #later(open: Open, ms: number): void {
    if (this.#isStopped || this.#open.get(open.uid) !== open) return
    open.timer = setTimeout(() => {
      open.timer = null
      this.#due.push(open)
      this.goOn()
    }, ms)
  }

  /** Whether it has its answer. Throws KubeError, and what `may` throws. */
  async #settle(open: Open, known: KubeSigningRequest): Promise<boolean> {
    let request = known
    for (let tries = 1; ; tries++) {
      try {
        return await this.#decide(open, request)
      } catch (error) {
        if (!(error instanceof KubeError && (error.status === 409 || error.status === 404))) throw error
        if (tries === TRIES) throw error
        const standing = await this.#read(open.name)
        if (standing?.metadata.uid !== open.uid || isDecided(standing)) return true
        request = standing
      }
    }
  }

  async #decide(open: Open, request: KubeSigningRequest): Promise<boolean> {
    const path = `${REQUESTS_PATH}/${request.metadata.name}`
    const judged = this.#judge(request)
    const isApproved = conditionOf(request, 'Approved') !== null
    if ('denied' in judged) {
      if (judged.notYet && performance.now() - open.sinceMs < PATIENCE_MS) return false
      const refusal = { reason: judged.reason, message: judged.denied }
      // what is approved cannot be denied any more, only fail; it was approved by another, or its pod is gone since
      if (isApproved) await this.#write(`${path}/status`, answered(request, { type: 'Failed', ...refusal }))
      else await this.#write(`${path}/approval`, answered(request, { type: 'Denied', ...refusal }))
      this.#hear.denied()
      return true
    }
    const granted = { type: 'Approved', reason: 'Granted', message: judged.uri } as const
    const approved = isApproved ? request : await this.#write(`${path}/approval`, answered(request, granted))
    const certificatePem = this.#sign(judged)
    await this.#write(`${path}/status`, withCertificate(approved, certificatePem))
    this.#hear.signed()
    return true
  }

  #judge(request: KubeSigningRequest): Verdict {
    let asked
    try {
      asked = readSigningRequest(request)
    } catch (error) {
      return { denied: (error as Error).message, notYet: false, reason: 'Unreadable' }
    }
    const judgement = judge(asked, { ...this.#options.facts(), pods: this.#pods.values() })
    if ('denied' in judgement) return { ...judgement, reason: 'NotGranted' }
    const seconds = Math.min(asked.expirationSeconds ?? LONGEST_SECONDS, this.#options.certificateSeconds)
    return { ...judgement, publicKeyDer: asked.request.publicKeyDer, lifeMs: seconds * 1000 }
  }

  /** Throws where there is no authority, or its end is near. */
  #sign({ uri, publicKeyDer, lifeMs }: Grant): string {
    const authority = this.#options.authority()
    if (authority === null) throw new Error('there is no authority')
    const nowMs = Date.now()
    const notAfterMs = Math.min(nowMs + lifeMs, authority.notAfterMs)
    if (notAfterMs - nowMs < LIFE_LEAST_MS) throw new Error('the authority ends')
    const skewMs = Math.min(SKEW_MS, (notAfterMs - nowMs) * SKEW_PART)
    return authority.issue({ publicKeyDer, uri, notBeforeMs: nowMs - skewMs, notAfterMs })
  }

  async #write(path: string, request: KubeSigningRequest): Promise<KubeSigningRequest> {
    return (await this.#client.replace(path, request, this.#options.may())) as KubeSigningRequest
  }

  async #read(name: string): Promise<KubeSigningRequest | null> {
    try {
      return (await this.#client.get(`${REQUESTS_PATH}/${name}`, this.#options.may())) as KubeSigningRequest
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return null
      throw error
    }
  }
}

/** A judgement with what signing or refusing takes. */
type Grant = Extract<Judgement, { uri: string }> & { readonly publicKeyDer: Buffer; readonly lifeMs: number }
type Verdict =
  Grant | { readonly denied: string; readonly notYet: boolean; readonly reason: 'NotGranted' | 'Unreadable' }

/** What is kept of a pod: a cluster has many, and their specs are long. */
function keptOfPod(object: KubeObject): Pod {
  const { metadata, spec, status } = object as Pod
  const { uid, name, namespace = '', resourceVersion } = metadata
  const { nodeName, serviceAccountName } = spec ?? {}
  const { phase } = status ?? {}
  return {
    metadata: { uid, name, namespace, resourceVersion },
    spec: { ...(nodeName ? { nodeName } : {}), ...(serviceAccountName ? { serviceAccountName } : {}) },
    status: phase ? { phase } : {},
  }
}

function runningPod(pod: Pod): RunningPod {
  const { uid, name, namespace = '' } = pod.metadata
  const { nodeName = null, serviceAccountName: serviceAccount = 'default' } = pod.spec ?? {}
  return { uid, name, namespace, serviceAccount, node: nodeName, terminal: hasEnded(pod) }
}
