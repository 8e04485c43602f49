import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { JwtRule, RequestAuthentication } from '../model/authentication/request-authentication.ts'
import { istio } from './objects.fixture.ts'
import { translateRequestAuthentication } from './request-authentication.ts'
import type { Translation } from './translate.ts'

function translate(spec: unknown): Translation<RequestAuthentication> {
  return translateRequestAuthentication(istio('RequestAuthentication', spec))
}

const told = ({ problems }: Translation<unknown>): string[] => problems.map(({ field }) => field.replace('spec.', ''))
const ISSUER = 'https://issuer.example'
const JWKS = '{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}'
const NO_KEYS = { kind: 'inline', jwks: '{"keys":[]}' }

/** What comes of one rule that is given, beside an issuer. */
function ruled(given: object): Translation<RequestAuthentication> & { readonly rule: JwtRule | undefined } {
  const translation = translate({ jwtRules: [{ issuer: ISSUER, ...given }] })
  return { ...translation, rule: translation.value?.rules[0] }
}

test('every field arrives in the mesh’s own words', () => {
  const { value, rejected, problems } = translate({
    selector: { matchLabels: { app: 'web' } },
    jwtRules: [
      {
        issuer: ISSUER,
        audiences: ['web'],
        jwksUri: 'https://issuer.example/keys',
        fromHeaders: [{ name: 'X-Token', prefix: 'Token ' }, { name: 'x-bare' }],
        fromParams: ['token'],
        fromCookies: ['session'],
        outputPayloadToHeader: 'X-Payload',
        outputClaimToHeaders: [{ header: 'X-Team', claim: 'team' }],
        forwardOriginalToken: true,
        timeout: '1.5s',
        spaceDelimitedClaims: ['groups'],
        presence: 'REQUIRED',
      },
    ],
  })
  assert.deepEqual([rejected, problems], [false, []])
  assert.deepEqual(value, {
    ref: { kind: 'RequestAuthentication', namespace: 'default', name: 'reviews' },
    createdMs: Date.UTC(2026, 0, 2, 3, 4, 5),
    selector: { app: 'web' },
    targets: null,
    rules: [
      {
        issuer: ISSUER,
        audiences: ['web'],
        keys: { kind: 'uri', uri: 'https://issuer.example/keys' },
        timeoutMs: 1500,
        fromHeaders: [
          { name: 'x-token', prefix: 'Token ' },
          { name: 'x-bare', prefix: '' },
        ],
        fromParams: ['token'],
        fromCookies: ['session'],
        forwardOriginalToken: true,
        outputPayloadToHeader: 'x-payload',
        outputClaimToHeaders: [{ header: 'x-team', claim: 'team' }],
        spaceDelimitedClaims: ['groups'],
        required: true,
      },
    ],
  })
})

test('what is not said is as by Istio’s default', () => {
  assert.deepEqual(translate({}).value?.rules, [])
  assert.deepEqual(translate(undefined).value?.rules, [])
  assert.deepEqual(ruled({}).rule, {
    issuer: ISSUER,
    audiences: [],
    keys: { kind: 'discovered', issuer: ISSUER },
    timeoutMs: 5000,
    fromHeaders: [],
    fromParams: [],
    fromCookies: [],
    forwardOriginalToken: false,
    outputPayloadToHeader: null,
    outputClaimToHeaders: [],
    spaceDelimitedClaims: [],
    required: false,
  })
})

test('keys are given, asked for, or found by the issuer', () => {
  const table: [object, unknown, string[], boolean][] = [
    [{ jwks: JWKS }, { kind: 'inline', jwks: JWKS }, [], false],
    [{ jwks: '{"keys":[],"more":1}' }, { kind: 'inline', jwks: '{"keys":[],"more":1}' }, [], false],
    [{ jwks: '' }, { kind: 'discovered', issuer: ISSUER }, [], false],
    [{ jwks_uri: 'http://a/keys' }, { kind: 'uri', uri: 'http://a/keys' }, [], false],
    [{ issuer: 'testing@secure.istio.io' }, NO_KEYS, ['issuer'], false],
    [{ issuer: 'https://' }, NO_KEYS, ['issuer'], false],
    [{ issuer: 'testing@secure.istio.io', jwks: JWKS }, { kind: 'inline', jwks: JWKS }, [], false],
    [{ issuer: undefined, jwksUri: 'http://a/keys' }, { kind: 'uri', uri: 'http://a/keys' }, [], false],
    [{ issuer: undefined }, NO_KEYS, ['issuer'], true],
    [{ jwksUri: 'ftp://a' }, NO_KEYS, ['jwksUri'], true],
    [{ jwks_uri: 'keys' }, NO_KEYS, ['jwks_uri'], true],
    [{ jwks: JWKS, jwksUri: 'http://a' }, NO_KEYS, [''], true],
    [{ jwks_uri: 'http://a', jwksUri: 'http://a' }, NO_KEYS, [''], true],
    ...['{', '[]', 'null', '{}', '{"keys":{}}', '{"keys":[1]}', '{"keys":[null]}', '{"keys":[{"kty":1}]}'].map(
      (jwks): [object, unknown, string[], boolean] => [{ jwks }, NO_KEYS, ['jwks'], true],
    ),
  ]
  for (const [given, keys, fields, isRejected] of table) {
    const translation = ruled(given)
    const paths = fields.map((field) => (field === '' ? 'jwtRules[0]' : `jwtRules[0].${field}`))
    const found = [translation.rule?.keys, told(translation), translation.rejected]
    assert.deepEqual(found, [keys, paths, isRejected], JSON.stringify(given))
  }
})

