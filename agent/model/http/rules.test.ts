import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { followRules } from './rules.ts'
import type { Forward, HttpRoute } from './route.ts'
import { asked, referenceRequest, requestMatch } from '../../../test/model/matches.ts'
import type { RequestFacts } from './match.ts'
import type { HeaderChanges, HttpRule, RequestMatch, Retries, VirtualService } from '../policy.ts'
import { drawn, request, seeded } from '../request.fixture.ts'
import { RETRY_DEFAULT } from './retry.ts'
import { routeHttp } from '../route.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Workload } from '../workload.ts'
import { dialled, match, to, type VirtualServiceWish, type World, world } from '../world.fixture.ts'

const mesh = (): World =>
  world()
    .service('web')
    .pods('web-v1')
    .pods('web-v2')
    .service('copy')
    .pods('copy-v1')
    .pods('shop-v1', { labels: { app: 'web', version: 'v1' }, namespace: 'shop', behind: [] })
    .destinationRule({ host: 'web', subsets: [{ name: 'v1' }, { name: 'v2' }] })

const V1 = to('web', { subset: 'v1' })
const V2 = to('web', { subset: 'v2' })
const uri = (value: string) => [match({ uri: { kind: 'prefix', value } })]

function routed(snapshot: Snapshot, facts: RequestFacts, caller: Workload | null = null): HttpRoute {
  return routeHttp(snapshot, dialled(snapshot, 'web'), { request: facts, caller }, seeded(3))
}

function forwarded(snapshot: Snapshot, target = '/'): Forward {
  const route = routed(snapshot, request({ target }))
  assert.equal(route.kind, 'forward', JSON.stringify(route))
  return route
}

const delegating = (name: string, wish: Partial<HttpRule> = {}): Partial<HttpRule> => ({
  instead: { kind: 'delegate', namespace: 'default', name },
  ...wish,
})

/** A mesh with a VirtualService of web that has these rules, and others that it may delegate to. */
function ruled(http: readonly Partial<HttpRule>[], ...delegates: VirtualServiceWish[]): Snapshot {
  const all = mesh().virtualService({ name: 'root', hosts: ['web'], http })
  return delegates.reduce((so, wish) => so.virtualService(wish), all).snapshot()
}

test('the rules of a delegate stand in the place of the rule that names it', () => {
  const team = { name: 'team', hosts: [], http: [{ matches: uri('/a/x'), destinations: [V2] }] }
  const snapshot = ruled([delegating('team', { matches: uri('/a') }), { destinations: [V1] }], team)
  assert.equal(forwarded(snapshot, '/a/x').backends.subset, 'v2')
  assert.equal(forwarded(snapshot, '/a/y').backends.subset, 'v1', 'where none of them matches, the next rule')
  assert.equal(forwarded(snapshot, '/b').backends.subset, 'v1')
  assert.deepEqual(forwarded(snapshot, '/a/x').by?.object.name, 'team', 'the rule that decides is named')
})

test('a delegate that is not there, not visible, has hosts, or delegates itself gives no rules', () => {
  const http = [{ destinations: [V2] }]
  const delegates: VirtualServiceWish[] = [
    { name: 'other', hosts: [], http },
    { name: 'team', hosts: [], http, exportTo: ['shop'] },
    { name: 'team', hosts: ['copy'], http },
    { name: 'team', hosts: [], http: [delegating('more')] },
  ]
  for (const delegate of delegates) {
    const snapshot = ruled([delegating('team'), { destinations: [V1] }], delegate, { name: 'more', hosts: [], http })
    assert.equal(forwarded(snapshot).backends.subset, 'v1', JSON.stringify(delegate))
  }
  const seen = ruled([delegating('team')], { name: 'team', hosts: [], http, exportTo: ['default'] })
  assert.equal(forwarded(seen).backends.subset, 'v2')
})

