import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import type { JwtRule } from '../model/authentication/request-authentication.ts'
import { keySetOf } from '../model/authentication/request-authentication.ts'
import { FAULTS } from '../model/authentication/token.ts'
import type { Authenticated, Unauthenticated } from '../model/authentication/token-findings.ts'
import { DEFAULT_LIMITS } from './plane/limits.ts'
import { Tokens, type TokenLimits } from './tokens.ts'
import { bearing, ISSUER, jwtRule, NOW, NOW_MS, requestWith, setOf, type Signer, signer } from './tokens.fixture.ts'

const [RSA, EC, PSS, ED, OTHER] = await Promise.all([
  signer('RS256'),
  signer('ES256'),
  signer('PS256'),
  signer('EdDSA'),
  signer('RS256', 'other'),
])
const RULE = jwtRule()

function rig(limits: Partial<TokenLimits> = {}) {
  const stale: string[] = []
  const clock = { ms: NOW_MS }
  const tokens = new Tokens({
    limits: { ...DEFAULT_LIMITS, ...limits },
    nowMs: () => clock.ms,
    onStale: (name) => void stale.push(name),
  })
  const have = (jwks: string, rule: JwtRule = RULE) => tokens.set({ name: keySetOf(rule), jwks })
  return { tokens, stale, clock, have }
}

function said(found: Finding): string {
  return 'reason' in found ? `${found.status} ${found.reason}` : found.tokens.map(({ subject }) => subject).join()
}

type Finding = Authenticated | Unauthenticated

function all(findings: readonly (Finding | Promise<Finding>)[]): Promise<Finding[]> {
  return Promise.all(findings.map((one) => Promise.resolve(one)))
}

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

const GOOD = await RSA.sign()
const [HEAD = '', PAYLOAD = '', SIGNATURE = ''] = GOOD.split('.')

test('a token is good by its signature, issuer, audience and time, or is refused in the words of Envoy', async () => {
  const confused = `${part({ alg: 'HS256', kid: 'key-RS256' })}.${PAYLOAD}`
  const mac = createHmac('sha256', JSON.stringify(RSA.jwk)).update(confused).digest('base64url')
  const cases: [name: string, token: string, wanted: string][] = [
    ['RS256', GOOD, 'ann'],
    ['ES256', await EC.sign(), 'ann'],
    ['PS256', await PSS.sign(), 'ann'],
    ['EdDSA', await ED.sign(), 'ann'],
    ['for us, among others', await RSA.sign({ aud: ['other', 'https://shop/'] }), 'ann'],
    ['within the skew of clocks', await RSA.sign({ exp: NOW - 60, nbf: NOW + 60 }), 'ann'],
    ['without an end', await RSA.sign({ exp: undefined }), 'ann'],
    ['expired', await RSA.sign({ exp: NOW - 61 }), `401 ${FAULTS.expired}`],
    ['not yet', await RSA.sign({ nbf: NOW + 61 }), `401 ${FAULTS.notYet}`],
    ['another issuer', await RSA.sign({ iss: 'https://evil.example' }), `401 ${FAULTS.issuer}`],
    ['no issuer', await RSA.sign({ iss: undefined }), `401 ${FAULTS.issuer}`],
    ['an issuer that is none', await RSA.sign({ iss: 7 }), `401 ${FAULTS.issuerType}`],
    ['for others', await RSA.sign({ aud: 'others' }), `403 ${FAULTS.audience}`],
    ['without a signature', `${part({ alg: 'none' })}.${PAYLOAD}.`, `401 ${FAULTS.form}`],
    ['alg none', `${part({ alg: 'none' })}.${PAYLOAD}.${SIGNATURE}`, `401 ${FAULTS.algorithm}`],
    ['alg of Object.prototype', `${part({ alg: 'toString' })}.${PAYLOAD}.${SIGNATURE}`, `401 ${FAULTS.algorithm}`],
    ['signed with the public key as a secret', `${confused}.${mac}`, `401 ${FAULTS.noKey}`],
    ['another algorithm of the key’s kind', await renamed('RS512'), `401 ${FAULTS.noKey}`],
    ['a key that nobody knows', await OTHER.sign(), `401 ${FAULTS.noKey}`],
    ['a known name on another key', await OTHER.sign({}, { kid: 'key-RS256' }), `401 ${FAULTS.signature}`],
    ['another payload', `${HEAD}.${part({ iss: ISSUER, sub: 'eve' })}.${SIGNATURE}`, `401 ${FAULTS.signature}`],
    ['crit', await renamed('RS256', { crit: ['exp'] }), `401 ${FAULTS.critical}`],
    ['truncated', GOOD.slice(0, -42), `401 ${FAULTS.signature}`],
    ['bits that say nothing', `${HEAD}.${PAYLOAD}.${SIGNATURE.slice(0, -1)}_`, `401 ${FAULTS.signatureBase64}`],
    ['two sections', GOOD.slice(0, GOOD.lastIndexOf('.')), `401 ${FAULTS.form}`],
    ['four sections', `${GOOD}.x`, `401 ${FAULTS.form}`],
    ['garbage', 'xyz', `401 ${FAULTS.form}`],
    ['a megabyte', 'a'.repeat(2 ** 20), `401 ${FAULTS.tooLong}`],
    ['a megabyte of dots', '.'.repeat(2 ** 20), `401 ${FAULTS.tooLong}`],
    ['a header that is no JSON', `${Buffer.from('{').toString('base64url')}.a.a`, `401 ${FAULTS.headerJson}`],
    ['a payload that is no base64url', `${HEAD}.a+b=.${SIGNATURE}`, `401 ${FAULTS.payloadBase64}`],
  ]
  for (const [name, token, wanted] of cases) {
    for (const isSecondTime of [false, true]) {
      const { tokens, have } = rig()
      have(setOf(RSA, EC, PSS, ED))
      const rules = [{ ...RULE, audiences: /for/.test(name) ? ['shop'] : [] }]
      if (isSecondTime) await tokens.judge(rules, bearing(GOOD))
      assert.equal(said(await tokens.judge(rules, bearing(token))), wanted, name)
    }
  }
})

