import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ClientTls, DestinationRule, LoadBalancing, PortPolicy, TrafficPolicy } from '../model/traffic-policy.ts'
import { translateDestinationRule } from './destination-rule.ts'
import { istio } from './objects.fixture.ts'
import type { Translation } from './translate.ts'

function translate(spec: unknown, metadata = {}): Translation<DestinationRule> {
  return translateDestinationRule(istio('DestinationRule', spec, metadata), 'cluster.local')
}

const simple = (name: string) => ({ loadBalancer: { simple: name } })

const UNSAID: PortPolicy = { balancing: null, pool: null, outliers: null, tls: null }
const UNSAID_TOP = { ...UNSAID, retryBudget: null, proxyProtocol: null, tunnel: null }

const balancing = (name: LoadBalancing['simple']): LoadBalancing => {
  return { simple: name, hash: null, locality: null, warmup: null }
}

test('every honoured field arrives in the mesh’s own words', () => {
  const { value, rejected, problems } = translate({
    host: 'reviews',
    exportTo: ['.'],
    trafficPolicy: {
      ...simple('RANDOM'),
      portLevelSettings: [{ port: { number: 9080 }, ...simple('LEAST_CONN') }, { port: { number: 80 } }],
    },
    subsets: [
      { name: 'v1', labels: { version: 'v1' } },
      { name: 'all' },
      {
        name: 'v2',
        labels: { version: 'v2', track: 'b' },
        trafficPolicy: {
          ...simple('LEAST_REQUEST'),
          portLevelSettings: [{ port: { number: 80 }, ...simple('ROUND_ROBIN') }],
        },
      },
    ],
  })
  assert.deepEqual([rejected, problems], [false, []])
  assert.deepEqual(value, {
    ref: { kind: 'DestinationRule', namespace: 'default', name: 'reviews' },
    createdMs: Date.UTC(2026, 0, 2, 3, 4, 5),
    host: 'reviews.default.svc.cluster.local',
    exportTo: ['default'],
    callers: null,
    policy: {
      ...UNSAID_TOP,
      balancing: balancing('RANDOM'),
      ports: [
        { ...UNSAID, port: 9080, balancing: balancing('LEAST_REQUEST') },
        { ...UNSAID, port: 80 },
      ],
    },
    subsets: [
      { name: 'v1', labels: { version: 'v1' }, policy: null },
      { name: 'all', labels: {}, policy: null },
      {
        name: 'v2',
        labels: { version: 'v2', track: 'b' },
        policy: {
          ...UNSAID_TOP,
          balancing: balancing('LEAST_REQUEST'),
          ports: [{ ...UNSAID, port: 80, balancing: balancing('ROUND_ROBIN') }],
        },
      },
    ],
  })
})

test('every version of the API means the same', () => {
  const of = (version: string) =>
    translateDestinationRule(
      { ...istio('DestinationRule', { host: 'a' }), apiVersion: `networking.istio.io/${version}` },
      'cluster.local',
    )
  for (const version of ['v1beta1', 'v1alpha3']) assert.deepEqual(of(version), of('v1'))
})

