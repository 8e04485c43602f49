// What joins the mesh, or leaves it, with a namespace, and what that changes: one value, worked out before anything is done.

import { type Finding, keyOf, nameOf } from '../analysis/world.ts'
import type { Problem } from '../policy.ts'
import type { CaptureTerms } from '../terms.ts'
import type { ObjectRef } from '../workload.ts'
import { type Change, changeOf } from './change.ts'
import { type Fate, fatesOf } from './fates.ts'
import {
  arising,
  doorsTo,
  type Guard,
  guardsOf,
  type JudgedDoor,
  type ModeGroup,
  modesOf,
  routesFor,
  saysStrict,
  worldAfter,
} from './policies.ts'
import { lookAtPorts, type PortsLook } from './ports.ts'
import type { Deed, Scene, ScenePod } from './scene.ts'

/** Pods with the same exclusions. */
export interface Exclusion extends Pick<
  CaptureTerms,
  'excludeInboundPorts' | 'excludeOutboundPorts' | 'excludeOutboundCidrs'
> {
  readonly pods: readonly string[]
}

export interface Plan {
  readonly deed: Deed
  readonly namespace: string
  readonly change: Change
  readonly pods: readonly Fate[]
  /** Nodes of pods that are to change, and whether the agent of each is ready. */
  readonly agents: readonly { readonly node: string; readonly ready: boolean }[]
  /** Whether a controller leads; null: nobody can say. */
  readonly controller: boolean | null
  readonly ports: PortsLook
  readonly exclusions: readonly Exclusion[]
  /** Pods that get no new connection while no agent runs. */
  readonly failClosed: readonly string[]
  readonly modes: readonly ModeGroup[]
  readonly guards: readonly Guard[]
  readonly routes: readonly ObjectRef[]
  readonly doors: readonly JudgedDoor[]
  /** What pods ask of their capture and do not get. */
  readonly problems: readonly Problem[]
  /** What `weft analyze` finds afterwards and not today. */
  readonly findings: readonly Finding[]
  /** Pods of the cluster that are outside of the mesh afterwards: what they call, they call in plaintext. */
  readonly outside: number
  /** What somebody should see to, a sentence each; empty: nothing stands in the way. */
  readonly cares: readonly string[]
}

/** Works it all out. */
export function planOf(deed: Deed, scene: Scene): Plan {
  const fates = fatesOf(deed, scene)
  const concerned = new Set(fates.filter(({ kind }) => kind === 'changes' || kind === 'waits').map(({ uid }) => uid))
  const pods = scene.pods.filter(({ uid }) => concerned.has(uid))
  const isJoin = deed === 'join'
  const known = {
    deed,
    namespace: scene.namespace,
    change: changeOf(deed, scene.wishes),
    pods: fates,
    agents: agentsOf(scene, fates),
    controller: scene.controller,
    ports: isJoin ? lookAtPorts(scene.world, scene.namespace, pods) : { hints: [], undeclared: 0 },
    exclusions: isJoin ? exclusionsOf(pods) : [],
    failClosed: pods.filter(({ terms }) => terms.onLoss === 'closed').map(({ name }) => name),
    modes: modesOf(scene.world, pods),
    guards: guardsOf(scene, pods),
    routes: pods.length === 0 ? [] : routesFor(scene),
    doors: doorsTo(scene, pods),
    problems: isJoin ? pods.flatMap(({ problems }) => problems) : [],
    findings: arising(deed, scene, fates),
    outside: worldAfter(deed, scene, fates).pods.filter(({ joined }) => joined === false).length,
  }
  return { ...known, cares: isJoin ? caresOfJoining(known) : caresOfLeaving(known) }
}

/** Uids of pods that are waited for: those that are to change and have not. */
export function awaited({ pods }: Plan): ReadonlySet<string> {
  return new Set(pods.filter(({ kind }) => kind === 'changes').map(({ uid }) => uid))
}

function agentsOf({ agents }: Scene, fates: readonly Fate[]): Plan['agents'] {
  const nodes = new Set(fates.flatMap(({ kind, node }) => (kind === 'changes' && node !== null ? [node] : [])))
  return [...nodes].sort().map((node) => ({ node, ready: agents.get(node) ?? false }))
}

function exclusionsOf(pods: readonly ScenePod[]): readonly Exclusion[] {
  const groups = Map.groupBy(pods, ({ terms }) => {
    const { excludeInboundPorts, excludeOutboundPorts, excludeOutboundCidrs } = terms
    return JSON.stringify({ excludeInboundPorts, excludeOutboundPorts, excludeOutboundCidrs })
  })
  return [...groups].flatMap(([key, own]) => {
    const terms = JSON.parse(key) as Omit<Exclusion, 'pods'>
    const isPlain = Object.values(terms).every((list) => list.length === 0)
    return isPlain ? [] : [{ ...terms, pods: own.map(({ name }) => name) }]
  })
}

type Known = Omit<Plan, 'cares'>

function caresOfJoining({ pods, agents, controller, ports, doors, problems, findings }: Known): readonly string[] {
  const unable = pods.filter(({ kind }) => kind === 'cannot')
  const starting = agents.filter(({ ready }) => !ready).map(({ node }) => node)
  const strict = doors.filter(({ refused }) => refused).map(({ service, by }) => `${service} (${by})`)
  return [
    ...(unable.length === 0 ? [] : [`${counted(unable.length, 'pod')} cannot be captured`]),
    ...(starting.length === 0 ? [] : [`the agent of ${starting.join(', ')} is not ready`]),
    ...(controller === false ? ['no controller leads: without one no pod gets a certificate'] : []),
    ...ports.hints.filter(({ declares }) => declares === 'http').map(mismatch),
    ...(strict.length === 0 ? [] : [`STRICT refuses who comes from outside the cluster: ${strict.join(', ')}`]),
    ...problems.map(({ object, field, reason }) => `${keyOf(object)}: ${field}: ${reason}`),
    ...errorsIn(findings),
  ]
}

function mismatch({ service, port, protocol, by }: PortsLook['hints'][number]): string {
  return `Service ${service} declares port ${port} to be HTTP, and its ${by} is ${protocol}: what is no HTTP is refused there`
}

function caresOfLeaving({ agents, findings }: Known): readonly string[] {
  const silent = agents.filter(({ ready }) => !ready).map(({ node }) => node)
  return [
    ...(silent.length === 0 ? [] : [`no agent is ready on ${silent.join(', ')} that could let pods go`]),
    ...errorsIn(findings),
  ]
}

function errorsIn(findings: readonly Finding[]): readonly string[] {
  return findings
    .filter(({ severity }) => severity === 'error')
    .map(({ code, object, message }) => `${code} ${nameOf(object)}: ${message}`)
}

/** `1 pod`, `3 pods`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

/** Whether plaintext stops, or starts, to be taken somewhere. */
export function isAboutStrict({ modes }: Plan): boolean {
  return modes.some(saysStrict)
}
