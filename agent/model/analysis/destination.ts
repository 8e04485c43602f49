// What is found of where the rules of a VirtualService send, mirrors included.

import { isVisible } from '../destination.ts'
import { resolvedService, unknownHost } from './host.ts'
import {
  type AnalysisWorld,
  carries,
  type Finding,
  type Found,
  type KnownService,
  labelsText,
  mirrorPath,
  nameOf,
  nameOfService,
  namespacesOf,
  podsBehind,
  portOf,
  portsText,
  type RuleAt,
  rulesFor,
  rulesOf,
  servicesOf,
} from './world.ts'
import { severityOf } from './codes.ts'
import type { Destination, VirtualService } from '../policy.ts'
import type { DestinationRule } from '../traffic-policy.ts'

/** Destinations that are not there, or that nobody stands behind. */
export function analyseDestinations(world: AnalysisWorld): readonly Finding[] {
  return world.virtualServices.flatMap((virtualService) =>
    rulesOf(world, virtualService).flatMap((at) => {
      const dialled = dialledPorts(world, virtualService, at)
      return sentTo(at).flatMap((sent) =>
        ofDestination(world, virtualService, { ...sent, dialled }).map((found): Finding => {
          return { severity: severityOf(found.code), ...found, object: virtualService.ref }
        }),
      )
    }),
  )
}

/** A destination, the path where it stands, and whether anything is sent there at all. */
interface Sent {
  readonly to: Destination
  readonly field: string
  readonly isUsed: boolean
}

/** All that a rule sends to. */
export function sentTo(at: RuleAt): readonly Sent[] {
  const { place, rule } = at
  const isAlone = rule.destinations.length === 1
  const routes = rule.destinations.map((to, index): Sent => {
    return { to, field: `${place.path}.route[${index}].destination`, isUsed: isAlone || to.weight > 0 }
  })
  if (at.list !== 'http') return routes
  const mirrors = at.rule.mirrors.map(({ destination, percent }, index): Sent => {
    return { to: destination, field: mirrorPath(place, index), isUsed: percent > 0 }
  })
  return [...routes, ...mirrors]
}

/** Ports of its hosts' Services at which a rule is asked; null where the hosts do not tell. */
function dialledPorts(
  world: AnalysisWorld,
  { hosts }: VirtualService,
  { list, rule }: RuleAt,
): readonly number[] | null {
  const services = hosts.map((host) => (host.startsWith('*') ? [] : servicesOf(world, host)))
  if (hosts.length === 0 || services.some((known) => known.length === 0)) return null
  const wanted = rule.matches.map(({ port }) => port)
  const isLimited = wanted.length > 0 && !wanted.includes(null)
  const never = list === 'http' ? 'opaque' : 'http'
  return services
    .flat()
    .flatMap(({ service }) => service.ports)
    .filter(({ port, protocol }) => (isLimited ? wanted.includes(port) : protocol !== never))
    .map(({ port }) => port)
}

function ofDestination(
  world: AnalysisWorld,
  from: VirtualService,
  { to, field, isUsed, dialled }: Sent & { readonly dialled: readonly number[] | null },
): readonly Found[] {
  const resolved = resolvedService(world, to.host)
  if (resolved === null || 'outside' in resolved) {
    // told with that host already; and outside, it goes to the address that was dialled
    if (from.hosts.includes(to.host)) return []
    return [unknownDestination(world, to, resolved, `${field}.host`)]
  }
  const ports = ofPort(resolved, { to, field, dialled })
  const subset = to.subset === null ? [] : ofSubset(world, from, { to, field, known: resolved })
  if (subset.length > 0 || !isUsed) return [...ports, ...subset]
  return [...ports, ...ofPods(world, resolved, field)]
}

