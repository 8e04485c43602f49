import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { probe } from '../../agent/kernel/probe.ts'

const ability = probe()

interface Steadiness {
  readonly asked: number
  readonly answered: number
  readonly p50: number
  readonly p99: number
}

interface Told {
  readonly before: Steadiness
  readonly during: Steadiness
  readonly wanted: number
  readonly opened: string
  readonly flooded: string
  readonly refused: number
  readonly faults: readonly string[]
}

test('a pod with all connections it may have, and a flood of others, costs its neighbour no answer', async (t) => {
  if (ability.able !== 'yes') return t.skip(ability.able === 'no' ? ability.needs : ability.why)
  const program = fileURLToPath(new URL('./neighbours.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [program], { timeout: 120_000 })
  const told = JSON.parse(stdout) as Told
  const { before, during, wanted, opened, flooded, refused, faults } = told
  const ms = ({ p50, p99 }: Steadiness): string => `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)} ms`
  t.diagnostic(`${opened} stalled, ${flooded}, ${refused} refused; before: ${ms(before)}; during: ${ms(during)}`)
  assert.equal(opened, `open ${wanted}`)
  assert.equal(during.answered, during.asked)
  assert.ok(refused >= 1000, `${refused} refused`)
  assert.deepEqual(faults, [])
})
