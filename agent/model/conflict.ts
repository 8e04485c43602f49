// Which policies speak of one thing, and which of them are heard: the precedence of route.ts and peer-authentication.ts,
// told from the loser's side. Pure. Of routes only objects with the very same host contend, of PeerAuthentications those of
// one level: an exact host before a wildcard, a workload's policy before its namespace's, is how they are meant.

import { type PeerAuthentication, peersByNamespace, selects } from './peer-authentication.ts'
import type { VirtualService } from './policy.ts'
import type { DestinationRule } from './traffic-policy.ts'
import { isVisible } from './destination.ts'
import { hasRules, preferred } from './route.ts'
import { byAge } from './host-index.ts'
import type { ObjectRef, Workload } from './workload.ts'

/** Where an object is not in force because another one is. */
export interface Loss {
  /** What it is not heard for: a host, or in words which workloads. */
  readonly host: string
  /** Those that are in force instead, in order of namespace and name. */
  readonly winners: readonly ObjectRef[]
  /** Whether the object is in force for this host nowhere. */
  readonly whole: boolean
  /** Namespaces of callers that get a winner, and of those that always get the object itself; sorted. */
  readonly lostFor: readonly string[]
  readonly keptFor: readonly string[]
  /** Where objects are merged: the fields that count for nothing. Empty: all of the object. */
  readonly fields: readonly string[]
}

/** What precedence depends on beside the objects. */
export interface Ground {
  /** Every namespace of the cluster: callers may live in each. */
  readonly namespaces: readonly string[]
  readonly rootNamespace: string
  readonly clusterDomain: string
  /** Running pods that joined. The same array as long as none of them changed. */
  readonly pods: readonly JoinedPod[]
}

/** What is known of a pod anywhere in the cluster. */
export type JoinedPod = Pick<Workload, 'namespace' | 'name' | 'labels' | 'captured'>

/** Losses by `losesKey` of the object. */
export type Losses = ReadonlyMap<string, readonly Loss[]>

export const losesKey = ({ namespace, name }: ObjectRef): string => `${namespace}/${name}`

interface Contender {
  readonly ref: ObjectRef
  readonly createdMs: number
  readonly exportTo: readonly string[]
}

/** A caller's namespace and that of the service it calls; '' where the host is no Service's of this cluster. */
interface Call {
  readonly consumer: string
  readonly producer: string
}

/** Who owns a wildcard's services is not known: so many contenders' namespaces are tried. */
const PRODUCERS_TRIED = 16

/** VirtualServices that are not in force for all their hosts and callers. One of all that contend for a host is. */
export function virtualServiceLosses(all: readonly VirtualService[], ground: Ground): Losses {
  const losses = new Tally()
  for (const of of CARRIAGES) {
    const rivals = all.filter((one) => hasRules(one, of))
    addVirtualServiceLosses(losses, rivals, ground, (one) =>
      CARRIAGES.every((each) => hasRules(one, each)) ? FIELDS[of] : [],
    )
  }
  return losses.read()
}

const CARRIAGES = ['http', 'flows'] as const
/** Rules of requests and of connections contend each among themselves. */
const FIELDS = { http: ['spec.http'], flows: ['spec.tls', 'spec.tcp'] } as const

function addVirtualServiceLosses(
  losses: Tally,
  all: readonly VirtualService[],
  ground: Ground,
  fieldsOf: (one: VirtualService) => readonly string[],
): void {
  for (const [host, contenders] of contended(all, ({ hosts }) => hosts)) {
    for (const { consumer, producer } of calls(host, contenders, ground)) {
      const visible = contenders.filter(({ exportTo }) => isVisible(exportTo, consumer))
      const order = [consumer, producer, ground.rootNamespace]
      const winner = preferred(visible, order, ({ ref }) => ref.namespace)
      for (const one of visible) {
        if (one === winner) losses.kept(one, host, consumer)
        else if (winner !== null) losses.lost(one, host, { consumer, winner: winner.ref, fields: fieldsOf(one) })
      }
    }
  }
}

/**
 * DestinationRules that are not in force for all their callers, or not with all their fields: those of one namespace are
 * merged, and of what two of them say the older one's counts. Those that select callers contend with none but who selects
 * the same.
 */
export function destinationRuleLosses(all: readonly DestinationRule[], ground: Ground): Losses {
  const losses = new Tally()
  const bySelector = Map.groupBy(all, ({ callers, ref }) => {
    return callers === null ? '' : `${ref.namespace} ${labelsText(Object.entries(callers))}`
  })
  for (const alike of bySelector.values()) addLosses(losses, alike, ground)
  return losses.read()
}

