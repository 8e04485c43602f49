// What each field of a DestinationRule does: what is decided with it, and what without it or with another value of it.

import type { Backends } from '../../agent/model/backends.ts'
import { endpointOf } from '../../agent/model/balance/hash-table.ts'
import { retriesWithin } from '../../agent/model/balance/limit.ts'
import { ejectionMs, lastCheck, limitOf, marksOf, mayEject } from '../../agent/model/balance/outlier.ts'
import { tiersOf } from '../../agent/model/balance/tiers.ts'
import { weightsOf } from '../../agent/model/balance/warmup.ts'
import { linkTo } from '../../agent/model/link.ts'
import { nameOf } from '../../agent/model/service.ts'
import type { Snapshot } from '../../agent/model/snapshot.ts'
import type { ConnectionPool, ConsistentHash, OutlierDetection } from '../../agent/model/traffic-policy.ts'
import {
  BATCH,
  type Decide,
  FRONT,
  host,
  hosted,
  issued,
  type Look,
  NOW_MS,
  picks,
  policy,
  reported,
  spread,
  versionOf,
} from './decided.ts'
import { type Effect, these } from './virtual-service-effects.ts'

const hash =
  (read: Parameters<typeof policy>[0]): Decide =>
  (consistentHash) =>
    policy(read)({ loadBalancer: { consistentHash } })
const cookie: Decide = (given) => hash(issued)({ httpCookie: { name: 'user', ttl: '0s', ...given } })

/** Endpoints of a row of hashes, by versions. */
const HASHES = Array.from({ length: 64 }, (_, index) => Math.imul(index + 1, 0x9e3779b9) >>> 0)
const owners = (backends: Backends): string => HASHES.map((one) => picks(backends, 1, one)[0]).join()
/** The same, found in a table of the kind that is wanted. */
function ownersBy(algorithm: ConsistentHash['algorithm']): string {
  const [backends] = hosted({})
  return HASHES.map((one) => versionOf(endpointOf([...backends!.endpoints], algorithm, one, () => true)!)).join()
}
const ring = (minimumSize: number): string => ownersBy({ kind: 'ring', minimumSize })
const table = (tableSize: number): string => ownersBy({ kind: 'maglev', tableSize })
const hashing: Decide = (given) => hash(owners)({ useSourceIp: true, ...given })

const locality =
  (outlierDetection: object | undefined, from = FRONT): Decide =>
  (localityLbSetting) => {
    const said = { loadBalancer: { localityLbSetting }, ...(outlierDetection && { outlierDetection }) }
    return policy(groupsOf, { from })(said)
  }
const groupsOf = ({ groups }: Backends): unknown =>
  groups?.map(({ priority, weight, endpoints }) => `${priority} ${weight} ${endpoints.map(versionOf).join()}`) ?? null
const distribute: Decide = (given) =>
  locality(undefined)({ distribute: [{ from: 'eu/a/*', to: { 'eu/*': 100 }, ...given }] })
const failover: Decide = (given) => locality({})({ failover: [{ from: 'eu', to: 'us', ...given }] })

/** Weights of endpoints: of them web-v2 is new. */
const shares = ({ endpoints, policy: { balancing } }: Backends): unknown => {
  const sums = balancing.warmup === null ? null : weightsOf([...endpoints], balancing.warmup, NOW_MS)?.sums
  return sums == null ? null : [...sums].map((sum, index) => Number((sum - (sums[index - 1] ?? 0)).toFixed(3)))
}
const warmup: Decide = (given) => policy(shares)({ loadBalancer: { warmup: { duration: '20s', ...given } } })

const pool = (kind: 'tcp' | 'http', field: keyof ConnectionPool): Decide => {
  return (given) => policy(({ policy: { pool: found } }) => found[field])({ connectionPool: { [kind]: given } })
}
const keepalive = (field: 'probes' | 'timeMs' | 'intervalMs'): Decide => {
  return (tcpKeepalive) => {
    const read = ({ policy: found }: Backends): unknown => found.pool.keepalive?.[field]
    return policy(read)({ connectionPool: { tcp: { tcpKeepalive } } })
  }
}
const most = ({ policy: { pool: found } }: Backends): number | null => found.maxConnections
const connections = (maxConnections: number): object => ({ connectionPool: { tcp: { maxConnections } } })

