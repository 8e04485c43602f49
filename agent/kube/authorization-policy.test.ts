import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { call, opaque } from '../model/authorization/authorization.fixture.ts'
import type { AuthorizationPolicy } from '../model/authorization/policy.ts'
import { compilePolicy, tableOf } from '../model/authorization/table.ts'
import { translateAuthorizationPolicy } from './authorization-policy.ts'
import { istio } from './objects.fixture.ts'
import type { Translation } from './translate.ts'

function translate(
  spec: unknown,
  annotations: Readonly<Record<string, string>> = {},
): Translation<AuthorizationPolicy> {
  return translateAuthorizationPolicy(istio('AuthorizationPolicy', spec, { annotations }))
}

const told = ({ problems }: Translation<unknown>): string[] => problems.map(({ field }) => field.replace('spec.', ''))
const NOWHERE = (index: number): object => {
  const attribute = { kind: 'destination.port' }
  return { from: [], to: [], when: [{ field: `rules[${index}]`, attribute, values: ['0'], notValues: [] }] }
}

test('every field arrives in the mesh’s own words', () => {
  const { value, rejected, problems } = translate({
    selector: { matchLabels: { app: 'web' } },
    action: 'DENY',
    rules: [
      {
        from: [
          {
            source: {
              ...{ principals: ['cluster.local/ns/shop/sa/*'], notPrincipals: ['*/sa/web'] },
              ...{ requestPrincipals: ['https://issuer/*'], namespaces: ['shop'], notNamespaces: ['shop-*'] },
              ...{ ipBlocks: ['10.0.0.7/8'], notRemoteIpBlocks: ['fd00::1'], trustDomains: ['corp'] },
            },
          },
          { source: { serviceAccounts: ['web', 'other/web'], notServiceAccounts: ['b'] } },
        ],
        to: [
          {
            operation: {
              ...{ hosts: ['*.example.com'], notPorts: ['8080'], methods: ['GET'], notMethods: ['HEAD'] },
              ...{ paths: ['/a/{*}/{**}', '/b*'] },
            },
          },
        ],
        when: [
          { key: 'request.headers[X-Team]', values: ['a'], notValues: ['b'] },
          { key: 'request.headers[:authority]', values: ['a'] },
          { key: 'request.auth.claims[realm_access][roles]', values: ['admin'] },
          { key: 'request.auth.claims[https://example.com/group]', values: ['admin'] },
          { key: 'destination.port', notValues: ['80'] },
          { key: 'source.serviceAccount', values: ['web'] },
        ],
      },
      {},
    ],
  })
  const of = (field: string, kind: string, values: string[], notValues: string[] = []): object => {
    return { field, attribute: { kind }, values, notValues }
  }
  assert.deepEqual([rejected, problems], [false, []])
  assert.deepEqual(value, {
    ref: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'reviews' },
    createdMs: Date.UTC(2026, 0, 2, 3, 4, 5),
    selector: { app: 'web' },
    targets: null,
    action: 'DENY',
    provider: '',
    dryRun: false,
    rules: [
      {
        from: [
          [
            of('from[0].source.principals', 'source.principal', ['cluster.local/ns/shop/sa/*'], ['*/sa/web']),
            of('from[0].source.requestPrincipals', 'request.principal', ['https://issuer/*']),
            of('from[0].source.namespaces', 'source.namespace', ['shop'], ['shop-*']),
            of('from[0].source.ipBlocks', 'source.ip', ['10.0.0.0/8']),
            of('from[0].source.notRemoteIpBlocks', 'remote.ip', [], ['fd00::1/128']),
            of('from[0].source.trustDomains', 'source.trustDomain', ['corp']),
          ],
          [of('from[1].source.serviceAccounts', 'source.serviceAccount', ['default/web', 'other/web'], ['default/b'])],
        ],
        to: [
          [
            of('to[0].operation.hosts', 'request.host', ['*.example.com']),
            of('to[0].operation.notPorts', 'destination.port', [], ['8080']),
            of('to[0].operation.methods', 'request.method', ['GET'], ['HEAD']),
            of('to[0].operation.paths', 'request.path', ['/a/{*}/{**}', '/b*']),
          ],
        ],
        when: [
          { field: 'when[0]', attribute: { kind: 'request.header', name: 'x-team' }, values: ['a'], notValues: ['b'] },
          { field: 'when[1]', attribute: { kind: 'request.header', name: ':authority' }, values: ['a'], notValues: [] },
          {
            ...{ field: 'when[2]', values: ['admin'], notValues: [] },
            attribute: { kind: 'request.claim', path: ['realm_access', 'roles'] },
          },
          {
            ...{ field: 'when[3]', values: ['admin'], notValues: [] },
            attribute: { kind: 'request.claim', path: ['https://example.com/group'] },
          },
          of('when[4]', 'destination.port', [], ['80']),
          of('when[5]', 'source.serviceAccount', ['default/web']),
        ],
      },
      { from: [], to: [], when: [] },
    ],
  })
})

