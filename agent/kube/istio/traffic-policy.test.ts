import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DestinationRule, TrafficPolicy } from '../../model/traffic-policy.ts'
import { translateDestinationRule } from '../destination-rule.ts'
import { istio } from '../objects.fixture.ts'
import type { Translation } from '../translate.ts'

function translate(spec: object): Translation<DestinationRule> {
  return translateDestinationRule(istio('DestinationRule', { host: 'a', ...spec }), 'cluster.local')
}

function policyOf(trafficPolicy: object): TrafficPolicy {
  const { value, problems } = translate({ trafficPolicy })
  assert.deepEqual(problems, [], JSON.stringify(trafficPolicy))
  return value!.policy!
}

/** Why a policy is refused, wherever it stands: `field: reason`, the field beneath the policy. */
function refusal(trafficPolicy: object): string {
  const said = (spec: object, path: string): string => {
    const { value, rejected, problems } = translate(spec)
    assert.ok(rejected && value === null && problems.length === 1, JSON.stringify(spec))
    return `${problems[0]!.field}: ${problems[0]!.reason}`.replace(`spec.${path}.`, '')
  }
  const text = said({ trafficPolicy }, 'trafficPolicy')
  assert.equal(said({ subsets: [{ name: 'v1', trafficPolicy }] }, 'subsets[0].trafficPolicy'), text)
  return text
}

/** As refusal(), of what ports can have, too. */
function portRefusal(policy: object): string {
  const text = refusal(policy)
  assert.equal(
    refusal({ portLevelSettings: [{ port: { number: 80 }, ...policy }] }).replace('portLevelSettings[0].', ''),
    text,
  )
  return text
}

test('balancers are known by name, and what is said of none is Istio’s default', () => {
  const of = (simple: string) => policyOf({ loadBalancer: { simple } }).balancing?.simple
  const table = { ROUND_ROBIN: 'ROUND_ROBIN', LEAST_REQUEST: 'LEAST_REQUEST', LEAST_CONN: 'LEAST_REQUEST' }
  const more = { RANDOM: 'RANDOM', PASSTHROUGH: 'PASSTHROUGH', UNSPECIFIED: null }
  for (const [name, expected] of Object.entries({ ...table, ...more })) assert.equal(of(name), expected)
  assert.equal(policyOf({}).balancing, null)
  const silent = { simple: null, hash: null, locality: null, warmup: null }
  assert.deepEqual(policyOf({ loadBalancer: {} }).balancing, silent) // overrides what stands above, and says nothing
})