function unknownDestination(
  world: AnalysisWorld,
  { host }: Destination,
  resolved: { readonly outside: string } | null,
  field: string,
): Found {
  if (resolved !== null) {
    const message = `${host} is but a name for ${resolved.outside}, which is no Service: nothing can be sent there`
    return { code: 'WEFT0202', field, message }
  }
  const unknown = unknownHost(world, host)
  if (unknown === null) return { code: 'WEFT0202', field, message: `${host} is no Service: nothing can be sent there` }
  const { message, severity, isOutside } = unknown
  if (isOutside) return { code: 'WEFT0202', field, message: `${message}: nothing can be sent there` }
  return { code: 'WEFT0202', field, severity, message }
}

interface At {
  readonly to: Destination
  readonly field: string
}

function ofPort(
  known: KnownService,
  { to, field, dialled }: At & { readonly dialled: readonly number[] | null },
): readonly Found[] {
  const { service } = known
  if (to.port !== null) {
    if (portOf(known, to.port) !== null) return []
    const message = `${nameOfService(known)} has no port ${to.port} (its ports: ${portsText(known)})`
    return [{ code: 'WEFT0203', field: `${field}.port`, message }]
  }
  if (service.ports.length < 2 || dialled === null || dialled.length === 0) return []
  if (dialled.some((port) => portOf(known, port) !== null)) return []
  const message = `${nameOfService(known)} has ports ${portsText(known)}, none of which is called here (${[...new Set(dialled)].join(', ')}): the rule must say which it means`
  return [{ code: 'WEFT0204', field: `${field}.port`, message }]
}

function ofSubset(
  world: AnalysisWorld,
  from: VirtualService,
  { to, field, known }: At & { readonly known: KnownService },
): readonly Found[] {
  const { host, namespace } = known.service
  const all = rulesFor(world, host)
  const defining = all.filter(({ subsets }) => subsets.some(({ name }) => name === to.subset))
  const at = `${field}.subset`
  if (defining.length === 0) {
    const isElsewhere = world.from === 'files' && all.length === 0
    const where = world.from === 'files' ? ' of the given files' : ''
    const message = `no DestinationRule${where} defines subset ${to.subset} of ${nameOfService(known)}`
    return [{ code: 'WEFT0205', field: at, message, ...(isElsewhere ? { severity: 'warning' as const } : {}) }]
  }
  const consumers = [...namespacesOf(world)].filter((consumer) => isVisible(from.exportTo, consumer))
  const counting = defining.filter(({ ref, exportTo }) =>
    consumers.some(
      (consumer) => isVisible(exportTo, consumer) && [consumer, namespace, world.rootNamespace].includes(ref.namespace),
    ),
  )
  if (counting.length > 0) return ofSubsetPods(world, counting, { to, field: at, known })
  const by = defining.map(({ ref }) => nameOf(ref)).join(', ')
  const message = `subset ${to.subset} of ${nameOfService(known)} is defined by ${by}, which counts for no caller of this rule`
  return [{ code: 'WEFT0205', field: at, message }]
}

function ofSubsetPods(
  world: AnalysisWorld,
  defining: readonly DestinationRule[],
  { to, field, known }: At & { readonly known: KnownService },
): readonly Found[] {
  const pods = podsBehind(world, known)
  if (pods === null || pods.length === 0) return [] // told of the destination itself
  const wanted = defining.flatMap(({ subsets }) => subsets.filter(({ name }) => name === to.subset))
  if (wanted.some(({ labels }) => pods.some((pod) => carries(pod.labels, labels)))) return []
  const labels = labelsText(wanted[0]?.labels ?? {})
  const message = `no pod behind ${nameOfService(known)} carries ${labels}, as subset ${to.subset} wants`
  return [{ code: 'WEFT0206', field, message }]
}

function ofPods(world: AnalysisWorld, known: KnownService, field: string): readonly Found[] {
  const pods = podsBehind(world, known)
  if (pods === null || pods.length > 0) return []
  const where = world.from === 'files' ? ' of the given files' : ''
  return [{ code: 'WEFT0206', field: `${field}.host`, message: `no pod${where} stands behind ${nameOfService(known)}` }]
}
