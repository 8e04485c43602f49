import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { claimAt } from './claims.ts'
import { FAULTS, readToken } from './token.ts'
import { withoutCookies } from './tokens-in.ts'

function written(claims: unknown): string {
  const section = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${section({ alg: 'ES256' })}.${section(claims)}.AAAA`
}

test('a claim that is there is of its type: null is no bound that is left open', () => {
  const table: [name: string, value: unknown, fault: string | null][] = [
    ['exp', null, FAULTS.expiresType],
    ['exp', '1', FAULTS.expiresType],
    ['exp', -1, FAULTS.expiresType],
    ['exp', 1.5, null],
    ['nbf', null, FAULTS.notBeforeType],
    ['iat', null, FAULTS.issuedType],
    ['iss', null, FAULTS.issuerType],
    ['sub', null, FAULTS.subjectType],
    ['sub', 7, FAULTS.subjectType],
    ['aud', null, FAULTS.audienceType],
    ['aud', ['a', null], FAULTS.audienceType],
    ['aud', [], null],
  ]
  for (const [name, value, fault] of table) {
    const read = readToken(written({ [name]: value }), 1000)
    assert.equal(typeof read === 'string' ? read : null, fault, `${name} ${JSON.stringify(value)}`)
  }
})

test('the way to a claim leads through objects alone', () => {
  const claims = { a: { b: 1 }, list: ['x'], text: 'abc' }
  assert.equal(claimAt(claims, 'a.b'), 1)
  for (const name of ['list.0', 'list.length', 'text.length', 'a.toString', '__proto__', 'constructor.name']) {
    assert.equal(claimAt(claims, name), undefined, name)
  }
})

test('cookies that stay are as they were, with commas in them', () => {
  const table: [value: string, rest: string][] = [
    ['t=x', ''],
    ['a=1; t=x; b=2', 'a=1; b=2'],
    ['a=1,2; t=x', 'a=1,2'],
    ['t=x,y; a=1', 'a=1'],
    ['a=1,t=x', 'a=1'],
    ['t=x,a=1, 2', 'a=1, 2'],
    ['tt=x; t=x; T=x', 'tt=x; T=x'],
    ['a; t=x', 'a'],
    ['', ''],
  ]
  for (const [value, rest] of table) assert.equal(withoutCookies(value, new Set(['t'])), rest, value)
})

test('whatever a cookie field is, none of the name is left, and nothing is added to it', () => {
  const field = fc.array(fc.constantFrom('t', 'a', '=', ';', ',', ' ', 'x', '"')).map((parts) => parts.join(''))
  fc.assert(
    fc.property(field, (value) => {
      const rest = withoutCookies(value, new Set(['t']))
      assert.ok(!rest.split(/[;,]/).some((pair) => pair.trim().startsWith('t=')), rest)
      assert.ok([...rest].filter((one) => one !== ' ' && one !== ';').every((one) => value.includes(one)))
      assert.equal(withoutCookies(rest, new Set(['t'])), rest)
    }),
  )
})
