// What a token says, and what is refused as one.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { ISSUER, TOKEN_LIMIT_CHARACTERS, TokenError, Tokens } from './tokens.ts'
import type { TokenOrder } from './tokens.ts'

const START = Date.UTC(2030, 0, 1)
const ORDER: TokenOrder = {
  audiences: [ISSUER],
  expirationSeconds: 600,
  binding: { namespace: 'shop', serviceaccount: { name: 'cart', uid: 'u1' }, pod: { name: 'cart-1', uid: 'u2' } },
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

describe('a token of a service account', () => {
  test('is a JWT that says who, for whom, how long and bound to what', () => {
    const { token, claims } = new Tokens(() => START).issue(ORDER)
    const [header, body] = token.split('.').map((part) => Buffer.from(part, 'base64url').toString('utf8'))
    assert.match(header!, /^{"alg":"ES256","kid":"[-\w]{43}"}$/)
    const { jti, ...rest } = JSON.parse(body!) as Record<string, unknown>
    assert.equal(jti, claims.jti)
    assert.deepEqual(rest, {
      iss: ISSUER,
      sub: 'system:serviceaccount:shop:cart',
      aud: [ISSUER],
      iat: START / 1000,
      nbf: START / 1000,
      exp: START / 1000 + 600,
      'kubernetes.io': ORDER.binding,
    })
  })

  test('is read back until the second in which it ends', () => {
    let now = START
    const tokens = new Tokens(() => now)
    const { token, claims } = tokens.issue(ORDER)
    now += 599_999
    assert.deepEqual(tokens.read(token), claims)
    now += 1
    assert.throws(() => tokens.read(token), /expired/)
    now = START - 1
    assert.throws(() => tokens.read(token), /not valid yet/)
  })

  test('of another key is none', () => {
    const { token } = new Tokens(() => START).issue(ORDER)
    assert.throws(() => new Tokens(() => START).read(token), TokenError)
  })

  test('under our key name but another key or no algorithm is none', () => {
    const tokens = new Tokens(() => START)
    const [header, body] = tokens.issue(ORDER).token.split('.')
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
    const forged = sign('sha256', Buffer.from(`${header}.${body}`), key).toString('base64url')
    for (const text of [`${header}.${body}.${forged}`, `${encoded({ alg: 'none' })}.${body}.`, `${header}.${body}.`]) {
      assert.throws(() => tokens.read(text), TokenError)
    }
  })

  test('is none once any of its letters changed', () => {
    const tokens = new Tokens(() => START)
    const { token } = tokens.issue(ORDER)
    // The last letter of a signature of 64 bytes carries four bits that say nothing.
    const places = fc.nat(token.length - 2)
    fc.assert(
      fc.property(places, fc.constantFrom('A', 'z', '0', '_', '.'), (at, letter) => {
        if (token[at] === letter) return
        assert.throws(() => tokens.read(token.slice(0, at) + letter + token.slice(at + 1)), TokenError)
      }),
    )
  })

  test('is not looked for in arbitrary or endless text', () => {
    const tokens = new Tokens(() => START)
    fc.assert(fc.property(fc.string(), (text) => assert.throws(() => tokens.read(text), TokenError)))
    const long = `a.${'b'.repeat(TOKEN_LIMIT_CHARACTERS)}.c`
    assert.throws(() => tokens.read(long), TokenError)
  })
})
