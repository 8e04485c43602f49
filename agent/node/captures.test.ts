import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Captures } from './captures.ts'
import type { Found } from '../kernel/discover.ts'
import { FakeKernel } from '../kernel/fake.ts'
import { type Captured, KernelError, type PodSource } from '../kernel/kernel.ts'
import { PLAIN_TERMS } from '../model/terms.ts'
import type { Workload } from '../model/workload.ts'

const RETRY_MS = 10
/** Long enough that what must not happen meanwhile is seen not to. */
const LEAVE_MS = 150

function pod(uid: string, more: Partial<Workload> = {}): Workload {
  return {
    ...{ uid, name: `pod-${uid}`, namespace: 'shop', node: 'node-1', ips: ['127.9.0.1'], labels: {} },
    ...{ serviceAccount: 'default', owner: uid, hostNetwork: false, unfit: null, terms: PLAIN_TERMS },
    ...{
      joined: true,
      terminating: false,
      captured: null,
      announcedAccount: 'default',
      agentReady: true,
      placedBy: 'spec',
      ...more,
    },
  }
}

/** The fake, with what a test has the machine do to it; tells what it was asked for. */
class TroubledKernel extends FakeKernel {
  readonly #events: string[]
  readonly #loose = new Set<string>()
  /** Proofs that are still to fail. */
  failingProofs = 0
  /** What every proof waits for. */
  proof: Promise<void> = Promise.resolve()
  /** What every capture throws. */
  refusal: Error | null = null
  lacks: readonly string[] = []
  /** What every look throws. */
  blindness: Error | null = null

  constructor(events: string[]) {
    super()
    this.#events = events
  }

  override capture(source: PodSource): Captured {
    if (this.refusal !== null) throw this.refusal
    this.#loose.delete(source.uid)
    return super.capture(source)
  }

  override async prove(uid: string): Promise<void> {
    await this.proof
    if (this.failingProofs > 0) {
      this.failingProofs--
      throw new KernelError('ETIMEDOUT', 'self-dial out of the pod')
    }
    await super.prove(uid)
    this.#events.push(`prove ${uid}`)
  }

  override loosen(uid: string): void {
    if (!this.#loose.has(uid)) this.#events.push(`loosen ${uid}`)
    this.#loose.add(uid)
    super.loosen(uid)
  }

  override look(): readonly string[] {
    if (this.blindness !== null) throw this.blindness
    return this.lacks
  }
}

const SECURITY = {
  modes: { others: 'PERMISSIVE', ports: {} },
  certificate: { identity: null, notAfter: null, failure: null },
} as const

/** Captures over the fake kernel; `events` tells in order what kernel, data side and cluster were told. */
function setUp(t: { after(end: () => void | Promise<void>): void }, leaveMs = LEAVE_MS) {
  const events: string[] = []
  const kernel = new TroubledKernel(events)
  const absent = new Set<string>()
  const refusals = { announcements: 0, looks: 0, silence: Promise.resolve() }
  const looks = { count: 0 }
  const warnings: string[] = []
  const older = new Map<string, number>()
  const lacking = new Map<string, string>()
  const captures = new Captures({
    kernel,
    agentName: 'agent-1',
    retryMs: RETRY_MS,
    leaveMs,
    lackOf: ({ uid }) => lacking.get(uid) ?? null,
    securityOf: () => SECURITY,
    older: (uid) => older.get(uid) ?? 0,
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
    announce: async ({ uid }, agent) => {
      await refusals.silence
      if (refusals.announcements > 0) {
        refusals.announcements--
        throw new Error('the API server is away')
      }
      events.push(`announce ${uid} ${agent}`)
    },
    log: {
      info: () => undefined,
      warn: (fields, message) => warnings.push(`${message}: ${(fields as { reason: string }).reason}`),
    },
  })
  t.after(() => kernel.close())
  t.after(() => captures.stop('release'))
  const stateOf = (uid: string) => captures.standings().find((standing) => standing.uid === uid)
  return { captures, kernel, events, absent, refusals, looks, warnings, older, lacking, stateOf }
}

/** As setUp(), and started. */
function started(...wish: Parameters<typeof setUp>) {
  const world = setUp(...wish)
  world.captures.start()
  return world
}

/** What a pod is announced with, from nothing to the end. */
const joining = (uid: string): string[] => [`capture ${uid}`, `prove ${uid}`, `announce ${uid} agent-1`]

/** A world in which pod `a` is captured, proved and announced; `events` begin after that. */
async function withCapturedPod(...wish: Parameters<typeof setUp>) {
  const world = started(...wish)
  world.captures.want([pod('a')])
  await settled(() => world.events.length === 3)
  assert.deepEqual(world.events.splice(0), joining('a'))
  return world
}

async function settled(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !condition(); i++) await sleep(RETRY_MS)
  assert.ok(condition())
}

