// What each field of a VirtualService does: what is decided with it, and what without it or with another value of it.

import { headEdit } from '../../agent/model/http/header-changes.ts'
import type { HttpRoute } from '../../agent/model/http/route.ts'
import { backoffMs, isRetried, type Setback } from '../../agent/model/http/retry.ts'
import {
  action,
  BATCH,
  type Decide,
  flow,
  flowRoute,
  forwarded,
  FRONT,
  matched,
  rule,
  spec,
  subsetOf,
  to,
} from './decided.ts'

/** How it is decided, then twice what is given and what comes of it. */
export type Effect = readonly [decide: Decide, one: object, is: unknown, other: object, was: unknown]

/** The rest of a row. */
export function these<T extends readonly unknown[]>(...rest: T): T {
  return rest
}

const UNAVAILABLE: Setback = { kind: 'answered', status: 503, grpcStatus: null, limited: false }
const ORIGIN = 'https://a.example'
const PREFLIGHT = { origin: ORIGIN, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'x-b' }
const AT_A = { request: { target: '/a/b?q=1' } }

/** What is changed in a head: the lines that leave besides, and whose own do not. */
const headOf =
  (end: 'request' | 'response') =>
  (route: HttpRoute): unknown => {
    const edit = route.kind === 'none' ? null : headEdit(route.changes[end])
    return edit === null ? null : [edit.lines.trim(), ...edit.gone]
  }
const fieldOf =
  (name: string) =>
  (route: HttpRoute): string | null => {
    const own = route.kind === 'answer' ? route.fields : []
    const changed = route.kind === 'none' ? [] : route.changes.response.flatMap(({ set }) => set)
    return [...own, ...changed].find(([one]) => one === name)?.[1] ?? null
  }
const statusOf = (route: HttpRoute): number | null => ('status' in route ? route.status : null)
const bodyOf = (route: HttpRoute): string | null =>
  route.kind === 'answer' ? new TextDecoder().decode(route.body ?? new Uint8Array()) : null
const mirrorsOf = forwarded(({ mirrors }) => mirrors.map(({ host, subset }) => subset ?? host.split('.', 1)[0]))
const delayOf = forwarded(({ delayMs }) => delayMs)
const tries = <T>(read: Parameters<typeof forwarded<T>>[0]): Decide => {
  const decide = rule(forwarded(read))
  return (given) => decide({ retries: given })
}

const inUri =
  (given: object): Decide =>
  (other) =>
    matched(AT_A)({ uri: { prefix: '/A' }, ...given, ...other })
const redirected = (name: string): Decide => {
  const facts = { target: '/a/b?q=1', authority: 'web:81' }
  return (given) => action(fieldOf(name), { port: 81, request: facts })({ redirect: { uri: '/x', ...given } })
}
const location = redirected('location')
const redirectCode: Decide = (given) => action(statusOf, AT_A)({ redirect: { uri: '/x', ...given } })
const direct =
  (read: (route: HttpRoute) => unknown): Decide =>
  (given) =>
    action(read, AT_A)({ directResponse: { status: 200, ...given } })
const delegated: Decide = (delegate) => action(subsetOf, AT_A)({ delegate })
const faulty =
  (kind: 'delay' | 'abort', read: (route: HttpRoute) => unknown): Decide =>
  (given) =>
    rule(read)({ fault: { [kind]: given } })
const cors = (name: string, headers: Readonly<Record<string, string>> = { origin: ORIGIN }): Decide => {
  const method = 'access-control-request-method' in headers ? 'OPTIONS' : 'GET'
  return (given) => {
    const corsPolicy = { allowOrigins: [{ exact: ORIGIN }], ...given }
    return rule(name === 'kind' ? ({ kind }) => kind : fieldOf(name), { request: { method, headers } })({ corsPolicy })
  }
}
const other = { ...PREFLIGHT, origin: 'https://b.example' }
const weights = (first: number): object => ({ route: [to('v1', { weight: first }), to('v2', { weight: 100 - first })] })
const flows = (first: number): object => ({
  route: [
    { destination: { host: 'web', subset: 'v1' }, weight: first },
    { destination: { host: 'api' }, weight: 100 - first },
  ],
})
const rewritten = (part: 'target' | 'authority'): Decide => {
  return (rewrite) =>
    rule(
      forwarded((route) => route[part]),
      AT_A,
    )({ match: [{ uri: { prefix: '/a' } }], rewrite })
}
const headers = (end: 'request' | 'response', of: 'route' | 'rule' = 'route'): Decide => {
  return (given) => {
    const said = { headers: { [end]: given } }
    return rule(headOf(end))(of === 'rule' ? said : { route: [to('v1', said)] })
  }
}