function addLosses(losses: Tally, all: readonly DestinationRule[], ground: Ground): void {
  for (const [host, contenders] of contended(all, (rule) => [rule.host])) {
    for (const { consumer, producer } of calls(host, contenders, ground)) {
      const visible = contenders.filter(({ callers, exportTo, ref }) => {
        return isVisible(exportTo, consumer) && (callers === null || ref.namespace === consumer)
      })
      const order = [consumer, producer, ground.rootNamespace]
      const winner = order.map((namespace) => visible.find(({ ref }) => ref.namespace === namespace)).find(Boolean)
      if (winner === undefined) continue
      const merged = visible.filter(({ ref }) => ref.namespace === winner.ref.namespace)
      for (const one of merged) losses.kept(one, host, consumer)
      for (const { loser, winner: older, fields } of saidTwice(merged)) {
        losses.lost(loser, host, { consumer, winner: older.ref, fields })
      }
      // a rule of a namespace that is none of the three is not for this call at all
      const passedOver = visible.filter(({ ref }) => ref.namespace !== winner.ref.namespace)
      for (const one of passedOver.filter(({ ref }) => order.includes(ref.namespace))) {
        losses.lost(one, host, { consumer, winner: winner.ref, fields: [] })
      }
    }
  }
}

/**
 * PeerAuthentications that are not in force for all that they are meant for: of several for one namespace, for the mesh,
 * or for one workload the oldest counts. Selectors that contradict each other never meet; of others the joined pods tell.
 */
export function peerAuthenticationLosses(
  all: readonly PeerAuthentication[],
  { rootNamespace, pods }: Pick<Ground, 'rootNamespace' | 'pods'>,
): Losses {
  const losses = new Map<string, readonly Loss[]>()
  const byNamespace = Map.groupBy(pods, ({ namespace }) => namespace)
  for (const [namespace, list] of peersByNamespace(all)) {
    const place = namespace === rootNamespace ? 'the mesh' : `namespace ${namespace}`
    const [first, ...younger] = list.filter(({ selector }) => selector === null)
    for (const { ref } of younger) {
      if (first !== undefined) losses.set(losesKey(ref), [overridden(place, first.ref, true)])
    }
    const selecting = list.filter(({ selector }) => selector !== null)
    for (const [index, one] of selecting.entries()) {
      const found = selectorLosses(one, selecting.slice(0, index), byNamespace.get(namespace) ?? [])
      if (found.length > 0) losses.set(losesKey(one.ref), found)
    }
  }
  return losses
}

/** What an object with a selector loses to older ones of its namespace. */
function selectorLosses(
  one: PeerAuthentication,
  older: readonly PeerAuthentication[],
  pods: readonly JoinedPod[],
): Loss[] {
  const own = Object.entries(one.selector ?? {})
  const rivals = older.filter(({ selector }) => own.every(([name, value]) => (selector?.[name] ?? value) === value))
  // who wants no label that the loser does not want has all of its pods, whatever pods there are
  const wider = rivals.find(({ selector }) =>
    Object.keys(selector ?? {}).every((name) => one.selector?.[name] !== undefined),
  )
  if (wider !== undefined) return [overridden(`pods with ${labelsText(own)}`, wider.ref, true)]
  if (rivals.length === 0) return []
  const winners = new Set<PeerAuthentication>()
  for (const pod of pods) {
    const winner = selects(one, pod) ? rivals.find((rival) => selects(rival, pod)) : undefined
    if (winner !== undefined) winners.add(winner)
  }
  return [...winners].map(({ ref, selector }) => {
    const both = Object.entries({ ...one.selector, ...selector })
    return overridden(`pods with ${labelsText(both)}`, ref, false)
  })
}

function overridden(host: string, winner: ObjectRef, whole: boolean): Loss {
  return { host, winners: [winner], whole, lostFor: [], keptFor: [], fields: [] }
}

function labelsText(labels: readonly (readonly [string, string])[]): string {
  return labels
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(', ')
}

