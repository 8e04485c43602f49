import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { VirtualService } from '../../model/policy.ts'
import { istio } from '../objects.fixture.ts'
import type { Translation } from '../translate.ts'
import { translateVirtualService } from '../virtual-service.ts'

const route = [{ destination: { host: 'db', port: { number: 5432 } } }]
const there = { host: 'db.default.svc.cluster.local', subset: null, port: 5432, weight: 0, headers: null }

function translate(spec: object): Translation<VirtualService> {
  return translateVirtualService(istio('VirtualService', { hosts: ['db', '*.b.c'], ...spec }), 'cluster.local')
}

test('every field of a rule for connections arrives in the mesh’s own words', () => {
  const source = { sourceLabels: { app: 'web' }, sourceNamespace: 'front', gateways: ['mesh'] }
  const { value, problems } = translate({
    tls: [
      {
        match: [
          { sniHosts: ['A.b.c', '*.x.b.c', 'db'], destinationSubnets: ['10.1.2.3/8', '::1'], port: 443, ...source },
        ],
        route,
      },
    ],
    tcp: [{ match: [{ sourceSubnet: '192.168.0.1', port: 0 }], route }, { route }],
  })
  assert.deepEqual(problems, [])
  const match = { sourceLabels: { app: 'web' }, sourceNamespace: 'front' }
  assert.deepEqual(value?.tls, [
    {
      matches: [
        {
          serverNames: ['a.b.c', '*.x.b.c', 'db'],
          destinationSubnets: ['10.0.0.0/8', '::1/128'],
          sourceSubnets: [],
          port: 443,
          ...match,
        },
      ],
      destinations: [there],
    },
  ])
  const any = { serverNames: null, destinationSubnets: [], port: null, sourceLabels: {}, sourceNamespace: null }
  assert.deepEqual(value.tcp, [
    { matches: [{ ...any, sourceSubnets: ['192.168.0.1/32'] }], destinations: [there] },
    { matches: [], destinations: [there] },
  ])
  assert.deepEqual(value.http, [])
})

test('what cannot be in force is refused with the field that is wrong', () => {
  const tls = (wish: object, rest: object = { route }) => ({
    tls: [{ match: [{ sniHosts: ['a.b.c'], ...wish }], ...rest }],
  })
  const tcp = (wish: object) => ({ tcp: [{ match: [wish], route }] })
  const table: [object, string][] = [
    [{ tls: [{ route }] }, 'spec.tls[0]'],
    [{ tls: [{ match: [], route }] }, 'spec.tls[0].match'],
    [{ tls: [{ match: [{}], route }] }, 'spec.tls[0].match[0]'],
    [tls({ sniHosts: [] }), 'spec.tls[0].match[0].sniHosts'],
    [tls({ sniHosts: ['a.b.c', 'a.*.c'] }), 'spec.tls[0].match[0].sniHosts[1]'],
    [tls({ sniHosts: ['b.c'] }), 'spec.tls[0].match[0].sniHosts[0]'],
    [tls({ sniHosts: ['*.c'] }), 'spec.tls[0].match[0].sniHosts[0]'],
    [tls({ destinationSubnets: ['10.0.0.0/8', '10.0.0.0/33'] }), 'spec.tls[0].match[0].destinationSubnets[1]'],
    [tls({ port: 70000 }), 'spec.tls[0].match[0].port'],
    [tls({}, {}), 'spec.tls[0].route'],
    [tcp({ destinationSubnets: ['db'] }), 'spec.tcp[0].match[0].destinationSubnets[0]'],
    [tcp({ sourceSubnet: 'a' }), 'spec.tcp[0].match[0].sourceSubnet'],
    [tcp({ sourceLabels: { a: '*' } }), 'spec.tcp[0].match[0].sourceLabels.a'],
    [tcp({ sourceNamespace: 'a.b' }), 'spec.tcp[0].match[0].sourceNamespace'],
    [{ tcp: [{ route: [...route, ...route] }] }, 'spec.tcp[0].route'],
  ]
  for (const [spec, field] of table) {
    const { rejected, problems } = translate(spec)
    assert.ok(rejected && problems.length === 1, field)
    assert.equal(problems[0]?.field, field)
  }
})

test('rules for other gateways are passed over', () => {
  const front = { gateways: ['front'] }
  const { value } = translate({
    tls: [{ match: [{ sniHosts: ['a.b.c'], ...front }, { sniHosts: ['db'] }], route }],
    tcp: [
      { match: [front], route },
      { match: [{ port: 1 }], route },
    ],
  })
  assert.deepEqual(
    value?.tls[0]?.matches.map(({ serverNames }) => serverNames),
    [['db']],
  )
  assert.deepEqual(
    value.tcp.map(({ matches }) => matches[0]?.port),
    [1],
  )
  assert.equal(translate({ tcp: [{ match: [front], route }] }).value, null)
})