test('a rule is called by its own name and that of the entry that matched, behind a delegation by both rules’', () => {
  const called = (name: string, value: string): RequestMatch => ({ ...uri(value)[0]!, name })
  const team = {
    name: 'team',
    hosts: [],
    http: [{ name: 'in', matches: [called('deep', '/a/x')], destinations: [V2] }],
  }
  const bare = { name: 'bare', hosts: [], http: [{ destinations: [V2] }] }
  const snapshot = ruled(
    [
      delegating('team', { name: 'out', matches: [called('wide', '/a/'), called('', '/b')] }),
      delegating('bare', { name: 'only', matches: uri('/c') }),
      { name: 'rule', matches: [called('entry', '/a/y'), called('', '/d')], destinations: [V1] },
      { matches: [called('entry', '/e')], destinations: [V1] },
      { destinations: [V1] },
    ],
    ...[team, bare],
  )
  const table = {
    '/a/x': 'out-in.wide-deep',
    '/a/y': 'rule.entry',
    '/c': 'only',
    '/d': 'rule',
    '/e': '.entry',
    '/f': '',
  }
  for (const [target, name] of Object.entries(table)) assert.equal(forwarded(snapshot, target).by?.rule, name, target)
  assert.equal(forwarded(snapshot, '/a/x').by, forwarded(snapshot, '/a/x').by, 'the same for each request')
})

test('a delegate’s rule has from the rule that names it what it leaves unsaid, and its own word else', () => {
  const retries: Retries = {
    ...{ attempts: 7, perTryMs: null, on: ['5xx'], statuses: [], backoffMs: null },
    ...{ ignorePrevious: null, remoteLocalities: null },
  }
  const root: Partial<HttpRule> = {
    matches: uri('/a/'),
    rewrite: { uri: '/', authority: 'root', regex: null },
    timeoutMs: 1000,
    retries,
    mirrors: [{ destination: to('copy'), percent: 100 }],
    headers: {
      request: changes({
        set: [
          ['a', 'root'],
          ['b', 'root'],
        ],
        remove: ['x'],
      }),
      response: null,
    },
  }
  const bare = { name: 'team', hosts: [], http: [{ destinations: [V2] }] }
  const found = forwarded(ruled([delegating('team', root)], bare), '/a/b?c')
  assert.deepEqual([found.target, found.authority, found.timeoutMs], ['/b?c', 'root', 1000])
  assert.equal(found.retries.attempts, 7)
  assert.deepEqual(
    found.mirrors.map(({ host }) => host.split('.')[0]),
    ['copy'],
  )
  assert.deepEqual(found.changes.request, [root.headers?.request])
  const own: Partial<HttpRule> = {
    destinations: [V2],
    matches: uri('/a/b'),
    rewrite: { uri: '/own', authority: null, regex: null },
    timeoutMs: 0,
    retries: { ...retries, attempts: 0 },
    headers: { request: changes({ set: [['a', 'own']], add: [['c', 'own']] }), response: null },
  }
  const said = forwarded(ruled([delegating('team', root)], { name: 'team', hosts: [], http: [own] }), '/a/b?c')
  assert.deepEqual([said.target, said.authority, said.timeoutMs, said.retries.attempts], ['/own?c', null, 0, 0])
  assert.deepEqual(said.changes.request, [
    {
      remove: ['x'],
      set: [
        ['b', 'root'],
        ['a', 'own'],
      ],
      add: [['c', 'own']],
    },
  ])
})

const changes = (wish: Partial<HeaderChanges>): HeaderChanges => ({ remove: [], set: [], add: [], ...wish })

test('what a destination changes in a head comes before what its rule does, and Host is the authority', () => {
  const own = changes({
    set: [
      ['host', 'own.example'],
      ['a', 'destination'],
    ],
  })
  const whole = changes({ set: [['a', 'rule']], remove: ['b'] })
  const destination = { ...V1, headers: { request: own, response: null } }
  const snapshot = ruled([{ destinations: [destination], headers: { request: whole, response: whole } }])
  const { changes: found, authority } = forwarded(snapshot)
  assert.equal(authority, 'own.example')
  assert.deepEqual(found.request, [changes({ set: [['a', 'destination']] }), whole])
  assert.deepEqual(found.response, [whole])
  assert.equal(forwarded(snapshot).changes, found, 'the same for each request')
})

test('a rule without retries has Istio’s, and a mirror is drawn by its percentage', () => {
  const mirrors = [{ destination: to('copy'), percent: 30 }]
  const snapshot = ruled([{ destinations: [V1], mirrors }])
  assert.equal(forwarded(snapshot).retries, RETRY_DEFAULT)
  const random = seeded(5)
  let copied = 0
  for (let i = 0; i < 10_000; i++) {
    const route = routeHttp(snapshot, dialled(snapshot, 'web'), { request: request(), caller: null }, random)
    if (route.kind === 'forward') copied += route.mirrors.length
  }
  assert.ok(Math.abs(copied / 10_000 - 0.3) < 0.02, String(copied))
  for (const [percent, expected] of [
    [0, 0],
    [100, 1],
  ] as const) {
    const always = ruled([{ destinations: [V1], mirrors: [{ destination: to('copy'), percent }] }])
    assert.equal(forwarded(always).mirrors.length, expected)
  }
  const nowhere = ruled([{ destinations: [V1], mirrors: [{ destination: to('gone'), percent: 100 }] }])
  assert.deepEqual(forwarded(nowhere).mirrors, [], 'a mirror that is not known is no harm to the request')
})

