import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Captures } from './captures.ts'
import type { Found } from './kernel/discover.ts'
import { FakeKernel } from './kernel/fake.ts'
import type { Workload } from './model/workload.ts'

const RETRY_MS = 10

function pod(uid: string, more: Partial<Workload> = {}): Workload {
  return {
    ...{ uid, name: `pod-${uid}`, namespace: 'shop', node: 'node-1', ips: ['127.9.0.1'], labels: {} },
    ...{ serviceAccount: 'default', owner: uid, hostNetwork: false, joined: true, captured: null, ...more },
  }
}

/** Captures over the fake kernel; `events` tells in order what data side and cluster were told. */
function setUp(t: { after(end: () => void | Promise<void>): void }) {
  const kernel = new FakeKernel()
  const events: string[] = []
  const absent = new Set<string>()
  const refusals = { announcements: 0 }
  const captures = new Captures({
    kernel,
    agentName: 'agent-1',
    retryMs: RETRY_MS,
    find: (uids) =>
      new Map(
        uids.map((uid): [string, Found] => [
          uid,
          absent.has(uid)
            ? { found: false, why: 'no process in its cgroup yet' }
            : { found: true, netns: openSync('/proc/self/ns/net', 'r'), pid: process.pid },
        ]),
      ),
    data: {
      capture: ({ uid }) => events.push(`capture ${uid}`),
      release: (uid) => events.push(`release ${uid}${kernel.captured().has(uid) ? ' too early' : ''}`),
    },
    announce: ({ uid }, agent) => {
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
  return { captures, kernel, events, absent, refusals }
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
})

test('what is not joined, shares its node’s network or has no address is left alone, and its reason is told', async (t) => {
  const { captures, kernel, events } = setUp(t)
  captures.want([pod('a', { joined: false }), pod('b', { hostNetwork: true }), pod('c', { ips: [] })])
  await sleep(3 * RETRY_MS)
  assert.equal(kernel.captured().size, 0)
  assert.deepEqual(events, [])
  assert.deepEqual([...captures.uncaptured().keys()].sort(), ['hostNetwork', 'no IPv4 address yet'])
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
  assert.deepEqual(events.slice(2), ['release a'])
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