test('what is not said is an ALLOW of nothing for all of the namespace', () => {
  for (const spec of [undefined, null, {}, { rules: [] }, { selector: {} }, { selector: { matchLabels: {} } }]) {
    const { value, problems } = translate(spec)
    assert.deepEqual(
      [value?.action, value?.selector, value?.targets, value?.rules, problems],
      ['ALLOW', null, null, [], []],
    )
  }
})

test('every version of the API means the same', () => {
  const object = istio('AuthorizationPolicy', { action: 'DENY', rules: [{}] })
  const older = { ...object, apiVersion: 'security.istio.io/v1beta1' }
  assert.deepEqual(translateAuthorizationPolicy(older), translateAuthorizationPolicy(object))
})

test('a Service is a target, of what else Istio knows it is said that it has no effect; never is it the whole namespace', () => {
  const service = { kind: 'Service', name: 'web' }
  const gateway = { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'g' }
  const entry = { group: 'networking.istio.io', kind: 'ServiceEntry', name: 'e' }
  const web = { namespace: 'default', name: 'web' }
  const table: [object, unknown, string[], boolean][] = [
    [{ targetRef: service }, [web], [], false],
    [{ targetRef: { ...service, group: '' } }, [web], [], false],
    [{ targetRefs: [service, { ...service, name: 'b' }] }, [web, { namespace: 'default', name: 'b' }], [], false],
    [{ targetRefs: [] }, null, [], false],
    [{ targetRef: gateway }, [], ['targetRef'], false],
    [{ targetRefs: [service, entry] }, [web], ['targetRefs[1]'], false],
    [{ targetRefs: [{ ...gateway, kind: 'GatewayClass' }] }, [], ['targetRefs[0]'], false],
    [{ targetRef: { kind: 'Deployment', name: 'a' } }, [], ['targetRef.kind'], true],
    [{ targetRef: { ...gateway, group: '' } }, [], ['targetRef.kind'], true],
    [{ targetRefs: [{ ...service, namespace: 'other' }] }, [], ['targetRefs[0].namespace'], true],
    [{ targetRef: service, targetRefs: [service] }, [web, web], ['spec'], true],
    [{ targetRef: service, selector: { matchLabels: { a: 'b' } } }, null, ['spec'], true],
  ]
  for (const [spec, targets, fields, isRejected] of table) {
    const translation = translate(spec)
    const found = [translation.value?.targets, told(translation), translation.rejected]
    assert.deepEqual(found, [targets, fields, isRejected], JSON.stringify(spec))
  }
})

test('in dry run are ALLOW and DENY whose annotation says so', () => {
  const of = (text: string, action: string): unknown => {
    const provider = action === 'CUSTOM' ? { provider: { name: 'a' } } : {}
    const translation = translate({ action, rules: [{}], ...provider }, { 'istio.io/dry-run': text })
    return [translation.value?.dryRun, told(translation), translation.rejected]
  }
  for (const text of ['true', 'True', '1']) assert.deepEqual(of(text, 'DENY'), [true, [], false], text)
  assert.deepEqual(of('true', 'ALLOW'), [true, [], false])
  for (const text of ['false', '0']) assert.deepEqual(of(text, 'DENY'), [false, [], false], text)
  const remark = ['metadata.annotations[istio.io/dry-run]']
  for (const text of ['', 'yes']) assert.deepEqual(of(text, 'DENY'), [false, remark, false], text)
  for (const action of ['AUDIT', 'CUSTOM']) assert.deepEqual(of('true', action), [false, remark, false], action)
})

test('what matches nothing for want of rules says so, but for an ALLOW', () => {
  assert.deepEqual(told(translate({ action: 'DENY' })), ['rules'])
  assert.deepEqual(told(translate({ action: 'AUDIT', rules: [] })), ['rules'])
  assert.deepEqual(told(translate({ action: 'CUSTOM', provider: { name: 'a' } })), ['rules'])
})

