import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { asked, referenceRequest, requestMatch } from '../../../test/model/matches.ts'
import { requestTest, stringTest } from './match.ts'
import type { RequestMatch } from '../policy.ts'
import { request } from '../request.fixture.ts'
import type { Workload } from '../workload.ts'
import { match, world } from '../world.fixture.ts'

const mesh = world()
  .pods('web-v1', { labels: { app: 'web', version: 'v1' }, namespace: 'shop' })
  .pods('batch-v2', { labels: { app: 'batch', version: 'v2' }, namespace: 'jobs' })
const web = mesh.pod('web-v1-1', 'shop')
const batch = mesh.pod('batch-v2-1', 'jobs')

const caller = fc.constantFrom<(Workload | null)[]>(web, batch, null)

test('a match is the conjunction of what it gives, as documented', () => {
  let held = 0
  fc.assert(
    fc.property(requestMatch, asked, caller, (rule, facts, from) => {
      const expected = referenceRequest(rule, facts, from)
      if (expected) held++
      assert.equal(requestTest(rule)(facts, from), expected)
    }),
    { numRuns: 4000, seed: 7 },
  )
  assert.ok(held > 300 && held < 3700, `only ${held} of the cases matched: the property says little`)
})

test('each field alone lets the right requests pass and no others', () => {
  const get = request({
    target: '/Reviews/1?user=jason&user=ann&flag',
    authority: 'reviews:80',
    headers: { 'x-a': '' },
  })
  const yes: Partial<RequestMatch>[] = [
    {},
    { uri: { kind: 'exact', value: '/Reviews/1' } }, // the query is not part of the path
    { uri: { kind: 'prefix', value: '/Reviews' } },
    { uri: { kind: 'prefix', value: '/REVIEWS' }, ignoreUriCase: true },
    { uri: { kind: 'exact', value: '/reviews/1' }, ignoreUriCase: true },
    { uri: { kind: 'regex', value: '/R.*/[0-9]' } },
    { method: { kind: 'exact', value: 'GET' } },
    { scheme: { kind: 'exact', value: 'http' } },
    { authority: { kind: 'prefix', value: 'reviews' } },
    { headers: [{ name: 'x-a', match: { kind: 'present' } }] },
    { headers: [{ name: 'x-a', match: { kind: 'exact', value: '' } }] },
    { withoutHeaders: [{ name: 'x-b', match: { kind: 'present' } }] },
    { withoutHeaders: [{ name: 'x-a', match: { kind: 'exact', value: 'other' } }] },
    { queryParams: [{ name: 'user', match: { kind: 'exact', value: 'jason' } }] },
    { queryParams: [{ name: 'flag', match: { kind: 'exact', value: '' } }] },
    { port: 80 },
    { sourceLabels: { app: 'web' } },
    { sourceNamespace: 'shop' },
  ]
  const no: Partial<RequestMatch>[] = [
    { uri: { kind: 'exact', value: '/reviews/1' } },
    { uri: { kind: 'prefix', value: '/Reviews/1?' } },
    { uri: { kind: 'regex', value: '/R' } }, // whole string
    { uri: { kind: 'regex', value: '/reviews/1' }, ignoreUriCase: true }, // not for regexes
    { method: { kind: 'exact', value: 'get' } },
    { authority: { kind: 'exact', value: 'reviews' } },
    { headers: [{ name: 'x-b', match: { kind: 'present' } }] },
    { withoutHeaders: [{ name: 'x-a', match: { kind: 'present' } }] },
    { queryParams: [{ name: 'absent', match: { kind: 'present' } }] },
    { port: 81 },
    { sourceLabels: { app: 'web', version: 'v9' } },
    { sourceNamespace: 'jobs' },
    { port: 80, method: { kind: 'exact', value: 'PUT' } },
  ]
  for (const wish of yes) assert.equal(requestTest(match(wish))(get, web), true, JSON.stringify(wish))
  for (const wish of no) assert.equal(requestTest(match(wish))(get, web), false, JSON.stringify(wish))
})

test('a rule that asks for the source never matches a caller who is not proved', () => {
  assert.equal(requestTest(match({ sourceLabels: { app: 'web' } }))(request(), null), false)
  assert.equal(requestTest(match({ sourceNamespace: 'shop' }))(request(), null), false)
  assert.equal(requestTest(match({}))(request(), null), true)
})

test('a query parameter is compared as it was sent, the first of its name alone', () => {
  const judged = (value: string, query: string): boolean =>
    requestTest(match({ queryParams: [{ name: 'q', match: { kind: 'exact', value } }] }))(
      request({ target: `/${query}` }),
      null,
    )
  for (const [value, query] of [
    ['a+b', '?q=a+b'],
    ['a%20b', '?q=a%20b'],
    ['a=b', '?qq=c&q=a=b&q=d'],
    ['', '?x=q&q'],
    ['', '?q=&q=a'],
  ] as const) {
    assert.equal(judged(value, query), true, query)
  }
  assert.equal(judged('a b', '?q=a+b'), false)
  assert.equal(judged('a', '?%71=a&p?q=a'), false)
})

test('a query that is not well formed is judged, not thrown at', () => {
  const test = requestTest(match({ queryParams: [{ name: 'q', match: { kind: 'regex', value: '.*' } }] }))
  for (const query of ['?q=%', '?q=%zz', '?q=%ff%fe', '?q', '?&&q=1&=']) {
    assert.equal(test(request({ target: `/${query}` }), null), true, query)
  }
})

test('what RE2 has not, is refused where it is compiled', () => {
  for (const value of ['(', '(?=a)', '(a)\\1', '[z-a]', 'a**', '\\']) {
    assert.throws(() => stringTest({ kind: 'regex', value }), Error, value)
  }
})

test('a regex costs in proportion to the text, however it is written', () => {
  const cpuMs = (work: () => unknown): number => {
    const before = process.cpuUsage()
    work()
    return process.cpuUsage(before).user / 1000
  }
  const evil = [
    '(a*)*b',
    '(a|aa)+$b',
    '(.*)(.*)(.*)(.*)x',
    '(a?){50}a{50}b',
    '(?:.*a){1}.{200}b',
    '^(([a-z])+.)+[A-Z]+$',
  ]
  const long = 100_000
  for (const value of evil) {
    const test = stringTest({ kind: 'regex', value })
    for (const text of ['a'.repeat(long), 'ab'.repeat(long / 2)]) {
      test(text.slice(0, 1000)) // compiled and warm
      const tenth = Math.max(
        1,
        cpuMs(() => test(text.slice(0, long / 10))),
      )
      const whole = cpuMs(() => test(text))
      // linear is 10, quadratic 100; short times are noise
      assert.ok(whole < 200 || whole / tenth < 60, `${value}: ${tenth} ms for a tenth, ${whole} ms for all`)
      assert.ok(whole < 5000, `${value} took ${whole} ms`)
    }
  }
})
