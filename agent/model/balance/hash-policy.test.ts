import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { backendsWith } from './balance.fixture.ts'
import { cookieValue, hashOf } from './hash-policy.ts'
import type { RequestFacts } from '../http/match.ts'
import { request } from '../request.fixture.ts'
import type { ConsistentHash } from '../traffic-policy.ts'

const RING = { kind: 'ring', minimumSize: 64 } as const
const COOKIE = { kind: 'cookie', name: 'sid', path: '/shop', ttlSeconds: 60, attributes: [] } as const

function hashed(by: ConsistentHash['by'], of: RequestFacts | null, client = '10.0.0.1') {
  return hashOf(backendsWith({ hash: { by, algorithm: RING } }), { client, request: of, seed: () => 'fresh' })
}

test('nothing is hashed where no policy says so, or what it names is not there', () => {
  assert.equal(hashOf(backendsWith({}), { client: '10.0.0.1', request: request(), seed: () => '' }), null)
  for (const by of [{ kind: 'header', name: 'x-user' } as const, { kind: 'query', name: 'user' } as const]) {
    assert.equal(hashed(by, request({ target: '/?other=1' })), null)
    assert.equal(hashed(by, null), null)
  }
  assert.equal(hashed({ ...COOKIE, ttlSeconds: null }, request()), null)
  assert.equal(hashed(COOKIE, null), null)
})

test('alike are those who agree in what is named, and they alone', () => {
  const header = { kind: 'header', name: 'x-user' } as const
  const query = { kind: 'query', name: 'user' } as const
  const source = { kind: 'source-ip' } as const
  const as = (user: string) => request({ headers: { 'x-user': user } })
  assert.deepEqual(hashed(header, as('a'), '10.0.0.1'), hashed(header, as('a'), '10.0.0.2'))
  assert.notDeepEqual(hashed(header, as('a')), hashed(header, as('b')))
  const first = hashed(query, request({ target: '/x?user=a&user=b' }))
  assert.deepEqual(first, hashed(query, request({ target: '/y?user=a' })))
  assert.notDeepEqual(first, hashed(query, request({ target: '/y?user=b' })))
  assert.deepEqual(hashed(source, null), hashed(source, as('b')))
  assert.notDeepEqual(hashed(source, null, '10.0.0.1'), hashed(source, null, '10.0.0.2'))
})

test('a cookie is issued where none came, and hashes then as it will when it comes back', () => {
  const rows: readonly (readonly [Partial<typeof COOKIE> | object, string])[] = [
    [{}, 'sid="fresh"; Max-Age=60; Path=/shop; HttpOnly'],
    [{ ttlSeconds: 0 }, 'sid="fresh"; Path=/shop; HttpOnly'],
    [{ path: '' }, 'sid="fresh"; Max-Age=60; HttpOnly'],
    [
      {
        attributes: [
          ['SameSite', 'Strict'],
          ['Secure', ''],
        ],
      },
      'sid="fresh"; Max-Age=60; Path=/shop; SameSite=Strict; Secure; HttpOnly',
    ],
  ]
  for (const [wish, cookie] of rows) {
    const by = { ...COOKIE, ...wish }
    const issued = hashed(by, request())
    assert.equal(issued?.cookie, cookie)
    for (const sent of ['sid="fresh"', 'a=b; sid=fresh']) {
      assert.deepEqual(hashed(by, request({ headers: { cookie: sent } })), { hash: issued?.hash, cookie: null })
    }
  }
  assert.notEqual(hashed(COOKIE, request({ headers: { cookie: 'sid=' } }))?.cookie, null)
})

test('cookies are read as browsers and others write them', () => {
  const rows: readonly (readonly [string, string | null])[] = [
    ['sid=1', '1'],
    ['a=2;sid=1;sid=3', '1'],
    ['  sid =  1  ; b', '1'],
    ['sid="a b"', 'a b'],
    ['sid="', '"'],
    ['sid=a=b', 'a=b'],
    ['SID=1', null],
    ['xsid=1; sid', null],
    ['a=1,sid=2', '2'], // two lines, joined
    ['', null],
  ]
  for (const [field, value] of rows) assert.equal(cookieValue(field, 'sid'), value, field)
  fc.assert(fc.property(fc.string(), (field) => typeof cookieValue(field, 'sid') !== 'undefined'))
})

test('hashes are whole numbers of 32 bits, and each bit is set half of the time', () => {
  const bits = new Array<number>(32).fill(0)
  for (let index = 0; index < 4000; index++) {
    const { hash } = hashed({ kind: 'source-ip' }, null, `10.0.${index >> 8}.${index & 255}`)!
    assert.ok(Number.isInteger(hash) && hash >= 0 && hash < 2 ** 32)
    for (let bit = 0; bit < 32; bit++) bits[bit]! += (hash >>> bit) & 1
  }
  for (const set of bits) assert.ok(Math.abs(set - 2000) < 200, bits.join())
})
