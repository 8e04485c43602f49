// `npm run demo`: a shop in a cluster in a box, joined and routed before your eyes. With --once nobody needs to look.
import { rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { Cluster } from './cluster.ts'
import { live } from './live.ts'
import { once } from './once.ts'

const nodes = ['node-1', 'node-2']
const onceLimitMs = 150_000
const usage = `npm run demo               watch and steer the shop (keys 1 to 5, q to quit)
npm run demo -- --once     go through every route, check each outcome, exit 0 or 1
npm run demo -- --yes      install missing apt packages without asking
`

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { once: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } })
  if (values.help) {
    process.stdout.write(usage)
    return 0
  }
  const cluster = new Cluster(join(import.meta.dirname, '../../.lab/demo'), nodes)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort(signal))
  const met = await play(cluster, values.once ?? false, stop).catch((error: unknown) => failed(error))
  console.log('taking the lab down …')
  const gone = await cluster.close().then(() => true, failed)
  await rmdir(dirname(cluster.folder)).catch(() => undefined) // unless another lab stands there
  return met && gone && !(values.once && stop.signal.aborted) ? 0 : 1
}

/** True when the demo went as it should. An interrupt ends it at once, whatever it is waiting for. */
async function play(cluster: Cluster, alone: boolean, stop: AbortController): Promise<boolean> {
  const { signal } = stop
  if (!alone) {
    await live(cluster, signal)
    return true
  }
  const limit = setTimeout(() => stop.abort('time limit'), onceLimitMs)
  const ended = new Promise<boolean>((resolve) => {
    signal.addEventListener('abort', () => {
      console.log(`✗ stopped: ${String(signal.reason)}`)
      resolve(false)
    })
  })
  return Promise.race([once(cluster, (line) => !signal.aborted && console.log(line)), ended]).finally(() =>
    clearTimeout(limit),
  )
}

function failed(error: unknown): false {
  console.error(error instanceof Error ? error.message : error)
  return false
}

// Exit by hand: the terminal's keyboard and readers of ended processes would keep the process.
process.exit(await main())
