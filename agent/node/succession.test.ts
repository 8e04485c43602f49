import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FakeKernel } from '../kernel/fake.ts'
import { handOverPath } from '../kernel/hand-over.ts'
import { agentBefore } from './succession.fixture.ts'
import { Succession } from './succession.ts'

/** Longer than a successor waits between two looks. */
const SLOW_MS = 300

/** One whose captures would outlive the process. It counts what it is given in place of another's listeners. */
class LastingKernel extends FakeKernel {
  override readonly lasting: boolean = true
  adoptions = 0
  override adopt(): void {
    this.adoptions++
  }
}

/** An agent of a node of its own. */
function agentOf(t: TestContext): { readonly path: string; readonly kernel: LastingKernel; readonly one: Succession } {
  const folder = mkdtempSync(join(tmpdir(), 'weft-succession-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const [path, kernel] = [handOverPath(folder), new LastingKernel()]
  return { path, kernel, one: new Succession({ kernel, path, log: { info() {}, warn() {} } }) }
}

test('told to stop while the one before still lets go of what it has given, it takes its place all the same', async (t) => {
  const { path, kernel, one } = agentOf(t)
  const before = await agentBefore(path)
  const place = one.takeOver(before.taken)
  await before.taken
  await sleep(SLOW_MS)
  assert.ok(one.hasOther, 'the one before is still there')
  await before.leave()
  assert.equal(await place, true)
  assert.ok(kernel.adoptions > 0)
})

test('where there is no agent before, the place is free', async (t) => {
  const { kernel, one } = agentOf(t)
  assert.equal(await one.takeOver(new Promise(() => undefined)), true)
  assert.equal(kernel.adoptions, 0)
})
