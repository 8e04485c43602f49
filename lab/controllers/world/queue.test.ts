import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../fake-cluster.ts'
import { RETRY_LIMIT_MS, WorkQueue } from './queue.ts'

function queueOf(reconcile: (key: string) => number | undefined) {
  const clock = new FakeClock()
  const warnings: string[] = []
  const log = { warn: (message: string) => void warnings.push(message) }
  return { clock, warnings, queue: new WorkQueue({ name: 'test', clock, log, reconcile }) }
}

test('a key asked for many times before its turn is looked at once', () => {
  const seen: string[] = []
  const { clock, queue } = queueOf((key) => void seen.push(key))
  for (let time = 0; time < 5; time++) queue.add('a')
  queue.add('b')
  clock.run()
  assert.deepEqual(seen, ['a', 'b'])
})

test('a key asked for while it is looked at is looked at again', () => {
  const seen: string[] = []
  const { clock, queue } = queueOf((key) => {
    if (seen.push(key) === 1) queue.add(key)
    return undefined
  })
  queue.add('a')
  clock.run()
  assert.deepEqual(seen, ['a', 'a'])
})

test('a failing key is tried again ever later, up to a limit, and does not hold others up', () => {
  const tries: number[] = []
  const seen: string[] = []
  const { clock, queue, warnings } = queueOf((key) => {
    if (key === 'good') return void seen.push(key)
    tries.push(clock.now())
    throw new Error('no')
  })
  queue.add('bad')
  queue.add('good')
  clock.advance(10 * RETRY_LIMIT_MS)
  const gaps = tries.slice(1).map((at, index) => at - tries[index]!)
  assert.deepEqual(seen, ['good'])
  assert.deepEqual(gaps.slice(0, 3), [10, 20, 40])
  assert.equal(Math.max(...gaps), RETRY_LIMIT_MS)
  assert.equal(warnings.length, tries.length)
})

test('success forgets the failures before it', () => {
  const tries: number[] = []
  const { clock, queue } = queueOf(() => {
    if (tries.push(clock.now()) === 2) return undefined
    throw new Error('no')
  })
  queue.add('a')
  clock.advance(10)
  queue.add('a')
  clock.advance(10)
  assert.deepEqual(
    tries.map((at) => at - tries[0]!),
    [0, 10, 10, 20],
  )
})

test('of several times to look again the earliest counts, and none after the stop', () => {
  const seen: number[] = []
  const { clock, queue } = queueOf(() => void seen.push(clock.now()))
  const start = clock.now()
  queue.addAfter('a', 500)
  queue.addAfter('a', 100)
  queue.addAfter('a', 900)
  clock.advance(1000)
  assert.deepEqual(seen, [start + 100])
  queue.addAfter('a', 100)
  queue.add('b')
  queue.stop()
  clock.advance(1000)
  assert.equal(seen.length, 1)
})
