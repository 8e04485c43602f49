// Connections between channels of one transport, driven by chance: written to, held, ended and broken off in any order.
// What arrives must be what was sent, an orderly end must stand behind all of it, and nothing may be held afterwards.

import { readdirSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openAcceptor } from '../../agent/kernel/acceptor.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { seeded } from '../../agent/model/request.fixture.ts'
import { Budget } from '../../agent/proxy/transport/budget.ts'
import type { Channel, ChannelSink, Transport } from '../../agent/proxy/transport/transport.ts'

const IP = '127.0.0.1'
const FLOWS = 24
const BUDGET_BYTES = 512 * 2 ** 20
/** More is not written into one channel's backlog: with nobody named as a source, bounding it is the writer's business. */
const BACKLOG_MOST = 2 ** 20
const SETTLE_MS = 10_000

export interface TransportFuzz {
  readonly steps: number
  readonly connections: number
  readonly bytes: number
  /** Ends by kind. */
  readonly ends: Readonly<Record<'end' | 'closed' | 'lost', number>>
}

/** One end of a connection. */
interface Side {
  channel: Channel
  sent: number
  received: number
  isShut: boolean
  isOver: boolean
  /** Was reset or closed by its owner: the other end may be lost. */
  hasLeft: boolean
  other: Side | null
}

const PATTERN = Buffer.from(Uint8Array.from({ length: 2 * 65_521 }, (_, at) => (at % 65_521) % 251))
const PERIOD = 65_521

interface Chance {
  readonly seed: number
  readonly steps: number
  readonly prepare?: Prepare
}

type Two = readonly [dialler: Channel, dialled: Channel]

/** What becomes of two ends before they are used: who dialled, and who was dialled. `connect` gives two more. */
export type Prepare = (dialler: Channel, dialled: Channel, connect: () => Promise<Two>) => Promise<Two>

export const plain: Prepare = async (dialler, dialled) => [dialler, dialled]

/**
 * Two connections that are pumped into each other, each prepared in one of the ways in turn; their outer ends are used. `fault`
 * hears of a pump that ends twice.
 */
export function throughPumps(ways: readonly (readonly [Prepare, Prepare])[], fault: (error: Error) => void): Prepare {
  let made = 0
  return async (dialler, dialled, connect) => {
    const [first, second] = ways[made++ % ways.length] as readonly [Prepare, Prepare]
    const [near, inner] = await first(dialler, dialled, connect)
    const [outer, far] = await second(...(await connect()), connect)
    let isOver = false
    const over = (): void => {
      if (isOver) fault(new Error('a pump has ended twice'))
      isOver = true
    }
    inner.pump(outer, { passed() {}, closed: over, lost: over })
    return [near, far]
  }
}

/**
 * Takes `steps` steps; the same seed takes the same ones, though the kernel need not answer alike. Throws what it finds wrong.
 */