/** What Istio refuses: a rule, and the field that is to blame. */
const FAULTY: [object, string][] = [
  [{ from: [] }, 'from'],
  [{ from: [{}] }, 'from[0].source'],
  [{ from: [{ source: {} }] }, 'from[0].source'],
  [{ from: [{ source: { principals: [], notIpBlocks: [] } }] }, 'from[0].source'],
  [{ from: [{ source: { principals: ['a', ''] } }] }, 'from[0].source.principals[1]'],
  [{ from: [{ source: { notNamespaces: [''] } }] }, 'from[0].source.notNamespaces[0]'],
  [{ from: [{ source: { ipBlocks: ['10.0.0.0/33'] } }] }, 'from[0].source.ipBlocks[0]'],
  [{ from: [{ source: { notRemoteIpBlocks: ['web'] } }] }, 'from[0].source.notRemoteIpBlocks[0]'],
  [{ from: [{ source: { serviceAccounts: ['a/b/c'] } }] }, 'from[0].source.serviceAccounts[0]'],
  [{ from: [{ source: { notServiceAccounts: ['*'] } }] }, 'from[0].source.notServiceAccounts[0]'],
  [{ from: [{ source: { serviceAccounts: ['/web'] } }] }, 'from[0].source.serviceAccounts[0]'],
  [{ from: [{ source: { serviceAccounts: ['a'], namespaces: ['b'] } }] }, 'from[0].source'],
  [{ from: [{ source: { notServiceAccounts: ['a'], notPrincipals: ['b'] } }] }, 'from[0].source'],
  [{ from: [{ source: { trustDomains: 'corp' } }] }, 'from[0].source.trustDomains'],
  [{ from: [{ source: { trustDomains: [1] } }] }, 'from[0].source.trustDomains[0]'],
  [{ from: [{ source: { novel: ['a'], namespaces: ['b'] } }] }, 'from[0].source.novel'],
  [{ to: [] }, 'to'],
  [{ to: [{}] }, 'to[0].operation'],
  [{ to: [{ operation: { paths: [] } }] }, 'to[0].operation'],
  [{ to: [{ operation: { ports: ['http'] } }] }, 'to[0].operation.ports[0]'],
  [{ to: [{ operation: { notPorts: ['65536'] } }] }, 'to[0].operation.notPorts[0]'],
  [{ to: [{ operation: { hosts: [''] } }] }, 'to[0].operation.hosts[0]'],
  ...[
    '/{**}/{*}',
    '/a/{*}/*',
    '/{*}/{id}',
    '/users/{id}',
    '/a{b',
    '/a}',
    '/{}',
    '/{a=*}',
    '/{***}',
    '/a//{*}',
    '{*}',
  ].map((path): [object, string] => [
    { to: [{ operation: { notPaths: ['/a', path] } }] },
    'to[0].operation.notPaths[1]',
  ]),
  [{ when: [{ key: '', values: ['a'] }] }, 'when[0].key'],
  [{ when: [{ key: 'source.ip' }] }, 'when[0]'],
  [{ when: [{ key: 'source.ip', values: [] }] }, 'when[0]'],
  [{ when: [{ key: 'source.ip', values: ['a'] }] }, 'when[0].values[0]'],
  [{ when: [{ key: 'destination.port', notValues: ['-1'] }] }, 'when[0].notValues[0]'],
  [{ when: [{ key: 'source.principal', values: [''] }] }, 'when[0].values[0]'],
  ...[
    ...['weather', 'source.ip ', 'toString', 'request.headers', 'request.headers[]', 'request.headers[a b]'],
    ...['request.headers[a][b]', 'request.auth.claims', 'request.auth.claims[]', 'request.auth.claims[a]b'],
    ...['experimental.envoy.filters.network.mysql_proxy[db.table]', 'destination.labels[app]'],
    ...['request.experimental.inline.headers[a]'],
    ...['destination.namespace', 'destination.user', 'destination.name'],
  ].map((key): [object, string] => [{ when: [{ key, values: ['a'] }] }, 'when[0].key']),
]

