// What the pure model decides with Istio's objects as users write them: each call translates them, compiles a snapshot of one
// small mesh, and asks for one decision.

import assert from 'node:assert/strict'
import { translateDestinationRule } from '../../agent/kube/destination-rule.ts'
import { istio } from '../../agent/kube/objects.fixture.ts'
import { translateVirtualService } from '../../agent/kube/virtual-service.ts'
import type { KubeObject } from '../../agent/kube/object.ts'
import type { Backends } from '../../agent/model/backends.ts'
import { footing } from '../../agent/model/balance/balance.fixture.ts'
import { pick } from '../../agent/model/balance/balance.ts'
import { hashOf } from '../../agent/model/balance/hash-policy.ts'
import { routeFlow } from '../../agent/model/flow-route.ts'
import type { HttpRoute } from '../../agent/model/http/route.ts'
import type { Problem } from '../../agent/model/policy.ts'
import { drawn, request, seeded } from '../../agent/model/request.fixture.ts'
import { routeHttp, routeTcp } from '../../agent/model/route.ts'
import type { Endpoint } from '../../agent/model/service.ts'
import { compile, type Snapshot } from '../../agent/model/snapshot.ts'
import type { Workload } from '../../agent/model/workload.ts'
import { dialled, world } from '../../agent/model/world.fixture.ts'

/** When it is, of endpoints that are new: web-v2 became ready five seconds ago. */
export const NOW_MS = 1_800_000_000_000

const PORTS = [
  { port: 80, name: 'http', protocol: 'http', targetPort: 8080 },
  { port: 81, name: 'http-more', protocol: 'http', targetPort: 8081 },
  { port: 443, name: 'tls', protocol: 'opaque', targetPort: 8443 },
] as const

/** Four versions of web, each on a node in a place of its own, and who calls them. */
const PLACES = world()
  .node('node-1', 'eu/a/1')
  .node('node-2', 'eu/b/1')
  .node('node-3', 'us/a/1')
  .node('node-4', 'asia/a/1')
  .service('web', { ports: PORTS })
  .pods('web-v1')
  .pods('web-v2', { node: 'node-2', readySinceMs: NOW_MS - 5000 })
  .pods('web-v3', { node: 'node-3' })
  .pods('web-v4', { node: 'node-4' })
  .service('api')
  .pods('api')
  .service('copy')
  .pods('copy')
  .pods('front', { behind: [] })
  .pods('batch-v2', { namespace: 'shop', behind: [] })

/** Callers: one of web's own namespace, and one of another. */
export const FRONT = PLACES.pod('front-1')
export const BATCH = PLACES.pod('batch-v2-1', 'shop')

const SUBSETS = ['v1', 'v2', 'v3', 'v4'].map((name) => ({ name, labels: { version: name } }))
export const to = (subset: string, wish: object = {}): object => ({ destination: { host: 'web', subset }, ...wish })

/** VirtualServices that others delegate to, one in each namespace. */
const HOST = 'web.default.svc.cluster.local'
const TEAMS = [
  istio('VirtualService', { http: [{ route: [to('v3')] }] }, { name: 'team' }),
  istio(
    'VirtualService',
    { http: [{ route: [{ destination: { host: HOST, subset: 'v4' } }] }] },
    { name: 'team', namespace: 'shop' },
  ),
]

/** A snapshot with these objects in force. Throws where one is refused, or a field of it reported that is honoured. */
function inForce(given: readonly KubeObject[], mayReport: readonly string[] = []): Snapshot {
  const [virtual, rules] = [
    given.filter(({ kind }) => kind === 'VirtualService').map((one) => translateVirtualService(one, 'cluster.local')),
    given.filter(({ kind }) => kind === 'DestinationRule').map((one) => translateDestinationRule(one, 'cluster.local')),
  ]
  const problems: readonly Problem[] = [...virtual, ...rules].flatMap((one) => one.problems)
  assert.deepEqual(
    problems.filter(({ field }) => !mayReport.includes(field)),
    [],
  )
  return compile({
    ...PLACES.inventory(),
    virtualServices: virtual.flatMap(({ value }) => (value === null ? [] : [value])),
    destinationRules: rules.flatMap(({ value }) => (value === null ? [] : [value])),
  })
}