/** Fields that count for nothing in merged rules, oldest first: an older one has said as much. */
function saidTwice(
  merged: readonly DestinationRule[],
): { readonly loser: DestinationRule; readonly winner: DestinationRule; readonly fields: readonly string[] }[] {
  const first = new Map<string, DestinationRule>()
  return merged.flatMap((loser) => {
    const policy = loser.policy === null ? [] : [{ key: '', field: 'spec.trafficPolicy' }]
    const subsets = loser.subsets.map(({ name }, index) => ({ key: name, field: `spec.subsets[${index}]` }))
    const byWinner = new Map<DestinationRule, string[]>()
    for (const { key, field } of [...policy, ...subsets]) {
      const winner = first.get(key)
      if (winner === undefined) first.set(key, loser)
      else if (winner !== loser) byWinner.set(winner, [...(byWinner.get(winner) ?? []), field])
    }
    return [...byWinner].map(([winner, fields]) => ({ loser, winner, fields }))
  })
}

/** Objects by host, where a host has several; oldest first, as the mesh reads them. */
function contended<T extends Contender>(
  all: readonly T[],
  hostsOf: (object: T) => readonly string[],
): [string, readonly T[]][] {
  const byHost = new Map<string, T[]>()
  for (const object of [...all].sort(byAge)) {
    for (const host of new Set(hostsOf(object))) {
      const known = byHost.get(host)
      if (known === undefined) byHost.set(host, [object])
      else known.push(object)
    }
  }
  return [...byHost].filter(([, objects]) => objects.length > 1)
}

/** Every pair of caller's and service's namespaces in which a host's precedence may differ. */
function calls(host: string, contenders: readonly Contender[], ground: Ground): Call[] {
  const fixed = producerOf(host, ground.clusterDomain)
  const namespaces = new Set(contenders.map(({ ref }) => ref.namespace))
  const producers = fixed === null ? ['', ...[...namespaces].slice(0, PRODUCERS_TRIED)] : [fixed]
  return ground.namespaces.flatMap((consumer) => producers.map((producer) => ({ consumer, producer })))
}

/** The namespace of every Service that a host covers; '' where it covers none, null where they may be of several. */
function producerOf(host: string, clusterDomain: string): string | null {
  const suffix = `.svc.${clusterDomain}`
  const namespace = host.endsWith(suffix) ? (host.slice(0, -suffix.length).split('.').at(-1) ?? '') : ''
  if (namespace !== '' && !namespace.includes('*')) return namespace
  return host.startsWith('*') ? null : ''
}

interface Outcome {
  readonly kept: Set<string>
  /** By the fields that are lost: who wins, and for callers of which namespaces. */
  readonly lost: Map<string, { fields: readonly string[]; winners: Map<string, ObjectRef>; callers: Set<string> }>
}

/** Gathers who lost what to whom, call by call. */
class Tally {
  readonly #outcomes = new Map<string, Map<string, Outcome>>()

  kept({ ref }: Contender, host: string, consumer: string): void {
    this.#of(ref, host).kept.add(consumer)
  }

  lost(
    { ref }: Contender,
    host: string,
    to: { readonly consumer: string; readonly winner: ObjectRef; readonly fields: readonly string[] },
  ): void {
    const { lost } = this.#of(ref, host)
    const key = to.fields.join()
    const known = lost.get(key) ?? { fields: to.fields, winners: new Map(), callers: new Set() }
    lost.set(key, known)
    known.winners.set(losesKey(to.winner), to.winner)
    known.callers.add(to.consumer)
  }

  read(): Losses {
    const losses = [...this.#outcomes].map(([key, hosts]): [string, readonly Loss[]] => [
      key,
      [...hosts].sort(([one], [other]) => (one < other ? -1 : 1)).flatMap(([host, outcome]) => lossesOf(host, outcome)),
    ])
    return new Map(losses.filter(([, list]) => list.length > 0))
  }

  #of(ref: ObjectRef, host: string): Outcome {
    const key = losesKey(ref)
    const hosts = this.#outcomes.get(key) ?? new Map<string, Outcome>()
    this.#outcomes.set(key, hosts)
    const outcome = hosts.get(host) ?? { kept: new Set(), lost: new Map() }
    hosts.set(host, outcome)
    return outcome
  }
}

function lossesOf(host: string, { kept, lost }: Outcome): Loss[] {
  return [...lost]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([, { fields, winners, callers }]) => ({
      host,
      winners: [...winners].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, ref]) => ref),
      lostFor: [...callers].sort(),
      whole: fields.length === 0 && kept.size === 0,
      keptFor: [...kept].filter((namespace) => !callers.has(namespace)).sort(),
      fields,
    }))
}