const outliers = (read: (rules: OutlierDetection) => unknown): Decide => {
  return (outlierDetection) => policy(({ policy: found }) => read(found.outliers!))({ outlierDetection })
}
/** Who may be asked where all but the first are ejected. */
const left = (backends: Backends): unknown => {
  const ejected = new Set(backends.endpoints.slice(1).map(nameOf))
  return tiersOf(backends, { health: { ejected: () => ejected } })
    .flatMap(({ endpoints, share }) => (share > 0 ? endpoints : []))
    .map(versionOf)
}

const linkOf = (backends: Backends, snapshot: Snapshot): unknown => linkTo(snapshot, backends.endpoints[0]!, backends)
const tls =
  (read: (link: Record<string, unknown>) => unknown, mode: 'SIMPLE' | 'MUTUAL' = 'SIMPLE'): Decide =>
  (given) => {
    const files = mode === 'MUTUAL' && !('credentialName' in given) ? { clientCertificate: '/c', privateKey: '/k' } : {}
    const found = policy(linkOf)({ tls: { mode, ...files, ...given } })
    return read(found as Record<string, unknown>)
  }
const HOST = 'web.default.svc.cluster.local'
/** What names certificate and roots: mode, Secret, then of MUTUAL namespace, certificate and key, then roots. */
const material = ({ material: text }: Record<string, unknown>): unknown => JSON.parse(String(text))

const atPort =
  (read: Parameters<typeof policy>[0], port = 80): Decide =>
  (given) =>
    policy(read, { port })({ portLevelSettings: [{ port: { number: 80 }, ...given }] })

const subset =
  (read: Parameters<typeof host>[0], look: Look = { subset: 'canary' }): Decide =>
  (given) =>
    host(read, look)({ subsets: [{ name: 'canary', labels: { version: 'v2' }, ...given }] })
const budget =
  (read: (within: number, intervalMs: number) => unknown): Decide =>
  (retryBudget) =>
    policy(({ policy: { retryBudget: found } }) => read(retriesWithin(found!, 100), found!.intervalMs))({ retryBudget })
const tunnel = (given: object): unknown => {
  const target = { targetHost: 'b.example', targetPort: 99, ...given }
  return policy(({ policy: found }) => Object.values(found.tunnel ?? {}).join())({ tunnel: target })
}

const limited = { trafficPolicy: connections(7) }
const ALL = ['0 1 v1', '1 1 v2', '2 1 v3,v4']

