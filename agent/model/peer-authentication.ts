// Whether workloads take plaintext: Istio's PeerAuthentication, and which of several speaks for a workload. Pure.
//
// Precedence as Istio documents it: an object that selects the workload, before one for its whole namespace, before one
// for the mesh; UNSET leaves it to the next; ports are honoured beside a selector alone, before the object's own mode.
// Of two at one level the older counts, the other one for nothing, also where the older leaves it to the next level.

import { byAge } from './host-index.ts'
import type { ObjectRef, Workload } from './workload.ts'

/** What a workload takes: plaintext alone, both, or Weft TLS alone. */
export type PeerMode = 'DISABLE' | 'PERMISSIVE' | 'STRICT'

/** What an object says: a mode, or nothing. */
export type GivenMode = PeerMode | 'UNSET'

/** Istio PeerAuthentication. */
export interface PeerAuthentication {
  readonly ref: ObjectRef
  readonly createdMs: number
  /** Labels that a workload of its namespace must carry; null: all of it, and from the root namespace the whole mesh. */
  readonly selector: Readonly<Record<string, string>> | null
  readonly mode: GivenMode
  /** By the port that the workload itself listens at. None without a selector. */
  readonly ports: readonly { readonly port: number; readonly mode: GivenMode }[]
}

/** A mode, and the object that says so; null where none does. */
export interface PeerDecision {
  readonly mode: PeerMode
  readonly by: ObjectRef | null
}

/** All that is decided for one workload. */
export interface PeerModes {
  /** At every port that is not named. */
  readonly others: PeerDecision
  readonly ports: ReadonlyMap<number, PeerDecision>
}

/** PeerAuthentications by namespace, the oldest of each first. */
export interface PeerGround {
  readonly byNamespace: { get(namespace: string): readonly PeerAuthentication[] | undefined }
  readonly rootNamespace: string
}

/** What of a workload precedence reads. */
export type Selectable = Pick<Workload, 'namespace' | 'labels'>

/** Where nobody says anything. */
const DEFAULT: PeerModes = { others: { mode: 'PERMISSIVE', by: null }, ports: new Map() }

/** The objects by namespace, as PeerGround wants them. */
export function peersByNamespace(
  all: Iterable<PeerAuthentication>,
): ReadonlyMap<string, readonly PeerAuthentication[]> {
  const byNamespace = new Map<string, PeerAuthentication[]>()
  for (const one of [...all].sort(byAge)) {
    const known = byNamespace.get(one.ref.namespace)
    if (known === undefined) byNamespace.set(one.ref.namespace, [one])
    else known.push(one)
  }
  return byNamespace
}

/** What a workload takes at each of its ports. */
export function peerModesOf(workload: Selectable, { byNamespace, rootNamespace }: PeerGround): PeerModes {
  const { namespace } = workload
  const own = byNamespace.get(namespace)
  const mesh = byNamespace.get(rootNamespace)?.find(isForAll)
  if (own === undefined && mesh === undefined) return DEFAULT
  const selecting = own?.find((one) => selects(one, workload))
  const ofNamespace = namespace === rootNamespace ? undefined : own?.find(isForAll)
  const others = firstSaid([selecting, ofNamespace, mesh])
  if (selecting === undefined) return { others, ports: DEFAULT.ports }
  const said = selecting.ports.flatMap(({ port, mode }): [number, PeerDecision][] =>
    mode === 'UNSET' ? [] : [[port, { mode, by: selecting.ref }]],
  )
  return { others, ports: new Map(said) }
}

/** What is decided for one port. */
export function effectiveMode({ others, ports }: PeerModes, port: number): PeerDecision {
  return ports.get(port) ?? others
}

/** Whether an object demands TLS of anybody. */
export function saysStrict({ mode, ports }: PeerAuthentication): boolean {
  return mode === 'STRICT' || ports.some((port) => port.mode === 'STRICT')
}

/** Whether plaintext is refused at one port at least. */
export function isStrictSomewhere({ others, ports }: PeerModes): boolean {
  return others.mode === 'STRICT' || [...ports.values()].some(({ mode }) => mode === 'STRICT')
}

/** Whether an object speaks of this workload by its selector. */
export function selects({ ref, selector }: PeerAuthentication, { namespace, labels }: Selectable): boolean {
  if (selector === null || ref.namespace !== namespace) return false
  return Object.entries(selector).every(([name, value]) => labels[name] === value)
}

function isForAll({ selector }: PeerAuthentication): boolean {
  return selector === null
}

/** The first, from the nearest level on, that leaves it to nobody. */
function firstSaid(levels: readonly (PeerAuthentication | undefined)[]): PeerDecision {
  for (const one of levels) if (one !== undefined && one.mode !== 'UNSET') return { mode: one.mode, by: one.ref }
  return DEFAULT.others
}
