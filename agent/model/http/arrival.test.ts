import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HeaderChanges } from '../policy.ts'
import { changedField, remoteIpOf } from './arrival.ts'

const change = (wish: Partial<HeaderChanges>): HeaderChanges => ({ remove: [], set: [], add: [], ...wish })

test('a field is what all changes have left of it', () => {
  const cases: [came: string | undefined, changes: HeaderChanges[], value: string | undefined][] = [
    ['a', [], 'a'],
    ['a', [change({ remove: ['x'] })], undefined],
    [undefined, [change({ set: [['x', 'b']] })], 'b'],
    ['a', [change({ add: [['x', 'b']] })], 'a,b'],
    ['a', [change({ remove: ['x'], add: [['x', 'b']] })], 'b'],
    ['a', [change({ add: [['x', 'b']] }), change({ set: [['x', 'c']] })], 'c'],
    ['a', [change({ set: [['y', 'b']] })], 'a'],
  ]
  for (const [came, changes, value] of cases) {
    assert.equal(changedField('x', came, changes), value, JSON.stringify([came, changes]))
  }
  assert.equal(changedField('upgrade', 'a', [change({ remove: ['upgrade'] })]), 'a', 'no rule may change it')
})

test('whom a request comes of is told by trusted proxies alone', () => {
  const cases: [forwardedFor: string | undefined, trusted: number, ip: string][] = [
    ['1.1.1.1', 0, '9.9.9.9'],
    ['1.1.1.1, 2.2.2.2', 1, '2.2.2.2'],
    ['1.1.1.1, 2.2.2.2', 2, '1.1.1.1'],
    ['1.1.1.1', 2, '9.9.9.9'],
    ['nobody', 1, '9.9.9.9'],
    [undefined, 1, '9.9.9.9'],
  ]
  for (const [forwardedFor, trusted, ip] of cases) {
    assert.equal(remoteIpOf(forwardedFor, '9.9.9.9', trusted), ip, `${forwardedFor} ${trusted}`)
  }
})