test('a consistent hash is of one thing, on a ring or in a table', () => {
  const of = (consistentHash: object) => policyOf({ loadBalancer: { consistentHash } }).balancing?.hash
  const ring = { kind: 'ring', minimumSize: 1024 }
  const cookie = { kind: 'cookie', name: 'a', path: '', ttlSeconds: null, attributes: [] }
  const ip = { useSourceIp: true }
  const table: [object, object, object?][] = [
    [{ httpHeaderName: 'X-User' }, { kind: 'header', name: 'x-user' }],
    [{ httpQueryParameterName: 'User' }, { kind: 'query', name: 'User' }],
    [ip, { kind: 'source-ip' }],
    [{ httpCookie: { name: 'a' } }, cookie],
    [{ httpCookie: { name: 'a', ttl: '0s' } }, { ...cookie, ttlSeconds: 0 }],
    [{ httpCookie: { name: 'a', ttl: '8760h' } }, { ...cookie, ttlSeconds: 31_536_000 }],
    [{ httpCookie: { name: 'a', ttl: '1500ms' } }, { ...cookie, ttlSeconds: 2 }],
    [
      { httpCookie: { name: 'a', path: '/b', attributes: [{ name: 'SameSite', value: 'Lax' }, { name: 'Secure' }] } },
      {
        ...cookie,
        path: '/b',
        attributes: [
          ['SameSite', 'Lax'],
          ['Secure', ''],
        ],
      },
    ],
    [{ ...ip, minimumRingSize: 7 }, { kind: 'source-ip' }, { kind: 'ring', minimumSize: 7 }],
    [{ ...ip, ringHash: {} }, { kind: 'source-ip' }],
    [{ ...ip, ringHash: { minimumRingSize: 9 } }, { kind: 'source-ip' }, { kind: 'ring', minimumSize: 9 }],
    [{ ...ip, maglev: {} }, { kind: 'source-ip' }, { kind: 'maglev', tableSize: 65537 }],
    [{ ...ip, maglev: { tableSize: 5000011 } }, { kind: 'source-ip' }, { kind: 'maglev', tableSize: 5000011 }],
    [{ ...ip, maglev: { tableSize: 2 } }, { kind: 'source-ip' }, { kind: 'maglev', tableSize: 2 }],
  ]
  for (const [given, by, algorithm = ring] of table) assert.deepEqual(of(given), { by, algorithm })
  const at = /^loadBalancer\.consistentHash/.source
  const refused: [object, string][] = [
    [{}, ': must name one'],
    [{ useSourceIp: false }, ': must name one'],
    [{ ...ip, httpHeaderName: 'a' }, ': '],
    [{ httpHeaderName: 'a b' }, '\\.httpHeaderName: '],
    [{ httpCookie: {} }, '\\.httpCookie: .*name'],
    [{ httpCookie: { name: '' } }, '\\.httpCookie\\.name: .*required'],
    [{ httpCookie: { name: 'a=b' } }, '\\.httpCookie\\.name: '],
    [{ httpCookie: { name: 'a', ttl: 'soon' } }, "\\.httpCookie\\.ttl: 'soon'"],
    [{ httpCookie: { name: 'a', path: '/;' } }, '\\.httpCookie\\.path: .*semicolons'],
    [
      { httpCookie: { name: 'a', attributes: [{ name: 'b', value: 'c\n' }] } },
      '\\.httpCookie\\.attributes\\[0\\]\\.value: ',
    ],
    [{ ...ip, maglev: { tableSize: 65536 } }, '\\.maglev\\.tableSize: .*prime'],
    [{ ...ip, maglev: { tableSize: 1 } }, '\\.maglev\\.tableSize: .*prime'],
    [{ ...ip, maglev: { tableSize: 5000077 } }, '\\.maglev\\.tableSize: .*5000011'],
    [{ ...ip, ringHash: { minimumRingSize: 8388609 } }, '\\.ringHash\\.minimumRingSize: .*8388608'],
    [{ ...ip, minimumRingSize: 8388609 }, '\\.minimumRingSize: .*8388608'],
    [{ ...ip, minimumRingSize: 1, maglev: {} }, '(\\.minimumRingSize)?: '],
    [{ ...ip, ringHash: {}, maglev: {} }, '(\\.maglev)?: '],
  ]
  for (const [consistentHash, expected] of refused) {
    assert.match(portRefusal({ loadBalancer: { consistentHash } }), new RegExp(at + expected))
  }
  assert.match(refusal({ loadBalancer: { simple: 'RANDOM', consistentHash: ip } }), /^loadBalancer: /)
})

