// TLS of the transport by itself: handshakes a second of CPU, whole and resumed, and what a gigabyte costs; the addon's body
// beside node:tls doing the same. Both ends of each connection are in this process, and both show a certificate.

import { randomBytes } from 'node:crypto'
import { openAcceptor } from '../../agent/kernel/acceptor.ts'
import type { Acceptor } from '../../agent/kernel/kernel.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { UNBOUNDED } from '../../agent/proxy/transport/budget.ts'
import { Credentials } from '../../agent/proxy/transport/tls.ts'
import type { Channel, Transport } from '../../agent/proxy/transport/transport.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import { authority, issue } from '../proxy/certificates.ts'
import { interleaved, median, type Outcome, type Pace, type Say } from './work.ts'

const IP = '127.0.0.1'
const ALPN = ['weft-tcp/1']
const PIECE = randomBytes(64 * 1024)
const AHEAD_BYTES = 1024 * 1024

const root = authority('bench')
const issued = issue(root, { uris: ['spiffe://bench/either'] })
const ticketSecret = randomBytes(32)

/** One of the transport's bodies, and a server on it. */
class Body implements Disposable {
  readonly name: 'weft' | 'weft-node'
  readonly #transport: Transport
  readonly #listener: number
  readonly #port: number
  readonly #acceptor: Acceptor
  readonly #credentials = new Credentials({ ...issued, rootsPem: root.certificatePem, ticketSecret })
  #onSecured: (channel: Channel) => void = () => {}

  constructor(name: 'weft' | 'weft-node', faults: string[]) {
    this.name = name
    const onBug = (thrown: unknown): void => void faults.push(String(thrown))
    this.#transport = name === 'weft' ? nativeTransport(native(), onBug) : nodeTransport(onBug)
    this.#listener = must(native().listenIn(-1, -1, { ip: IP, port: 0, backlog: 64, own: -1, mark: NO_MARK }), 'listen')
    this.#port = native().ends(this.#listener).localPort
    this.#acceptor = openAcceptor(this.#listener, {
      onAccept: (fd) => void this.#serve(this.#transport.adopt(fd, UNBOUNDED)).catch(onBug),
      onFault: onBug,
    })
  }

  async #serve(channel: Channel): Promise<void> {
    const how = { credentials: this.#credentials, alpn: ALPN, mutual: true } as const
    this.#onSecured((await channel.secure({ ...how, side: 'server' })).channel)
  }

  /** A connection, both ends secure. `session`: whose is resumed where there is one. */
  async connect(session: string | null): Promise<{ client: Channel; server: Channel; resumed: boolean }> {
    const arrived = new Promise<Channel>((resolve) => (this.#onSecured = resolve))
    const fd = must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')
    const to = { ip: IP, port: this.#port }
    const plain = await this.#transport.connect(fd, to, { timeoutMs: 5000, budget: UNBOUNDED })
    const how = { credentials: this.#credentials, alpn: ALPN, serverName: null, session } as const
    const { channel: client, resumed } = await plain.secure({ ...how, side: 'client' })
    return { client, server: await arrived, resumed }
  }

  [Symbol.dispose](): void {
    this.#acceptor.close()
    native().closeFd(this.#listener)
  }
}

function cpuSeconds(since?: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since)
  return (user + system) / 1e6
}

/** Handshakes for so long; how many a second of CPU, and the share that was resumed of all behind the first. */
async function shake(body: Body, seconds: number, resuming: boolean): Promise<{ rate: number; resumed: number }> {
  const before = process.cpuUsage()
  const until = performance.now() + 1000 * seconds
  let [count, resumed] = [0, 0]
  for (; performance.now() < until; count++) {
    const { client, server, resumed: isResumed } = await body.connect(resuming ? 'one' : null)
    if (isResumed) resumed++
    if (resuming) await exchange(server, client) // its ticket comes with what the server says
    client.close()
    server.close()
  }
  return { rate: count / cpuSeconds(before), resumed: Math.min(1, resumed / Math.max(1, count - 1)) }
}

function exchange(from: Channel, to: Channel): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new Error('a connection ended'))
    to.sink = { bytes: () => resolve(), end: gone, drained() {}, closed: gone, lost: reject }
    to.resume()
    from.write(PIECE, 0, 1, null)
  })
}

/** Sends for so long; megabytes a second of CPU, both ends. */
async function send(body: Body, seconds: number): Promise<number> {
  const { client, server } = await body.connect(null)
  let received = 0
  const done = Promise.withResolvers<void>()
  const until = performance.now() + 1000 * seconds
  const before = process.cpuUsage()
  const fill = (): void => {
    while (client.backlog < AHEAD_BYTES) client.write(PIECE, 0, PIECE.length, null)
  }
  client.sink = { bytes() {}, end() {}, drained: fill, closed() {}, lost: done.reject }
  server.sink = {
    bytes: (_, from, to) => {
      received += to - from
      if (performance.now() > until) done.resolve()
      else if (!client.blocked) fill()
    },
    end() {},
    drained() {},
    closed() {},
    lost: done.reject,
  }
  client.resume()
  server.resume()
  fill()
  await done.promise
  const spent = cpuSeconds(before)
  client.reset()
  server.reset()
  return received / 1e6 / spent
}

export async function tls(_names: readonly string[], pace: Pace, say: Say): Promise<Outcome> {
  const faults: string[] = []
  using disposables = new DisposableStack()
  const bodies = (['weft', 'weft-node'] as const).map((name) => disposables.use(new Body(name, faults)))
  const kinds = ['whole handshakes/CPU s', 'resumed handshakes/CPU s', 'MB/CPU s'] as const
  const measured = new Map(bodies.map(({ name }) => [name, kinds.map((): number[] => [])]))
  await interleaved(bodies, pace.rounds + 1, async (body, round) => {
    const whole = await shake(body, pace.seconds, false)
    const resumed = await shake(body, pace.seconds, true)
    if (whole.resumed > 0.1 || resumed.resumed < 0.9) {
      faults.push(`${body.name}: ${whole.resumed} of whole, ${resumed.resumed} of resumed handshakes were resumed`)
    }
    const figures = [whole.rate, resumed.rate, await send(body, pace.seconds)]
    if (round === 0) return // for warming up
    for (const [at, figure] of figures.entries()) measured.get(body.name)?.[at]?.push(figure)
    say(`tls: ${body.name}, round ${round} of ${pace.rounds}`)
  })
  const medians = [...measured].map(([name, rounds]) => [name, ...rounds.map((each) => median(each).toFixed(0))])
  return {
    title: 'TLS 1.3 by itself, both ends in one process',
    head: ['by', ...kinds],
    rows: medians,
    figures: Object.fromEntries(measured),
    verdicts: [],
    faults,
  }
}
