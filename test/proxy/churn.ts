// `npm run churn -- --connections N --seed S`: connections that come, are pumped, and go in every manner, and what is left
// of them: nothing. Prints what it saw; ends with 1 where something was left.

import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { seeded } from '../../agent/model/request.fixture.ts'
import { Budget } from '../../agent/proxy/transport/budget.ts'
import { nativeTransport, type NativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { descriptors, Ground, type Pair, type Peer } from './pumped.ts'

const TOGETHER = 48
/** No life takes longer: it would be stuck. */
const LIFE_MS = 20_000
/** Of the bytes that one end sends in a piece: few send many. */
const [SMALL_BITS, LARGE_BITS, LARGE_SHARE] = [12, 22, 0.04]
/** Ends in order, an end resets, an end closes without a look at what came, the owner stops the pump. */
const MANNERS = ['orderly', 'orderly', 'orderly', 'reset', 'reset both', 'closed', 'stopped'] as const
type Manner = (typeof MANNERS)[number]

export interface Remains {
  readonly descriptors: number
  readonly pipes: number
  /** Of the places of channels the one that the next gets: as low as those that were open together are few. */
  readonly place: number
  readonly rssBytes: number
  readonly heapBytes: number
  readonly heldBytes: number
}

export interface Churned {
  readonly manners: Readonly<Record<string, number>>
  /** By how many of what pumps told of their ends. */
  readonly ends: Readonly<Record<string, number>>
  readonly bytes: number
  /** Once a fifth of the connections had been, and at the end. */
  readonly before: Remains
  readonly after: Remains
  readonly faults: readonly string[]
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Lets so many connections live and end. */
export async function churn(connections: number, seed: number): Promise<Churned> {
  const random = seeded(seed)
  const faults: string[] = []
  const transport = nativeTransport(native(), (thrown) => faults.push(String(thrown))) as NativeTransport
  const ground = await Ground.make(transport, `127.${16 + (process.pid % 200)}.10.1`)
  const ticker = setInterval(() => transport.tick(performance.now()), 100)
  const budget = new Budget(1 << 30)
  const [manners, ends]: Record<string, number>[] = [{}, {}] as const
  let [begun, bytes] = [0, 0]
  const lives = async (until: number): Promise<void> => {
    while (begun < until && faults.length < 10) {
      begun++
      const manner = MANNERS[Math.floor(random() * MANNERS.length)] as Manner
      const pair = await ground.pumped(budget)
      const why = await live(pair, manner, random)
      if (why !== null) faults.push(`${manner}: ${why}`)
      count(manners, manner)
      count(ends, pair.heard.end ?? 'stopped')
      bytes += pair.a.got + pair.b.got
    }
  }
  const together = (until: number): Promise<unknown> =>
    Promise.all(Array.from({ length: TOGETHER }, () => lives(until)))
  const remains = async (): Promise<Remains> => {
    await sleep(100) // what is closing has closed
    collect()
    const place = transport.channels.adopt(must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket'))
    transport.channels.close(place, false)
    const { all, pipes } = descriptors()
    const { rss, heapUsed } = process.memoryUsage()
    const heldBytes = budget.held + transport.stagedBytes
    return { descriptors: all - pipes, pipes, place, rssBytes: rss, heapBytes: heapUsed, heldBytes }
  }
  await together(Math.ceil(connections / 5))
  const before = await remains()
  await together(connections)
  const after = await remains()
  clearInterval(ticker)
  ground.close()
  return { manners, ends, bytes, before, after, faults }
}

function count(of: Record<string, number>, key: string): void {
  of[key] = (of[key] ?? 0) + 1
}

/** One connection from its first byte to its end. Returns what was wrong about it, or null. */
async function live(pair: Pair, manner: Manner, random: () => number): Promise<string | null> {
  const { a, b, heard, channels } = pair
  const pouring = Promise.all([pour(a, random), pour(b, random)])
  if (manner === 'orderly') {
    await pouring
    a.socket.end()
    if (random() < 0.5) await sleep(random() * 4)
    b.socket.end()
  } else {
    await Promise.race([pouring, sleep(random() * 6)])
    const [one, other] = random() < 0.5 ? [a, b] : [b, a]
    if (random() < 0.3) await halfClose(one)
    if (manner === 'stopped') for (const channel of channels) channel.reset()
    else if (manner === 'closed') one.socket.destroy()
    else one.reset()
    if (manner === 'reset both') other.reset()
    else other.socket.end() // node:net does not look any more at one whose peer has ended
  }
  const ending = manner === 'stopped' ? [a.closed, b.closed] : [a.closed, b.closed, heard.done]
  const over = await Promise.race([Promise.all(ending), sleep(LIFE_MS, 'stuck', { ref: false })])
  for (const { socket } of [a, b]) socket.destroy()
  const seen = JSON.stringify([heard, ...[a, b].map(({ sent, got, ended, lost }) => ({ sent, got, ended, lost }))])
  if (over === 'stuck') return `it does not end: ${seen}`
  if (a.wrongAt !== null || b.wrongAt !== null) return `bytes that were not sent, at ${a.wrongAt ?? b.wrongAt}`
  if (a.got > heard.bytes[1] || b.got > heard.bytes[0]) return `more arrived than was counted: ${seen}`
  if (manner !== 'orderly') return null
  const isWhole = [b.got, heard.bytes[0]].every((bytes) => bytes === a.sent)
  const isWholeBack = [a.got, heard.bytes[1]].every((bytes) => bytes === b.sent)
  return isWhole && isWholeBack && heard.end === 'closed' ? null : `not all arrived: ${seen}`
}

/** Half-closes; one whose FIN cannot leave yet goes for good, for node:net resets none that waits for that. */
async function halfClose({ socket }: Peer): Promise<void> {
  const finished = new Promise<void>((resolve) => socket.end(() => resolve()))
  await Promise.race([finished, sleep(25)])
  if (!socket.writableFinished) socket.destroy()
}

/** Sends some pieces; a reader that stops for a while is among those who may. */
async function pour(peer: Peer, random: () => number): Promise<void> {
  if (random() < 0.1) {
    peer.socket.pause()
    setTimeout(() => peer.socket.resume(), random() * 20)
  }
  for (let pieces = Math.floor(random() * 4); pieces > 0 && !peer.socket.destroyed; pieces--) {
    const bits = random() < LARGE_SHARE ? LARGE_BITS : SMALL_BITS
    await peer.send(Math.floor(2 ** (random() * bits)))
    if (random() < 0.1) await sleep(random() * 3)
  }
}

/** Pipes that are kept for later. */
const SPARE_PIPES = 16
/** What the process itself settles at: some thousand connections do not tell that from a leak, 200 000 do. */
const MOST_GROWTH = { rssBytes: 96 << 20, heapBytes: 16 << 20 }

/** What is left that should not be. */
export function left({ before, after, faults }: Churned): string[] {
  const over: string[] = [...faults]
  if (after.descriptors > before.descriptors) over.push(`${after.descriptors - before.descriptors} descriptors`)
  if (after.pipes > before.pipes + 2 * SPARE_PIPES) over.push(`${after.pipes - before.pipes} ends of pipes`)
  if (after.place >= 4 * TOGETHER) over.push(`places of channels up to ${after.place}`)
  if (after.heldBytes !== 0) over.push(`${after.heldBytes} bytes are held`)
  for (const figure of ['rssBytes', 'heapBytes'] as const) {
    const growth = after[figure] - before[figure]
    if (growth > MOST_GROWTH[figure]) over.push(`${figure} have grown by ${growth >> 20} MB`)
  }
  return over
}

/** A run as it is told. */
export function told({ manners, ends, bytes, before, after }: Churned): string {
  return `${Math.round(bytes / 2 ** 20)} MB; ${JSON.stringify(manners)}; ${JSON.stringify(ends)}\n${JSON.stringify(before)}\n${JSON.stringify(after)}`
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { connections: { type: 'string', default: '200000' }, seed: { type: 'string' } },
  })
  const seed = Number(values.seed ?? Date.now() >>> 0)
  const began = performance.now()
  const churned = await churn(Number(values.connections), seed)
  const seconds = (performance.now() - began) / 1000
  const over = left(churned)
  process.stdout.write(`${values.connections} connections in ${seconds.toFixed(1)} s, seed ${seed}\n${told(churned)}\n`)
  for (const what of over) process.stdout.write(`left: ${what}\n`)
  process.exit(over.length === 0 ? 0 : 1)
}
