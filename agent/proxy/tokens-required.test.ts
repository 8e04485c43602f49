import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type JwtRule, keySetOf } from '../model/authentication/request-authentication.ts'
import type { Authenticated, Unauthenticated } from '../model/authentication/token-findings.ts'
import { lookAtTokens } from '../model/explain/token-look.ts'
import { ISSUER, jwtRule, NOW_MS, requestWith, setOf, signer } from './tokens.fixture.ts'
import { Tokens } from './tokens.ts'

const OWN = await signer('ES256')
const SCOPE = 'https://scope.example'
const OTHER = await signer('EdDSA', 'scope')

const LIMITS = { tokenBytes: 16_384, tokenCacheEntries: 100, tokenCacheBytes: 1e6, keysAskMs: 30_000 }

function rig(...rules: readonly JwtRule[]): Tokens {
  const tokens = new Tokens({ limits: LIMITS, nowMs: () => NOW_MS, onStale: () => {} })
  for (const rule of rules) tokens.set({ name: keySetOf(rule), jwks: setOf(OWN, OTHER) })
  return tokens
}

function told(found: Authenticated | Unauthenticated): string {
  if ('reason' in found) return `${found.status} ${found.reason}`
  return found.tokens.map(({ issuer, rule }) => `${issuer}:${rule.audiences.join('+')}`).join(' ')
}

/** A rule for each of two tokens, as one that says who calls and one that says what for. */
const identity = (required: boolean): JwtRule => jwtRule({ required })
const scope = (required: boolean): JwtRule =>
  jwtRule({ issuer: SCOPE, required, fromHeaders: [{ name: 'x-scope', prefix: '' }] })
const MISSING = '401 Jwt is missing'

test('each rule that demands a token has its own, whatever other rules have', async () => {
  const [who, what] = [await OWN.sign(), await OTHER.sign({ iss: SCOPE })]
  const both = { authorization: `Bearer ${who}`, 'x-scope': what }
  const misplaced = { authorization: `Bearer ${what}` }
  const table: [identity: boolean, scope: boolean, headers: Record<string, string>, said: string][] = [
    [false, false, {}, ''],
    [true, false, {}, MISSING],
    [true, false, { 'x-scope': what }, MISSING],
    [true, false, { authorization: `Bearer ${who}` }, `${ISSUER}:`],
    [false, true, { authorization: `Bearer ${who}` }, MISSING],
    [true, true, { authorization: `Bearer ${who}` }, MISSING],
    [true, true, { 'x-scope': what }, MISSING],
    [true, true, both, `${ISSUER}: ${SCOPE}:`],
    [false, true, { 'x-scope': what }, `${SCOPE}:`],
    [true, false, misplaced, '401 Jwt issuer is not configured'],
    [
      true,
      false,
      { authorization: 'Bearer x' },
      '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
    ],
  ]
  for (const [identityRequired, scopeRequired, headers, said] of table) {
    const rules = [identity(identityRequired), scope(scopeRequired)]
    const tokens = rig(...rules)
    const what = JSON.stringify([identityRequired, scopeRequired, Object.keys(headers)])
    assert.equal(told(await tokens.judge(rules, requestWith(headers))), said, what)
    assert.equal(told(await tokens.judge(rules, requestWith(headers))), said, `${what}, again`)
    const request = { ...requestWith(headers), remoteIp: '', tokens: [] }
    const { look } = lookAtTokens(rules, request, NOW_MS)
    assert.equal(look.refused === null, !/^4/.test(said), `${what}, as it is explained`)
  }
})

test('a token that one rule is content with satisfies another that demands one only if that is, too', async () => {
  const any = jwtRule({ audiences: [] })
  const shop = jwtRule({ audiences: ['shop'], required: true })
  const table: [rules: JwtRule[], aud: string, said: string][] = [
    [[any, shop], 'shop', `${ISSUER}: ${ISSUER}:shop`],
    [[any, shop], 'bank', '403 Audiences in Jwt are not allowed'],
    [[shop, any], 'shop', `${ISSUER}:shop`],
    [[shop, any], 'bank', '403 Audiences in Jwt are not allowed'],
    [[shop, jwtRule({ audiences: ['bank'], required: true })], 'shop', '403 Audiences in Jwt are not allowed'],
  ]
  for (const [rules, aud, said] of table) {
    const tokens = rig(any)
    const request = requestWith({ authorization: `Bearer ${await OWN.sign({ aud })}` })
    assert.equal(told(await tokens.judge(rules, request)), said)
    assert.equal(told(await tokens.judge(rules, request)), said)
    const { look } = lookAtTokens(rules, { ...request, remoteIp: '', tokens: [] }, NOW_MS)
    assert.equal(look.refused?.reason, /^403 (.*)/.exec(said)?.[1])
  }
})

test('keys of another rule do not satisfy the one that demands a token', async () => {
  const any = jwtRule()
  const strict = jwtRule({ required: true, keys: { kind: 'uri', uri: 'https://idp.example/few' } })
  const tokens = rig(any)
  tokens.set({ name: keySetOf(strict), jwks: setOf(OTHER) })
  const request = requestWith({ authorization: `Bearer ${await OWN.sign()}` })
  for (let turn = 0; turn < 2; turn++) {
    const found = await tokens.judge([any, strict], request)
    assert.equal(told(found), "401 Jwks doesn't have key to match kid or alg from Jwt")
  }
})

test('a rule without an issuer takes tokens of any, or of none, that its keys have signed', async () => {
  const rule = jwtRule({ issuer: '' })
  const tokens = rig(rule)
  for (const iss of ['https://anyone.example', undefined]) {
    const found = await tokens.judge([rule], requestWith({ authorization: `Bearer ${await OWN.sign({ iss })}` }))
    assert.equal(told(found), `${iss ?? ''}:`)
  }
  const stranger = await signer('ES256')
  const forged = requestWith({ authorization: `Bearer ${await stranger.sign()}` })
  assert.equal(told(await tokens.judge([rule], forged)), '401 Jwt verification fails')
  const expired = requestWith({ authorization: `Bearer ${await OWN.sign({ exp: 1 })}` })
  assert.equal(told(await tokens.judge([jwtRule(), jwtRule({ issuer: '' })], expired)), '401 Jwt is expired')
})
