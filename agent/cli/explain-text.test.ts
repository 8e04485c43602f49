import assert from 'node:assert/strict'
import { test } from 'node:test'
import { explain } from '../model/explain/explain.ts'
import { documentOf } from '../model/explain/explanation.ts'
import { to, world } from '../model/world.fixture.ts'
import { explanationText } from './explain-text.ts'

test('people read it step by step', () => {
  const destinations = [to('reviews', { subset: 'v1', weight: 90 }), to('reviews', { subset: 'v2', weight: 10 })]
  const snapshot = world()
    .service('reviews')
    .pods('reviews-v1')
    .pods('reviews-v2')
    .pods('front', { behind: [] })
    .destinationRule({ host: 'reviews', subsets: [{ name: 'v1' }, { name: 'v2' }] })
    .virtualService({ name: 'reviews', hosts: ['reviews'], http: [{ name: 'split', destinations }] })
    .authorizationPolicy({ name: 'nobody', selector: { version: 'v2' } })
    .snapshot()
  const question = { namespace: 'default', pod: 'front-1', host: 'reviews', port: null }
  const explained = explain(snapshot, {
    ...question,
    method: 'GET',
    target: '/',
    headers: [],
    serverName: null,
    carriage: null,
  })
  const text = explanationText(
    documentOf(snapshot, explained, {
      nowMs: 0,
      ejected: () => new Map(),
      isCapturedHere: (uid) => uid.includes('front'),
    }),
  )
  for (const line of [
    /^caller default\/front-1, on node node-1, captured$/m,
    /^dials 10\.96\.0\.1:80: port 80 of Service default\/reviews$/m,
    /^VirtualService default\/reviews is in force$/m,
    /^ {2}VirtualService default\/reviews spec\.http\[0\] \(split\) decides$/m,
    /^90 % go to reviews\.default\.svc\.cluster\.local:80 subset v1$/m,
    /^10 % go to reviews\.default\.svc\.cluster\.local:80 subset v2$/m,
    /^ {2}endpoint 10\.244\.0\.1:8080 default\/reviews-v1-1 on node-1: serves, 100 %, reached in plaintext$/m,
    /^ {2}at default\/reviews-v2-1 port 8080: NOT ENFORCED: it is not captured$/m,
    /^ {4}ALLOW default\/nobody does not match: it has no rules$/m,
  ]) {
    assert.match(text, line)
  }
})
