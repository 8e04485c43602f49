import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Limited, Reported, unhonoured } from './honoured.ts'
import { attempt, createdMs, fieldPath, Rejected, resolveExportTo, resolveHost, withoutNulls } from './translate.ts'
import { object } from './objects.fixture.ts'

test('a short host is a Service of the object’s own namespace, any other is taken as it stands', () => {
  const table: [string, string][] = [
    ['reviews', 'reviews.shop.svc.mesh.local'],
    ['Reviews', 'reviews.shop.svc.mesh.local'],
    ['reviews.other', 'reviews.other'],
    ['reviews.other.svc.mesh.local', 'reviews.other.svc.mesh.local'],
    ['API.Example.COM', 'api.example.com'],
    ['reviews.other.svc.mesh.local.', 'reviews.other.svc.mesh.local'],
    ['*', '*'],
    ['*.other.svc.mesh.local', '*.other.svc.mesh.local'],
  ]
  for (const [host, expected] of table) assert.equal(resolveHost(host, 'shop', 'mesh.local'), expected)
})

test('exportTo names namespaces: all where it is absent, the object’s own for a dot, none for a tilde', () => {
  const table: [string[] | undefined, string[]][] = [
    [undefined, ['*']],
    [[], ['*']],
    [['*'], ['*']],
    [['.'], ['shop']],
    [['~'], []],
    [
      ['.', 'jobs', '~'],
      ['shop', 'jobs'],
    ],
  ]
  for (const [given, expected] of table) assert.deepEqual(resolveExportTo(given, 'shop'), expected)
})

test('a field is named as a user writes its path', () => {
  const table: [string, string][] = [
    ['', ''],
    ['/spec', 'spec'],
    ['/spec/http/0/route/12/weight', 'spec.http[0].route[12].weight'],
    ['/metadata/labels/example.com~1app', 'metadata.labels.example.com/app'],
    ['/a/b~0c', 'a.b~c'],
  ]
  for (const [pointer, expected] of table) assert.equal(fieldPath(pointer), expected)
})

test('fields that are null are absent, and nothing else is changed', () => {
  const given = { a: null, b: { c: null, d: [null, { e: null, f: 0 }], g: '' }, h: false }
  assert.deepEqual(withoutNulls(given), { b: { d: [null, { f: 0 }], g: '' }, h: false })
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(withoutNulls(value))
      assert.ok(!/:null/.test(text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')), text)
      if (!JSON.stringify(value).includes('null')) assert.equal(text, JSON.stringify(value))
    }),
  )
})

test('a creation date is milliseconds, and the beginning of time where it says nothing', () => {
  assert.equal(
    createdMs(object({ name: 'a', creationTimestamp: '2026-01-02T03:04:05Z' })),
    Date.UTC(2026, 0, 2, 3, 4, 5),
  )
  assert.equal(createdMs(object({ name: 'a' })), 0)
  assert.equal(createdMs(object({ name: 'a', creationTimestamp: 'soon' })), 0)
})

test('whatever a translation throws is a problem of its object alone', () => {
  const ref = { kind: 'VirtualService', namespace: 'default', name: 'a' }
  const thrown = (error: unknown) =>
    attempt(ref, () => {
      throw error
    })
  assert.deepEqual(thrown(new Rejected('spec.http', 'why')), {
    value: null,
    rejected: true,
    problems: [{ object: ref, field: 'spec.http', reason: 'why' }],
  })
  assert.deepEqual(thrown(new TypeError('oops')).problems, [{ object: ref, field: '', reason: 'oops' }])
})

test('fields that are not named in the shape are found wherever they stand', () => {
  const shape = { a: true, b: { c: true }, list: [{ d: true }], any: { '*': { e: true } } } as const
  const value = {
    a: { whatever: 1 },
    b: { c: 1, x: 2 },
    list: [{ d: 1 }, { y: 1, d: 2 }],
    any: { one: { e: 1 }, two: { z: 1 } },
    w: null,
    v: {},
  }
  const fields = (given: unknown): string[] => unhonoured(given, shape, 'spec').map(({ field }) => field)
  assert.deepEqual(fields(value), ['spec.b.x', 'spec.list[1].y', 'spec.any.two.z', 'spec.w', 'spec.v'])
  assert.deepEqual(fields({ b: ['list where none is known'] }), ['spec.b'])
})

test('a field is honoured only by its own name, not by one that every object has', () => {
  const found = unhonoured({ constructor: 1, toString: {} }, { a: true }, 'spec')
  assert.deepEqual(
    found.map(({ field }) => field),
    ['spec.constructor', 'spec.toString'],
  )
})

test('a field that is reported says why, once for all beneath it; one that is limited is honoured', () => {
  const shape = {
    a: new Reported('not here'),
    b: new Limited('mostly'),
    c: [{ d: new Reported('nor there') }],
  } as const
  assert.deepEqual(unhonoured({ a: { x: 1, y: [2] }, b: { z: 1 }, c: [{}, { d: 0 }] }, shape, 'spec'), [
    { field: 'spec.a', reason: 'not here' },
    { field: 'spec.c[1].d', reason: 'nor there' },
  ])
  assert.deepEqual(unhonoured({ a: null, c: [{ d: undefined }] }, shape, 'spec'), [])
})
