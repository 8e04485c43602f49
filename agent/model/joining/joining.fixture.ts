// Scenes for tests: a namespace of a small mesh that is about to join or to leave.

import { seen } from '../analysis/analysis.fixture.ts'
import type { World } from '../world.fixture.ts'
import type { Scene, ScenePod } from './scene.ts'

/** What is particular about pods, by name. */
export type PodWords = Readonly<Record<string, Partial<ScenePod>>>

/** A scene of namespace `default`: its pods run on nodes with a ready agent, and a controller leads. */
export function sceneOf(mesh: World, words: PodWords = {}, more: Partial<Scene> = {}): Scene {
  const { workloads } = mesh.inventory()
  const own = workloads.filter(({ namespace }) => namespace === 'default')
  const pods = own.map((workload): ScenePod => {
    return { ...workload, wish: null, isRunning: true, containers: [], problems: [], ...words[workload.name] }
  })
  const world = seen(mesh)
  return {
    namespace: 'default',
    wishes: { annotation: null, label: null },
    pods,
    agents: new Map(pods.flatMap(({ node }) => (node === null ? [] : [[node, true] as const]))),
    controller: true,
    doors: [],
    world: {
      ...world,
      pods: world.pods.map((pod, index) => {
        const { joined = true, captured = null } = workloads[index] ?? {}
        return { ...pod, joined, captured }
      }),
    },
    ...more,
  }
}