test('localities are preferred by shares, by region, or by labels', () => {
  const of = (localityLbSetting: object) => policyOf({ loadBalancer: { localityLbSetting } }).balancing?.locality
  const silent = { enabled: true, distribute: [], failover: [], failoverPriority: [] }
  assert.deepEqual(of({}), silent)
  assert.deepEqual(of({ enabled: false }), { ...silent, enabled: false })
  assert.deepEqual(of({ distribute: [{ from: 'a/*', to: { 'a/b/*': 80, 'a/c': 20 } }] }), {
    ...silent,
    distribute: [
      {
        from: 'a/*',
        to: [
          { locality: 'a/b/*', weight: 80 },
          { locality: 'a/c', weight: 20 },
        ],
      },
    ],
  })
  assert.deepEqual(of({ failover: [{ from: 'a', to: 'b' }] })?.failover, [{ from: 'a', to: 'b' }])
  const labels = ['topology.kubernetes.io/region', 'version=v1', 'empty=']
  assert.deepEqual(of({ failoverPriority: labels })?.failoverPriority, labels)
  const both = of({ failoverPriority: ['example.com/group'], failover: [{ from: 'a', to: 'b' }] })
  assert.deepEqual([both?.failoverPriority, both?.failover], [['example.com/group'], [{ from: 'a', to: 'b' }]])
  const distribute = (from: string, to: object, ...more: object[]) => ({ distribute: [{ from, to }, ...more] })
  const refused: [object, RegExp][] = [
    [distribute('a', { a: 99 }), /distribute\[0\]\.to: .*99/],
    [distribute('a', {}), /distribute\[0\]\.to: /],
    [distribute('a', { a: 0, b: 100 }), /distribute\[0\]\.to\.a: /],
    [distribute('a', { a: 101 }), /distribute\[0\]\.to\.a: /],
    [distribute('a', { 'a/*/b': 100 }), /distribute\[0\]\.to\.a\/\*\/b: /],
    [distribute('a', { 'a/b': 50, 'a/*': 50 }), /distribute\[0\]\.to: .*part/],
    [distribute('a', { a: 50, 'a/b/c': 50 }), /distribute\[0\]\.to: .*part/],
    [distribute('a', { '*': 50, b: 50 }), /distribute\[0\]\.to: .*part/],
    [distribute('', { a: 100 }), /distribute\[0\]\.from: /],
    [distribute('a//b', { a: 100 }), /distribute\[0\]\.from: /],
    [distribute('a/b/c/d', { a: 100 }), /distribute\[0\]\.from: /],
    [distribute('a*', { a: 100 }), /distribute\[0\]\.from: /],
    [distribute('a', { a: 100 }, { from: 'a/b', to: { a: 100 } }), /distribute: .*part/],
    [{ failover: [{ from: 'a', to: 'a' }] }, /failover\[0\]\.to: /],
    [{ failover: [{ from: 'a/b', to: 'c' }] }, /failover\[0\]\.from: /],
    [{ failover: [{ from: 'a' }] }, /failover\[0\]\.to: /],
    [{ failover: [{ from: 'a', to: '*' }] }, /failover\[0\]\.to: /],
    [{ failoverPriority: ['a', ''] }, /failoverPriority\[1\]: /],
    [{ failoverPriority: ['a=b c'] }, /failoverPriority\[0\]: /],
    [
      { failoverPriority: ['a', 'topology.kubernetes.io/zone'], failover: [{ from: 'a', to: 'b' }] },
      /failoverPriority: .*kubernetes\.io\/zone beside failover/,
    ],
    [{ ...distribute('a', { a: 100 }), failover: [{ from: 'a', to: 'b' }] }, /failover: .*distribute/],
  ]
  for (const [localityLbSetting, expected] of refused) {
    const text = portRefusal({ loadBalancer: { localityLbSetting } })
    assert.match(text, new RegExp(`^loadBalancer\\.localityLbSetting\\.${expected.source}`))
  }
  const apart = { 'a/bc': 50, 'a/b': 50 } // a beginning of a name is no part
  assert.equal(of(distribute('ab', apart, { from: 'a', to: apart }))?.distribute.length, 2)
})

test('warm-up has Istio’s defaults, under its old name as well', () => {
  const of = (loadBalancer: object) => policyOf({ loadBalancer }).balancing?.warmup
  assert.deepEqual(of({ warmupDurationSecs: '5s' }), { durationMs: 5000, minimumPercent: 10, aggression: 1 })
  assert.deepEqual(of({ warmup: { duration: '5s' } }), { durationMs: 5000, minimumPercent: 10, aggression: 1 })
  const all = { duration: '1m', minimumPercent: 0, aggression: 1.5 }
  assert.deepEqual(of({ simple: 'ROUND_ROBIN', warmup: all }), {
    durationMs: 60_000,
    minimumPercent: 0,
    aggression: 1.5,
  })
  assert.deepEqual(of({ simple: 'RANDOM', warmup: all })?.durationMs, 60_000) // and nothing is reported: picks are weighed
  const refused: [object, RegExp][] = [
    [{ warmup: {} }, /^loadBalancer\.warmup: .*duration/],
    [{ warmup: { duration: '1s', aggression: 0 } }, /^loadBalancer\.warmup\.aggression: /],
    [{ warmup: { duration: '1s', minimumPercent: 101 } }, /^loadBalancer\.warmup\.minimumPercent: /],
  ]
  for (const [loadBalancer, expected] of refused) assert.match(portRefusal({ loadBalancer }), expected)
})

