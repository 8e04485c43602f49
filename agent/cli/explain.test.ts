import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wishOf } from './explain.ts'

const ASKED = { from: 'shop/front-1', to: 'reviews' }

test('a question is made of flags', () => {
  assert.deepEqual(wishOf(ASKED).question, {
    ...{ namespace: 'shop', pod: 'front-1', host: 'reviews', port: null, method: 'GET', target: '/' },
    ...{ headers: [], serverName: null, carriage: null },
  })
  const more = { to: 'reviews.shop:9080', method: 'PUT', path: '/a?b=c', header: ['X-User: kai', 'empty:'] }
  const { host, port, method, target, headers } = wishOf({ ...ASKED, ...more }).question
  assert.deepEqual([host, port, method, target], ['reviews.shop', 9080, 'PUT', '/a?b=c'])
  assert.deepEqual(headers, [
    ['x-user', 'kai'],
    ['empty', ''],
  ])
  assert.equal(wishOf({ ...ASKED, tcp: true }).question.carriage, 'flows')
  for (const [to, hostOf, portOf] of [
    ['10.0.0.1:80', '10.0.0.1', 80],
    ['fd00::1', 'fd00::1', null],
    ['[fd00::1]:8080', 'fd00::1', 8080],
  ] as const) {
    const { host: found, port: at } = wishOf({ ...ASKED, to }).question
    assert.deepEqual([found, at], [hostOf, portOf], to)
  }
})

test('a flag that makes no sense is named', () => {
  for (const [wish, why] of [
    [{ from: 'front-1' }, /^Error: --from: is a pod, NAMESPACE\/POD$/],
    [{ from: 'a/b/c' }, /--from/],
    [{ to: 'web:99999' }, /^Error: --to: is HOST or HOST:PORT$/],
    [{ to: 'web:' }, /--to/],
    [{ path: 'x' }, /^Error: --path: begins with \/$/],
    [{ header: ['nonsense'] }, /^Error: --header: 'nonsense' is not/],
    [{ tcp: true, path: '/' }, /^Error: --tcp: a connection has no/],
    [{ method: '' }, /^Error: --method: must not be empty$/],
  ] as const) {
    assert.throws(() => wishOf({ ...ASKED, ...wish }), why, JSON.stringify(wish))
  }
})
