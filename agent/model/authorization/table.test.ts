import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { call, opaque, policyOf, ruleOf, STRANGER, WEB, where } from './authorization.fixture.ts'
import type { Facts, Source } from './facts.ts'
import type { Attribute, AuthorizationPolicy, Condition, Rule } from './policy.ts'
import { HOSTS, PATHS, type ReferenceDecision, referenceDecision } from './reference.fixture.ts'
import { compilePolicy, tableOf } from './table.ts'
import { traceOf } from './trace.ts'

function tableFor(...policies: AuthorizationPolicy[]): ReturnType<typeof tableOf> {
  return tableOf(policies.map(compilePolicy))
}

const fromShop = ruleOf({ from: [where('source.namespace', ['shop'])] })
const toAdmin = ruleOf({ to: [where('request.path', ['/admin'])] })
const ALL = ruleOf({})
const admin = call({ target: '/admin?x' })
const home = call({ target: '/' })

test('without a policy all is allowed, and nobody had to', () => {
  const { denied, allowedBy } = tableFor().decide(home)
  assert.deepEqual({ denied, allowedBy }, { denied: null, allowedBy: null })
})

test('what an ALLOW matches is allowed by it, and what none matches is denied by nobody', () => {
  const policy = policyOf('a', {
    action: 'ALLOW',
    rules: [ruleOf({ to: [where('request.method', ['PUT'])] }), fromShop],
  })
  const table = tableFor(policy)
  assert.deepEqual(table.decide(home).allowedBy, { policy: policy.ref, rule: 1 })
  assert.deepEqual(table.decide(call({ source: STRANGER })).denied, { by: null })
  assert.equal(table.decide(home), table.decide(admin), 'the same object where nothing particular is told')
})

test('an ALLOW without rules allows nothing, a DENY without rules denies nothing', () => {
  assert.deepEqual(tableFor(policyOf('a', { action: 'ALLOW' })).decide(home).denied, { by: null })
  assert.equal(tableFor(policyOf('a', { action: 'DENY' })).decide(home).denied, null)
})

test('a rule that says nothing matches everything', () => {
  assert.equal(
    tableFor(policyOf('a', { action: 'ALLOW', rules: [ALL] })).decide(call({ source: STRANGER })).denied,
    null,
  )
  assert.notEqual(tableFor(policyOf('a', { action: 'DENY', rules: [ALL] })).decide(home).denied, null)
})

test('a DENY goes before an ALLOW, and of several the oldest is named', () => {
  const allow = policyOf('a', { action: 'ALLOW', rules: [ALL] })
  const young = policyOf('b', { action: 'DENY', rules: [toAdmin], createdMs: 2 })
  const old = policyOf('c', { action: 'DENY', rules: [fromShop, toAdmin], createdMs: 1 })
  const table = tableFor(young, allow, old)
  assert.deepEqual(table.decide(admin).denied, { by: { policy: old.ref, rule: 0 } })
  assert.deepEqual(table.decide(call({ target: '/admin', source: STRANGER })).denied, {
    by: { policy: old.ref, rule: 1 },
  })
  assert.deepEqual(table.decide(call({ source: STRANGER })).allowedBy, { policy: allow.ref, rule: 0 })
  const named = tableFor(...['z', 'y', 'x'].map((name) => policyOf(name, { action: 'DENY', rules: [ALL] })))
  assert.equal(named.decide(home).denied?.by?.policy.name, 'x')
})

test('AUDIT notes the first rule of each policy, and decides nothing', () => {
  const one = policyOf('a', { action: 'AUDIT', rules: [toAdmin, fromShop, ALL] })
  const two = policyOf('b', { action: 'AUDIT', rules: [ALL] })
  const table = tableFor(one, two)
  const { denied, allowedBy, audited } = table.decide(home)
  assert.deepEqual([denied, allowedBy], [null, null])
  assert.deepEqual(audited, [
    { policy: one.ref, rule: 1 },
    { policy: two.ref, rule: 0 },
  ])
})

