import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { plainText, valuesAt } from './json-path.ts'

const DOCUMENT = {
  metadata: { labels: { 'a.b/c': 'label' } },
  spec: { hosts: ['one', 'two'], empty: null, nested: [{ name: 'x', port: { number: 1 } }, { name: 'y' }] },
  status: {
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'Synced', status: 'False' },
    ],
  },
}

const TABLE: readonly [string, unknown[]][] = [
  ['.spec.hosts', [['one', 'two']]],
  ['.spec.hosts[0]', ['one']],
  ['.spec.hosts[-1]', ['two']],
  ['.spec.hosts[*]', ['one', 'two']],
  ['.spec.hosts[7]', []],
  ['.spec.nested[*].name', ['x', 'y']],
  ['.spec.nested[*].port.number', [1]],
  ['.status.conditions[?(@.type=="Ready")].status', ['True']],
  [".status.conditions[?(@.type!='Ready')].status", ['False']],
  ["metadata.labels['a.b/c']", ['label']],
  ['.metadata.labels.a\\.b/c', []],
  ['.spec.empty', [null]],
  ['.spec.missing.deeper', []],
  ['.spec.constructor', []],
  ['.spec[', []],
  ['..', []],
]

describe('the path of a printer column', () => {
  for (const [path, values] of TABLE) {
    test(`${path} gives ${JSON.stringify(values)}`, () => assert.deepEqual(valuesAt(DOCUMENT, path), values))
  }

  test('any path gives values or none, and never throws', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (document, path) => {
        assert.ok(Array.isArray(valuesAt(document, path)))
      }),
    )
  })

  test('text is shown as it is, everything else as JSON', () => {
    assert.deepEqual([undefined, null, 'a', 1, true, ['b']].map(plainText), ['', '', 'a', '1', 'true', '["b"]'])
  })
})