const LOAD_BALANCER: Readonly<Record<string, Effect>> = {
  simple: [
    (loadBalancer) => policy((backends) => picks(backends, 5).join())({ loadBalancer }),
    ...these({ simple: 'ROUND_ROBIN' }, 'v1,v2,v3,v4,v1', { simple: 'RANDOM' }, 'v1,v2,v4,v3,v2'),
  ],
  'consistentHash.httpHeaderName': [
    hash(spread({ headers: { 'X-User': 'ann' } })),
    ...these({ httpHeaderName: 'x-user' }, 1, { httpHeaderName: 'x-other' }, 4),
  ],
  'consistentHash.httpCookie.name': [
    hash(spread({ headers: { cookie: 'user=ann' } })),
    ...these({ httpCookie: { name: 'user' } }, 1, { httpCookie: { name: 'other' } }, 4),
  ],
  'consistentHash.httpCookie.ttl': [
    cookie,
    ...these({ ttl: '60s' }, 'user="fresh"; Max-Age=60; HttpOnly', { ttl: null }, null),
  ],
  'consistentHash.httpCookie.path': [
    cookie,
    ...these({ path: '/x' }, 'user="fresh"; Path=/x; HttpOnly', {}, 'user="fresh"; HttpOnly'),
  ],
  'consistentHash.httpCookie.attributes[].name': [
    cookie,
    ...these({ attributes: [{ name: 'Secure' }] }, 'user="fresh"; Secure; HttpOnly', {}, 'user="fresh"; HttpOnly'),
  ],
  'consistentHash.httpCookie.attributes[].value': [
    cookie,
    ...these({ attributes: [{ name: 'SameSite', value: 'Lax' }] }, 'user="fresh"; SameSite=Lax; HttpOnly'),
    ...these({ attributes: [{ name: 'SameSite', value: 'Strict' }] }, 'user="fresh"; SameSite=Strict; HttpOnly'),
  ],
  'consistentHash.useSourceIp': [hash(spread(null)), { useSourceIp: true }, 1, { httpHeaderName: 'x-user' }, 4],
  'consistentHash.httpQueryParameterName': [
    hash(spread({ target: '/?user=ann' })),
    ...these({ httpQueryParameterName: 'user' }, 1, { httpQueryParameterName: 'other' }, 4),
  ],
  'consistentHash.ringHash.minimumRingSize': [
    hashing,
    ...these({ ringHash: { minimumRingSize: 3 } }, ring(3), { ringHash: {} }, ring(1024)),
  ],
  'consistentHash.maglev.tableSize': [
    hashing,
    ...these({ maglev: { tableSize: 7 } }, table(7), { maglev: {} }, table(65_537)),
  ],
  'consistentHash.minimumRingSize': [hashing, { minimumRingSize: 3 }, ring(3), {}, ring(1024)],
  'localityLbSetting.enabled': [locality({}), { enabled: true }, ALL, { enabled: false }, null],
  'localityLbSetting.distribute[].from': [
    distribute,
    ...these({ from: 'eu/a/*' }, ['0 100 v1,v2'], { from: 'us/*' }, null),
  ],
  'localityLbSetting.distribute[].to': [
    distribute,
    ...these({ to: { 'eu/b/*': 30, 'us/*': 70 } }, ['0 30 v2', '0 70 v3'], { to: { 'asia/*': 100 } }, ['0 100 v4']),
  ],
  'localityLbSetting.failover[].from': [
    failover,
    ...these({ from: 'eu' }, ['0 1 v1', '1 1 v2', '2 1 v3', '3 1 v4'], { from: 'asia' }, ALL),
  ],
  'localityLbSetting.failover[].to': [
    failover,
    ...these({ to: 'asia' }, ['0 1 v1', '1 1 v2', '2 1 v4', '3 1 v3']),
    ...these({ to: 'us' }, ['0 1 v1', '1 1 v2', '2 1 v3', '3 1 v4']),
  ],
  'localityLbSetting.failoverPriority': [
    locality({}),
    ...these({ failoverPriority: ['version=v3'] }, ['0 1 v3', '1 1 v1,v2,v4'], {}, ALL),
  ],
  'warmup.duration': [warmup, { duration: '10s' }, [1, 0.5, 1, 1], { duration: '20s' }, [1, 0.25, 1, 1]],
  'warmup.minimumPercent': [warmup, { minimumPercent: 40 }, [1, 0.4, 1, 1], {}, [1, 0.25, 1, 1]],
  'warmup.aggression': [warmup, { aggression: 2 }, [1, 0.5, 1, 1], {}, [1, 0.25, 1, 1]],
  warmupDurationSecs: [
    (loadBalancer) => policy(shares)({ loadBalancer }),
    ...these({ warmupDurationSecs: '10s' }, [1, 0.5, 1, 1], {}, null),
  ],
}

const CONNECTION_POOL: Readonly<Record<string, Effect>> = {
  'tcp.maxConnections': [pool('tcp', 'maxConnections'), { maxConnections: 7 }, 7, {}, null],
  'tcp.connectTimeout': [pool('tcp', 'connectTimeoutMs'), { connectTimeout: '2s' }, 2000, {}, null],
  'tcp.tcpKeepalive.probes': [keepalive('probes'), { probes: 7 }, 7, {}, null],
  'tcp.tcpKeepalive.time': [keepalive('timeMs'), { time: '7s' }, 7000, {}, null],
  'tcp.tcpKeepalive.interval': [keepalive('intervalMs'), { interval: '7s' }, 7000, {}, null],
  'tcp.idleTimeout': [pool('tcp', 'idleMs'), { idleTimeout: '7s' }, 7000, { idleTimeout: '0s' }, 0],
  'tcp.maxConnectionDuration': [pool('tcp', 'maxDurationMs'), { maxConnectionDuration: '7s' }, 7000, {}, null],
  'http.http1MaxPendingRequests': [pool('http', 'maxPending'), { http1MaxPendingRequests: 7 }, 7, {}, null],
  'http.http2MaxRequests': [pool('http', 'maxRequests'), { http2MaxRequests: 7 }, 7, {}, null],
  'http.maxRequestsPerConnection': [pool('http', 'maxPerConnection'), { maxRequestsPerConnection: 7 }, 7, {}, null],
  'http.maxRetries': [pool('http', 'maxRetries'), { maxRetries: 7 }, 7, {}, null],
  'http.idleTimeout': [pool('http', 'httpIdleMs'), { idleTimeout: '7s' }, 7000, {}, null],
  // what they ask for is what HTTP/1.1 has anyway: nothing is decided by them, and nothing is to be reported
  'http.h2UpgradePolicy': [
    (http) => reported({ connectionPool: { http } }),
    ...these({ h2UpgradePolicy: 'DO_NOT_UPGRADE' }, []),
    ...these({ h2UpgradePolicy: 'UPGRADE' }, ['connectionPool.http.h2UpgradePolicy']),
  ],
  'http.useClientProtocol': [
    (http) => reported({ connectionPool: { http: { useClientProtocol: true, ...http } } }),
    ...these({}, [], { h2UpgradePolicy: 'UPGRADE' }, 'refused'),
  ],
}