test('a policy in dry run is told of, and of no effect', () => {
  const deny = policyOf('a', { action: 'DENY', rules: [toAdmin], dryRun: true })
  const allow = policyOf('b', { action: 'ALLOW', rules: [toAdmin], dryRun: true })
  const table = tableFor(deny, allow)
  const { denied, dryRun } = table.decide(admin)
  assert.equal(denied, null)
  assert.deepEqual(dryRun, { denied: { by: { policy: deny.ref, rule: 0 } }, allowedBy: null })
  assert.deepEqual(table.decide(home), {
    denied: null,
    allowedBy: null,
    audited: [],
    dryRun: { denied: { by: null }, allowedBy: null },
  })
  assert.equal(tableFor(policyOf('a', { action: 'DENY', rules: [ALL] })).decide(home).dryRun, null)
})

test('each provider is asked once, by the oldest rule that wants it', () => {
  const policies = (['p', 'q', 'p'] as const).map((provider, at) => {
    return policyOf(`c${at}`, { action: 'CUSTOM', provider, rules: [at === 0 ? toAdmin : ALL] })
  })
  const table = tableFor(...policies)
  const told = (facts: Facts): string[] =>
    table.consultations(facts).map(({ provider, by }) => `${provider} ${by.policy.name}`)
  assert.deepEqual(told(admin), ['p c0', 'q c1'])
  assert.deepEqual(told(home), ['q c1', 'p c2'])
  assert.deepEqual(told(opaque(home)), ['p c0', 'q c1'])
  assert.deepEqual([table.consults, tableFor().consults], [true, false])
  assert.equal(table.decide(admin).denied, null)
})

test('of a connection that nobody reads, what asks for a request gives nothing, and takes away without asking', () => {
  const asked = ruleOf({ from: [where('source.namespace', ['shop'])], to: [where('request.path', ['/admin'])] })
  const stranger = opaque(call({ source: STRANGER }))
  const allow = tableFor(policyOf('a', { action: 'ALLOW', rules: [asked] }))
  assert.deepEqual(allow.decide(opaque(admin)).denied, { by: null })
  const deny = tableFor(policyOf('a', { action: 'DENY', rules: [asked] }))
  assert.notEqual(deny.decide(opaque(home)).denied, null)
  assert.equal(deny.decide(stranger).denied, null)
  const byPort = tableFor(
    policyOf('a', { action: 'ALLOW', rules: [ruleOf({ to: [where('destination.port', ['8080'])] })] }),
  )
  assert.equal(byPort.decide(opaque(home)).denied, null)
  const remote = ruleOf({ from: [where('remote.ip', ['10.244.0.1'])] })
  assert.equal(tableFor(policyOf('a', { action: 'ALLOW', rules: [remote] })).decide(opaque(home)).denied, null)
})

test('what looks at the server name of a connection says so', () => {
  const byName = ruleOf({ when: [where('connection.sni', ['a.example'])] })
  const table = tableFor(policyOf('a', { action: 'ALLOW', rules: [byName] }))
  assert.deepEqual([table.looksAtServerName, tableFor().looksAtServerName], [true, false])
  assert.equal(table.decide(call({ serverName: 'a.example' })).denied, null)
  // the same source, another connection of it
  assert.notEqual(table.decide({ ...home, source: WEB, serverName: 'b.example' }).denied, null)
})

test('one source at two destinations is judged at each', () => {
  const table = tableFor(
    policyOf('a', { action: 'ALLOW', rules: [ruleOf({ to: [where('destination.port', ['8080'])] })] }),
    policyOf('b', { action: 'DENY', rules: [ruleOf({ when: [where('destination.ip', ['10.244.0.9'])] })] }),
  )
  const at = (ip: string, port: number): boolean =>
    table.decide({ ...home, source: WEB, destination: { ip, port } }).denied === null
  for (let round = 0; round < 40; round++) {
    assert.deepEqual(
      [at('10.244.0.2', 8080), at('10.244.0.2', 9000 + round), at('10.244.0.9', 8080)],
      [true, false, false],
    )
  }
})

// — against the reference —

const some = <T>(values: readonly T[]): fc.Arbitrary<T[]> => fc.subarray([...values], { maxLength: 2 })

function conditionOf(attribute: Attribute, pool: readonly string[]): fc.Arbitrary<Condition> {
  return fc.tuple(some(pool), some(pool), fc.nat({ max: 3 })).map(([values, notValues, dice]) => {
    const isNegated = dice === 0 || values.length === 0
    const first = pool[0] ?? ''
    if (dice === 1 && notValues.length > 0) return where(attribute, values, notValues)
    return isNegated ? where(attribute, [], notValues.length > 0 ? notValues : [first]) : where(attribute, values)
  })
}