/** What is asked for; without a word a GET of `/` at port 80 by FRONT, and dice that show the half. */
export interface Ask {
  readonly request?: Parameters<typeof request>[0]
  readonly port?: number
  readonly from?: Workload
  readonly random?: number
}

/** What becomes of a request under a VirtualService. */
export function routed(spec: object, { request: facts, port = 80, from = FRONT, random = 0.5 }: Ask = {}): HttpRoute {
  const subsets = istio('DestinationRule', { host: 'web', subsets: SUBSETS }, { name: 'subsets' })
  const snapshot = inForce([istio('VirtualService', spec), subsets, ...TEAMS], ['spec.gateways'])
  const asked = { request: request({ authority: 'web', port, ...facts }), caller: from }
  return routeHttp(snapshot, dialled(snapshot, 'web', port), asked, drawn(random))
}

/** Reads a route that forwards. */
export function forwarded<T>(read: (route: HttpRoute & { kind: 'forward' }) => T): (route: HttpRoute) => T {
  return (route) => {
    assert.equal(route.kind, 'forward', JSON.stringify(route))
    return read(route)
  }
}

/** The subset that it goes to, or how else it ends. */
export const subsetOf = (route: HttpRoute): string | null =>
  route.kind === 'forward' ? (route.backends.subset ?? route.backends.host) : route.kind

/** A decision by what is given of a VirtualService. */
export type Decide = (given: object) => unknown

/** Given the spec, beside a host and a rule. */
export const spec =
  (read: (route: HttpRoute) => unknown, ask?: Ask): Decide =>
  (given) =>
    read(routed({ hosts: ['web'], http: [{ route: [to('v1')] }], ...given }, ask))

/** Given a rule, beside a route. */
export const rule =
  (read: (route: HttpRoute) => unknown, ask?: Ask): Decide =>
  (given) =>
    read(routed({ hosts: ['web'], http: [{ route: [to('v1')], ...given }] }, ask))

/** Given a rule that does not forward. */
export const action =
  (read: (route: HttpRoute) => unknown, ask?: Ask): Decide =>
  (given) =>
    read(routed({ hosts: ['web'], http: [{ match: [{ uri: { prefix: '/a' } }], ...given }] }, ask))

/** Given an entry of a match: where what it is for goes to v1, and all else to v2. */
export const matched =
  (ask: Ask = {}): Decide =>
  (given) =>
    subsetOf(routed({ hosts: ['web'], http: [{ match: [given], route: [to('v1')] }, { route: [to('v2')] }] }, ask))

/** What is dialled and by whom; without a word port 443 by FRONT, without TLS. */
export interface AskFlow {
  readonly port?: number
  readonly from?: Workload
  readonly serverName?: string
}

/** Where a connection goes: the subset, or the host. */
function flowTo(given: object, { port = 443, from = FRONT, serverName }: AskFlow): string {
  const subsets = istio('DestinationRule', { host: 'web', subsets: SUBSETS }, { name: 'subsets' })
  const snapshot = inForce([istio('VirtualService', { hosts: ['web', 'api.example'], ...given }), subsets])
  const target = dialled(snapshot, 'web', port)
  const peer = { ip: from.ips[0] ?? '', port: 40_000 }
  const asked = { caller: from, dialled: target.address, peer, serverName: serverName ?? null }
  const route = routeFlow(snapshot, target, asked, drawn(0.5))
  return route.kind === 'forward' ? (route.backends.subset ?? route.backends.host.split('.', 1)[0]!) : route.code
}