test('a field that is not honoured is named and the rest is in force', () => {
  const tls = { mode: 'SIMPLE', caCrl: '/crl.pem' }
  const subset = { name: 'v1', labels: { version: 'v1' } }
  const policy = (wish: object) => ({ trafficPolicy: wish })
  const pool = (http: object) => ({ connectionPool: { http } })
  const lb = (wish: object) => policy({ loadBalancer: wish })
  const table: [object, string[]][] = [
    [policy({ tls }), ['trafficPolicy.tls.caCrl']],
    [policy(pool({ h2UpgradePolicy: 'UPGRADE' })), ['trafficPolicy.connectionPool.http.h2UpgradePolicy']],
    [policy(pool({ h2UpgradePolicy: 'DO_NOT_UPGRADE', useClientProtocol: true })), []],
    [policy(pool({ maxConcurrentStreams: 1 })), ['trafficPolicy.connectionPool.http.maxConcurrentStreams']],
    [policy(pool({ http2KeepAlive: { interval: '1s' } })), ['trafficPolicy.connectionPool.http.http2KeepAlive']],
    [policy({ tunnel: { protocol: 'POST', targetHost: 'a', targetPort: 1 } }), ['trafficPolicy.tunnel.protocol']],
    [lb({ zoneAwareLbSetting: { enabled: true } }), ['trafficPolicy.loadBalancer.zoneAwareLbSetting']],
    [lb({ backendUtilization: {} }), ['trafficPolicy.loadBalancer.backendUtilization']],
    [lb({ simple: 'PASSTHROUGH', warmup: { duration: '1s' } }), ['trafficPolicy.loadBalancer.warmup']],
    [
      lb({ consistentHash: { useSourceIp: true }, warmupDurationSecs: '1s' }),
      ['trafficPolicy.loadBalancer.warmupDurationSecs'],
    ],
    [lb({ warmup: { duration: '1s' }, warmupDurationSecs: '1s' }), ['trafficPolicy.loadBalancer.warmupDurationSecs']],
    [lb({ simple: 'PASSTHROUGH', localityLbSetting: {} }), ['trafficPolicy.loadBalancer.localityLbSetting']],
    [policy({ portLevelSettings: [{ port: { number: 80 }, tls }] }), ['trafficPolicy.portLevelSettings[0].tls.caCrl']],
    [policy({ portLevelSettings: [simple('RANDOM')] }), ['trafficPolicy.portLevelSettings[0]']],
    [
      policy({ portLevelSettings: [{ port: { number: 80 } }, { port: { number: 80 }, ...simple('RANDOM') }] }),
      ['trafficPolicy.portLevelSettings[1]'],
    ],
    [{ subsets: [subset, { ...subset, name: 'v2', trafficPolicy: { tls } }] }, ['subsets[1].trafficPolicy.tls.caCrl']],
  ]
  for (const [wish, fields] of table) {
    const { value, rejected, problems } = translate({ host: 'reviews', ...wish })
    assert.deepEqual(
      problems.map(({ field }) => field),
      fields.map((field) => `spec.${field}`),
    )
    assert.ok(problems.every(({ reason }) => reason !== ''))
    assert.equal(rejected, false)
    assert.equal(value?.host, 'reviews.default.svc.cluster.local')
  }
})

test('settings for a port that is not named hold for no port', () => {
  const portLevelSettings = [simple('RANDOM'), { port: { number: 80 }, ...simple('ROUND_ROBIN') }]
  assert.deepEqual(translate({ host: 'a', trafficPolicy: { portLevelSettings } }).value?.policy, {
    ...UNSAID_TOP,
    ports: [{ ...UNSAID, port: 80, balancing: balancing('ROUND_ROBIN') }],
  } satisfies TrafficPolicy)
})

const NO_TLS: Omit<ClientTls, 'by'> = {
  ...{ mode: 'DISABLE', sni: '', subjectAltNames: [], clientCertificate: '', privateKey: '' },
  ...{ caCertificates: '', credentialName: '', insecureSkipVerify: false },
}

test('TLS settings arrive at every level, and say where they stand', () => {
  const files = { clientCertificate: '/c.pem', privateKey: '/k.pem', caCertificates: '/ca.pem' }
  const { value, problems } = translate({
    host: 'a',
    trafficPolicy: {
      tls: { mode: 'MUTUAL', ...files, sni: 'a.example', subjectAltNames: ['a', 'b'] },
      portLevelSettings: [{ loadBalancer: {} }, { port: { number: 80 }, tls: {} }],
    },
    subsets: [
      { name: 'v0' },
      { name: 'v1', trafficPolicy: { tls: { mode: 'SIMPLE', credentialName: 'secret', insecureSkipVerify: true } } },
    ],
  })
  const by = (field: string): Pick<ClientTls, 'by'> => {
    return {
      by: { object: { kind: 'DestinationRule', namespace: 'default', name: 'reviews' }, field: `spec.${field}` },
    }
  }
  const mutual = { mode: 'MUTUAL', ...files, sni: 'a.example', subjectAltNames: ['a', 'b'] }
  assert.deepEqual(value?.policy?.tls, { ...NO_TLS, ...mutual, ...by('trafficPolicy.tls') })
  assert.deepEqual(value.policy.ports[0]?.tls, { ...NO_TLS, ...by('trafficPolicy.portLevelSettings[1].tls') })
  const simple = { mode: 'SIMPLE', credentialName: 'secret', insecureSkipVerify: true }
  assert.deepEqual(value.subsets[1]?.policy?.tls, { ...NO_TLS, ...simple, ...by('subsets[1].trafficPolicy.tls') })
  assert.deepEqual(
    problems.map(({ field }) => field),
    ['spec.trafficPolicy.portLevelSettings[0]'],
  )
})