const OUTLIER_DETECTION: Readonly<Record<string, Effect>> = {
  splitExternalLocalOriginErrors: [
    outliers((rules) => marksOf(rules, 'failed')),
    { splitExternalLocalOriginErrors: true },
    { any: null, gateway: null, local: 'failure' },
    ...these({}, { any: 'failure', gateway: 'failure', local: null }),
  ],
  consecutiveLocalOriginFailures: [
    outliers((rules) => limitOf(rules, 'local')),
    ...these({ splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 7 }, 7),
    ...these({ splitExternalLocalOriginErrors: true }, 5),
  ],
  consecutiveGatewayErrors: [
    outliers((rules) => limitOf(rules, 'gateway')),
    ...these({ consecutiveGatewayErrors: 7 }, 7, {}, 0),
  ],
  consecutive5xxErrors: [outliers((rules) => limitOf(rules, 'any')), { consecutive5xxErrors: 7 }, 7, {}, 5],
  consecutiveErrors: [
    outliers((rules) => [limitOf(rules, 'gateway'), limitOf(rules, 'any')]),
    ...these({ consecutiveErrors: 7 }, [7, 0], {}, [0, 5]),
  ],
  outlierDetectionHttpErrorCodes: [
    outliers((rules) => [404, 500].map((status) => marksOf(rules, status).any)),
    ...these({ outlierDetectionHttpErrorCodes: [404] }, ['failure', 'success'], {}, ['success', 'failure']),
  ],
  interval: [outliers((rules) => lastCheck(rules, 0, 25_000)), { interval: '7s' }, 21_000, {}, 20_000],
  baseEjectionTime: [outliers((rules) => ejectionMs(rules, 2)), { baseEjectionTime: '7s' }, 14_000, {}, 60_000],
  maxEjectionPercent: [
    outliers((rules) => mayEject(rules, 1, 4)),
    ...these({ maxEjectionPercent: 50 }, true, { maxEjectionPercent: 49 }, false),
  ],
  minHealthPercent: [
    (outlierDetection) => policy(left)({ outlierDetection, loadBalancer: { localityLbSetting: { enabled: false } } }),
    ...these({ minHealthPercent: 50 }, ['v1', 'v2', 'v3', 'v4'], {}, ['v1']),
  ],
}

const TLS: Readonly<Record<string, Effect>> = {
  mode: [tls(({ kind }) => kind), { mode: 'SIMPLE' }, 'originated', { mode: 'DISABLE' }, 'plain'],
  clientCertificate: [
    tls(material, 'MUTUAL'),
    { clientCertificate: '/own' },
    ['MUTUAL', null, 'default', '/own', '/k', '', false],
    ...these({}, ['MUTUAL', null, 'default', '/c', '/k', '', false]),
  ],
  privateKey: [
    tls(material, 'MUTUAL'),
    { privateKey: '/own' },
    ['MUTUAL', null, 'default', '/c', '/own', '', false],
    ...these({}, ['MUTUAL', null, 'default', '/c', '/k', '', false]),
  ],
  caCertificates: [
    tls(material),
    ...these({ caCertificates: '/ca' }, ['SIMPLE', null, '/ca', false], {}, ['SIMPLE', null, '', false]),
  ],
  credentialName: [
    tls(material),
    ...these({ credentialName: 'own' }, ['SIMPLE', 'default/own', '', false], {}, ['SIMPLE', null, '', false]),
  ],
  subjectAltNames: [tls(({ names }) => names), { subjectAltNames: ['b.example'] }, ['b.example'], {}, [HOST]],
  sni: [tls(({ serverName }) => serverName), { sni: 'b.example' }, 'b.example', {}, HOST],
  insecureSkipVerify: [tls(({ names }) => names), { insecureSkipVerify: true }, null, {}, [HOST]],
}

