import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MeshError } from '../model/failure.ts'
import { wait } from './deadline.ts'
import type { Stop } from './exchange.ts'

const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length

function errand() {
  let stopping: Stop | null = null
  return {
    during: (stop: Stop | null): void => void (stopping = stop),
    stop: (reason: MeshError): void => stopping?.(reason),
  }
}

test('of a wait that is stopped nothing is left, however long it was to be', async () => {
  const before = timers()
  const one = errand()
  const waiting = wait(one, 100 * 24 * 60 * 60 * 1000)
  await new Promise((resolve) => setTimeout(resolve, 10)) // a time beyond what a timer takes is not over at once
  assert.equal(timers(), before + 1)
  const reason = new MeshError('CALLER_RESET', 'gone')
  one.stop(reason)
  await assert.rejects(waiting, reason)
  assert.equal(timers(), before)
})

test('a wait ends by itself', async () => {
  await wait(errand(), 5)
})
