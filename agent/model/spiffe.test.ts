import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readSpiffeUri, spiffeUri } from './spiffe.ts'

const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/)

test('an identity is read as it was written', () => {
  const parts = fc.record({
    trustDomain: fc.stringMatching(/^[a-z0-9._-]{1,40}$/),
    namespace: label,
    serviceAccount: fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.')),
  })
  fc.assert(fc.property(parts, (id) => assert.deepEqual(readSpiffeUri(spiffeUri(id)), { ...id })))
})

for (const uri of [
  '',
  'spiffe://cluster.local',
  'spiffe://cluster.local/ns/shop/sa/',
  'spiffe://cluster.local/ns//sa/cart',
  'spiffe:///ns/shop/sa/cart',
  'spiffe://cluster.local/ns/shop/sa/cart/',
  'spiffe://cluster.local/ns/shop/sa/cart/more',
  'spiffe://cluster.local//ns/shop/sa/cart',
  'spiffe://cluster.local/sa/cart/ns/shop',
  'spiffe://cluster.local:80/ns/shop/sa/cart',
  'spiffe://user@cluster.local/ns/shop/sa/cart',
  'spiffe://Cluster.local/ns/shop/sa/cart',
  'SPIFFE://cluster.local/ns/shop/sa/cart',
  'https://cluster.local/ns/shop/sa/cart',
  'spiffe://cluster.local/ns/shop/sa/cart?x',
  'spiffe://cluster.local/ns/shop/sa/cart#x',
  'spiffe://cluster.local/ns/sh%6fp/sa/cart',
  'spiffe://cluster.local/ns/../sa/cart',
  'spiffe://cluster.local/ns/sh.op/sa/cart',
  'spiffe://cluster.local/ns/shop/sa/cart.',
  'spiffe://cluster.local/ns/shop/sa/cart\n',
  `spiffe://cluster.local/ns/${'a'.repeat(64)}/sa/cart`,
  `spiffe://cluster.local/ns/shop/sa/${'a'.repeat(254)}`,
]) {
  test(`${JSON.stringify(uri).slice(0, 80)} names nobody`, () => assert.equal(readSpiffeUri(uri), null))
}