const TRAFFIC_POLICY: Readonly<Record<string, Effect>> = {
  ...beneath('loadBalancer', LOAD_BALANCER),
  ...beneath('connectionPool', CONNECTION_POOL),
  ...beneath('outlierDetection', OUTLIER_DETECTION),
  ...beneath('tls', TLS),
  'portLevelSettings[].port.number': [
    (given) => atPort(most, 81)({ ...connections(7), ...given }),
    ...these({ port: { number: 81 } }, 7, { port: { number: 80 } }, null),
  ],
  'portLevelSettings[].loadBalancer': [
    atPort(({ policy: { balancing } }) => balancing.simple),
    ...these({ loadBalancer: { simple: 'RANDOM' } }, 'RANDOM', {}, 'LEAST_REQUEST'),
  ],
  'portLevelSettings[].connectionPool': [atPort(most), connections(7), 7, {}, null],
  'portLevelSettings[].outlierDetection': [
    atPort(({ policy: { outliers: found } }) => found?.consecutive5xx ?? null),
    ...these({ outlierDetection: { consecutive5xxErrors: 7 } }, 7, {}, null),
  ],
  'portLevelSettings[].tls': [
    (given) => (atPort(linkOf)(given) as { readonly kind: string }).kind,
    ...these({ tls: { mode: 'SIMPLE' } }, 'originated', {}, 'plain'),
  ],
  'tunnel.protocol': [
    (given) => reported({ tunnel: { targetHost: 'b.example', targetPort: 99, ...given } }),
    ...these({ protocol: 'CONNECT' }, [], { protocol: 'POST' }, ['tunnel.protocol']),
  ],
  'tunnel.targetHost': [tunnel, { targetHost: 'c.example' }, 'CONNECT,c.example,99', {}, 'CONNECT,b.example,99'],
  'tunnel.targetPort': [tunnel, { targetPort: 98 }, 'CONNECT,b.example,98', {}, 'CONNECT,b.example,99'],
  'proxyProtocol.version': [
    (proxyProtocol) => policy(({ policy: found }) => found.proxyProtocol)({ proxyProtocol }),
    ...these({ version: 'V2' }, 2, { version: 'V1' }, 1),
  ],
  'retryBudget.percent': [budget((within) => within), { percent: 30 }, 30, {}, 20],
  'retryBudget.budgetInterval': [budget((_, intervalMs) => intervalMs), { budgetInterval: '7s' }, 7000, {}, 0],
  'retryBudget.minRetryConcurrency': [budget((within) => within), { minRetryConcurrency: 50 }, 50, {}, 20],
}

function beneath(path: string, effects: Readonly<Record<string, Effect>>): Readonly<Record<string, Effect>> {
  return Object.fromEntries(Object.entries(effects).map(([field, effect]) => [`${path}.${field}`, effect]))
}

export const DESTINATION_RULE_EFFECTS: Readonly<Record<string, Effect>> = {
  host: [host(most), { host: 'web', ...limited }, 7, { host: 'api', ...limited }, null],
  exportTo: [
    host(most, { from: BATCH }),
    ...these({ exportTo: ['shop'], ...limited }, 7, { exportTo: ['.'], ...limited }, null),
  ],
  'workloadSelector.matchLabels': [
    host(most, { from: FRONT }),
    ...these({ workloadSelector: { matchLabels: { app: 'front' } }, ...limited }, 7),
    ...these({ workloadSelector: { matchLabels: { app: 'batch' } }, ...limited }, null),
  ],
  ...beneath('trafficPolicy', TRAFFIC_POLICY),
  'subsets[].name': [subset((found) => found.subset), { name: 'canary' }, 'canary', { name: 'other' }, null],
  'subsets[].labels': [
    subset(({ endpoints }) => endpoints.map(versionOf)),
    ...these({ labels: { version: 'v3' } }, ['v3'], {}, ['v2']),
  ],
  'subsets[].trafficPolicy': [subset(most), { trafficPolicy: connections(7) }, 7, {}, null],
}