test('a rule that cannot be meant stays, and no token is good by it', () => {
  const good = { issuer: 'https://other.example' }
  const { value, rejected, problems } = translate({
    jwtRules: [good, { issuer: ISSUER, jwks: '{', fromParams: ['t'] }],
  })
  assert.equal(rejected, true)
  assert.match(problems[0]?.reason ?? '', /no token is good by such a rule\)$/)
  assert.deepEqual(
    value?.rules.map(({ issuer, keys, fromParams }) => [issuer, keys.kind, fromParams]),
    [
      ['https://other.example', 'discovered', []],
      [ISSUER, 'inline', ['t']],
    ],
  )
})

test('what is said of keys that are no JSON does not quote them', () => {
  for (const jwks of ['SECRET', '{"keys":[{"kty":"oct","k":"SECRET"}', '{"k":"SECRET"]}', '"SECRET']) {
    const { problems } = ruled({ jwks })
    assert.match(problems[0]?.reason ?? '', /^is no JSON/)
    assert.doesNotMatch(JSON.stringify(problems), /SECRET/)
  }
})

test('times and presence that cannot be meant are refused, and until then the stricter holds', () => {
  for (const timeout of ['5', '0s', '0.5ms', '-1s']) {
    const translation = ruled({ timeout })
    const found = [translation.rejected, told(translation), translation.rule?.timeoutMs]
    assert.deepEqual(found, [true, ['jwtRules[0].timeout'], 5000], timeout)
  }
  const long = ruled({ timeout: '1h' })
  assert.deepEqual([long.rejected, told(long), long.rule?.timeoutMs], [false, ['jwtRules[0].timeout'], 30_000])
  assert.deepEqual([told(ruled({ timeout: '30s' })), ruled({ timeout: '30s' }).rule?.timeoutMs], [[], 30_000])
  const odd = ruled({ presence: 'SOMETIMES' })
  assert.deepEqual([odd.rejected, told(odd), odd.rule?.required], [true, ['jwtRules[0].presence'], true])
  assert.equal(ruled({ presence: 'OPTIONAL' }).rule?.required, false)
})

test('a header that nobody may set is told, and one that no request has is a place all the same', () => {
  const payload = ruled({ outputPayloadToHeader: 'Host' })
  const found = [payload.rejected, told(payload), payload.rule?.outputPayloadToHeader]
  assert.deepEqual(found, [false, ['jwtRules[0].outputPayloadToHeader'], null])
  const claims = ruled({
    outputClaimToHeaders: [
      { header: 'x-forwarded-client-cert', claim: 'a' },
      { header: 'x-b', claim: 'b' },
    ],
  })
  assert.deepEqual(told(claims), ['jwtRules[0].outputClaimToHeaders[0].header'])
  assert.deepEqual(claims.rule?.outputClaimToHeaders, [{ header: 'x-b', claim: 'b' }])
  const place = ruled({ fromHeaders: [{ name: 'a token' }] })
  assert.deepEqual([place.rejected, told(place)], [false, ['jwtRules[0].fromHeaders[0].name']])
  assert.deepEqual(place.rule?.fromHeaders, [{ name: 'a token', prefix: '' }])
})

test('what no schema passes takes no token where it is for, as far as that is told', () => {
  const closed = (spec: unknown): unknown => {
    const { rejected, value, problems } = translate(spec)
    assert.ok(rejected && problems.length === 1, JSON.stringify(spec))
    return value && [value.selector, value.rules.map(({ issuer, keys }) => [issuer, keys])]
  }
  const selector = { matchLabels: { app: 'web' } }
  assert.deepEqual(closed({ selector, jwtRules: [{ issuer: '' }] }), [{ app: 'web' }, [['', NO_KEYS]]])
  assert.deepEqual(closed({ jwtRules: 'a' }), [null, [['', NO_KEYS]]])
  assert.equal(closed({ selector: 'web', jwtRules: [] }), null)
})

test('a field that is not known is told', () => {
  assert.deepEqual(told(ruled({ novel: 1, fromHeaders: [{ name: 'a', suffix: 'b' }] })), [
    ...['jwtRules[0].novel', 'jwtRules[0].fromHeaders[0].suffix'],
  ])
})

test('any object is translated or refused with a field and a reason', () => {
  const name = fc.constantFrom(
    ...['selector', 'matchLabels', 'jwtRules', 'issuer', 'jwks', 'jwksUri', 'jwks_uri', 'audiences', 'timeout'],
    ...['fromHeaders', 'name', 'prefix', 'outputClaimToHeaders', 'header', 'claim', 'presence', 'targetRefs'],
  )
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom<unknown>(ISSUER, JWKS, '{', '5s', '', 80, null, true),
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
    }),
    { numRuns: 500 },
  )
})