test('a TLS field that does nothing beside the others is named', () => {
  const table: [object, string[]][] = [
    [{ mode: 'DISABLE', sni: 'a', subjectAltNames: ['a'], insecureSkipVerify: false }, ['sni', 'subjectAltNames']],
    [{ sni: 'a' }, ['sni']],
    [{ mode: 'ISTIO_MUTUAL', sni: 'a', caCertificates: '/ca', subjectAltNames: ['a'] }, ['sni', 'caCertificates']],
    [{ mode: 'ISTIO_MUTUAL', credentialName: 'a', insecureSkipVerify: true }, ['credentialName', 'insecureSkipVerify']],
    [{ mode: 'SIMPLE', clientCertificate: '/c', privateKey: '/k', sni: 'a' }, ['clientCertificate', 'privateKey']],
    [
      { mode: 'SIMPLE', caCertificates: '/c', subjectAltNames: ['a'], insecureSkipVerify: true },
      ['caCertificates', 'subjectAltNames'],
    ],
    [{ mode: 'SIMPLE', subjectAltNames: [], insecureSkipVerify: true }, []],
  ]
  for (const [tls, fields] of table) {
    const { problems, rejected } = translate({ host: 'a', trafficPolicy: { tls } })
    assert.equal(rejected, false)
    assert.deepEqual(
      problems.map(({ field }) => field),
      fields.map((field) => `spec.trafficPolicy.tls.${field}`),
    )
    for (const { reason } of problems) assert.match(reason, /^has no effect with /)
  }
})

test('TLS that cannot be is refused, by the name of the field', () => {
  const table: [object, string | null][] = [
    [{ mode: 'MUTUAL' }, 'clientCertificate'],
    [{ mode: 'MUTUAL', clientCertificate: '/c' }, 'privateKey'],
    [{ mode: 'MUTUAL', credentialName: 's' }, null],
    [{ mode: 'SIMPLE', credentialName: 's,metadata.name=t' }, 'credentialName'],
    [{ mode: 'SIMPLE', credentialName: '../s' }, 'credentialName'],
    [{ mode: 'MUTUAL', credentialName: 's', privateKey: '/k' }, 'privateKey'],
    [{ mode: 'SIMPLE', credentialName: 's', caCertificates: '/ca' }, 'caCertificates'],
    [{ mode: 'SIMPLE', credentialName: 's', caCrl: '/crl' }, 'caCrl'],
    [{ mode: 'SIMPLE' }, null],
    [{ mode: 'ISTIO_MUTUAL' }, null],
  ]
  for (const [tls, field] of table) {
    const at = (spec: object, path: string): void => {
      const { rejected, problems } = translate({ host: 'a', ...spec })
      assert.equal(rejected, field !== null, JSON.stringify(spec))
      assert.equal(problems[0]?.field, field === null ? undefined : `spec.${path}.${field}`)
    }
    at({ trafficPolicy: { tls } }, 'trafficPolicy.tls')
    const portLevelSettings = [{ port: { number: 80 }, tls }]
    at({ trafficPolicy: { portLevelSettings } }, 'trafficPolicy.portLevelSettings[0].tls')
    at({ subsets: [{ name: 'v1', trafficPolicy: { tls } }] }, 'subsets[0].trafficPolicy.tls')
  }
})

test('what the schema refuses is not in force, and the field is named', () => {
  const table: [unknown, RegExp][] = [
    [undefined, /^spec: /],
    [null, /^spec: /],
    [{}, /^spec: .*host/],
    [{ host: 1 }, /^spec\.host: /],
    [{ host: 'a', subsets: [{ labels: {} }] }, /^spec\.subsets\[0\]: .*name/],
    [{ host: 'a', trafficPolicy: simple('FASTEST') }, /^spec\.trafficPolicy\.loadBalancer\.simple: /],
    [{ host: 'a', subsets: [{ name: 'a', labels: { version: 1 } }] }, /^spec\.subsets\[0\]\.labels\.version: /],
  ]
  for (const [spec, expected] of table) {
    const { value, rejected, problems } = translate(spec)
    assert.deepEqual([value, rejected, problems.length], [null, true, 1])
    assert.match(`${problems[0]!.field}: ${problems[0]!.reason}`, expected)
  }
})