const FROM: readonly fc.Arbitrary<Condition>[] = [
  conditionOf({ kind: 'source.principal' }, ['cluster.local/ns/shop/sa/web', 'old.example/*', '*/sa/batch', '*']),
  conditionOf({ kind: 'source.namespace' }, ['shop', 'j*', '*']),
  conditionOf({ kind: 'source.ip' }, ['10.244.0.1', '192.0.2.1']),
  conditionOf({ kind: 'remote.ip' }, ['10.244.0.1', '203.0.113.7']),
  conditionOf({ kind: 'request.principal' }, ['idp/ann', 'idp/*', '*/bob', '*']),
]
const TO: readonly fc.Arbitrary<Condition>[] = [
  conditionOf({ kind: 'request.path' }, ['/admin', '/admin/*', '/public/*', '/public/{*}', '/{**}', '*a', '*', '/']),
  conditionOf({ kind: 'request.path' }, ['/admin', '/public/a', '/public/*', '/pub*']),
  conditionOf({ kind: 'request.host' }, ['a.example', 'a.example:80', 'b.example', '*.example', 'a.example:*']),
  conditionOf({ kind: 'request.method' }, ['GET', 'P*', '*']),
  conditionOf({ kind: 'destination.port' }, ['8080', '80']),
]
const WHEN: readonly fc.Arbitrary<Condition>[] = [
  conditionOf({ kind: 'request.header', name: 'x-user' }, ['ann', 'b*', '*']),
  conditionOf({ kind: 'request.claim', path: ['groups'] }, ['dev', 'ops', '*']),
  conditionOf({ kind: 'request.header', name: 'x-role' }, ['dev', 'ops']),
  conditionOf({ kind: 'request.audiences' }, ['web', 'api']),
  conditionOf({ kind: 'connection.sni' }, ['a.example', '*.example']),
  ...FROM,
]

const entries = (pool: readonly fc.Arbitrary<Condition>[]): fc.Arbitrary<Condition[][]> => {
  return fc.array(fc.array(fc.oneof(...pool), { minLength: 1, maxLength: 2 }), { maxLength: 2 })
}
const rule = fc.record({ from: entries(FROM), to: entries(TO), when: fc.array(fc.oneof(...WHEN), { maxLength: 2 }) })
const policies = fc
  .array(
    fc.record({
      action: fc.constantFrom('ALLOW', 'ALLOW', 'DENY', 'AUDIT', 'CUSTOM'),
      dryRun: fc.nat({ max: 5 }).map((dice) => dice === 0),
      createdMs: fc.nat({ max: 2 }),
      provider: fc.constantFrom('p', 'q'),
      rules: fc.array(rule, { maxLength: 3 }),
    }),
    { maxLength: 6 },
  )
  .map((list) => list.map((wish, at) => policyOf(`p${at}`, wish)))

const BATCH: Source = {
  principals: ['cluster.local/ns/jobs/sa/batch'],
  trustDomains: ['cluster.local'],
  namespace: 'jobs',
  serviceAccount: 'jobs/batch',
  ip: '10.244.0.7',
}
const facts = fc
  .record({
    source: fc.constantFrom(WEB, BATCH, STRANGER),
    target: fc.constantFrom(...Object.keys(PATHS)),
    query: fc.constantFrom('', '?/admin'),
    authority: fc.constantFrom(...Object.keys(HOSTS)),
    method: fc.constantFrom('GET', 'get', 'POST'),
    port: fc.constantFrom(8080, 80),
    serverName: fc.constantFrom(null, 'a.example'),
    user: fc.constantFrom(null, 'ann', 'bob'),
    remoteIp: fc.constantFrom(null, '203.0.113.7'),
    tokens: fc.subarray<Record<string, unknown>>([
      { iss: 'idp', sub: 'ann', aud: 'web', groups: ['dev', 'x'] },
      { iss: 'other', sub: 'bob', aud: ['api', 'x'], groups: 'ops' },
    ]),
    isOpaque: fc.nat({ max: 5 }).map((dice) => dice === 0),
  })
  .map(({ query, port, serverName, user, remoteIp, isOpaque, source, ...wish }) => {
    const made = call({
      ...wish,
      target: wish.target + query,
      destination: { port },
      ...(user === null ? {} : { headers: { 'x-user': user, 'x-role': 'dev' } }),
      ...(remoteIp === null ? {} : { remoteIp: remoteIp }),
      ...(serverName === null ? {} : { serverName }),
      source,
    })
    return isOpaque ? opaque({ ...made, source }) : { ...made, source }
  })