const HTTP: Readonly<Record<string, Effect>> = {
  'http[].name': [rule(forwarded(({ by }) => by?.rule)), { name: 'canary' }, 'canary', {}, ''],
  'http[].match[].name': [
    (match) => rule(forwarded(({ by }) => by?.rule))({ name: 'canary', match: [match] }),
    ...these({ name: 'jason' }, 'canary.jason', {}, 'canary'),
  ],
  'http[].match[].uri.exact': [matched(AT_A), { uri: { exact: '/a/b' } }, 'v1', { uri: { exact: '/a' } }, 'v2'],
  'http[].match[].uri.prefix': [matched(AT_A), { uri: { prefix: '/a' } }, 'v1', { uri: { prefix: '/b' } }, 'v2'],
  'http[].match[].uri.regex': [matched(AT_A), { uri: { regex: '/./b' } }, 'v1', { uri: { regex: '/a' } }, 'v2'],
  'http[].match[].ignoreUriCase': [inUri({}), { ignoreUriCase: true }, 'v1', { ignoreUriCase: false }, 'v2'],
  'http[].match[].scheme': [matched(), { scheme: { exact: 'http' } }, 'v1', { scheme: { exact: 'https' } }, 'v2'],
  'http[].match[].method': [matched(), { method: { regex: 'G.T' } }, 'v1', { method: { exact: 'PUT' } }, 'v2'],
  'http[].match[].authority': [
    matched(),
    ...these({ authority: { prefix: 'w' } }, 'v1', { authority: { prefix: 'x' } }, 'v2'),
  ],
  'http[].match[].headers.*': [
    matched({ request: { headers: { 'X-User': 'ann' } } }),
    ...these({ headers: { 'x-user': { exact: 'ann' } } }, 'v1', { headers: { 'x-user': { exact: 'kai' } } }, 'v2'),
  ],
  'http[].match[].withoutHeaders.*': [
    matched({ request: { headers: { 'x-user': 'ann' } } }),
    ...these({ withoutHeaders: { 'x-user': { exact: 'kai' } } }, 'v1', { withoutHeaders: { 'x-user': {} } }, 'v2'),
  ],
  'http[].match[].queryParams.*': [
    matched(AT_A),
    ...these({ queryParams: { q: { exact: '1' } } }, 'v1', { queryParams: { q: { exact: '2' } } }, 'v2'),
  ],
  'http[].match[].port': [matched({ port: 81 }), { port: 81 }, 'v1', { port: 80 }, 'v2'],
  'http[].match[].sourceLabels': [
    matched({ from: FRONT }),
    ...these({ sourceLabels: { app: 'front' } }, 'v1', { sourceLabels: { app: 'batch' } }, 'v2'),
  ],
  'http[].match[].sourceNamespace': [
    matched({ from: FRONT }),
    ...these({ sourceNamespace: 'default' }, 'v1', { sourceNamespace: 'shop' }, 'v2'),
  ],
  'http[].match[].gateways': [matched(), { gateways: ['edge', 'mesh'] }, 'v1', { gateways: ['edge'] }, 'v2'],
  'http[].route[].destination.host': [
    rule(subsetOf),
    { route: [{ destination: { host: 'api' } }] },
    'api.default.svc.cluster.local',
    ...these({ route: [{ destination: { host: 'gone' } }] }, 'none'),
  ],
  'http[].route[].destination.subset': [rule(subsetOf), { route: [to('v3')] }, 'v3', { route: [to('v4')] }, 'v4'],
  'http[].route[].destination.port.number': [
    rule(forwarded(({ backends: { port, endpoints } }) => [port, endpoints[0]?.address.port])),
    ...these({ route: [{ destination: { host: 'web', port: { number: 81 } } }] }, [81, 8081]),
    ...these({ route: [{ destination: { host: 'web' } }] }, [80, 8080]),
  ],
  'http[].route[].weight': [rule(subsetOf, { random: 0.5 }), weights(60), 'v1', weights(40), 'v2'],
  'http[].route[].headers.request.set': [
    headers('request'),
    ...these({ set: { 'X-A': '50%%' } }, ['x-a: 50%', 'x-a'], {}, null),
  ],
  'http[].route[].headers.request.add': [headers('request'), { add: { 'X-A': '1' } }, ['x-a: 1'], {}, null],
  'http[].route[].headers.request.remove': [headers('request'), { remove: ['X-A'] }, ['', 'x-a'], {}, null],
  'http[].route[].headers.response': [
    headers('response'),
    ...these({ set: { a: '1' }, add: { b: '2' }, remove: ['c'] }, ['a: 1\r\nb: 2', 'c', 'a'], {}, null),
  ],
  'http[].redirect.uri': [location, { uri: '/b' }, 'http://web:81/b?q=1', { uri: '/c?d' }, 'http://web:81/c?d'],
  'http[].redirect.prefixRewrite': [
    location,
    ...these({ uri: '', prefixRewrite: '/z' }, 'http://web:81/z/b?q=1', {}, 'http://web:81/x?q=1'),
  ],
  'http[].redirect.authority': [
    location,
    ...these({ authority: 'b.example' }, 'http://b.example/x?q=1', {}, 'http://web:81/x?q=1'),
  ],
  'http[].redirect.port': [location, { port: 99 }, 'http://web:99/x?q=1', { port: 80 }, 'http://web/x?q=1'],
  'http[].redirect.derivePort': [
    location,
    ...these({ derivePort: 'FROM_PROTOCOL_DEFAULT' }, 'http://web/x?q=1'),
    ...these({ derivePort: 'FROM_REQUEST_PORT' }, 'http://web:81/x?q=1'),
  ],
  'http[].redirect.scheme': [location, { scheme: 'https' }, 'https://web:81/x?q=1', {}, 'http://web:81/x?q=1'],
  'http[].redirect.redirectCode': [redirectCode, { redirectCode: 307 }, 307, {}, 301],
  'http[].directResponse.status': [direct(statusOf), { status: 418 }, 418, {}, 200],
  'http[].directResponse.body.string': [direct(bodyOf), { body: { string: 'tea' } }, 'tea', {}, ''],
  'http[].directResponse.body.bytes': [direct(bodyOf), { body: { bytes: 'dGVh' } }, 'tea', {}, ''],
  'http[].delegate.name': [delegated, { name: 'team' }, 'v3', { name: 'nobody' }, 'none'],
  'http[].delegate.namespace': [delegated, { name: 'team', namespace: 'shop' }, 'v4', { name: 'team' }, 'v3'],
  'http[].rewrite.uri': [rewritten('target'), { uri: '/z' }, '/z/b?q=1', { authority: 'b.example' }, null],
  'http[].rewrite.authority': [rewritten('authority'), { authority: 'b.example' }, 'b.example', { uri: '/z' }, null],
  'http[].rewrite.uriRegexRewrite.match': [
    rewritten('target'),
    ...these({ uriRegexRewrite: { match: '^/(.)/(.)', rewrite: '/\\2' } }, '/b?q=1'),
    ...these({ uriRegexRewrite: { match: '^(/.)(/.)', rewrite: '/\\2' } }, '//b?q=1'),
  ],
  'http[].rewrite.uriRegexRewrite.rewrite': [
    rewritten('target'),
    ...these({ uriRegexRewrite: { match: 'b', rewrite: 'c' } }, '/a/c?q=1'),
    ...these({ uriRegexRewrite: { match: 'b', rewrite: 'd' } }, '/a/d?q=1'),
  ],
  'http[].timeout': [rule(forwarded(({ timeoutMs }) => timeoutMs)), { timeout: '2s' }, 2000, {}, null],
  'http[].retries.attempts': [tries(({ retries }) => retries.attempts), { attempts: 7 }, 7, {}, 0],
  'http[].retries.perTryTimeout': [
    tries(({ retries }) => retries.perTryMs),
    ...these({ attempts: 1, perTryTimeout: '30ms' }, 30, { attempts: 1 }, null),
  ],
  'http[].retries.retryOn': [
    tries(({ retries }) => [isRetried(retries, UNAVAILABLE), isRetried(retries, { kind: 'unconnected' })]),
    ...these({ attempts: 1, retryOn: 'gateway-error' }, [true, true], { attempts: 1, retryOn: '502' }, [false, false]),
  ],
  'http[].retries.retryRemoteLocalities': [
    tries(({ retries }) => retries.remoteLocalities),
    ...these({ attempts: 1, retryRemoteLocalities: true }, true, { attempts: 1 }, false),
  ],
  'http[].retries.retryIgnorePreviousHosts': [
    tries(({ retries }) => retries.ignorePrevious),
    ...these({ attempts: 1, retryIgnorePreviousHosts: false }, false, { attempts: 1 }, true),
  ],
  'http[].retries.backoff': [
    tries(({ retries }) => [1, 2, 9].map((retry) => backoffMs(retries, retry, () => 0.5))),
    ...these({ attempts: 1, backoff: '100ms' }, [50, 150, 500], { attempts: 1 }, [12, 37, 125]),
  ],
  'http[].fault.delay.fixedDelay': [
    faulty('delay', delayOf),
    ...these(
      { fixedDelay: '2s', percentage: { value: 100 } },
      2000,
      { fixedDelay: '1s', percentage: { value: 100 } },
      1000,
    ),
  ],
  'http[].fault.delay.percentage.value': [
    faulty('delay', delayOf),
    ...these({ fixedDelay: '2s', percentage: { value: 51 } }, 2000, { fixedDelay: '2s', percentage: { value: 49 } }, 0),
  ],
  'http[].fault.delay.percent': [
    faulty('delay', delayOf),
    ...these({ fixedDelay: '2s', percent: 51 }, 2000, { fixedDelay: '2s' }, 0),
  ],
  'http[].fault.abort.httpStatus': [
    faulty('abort', statusOf),
    ...these(
      { httpStatus: 418, percentage: { value: 100 } },
      418,
      { httpStatus: 503, percentage: { value: 100 } },
      503,
    ),
  ],
  'http[].fault.abort.grpcStatus': [
    faulty('abort', (route) => route.kind === 'abort' && route.grpcStatus),
    ...these({ grpcStatus: 'UNAVAILABLE', percentage: { value: 100 } }, 14),
    ...these({ grpcStatus: '8', percentage: { value: 100 } }, 8),
  ],
  'http[].fault.abort.percentage.value': [
    faulty('abort', statusOf),
    ...these({ httpStatus: 418, percentage: { value: 51 } }, 418, { httpStatus: 418, percentage: { value: 49 } }, null),
  ],
  'http[].mirror': [
    rule(mirrorsOf),
    ...these({ mirror: { host: 'web', subset: 'v4' } }, ['v4'], { mirror: { host: 'copy' } }, ['copy']),
  ],
  'http[].mirrorPercent': [
    (given) => rule(mirrorsOf)({ mirror: { host: 'copy' }, ...given }),
    ...these({ mirrorPercent: 51 }, ['copy'], { mirrorPercent: 49 }, []),
  ],
  'http[].mirror_percent': [
    (given) => rule(mirrorsOf)({ mirror: { host: 'copy' }, ...given }),
    ...these({ mirror_percent: 51 }, ['copy'], { mirror_percent: 49 }, []),
  ],
  'http[].mirrorPercentage.value': [
    (given) => rule(mirrorsOf)({ mirror: { host: 'copy' }, ...given }),
    ...these({ mirrorPercentage: { value: 50.1 } }, ['copy'], { mirrorPercentage: { value: 49.9 } }, []),
  ],
  'http[].mirrors[].destination': [
    rule(mirrorsOf),
    ...these(
      { mirrors: [{ destination: { host: 'copy' } }, { destination: { host: 'api' } }] },
      ['copy', 'api'],
      {},
      [],
    ),
  ],
  'http[].mirrors[].percentage.value': [
    rule(mirrorsOf),
    ...these({ mirrors: [{ destination: { host: 'copy' }, percentage: { value: 51 } }] }, ['copy']),
    ...these({ mirrors: [{ destination: { host: 'copy' }, percentage: { value: 49 } }] }, []),
  ],
  'http[].corsPolicy.allowOrigin': [
    cors('access-control-allow-origin'),
    ...these({ allowOrigins: [], allowOrigin: [ORIGIN] }, ORIGIN, { allowOrigins: [], allowOrigin: ['x'] }, null),
  ],
  'http[].corsPolicy.allowOrigins[]': [
    cors('access-control-allow-origin'),
    ...these({ allowOrigins: [{ regex: 'https://.*' }] }, ORIGIN, { allowOrigins: [{ prefix: 'http:' }] }, null),
  ],
  'http[].corsPolicy.allowMethods': [
    cors('access-control-allow-methods', PREFLIGHT),
    ...these({ allowMethods: ['GET', 'PUT'] }, 'GET,PUT', {}, null),
  ],
  'http[].corsPolicy.allowHeaders': [
    cors('access-control-allow-headers', PREFLIGHT),
    ...these({ allowHeaders: ['x-a'] }, 'x-a', {}, null),
  ],
  'http[].corsPolicy.exposeHeaders': [
    cors('access-control-expose-headers'),
    ...these({ exposeHeaders: ['x-a'] }, 'x-a', {}, null),
  ],
  'http[].corsPolicy.maxAge': [cors('access-control-max-age', PREFLIGHT), { maxAge: '1h' }, '3600', {}, null],
  'http[].corsPolicy.allowCredentials': [
    cors('access-control-allow-credentials'),
    ...these({ allowCredentials: true }, 'true', {}, null),
  ],
  'http[].corsPolicy.unmatchedPreflights': [
    cors('kind', other),
    ...these({ unmatchedPreflights: 'IGNORE' }, 'answer', { unmatchedPreflights: 'FORWARD' }, 'forward'),
  ],
  'http[].headers': [
    headers('request', 'rule'),
    ...these({ set: { a: '1' }, remove: ['b'] }, ['a: 1', 'b', 'a'], { add: { a: '1' } }, ['a: 1']),
  ],
}