test('fields that are null mean what absent ones mean', () => {
  const nulls = { exportTo: null, trafficPolicy: null, subsets: [{ name: 'v1', labels: null, trafficPolicy: null }] }
  assert.deepEqual(translate({ host: 'a', ...nulls }), translate({ host: 'a', subsets: [{ name: 'v1' }] }))
  assert.equal(translate({ host: 'a', trafficPolicy: { loadBalancer: null } }).rejected, false)
})

/** Whether everything in it is said: nothing is undefined, and no number is none. */
function isSaid(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isNaN(value)
  return typeof value === 'object' && value !== null ? Object.values(value).every(isSaid) : value !== undefined
}

test('any object is translated or refused with a field and a reason', () => {
  const odd = fc.oneof(
    fc.constantFrom<unknown>(null, '', 'a', 0, true, [], [null], {}, { simple: null }, { number: 80 }),
    fc.jsonValue({ maxDepth: 2 }),
  )
  const nearly = (...right: unknown[]) =>
    fc.oneof({ weight: 30, arbitrary: fc.constantFrom(...right) }, { weight: 1, arbitrary: odd })
  const byPort = {
    loadBalancer: nearly(
      { simple: 'RANDOM' },
      { consistentHash: { httpCookie: { name: 'a', ttl: '1s' }, maglev: {} } },
      { consistentHash: {} },
      { localityLbSetting: { distribute: [{ from: 'a/*', to: { b: 50, 'c/d': 50 } }] } },
      { localityLbSetting: { failover: [{ from: 'a', to: 'b' }] }, warmup: { duration: '1m' } },
    ),
    connectionPool: nearly(
      { tcp: { maxConnections: 1, tcpKeepalive: { probes: 3 } }, http: { idleTimeout: '1s' } },
      { http: { http2KeepAlive: { interval: 1 } } },
    ),
    outlierDetection: nearly({ consecutive5xxErrors: 1, outlierDetectionHttpErrorCodes: [500] }, {}),
    tls: nearly({ mode: 'SIMPLE' }, undefined),
  }
  const policy = fc.record(
    {
      ...byPort,
      portLevelSettings: fc.array(fc.record({ port: nearly({ number: 80 }), ...byPort }, { requiredKeys: [] }), {
        maxLength: 2,
      }),
      retryBudget: nearly({}, { percent: 1, budgetInterval: '1s' }),
      tunnel: nearly(undefined, undefined, { targetHost: 'a.b', targetPort: 1 }),
      proxyProtocol: nearly({ version: 'V1' }, undefined),
    },
    { requiredKeys: [] },
  )
  const subsets = fc.array(
    fc.record(
      { name: nearly('a', 'b', 'c'), labels: nearly({ version: 'v1' }), trafficPolicy: policy },
      { requiredKeys: ['name'] },
    ),
    { maxLength: 2 },
  )
  const spec = fc.oneof(
    { weight: 1, arbitrary: odd },
    { weight: 1, arbitrary: fc.record({ host: odd, exportTo: odd, trafficPolicy: odd, subsets: odd }) },
    {
      weight: 6,
      arbitrary: fc.record(
        {
          host: nearly('a', '*.b'),
          trafficPolicy: policy,
          subsets,
          workloadSelector: nearly({ matchLabels: { app: 'a' } }, {}, undefined),
        },
        { requiredKeys: ['host'] },
      ),
    },
  )
  const taken = { yes: 0, no: 0 }
  fc.assert(
    fc.property(spec, (given) => {
      const { value, rejected, problems } = translate(given)
      taken[rejected ? 'no' : 'yes']++
      for (const { field } of problems) assert.match(field, /^spec/) // a field by name: nothing fell through
      assert.equal(value === null, rejected)
      if (value !== null) assert.ok(isSaid(value), JSON.stringify(value))
      else assert.notEqual(problems[0]!.reason, '')
    }),
    { numRuns: 2000 },
  )
  assert.ok(taken.yes > 100 && taken.no > 100, JSON.stringify(taken))
})