test('nothing is captured before the start, and what was wanted by then is captured at once', async (t) => {
  const { captures, kernel, events, looks, stateOf } = setUp(t)
  captures.want([pod('a', { joined: false })])
  captures.want([pod('a')])
  await sleep(3 * RETRY_MS)
  assert.deepEqual([looks.count, kernel.captured().size, events], [0, 0, []])
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['pending', 'not looked for yet'])
  captures.start()
  await settled(() => events.length === 3)
  assert.deepEqual(events, joining('a'))
})

test('a start before the first word of the cluster releases nothing', async (t) => {
  const { kernel, looks } = started(t)
  kernel.capture({ uid: 'a', ips: ['127.9.0.1'], netns: -1, terms: PLAIN_TERMS })
  await sleep(3 * RETRY_MS)
  assert.equal(looks.count, 0)
  assert.ok(kernel.captured().has('a'))
})

test('a joined pod is captured, given to the data side, proved, and only then announced', async (t) => {
  const { captures, events, older } = started(t)
  captures.want([pod('a')])
  await settled(() => events.length === 3)
  assert.deepEqual(events, joining('a'))
  older.set('a', 2)
  const of = { namespace: 'shop', name: 'pod-a', uid: 'a', ips: ['127.9.0.1'] }
  assert.deepEqual(captures.standings(), [
    { ...of, state: 'captured', reason: null, onLoss: 'open', olderConnections: 2, fromStart: false, ...SECURITY },
  ])
  assert.equal(captures.uncaptured().size, 0)
})

test('what is not joined, cannot be captured or has no address is left alone, and its reason is told', async (t) => {
  const { captures, kernel, events } = started(t)
  const unfit = 'it runs in a sandbox of its own (gvisor)'
  captures.want([pod('a', { joined: false }), pod('b', { unfit }), pod('c', { ips: [] })])
  await sleep(3 * RETRY_MS)
  assert.equal(kernel.captured().size, 0)
  assert.deepEqual(events, [])
  assert.deepEqual(
    captures.uncaptured(),
    new Map([
      [unfit, 1],
      ['no address yet', 1],
    ]),
  )
  assert.deepEqual(
    captures.standings().map(({ name, state, reason }) => [name, state, reason]),
    [
      ['pod-b', 'uncaptured', unfit],
      ['pod-c', 'pending', 'no address yet'],
    ],
  )
})

test('a fail-closed pod shows as such, captured or not', async (t) => {
  const { captures, kernel, stateOf } = started(t)
  const terms = { ...PLAIN_TERMS, onLoss: 'closed' } as const
  kernel.refusal = new KernelError('ENOSPC', 'keep the pod')
  captures.want([pod('a', { terms }), pod('b', { ips: ['127.9.0.2'], unfit: 'hostNetwork', terms })])
  await settled(() => stateOf('a')?.reason === 'keep the pod: ENOSPC')
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.onLoss], ['pending', 'closed'])
  assert.deepEqual([stateOf('b')?.state, stateOf('b')?.onLoss], ['uncaptured', 'closed'])
  kernel.refusal = null
  await settled(() => stateOf('a')?.state === 'captured')
  assert.equal(stateOf('a')?.onLoss, 'closed')
})

test('a pod is not announced, and shows as pending, while its capture is not proved', async (t) => {
  const { captures, kernel, events, stateOf } = started(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  kernel.proof = promise
  captures.want([pod('a')])
  await settled(() => events.length === 1)
  await sleep(3 * RETRY_MS)
  assert.deepEqual(events, ['capture a'])
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['pending', 'not proved yet'])
  resolve()
  await settled(() => events.length === 3)
  assert.deepEqual(events, joining('a'))
})

test('a proof that failed shows as the reason, is made again, and leaves the pod with the data side meanwhile', async (t) => {
  const { captures, kernel, events, stateOf } = started(t)
  kernel.failingProofs = 4
  captures.want([pod('a')])
  await settled(() => stateOf('a')?.reason === 'self-dial out of the pod: ETIMEDOUT')
  assert.equal(stateOf('a')?.state, 'pending')
  assert.deepEqual(captures.uncaptured(), new Map([['self-dial out of the pod: ETIMEDOUT', 1]]))
  await settled(() => events.length === 3)
  assert.equal(kernel.failingProofs, 0)
  assert.deepEqual(events, joining('a'))
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['captured', null])
})