async function renamed(alg: string, more: object = {}): Promise<string> {
  return `${part({ alg, kid: 'key-RS256', ...more })}.${PAYLOAD}.${SIGNATURE}`
}

test('a rule that names no issuer takes tokens of any, by its keys', async () => {
  const { tokens, have } = rig()
  const rule = jwtRule({ issuer: '' })
  have(setOf(RSA), rule)
  const given = [
    await RSA.sign({ iss: 'https://other.example' }),
    await RSA.sign({ iss: undefined }),
    await OTHER.sign(),
  ]
  const found = await all(given.map((token) => tokens.judge([rule], bearing(token))))
  assert.deepEqual(found.map(said), ['ann', 'ann', `401 ${FAULTS.noKey}`])
})

test('the second time it is judged at once, and by the time that it is then', async () => {
  const { tokens, have, clock } = rig()
  have(setOf(RSA))
  assert.ok(tokens.judge([RULE], bearing(GOOD)) instanceof Promise)
  await tokens.judge([RULE], bearing(GOOD))
  const again = tokens.judge([RULE], bearing(GOOD))
  assert.ok(!(again instanceof Promise))
  assert.equal(said(again), 'ann')
  clock.ms += 661_000
  const late = tokens.judge([RULE], bearing(GOOD))
  assert.ok(!(late instanceof Promise))
  assert.equal(said(late), `401 ${FAULTS.expired}`)
})

test('what one set of keys has verified, another has not', async () => {
  const { tokens, have } = rig()
  have(setOf(RSA))
  const stricter = jwtRule({ keys: { kind: 'uri', uri: 'https://idp.example/others' } })
  have(setOf(OTHER), stricter)
  await tokens.judge([RULE], bearing(GOOD))
  assert.equal(said(await tokens.judge([stricter], bearing(GOOD))), `401 ${FAULTS.noKey}`)
  assert.equal(said(await tokens.judge([stricter, RULE], bearing(GOOD))), 'ann')
})

test('a rotated set keeps what its kept keys have verified, and nothing of those that are gone', async () => {
  const { tokens, have } = rig()
  have(setOf(RSA))
  await tokens.judge([RULE], bearing(GOOD))
  have(setOf(OTHER, RSA))
  assert.ok(!(tokens.judge([RULE], bearing(GOOD)) instanceof Promise))
  assert.equal(said(await tokens.judge([RULE], bearing(await OTHER.sign()))), 'ann')
  have(setOf(OTHER))
  assert.equal(said(await tokens.judge([RULE], bearing(GOOD))), `401 ${FAULTS.noKey}`)
})