test('every bound of a connection pool arrives; 0 is none', () => {
  const none = {
    ...{ maxConnections: null, connectTimeoutMs: null, keepalive: null, idleMs: null, maxDurationMs: null },
    ...{ maxPending: null, maxRequests: null, maxPerConnection: null, maxRetries: null, httpIdleMs: null },
  }
  const of = (connectionPool: object) => policyOf({ connectionPool }).pool
  assert.deepEqual(of({}), none)
  const tcp = { maxConnections: 1, connectTimeout: '2s', idleTimeout: '0s', maxConnectionDuration: '3s' }
  const http = { http1MaxPendingRequests: 4, http2MaxRequests: 5, maxRequestsPerConnection: 6, maxRetries: 7 }
  const keepalive = { probes: 8, time: '9s', interval: '10s' }
  assert.deepEqual(of({ tcp: { ...tcp, tcpKeepalive: keepalive }, http: { ...http, idleTimeout: '11s' } }), {
    ...{ maxConnections: 1, connectTimeoutMs: 2000, idleMs: 0, maxDurationMs: 3000 },
    keepalive: { probes: 8, timeMs: 9000, intervalMs: 10_000 },
    ...{ maxPending: 4, maxRequests: 5, maxPerConnection: 6, maxRetries: 7, httpIdleMs: 11_000 },
  })
  const silent = { probes: null, timeMs: null, intervalMs: null }
  assert.deepEqual(of({ tcp: { maxConnections: 0, tcpKeepalive: { probes: 0 } } }), { ...none, keepalive: silent })
  assert.deepEqual(of({ http: { maxRetries: 0, http2MaxRequests: 0, useClientProtocol: true } }), none)
  const refused: [object, RegExp][] = [
    [{ tcp: { maxConnections: -1 } }, /^connectionPool\.tcp\.maxConnections: .*negative/],
    [{ http: { http1MaxPendingRequests: -1 } }, /^connectionPool\.http\.http1MaxPendingRequests: /],
    [{ http: { http2MaxRequests: -1 } }, /^connectionPool\.http\.http2MaxRequests: /],
    [{ http: { maxRequestsPerConnection: -1 } }, /^connectionPool\.http\.maxRequestsPerConnection: /],
    [{ http: { maxRetries: -1 } }, /^connectionPool\.http\.maxRetries: /],
    [{ http: { maxConcurrentStreams: -1 } }, /^connectionPool\.http\.maxConcurrentStreams: /],
    [{ http: { h2UpgradePolicy: 'UPGRADE', useClientProtocol: true } }, /^connectionPool\.http\.useClientProtocol: /],
    [{ tcp: { idleTimeout: '1us' } }, /^connectionPool\.tcp\.idleTimeout: /],
  ]
  for (const [connectionPool, expected] of refused) assert.match(portRefusal({ connectionPool }), expected)
})

test('outlier detection has Istio’s defaults, and an absent one is none', () => {
  const of = (outlierDetection: object) => policyOf({ outlierDetection }).outliers
  const silent = {
    ...{ consecutive5xx: 5, consecutiveGateway: 0, consecutiveLocal: 5, splitsLocal: false, codes: [] },
    ...{ intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 10, minHealthPercent: 0 },
  }
  assert.equal(policyOf({}).outliers, null)
  const table: [object, object][] = [
    [{}, {}],
    [
      { consecutive5xxErrors: 0, consecutiveGatewayErrors: 3 },
      { consecutive5xx: 0, consecutiveGateway: 3 },
    ],
    [{ consecutiveErrors: 4 }, { consecutive5xx: 0, consecutiveGateway: 4 }],
    [
      { consecutiveErrors: 4, consecutive5xxErrors: 7, consecutiveGatewayErrors: 2 },
      { consecutive5xx: 7, consecutiveGateway: 2 },
    ],
    [
      { splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2 },
      { splitsLocal: true, consecutiveLocal: 2 },
    ],
    [{ outlierDetectionHttpErrorCodes: [429, 503] }, { codes: [429, 503] }],
    [
      { interval: '1s', baseEjectionTime: '1m' },
      { intervalMs: 1000, baseEjectionMs: 60_000 },
    ],
    [
      { maxEjectionPercent: 100, minHealthPercent: 50 },
      { maxEjectionPercent: 100, minHealthPercent: 50 },
    ],
    [{ maxEjectionPercent: 0 }, {}],
  ]
  for (const [given, expected] of table) assert.deepEqual(of(given), { ...silent, ...expected })
  const refused: [object, RegExp][] = [
    [{ consecutiveLocalOriginFailures: 1 }, /^outlierDetection\.consecutiveLocalOriginFailures: .*split/],
    [{ consecutiveErrors: -1 }, /^outlierDetection\.consecutiveErrors: /],
    [{ maxEjectionPercent: 101 }, /^outlierDetection\.maxEjectionPercent: /],
    [{ minHealthPercent: -1 }, /^outlierDetection\.minHealthPercent: /],
    [{ outlierDetectionHttpErrorCodes: [503, 99] }, /^outlierDetection\.outlierDetectionHttpErrorCodes\[1\]: /],
    [{ outlierDetectionHttpErrorCodes: 503 }, /^outlierDetection\.outlierDetectionHttpErrorCodes: .*array/],
  ]
  for (const [outlierDetection, expected] of refused) assert.match(portRefusal({ outlierDetection }), expected)
})