test('our word for a pod whose capture this agent cannot prove is withdrawn', async (t) => {
  const { captures, kernel, events } = started(t)
  kernel.failingProofs = Infinity
  captures.want([pod('a', { captured: 'agent-1' })])
  await settled(() => events.length >= 2)
  assert.deepEqual(events.slice(0, 2), ['capture a', 'announce a null'])
})

test('an announcement in our name with another account, or none, is made again', async (t) => {
  for (const announcedAccount of ['other', null]) {
    const { captures, events } = started(t)
    captures.want([pod('a', { captured: 'agent-1', announcedAccount })])
    await settled(() => events.length === 3)
    assert.deepEqual(events, joining('a'))
    captures.want([pod('a', { captured: 'agent-1' })])
    await sleep(2 * RETRY_MS)
    captures.want([pod('a', { captured: 'agent-1', announcedAccount })]) // somebody changed it
    await settled(() => events.length >= 4)
    assert.equal(events[3], 'announce a agent-1')
    await captures.stop('keep')
  }
})

test('an announcement in our name is withdrawn with its capture, whatever account it names', async (t) => {
  const { captures, kernel, events } = started(t)
  kernel.failingProofs = Infinity
  captures.want([pod('a', { captured: 'agent-1', announcedAccount: null })])
  await settled(() => events.length >= 2)
  assert.deepEqual(events.slice(0, 2), ['capture a', 'announce a null'])
})

test('a capture is proved once, however often it is looked over', async (t) => {
  const { captures, events, looks } = await withCapturedPod(t)
  const before = looks.count
  for (const version of ['1.0.0.1', '1.0.0.2', '1.0.0.3']) {
    captures.want([pod('a', { captured: 'agent-1' }), pod('b', { ips: [], captured: version })])
    await sleep(2 * RETRY_MS)
  }
  assert.ok(looks.count > before)
  assert.equal(events.includes('prove a'), false)
})

test('leaving withdraws the announcement, then loosens, then leaves the kernel’s capture, then the data side’s hold', async (t) => {
  const { captures, kernel, events } = await withCapturedPod(t)
  captures.want([pod('a', { joined: false })])
  await settled(() => events.includes('release a'))
  assert.deepEqual(events, ['announce a null', 'loosen a', 'release a'])
  assert.equal(kernel.captured().size, 0)
  assert.deepEqual(captures.standings(), [])
})

test('what dials a pod that left is taken for as long as others may not have heard of it', async (t) => {
  const { captures, kernel, events, stateOf } = await withCapturedPod(t, 400)
  const begunMs = performance.now()
  captures.want([pod('a', { joined: false })])
  await settled(() => events.includes('loosen a'))
  assert.ok(kernel.captured().has('a'))
  assert.equal(events.includes('release a'), false)
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['leaving', 'it left the mesh'])
  assert.equal(captures.uncaptured().size, 0)
  await settled(() => events.includes('release a'))
  assert.ok(performance.now() - begunMs >= 400)
})

test('a pod that left is told as leaving before its turn has come', async (t) => {
  const { captures, events, refusals, stateOf } = await withCapturedPod(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  refusals.silence = promise
  captures.want([pod('a', { captured: 'agent-1' }), pod('b')])
  await settled(() => events.includes('prove b')) // it is announced now, for as long as the cluster is silent
  captures.want([pod('a', { joined: false }), pod('b')])
  assert.equal(stateOf('a')?.state, 'leaving')
  resolve()
  await settled(() => events.includes('release a'))
  assert.equal(stateOf('a'), undefined)
})

test('a pod that becomes unfit leaves as any other, and its reason is told', async (t) => {
  const { captures, events, stateOf } = await withCapturedPod(t)
  captures.want([pod('a', { unfit: 'hostNetwork' })])
  await settled(() => events.includes('loosen a'))
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['uncaptured', 'hostNetwork'])
  await settled(() => events.includes('release a'))
  assert.deepEqual(events, ['announce a null', 'loosen a', 'release a'])
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['uncaptured', 'hostNetwork'])
})

