import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileCors } from './cors.ts'
import { answerChanges, doneTo } from './actions.ts'
import { NO_CHANGES } from './route.ts'
import type { CorsPolicy, Field, HttpRule } from '../policy.ts'
import { request } from '../request.fixture.ts'
import { compile } from '../snapshot.ts'
import { match, rule, to, world } from '../world.fixture.ts'

const AT = { dialledPort: 80 }
const BY = { object: { kind: 'VirtualService', namespace: 'default', name: 'vs' }, rule: '' }
const done = (wish: Partial<HttpRule>, headers: Record<string, string> = {}, method = 'GET') =>
  doneTo(request({ method, headers }), { rule: rule(wish), by: BY, match: match({}) }, AT)

const ORIGIN = 'https://shop.example'
const PREFLIGHT = {
  origin: ORIGIN,
  'access-control-request-method': 'PUT',
  'access-control-request-headers': 'x-a,x-b',
}
const cors = (wish: Partial<CorsPolicy> = {}): CorsPolicy => ({
  origins: [{ kind: 'exact', value: ORIGIN }],
  methods: [],
  headers: [],
  exposed: [],
  maxAgeSeconds: null,
  credentials: null,
  forwardsUnmatched: true,
  ...wish,
})

test('a rule that only forwards does nothing, and costs no object', () => {
  const [one, other] = [done({ destinations: [to('a')] }), done({ destinations: [to('a')] }, { origin: ORIGIN })]
  assert.equal(one, other)
  assert.deepEqual(one, { answer: null, changes: NO_CHANGES })
})

test('a direct response is the rule’s status and bytes', () => {
  const body = Buffer.from([0, 255])
  assert.deepEqual(done({ instead: { kind: 'answer', status: 418, body } }).answer, {
    ...{ how: 'answer', status: 418, fields: [], body },
  })
})

test('a redirect is its code and where to', () => {
  const instead = {
    kind: 'redirect',
    uri: '/b',
    prefix: null,
    authority: null,
    port: null,
    scheme: null,
    code: 307,
  } as const
  assert.deepEqual(done({ instead }).answer, {
    ...{ how: 'redirect', status: 307, fields: [['location', 'http://reviews/b']], body: null },
  })
})

const allow = (...more: Field[]): Field[] => [['access-control-allow-origin', ORIGIN], ...more]

for (const [what, policy, fields] of [
  ['no more than its origin', {}, allow()],
  ['credentials', { credentials: true }, allow(['access-control-allow-credentials', 'true'])],
  ['credentials that it does not allow', { credentials: false }, allow()],
  ['methods', { methods: ['GET', 'PUT'] }, allow(['access-control-allow-methods', 'GET,PUT'])],
  ['any method', { methods: ['*'] }, allow(['access-control-allow-methods', 'PUT'])],
  ['fields', { headers: ['x-a', 'x-c'] }, allow(['access-control-allow-headers', 'x-a,x-c'])],
  ['any field', { headers: ['*'] }, allow(['access-control-allow-headers', 'x-a,x-b'])],
  ['an age', { maxAgeSeconds: 60 }, allow(['access-control-max-age', '60'])],
  ['what is exposed, which is for others', { exposed: ['x-d'] }, allow()],
] as const) {
  test(`a preflight of an allowed origin is answered with ${what}`, () => {
    const { answer, changes } = done({ cors: cors(policy) }, PREFLIGHT, 'OPTIONS')
    assert.deepEqual(answer, { how: 'preflight', status: 200, fields, body: null })
    assert.equal(changes, NO_CHANGES)
  })
}

test('a preflight of another origin goes on, or is answered without a word', () => {
  const other = { ...PREFLIGHT, origin: 'https://other.example' }
  assert.equal(done({ cors: cors() }, other, 'OPTIONS').answer, null)
  const kept = done({ cors: cors({ forwardsUnmatched: false, methods: ['GET'] }) }, other, 'OPTIONS')
  assert.deepEqual(kept.answer, { how: 'preflight', status: 200, fields: [], body: null })
})

for (const [what, headers, method] of [
  ['without the method that is asked for', { origin: ORIGIN }, 'OPTIONS'],
  ['of another method', PREFLIGHT, 'GET'],
] as const) {
  test(`a request ${what} is no preflight`, () => {
    const { answer, changes } = done({ cors: cors({ exposed: ['x-d', 'x-e'], credentials: true }) }, headers, method)
    assert.equal(answer, null)
    const set = allow(['access-control-allow-credentials', 'true'], ['access-control-expose-headers', 'x-d,x-e'])
    assert.deepEqual(changes.response, [{ remove: [], set, add: [] }])
  })
}

for (const [origins, origin, isAllowed] of [
  [[{ kind: 'exact', value: '*' }], 'https://any.example', true],
  [[{ kind: 'prefix', value: 'https://shop.' }], ORIGIN, true],
  [[{ kind: 'prefix', value: 'https://shop.' }], 'http://shop.example', false],
  [[{ kind: 'regex', value: 'https://.*\\.example' }], ORIGIN, true],
  [[{ kind: 'regex', value: 'https://.*\\.example' }], `${ORIGIN}.evil`, false],
  [[{ kind: 'regex', value: '.*' }], `${ORIGIN}\xfc`, false],
  [[{ kind: 'regex', value: '.*' }], `https://${'a'.repeat(2000)}`, false],
  [[], ORIGIN, false],
  [[{ kind: 'exact', value: '*' }], '', false],
] as const) {
  test(`${JSON.stringify(origins)} ${isAllowed ? 'allows' : 'does not allow'} ${origin.slice(0, 40)}`, () => {
    const { changes } = done({ cors: cors({ origins }) }, { origin })
    assert.deepEqual(
      changes.response.flatMap(({ set }) => set),
      isAllowed ? [['access-control-allow-origin', origin]] : [],
    )
  })
}

test('an origin that is no RE2 keeps its VirtualService out of force', () => {
  const policy = cors({ origins: [{ kind: 'regex', value: '(?=a)' }] })
  assert.throws(() => compileCors(policy))
  const refused: string[] = []
  const built = world()
    .service('a')
    .virtualService({ hosts: ['a'], http: [rule({ cors: policy, destinations: [to('a')] })] })
  compile(built.inventory(), ({ object }) => refused.push(object.name))
  assert.deepEqual(refused, ['vs-1'])
})

test('answers given here are changed as the rule says, and then for browsers', () => {
  const own = { remove: ['date'], set: [], add: [] }
  const headers = { request: null, response: own }
  const wish = { cors: cors(), headers, instead: { kind: 'answer', status: 200, body: null } } as const
  const plain = rule({ ...wish, cors: null })
  assert.deepEqual(answerChanges(plain, done(wish)), { request: [], response: [own] })
  assert.equal(answerChanges(plain, done(wish)), answerChanges(plain, done(wish)))
  assert.equal(answerChanges(rule({}), done({})), NO_CHANGES)
  const browsers = answerChanges(rule(wish), done(wish, { origin: ORIGIN })).response
  assert.deepEqual(browsers, [own, { remove: [], set: allow(), add: [] }])
})
