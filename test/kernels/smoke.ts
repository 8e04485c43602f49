// Runs inside a machine that has booted some kernel: the verifier takes every program, and every promise of the contract
// is kept (test/kernel/contract.ts), and an agent's capabilities are enough. A line a case, then the sum; main.ts reads them.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { release } from 'node:os'
import { AGENT_CAPABILITIES } from '../../agent/kernel/capabilities.ts'
import { belowFloor, probe } from '../../agent/kernel/probe.ts'
import { CONTRACT } from '../kernel/contract.ts'
import { REFUSALS, saidWith, without } from '../kernel/rights.ts'
import { bpfWorld } from '../kernel/world.ts'

const CASE_MS = 60_000

let passed = 0
let failed = 0

async function attempt(states: string, run: () => void | Promise<void>): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`took longer than ${CASE_MS / 1000} s`)), CASE_MS)
  try {
    await Promise.race([run(), late])
    passed++
    console.log(`ok ${states}`)
  } catch (error) {
    failed++
    console.log(`failed ${states}\n${(error as Error).stack}`)
  } finally {
    clearTimeout(timer)
  }
}

function programs(): number {
  return (JSON.parse(execFileSync('bpftool', ['-j', 'prog', 'show'], { encoding: 'utf8' })) as unknown[]).length
}

/** Instructions that the verifier may walk through, a program. */
const BUDGET = 4000

/** By libbpf, which knows more than the agent's own loader; says how many instructions the verifier walked through. */
function verify(object: string): void {
  const pins = `/sys/fs/bpf/${object}`
  const options = { encoding: 'utf8', maxBuffer: 64 << 20 } as const
  const loaded = spawnSync('bpftool', ['-d', 'prog', 'loadall', `/objects/${object}`, pins], options)
  assert.equal(loaded.status, 0, loaded.stderr.slice(-6000))
  execFileSync('rm', ['-r', pins])
  const logs = [...loaded.stderr.matchAll(/prog '(\w+)': -- BEGIN PROG LOAD LOG --[^]*?processed (\d+) insns/g)]
  for (const [, name, count] of logs) {
    console.log(`# ${name}: ${count} instructions verified`)
    assert.ok(Number(count) < BUDGET, `${name} has grown to ${count} instructions`)
  }
}

async function keep(run: (typeof CONTRACT)[number]['run'], net: number): Promise<void> {
  const world = bpfWorld('/sys/fs/cgroup', net)
  try {
    await run(world)
  } finally {
    await world.close()
  }
}

if (belowFloor(release())) {
  await attempt('a kernel below the floor is refused in one sentence', () => {
    const ability = probe()
    assert.match(ability.able === 'no' ? ability.needs : ability.able, /^capturing pods needs Linux/)
  })
} else {
  const before = programs()
  for (const object of readdirSync('/objects')) {
    await attempt(`the verifier takes every program of ${object}`, () => verify(object))
  }
  await attempt('pods can be captured', () => assert.deepEqual(probe(), { able: 'yes', cgroupRoot: '/sys/fs/cgroup' }))
  for (const [deed, { lacks, says }] of Object.entries(REFUSALS)) {
    await attempt(`an agent's capabilities are enough to ${deed}, and without ${lacks} they are not`, () => {
      assert.equal(saidWith(AGENT_CAPABILITIES, deed), 'done')
      assert.match(saidWith(without(lacks), deed), says)
    })
  }
  for (const [net, { states, run }] of CONTRACT.entries()) await attempt(states, () => keep(run, net))
  await attempt('no program is left behind', () => assert.equal(programs(), before))
}
console.log(`smoke: ${passed} passed, ${failed} failed`)
process.exit() // whatever a case that failed has left open
