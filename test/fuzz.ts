// `npm run fuzz -- [seconds] [seed]`: chance against the HTTP/1 parser and writer, and against the channels of both bodies of
// the transport, plain and secured by turns, each for so long. Prints the seed: the same one tries the same again.

import { native } from '../agent/kernel/native.ts'
import { nativeTransport } from '../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../agent/proxy/transport/transport-node.ts'
import { fuzz, report } from './http1/fuzz.ts'
import { securedPair } from './proxy/secured.ts'
import { fuzzTransport } from './proxy/transport-fuzz.ts'

const DEFAULT_SECONDS = 60
const STEPS = 20_000

function fuzzHttp1(seed: number, seconds: number): boolean {
  const startedAt = performance.now()
  const endsAt = startedAt + 1000 * seconds
  const run = fuzz(seed, () => performance.now() >= endsAt)
  console.log(report(seed, run, performance.now() - startedAt))
  return run.finding === null
}

async function fuzzChannels(
  name: string,
  make: Parameters<typeof fuzzTransport>[0],
  firstSeed: number,
  seconds: number,
): Promise<boolean> {
  const endsAt = performance.now() + 1000 * seconds
  const sum = { connections: 0, gigabytes: 0 }
  let seed = firstSeed
  try {
    for (; performance.now() < endsAt; seed++) {
      const prepare = seed % 2 === 0 ? securedPair : undefined
      const { connections, bytes } = await fuzzTransport(make, { seed, steps: STEPS, ...(prepare && { prepare }) })
      sum.connections += connections
      sum.gigabytes += bytes / 1e9
    }
  } catch (fault) {
    console.log(`FOUND in the ${name} transport by seed ${seed}:`, fault)
    return false
  }
  console.log(
    `${name} transport, seeds ${firstSeed} to ${seed - 1}: ${sum.connections} connections, ${sum.gigabytes.toFixed(1)} GB`,
  )
  return true
}

const [seconds = process.env['WEFT_FUZZ_SECONDS'] ?? String(DEFAULT_SECONDS), given] = process.argv.slice(2)
const seed = Number(given ?? Math.floor(Math.random() * 2 ** 31))
const found = [
  fuzzHttp1(seed, Number(seconds)),
  await fuzzChannels('native', (onBug) => nativeTransport(native(), onBug), seed, Number(seconds)),
  await fuzzChannels('node', nodeTransport, seed, Number(seconds)),
]
process.exitCode = found.every(Boolean) ? 0 : 1
