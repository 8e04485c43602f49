import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PLAIN_TERMS } from '../model/terms.ts'
import type { Workload } from '../model/workload.ts'
import { answerAdd, decide, type AddingOptions } from './adding.ts'

const REQUEST = {
  command: 'ADD',
  namespace: 'shop',
  pod: 'cart',
  uid: 'u',
  containerId: 'c',
  hears: false,
  ips: ['10.0.0.5'],
} as const
const CLOSED = { ...PLAIN_TERMS, onLoss: 'closed' } as const

const pod = (more: Partial<Workload> = {}): Workload => ({
  ...{ uid: 'u', name: 'cart', namespace: 'shop', node: 'node-1', ips: [], labels: {}, serviceAccount: 'default' },
  ...{ owner: 'cart', hostNetwork: false, unfit: null, terms: PLAIN_TERMS, joined: true, terminating: false },
  ...{ captured: null, announcedAccount: null, agentReady: true, placedBy: 'spec', ...more },
})

const options = (more: Partial<AddingOptions>): AddingOptions => ({
  know: () => ({ pod: pod(), isClosedNamespace: false }),
  capture: () => null,
  changed: () => new Promise(() => undefined),
  isOver: () => false,
  waitMs: { open: 20, closed: 40 },
  ...more,
})

test('a pod that did not join, or never can, starts at once', () => {
  assert.deepEqual(decide({ pod: pod({ joined: false }), isClosedNamespace: true }), { deed: 'pass' })
  assert.deepEqual(decide({ pod: pod({ unfit: 'sandboxed', terms: CLOSED }), isClosedNamespace: true }), {
    deed: 'pass',
  })
})

test('the pod’s own terms count before its namespace’s, and these where it is not known', () => {
  assert.deepEqual(decide({ pod: pod({ terms: CLOSED }), isClosedNamespace: false }), {
    deed: 'capture',
    onLoss: 'closed',
  })
  assert.deepEqual(decide({ pod: pod(), isClosedNamespace: true }), { deed: 'capture', onLoss: 'open' })
  assert.deepEqual(decide({ pod: undefined, isClosedNamespace: true }), { deed: 'await', onLoss: 'closed' })
})

test('an open pod starts when its time is over, a closed one does not, and is told why', async () => {
  const capture = () => 'no certificate'
  assert.deepEqual(await answerAdd(REQUEST, options({ capture })), { outcome: 'late', answer: { ok: true } })
  const know = () => ({ pod: pod({ terms: CLOSED }), isClosedNamespace: false })
  const { outcome, answer } = await answerAdd(REQUEST, options({ capture, know }))
  assert.equal(outcome, 'refused')
  assert.match('error' in answer ? answer.error : '', /shop\/cart is fail-closed .*: no certificate/)
})

test('where nobody waits any more it is over at once', async () => {
  const waiting = answerAdd(
    REQUEST,
    options({ capture: () => 'no certificate', isOver: () => true, waitMs: { open: 60_000, closed: 60_000 } }),
  )
  assert.equal((await waiting).outcome, 'late')
})

test('what the cluster tells meanwhile is acted upon at once', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const known: Workload[] = []
  const waiting = answerAdd(
    REQUEST,
    options({
      know: () => ({ pod: known[0], isClosedNamespace: true }),
      changed: () => promise,
      waitMs: { open: 60_000, closed: 60_000 },
    }),
  )
  known.push(pod())
  resolve()
  assert.deepEqual(await waiting, { outcome: 'captured', answer: { ok: true } })
})