function judged(list: readonly AuthorizationPolicy[], asked: Facts, table = tableFor(...list)): ReferenceDecision {
  return { ...table.decide(asked), consulted: table.consultations(asked) }
}

test('fields are bytes, and what policies write is found in them', () => {
  const user: Attribute = { kind: 'request.header', name: 'x-user' }
  const denying = (...rules: Rule[]): ReturnType<typeof tableOf> => tableFor(policyOf('a', { action: 'DENY', rules }))
  const sent = { headers: { 'x-user': 'zo\u00c3\u00ab' } }
  for (const rule of [
    ruleOf({ when: [where(user, ['zo\u00eb'])] }),
    ruleOf({ when: [where(user, ['zo\u00eb', 'x*'])] }),
  ]) {
    assert.notEqual(denying(rule).decide(call(sent)).denied, null)
    assert.equal(denying(rule).decide(home).denied, null)
  }
})

test('the table says what policies say one by one', () => {
  const count = { denied: 0, allowed: 0, named: 0, audited: 0, tried: 0, asked: 0 }
  fc.assert(
    fc.property(policies, fc.array(facts, { minLength: 4, maxLength: 8 }), (list, calls) => {
      const table = tableFor(...list)
      for (const asked of calls) {
        const expected = referenceDecision(list, asked)
        assert.deepEqual(judged(list, asked, table), expected)
        if (expected.denied !== null) count.denied++
        if (expected.allowedBy !== null) count.allowed++
        if (expected.denied?.by) count.named++
        if (expected.audited.length > 0) count.audited++
        if (expected.dryRun !== null) count.tried++
        if (expected.consulted.length > 0) count.asked++
      }
    }),
    { numRuns: 3000, seed: 7 },
  )
  for (const [what, times] of Object.entries(count))
    assert.ok(times > 500, `${what}: ${times}, the property says little`)
})

test('a trace tells of each policy what the table decides by', () => {
  fc.assert(
    fc.property(policies, facts, (list, asked) => {
      const table = tableFor(...list)
      const traces = traceOf(table, asked)
      assert.deepEqual(
        traces.map(({ policy }) => policy),
        table.policies.map(({ ref }) => ref),
      )
      const first = (action: string): unknown => {
        const found = traces.find((one) => one.action === action && !one.dryRun && one.matched !== null)
        return found === undefined ? null : { policy: found.policy, rule: found.matched }
      }
      const { denied, allowedBy } = table.decide(asked)
      const denying = first('DENY')
      if (denying !== null) assert.deepEqual(denied, { by: denying })
      else if (traces.some(({ action, dryRun }) => action === 'ALLOW' && !dryRun)) {
        assert.deepEqual([allowedBy, denied?.by === null], [first('ALLOW'), first('ALLOW') === null])
      }
      for (const { rules, matched } of traces) {
        for (const { rule: at, failed } of rules) assert.equal(failed === null, at === matched)
        for (const { failed } of rules) assert.notEqual(failed, '')
      }
    }),
    { numRuns: 1500, seed: 7 },
  )
})

test('a trace names the field that fails', () => {
  const rules = [
    ruleOf({ from: [where('source.namespace', ['jobs'], [], 'from[0].source.namespaces')] }),
    ruleOf({
      from: [where('source.namespace', ['shop'], [], 'from[0].source.namespaces')],
      to: [where('request.method', ['PUT'], [], 'to[0].operation.methods')],
    }),
    ruleOf({ when: [where('request.path', [], ['/'], 'when[0]')] }),
  ]
  const policy = policyOf('a', { action: 'ALLOW', rules })
  const table = tableFor(policy)
  const failed = (asked: Facts): unknown => traceOf(table, asked)[0]?.rules.map((one) => one.failed)
  assert.deepEqual(failed(home), ['from[0].source.namespaces', 'to[0].operation.methods', 'when[0]'])
  assert.deepEqual(failed(opaque(home)), ['from[0].source.namespaces', 'to[0].operation.methods', 'when[0]'])
  assert.deepEqual(traceOf(table, call({ target: '/a' }))[0]?.matched, 2)
})