test('each part of a path that matches a regex is replaced, its groups at hand, the query untouched', () => {
  const table = [
    ['/a/(\\w+)/b', '/\\1', '/a/x/b?/a/x/b', '/x?/a/x/b'],
    ['o', '0', '/foo/bo', '/f00/b0'],
    ['^/v1', '', '/v1/x', '/x'],
    ['(/a)(/b)', '\\2\\1$', '/a/b', '/b/a$'],
    ['x', '\\\\', '/x', '/\\'],
    ['nothing', 'z', '/a?b', '/a?b'],
  ] as const
  for (const [pattern, by, target, sent] of table) {
    const rewrite = { uri: null, authority: null, regex: { match: pattern, by } }
    assert.equal(forwarded(ruled([{ destinations: [V1], rewrite }]), target).target, sent, pattern)
  }
})

test('which rule decides is what a slow reading of the documentation says, delegates included', () => {
  const simple = fc.array(requestMatch, { maxLength: 2 }).map((matches): Partial<HttpRule> => ({ matches }))
  const withDelegate = fc
    .tuple(fc.array(requestMatch, { maxLength: 2 }), fc.constantFrom('one', 'two', 'none'))
    .map(([matches, name]) => delegating(name, { matches }))
  const rules = fc.array(fc.oneof({ weight: 2, arbitrary: simple }, { weight: 1, arbitrary: withDelegate }), {
    ...{ minLength: 1, maxLength: 5 },
  })
  const delegates = fc.tuple(fc.array(simple, { maxLength: 3 }), fc.array(simple, { maxLength: 3 }))
  const places = mesh()
  const caller = fc.constantFrom(places.pod('web-v1-1'), places.pod('shop-v1-1', 'shop'), null)
  let [routes, none] = [0, 0]
  fc.assert(
    fc.property(rules, delegates, asked, caller, (http, [one, two], facts, from) => {
      const named = (prefix: string, list: readonly Partial<HttpRule>[]): Partial<HttpRule>[] =>
        list.map((rule, index) => ({ ...rule, name: `${prefix}${index}`, destinations: [V1] }))
      const snapshot = ruled(
        named('root-', http),
        ...[
          { name: 'one', hosts: [], http: named('one-', one) },
          { name: 'two', hosts: [], http: named('two-', two) },
        ],
      )
      const inventory = [...snapshot.sources.virtualServices.values()].map(({ source }) => source)
      const expected = slowly(inventory, facts, from)
      const compiled = snapshot.sources.virtualServices.get('default/root')
      assert.ok(compiled)
      const at = { consumer: 'default', caller: from, dialledPort: 80, family: 4, external: false } as const
      const route = followRules(
        snapshot,
        compiled,
        { request: facts, caller: from },
        { at, own: null, random: drawn(0) },
      )
      if (expected === null) none++
      else routes++
      assert.equal(route.kind === 'forward' ? route.by?.rule : null, expected)
    }),
    { numRuns: 1500, seed: 11 },
  )
  assert.ok(routes > 200 && none > 100, `${routes} routes, ${none} without: the property says little`)
})

/** The name of the rule that decides: the list as Istio merges it, each entry of a match against each. */
function slowly(all: readonly VirtualService[], facts: RequestFacts, from: Workload | null): string | null {
  const of = (name: string): readonly HttpRule[] => all.find(({ ref }) => ref.name === name)?.http ?? []
  const flat = of('root').flatMap((rule) => {
    const own = rule.matches.length === 0 ? [null] : rule.matches
    if (rule.instead?.kind !== 'delegate') return [{ name: rule.name, pairs: own.map((entry) => [entry]) }]
    return of(rule.instead.name).map((inner) => {
      const entries = inner.matches.length === 0 ? [null] : inner.matches
      return {
        name: `${rule.name}-${inner.name}`,
        pairs: own.flatMap((outer) => entries.map((entry) => [outer, entry])),
      }
    })
  })
  const holds = flat.find(({ pairs }) =>
    pairs.some((pair) => pair.every((entry) => entry === null || referenceRequest(entry, facts, from))),
  )
  return holds?.name ?? null
}
