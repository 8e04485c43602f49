// Runs the contract on both bodies.
import test from 'node:test'
import { probe } from '../../agent/kernel/probe.ts'
import { CONTRACT } from './contract.ts'
import { bpfWorld, fakeWorld } from './world.ts'

const ability = probe()

for (const { states, run } of CONTRACT) {
  test(`fake: ${states}`, async () => {
    const world = fakeWorld()
    try {
      await run(world)
    } finally {
      await world.close()
    }
  })
  test(`bpf: ${states}`, async (t) => {
    if (ability.able === 'no') return t.skip(ability.needs)
    const world = bpfWorld(ability.able === 'yes' ? ability.cgroupRoot : '/sys/fs/cgroup', 1)
    try {
      await run(world)
    } finally {
      await world.close()
    }
  })
}
