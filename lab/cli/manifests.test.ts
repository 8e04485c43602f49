import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Refusal } from './machine.ts'
import { mergePatch, parseManifests } from './manifests.ts'

test('a text of several documents gives their objects, lists taken apart, empty ones left out', () => {
  const text = `
---
apiVersion: v1
kind: Service
metadata: { name: a }
---
# nothing
---
apiVersion: v1
kind: List
items:
- { apiVersion: v1, kind: ConfigMap, metadata: { name: b } }
- { apiVersion: v1, kind: ConfigMap, metadata: { name: c } }
`
  assert.deepEqual(
    parseManifests(text, 'f.yaml').map((each) => `${each.kind}/${each.metadata.name}`),
    ['Service/a', 'ConfigMap/b', 'ConfigMap/c'],
  )
})

test('what is no manifest is refused with the name of the file', () => {
  for (const text of ['a: b', 'apiVersion: v1\nkind: Pod\n', '- 1', 'a: [', 'text']) {
    assert.throws(
      () => parseManifests(text, 'f.yaml'),
      (error) => error instanceof Refusal && error.message.startsWith('f.yaml'),
    )
  }
})

test('a patch sets what is wanted and removes only what was applied before', () => {
  const last = { spec: { a: 1, b: { c: 1, d: 2 }, list: [1] }, old: true }
  const wanted = { spec: { a: 2, b: { c: 1 }, list: [2, 3] } }
  assert.deepEqual(mergePatch(last, wanted), { spec: { a: 2, b: { c: 1, d: null }, list: [2, 3] }, old: null })
})
