import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ClientTls, DestinationRule } from '../model/policy.ts'
import { translateDestinationRule } from './destination-rule.ts'
import { istio } from './objects.fixture.ts'
import type { Translation } from './translate.ts'

function translate(spec: unknown, metadata = {}): Translation<DestinationRule> {
  return translateDestinationRule(istio('DestinationRule', spec, metadata), 'cluster.local')
}

const simple = (name: string) => ({ loadBalancer: { simple: name } })

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
    policy: {
      balancer: 'RANDOM',
      tls: null,
      ports: [
        { port: 9080, balancer: 'LEAST_REQUEST', tls: null },
        { port: 80, balancer: null, tls: null },
      ],
    },
    subsets: [
      { name: 'v1', labels: { version: 'v1' }, policy: null },
      { name: 'all', labels: {}, policy: null },
      {
        name: 'v2',
        labels: { version: 'v2', track: 'b' },
        policy: { balancer: 'LEAST_REQUEST', tls: null, ports: [{ port: 80, balancer: 'ROUND_ROBIN', tls: null }] },
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
  const table: [object, string[]][] = [
    [{ trafficPolicy: { tls } }, ['trafficPolicy.tls.caCrl']],
    [{ trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } }, ['trafficPolicy.connectionPool']],
    [{ trafficPolicy: { outlierDetection: { consecutive5xxErrors: 1 } } }, ['trafficPolicy.outlierDetection']],
    [{ trafficPolicy: { tunnel: { targetHost: 'a', targetPort: 1 } } }, ['trafficPolicy.tunnel']],
    [{ trafficPolicy: { proxyProtocol: { version: 'V2' } } }, ['trafficPolicy.proxyProtocol']],
    [{ trafficPolicy: simple('PASSTHROUGH') }, ['trafficPolicy.loadBalancer.simple']],
    [
      { trafficPolicy: { loadBalancer: { consistentHash: { useSourceIp: true } } } },
      ['trafficPolicy.loadBalancer.consistentHash'],
    ],
    [
      { trafficPolicy: { loadBalancer: { simple: 'RANDOM', localityLbSetting: { enabled: false } } } },
      ['trafficPolicy.loadBalancer.localityLbSetting'],
    ],
    [
      { trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, tls }] } },
      ['trafficPolicy.portLevelSettings[0].tls.caCrl'],
    ],
    [
      { trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, ...simple('PASSTHROUGH') }] } },
      ['trafficPolicy.portLevelSettings[0].loadBalancer.simple'],
    ],
    [{ trafficPolicy: { portLevelSettings: [simple('RANDOM')] } }, ['trafficPolicy.portLevelSettings[0]']],
    [{ subsets: [subset, { ...subset, trafficPolicy: { tls } }] }, ['subsets[1].trafficPolicy.tls.caCrl']],
    [
      { subsets: [{ ...subset, trafficPolicy: simple('PASSTHROUGH') }] },
      ['subsets[0].trafficPolicy.loadBalancer.simple'],
    ],
    [{ workloadSelector: { matchLabels: { app: 'a' } } }, ['workloadSelector']],
  ]
  for (const [wish, fields] of table) {
    const { value, rejected, problems } = translate({ host: 'reviews', ...wish })
    assert.deepEqual(
      problems.map(({ field }) => field),
      fields.map((field) => `spec.${field}`),
    )
    assert.equal(rejected, false)
    assert.equal(value?.host, 'reviews.default.svc.cluster.local')
  }
})

test('settings for a port that is not named hold for no port', () => {
  const portLevelSettings = [simple('RANDOM'), { port: { number: 80 }, ...simple('ROUND_ROBIN') }]
  assert.deepEqual(translate({ host: 'a', trafficPolicy: { portLevelSettings } }).value?.policy, {
    balancer: null,
    tls: null,
    ports: [{ port: 80, balancer: 'ROUND_ROBIN', tls: null }],
  })
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

test('any object is translated or refused with a field and a reason', () => {
  const odd = fc.oneof(
    fc.constantFrom<unknown>(null, '', 'a', 0, true, [], [null], {}, { simple: null }, { number: 80 }),
    fc.jsonValue({ maxDepth: 2 }),
  )
  const policy = fc.oneof(odd, fc.record({ loadBalancer: odd, portLevelSettings: odd }, { requiredKeys: [] }))
  const subsets = fc.oneof(
    odd,
    fc.array(fc.record({ name: fc.constantFrom('a', null), labels: odd, trafficPolicy: policy })),
  )
  const spec = fc.oneof(
    odd,
    fc.record({ host: fc.constantFrom<unknown>('a', '', null, 1), exportTo: odd, trafficPolicy: policy, subsets }),
    fc.record({ host: fc.constant('a'), trafficPolicy: policy }),
  )
  const taken = { yes: 0, no: 0 }
  fc.assert(
    fc.property(spec, (given) => {
      const { value, rejected, problems } = translate(given)
      taken[rejected ? 'no' : 'yes']++
      if (!rejected) return
      assert.equal(value, null)
      assert.match(problems[0]!.field, /^spec/)
      assert.notEqual(problems[0]!.reason, '')
    }),
    { numRuns: 500 },
  )
  assert.ok(taken.yes > 20 && taken.no > 20, JSON.stringify(taken))
})