test('a rule that Istio refuses has the object refused, and until there is a sound one it opens nothing', () => {
  const good = { from: [{ source: { namespaces: ['shop'] } }] }
  for (const [rule, field] of FAULTY) {
    const say = JSON.stringify(rule)
    const rules = [good, rule]
    const allow = translate({ rules })
    assert.equal(allow.rejected, true, say)
    assert.equal(told(allow)[0], `rules[1].${field}`, say)
    assert.match(allow.problems[0]?.reason ?? '', /such a rule allows nothing\)$/)
    assert.deepEqual(allow.value?.rules[1], NOWHERE(1), say)
    assert.equal(allow.value.rules[0]?.from.length, 1, say)
    const deny = translate({ action: 'DENY', rules })
    assert.deepEqual([deny.rejected, told(deny)], [true, told(allow)], say)
    // of one condition each, all of it is left out: it denies everything
    const left = [
      ...(deny.value?.rules[1]?.from ?? []),
      ...(deny.value?.rules[1]?.to ?? []),
      deny.value?.rules[1]?.when,
    ]
    const kept = left.flat().flatMap((one) => (one === undefined ? [] : [one.attribute.kind]))
    assert.ok(
      kept.every((kind) => /^source\.(namespace|principal|serviceAccount)$/.test(kind)),
      say,
    )
    assert.deepEqual(translate({ action: 'AUDIT', rules }).value?.rules[1], NOWHERE(1), say)
  }
})

test('of a DENY that cannot be meant the rest narrows it still', () => {
  const { value } = translate({
    action: 'DENY',
    rules: [
      { to: [{ operation: { ports: ['8080'], paths: ['/{x}/{*}'] } }], when: [{ key: 'weather', values: ['a'] }] },
    ],
  })
  const ports = {
    field: 'to[0].operation.ports',
    attribute: { kind: 'destination.port' },
    values: ['8080'],
    notValues: [],
  }
  assert.deepEqual(value?.rules, [{ from: [], to: [[ports]], when: [] }])
})

test('a provider is of CUSTOM, and CUSTOM has one', () => {
  const custom = translate({ action: 'CUSTOM', provider: { name: 'authz' }, rules: [{}] })
  assert.deepEqual([custom.value?.provider, custom.rejected], ['authz', false])
  for (const provider of [{}, { provider: {} }, { provider: { name: '' } }]) {
    const none = translate({ action: 'CUSTOM', rules: [{}], ...provider })
    assert.deepEqual([none.rejected, told(none), none.value?.rules.length], [true, ['provider.name'], 1])
  }
  const other = translate({ action: 'DENY', provider: { name: 'a' }, rules: [{}] })
  assert.deepEqual([other.rejected, told(other), other.value?.provider], [true, ['provider'], ''])
})

test('what no schema passes closes whom it is for, as far as that is told', () => {
  const app = { matchLabels: { app: 'web' } }
  const closed = (spec: unknown, annotations = {}): unknown => {
    const { rejected, value, problems } = translate(spec, annotations)
    assert.ok(rejected && problems.length === 1, JSON.stringify(spec))
    return value && [value.action, value.rules, value.selector, value.targets, value.dryRun]
  }
  assert.deepEqual(closed({ action: 'ALOW', rules: [{}] }), ['ALLOW', [], null, null, false])
  assert.deepEqual(closed({ selector: app, rules: [null] }), ['ALLOW', [], { app: 'web' }, null, false])
  assert.deepEqual(closed({ selector: app, rules: 'all' }, { 'istio.io/dry-run': 'true' }), [
    ...['ALLOW', [], { app: 'web' }, null, true],
  ])
  const targets = [{ namespace: 'default', name: 'web' }]
  assert.deepEqual(closed({ targetRef: { kind: 'Service', name: 'web' }, rules: {} }), [
    'ALLOW',
    [],
    null,
    targets,
    false,
  ])
  assert.deepEqual(closed({ targetRef: { kind: 'Gateway', name: 'web' }, rules: {} }), ['ALLOW', [], null, [], false])
  for (const selector of ['app', { matchLabels: 'app' }, { matchLabels: { app: 1 } }, []]) {
    assert.equal(closed({ selector, action: 'DENY' }), null, JSON.stringify(selector))
  }
  for (const targetRefs of ['a', {}, [1], [{ kind: 'Service' }]]) assert.equal(closed({ targetRefs }), null)
  assert.equal(closed({ action: 'AUDIT', rules: 1 }), null)
  assert.equal(closed('spec'), null)
})

test('a field that is not known is told, and one in a rule is no remark but a fault', () => {
  const known = translate({ rules: [{}], novel: 1 })
  assert.deepEqual([known.rejected, told(known)], [false, ['novel']])
  const narrowing = translate({ rules: [{ unless: [] }] })
  assert.deepEqual(
    [narrowing.rejected, told(narrowing), narrowing.value?.rules],
    [true, ['rules[0].unless'], [NOWHERE(0)]],
  )
})