/** What `tls` and `tcp` have in common. */
function flowEffects(kind: 'tls' | 'tcp'): Readonly<Record<string, Effect>> {
  const of = { port: { port: 443 }, sourceLabels: { sourceLabels: { app: 'front' } } }
  return {
    [`${kind}[].match[].destinationSubnets`]: [
      flow(kind),
      ...these({ destinationSubnets: ['10.96.0.0/24'] }, 'v1', { destinationSubnets: ['10.97.0.0/24'] }, 'web'),
    ],
    [`${kind}[].match[].port`]: [flow(kind), of.port, 'v1', { port: 80 }, 'web'],
    [`${kind}[].match[].sourceLabels`]: [flow(kind, { from: BATCH }), {}, 'v1', of.sourceLabels, 'web'],
    [`${kind}[].match[].sourceNamespace`]: [
      flow(kind, { from: BATCH }),
      ...these({ sourceNamespace: 'shop' }, 'v1', { sourceNamespace: 'default' }, 'web'),
    ],
    [`${kind}[].match[].gateways`]: [flow(kind), { gateways: ['edge', 'mesh'] }, 'v1', { gateways: ['edge'] }, 'web'],
  }
}

export const VIRTUAL_SERVICE_EFFECTS: Readonly<Record<string, Effect>> = {
  hosts: [spec(subsetOf), { hosts: ['web'] }, 'v1', { hosts: ['api'] }, 'web.default.svc.cluster.local'],
  gateways: [
    spec(subsetOf),
    ...these({ gateways: ['edge', 'mesh'] }, 'v1', { gateways: ['edge'] }, 'web.default.svc.cluster.local'),
  ],
  exportTo: [
    spec(subsetOf, { from: BATCH }),
    // the subset is of a rule that all see, the route of one that is not for them
    ...these({ exportTo: ['shop'] }, 'v1', { exportTo: ['.'] }, 'web.default.svc.cluster.local'),
  ],
  ...HTTP,
  'tls[].match[].sniHosts': [
    (match) => flow('tls')({ sniHosts: ['api.example'], ...match }),
    ...these({}, 'v1', { sniHosts: ['web'] }, 'web'),
  ],
  ...flowEffects('tls'),
  'tls[].route[].destination': [
    flowRoute('tls'),
    { route: [{ destination: { host: 'api', port: { number: 80 } } }] },
    'api',
    ...these({ route: [{ destination: { host: 'web', subset: 'v2' } }] }, 'v2'),
  ],
  'tls[].route[].weight': [flowRoute('tls'), flows(60), 'v1', flows(40), 'api'],
  ...flowEffects('tcp'),
  'tcp[].match[].sourceSubnet': [
    flow('tcp', { from: FRONT }),
    ...these({ sourceSubnet: '10.244.0.0/16' }, 'v1', { sourceSubnet: '10.245.0.0/16' }, 'web'),
  ],
  'tcp[].route[]': [flowRoute('tcp'), flows(60), 'v1', flows(40), 'api'],
}