export async function fuzzTransport(
  make: (onBug: (thrown: unknown) => void) => Transport,
  { seed, steps, prepare = plain }: Chance,
): Promise<TransportFuzz> {
  const random = seeded(seed)
  const below = (bound: number): number => Math.floor(random() * bound)
  const faults: unknown[] = []
  const transport = make((thrown) => faults.push(thrown))
  const budget = new Budget(BUDGET_BYTES)
  const ends = { end: 0, closed: 0, lost: 0 }
  let [bytes, connections] = [0, 0]
  const socketsBefore = openSockets()

  const watched = (channel: Channel): Side => {
    const side: Side = { channel, sent: 0, received: 0, isShut: false, isOver: false, hasLeft: false, other: null }
    const over = (how: 'closed' | 'lost') => (): void => {
      if (side.isOver) faults.push(new Error(`${how} behind another end`))
      if (how === 'lost' && side.other?.hasLeft === false) faults.push(new Error('lost, though nobody left'))
      side.isOver = true
      ends[how]++
    }
    const sink: ChannelSink = {
      bytes: (arena, from, to) => {
        bytes += to - from
        const isRight = isPattern(arena.subarray(from, to), side.received)
        if (!isRight) faults.push(new Error(`not what was sent, at ${side.received}`))
        side.received += to - from
      },
      end: () => {
        ends.end++
        const due = side.other
        const isWhole = due === null || !due.isShut || due.sent === side.received
        if (!isWhole) faults.push(new Error(`an end behind ${side.received} bytes of ${due.sent}`))
      },
      drained: () => {},
      closed: over('closed'),
      lost: over('lost'),
    }
    channel.sink = sink
    return side
  }

  const listener = must(native().listenIn(-1, -1, { ip: IP, port: 0, backlog: 64, own: -1, mark: NO_MARK }), 'listen')
  const { localPort: port } = native().ends(listener)
  const accepted = new Map<number, Channel>()
  const acceptor = openAcceptor(listener, {
    onAccept: (fd) => {
      const { remotePort } = native().ends(fd)
      accepted.set(remotePort, transport.adopt(fd, budget))
    },
    onFault: (error) => faults.push(error),
  })

  const connect = async (): Promise<Two> => {
    const fd = must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')
    const dialler = await transport.connect(fd, { ip: IP, port }, { timeoutMs: 5000, budget })
    const localPort = dialler.ends?.local.port ?? 0
    for (let tries = 0; !accepted.has(localPort) && tries < 1000; tries++) await sleep(1)
    const dialled = accepted.get(localPort)
    if (dialled === undefined) throw new Error('a connection was not accepted')
    accepted.delete(localPort)
    return [dialler, dialled]
  }

  const open = async (): Promise<Side> => {
    const [side, other] = (await prepare(...(await connect()), connect)).map(watched) as [Side, Side]
    side.other = other
    other.other = side
    connections++
    side.channel.resume()
    other.channel.resume()
    return side
  }

  const step = (side: Side): void => {
    const { channel } = side
    if (side.hasLeft) return // though it may still be handing over what was written
    switch (below(16)) {
      case 0:
        channel.hold()
        return
      case 1:
      case 2:
        channel.resume()
        return
      case 3:
        if (below(4) > 0 || channel.dead) return
        side.isShut = true
        channel.shutdown()
        return
      case 4:
        if (below(24) === 0) leave(side, () => channel.reset())
        return
      case 5:
        if (below(24) === 0) leave(side, () => channel.close())
        return
      default:
        if (side.isShut || channel.dead || channel.backlog > BACKLOG_MOST) return
        for (let part = below(4); part >= 0; part--) {
          const length = below(3) === 0 ? 1 + below(PERIOD) : 1 + below(600)
          const from = side.sent % PERIOD
          channel.write(PATTERN, from, from + length, null)
          side.sent += length
        }
    }
  }

  let flows = await Promise.all(Array.from({ length: FLOWS }, open))
  for (let count = 0; count < steps && faults.length === 0; count++) {
    const flow = flows[below(flows.length)] as Side
    step(below(2) === 0 ? flow : (flow.other as Side))
    if (below(6) === 0) await new Promise((resolve) => setImmediate(resolve))
    if (count % 200 > 0) continue
    const lasting = flows.filter(({ channel, other }) => !channel.dead || other?.channel.dead === false)
    const fresh = await Promise.all(Array.from({ length: FLOWS - lasting.length }, open))
    flows = [...lasting, ...fresh]
  }

  // in order, as far as it still can be
  const sides = flows.flatMap((flow) => [flow, flow.other as Side])
  for (const side of sides) {
    if (side.hasLeft) continue
    side.channel.resume()
    side.isShut = true
    side.channel.shutdown()
  }
  const patience = performance.now() + SETTLE_MS
  while (sides.some(({ channel }) => !channel.dead) && performance.now() < patience) await sleep(5)
  acceptor.close()
  native().closeFd(listener)
  const stuck = sides.filter(({ channel }) => !channel.dead)
  if (stuck.length > 0) faults.push(new Error(`${stuck.length} channels did not end`))
  if (transport.stagedBytes !== 0) faults.push(new Error(`${transport.stagedBytes} bytes are still staged`))
  if (budget.held !== 0) faults.push(new Error(`${budget.held} bytes are still held for the pod`))
  for (const { channel } of stuck) channel.reset()
  while (openSockets() > socketsBefore && performance.now() < patience) await sleep(5)
  if (openSockets() > socketsBefore) faults.push(new Error(`${openSockets() - socketsBefore} sockets are left`))
  if (faults.length > 0) throw faults[0]
  return { steps, connections, bytes, ends }
}

/** The owner ends it: nothing more is heard of it. */
function leave(side: Side, act: () => void): void {
  side.isOver = side.hasLeft = true
  side.isShut = false
  act()
}

function isPattern(bytes: Buffer, at: number): boolean {
  for (let done = 0; done < bytes.length;) {
    const from = (at + done) % PERIOD
    const length = Math.min(bytes.length - done, PERIOD)
    if (bytes.compare(PATTERN, from, from + length, done, done + length) !== 0) return false
    done += length
  }
  return true
}

function openSockets(): number {
  const isSocket = (fd: string): boolean => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:')
    } catch {
      return false // the one that listed them
    }
  }
  return readdirSync('/proc/self/fd').filter(isSocket).length
}
