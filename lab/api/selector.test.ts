import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { equalTo, matches, parseFieldSelector, parseLabelSelector, pinned, selectorOf } from './selector.ts'
import { ApiError } from './status.ts'

const LABELS = { app: 'reviews', version: 'v2', tier: '' }

describe('label selectors', () => {
  const table: readonly [string, boolean][] = [
    ['', true],
    ['app=reviews', true],
    ['app==reviews', true],
    ['app=ratings', false],
    ['app!=ratings', true],
    ['missing!=x', true],
    ['app', true],
    ['!app', false],
    ['!missing', true],
    ['app in (reviews, ratings)', true],
    ['app notin (reviews)', false],
    ['missing notin (a)', true],
    ['app=reviews,version in (v1,v2),!x', true],
    ['app=reviews,version=v3', false],
    ['tier=', true],
  ]
  for (const [text, expected] of table) {
    test(`${text || 'the empty one'} is ${String(expected)}`, () => {
      assert.equal(matches(parseLabelSelector(text), LABELS), expected)
    })
  }

  for (const text of ['a=b=c', 'in (a)', 'a in b', ',', 'a,', 'a in (b', '-a', 'a=b c']) {
    test(`refuses ${text}`, () => assert.throws(() => parseLabelSelector(text), ApiError))
  }

  test('a label called like a member of every object is not there', () => {
    assert.equal(matches(parseLabelSelector('constructor'), {}), false)
  })

  test('any text parses or is refused, in bounded time', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        try {
          parseLabelSelector(text)
        } catch (error) {
          assert.ok(error instanceof ApiError)
        }
      }),
    )
    const start = performance.now()
    assert.throws(() => parseLabelSelector('a.'.repeat(20_000)), ApiError)
    assert.ok(performance.now() - start < 1000)
  })

  test('matchLabels and matchExpressions must all hold', () => {
    const expressions = [{ key: 'version', operator: 'In', values: ['v1', 'v2'] }]
    const selector = selectorOf({ matchLabels: { app: 'reviews' }, matchExpressions: expressions })
    assert.equal(matches(selector, LABELS), true)
    assert.equal(matches(selector, { app: 'reviews' }), false)
    assert.throws(() => selectorOf({ matchExpressions: [{ key: 'a', operator: 'Near' }] }), ApiError)
  })

  test('an equality selector takes exactly the objects with all its labels', () => {
    const labels = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('1', '2'))
    fc.assert(
      fc.property(labels, labels, (wanted, had) => {
        const expected = Object.entries(wanted).every(([key, value]) => had[key] === value)
        assert.equal(matches(equalTo(wanted), had), expected)
      }),
    )
  })
})

describe('field selectors', () => {
  test('take equality and inequality, with escapes', () => {
    const selector = parseFieldSelector('metadata.name=a\\,b,status.phase!=Running')
    assert.equal(matches(selector, { 'metadata.name': 'a,b', 'status.phase': 'Pending' }), true)
    assert.equal(matches(selector, { 'metadata.name': 'a,b', 'status.phase': 'Running' }), false)
    assert.equal(pinned(selector, 'metadata.name'), 'a,b')
    assert.equal(pinned(selector, 'status.phase'), undefined)
  })

  for (const text of ['a', 'a in (b)', '=b']) {
    test(`refuse ${text}`, () => assert.throws(() => parseFieldSelector(text), ApiError))
  }
})
