import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { coversFlow, coversRequest } from './cover.ts'
import { type RequestFacts, requestTest } from '../http/match.ts'
import type { FlowMatch, RequestMatch, StringMatch } from '../policy.ts'
import type { Workload } from '../workload.ts'
import { match, world } from '../world.fixture.ts'

const pod = world()
  .pods('a', { labels: { app: 'a', tier: 'b' } })
  .pod('a-1')

/** So few letters that entries often cover each other, and requests often match. */
const text = fc.stringMatching(/^\/?[aA/]{0,3}$/)
const stringMatch: fc.Arbitrary<StringMatch> = fc.oneof(
  text.map((value): StringMatch => ({ kind: 'exact', value })),
  text.map((value): StringMatch => ({ kind: 'prefix', value })),
  fc
    .constantFrom('/a.*', '/a', 'a?/', '.*', '/(a|b)', 'a+', '^/a/.*', '[aA]*')
    .map((value): StringMatch => ({ kind: 'regex', value })),
  fc.constant<StringMatch>({ kind: 'present' }),
)
const perhaps = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(one, { freq: 1 })
const named = fc.array(fc.record({ name: fc.constantFrom('x', 'y'), match: stringMatch }), { maxLength: 2 })
const entry: fc.Arbitrary<RequestMatch> = fc
  .record({
    uri: perhaps(stringMatch),
    ignoreUriCase: fc.boolean(),
    method: perhaps(stringMatch),
    headers: named,
    withoutHeaders: named,
    queryParams: named,
    port: perhaps(fc.constantFrom(80, 81)),
    sourceLabels: fc.constantFrom<Record<string, string>>({}, { app: 'a' }, { app: 'a', tier: 'b' }),
    sourceNamespace: perhaps(fc.constantFrom('default', 'other')),
  })
  .map(match)
const request: fc.Arbitrary<RequestFacts> = fc
  .record({
    path: text,
    x: perhaps(text),
    y: perhaps(text),
    query: fc.constantFrom('', '?x=a', '?y=/a&x=', '?x'),
    method: text,
    port: fc.constantFrom(80, 81),
  })
  .map(({ path, query, method, port, ...fields }) => ({
    method,
    target: `${path}${query}`,
    authority: 'a',
    scheme: 'http',
    port,
    header: (name: string) => (name === 'x' ? fields.x : fields.y) ?? undefined,
  }))

test('what one entry covers it takes, whatever the request and the caller', () => {
  const callers = fc.constantFrom<Workload | null>(null, pod, { ...pod, namespace: 'other', labels: {} })
  let covered = 0
  fc.assert(
    fc.property(entry, entry, request, callers, (outer, inner, asked, caller) => {
      if (!coversRequest(outer, inner)) return
      covered++
      if (requestTest(inner)(asked, caller)) assert.ok(requestTest(outer)(asked, caller))
    }),
    { numRuns: 20_000 },
  )
  assert.ok(covered > 50, `${covered} pairs covered each other: too few to tell`)
})

const uri = (one: StringMatch, ignoreUriCase = false): RequestMatch => match({ uri: one, ignoreUriCase })
const exact = (value: string): StringMatch => ({ kind: 'exact', value })
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value })
const regex = (value: string): StringMatch => ({ kind: 'regex', value })

test('what is covered, and what is not told though it may be', () => {
  const rows: readonly [RequestMatch, RequestMatch, boolean][] = [
    [match({}), uri(exact('/a')), true],
    [uri(exact('/a')), match({}), false],
    [uri(prefix('/')), uri(prefix('/a')), true],
    [uri(prefix('/')), match({}), false], // OPTIONS * is no path
    [uri(prefix('')), match({}), true],
    [uri(prefix('/a')), uri(regex('/a/[0-9]+')), true],
    [uri(prefix('/a/b')), uri(regex('/a/[0-9]+')), false],
    [uri(prefix('/a')), uri(regex('/a|/b')), false],
    [uri(regex('/a.*')), uri(exact('/ab')), true],
    [uri(regex('/a.*')), uri(prefix('/ab')), false],
    [uri(regex('/a.*')), uri(regex('/a.*')), true],
    [uri(exact('/A'), true), uri(exact('/a')), true],
    [uri(exact('/a')), uri(exact('/a'), true), false],
    [uri(prefix('/'), false), uri(exact('/a'), true), true],
    [match({ headers: [{ name: 'x', match: { kind: 'present' } }] }), match({}), false],
    [
      match({ headers: [{ name: 'x', match: { kind: 'present' } }] }),
      match({
        headers: [
          { name: 'y', match: exact('1') },
          { name: 'x', match: exact('1') },
        ],
      }),
      true,
    ],
    [match({ withoutHeaders: [{ name: 'x', match: exact('1') }] }), match({}), false],
    [
      match({ withoutHeaders: [{ name: 'x', match: exact('1') }] }),
      match({ withoutHeaders: [{ name: 'x', match: { kind: 'present' } }] }),
      true,
    ],
    [match({ sourceLabels: { app: 'a' } }), match({ sourceLabels: { app: 'a', tier: 'b' } }), true],
    [match({ sourceLabels: { app: 'a' } }), match({ sourceLabels: { app: 'b' } }), false],
    [match({ port: 80 }), match({ port: 81 }), false],
  ]
  for (const [outer, inner, is] of rows) {
    assert.equal(coversRequest(outer, inner), is, JSON.stringify([outer, inner]))
  }
})

test('of connections, names and subnets are compared by their text', () => {
  const flow = (wish: Partial<FlowMatch>): FlowMatch => ({
    serverNames: null,
    destinationSubnets: [],
    sourceSubnets: [],
    port: null,
    sourceLabels: {},
    sourceNamespace: null,
    ...wish,
  })
  assert.ok(coversFlow(flow({}), flow({ serverNames: ['a'] })))
  assert.ok(coversFlow(flow({ serverNames: ['a', 'b'] }), flow({ serverNames: ['b'] })))
  assert.ok(!coversFlow(flow({ serverNames: ['a'] }), flow({ serverNames: ['a', 'b'] })))
  assert.ok(!coversFlow(flow({ destinationSubnets: ['10.0.0.0/8'] }), flow({})))
  assert.ok(!coversFlow(flow({ sourceSubnets: ['10.0.0.0/8'] }), flow({ sourceSubnets: ['10.1.0.0/16'] })))
})