test('bad tokens drive no good one out, and good ones are bounded in number and bytes', async () => {
  const { tokens, have } = rig({ tokenCacheEntries: 3 })
  have(setOf(RSA))
  await tokens.judge([RULE], bearing(GOOD))
  for (let i = 0; i < 10; i++) await tokens.judge([RULE], bearing(await OTHER.sign({ i }, { kid: 'key-RS256' })))
  assert.ok(!(tokens.judge([RULE], bearing(GOOD)) instanceof Promise))
  assert.equal(tokens.kept.size, 1)
  for (let i = 0; i < 10; i++) await tokens.judge([RULE], bearing(await RSA.sign({ i })))
  assert.equal(tokens.kept.size, 3)
  assert.ok(tokens.judge([RULE], bearing(GOOD)) instanceof Promise)
  const small = rig({ tokenCacheBytes: 8000 })
  small.have(setOf(RSA))
  for (let i = 0; i < 10; i++) await small.tokens.judge([RULE], bearing(await RSA.sign({ i })))
  assert.ok(small.tokens.kept.bytes <= 8000 && small.tokens.kept.size > 0)
})

test('all tokens of a request must be good, each by a rule that looks where it stands', async () => {
  const { tokens, have } = rig()
  const partner = jwtRule({
    issuer: 'https://partner.example',
    keys: { kind: 'inline', jwks: setOf(EC) },
    fromHeaders: [{ name: 'x-partner', prefix: '' }],
  })
  have(setOf(RSA))
  have(setOf(EC), partner)
  const theirs = await EC.sign({ iss: partner.issuer, sub: 'bob' })
  const cases: [headers: Record<string, string>, wanted: string][] = [
    [{ 'x-partner': theirs }, 'bob'],
    [{ 'x-partner': theirs, authorization: `Bearer ${GOOD}` }, 'ann,bob'],
    [{ 'x-partner': theirs, authorization: 'Bearer x' }, `401 ${FAULTS.form}`],
    [{ 'x-partner': theirs, authorization: 'Basic eDp5' }, 'bob'],
    [{ 'x-partner': GOOD }, `401 ${FAULTS.issuer}`],
    [{ authorization: `Bearer ${theirs}` }, `401 ${FAULTS.issuer}`],
    [{ authorization: `Bearer ${GOOD},Bearer ${await OTHER.sign()}` }, `401 ${FAULTS.noKey}`],
    [{ authorization: Array(20).fill(`Bearer ${GOOD}`).join() }, `401 ${FAULTS.tooMany}`],
    [{}, ''],
  ]
  for (const [headers, wanted] of cases) {
    assert.equal(said(await tokens.judge([RULE, partner], requestWith(headers))), wanted)
  }
})

test('without a token a request passes unless one is required', async () => {
  const { tokens } = rig()
  assert.equal(said(await tokens.judge([RULE], requestWith())), '')
  const found = await tokens.judge([jwtRule({ required: true })], requestWith({}, '/a?b=c'))
  const challenge = 'Bearer realm="http://shop.example/a"'
  assert.deepEqual(found, { status: 401, reason: 'Jwt is missing', challenge })
})

test('a refusal says what was asked for, and nothing of the token', async () => {
  const { tokens } = rig()
  const found = await tokens.judge([RULE], requestWith({}, `/a"b\\${'c'.repeat(300)}?access_token=secret`))
  assert.ok('reason' in found)
  assert.equal(found.challenge, `Bearer realm="http://shop.example/ab${'c'.repeat(251)}", error="invalid_token"`)
})

test('the first word of a set is waited for, by all who ask within the time of the first', async () => {
  const { tokens, have } = rig()
  const waiting = [tokens.judge([RULE], bearing(GOOD)), tokens.judge([RULE], bearing(GOOD))]
  have(setOf(RSA))
  assert.deepEqual((await all(waiting)).map(said), ['ann', 'ann'])
  const impatient = jwtRule({ timeoutMs: 20, keys: { kind: 'uri', uri: 'http://never.example' } })
  assert.equal(said(await tokens.judge([impatient], bearing(GOOD))), `401 ${FAULTS.noKeys}`)
  const next = tokens.judge([impatient], bearing(GOOD))
  assert.ok(!(next instanceof Promise))
  have(setOf(RSA), impatient)
  assert.equal(said(await tokens.judge([impatient], bearing(GOOD))), 'ann')
})

test('keys that cannot be had refuse at once, and so does a rule that is gone while it waits', async () => {
  const { tokens, stale } = rig()
  tokens.set({ name: keySetOf(RULE), failure: 'no answer' })
  const found = tokens.judge([RULE], bearing(GOOD))
  assert.ok(!(found instanceof Promise))
  assert.equal(said(found), `401 ${FAULTS.noKeys}`)
  assert.deepEqual(stale, [keySetOf(RULE)])
  tokens.forget(keySetOf(RULE))
  const waiting = tokens.judge([RULE], bearing(GOOD))
  tokens.forget(keySetOf(RULE))
  assert.equal(said(await waiting), `401 ${FAULTS.noKeys}`)
})

