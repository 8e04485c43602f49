import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Condition, conditionsOf, conditionsWith } from './condition.ts'
import type { Loss } from './conflict.ts'
import { isWarning, MESSAGE_LIMIT_BYTES, type Statement, statementsOf, type Verdict } from './verdict.ts'

const object = { kind: 'VirtualService', namespace: 'shop', name: 'reviews' }
const winner = (name: string) => ({ kind: 'VirtualService', namespace: 'shop', name })
const GOOD: Verdict = { object, rejected: null, unhonoured: [], losses: [], enforcement: null }
const LOSS: Loss = { host: 'r.shop', winners: [winner('old')], whole: true, lostFor: ['a'], keptFor: [], fields: [] }
const UNKEPT = { pods: 3, uncaptured: 2, named: ['shop/a', 'shop/b'] }
const field = (path: string) => ({ object, field: path, reason: 'this field is not honoured' })

const said = (verdict: Partial<Verdict>): string[] =>
  statementsOf({ ...GOOD, ...verdict }).map(({ type, status, reason, message }) =>
    [type, status, reason, message].join(' '),
  )
const conflict = (...losses: Partial<Loss>[]): string =>
  said({ losses: losses.map((loss) => ({ ...LOSS, ...loss })) })[1] ?? ''

test('a good object is accepted and nothing else is to be warned of', () => {
  const statements = statementsOf(GOOD)
  assert.deepEqual(
    statements.map(({ type, status, reason }) => [type, status, reason]),
    [
      ['Accepted', 'True', 'Accepted'],
      ['Conflicted', 'False', 'NoConflict'],
      ['PartiallyHonoured', 'False', 'Honoured'],
    ],
  )
  assert.equal(statements.some(isWarning), false)
})

test('a rejected object names the field; which fields it would honour is not known', () => {
  const rejected = { object, field: 'spec.http[0].match[0].uri.regex', reason: 'missing )' }
  const [accepted, , honoured] = said({ rejected })
  assert.match(
    accepted ?? '',
    /^Accepted False Rejected spec\.http\[0\]\.match\[0\]\.uri\.regex: missing \); agents keep/,
  )
  assert.match(honoured ?? '', /^PartiallyHonoured Unknown Rejected /)
})

test('fields that are not honoured are named in order, each with its reason', () => {
  assert.equal(
    said({ unhonoured: [field('spec.http[0].retries'), field('spec.tcp')] })[2],
    'PartiallyHonoured True FieldsNotHonoured spec.http[0].retries: this field is not honoured; ' +
      'spec.tcp: this field is not honoured',
  )
})

test('a conflict names host and winner, and where it does not hold everywhere the shorter list of callers', () => {
  assert.equal(conflict({}), 'Conflicted True Overridden r.shop: VirtualService shop/old is in force instead')
  assert.match(
    conflict({ whole: false, lostFor: ['a', 'b', 'c'], keptFor: ['d'] }),
    /PartlyOverridden r\.shop: in force only for callers in d; for others VirtualService shop\/old is$/,
  )
  assert.match(
    conflict({ whole: false, lostFor: ['a'], keptFor: ['b', 'c'] }),
    /PartlyOverridden r\.shop: for callers in a VirtualService shop\/old is in force$/,
  )
  assert.match(
    conflict({ whole: false, fields: ['spec.trafficPolicy'], winners: [winner('x'), winner('y')] }),
    /r\.shop: spec\.trafficPolicy counts for nothing, VirtualService shop\/x, VirtualService shop\/y say it first$/,
  )
  assert.match(conflict({}, { host: 'z', whole: false }), /PartlyOverridden r\.shop: .*; z: /)
})

test('what demands something of pods says whether it is kept, and names those that do not', () => {
  const enforced = (enforcement: Verdict['enforcement']): string | undefined => said({ enforcement })[3]
  assert.equal(enforced(null), undefined)
  assert.equal(
    enforced(UNKEPT),
    'Enforced False PodsNotCaptured 2 of 3 pods under it are not captured and take whatever comes: shop/a, shop/b',
  )
  const peers = said({ object: { ...object, kind: 'PeerAuthentication' }, enforcement: UNKEPT })
  assert.match(peers[3] ?? '', /2 of 3 pods under it are not captured and may take plaintext: shop\/a, shop\/b$/)
  assert.match(enforced({ ...UNKEPT, uncaptured: 9 }) ?? '', /shop\/b and 7 more$/)
  assert.match(enforced({ pods: 3, uncaptured: 0, named: [] }) ?? '', /^Enforced True PodsCaptured /)
  assert.match(enforced({ pods: 0, uncaptured: 0, named: [] }) ?? '', /^Enforced True NoPods /)
  assert.match(said({ enforcement: UNKEPT, rejected: field('spec') })[3] ?? '', /^Enforced Unknown Rejected /)
  const warnings = (enforcement: Verdict['enforcement']) => statementsOf({ ...GOOD, enforcement }).filter(isWarning)
  assert.deepEqual(
    warnings(UNKEPT).map(({ type }) => type),
    ['Enforced'],
  )
  assert.deepEqual([warnings('none'), warnings({ pods: 1, uncaptured: 0, named: [] })], [[], []])
})