test('a star that stands for itself is told, and does as Istio has it', () => {
  const idle = translate({
    action: 'DENY',
    rules: [
      {
        from: [{ source: { principals: ['*/sa/*', '*/sa/a'], namespaces: ['a*b*c'] } }],
        to: [{ operation: { paths: ['/a*b', '/a/{*}', '*/a/*', '*'], notHosts: ['**'], methods: ['G*'] } }],
        when: [{ key: 'request.headers[x]', values: ['a*b'], notValues: ['*'] }],
      },
    ],
  })
  assert.equal(idle.rejected, false)
  assert.deepEqual(told(idle), [
    ...['rules[0].from[0].source.principals[0]', 'rules[0].to[0].operation.notHosts[0]'],
    ...['rules[0].to[0].operation.paths[0]', 'rules[0].to[0].operation.paths[2]', 'rules[0].when[0].values[0]'],
  ])
})

/** Each value within some JSON with another in its place, and each mapping with a field more. */
function spoilt(given: unknown, junk: readonly unknown[]): unknown[] {
  if (typeof given !== 'object' || given === null) return [...junk]
  const inner = Object.entries(given).flatMap(([name, value]) => {
    return spoilt(value, junk).map((other) => {
      return Array.isArray(given) ? given.with(Number(name), other) : { ...given, [name]: other }
    })
  })
  return [...inner, ...junk, ...(Array.isArray(given) ? [] : [{ ...given, novel: ['a'] }])]
}

test('whatever is refused lets nobody in whom the sound version of it keeps out', () => {
  const calls = ['GET', 'PUT'].flatMap((method) =>
    ['/a', '/b', '/c/d'].flatMap((target) =>
      ['shop', 'other'].flatMap((namespace) =>
        ['red', 'blue'].flatMap((team) => {
          const facts = call({ method, target, headers: { 'x-team': team }, source: { namespace } })
          return [facts, opaque(facts)]
        }),
      ),
    ),
  )
  const rules = [
    {
      from: [{ source: { namespaces: ['shop'], notIpBlocks: ['10.9.0.0/16'] } }, { source: { principals: ['*'] } }],
      to: [{ operation: { methods: ['GET'], notPaths: ['/b'] } }],
      when: [{ key: 'request.headers[x-team]', values: ['red'], notValues: ['green'] }],
    },
    { to: [{ operation: { paths: ['/c/{*}'], ports: ['8080'] } }] },
  ]
  const isLetIn = (value: AuthorizationPolicy): boolean[] => {
    const table = tableOf([compilePolicy(value)])
    return calls.map((facts) => table.consultations(facts).length === 0 && table.decide(facts).denied === null)
  }
  const junk = [null, '', 'x y', 5, {}, [], [''], [null], ['/{id}'], [{}], true]
  let refusals = 0
  for (const action of ['ALLOW', 'DENY', 'CUSTOM']) {
    const more = action === 'CUSTOM' ? { provider: { name: 'authz' } } : {}
    const sound = translate({ action, rules, ...more })
    assert.ok(sound.value !== null && !sound.rejected)
    const before = isLetIn(sound.value)
    assert.ok(before.includes(true) && before.includes(false), action)
    for (const spoiltRules of spoilt(rules, junk)) {
      const { value, rejected } = translate({ action, rules: spoiltRules, ...more })
      if (!rejected) continue
      refusals++
      assert.ok(value !== null, JSON.stringify(spoiltRules))
      isLetIn(value).forEach((isIn, index) => {
        assert.ok(before[index] === true || !isIn, `${action} ${index} ${JSON.stringify(spoiltRules)}`)
      })
    }
  }
  assert.ok(refusals > 300, `${refusals}`)
})

test('any object is translated or refused with a field and a reason, and what comes of it compiles', () => {
  const name = fc.constantFrom(
    ...['selector', 'matchLabels', 'action', 'rules', 'from', 'source', 'principals', 'ipBlocks', 'to', 'operation'],
    ...['paths', 'ports', 'when', 'key', 'values', 'notValues', 'targetRefs', 'targetRef', 'kind', 'name', 'provider'],
  )
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom<unknown>('DENY', 'CUSTOM', '10.0.0.0/8', '/{*}', 'source.ip', '', 80, null, true),
      fc.dictionary(name, tie('tree'), { maxKeys: 4 }),
      fc.array(tie('tree'), { maxLength: 3 }),
    ),
  }))
  fc.assert(
    fc.property(tree, (spec) => {
      const { value, rejected, problems } = translate(spec)
      assert.ok(value !== null || rejected)
      assert.ok(!rejected || problems.length > 0)
      for (const { reason } of problems) assert.notEqual(reason, '')
      if (value !== null) compilePolicy(value)
    }),
    { numRuns: 500 },
  )
})