test('newer keys are asked for where a token has another, once in a while', async () => {
  const { tokens, have, stale } = rig({ keysAskMs: 50 })
  have(setOf(RSA))
  for (let i = 0; i < 5; i++) await tokens.judge([RULE], bearing(await OTHER.sign({ i })))
  await tokens.judge([RULE], bearing(await OTHER.sign({}, { kid: 'key-RS256' }))) // a forgery, whatever keys there are
  assert.equal(stale.length, 1)
  await new Promise((resolve) => setTimeout(resolve, 60))
  have(setOf(RSA, EC)) // others, and still not that one
  await tokens.judge([RULE], bearing(await OTHER.sign()))
  assert.equal(stale.length, 2)
})

test('keys without a name are tried, as is every key for a token that names none', async () => {
  const [one, two]: Signer[] = await Promise.all([signer('ES256', null), signer('ES256', null)])
  const { tokens, have, stale } = rig()
  have(setOf(one!, two!))
  assert.equal(said(await tokens.judge([RULE], bearing(await two!.sign()))), 'ann')
  assert.equal(said(await tokens.judge([RULE], bearing(await two!.sign({}, { kid: 'x' })))), 'ann')
  const unknown = await signer('ES256', null)
  assert.equal(said(await tokens.judge([RULE], bearing(await unknown.sign()))), `401 ${FAULTS.signature}`)
  assert.equal(stale.length, 1)
})

test('a secret verifies what it signs, where a rule holds it', async () => {
  const { tokens, have } = rig()
  const secret = Buffer.alloc(32, 7)
  const signed = `${part({ alg: 'HS256' })}.${PAYLOAD}`
  const mac = createHmac('sha256', secret).update(signed).digest('base64url')
  have(JSON.stringify({ keys: [{ kty: 'oct', k: secret.toString('base64url') }] }))
  assert.equal(said(await tokens.judge([RULE], bearing(`${signed}.${mac}`))), 'ann')
  assert.equal(said(await tokens.judge([RULE], bearing(GOOD))), `401 ${FAULTS.noKey}`)
})

test('beyond what can be verified in time requests are told so, and one token is verified once for all', async () => {
  const { tokens, have } = rig()
  have(setOf(RSA))
  const same = await all(Array.from({ length: 3000 }, () => tokens.judge([RULE], bearing(GOOD))))
  assert.ok(same.every((found) => said(found) === 'ann'))
  const forged = Array.from({ length: 3000 }, (_, i) => `${part({ alg: 'RS256', i })}.${PAYLOAD}.${SIGNATURE}`)
  const found = await all(forged.map((token) => tokens.judge([RULE], bearing(token))))
  const busy = found.filter((one) => 'status' in one && one.status === 503)
  assert.ok(busy.length >= 3000 - 1000 - 16, `${busy.length} were told`)
  assert.deepEqual(busy[0], { status: 503, reason: 'Jwt verification is overloaded', challenge: null })
  assert.equal(said(await tokens.judge([RULE], bearing(await RSA.sign({ late: true })))), 'ann')
})

test('whatever stands where a token does, it is judged and nothing is thrown', async () => {
  const { tokens, have } = rig()
  have(setOf(RSA, EC, ED))
  const section = fc.oneof(
    fc.string(),
    fc.json().map((text) => Buffer.from(text).toString('base64url')),
    fc
      .record({ alg: fc.constantFrom('RS256', 'ES256', 'EdDSA', 'HS256'), kid: fc.constantFrom('key-RS256', '', null) })
      .map(part),
    fc.record({ iss: fc.constantFrom(ISSUER, null), exp: fc.oneof(fc.double(), fc.anything()) }).map(partOf),
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(section, { maxLength: 5 }).map((all) => all.join('.')),
  )
  await fc.assert(
    fc.asyncProperty(text, async (token) => {
      const found = await tokens.judge(
        [jwtRule({ fromHeaders: [{ name: 'x', prefix: '' }] })],
        requestWith({ x: token }),
      )
      assert.ok('reason' in found && found.status === 401)
    }),
    { numRuns: 500 },
  )
})

function partOf(value: unknown): string {
  try {
    return part(value)
  } catch {
    return 'e30' // what JSON does not know
  }
}
