import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import test from 'node:test'
import type { Found } from './discover.ts'
import { FakeKernel } from './fake.ts'
import type { Captured, Kernel, PodSource } from './kernel.ts'
import { KernelError } from './kernel.ts'
import { plan, reconcile } from './reconcile.ts'

const captured = (uid: string, ip: string): Captured => ({
  uid,
  ips: [ip],
  cookie: '1',
  netns: 5,
  listeners: [
    { direction: 'outbound', ip: '127.0.0.1', fd: 6, port: 15001 },
    { direction: 'inbound', ip: '127.0.0.1', fd: 7, port: 15006 },
  ],
})
const at = (netns: number): Found => ({ found: true, netns, pid: 1 })
const lost = (why: string): Found => ({ found: false, why })

test('what is no longer wanted is released, what is wanted and found is captured', () => {
  const todo = plan(
    [{ uid: 'b', ip: '10.0.0.2' }],
    new Map([['a', captured('a', '10.0.0.1')]]),
    new Map([['b', at(9)]]),
  )
  assert.deepEqual(todo.release, ['a'])
  assert.deepEqual(todo.capture, [{ uid: 'b', ip: '10.0.0.2', netns: 9 }])
  assert.equal(todo.waiting.size, 0)
})

test('a pod whose address changed is released and captured anew', () => {
  const todo = plan(
    [{ uid: 'a', ip: '10.0.0.9' }],
    new Map([['a', captured('a', '10.0.0.1')]]),
    new Map([['a', at(9)]]),
  )
  assert.deepEqual(todo.release, ['a'])
  assert.deepEqual(todo.capture, [{ uid: 'a', ip: '10.0.0.9', netns: 9 }])
})

test('a captured pod without a process stays captured, one that never had any waits with the reason', () => {
  const wanted = [
    { uid: 'a', ip: '10.0.0.1' },
    { uid: 'b', ip: '10.0.0.2' },
  ]
  const found = new Map([
    ['a', lost('no process')],
    ['b', lost('no process')],
  ])
  const todo = plan(wanted, new Map([['a', captured('a', '10.0.0.1')]]), found)
  assert.deepEqual([todo.release, todo.capture], [[], []])
  assert.deepEqual([...todo.waiting], [['b', 'no process']])
})

/** A find that opens a real fd for each, as findPods does, and remembers them. */
function finder(fds: number[]): (uids: readonly string[]) => Map<string, Found> {
  return (uids) =>
    new Map(
      uids.map((uid) => {
        const netns = openSync('/dev/null', 'r')
        fds.push(netns)
        return [uid, at(netns)]
      }),
    )
}

test('reconciling twice does nothing the second time, and no fd of the search stays open', () => {
  const kernel = new FakeKernel()
  const fds: number[] = []
  const wanted = [
    { uid: 'a', ip: '127.40.0.1' },
    { uid: 'b', ip: '127.40.0.2' },
  ]
  try {
    const first = reconcile(kernel, wanted, finder(fds))
    const second = reconcile(kernel, wanted, finder(fds))
    assert.deepEqual(second, first)
    assert.ok([...first.values()].every((standing) => standing.captured))
    assert.equal(fds.length, 4)
    // had one stayed open, the lowest free number would differ
    const lowest = openSync('/dev/null', 'r')
    assert.equal(lowest, Math.min(...fds.slice(2)))
    reconcile(kernel, [], () => new Map())
    assert.equal(kernel.captured().size, 0)
  } finally {
    kernel.close()
  }
})

test('a pod that the kernel refuses stands as such and holds up no other', () => {
  const inner = new FakeKernel()
  const kernel: Kernel = {
    capture: (pod: PodSource) => {
      if (pod.uid === 'bad') throw new KernelError('EADDRNOTAVAIL', 'capture bad')
      return inner.capture(pod)
    },
    release: (uid) => inner.release(uid),
    captured: () => inner.captured(),
    counters: () => inner.counters(),
    handles: () => inner.handles(),
    close: () => inner.close(),
  }
  const wanted = [
    { uid: 'bad', ip: '10.0.0.1' },
    { uid: 'good', ip: '127.40.0.3' },
  ]
  try {
    const standings = reconcile(kernel, wanted, finder([]))
    assert.deepEqual(standings.get('bad'), { captured: false, why: 'capture bad: EADDRNOTAVAIL' })
    assert.equal(standings.get('good')?.captured, true)
  } finally {
    kernel.close()
  }
})