test('no message is longer than its limit, whatever was found, and what is left out is counted', () => {
  const path = fc.string({ unit: 'grapheme', maxLength: 900 })
  fc.assert(
    fc.property(fc.array(path, { minLength: 1, maxLength: 40 }), (paths) => {
      const verdict = { ...GOOD, unhonoured: paths.map(field), rejected: null }
      for (const one of [verdict, { ...verdict, rejected: field(paths.join()) }]) {
        for (const { message } of statementsOf(one)) assert.ok(Buffer.byteLength(message) <= MESSAGE_LIMIT_BYTES)
      }
    }),
  )
  const many = said({ unhonoured: Array.from({ length: 100 }, (_, index) => field(`spec.http[${index}].retries`)) })
  assert.match(many[2] ?? '', / \(and \d+ more\)$/)
})

const at = (now: string, generation = 1) => ({ now, generation })
const with_ = (standing: readonly Condition[], verdict: Verdict, writing = at('t2')) =>
  conditionsWith(standing, statementsOf(verdict), writing)
const OTHERS: Condition = { type: 'Reconciled', status: 'True', lastTransitionTime: 't0' }

test('a good object gets Accepted alone, and is written once', () => {
  const first = with_([], GOOD, at('t1'))
  assert.deepEqual(
    first?.map(({ type, status, observedGeneration, lastTransitionTime }) => [
      type,
      status,
      observedGeneration,
      lastTransitionTime,
    ]),
    [['Accepted', 'True', 1, 't1']],
  )
  assert.equal(with_(first ?? [], GOOD, at('t9')), null)
})

test('a warning that is no more turns False, with the time of its transition', () => {
  const warned = with_([], { ...GOOD, losses: [LOSS] }, at('t1')) ?? []
  assert.deepEqual(
    warned.map(({ type, status }) => [type, status]),
    [
      ['Accepted', 'True'],
      ['Conflicted', 'True'],
    ],
  )
  const clear = with_(warned, GOOD, at('t5', 2)) ?? []
  assert.deepEqual(
    clear.map(({ type, status, lastTransitionTime }) => [type, status, lastTransitionTime]),
    [
      ['Accepted', 'True', 't1'],
      ['Conflicted', 'False', 't5'],
    ],
  )
})

test('another reason, message or generation is written, and is no transition', () => {
  const before = with_([], { ...GOOD, unhonoured: [field('a')] }, at('t1')) ?? []
  const after = with_(before, { ...GOOD, unhonoured: [field('b')] }, at('t2', 7)) ?? []
  assert.deepEqual(
    after.map(({ lastTransitionTime, observedGeneration }) => [lastTransitionTime, observedGeneration]),
    [
      ['t1', 7],
      ['t1', 7],
    ],
  )
})

test('Enforced is said as soon as it is so, and taken away once nothing is demanded; of other kinds it is another’s', () => {
  const types = (conditions: readonly Condition[] | null) => (conditions ?? []).map(({ type }) => type)
  const kept = with_([OTHERS], { ...GOOD, enforcement: { pods: 1, uncaptured: 0, named: [] } }) ?? []
  assert.deepEqual(types(kept), ['Reconciled', 'Accepted', 'Enforced'])
  const none = with_(kept, { ...GOOD, enforcement: 'none' }) ?? []
  assert.deepEqual(types(none), ['Reconciled', 'Accepted'])
  assert.equal(with_(none, { ...GOOD, enforcement: 'none' }), null)
  assert.equal(with_(kept, GOOD), null)
  const rejected = { ...GOOD, rejected: field('spec'), enforcement: UNKEPT }
  assert.deepEqual(types(with_([], rejected)), ['Accepted'])
})

test('what others wrote keeps its place and content; a second one of ours goes', () => {
  const [accepted] = with_([], GOOD, at('t1')) ?? []
  assert.equal(with_([OTHERS, accepted as Condition], GOOD), null)
  assert.deepEqual(with_([OTHERS], GOOD, at('t1')), [OTHERS, accepted])
  assert.deepEqual(with_([accepted, OTHERS, { ...accepted, status: 'False' }] as Condition[], GOOD), [accepted, OTHERS])
})

test('a status that is not one has no conditions', () => {
  for (const status of [undefined, null, 7, [], {}, { conditions: 'x' }, { conditions: [null, 3] }]) {
    assert.deepEqual(conditionsOf(status), [])
  }
})

test('whatever stands there, what is written once needs no second writing', () => {
  const standing = fc.array(
    fc.record({
      type: fc.constantFrom('Accepted', 'Conflicted', 'PartiallyHonoured', 'Enforced', 'Reconciled'),
      status: fc.string(),
    }),
  )
  const verdict = fc.record({
    rejected: fc.constantFrom(null, field('spec')),
    unhonoured: fc.array(fc.string().map(field)),
    losses: fc.constantFrom([], [LOSS]),
    enforcement: fc.constantFrom<Verdict['enforcement'][]>(null, 'none', UNKEPT, {
      ...UNKEPT,
      uncaptured: 0,
      named: [],
    }),
  })
  fc.assert(
    fc.property(standing, verdict, (conditions, found) => {
      const statements: readonly Statement[] = statementsOf({ object, ...found })
      const written = conditionsWith(conditions, statements, at('t1')) ?? conditions
      assert.equal(conditionsWith(written, statements, at('t2')), null)
      const others = (list: readonly Condition[]) =>
        list.filter(({ type }) => type === 'Reconciled' || (type === 'Enforced' && found.enforcement === null))
      assert.deepEqual(others(written), others(conditions))
    }),
  )
})
