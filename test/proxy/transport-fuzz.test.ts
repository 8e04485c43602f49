import assert from 'node:assert/strict'
import { test } from 'node:test'
import { native } from '../../agent/kernel/native.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import { securedPair } from './secured.ts'
import { fuzzTransport, plain, throughPumps } from './transport-fuzz.ts'

const BODIES = { native: (onBug: (thrown: unknown) => void) => nativeTransport(native(), onBug), node: nodeTransport }
const STEPS = 10_000
const WAYS = [
  [plain, plain],
  [securedPair, plain],
  [plain, securedPair],
  [securedPair, securedPair],
] as const

for (const [name, make] of Object.entries(BODIES)) {
  for (const seed of [1, 2, 3]) {
    test(`${name}: channels driven by chance from seed ${seed} lose nothing and hold nothing`, async () => {
      const { bytes, ends } = await fuzzTransport(make, { seed, steps: STEPS })
      assert.ok(bytes > 2 ** 20 && ends.end > 20 && ends.closed > 20 && ends.lost > 5, JSON.stringify({ bytes, ends }))
    })

    test(`${name}: secured channels driven by chance from seed ${seed} lose nothing and hold nothing`, async () => {
      const { bytes, ends } = await fuzzTransport(make, { seed, steps: STEPS, prepare: securedPair })
      assert.ok(bytes > 2 ** 20 && ends.end > 20 && ends.closed > 20 && ends.lost > 5, JSON.stringify({ bytes, ends }))
    })

    test(`${name}: channels driven by chance from seed ${seed}, with pumps between, lose nothing and hold nothing`, async () => {
      const faults: Error[] = []
      const prepare = throughPumps(WAYS, (fault) => faults.push(fault))
      const { bytes, ends } = await fuzzTransport(make, { seed, steps: STEPS, prepare })
      assert.ok(bytes > 2 ** 20 && ends.end > 20 && ends.closed > 20 && ends.lost > 5, JSON.stringify({ bytes, ends }))
      assert.deepEqual(faults, [])
    })
  }
}
