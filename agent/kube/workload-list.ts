// All workloads, kept up to date pod by pod: those of this node known whole, the others by metadata and endpoints.

import { isDeepStrictEqual } from 'node:util'
import type { Changes } from '../model/delta.ts'
import type { Problem } from '../model/policy.ts'
import type { Workload } from '../model/workload.ts'
import type { KubeObject, Metadata, Pod } from './object.ts'
import type { ObjectChange, Reflector } from './reflector.ts'
import type { ServiceList } from './service-list.ts'
import { readTerms } from './terms.ts'
import { attempt, refOf } from './translate.ts'
import { CAPTURED, hasEnded, isJoined, localWorkload, podProblems, remoteWorkload } from './workload.ts'

export interface WorkloadSources {
  readonly local: Pick<Reflector<Pod>, 'objects'>
  /** Of all nodes, this one included. */
  readonly all: Pick<Reflector, 'objects'>
  readonly services: Pick<ServiceList, 'placeOf'>
  readonly sandboxedRuntimes: readonly string[]
  /** Whether a pod of this node refuses plaintext at one port at least. readTermsAnew() is told of another answer. */
  readonly isStrict: (pod: Pod) => boolean
  /** Whether an agent is there to keep what it has announced; agentsMoved() is told of another answer. */
  readonly isReady: (agent: string) => boolean
}

export class WorkloadList {
  readonly #from: WorkloadSources
  readonly #namespaces = new Map<string, Metadata>()
  readonly #dirty = new Set<string>()
  readonly #values = new Map<string, Workload>()
  readonly #localValues = new Map<string, Workload>()
  readonly #problemsOf = new Map<string, readonly Problem[]>()
  #local: readonly Workload[] = []
  #problems: readonly Problem[] = []

  constructor(from: WorkloadSources) {
    this.#from = from
  }

  get values(): IterableIterator<Workload> {
    return this.#values.values()
  }

  /** Pods of this node that have not ended. The same array as long as none of them changed. */
  get local(): readonly Workload[] {
    return this.#local
  }

  /** The same array as long as there is nothing else to say. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  takePods(changes: readonly ObjectChange[]): void {
    for (const { before, after } of changes) {
      const uid = (after ?? before)?.metadata.uid
      if (uid !== undefined) this.#dirty.add(uid)
    }
  }

  /** A namespace speaks for its pods by labels and annotations alone. */
  takeNamespaces(changes: readonly ObjectChange[]): void {
    const names = new Set<string>()
    for (const { before, after } of changes) {
      const { name } = (after ?? before)?.metadata ?? { name: '' }
      if (after === null) this.#namespaces.delete(name)
      else this.#namespaces.set(name, after.metadata)
      if (!isDeepStrictEqual(wordsOf(before), wordsOf(after))) names.add(name)
    }
    if (names.size === 0) return
    for (const objects of [this.#from.local.objects, this.#from.all.objects]) {
      for (const [uid, { metadata }] of objects) if (names.has(metadata.namespace ?? '')) this.#dirty.add(uid)
    }
  }

  /** Namespaces whose pods join, and are fail-closed, where the pod says nothing itself and no selector picks it. */
  closedNamespaces(): ReadonlySet<string> {
    const closed = new Set<string>()
    for (const [name, namespace] of this.#namespaces) {
      const pod: Pod = { metadata: { name: '', namespace: name, uid: '', resourceVersion: '' } }
      const isClosed = (): boolean => readTerms(pod, namespace, this.#from.isStrict(pod)).terms.onLoss === 'closed'
      if (isJoined(pod.metadata, namespace) && isClosed()) closed.add(name)
    }
    return closed
  }

  /** Other policies hold: what they ask of this node's pods bears on their captures. */
  readTermsAnew(): void {
    for (const uid of this.#from.local.objects.keys()) this.#dirty.add(uid)
  }

  /** These agents are ready now, or no more: what they have announced counts, or does not. */
  agentsMoved(agents: ReadonlySet<string>): void {
    if (agents.size === 0) return
    for (const [uid, { metadata }] of this.#from.all.objects) {
      if (agents.has(metadata.annotations?.[CAPTURED] ?? '')) this.#dirty.add(uid)
    }
  }

  /** The endpoints have other places for these pods. */
  move(uids: ReadonlySet<string>): void {
    for (const uid of uids) this.#dirty.add(uid)
  }

  /** What has changed since it was asked last. */
  flush(): Changes<Workload> {
    const set: Workload[] = []
    const gone: string[] = []
    let isTold = false
    let isLocal = false
    for (const uid of this.#dirty) {
      const known = this.#problemsOf.get(uid)
      const now = this.#fresh(uid)
      isTold ||= !isDeepStrictEqual(known, this.#problemsOf.get(uid))
      isLocal = this.#putLocal(uid, now) || isLocal
      const before = this.#values.get(uid)
      if (now === undefined) {
        if (this.#values.delete(uid)) gone.push(uid)
      } else if (now !== before) {
        this.#values.set(uid, now)
        set.push(now)
      }
    }
    this.#dirty.clear()
    if (isLocal) this.#local = [...this.#localValues.values()]
    if (isTold) this.#problems = eachOnce([...this.#problemsOf.values()].flat())
    return { set, gone }
  }

  /** The pod as it is now: the very one before where it is the same, or cannot be read. */
  #fresh(uid: string): Workload | undefined {
    const before = this.#values.get(uid)
    const { local, all } = this.#from
    const pod = local.objects.get(uid)
    this.#problemsOf.delete(uid)
    if (pod !== undefined && hasEnded(pod)) return undefined
    const object = pod ?? all.objects.get(uid)
    if (object === undefined) return undefined
    const namespace = this.#namespaces.get(object.metadata.namespace ?? '')
    const { value, problems } = attempt(refOf('Pod', object), () => ({
      value: pod === undefined ? this.#remote(object, namespace) : this.#whole(pod, namespace),
      rejected: false,
      problems: pod === undefined ? [] : podProblems(pod, namespace, this.#from.isStrict(pod)),
    }))
    if (problems.length > 0) this.#problemsOf.set(uid, problems)
    return value === null || isDeepStrictEqual(value, before) ? before : value
  }

  #whole(pod: Pod, namespace: Metadata | undefined): Workload {
    const { sandboxedRuntimes: sandboxed, isStrict } = this.#from
    return localWorkload(pod, namespace, { sandboxed, isStrict: isStrict(pod) })
  }

  #remote(pod: KubeObject, namespace: Metadata | undefined): Workload {
    const { ips, node } = this.#from.services.placeOf(pod.metadata.uid)
    const announced = remoteWorkload(pod, namespace)
    const agentReady = announced.captured !== null && this.#from.isReady(announced.captured)
    if (ips.length > 0) return { ...announced, agentReady, ips, placedBy: 'endpoints', node }
    // what was announced is believed of a member alone; also when its agent is lost, or what is under STRICT were a stranger
    return { ...announced, agentReady, ips: announced.joined ? announced.ips : [], node }
  }

  #putLocal(uid: string, now: Workload | undefined): boolean {
    const before = this.#localValues.get(uid)
    const local = this.#from.local.objects.has(uid) ? now : undefined
    if (local === before) return false
    if (local === undefined) this.#localValues.delete(uid)
    else this.#localValues.set(uid, local)
    return true
  }
}

function wordsOf(namespace: KubeObject | null) {
  return [namespace?.metadata.labels, namespace?.metadata.annotations]
}

/** What is wrong with a namespace is found with each of its pods, and said once. */
function eachOnce(problems: readonly Problem[]): readonly Problem[] {
  return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()]
}
