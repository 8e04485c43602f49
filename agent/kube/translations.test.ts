import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KubeObject } from './object.ts'
import { object } from './objects.fixture.ts'
import { Rejected } from './translate.ts'
import { Translations } from './translations.ts'

/** Objects whose spec is what they are translated to; `bad` is rejected. */
function translations(): Translations<{ readonly spec: unknown }> {
  return new Translations('Kind', ({ spec }) => {
    if (spec === 'bad') throw new Rejected('spec', 'is bad')
    return { value: { spec }, rejected: false, problems: [] }
  })
}

const named = (name: string, spec: string, uid = `uid-${name}`): KubeObject => object({ name, uid }, { spec })
const specs = (values: Iterable<{ readonly spec: unknown }>): unknown[] => [...values].map(({ spec }) => spec)

test('only what changed since the last time is told, and the values are those that were told', () => {
  const all = translations()
  const one = named('one', 'a')
  all.take([
    { before: null, after: one },
    { before: null, after: named('two', 'b') },
  ])
  assert.deepEqual(specs(all.values), [])
  assert.deepEqual(specs(all.flush().set), ['a', 'b'])
  all.take([{ before: one, after: named('one', 'c') }])
  assert.deepEqual(specs(all.values), ['a', 'b'])
  assert.deepEqual(specs(all.flush().set), ['c'])
  assert.deepEqual(all.flush(), { set: [], gone: [] })
})

test('the last good one stays while a bad one stands there; what was deleted is gone', () => {
  const all = translations()
  const [good, bad] = [named('one', 'a'), named('one', 'bad')]
  all.take([{ before: null, after: good }])
  all.flush()
  all.take([{ before: good, after: bad }])
  assert.deepEqual(all.flush(), { set: [], gone: [] })
  assert.deepEqual([specs(all.values), all.problems.map(({ field }) => field)], [['a'], ['spec']])
  all.take([{ before: bad, after: null }])
  assert.deepEqual([all.flush().gone, all.problems], [['default/one'], []])
})

test('what stands in for one that never was good goes with it, and comes back after none', () => {
  const all = new Translations<string>('Kind', ({ spec }) => {
    const value = String(spec)
    const rejected = value.startsWith('bad')
    return { value: rejected ? `instead of ${value}` : value, rejected, problems: [] }
  })
  const values = (...specs: string[]): string[] =>
    specs.map((spec) => {
      all.take([{ before: null, after: named('one', spec) }])
      all.flush()
      return [...all.values].join()
    })
  assert.deepEqual(values('bad 1', 'bad 2', 'good', 'bad 3', 'bad 4'), [
    ...['instead of bad 1', 'instead of bad 2', 'good', 'good', 'good'],
  ])
})

test('a change that no generation tells is one where it is of the dry run', () => {
  const all = new Translations<string>('Kind', ({ metadata }) => {
    return { value: JSON.stringify(metadata.annotations), rejected: false, problems: [] }
  })
  const annotated = (annotations: Record<string, string>): string => {
    all.take([{ before: null, after: object({ name: 'one', generation: 1, annotations }) }])
    all.flush()
    return [...all.values].join()
  }
  annotated({ 'istio.io/dry-run': 'true' })
  assert.match(annotated({ 'istio.io/dry-run': 'false' }), /false/)
  assert.doesNotMatch(annotated({ 'istio.io/dry-run': 'false', other: 'a' }), /other/)
  assert.equal(annotated({}), '{}')
})

test('an object made anew under the name of one that was deleted is a change of it, not both', () => {
  const all = translations()
  const old = named('one', 'a', 'old')
  all.take([{ before: null, after: old }])
  all.flush()
  all.take([
    { before: old, after: null },
    { before: null, after: named('one', 'b', 'new') },
  ])
  const { set, gone } = all.flush()
  assert.deepEqual([specs(set), gone, specs(all.values)], [['b'], [], ['b']])
  all.take([
    { before: null, after: named('brief', 'x') },
    { before: named('brief', 'x'), after: null },
  ])
  assert.deepEqual(all.flush(), { set: [], gone: [] })
})
