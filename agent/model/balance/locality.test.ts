import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  distance,
  isWithin,
  localityOfLabels,
  localityText,
  NOWHERE_KNOWN,
  parseLocality,
  placeOf,
  REGION,
  SUBZONE,
  ZONE,
} from './locality.ts'

const part = fc.stringMatching(/^[a-z0-9-]{1,8}$/)
const place = fc.record({ region: part, zone: part, subzone: part }, { noNullPrototype: true })

test('a place is told by a text that is read as the same place, by slashes and by dots', () => {
  fc.assert(
    fc.property(place, (one) => {
      assert.deepEqual(parseLocality(localityText(one)), one)
      assert.deepEqual(parseLocality(localityText(one).replaceAll('/', '.')), one)
    }),
  )
  assert.deepEqual(parseLocality('eu'), { region: 'eu', zone: '', subzone: '' })
  assert.deepEqual(parseLocality('eu/a.1'), { region: 'eu', zone: 'a.1', subzone: '' })
  assert.equal(localityText({ region: 'eu', zone: 'a', subzone: '' }), 'eu/a')
  assert.equal(localityText(NOWHERE_KNOWN), '')
})

test('labels of a node tell where it is, and a pod’s own label where that is', () => {
  assert.deepEqual(localityOfLabels({ [REGION]: 'eu', [ZONE]: 'a', [SUBZONE]: 'rack' }), parseLocality('eu/a/rack'))
  assert.equal(localityOfLabels({ other: 'x' }), null)
  const node = parseLocality('eu/a')
  assert.equal(placeOf(null, node), node)
  assert.equal(placeOf({ labels: {} }, node), node)
  assert.deepEqual(placeOf({ labels: { 'istio-locality': 'us.b' } }, node), parseLocality('us/b'))
  const both = { 'istio-locality': 'us.b', 'topology.istio.io/locality': 'us.c' }
  assert.deepEqual(placeOf({ labels: both }, null), parseLocality('us/c'))
})

test('a pattern holds for what agrees with each of its parts', () => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ['eu/a/1', 'eu/a/1', true],
    ['eu/a/1', 'eu/a/*', true],
    ['eu/a/1', 'eu/*', true],
    ['eu/a/1', 'eu', true],
    ['eu/a/1', '*', true],
    ['eu/a/1', '*/a', true],
    ['eu/a/1', 'eu/b/*', false],
    ['eu/a/1', 'us/*', false],
    ['eu/a', 'eu/a/1', false],
    ['', 'eu', false],
    ['', '*', true],
  ]
  for (const [text, pattern, holds] of rows) {
    assert.equal(isWithin(parseLocality(text), pattern), holds, `${text} within ${pattern}`)
  }
})

test('a zone of another region is another zone, however it is called', () => {
  const from = parseLocality('eu/a/1')
  const far = ['eu/a/1', 'eu/a/2', 'eu/b/1', 'us/a/1'].map((text) => distance(from, parseLocality(text)))
  assert.deepEqual(far, [0, 1, 2, 3])
})
