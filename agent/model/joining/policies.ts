// Which policies take effect for the pods that join, or stop holding for those that leave.

import { analyse } from '../analysis/analysis.ts'
import { type AnalysisWorld, type Finding, keyOf, nameOf } from '../analysis/world.ts'
import type { Action, Aim } from '../authorization/policy.ts'
import { isAimedAt } from '../authorization/protection.ts'
import { isVisible } from '../destination.ts'
import { effectiveMode, type PeerMode, type PeerModes, peerModesOf, peersByNamespace } from '../peer-authentication.ts'
import type { ServiceAt } from '../snapshot.ts'
import type { ObjectRef } from '../workload.ts'
import type { Fate } from './fates.ts'
import { behindOf } from './ports.ts'
import type { Deed, Door, Scene, ScenePod } from './scene.ts'

/** Pods that take the same at their ports. */
export interface ModeGroup {
  readonly mode: PeerMode
  /** The PeerAuthentication that says so; null: none does. */
  readonly by: ObjectRef | null
  /** Modes of ports where another holds, by number. */
  readonly ports: Readonly<Record<string, PeerMode>>
  readonly pods: readonly string[]
}

/** A policy that stands before pods. */
export interface Guard {
  readonly ref: ObjectRef
  /** Of an AuthorizationPolicy; null: a RequestAuthentication. */
  readonly action: Action | null
  readonly dryRun: boolean
  /** How many of the pods it is for. */
  readonly pods: number
}

/** A door whose callers come in plaintext, and whether pods behind it refuse that. */
export interface JudgedDoor extends Door {
  readonly refused: boolean
}

export function modesOf(world: AnalysisWorld, pods: readonly ScenePod[]): readonly ModeGroup[] {
  const modes = peerModes(world)
  const groups = Map.groupBy(pods, (pod) => JSON.stringify(shownModes(modes(pod))))
  return [...groups].map(([key, own]) => {
    return { ...(JSON.parse(key) as Omit<ModeGroup, 'pods'>), pods: own.map(({ name }) => name) }
  })
}

function peerModes(world: AnalysisWorld): (pod: ScenePod) => PeerModes {
  const ground = {
    byNamespace: peersByNamespace(world.peerAuthentications),
    rootNamespace: world.rootNamespace,
  }
  return (pod) => peerModesOf(pod, ground)
}

function shownModes({ others, ports }: PeerModes): Omit<ModeGroup, 'pods'> {
  const other = [...ports].filter(([, { mode }]) => mode !== others.mode)
  return {
    mode: others.mode,
    by: others.by ?? [...ports.values()].find(({ by }) => by !== null)?.by ?? null,
    ports: Object.fromEntries(other.map(([port, { mode }]) => [port, mode])),
  }
}

/** Whether plaintext is refused at one port of the group at least. */
export function saysStrict({ mode, ports }: ModeGroup): boolean {
  return mode === 'STRICT' || Object.values(ports).includes('STRICT')
}

/** AuthorizationPolicies and RequestAuthentications that are for some of the pods. */
export function guardsOf(scene: Scene, pods: readonly ScenePod[]): readonly Guard[] {
  const { world, namespace } = scene
  const services = world.services.filter(({ service }) => service.namespace === namespace)
  const placed = pods.map((pod) => {
    const standing = services.filter((known) => behindOf(known, [pod]).length > 0)
    return {
      pod,
      behind: standing.flatMap(({ service }): ServiceAt[] => service.ports.map((port) => ({ service, port }))),
    }
  })
  const guard = (aim: Aim, said: Pick<Guard, 'action' | 'dryRun'>): readonly Guard[] => {
    if (![world.rootNamespace, namespace].includes(aim.ref.namespace)) return []
    const count = placed.filter(({ pod, behind }) => isAimedAt(aim, pod, behind)).length
    return count === 0 ? [] : [{ ref: aim.ref, ...said, pods: count }]
  }
  return [
    ...world.authorizationPolicies.flatMap((one) => guard(one, { action: one.action, dryRun: one.dryRun })),
    ...world.requestAuthentications.flatMap((one) => guard(one, { action: null, dryRun: false })),
  ]
}

/** VirtualServices and DestinationRules that callers of the namespace can see: its own first. */
export function routesFor({ world, namespace }: Scene): readonly ObjectRef[] {
  const seen = [...world.virtualServices, ...world.destinationRules].filter(({ exportTo, ref }) => {
    return ref.namespace === namespace || isVisible(exportTo, namespace)
  })
  const isOwn = ({ namespace: of }: ObjectRef): number => (of === namespace ? 0 : 1)
  const { compare } = new Intl.Collator('en', { numeric: true })
  return seen
    .map(({ ref }) => ref)
    .sort((one, other) => isOwn(one) - isOwn(other) || compare(nameOf(one), nameOf(other)))
}

/** Doors in front of the pods. */
export function doorsTo({ world, namespace, doors }: Scene, pods: readonly ScenePod[]): readonly JudgedDoor[] {
  const modes = peerModes(world)
  return doors.flatMap((door): JudgedDoor[] => {
    const known = world.services.find(({ service }) => service.namespace === namespace && service.name === door.service)
    const behind = known === undefined ? [] : behindOf(known, pods)
    if (known === undefined || behind.length === 0) return []
    const targets = known.places.map(({ target }) => target)
    const isRefused = (pod: ScenePod): boolean =>
      targets.some((port) => (port === null ? modes(pod).others : effectiveMode(modes(pod), port)).mode === 'STRICT')
    return [{ ...door, refused: behind.some(isRefused) }]
  })
}

/** Errors and warnings that `weft analyze` would find afterwards and does not find now. */
export function arising(deed: Deed, scene: Scene, fates: readonly Fate[]): readonly Finding[] {
  const known = new Set(analyse(scene.world).map(keyOfFinding))
  const found = analyse(worldAfter(deed, scene, fates))
  return found.filter((finding) => finding.severity !== 'info' && !known.has(keyOfFinding(finding)))
}

const keyOfFinding = ({ code, object, field }: Finding): string => `${code} ${nameOf(object)} ${field}`

/** The world as it will be: who is to change has done so. */
export function worldAfter(deed: Deed, { world, namespace }: Scene, fates: readonly Fate[]): AnalysisWorld {
  const byPod = new Map(fates.map((fate) => [keyOf({ namespace, name: fate.name }), fate]))
  const pods = world.pods.map((pod) => {
    const { kind = 'apart' } = byPod.get(keyOf(pod)) ?? {}
    if (kind === 'stays' || kind === 'apart') return pod
    if (deed === 'leave') return { ...pod, joined: false, captured: null }
    return { ...pod, joined: true, captured: kind === 'cannot' ? null : (pod.captured ?? 'the agent of its node') }
  })
  return { ...world, pods }
}
