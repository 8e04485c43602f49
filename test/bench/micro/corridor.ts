// What a request costs above the transport: the whole corridor, from the bytes of a request to those of its answer, over
// channels in memory. Prints microseconds a request, the median of many rounds.

import { openSync } from 'node:fs'
import type { Captured, PodSockets, Sockets } from '../../../agent/kernel/kernel.ts'
import { serve } from '../../../agent/proxy/connection.ts'
import { DataPlane } from '../../../agent/proxy/plane/plane.ts'
import { UNBOUNDED } from '../../../agent/proxy/transport/budget.ts'
import { type Channel, DEAF, type Ends, plainDesk, type Transport } from '../../../agent/proxy/transport/transport.ts'
import { openAccessLog } from '../../../agent/telemetry/access.ts'
import { CALLER, cluster, DIALLED } from '../cluster.ts'
import { median } from '../work.ts'

const ROUNDS = 30
const CONNECTIONS = 64
const TURNS = 200

const REQUEST = Buffer.from('GET /1k HTTP/1.1\r\nHost: 127.0.0.1:18103\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\r\n')
const ANSWER = Buffer.from(
  'HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n' +
    'Content-Length: 1024\r\nLast-Modified: Thu, 26 Nov 2026 10:00:00 GMT\r\nConnection: keep-alive\r\n' +
    `ETag: "6927"\r\nAccept-Ranges: bytes\r\n\r\n${'x'.repeat(1024)}`,
)
const arena = Buffer.allocUnsafeSlow(64 * 1024)
const desk = plainDesk()

const ENDS: Ends = { local: { ip: '10.244.0.9', port: 40_000 }, remote: DIALLED }

/** Takes what is written and has it read on the other side at the next turn. */
class MemoryChannel implements Channel {
  sink = DEAF
  readonly backlog = 0
  readonly blocked = false
  readonly still = false
  readonly dead = false
  readonly activeAt = 0
  readonly budget = UNBOUNDED
  readonly desk = desk
  readonly ends = ENDS
  written = 0

  write(bytes: Buffer, from: number, to: number): void {
    bytes.copy(staging, 0, from, to)
    this.written += to - from
  }
  forget(): void {}
  hold(): void {}
  resume(): void {}
  shutdown(): void {}
  reset(): void {}
  close(): void {}
  pump(): void {}
  secure(): never {
    throw new Error('plain')
  }

  /** The other side sends. */
  arrive(bytes: Buffer): void {
    bytes.copy(arena)
    this.sink.bytes(arena, 0, bytes.length)
  }
}
const staging = Buffer.allocUnsafeSlow(64 * 1024)

const upstreams: MemoryChannel[] = []
const transport: Transport = {
  adopt: () => new MemoryChannel(),
  connect: () => {
    const channel = new MemoryChannel()
    upstreams.push(channel)
    return Promise.resolve(channel)
  },
  nowMs: 0,
  tick() {},
  stagedBytes: 0,
}
const podSockets = (captured: Captured): PodSockets => ({
  captured,
  accept: () => ({ pause() {}, resume() {}, close() {} }),
  socket: () => -1,
  close() {},
})
const sockets: Sockets = {
  hold: podSockets,
  origin: () => DIALLED,
  ends: () => ({ local: DIALLED, remote: { ip: CALLER, port: 40_001 } }),
  setUserTimeout() {},
  close() {},
}

const plane = new DataPlane({
  sockets,
  transport,
  access: openAccessLog(openSync('/dev/null', 'a')),
  onFault: (why) => process.stderr.write(`${why}\n`),
})
const { inventory, caller } = cluster({ upstream: 18_100, sink: 18_110 }, 100)
const why = plane.apply(inventory)
if (why !== null) throw new Error(why)
plane.capture({ uid: caller.uid, ips: [CALLER], cookie: '1', netns: -1, listeners: [] })
const pod = plane.node.pods.get(caller.uid)
if (pod === undefined) throw new Error('the pod was not captured')

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const callers = Array.from({ length: CONNECTIONS }, () => new MemoryChannel())
for (const channel of callers) void serve({ fd: -1, channel, direction: 'outbound', pod }, plane.node)
await turn() // until each of them listens

/** Each caller asks, then each application answers. */
async function round(): Promise<number> {
  const before = process.cpuUsage()
  for (let count = 0; count < TURNS; count++) {
    for (const channel of callers) channel.arrive(REQUEST)
    await turn()
    const asked = upstreams.filter(({ written }) => written > 0)
    if (asked.length !== CONNECTIONS) throw new Error(`${asked.length} of ${CONNECTIONS} requests came through`)
    for (const channel of asked) {
      channel.written = 0
      channel.arrive(ANSWER)
    }
    await turn()
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / (TURNS * CONNECTIONS)
}

const rounds: number[] = []
for (let count = 0; count < ROUNDS; count++) rounds.push(await round())
for (const channel of callers) if (channel.written === 0) throw new Error('an answer is missing')
const [usual, least] = [median(rounds), Math.min(...rounds)].map((us) => us.toFixed(2))
process.stdout.write(`a request in the corridor, above the transport: ${usual} us (least ${least})\n`)
await plane.stop(0)
process.exit()
