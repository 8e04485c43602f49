// What is found of DestinationRules: hosts, subsets and ports that are not there, settings that do nothing.

import { severityOf } from './codes.ts'
import { sentTo } from './destination.ts'
import { resolvedService, unknownHost } from './host.ts'
import {
  type AnalysisWorld,
  carries,
  type Finding,
  type Found,
  type KnownPod,
  type KnownService,
  labelsText,
  nameOf,
  nameOfService,
  podsBehind,
  portOf,
  portsText,
  rulesOf,
  servicesOf,
} from './world.ts'
import { effectiveMode, type PeerGround, peerModesOf, peersByNamespace } from '../peer-authentication.ts'
import type { ConsistentHash, DestinationRule, PortPolicy, TrafficPolicy } from '../traffic-policy.ts'

/** DestinationRules that speak of nothing, or say what has no effect. */
export function analyseDestinationRules(world: AnalysisWorld): readonly Finding[] {
  const routed = routedTo(world)
  const peers = { byNamespace: peersByNamespace(world.peerAuthentications), rootNamespace: world.rootNamespace }
  return world.destinationRules.flatMap((rule) => {
    const services = servicesOf(world, rule.host)
    const found = [
      ...ofHost(world, rule),
      ...ofSubsets(world, rule, services, routed),
      ...policiesOf(rule).flatMap((said) => [
        ...ofPorts(rule, services, said),
        ...ofHash(services, said),
        ...ofLocality(rule, said),
        ...ofTls(world, { services, peers }, said),
      ]),
    ]
    return found.map((one): Finding => ({ severity: severityOf(one.code), ...one, object: rule.ref }))
  })
}

/** A policy of a rule, its path, and whom it is for: all pods of the host, or those of a subset. */
interface Said {
  readonly policy: TrafficPolicy
  readonly path: string
  readonly labels: Readonly<Record<string, string>>
}

function policiesOf({ policy, subsets }: DestinationRule): readonly Said[] {
  const all = [
    { policy, path: 'spec.trafficPolicy', labels: {} },
    ...subsets.map((subset, index) => ({ ...subset, path: `spec.subsets[${index}].trafficPolicy` })),
  ]
  return all.flatMap((said) => (said.policy === null ? [] : [{ ...said, policy: said.policy }]))
}

/** Hosts that rules send to, with the subset where there is one: `host` and `host|subset`. */
function routedTo(world: AnalysisWorld): ReadonlySet<string> {
  const routed = new Set<string>()
  for (const virtualService of world.virtualServices) {
    for (const at of rulesOf(world, virtualService)) {
      for (const { to } of sentTo(at)) {
        const known = resolvedService(world, to.host)
        const host = known === null || 'outside' in known ? to.host : known.service.host
        routed.add(host).add(`${host}|${to.subset ?? ''}`)
      }
    }
  }
  return routed
}

function ofHost(world: AnalysisWorld, { host }: DestinationRule): readonly Found[] {
  const unknown = unknownHost(world, host)
  if (unknown === null) return []
  const { severity, message, isOutside } = unknown
  return [
    { code: 'WEFT0301', field: 'spec.host', severity, message: isOutside ? `${message}: it has no effect` : message },
  ]
}

function ofSubsets(
  world: AnalysisWorld,
  { host, subsets }: DestinationRule,
  services: readonly KnownService[],
  routed: ReadonlySet<string>,
): readonly Found[] {
  const hosts = host.startsWith('*') ? services.map(({ service }) => service.host) : [host]
  const pods = services.map((known) => podsBehind(world, known) ?? [])
  const isKnown = services.length > 0 && services.every((known) => podsBehind(world, known) !== null)
  // files may leave the routes to others, but not those of a host that they have routes for
  const knowsRoutes = world.from === 'cluster' || hosts.some((one) => routed.has(one))
  return subsets.flatMap(({ name, labels }, index): Found[] => {
    const field = `spec.subsets[${index}]`
    const first = subsets.findIndex((other) => other.name === name)
    if (first < index) {
      return [{ code: 'WEFT0307', field: `${field}.name`, message: `${name} is spec.subsets[${first}] already` }]
    }
    const isRouted = hosts.some((one) => routed.has(`${one}|${name}`))
    if (isKnown && pods.flat().length > 0 && !pods.flat().some((pod) => carries(pod.labels, labels))) {
      const message = `no pod behind ${host} carries ${labelsText(labels)}`
      return [{ code: 'WEFT0302', field: `${field}.labels`, message, severity: isRouted ? 'warning' : 'info' }]
    }
    if (isRouted || !knowsRoutes) return []
    return [{ code: 'WEFT0303', field, message: `no rule routes to subset ${name}` }]
  })
}

/** Of a wildcard it is not told: not every host has every port. */
function ofPorts(
  { host }: DestinationRule,
  services: readonly KnownService[],
  { policy, path }: Said,
): readonly Found[] {
  const [known] = services
  if (known === undefined || host.startsWith('*') || known.service.externalName !== null) return []
  return policy.ports
    .filter(({ port }) => portOf(known, port) === null)
    .map(({ port }) => {
      const message = `${nameOfService(known)} has no port ${port} (its ports: ${portsText(known)})`
      return { code: 'WEFT0304', field: `${path}.portLevelSettings`, message }
    })
}