test('budget, tunnel and PROXY protocol arrive', () => {
  const budget = { percent: 20, minConcurrency: 3, intervalMs: 0 }
  assert.deepEqual(policyOf({ retryBudget: {} }).retryBudget, budget)
  const said = { percent: 0.5, minRetryConcurrency: 0, budgetInterval: '10s' }
  assert.deepEqual(policyOf({ retryBudget: said }).retryBudget, { percent: 0.5, minConcurrency: 0, intervalMs: 10_000 })
  assert.equal(policyOf({ proxyProtocol: {} }).proxyProtocol, 1)
  assert.equal(policyOf({ proxyProtocol: { version: 'V1' } }).proxyProtocol, 1)
  assert.equal(policyOf({ proxyProtocol: { version: 'V2' } }).proxyProtocol, 2)
  const target = { targetHost: 'Proxy.example', targetPort: 443 }
  for (const protocol of [undefined, '', 'CONNECT']) {
    const { tunnel } = policyOf({ tunnel: { ...target, protocol } })
    assert.deepEqual(tunnel, { protocol: 'CONNECT', host: 'proxy.example', port: 443 })
  }
  assert.equal(policyOf({ tunnel: { ...target, targetHost: 'fd00::1' } }).tunnel?.host, 'fd00::1')
  assert.equal(translate({ trafficPolicy: { tunnel: { ...target, protocol: 'POST' } } }).value?.policy?.tunnel, null)
  const refused: [object, RegExp][] = [
    [{ retryBudget: { percent: 101 } }, /^retryBudget\.percent: /],
    [{ retryBudget: { budgetInterval: 1 } }, /^retryBudget\.budgetInterval: .*string/],
    [{ retryBudget: { budgetInterval: 'a' } }, /^retryBudget\.budgetInterval: /],
    [{ proxyProtocol: { version: 'V3' } }, /^proxyProtocol\.version: /],
    [{ proxyProtocol: {}, tunnel: target }, /^proxyProtocol: .*tunnel/],
    [{ tunnel: { ...target, protocol: 'GET' } }, /^tunnel\.protocol: /],
    [{ tunnel: { ...target, targetPort: 0 } }, /^tunnel\.targetPort: /],
    [{ tunnel: { ...target, targetHost: 'a b' } }, /^tunnel\.targetHost: /],
    [{ tunnel: { ...target, targetHost: '*.a' } }, /^tunnel\.targetHost: /],
    [{ tunnel: { targetHost: 'a' } }, /^tunnel: .*targetPort/],
    [{ portLevelSettings: [{ port: { number: 0 } }] }, /^portLevelSettings\[0\]\.port\.number: /],
  ]
  for (const [policy, expected] of refused) assert.match(refusal(policy), expected)
})

test('a rule is for the callers that it selects, of its own namespace', () => {
  const callers = (spec: object) => translate(spec).value?.callers
  const workloadSelector = { matchLabels: { app: 'web' } }
  assert.equal(callers({}), null)
  assert.deepEqual(callers({ workloadSelector }), { app: 'web' })
  assert.deepEqual(callers({ workloadSelector: {} }), {})
  assert.deepEqual(callers({ workloadSelector, exportTo: ['.'] }), { app: 'web' })
  const refused: [object, string][] = [
    [{ workloadSelector, exportTo: ['*'] }, 'spec.exportTo'],
    [{ workloadSelector, exportTo: ['.', 'shop'] }, 'spec.exportTo'],
    [{ host: 'a b' }, 'spec.host'],
    [{ subsets: [{ name: 'a' }, { name: 'a' }] }, 'spec.subsets[1].name'],
    [{ subsets: [{ name: 'a_b' }] }, 'spec.subsets[0].name'],
    [{ subsets: [{ name: 'a', labels: { version: 'a b' } }] }, 'spec.subsets[0].labels.version'],
  ]
  for (const [spec, field] of refused) assert.equal(translate(spec).problems[0]?.field, field)
})
