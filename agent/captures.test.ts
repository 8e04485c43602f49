import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Captures } from './captures.ts'
import type { Found } from './kernel/discover.ts'
import { FakeKernel } from './kernel/fake.ts'
import { PLAIN_TERMS } from './model/terms.ts'
import type { Workload } from './model/workload.ts'

const RETRY_MS = 10

function pod(uid: string, more: Partial<Workload> = {}): Workload {
  return {
    ...{ uid, name: `pod-${uid}`, namespace: 'shop', node: 'node-1', ips: ['127.9.0.1'], labels: {} },
    ...{ serviceAccount: 'default', owner: uid, hostNetwork: false, unfit: null, terms: PLAIN_TERMS },
    ...{ joined: true, captured: null, ...more },
  }
}

/** Captures over the fake kernel; `events` tells in order what data side and cluster were told. */
function setUp(t: { after(end: () => void | Promise<void>): void }) {
  const kernel = new FakeKernel()
  const events: string[] = []
  const absent = new Set<string>()
  const refusals = { announcements: 0, looks: 0, isSilent: false }
  const looks = { count: 0 }
  const captures = new Captures({
    kernel,
    agentName: 'agent-1',
    retryMs: RETRY_MS,
    find: (uids) => {
      looks.count++
      if (refusals.looks > 0) {
        refusals.looks--
        throw new Error('too many open files')
      }
      return new Map(
        uids.map((uid): [string, Found] => [
          uid,
          absent.has(uid)
            ? { found: false, why: 'no process in its cgroup yet' }
            : { found: true, netns: openSync('/proc/self/ns/net', 'r'), pid: process.pid },
        ]),
      )
    },
    data: {
      capture: ({ uid }) => events.push(`capture ${uid}`),
      release: (uid, gone) =>
        events.push(`release ${uid}${gone ? ', gone' : ''}${kernel.captured().has(uid) ? ', too early' : ''}`),
    },
    announce: ({ uid }, agent) => {
      if (refusals.isSilent) return new Promise(() => undefined)
      if (refusals.announcements > 0) {
        refusals.announcements--
        return Promise.reject(new Error('the API server is away'))
      }
      events.push(`announce ${uid} ${agent}`)
      return Promise.resolve()
    },
    log: { info: () => undefined, warn: () => undefined },
  })
  t.after(() => kernel.close())
  t.after(() => captures.stop())
  return { captures, kernel, events, absent, refusals, looks }
}

async function settled(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !condition(); i++) await sleep(RETRY_MS)
  assert.ok(condition())
}

test('a joined pod is captured, given to the data side, and only then announced', async (t) => {
  const { captures, events } = setUp(t)
  captures.want([pod('a')])
  await settled(() => events.length === 2)
  assert.deepEqual(events, ['capture a', 'announce a agent-1'])
  const of = { namespace: 'shop', name: 'pod-a', uid: 'a', ips: ['127.9.0.1'] }
  assert.deepEqual(captures.standings(), [
    { ...of, state: 'captured', reason: null, onLoss: 'open', olderConnections: 0 },
  ])
})

test('what is not joined, shares its node’s network or has no address is left alone, and its reason is told', async (t) => {
  const { captures, kernel, events } = setUp(t)
  captures.want([pod('a', { joined: false }), pod('b', { hostNetwork: true }), pod('c', { ips: [] })])
  await sleep(3 * RETRY_MS)
  assert.equal(kernel.captured().size, 0)
  assert.deepEqual(events, [])
  assert.deepEqual([...captures.uncaptured().keys()].sort(), ['hostNetwork', 'no IPv4 address yet'])
  assert.deepEqual(
    captures.standings().map(({ name, state, reason }) => [name, state, reason]),
    [
      ['pod-b', 'uncaptured', 'hostNetwork'],
      ['pod-c', 'uncaptured', 'no IPv4 address yet'],
    ],
  )
})

test('leaving withdraws the announcement first, then the kernel’s capture, then the data side’s hold', async (t) => {
  const { captures, kernel, events } = setUp(t)
  captures.want([pod('a')])
  await settled(() => events.length === 2)
  captures.want([pod('a', { joined: false, captured: 'agent-1' })])
  await settled(() => events.length === 4)
  assert.deepEqual(events.slice(2), ['announce a null', 'release a'])
  assert.equal(kernel.captured().size, 0)
})

test('a pod that is gone is released without a word to the cluster', async (t) => {
  const { captures, events } = setUp(t)
  captures.want([pod('a')])
  await settled(() => events.length === 2)
  captures.want([])
  await settled(() => events.length === 3)
  assert.deepEqual(events.slice(2), ['release a, gone'])
})