/** Given an entry of a match of `tcp` or `tls`: what it is for goes to v1, all else to web as it is. */
export const flow =
  (kind: 'tcp' | 'tls', ask: AskFlow = {}): Decide =>
  (given) => {
    const own = kind === 'tls' ? { sniHosts: ['api.example'] } : {}
    const route = [{ destination: { host: 'web', subset: 'v1' } }]
    return flowTo({ [kind]: [{ match: [{ ...own, ...given }], route }] }, { serverName: 'api.example', ...ask })
  }

/** Given the list of destinations. */
export const flowRoute =
  (kind: 'tcp' | 'tls'): Decide =>
  (given) => {
    const match = kind === 'tls' ? [{ sniHosts: ['api.example'] }] : []
    return flowTo({ [kind]: [{ match, ...given }] }, { serverName: 'api.example' })
  }

/** Who looks at a host, and at which port; without a word FRONT, at 80. */
export interface Look {
  readonly port?: number
  readonly from?: Workload
  /** Of web, by a route to it. */
  readonly subset?: string
}

/** Endpoints of web under a DestinationRule. Null: there is no such subset. */
export function hosted(given: object, { port = 80, from = FRONT, subset }: Look = {}): [Backends | null, Snapshot] {
  const rules = istio('DestinationRule', { host: 'web', ...given })
  const route = { destination: { host: HOST, ...(subset !== undefined && { subset }) } }
  const snapshot = inForce([rules, istio('VirtualService', { hosts: [HOST], http: [{ route: [route] }] })])
  const target = dialled(snapshot, 'web', port)
  if (subset === undefined) return [routeTcp(snapshot, target, { consumer: from.namespace, caller: from }), snapshot]
  const found = routeHttp(snapshot, target, { request: request({ port }), caller: from }, drawn(0.5))
  return [found.kind === 'forward' ? found.backends : null, snapshot]
}

type ReadHost = (backends: Backends, snapshot: Snapshot) => unknown

/** Given the spec of a DestinationRule, beside its host. */
export const host =
  (read: ReadHost, look?: Look): Decide =>
  (given) => {
    const [backends, snapshot] = hosted(given, look)
    return backends === null ? null : read(backends, snapshot)
  }

/** Given its trafficPolicy. */
export const policy =
  (read: ReadHost, look?: Look): Decide =>
  (given) =>
    host(read, look)({ trafficPolicy: given })

/** What of a DestinationRule's trafficPolicy is reported, or that it is refused. */
export const reported: Decide = (given) => {
  const made = translateDestinationRule(
    istio('DestinationRule', { host: 'web', trafficPolicy: given }),
    'cluster.local',
  )
  return made.rejected ? 'refused' : made.problems.map(({ field }) => field.replace('spec.trafficPolicy.', ''))
}

/** Versions of web by its endpoints. */
export function versionOf({ workload }: Endpoint): string {
  return /-(v\d)-/.exec(workload ?? '')?.[1] ?? '?'
}

/** Who serves so many picks in a row, by versions. Dice are the same at each call. */
export function picks(backends: Backends, count: number, hash: number | null = null): string[] {
  const on = footing({ random: seeded(7), nowMs: () => NOW_MS })
  return Array.from({ length: count }, () => versionOf(pick(backends, on, { hash })!))
}

/** How many endpoints serve twenty requests that are the same; null: it is no HTTP. */
export const spread =
  (facts: Parameters<typeof request>[0] | null = {}): ReadHost =>
  (backends) => {
    const asked = facts === null ? null : request(facts)
    const hashed = hashOf(backends, { client: '10.0.0.1', request: asked, seed: () => 'fresh' })
    return new Set(picks(backends, 20, hashed?.hash ?? null)).size
  }

/** The cookie that a request without one is issued. */
export const issued: ReadHost = (backends) =>
  hashOf(backends, { client: '10.0.0.1', request: request(), seed: () => 'fresh' })?.cookie ?? null
