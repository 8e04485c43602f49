// Waits until agents have captured the pods that joined, or let go of those that left, as they announce it on the pods.

import { setTimeout as sleep } from 'node:timers/promises'
import type { UserClient } from '../kube/user-client.ts'
import { CAPTURED } from '../kube/workload.ts'
import type { Deed } from '../model/joining/scene.ts'
import { askMesh } from './ask-agents.ts'
import { needs, namespacePath } from './join-scene.ts'
import { type MeshPod, meshStatus } from './mesh-status.ts'
import type { Reach } from './reach.ts'

const POLL_MS = 300
/** Agents are asked more rarely than the API, and no more of them than so many. */
const ASK_AGENTS_MS = 1_000
const NODES_ASKED_MOST = 32
/** What each agent may take to answer. */
const AGENT_ANSWERS_WITHIN_MS = 3_000

/** What is waited for, and for how long. */
export interface Awaited {
  readonly deed: Deed
  readonly namespace: string
  readonly uids: ReadonlySet<string>
  /** Of these pods. */
  readonly nodes: readonly string[]
  readonly timeoutMs: number
}

/** How it ended. */
export interface Outcome {
  /** Whether every pod that is still there is captured, or released. */
  readonly complete: boolean
  readonly done: number
  /** Pods that were waited for and are gone by now. */
  readonly gone: number
  readonly missing: readonly { readonly name: string; readonly reason: string }[]
  readonly tookMs: number
}

/** What waiting needs of its surroundings. */
export interface Surroundings {
  readonly client: Pick<UserClient, 'list'>
  /** Opens the way to the agents; null where they may not be asked. */
  readonly reach: () => Promise<Reach | null>
  readonly say: (line: string) => void
}

/** Waits, tells how far it has come, and returns how it ended. Throws, with one sentence, where pods may not be listed. */
export async function settled(wish: Awaited, { client, reach, say }: Surroundings): Promise<Outcome> {
  const began = performance.now()
  const deadline = began + wish.timeoutMs
  const { done, gone, missing } = await announced(wish, { client, say, deadline })
  const left =
    missing.length > 0
      ? await withReasons(missing, wish, await reach())
      : wish.deed === 'leave' && done > 0
        ? await stillTaken(wish, { way: await reach(), say, deadline })
        : []
  return {
    complete: left.length === 0,
    done: missing.length > 0 ? done : done - left.length,
    gone,
    missing: left,
    tookMs: performance.now() - began,
  }
}

interface Look {
  readonly done: number
  readonly gone: number
  readonly missing: readonly { readonly uid: string; readonly name: string }[]
}

/** Until every pod's announcement is as it should be, or the time is over. */
async function announced(
  wish: Awaited,
  { client, say, deadline }: Pick<Surroundings, 'client' | 'say'> & { readonly deadline: number },
): Promise<Look> {
  const word = wish.deed === 'join' ? 'captured' : 'let go'
  for (let told = -1; ; await sleep(POLL_MS)) {
    const seen = await look(client, wish)
    const { done, missing } = seen
    if (done !== told && wish.uids.size > 0) say(`${done} of ${done + missing.length} pods ${word}`)
    told = done
    if (missing.length === 0 || performance.now() > deadline) return seen
  }
}

async function look(client: Pick<UserClient, 'list'>, { deed, namespace, uids }: Awaited): Promise<Look> {
  const path = `${namespacePath(namespace)}/pods`
  const { items } = await client.list(path, {}, true).catch(needs(`list pods in ${namespace}`))
  const own = items.filter(({ metadata }) => uids.has(metadata.uid) && metadata.deletionTimestamp === undefined)
  const isDone = (pod: (typeof own)[number]): boolean =>
    (pod.metadata.annotations?.[CAPTURED] !== undefined) === (deed === 'join')
  const missing = own.filter((pod) => !isDone(pod)).map(({ metadata: { uid, name } }) => ({ uid, name }))
  return { done: own.length - missing.length, gone: uids.size - own.length, missing }
}

/** Why pods are not there yet, as their agents say it. */
async function withReasons(missing: Look['missing'], wish: Awaited, way: Reach | null): Promise<Outcome['missing']> {
  const told = new Map((await podsToldBy(way, wish)).pods.map((pod) => [pod.uid, pod]))
  return missing.map(({ uid, name }) => {
    const pod = told.get(uid)
    if (pod === undefined) return { name, reason: UNANNOUNCED[wish.deed] }
    return { name, reason: pod.reason === null ? pod.state : `${pod.state}: ${pod.reason}` }
  })
}

const UNANNOUNCED: Readonly<Record<Deed, string>> = {
  join: 'its agent has not announced to have captured it',
  leave: 'its agent has not taken its announcement away',
}

/** For a while agents take what dials a pod that has left: waits until they no longer do, where they may be asked. */
async function stillTaken(
  wish: Awaited,
  by: { readonly way: Reach | null; readonly say: (line: string) => void; readonly deadline: number },
): Promise<Outcome['missing']> {
  for (let told = -1; ; await sleep(ASK_AGENTS_MS)) {
    const { pods, isWhole } = await podsToldBy(by.way, wish)
    if (!isWhole) {
      by.say('what dials them is taken for some seconds more (--leave-seconds); not all agents say how it stands')
      return []
    }
    const leaving = pods.filter(({ uid, state }) => wish.uids.has(uid) && state === 'leaving')
    if (leaving.length === 0) return []
    if (leaving.length !== told) by.say(`what dials ${leaving.length} of them is still taken, for some seconds`)
    told = leaving.length
    if (performance.now() > by.deadline) {
      return leaving.map(({ name }) => ({ name, reason: 'leaving: what dials it is still taken' }))
    }
  }
}

interface Told {
  readonly pods: readonly MeshPod[]
  /** Whether every agent that was asked has answered. */
  readonly isWhole: boolean
}

/** What agents of the nodes tell of the namespace's pods. They only say more than what stands on pods: no refusal is an error. */
async function podsToldBy(way: Reach | null, { namespace, nodes }: Awaited): Promise<Told> {
  const pods: MeshPod[] = []
  let isWhole = true
  if (way === null) return { pods, isWhole: false }
  try {
    for (const node of nodes.slice(0, NODES_ASKED_MOST)) {
      const seen = await askMesh(way, { namespace, node }, AGENT_ANSWERS_WITHIN_MS)
      pods.push(...meshStatus(seen, namespace).pods)
      isWhole &&= seen.answers.every((answer) => 'status' in answer)
    }
    return { pods, isWhole }
  } catch {
    return { pods, isWhole: false }
  }
}
