import assert from 'node:assert/strict'
import { test } from 'node:test'
import { authzWishOf } from './authz.ts'

test('a question is made of flags', () => {
  const { question, output, weftNamespace } = authzWishOf({ pod: 'shop/web-1' })
  assert.deepEqual(question, { namespace: 'shop', pod: 'web-1', port: null })
  assert.deepEqual([output, weftNamespace], ['text', 'weft-system'])
  assert.equal(authzWishOf({ pod: 'shop/web-1', port: '8080' }).question.port, 8080)
})

test('a flag that makes no sense is named', () => {
  for (const [given, why] of [
    [{ pod: 'web-1' }, /^Error: the pod is named NAMESPACE\/POD$/],
    [{ pod: 'a/b/c' }, /NAMESPACE\/POD/],
    [{ pod: 'a/b', port: '0' }, /^Error: --port: is a number from 1 to 65535$/],
    [{ pod: 'a/b', port: '65536' }, /--port/],
    [{ pod: 'a/b', port: 'http' }, /--port/],
    [{ pod: 'a/b', port: ['1', '2'] }, /^Error: --port: must be given once$/],
  ] as const) {
    assert.throws(() => authzWishOf(given), why, JSON.stringify(given))
  }
})
