// What a plan to join or to leave looks at: a namespace, its pods, the agents of their nodes, and the whole cluster's policies.

import type { AnalysisWorld } from '../analysis/world.ts'
import type { Problem } from '../policy.ts'
import type { Workload } from '../workload.ts'

/** What is to be done with a namespace. */
export type Deed = 'join' | 'leave'

/** What an object says of joining (`weft.dev/mesh`), in its annotation and in its label; the annotation counts first. */
export interface Wishes {
  readonly annotation: string | null
  readonly label: string | null
}

/** A container, as far as it tells what is spoken at its ports. */
export interface SceneContainer {
  /** Its image as the pod names it, registry and tag included; '' where it names none. */
  readonly image: string
  readonly ports: readonly number[]
}

/** What of a workload a plan looks at. */
type Known = Pick<
  Workload,
  'uid' | 'namespace' | 'name' | 'node' | 'labels' | 'owner' | 'unfit' | 'terms' | 'captured' | 'terminating'
>

/** A pod of the namespace that has not ended. Its terms are those it would have in the mesh. */
export interface ScenePod extends Known {
  /** What the pod itself says of joining, or null. */
  readonly wish: string | null
  readonly isRunning: boolean
  readonly containers: readonly SceneContainer[]
  /** What it asks of its capture and would not get. */
  readonly problems: readonly Problem[]
}

/** A Service that is dialled from outside the cluster as well. */
export interface Door {
  readonly service: string
  /** How: its type, or `externalIPs`. */
  readonly by: string
}

/** All that a plan is made of, as it is now. */
export interface Scene {
  readonly namespace: string
  readonly wishes: Wishes
  readonly pods: readonly ScenePod[]
  /** Whether the agent of a node is ready; nodes without an agent are not there. */
  readonly agents: ReadonlyMap<string, boolean>
  /** Whether a controller leads; null: nobody can say. */
  readonly controller: boolean | null
  readonly doors: readonly Door[]
  readonly world: AnalysisWorld
}