test('a pod that joins again while it leaves is captured on without a release', async (t) => {
  const { captures, kernel, events, stateOf } = await withCapturedPod(t, 60_000)
  const before = kernel.captured().get('a')
  captures.want([pod('a', { joined: false })])
  await settled(() => events.includes('loosen a'))
  captures.want([pod('a')])
  await settled(() => stateOf('a')?.state === 'captured')
  await settled(() => events.length === 4)
  assert.deepEqual(events, ['announce a null', 'loosen a', 'prove a', 'announce a agent-1'])
  assert.equal(kernel.captured().get('a'), before)
})

test('a pod that joined again and leaves once more has its whole time again', async (t) => {
  const { captures, events } = await withCapturedPod(t, 300)
  captures.want([pod('a', { joined: false })])
  await settled(() => events.includes('loosen a'))
  await sleep(200)
  captures.want([pod('a')])
  await settled(() => events.includes('announce a agent-1'))
  const begunMs = performance.now()
  captures.want([pod('a', { joined: false })])
  await settled(() => events.includes('release a'))
  assert.ok(performance.now() - begunMs >= 300)
})

test('a pod whose announcement cannot be withdrawn is not released', async (t) => {
  const { captures, kernel, events, refusals, stateOf } = await withCapturedPod(t, 2 * RETRY_MS)
  refusals.announcements = 5
  captures.want([pod('a', { joined: false })])
  await settled(() => refusals.announcements < 3)
  await sleep(4 * RETRY_MS)
  assert.ok(refusals.announcements > 0)
  assert.ok(kernel.captured().has('a'))
  assert.equal(stateOf('a')?.state, 'leaving')
  await settled(() => events.includes('release a'))
  assert.ok(events.indexOf('announce a null') < events.indexOf('release a'))
})

test('a pod that is gone is released at once, without a word to the cluster', async (t) => {
  const { captures, kernel, events } = await withCapturedPod(t, 60_000)
  captures.want([])
  await settled(() => events.length === 1)
  assert.deepEqual(events, ['release a, gone'])
  assert.equal(kernel.captured().size, 0)
})

test('a pod that is gone while it leaves is released at once', async (t) => {
  const { captures, events } = await withCapturedPod(t, 60_000)
  captures.want([pod('a', { joined: false })])
  await settled(() => events.includes('loosen a'))
  captures.want([])
  await settled(() => events.length === 3)
  assert.deepEqual(events, ['announce a null', 'loosen a', 'release a, gone'])
})

test('a pod without a process yet is tried again, and does not hold up another', async (t) => {
  const { captures, events, absent, stateOf } = started(t)
  absent.add('a')
  captures.want([pod('a'), pod('b', { ips: ['127.9.0.2'] })])
  await settled(() => events.length === 3)
  assert.deepEqual(events, joining('b'))
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['pending', 'no process in its cgroup yet'])
  absent.delete('a')
  await settled(() => events.includes('announce a agent-1'))
})

test('an announcement that the API server did not take is made again', async (t) => {
  const { captures, events, refusals } = started(t)
  refusals.announcements = 2
  captures.want([pod('a')])
  await settled(() => events.includes('announce a agent-1'))
})

test('an announcement left by an agent before it stays where the pod is captured again', async (t) => {
  const { captures, events } = started(t)
  captures.want([pod('a', { captured: 'agent-1' })])
  await settled(() => events.length === 2)
  await sleep(3 * RETRY_MS)
  assert.deepEqual(events, ['capture a', 'prove a'])
})

test('stopping withdraws what was announced, also what the cluster has not shown yet', async (t) => {
  const { captures, events } = await withCapturedPod(t)
  await captures.stop('release')
  assert.deepEqual(events, ['announce a null'])
})

test('stopping leaves every pod once it is withdrawn, so that nothing is turned to a data side that drains', async (t) => {
  const { captures, kernel, events } = await withCapturedPod(t)
  const release = kernel.release.bind(kernel)
  kernel.release = (uid) => {
    events.push(`leave ${uid}`)
    release(uid)
  }
  await captures.stop('release')
  // the data side still carries what is open
  assert.deepEqual(events, ['announce a null', 'leave a'])
  assert.equal(kernel.captured().size, 0)
})

test('stopping leaves pods that were about to be released, too', async (t) => {
  const { captures, kernel, events } = await withCapturedPod(t, 60_000)
  captures.want([pod('a', { joined: false })])
  await settled(() => events.includes('loosen a'))
  await captures.stop('release')
  assert.equal(kernel.captured().size, 0)
})