/** What only an HTTP request has. */
const OF_HTTP: Readonly<Record<ConsistentHash['by']['kind'], string | null>> = {
  header: 'a header',
  query: 'a query parameter',
  cookie: 'a cookie',
  'source-ip': null,
}

/** A TCP flow has no headers to hash: told where none of the ports that are meant can be HTTP. */
function ofHash(services: readonly KnownService[], { policy, path }: Said): readonly Found[] {
  const ports = services.flatMap(({ service }) => service.ports)
  const own = ports.filter(({ port }) => !policy.ports.some((one) => one.port === port))
  const all = [
    { said: policy as PortPolicy, at: own, field: path, which: 'every port' },
    ...policy.ports.map((said) => ({
      said,
      at: ports.filter(({ port }) => port === said.port),
      field: `${path}.portLevelSettings`,
      which: `port ${said.port}`,
    })),
  ]
  return all.flatMap(({ said, at, field, which }): Found[] => {
    const by = said.balancing?.hash?.by.kind
    const what = by === undefined ? null : OF_HTTP[by]
    if (what === null || at.length === 0 || !at.every(({ protocol }) => protocol === 'opaque')) return []
    const message = `hashes by ${what}, and ${which} is declared to be no HTTP/1.1: it has no effect there`
    return [{ code: 'WEFT0305', field: field === path ? `${path}.loadBalancer.consistentHash` : field, message }]
  })
}

/** Who fails over must know who has failed. A policy of a subset leaves what it does not say to its rule's. */
function ofLocality(rule: DestinationRule, { policy, path }: Said): readonly Found[] {
  const outliers = policy.outliers ?? rule.policy?.outliers ?? null
  const all = [
    { said: policy as PortPolicy, outliers, field: `${path}.loadBalancer.localityLbSetting` },
    ...policy.ports.map((said) => ({ said, outliers: said.outliers, field: `${path}.portLevelSettings` })),
  ]
  return all.flatMap((one): Found[] => {
    const locality = one.said.balancing?.locality ?? null
    if (locality === null || !locality.enabled || one.outliers !== null || locality.distribute.length > 0) return []
    const message = 'without outlierDetection no endpoint counts as failed: nobody fails over'
    return [{ code: 'WEFT0306', field: one.field, message }]
  })
}

interface Towards {
  readonly services: readonly KnownService[]
  readonly peers: PeerGround
}

function ofTls(world: AnalysisWorld, towards: Towards, { policy, labels }: Said): readonly Found[] {
  const own = policy.ports.map(({ port }) => port)
  const all = [
    { tls: policy.tls, isMeant: (port: number): boolean => !own.includes(port) },
    ...policy.ports.map(({ tls, port: meant }) => ({ tls, isMeant: (port: number): boolean => port === meant })),
  ]
  return all.flatMap(({ tls, isMeant }): Found[] => {
    if (tls?.mode === 'DISABLE') {
      const strict = strictPod(world, towards, { isMeant, labels })
      if (strict === null) return []
      const message = `DISABLE sends plaintext, which ${strict} refuses between nodes`
      return [{ code: 'WEFT0308', field: tls.by.field, message }]
    }
    if (tls?.mode !== 'ISTIO_MUTUAL') return []
    const why = towards.services.map((known) => notOfMesh(world, known)).find((one) => one !== null)
    return why === undefined ? [] : [{ code: 'WEFT0309', field: tls.by.field, message: `ISTIO_MUTUAL, but ${why}` }]
  })
}

/** Why what stands behind a Service never shows an identity of the mesh, or null. */
function notOfMesh(world: AnalysisWorld, known: KnownService): string | null {
  const { service, selector } = known
  if (service.externalName !== null) {
    const to = resolvedService(world, service.host)
    return to !== null && 'outside' in to ? `${nameOfService(known)} is a name for ${to.outside}, outside` : null
  }
  const isByHand = service.ports.every(({ endpoints }) => endpoints.every(({ workload }) => workload === null))
  if (selector === null) return isByHand ? `no pods stand behind ${nameOfService(known)}` : null
  const pods = podsBehind(world, known) ?? []
  const areOutside = pods.length > 0 && pods.every(({ joined }) => joined === false)
  return areOutside ? `none of the pods behind ${nameOfService(known)} joined the mesh` : null
}

/** A pod that takes no plaintext at a port that is meant, and by whose word. */
function strictPod(
  world: AnalysisWorld,
  { services, peers }: Towards,
  meant: { readonly isMeant: (port: number) => boolean; readonly labels: Readonly<Record<string, string>> },
): string | null {
  for (const known of services) {
    for (const pod of podsBehind(world, known) ?? []) {
      if (pod.joined === false || !carries(pod.labels, meant.labels)) continue
      const by = strictAt(known, pod, { ...meant, peers })
      if (by !== null) return `pod ${pod.namespace}/${pod.name} under ${by}`
    }
  }
  return null
}

function strictAt(
  { service, places }: KnownService,
  pod: KnownPod,
  { isMeant, peers }: { readonly isMeant: (port: number) => boolean; readonly peers: PeerGround },
): string | null {
  const modes = peerModesOf(pod, peers)
  for (const [index, { port }] of service.ports.entries()) {
    const target = places[index]?.target ?? null
    if (!isMeant(port) || (target === null && modes.ports.size > 0)) continue // by name: which port it is, nobody said
    const { mode, by } = effectiveMode(modes, target ?? port)
    if (mode === 'STRICT' && by !== null) return nameOf(by)
  }
  return null
}