test('a pod without a process yet is tried again, and does not hold up another', async (t) => {
  const { captures, events, absent } = setUp(t)
  absent.add('a')
  captures.want([pod('a'), pod('b', { ips: ['127.9.0.2'] })])
  await settled(() => events.length === 2)
  assert.deepEqual(events, ['capture b', 'announce b agent-1'])
  absent.delete('a')
  await settled(() => events.includes('announce a agent-1'))
})

test('an announcement that the API server did not take is made again', async (t) => {
  const { captures, events, refusals } = setUp(t)
  refusals.announcements = 2
  captures.want([pod('a')])
  await settled(() => events.includes('announce a agent-1'))
})

test('an announcement left by an agent before it stays where the pod is captured again', async (t) => {
  const { captures, events } = setUp(t)
  captures.want([pod('a', { captured: 'agent-1' })])
  await settled(() => events.length === 1)
  await sleep(3 * RETRY_MS)
  assert.deepEqual(events, ['capture a'])
})

test('stopping withdraws what was announced, also what the cluster has not shown yet', async (t) => {
  const { captures, events } = setUp(t)
  captures.want([pod('a', { captured: 'agent-1' })])
  await settled(() => events.length === 1)
  captures.want([pod('a')])
  await captures.stop()
  assert.equal(events.at(-1), 'announce a null')
})

test('stopping leaves every pod, so that nothing is turned to a data side that drains', async (t) => {
  const { captures, kernel, events } = setUp(t)
  captures.want([pod('a')])
  await settled(() => events.length === 2)
  await captures.stop()
  assert.equal(kernel.captured().size, 0)
  assert.equal(events.includes('release a'), false) // the data side still carries what is open
})

test('stopping does not wait long for an API server that says nothing', async (t) => {
  const { captures, kernel, events, refusals } = setUp(t)
  captures.want([pod('a')])
  await settled(() => events.length === 2)
  refusals.isSilent = true
  captures.want([pod('b', { joined: false, captured: 'agent-1' })])
  const begunMs = performance.now()
  await captures.stop()
  assert.ok(performance.now() - begunMs < 5_000)
  assert.equal(kernel.captured().size, 0)
})

test('a change that does not bear on captures is not looked into', async (t) => {
  const { captures, events, looks } = setUp(t)
  captures.want([pod('a', { captured: 'agent-1' })])
  await settled(() => events.length === 1)
  const before = looks.count
  captures.want([pod('a', { captured: 'agent-1', labels: { version: 'v2' } })])
  await sleep(3 * RETRY_MS)
  assert.equal(looks.count, before)
})

test('a pod that is captured anew in the same network namespace has other listeners, and the data side is told', async (t) => {
  const { captures, kernel, events } = setUp(t)
  captures.want([pod('a')])
  await settled(() => events.length === 2)
  const { cookie } = kernel.captured().get('a')!
  const capture = kernel.capture.bind(kernel)
  kernel.capture = (source) => ({ ...capture(source), cookie })
  captures.want([pod('a', { ips: ['127.9.0.3'], captured: 'agent-1' })])
  await settled(() => events.length === 4)
  assert.deepEqual(events.slice(2), ['release a, too early', 'capture a'])
})

test('what is captured no longer is let go by the data side and withdrawn, though it is still wanted', async (t) => {
  const { captures, kernel, events } = setUp(t)
  captures.want([pod('a')])
  await settled(() => events.length === 2)
  kernel.capture = () => {
    throw new Error('no room')
  }
  captures.want([pod('a', { ips: ['127.9.0.3'], captured: 'agent-1' })])
  await settled(() => events.length === 4)
  assert.deepEqual(events.slice(2), ['release a', 'announce a null'])
})

test('an announcement that an agent of another name left on a pod that did not join is withdrawn', async (t) => {
  const { captures, events } = setUp(t)
  captures.want([pod('a', { joined: false, captured: 'agent-0' })])
  await settled(() => events.length === 1)
  assert.deepEqual(events, ['announce a null'])
})

test('an announcement that is refused again and again is made ever more seldom, and the pod is captured all the same', async (t) => {
  const { captures, kernel, events, refusals } = setUp(t)
  refusals.announcements = 1000
  captures.want([pod('a')])
  await sleep(31 * RETRY_MS)
  assert.ok(1000 - refusals.announcements <= 6, `${1000 - refusals.announcements} attempts`)
  assert.ok(1000 - refusals.announcements >= 2)
  assert.ok(kernel.captured().has('a'))
  assert.deepEqual(events, ['capture a'])
})

test('a search that fails altogether is made again and ends nothing', async (t) => {
  const { captures, events, refusals } = setUp(t)
  refusals.looks = 1
  captures.want([pod('a')])
  await sleep(2 * RETRY_MS)
  captures.want([pod('a'), pod('b', { ips: ['127.9.0.2'] })])
  await settled(() => events.length === 4)
})