test('stopping for a successor neither withdraws nor releases, and nothing happens afterwards', async (t) => {
  const { captures, kernel, events, looks } = await withCapturedPod(t, 2 * RETRY_MS)
  await captures.stop('keep')
  const before = looks.count
  captures.want([pod('a', { joined: false }), pod('b', { ips: ['127.9.0.2'] })])
  await sleep(5 * RETRY_MS)
  assert.deepEqual([events, looks.count], [[], before])
  assert.deepEqual([...kernel.captured().keys()], ['a'])
})

test('stopping for a successor while a pod leaves keeps what dials it', async (t) => {
  const { captures, kernel, events } = await withCapturedPod(t, 3 * RETRY_MS)
  captures.want([pod('a', { joined: false })])
  await settled(() => events.includes('loosen a'))
  await captures.stop('keep')
  await sleep(6 * RETRY_MS)
  assert.deepEqual(events, ['announce a null', 'loosen a'])
  assert.ok(kernel.captured().has('a'))
})

test('a withdrawal that is on its way at a stop for a successor is not followed up', async (t) => {
  const { captures, kernel, events, refusals } = await withCapturedPod(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  refusals.silence = promise
  captures.want([pod('a', { joined: false }), pod('b', { ips: ['127.9.0.2'] })])
  const stopped = captures.stop('keep')
  resolve()
  await stopped
  assert.deepEqual(events, ['announce a null'])
  assert.deepEqual([...kernel.captured().keys()], ['a'])
})

test('stopping does not wait long for an API server that says nothing', async (t) => {
  const { captures, kernel, refusals } = await withCapturedPod(t)
  refusals.silence = new Promise(() => undefined)
  captures.want([pod('b', { joined: false, captured: 'agent-1' })])
  const begunMs = performance.now()
  await captures.stop('release')
  assert.ok(performance.now() - begunMs < 5_000)
  assert.equal(kernel.captured().size, 0)
})

test('a change that does not bear on captures is not looked into', async (t) => {
  const { captures, events, looks } = started(t)
  captures.want([pod('a', { captured: 'agent-1' })])
  await settled(() => events.length === 2)
  await sleep(2 * RETRY_MS)
  const before = looks.count
  captures.want([pod('a', { captured: 'agent-1', labels: { version: 'v2' } })])
  await sleep(3 * RETRY_MS)
  assert.equal(looks.count, before)
})

test('changed terms reach the kernel, and the data side need not hear of them', async (t) => {
  const { captures, kernel, events } = started(t)
  captures.want([pod('a', { captured: 'agent-1' })])
  await settled(() => events.length === 2)
  const seen: PodSource['terms'][] = []
  const capture = kernel.capture.bind(kernel)
  kernel.capture = (source) => {
    seen.push(source.terms)
    return capture(source)
  }
  const terms = { ...PLAIN_TERMS, excludeOutboundPorts: [3306] }
  captures.want([pod('a', { captured: 'agent-1', terms })])
  await settled(() => seen.length === 1)
  await sleep(2 * RETRY_MS)
  assert.deepEqual([seen, events], [[terms], ['capture a', 'prove a']])
})

test('a pod that is captured anew in the same network namespace has other listeners: the data side is told, and proves it', async (t) => {
  const { captures, kernel, events } = await withCapturedPod(t)
  const { cookie } = kernel.captured().get('a')!
  const capture = kernel.capture.bind(kernel)
  kernel.capture = (source) => ({ ...capture(source), cookie })
  captures.want([pod('a', { ips: ['127.9.0.3'], captured: 'agent-1' })])
  await settled(() => events.length >= 3)
  assert.deepEqual(events.slice(0, 3), ['release a, too early', 'capture a', 'prove a'])
})

test('a pod whose network namespace was made anew is proved anew, and is pending until then', async (t) => {
  const { captures, kernel, events, stateOf } = await withCapturedPod(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  kernel.proof = promise
  kernel.failingProofs = 1
  captures.want([pod('a', { ips: ['127.9.0.3'], captured: 'agent-1' })])
  await settled(() => events.length === 2)
  assert.deepEqual(events, ['release a, gone, too early', 'capture a'])
  assert.equal(stateOf('a')?.state, 'pending')
  resolve()
  await settled(() => events.includes('announce a null'))
  await settled(() => stateOf('a')?.state === 'captured')
  assert.ok(events.indexOf('prove a') > events.indexOf('announce a null'))
})

test('what is captured no longer is let go by the data side and withdrawn, though it is still wanted', async (t) => {
  const { captures, kernel, events, stateOf } = await withCapturedPod(t)
  kernel.capture = (source) => {
    kernel.release(source.uid) // as the kernel does, of a fail-open pod
    throw new Error('no room')
  }
  captures.want([pod('a', { ips: ['127.9.0.3'], captured: 'agent-1' })])
  await settled(() => events.length >= 2)
  assert.deepEqual(events.slice(0, 2), ['release a', 'announce a null'])
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['pending', 'no room'])
})

test('an announcement that an agent of another name left on a pod that did not join is withdrawn', async (t) => {
  const { captures, events } = started(t)
  captures.want([pod('a', { joined: false, captured: 'agent-0' })])
  await settled(() => events.length === 1)
  assert.deepEqual(events, ['announce a null'])
  assert.deepEqual(captures.standings(), []) // it was never ours to let go of
})

test('an announcement that is refused again and again is made ever more seldom, and the pod is captured all the same', async (t) => {
  const { captures, kernel, events, refusals } = started(t)
  refusals.announcements = 1000
  captures.want([pod('a')])
  await sleep(31 * RETRY_MS)
  assert.ok(1000 - refusals.announcements <= 6, `${1000 - refusals.announcements} attempts`)
  assert.ok(1000 - refusals.announcements >= 2)
  assert.ok(kernel.captured().has('a'))
  assert.deepEqual(events, ['capture a', 'prove a'])
})

test('a search that fails altogether is made again and ends nothing', async (t) => {
  const { captures, events, refusals } = started(t)
  refusals.looks = 1
  captures.want([pod('a')])
  await sleep(2 * RETRY_MS)
  captures.want([pod('a'), pod('b', { ips: ['127.9.0.2'] })])
  await settled(() => events.length === 6)
})

test('what keeps the node from capturing is told for as long as it is so, and logged once', async (t) => {
  const { captures, kernel, events, warnings } = started(t)
  const lack = 'service addresses are rewritten before Weft sees them'
  kernel.lacks = [lack]
  captures.want([pod('a')])
  await settled(() => events.length === 3)
  assert.deepEqual(captures.lacks, [lack])
  captures.want([pod('a', { captured: 'agent-1' })])
  await sleep(3 * RETRY_MS)
  assert.deepEqual(warnings, [`capture is degraded: ${lack}`])
  kernel.lacks = []
  captures.want([pod('a')])
  await settled(() => captures.lacks.length === 0)
})

test('a look at the programs that fails keeps no captured pod from the data side', async (t) => {
  const { captures, kernel, events, warnings } = started(t)
  kernel.blindness = new KernelError('EPERM', 'attach connect4')
  captures.want([pod('a')])
  await settled(() => warnings.length > 0)
  assert.deepEqual(events, ['capture a'])
})

test('a pod that may go direct waits for its certificate; one that may not is captured, and announced with it', async (t) => {
  const { captures, events, lacking, stateOf } = started(t)
  for (const uid of ['a', 'b']) lacking.set(uid, 'its certificate is asked for')
  captures.want([pod('a'), pod('b', { ips: ['127.9.0.2'], terms: { ...PLAIN_TERMS, onLoss: 'closed' } })])
  await settled(() => events.length === 2)
  assert.deepEqual(events.splice(0), ['capture b', 'prove b'])
  assert.deepEqual([stateOf('a')?.state, stateOf('a')?.reason], ['pending', 'its certificate is asked for'])
  assert.deepEqual([stateOf('b')?.state, stateOf('b')?.reason], ['pending', 'its certificate is asked for'])
  lacking.clear()
  captures.look()
  await settled(() => events.length >= 4) // its announcement is told again until it is seen
  assert.deepEqual(new Set(events), new Set(['announce b agent-1', ...joining('a')]))
})

test('a captured pod whose certificate lapsed stays captured and announced: calls to it fail, and are not plaintext', async (t) => {
  const { captures, kernel, events, lacking, stateOf } = await withCapturedPod(t)
  lacking.set('a', 'it has no certificate: nobody has signed')
  captures.want([pod('a', { captured: 'agent-1', announcedAccount: pod('a').serviceAccount })])
  captures.look()
  await sleep(5 * RETRY_MS)
  assert.deepEqual(events, [])
  assert.equal(stateOf('a')?.reason, 'it has no certificate: nobody has signed')
  assert.ok(kernel.captured().has('a'))
})
