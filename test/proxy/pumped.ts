// Two connections with a transport between them that are pumped, each plain or TLS, and applications at both ends in this
// process.

import { once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { type Budget, UNBOUNDED } from '../../agent/proxy/transport/budget.ts'
import type { PumpSink } from '../../agent/proxy/transport/pump.ts'
import type { Channel, Transport } from '../../agent/proxy/transport/transport.ts'
import { issue } from './certificates.ts'
import { asClient, CALLEE, CALLER, credentials, ROOT } from './secured.ts'

/** What the bytes of every flow are: those of a place repeat only after a length that no buffer has. */
const PATTERN = Buffer.from(Uint32Array.from({ length: 16_381 }, (_, i) => Math.imul(i + 1, 2_654_435_761)).buffer)

/** Bytes `[from, from + length)` of what is sent by one end. No two ends send the same. */
function bytesAt(flow: number, from: number, length: number): Buffer {
  const out = Buffer.allocUnsafe(length)
  for (let done = 0; done < length;) {
    done += PATTERN.copy(out, done, (7919 * flow + from + done) % PATTERN.length)
  }
  return out
}
let flows = 0

/** Which of a pump's two ends are TLS. */
export interface Secure {
  readonly a: boolean
  readonly b: boolean
}
export const PLAIN: Secure = { a: false, b: false }

/** Keys change often, where the body can. */
const restless = credentials(CALLER, { rekeyBytes: 100_000 })
const { certificatePem: cert, privateKeyPem: key } = issue(ROOT, { uris: [CALLEE] })
const outside = createSecureContext({ cert, key, ca: ROOT.certificatePem, minVersion: 'TLSv1.3' })

/** An application's end: what it has sent and got, and how it ended. */
export class Peer {
  readonly socket: Socket
  /** The connection's own, where `socket` is TLS upon it. */
  readonly #wire: Socket
  readonly flow = flows++
  readonly closed: Promise<void>
  /** Whose bytes it is to get. */
  from = -1
  sent = 0
  got = 0
  ended = false
  /** The error by which it was lost. */
  lost: string | null = null
  /** Where the first byte came that is not the flow's. */
  wrongAt: number | null = null

  constructor(socket: Socket, wire = socket) {
    this.socket = socket
    this.#wire = wire
    socket.on('data', (chunk: Buffer) => {
      if (!chunk.equals(bytesAt(this.from, this.got, chunk.length))) this.wrongAt ??= this.got
      this.got += chunk.length
    })
    socket.on('end', () => (this.ended = true))
    socket.on('error', (error: NodeJS.ErrnoException) => (this.lost = String(error.code)))
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
  }

  /** Ends the connection by RST. */
  reset(): void {
    this.#wire.resetAndDestroy()
  }

  /** The next bytes of what it sends. */
  next(length: number): Buffer {
    const bytes = bytesAt(this.flow, this.sent, length)
    this.sent += length
    return bytes
  }

  /** Sends so many bytes. Resolves once the kernel has them. */
  async send(length: number): Promise<void> {
    const bytes = this.next(length)
    await new Promise<void>((resolve) => this.socket.write(bytes, () => resolve()))
  }
}

/** Addresses that connections come from. */
const SOURCES = 32

/** A server, and connections to it whose other end is a channel. */
export class Ground {
  readonly transport: Transport
  readonly #server: Server
  /** What was accepted and is not yet asked for, by the address that it came from. */
  readonly #accepted = new Map<string, Socket>()
  readonly #asked = new Map<string, (socket: Socket) => void>()
  readonly #ip: string
  readonly #secure: Secure
  #dialled = 0

  private constructor(transport: Transport, server: Server, ip: string, secure: Secure) {
    this.transport = transport
    this.#secure = secure
    this.#server = server
    this.#ip = ip
    server.on('connection', (socket) => {
      const from = `${socket.remoteAddress}:${socket.remotePort}`
      const asked = this.#asked.get(from)
      if (asked === undefined) this.#accepted.set(from, socket)
      else asked(socket)
      this.#asked.delete(from)
    })
  }

  static async make(transport: Transport, ip: string, secure = PLAIN): Promise<Ground> {
    const server = createServer({ allowHalfOpen: true })
    await new Promise<void>((resolve) => server.listen({ port: 0, host: ip, backlog: 1024 }, resolve))
    return new Ground(transport, server, ip, secure)
  }

  /** A channel, and who is at its other end. */
  async end(budget: Budget, isSecure: boolean): Promise<{ readonly channel: Channel; readonly peer: Peer }> {
    const { port } = this.#server.address() as { port: number }
    const channel = await this.dial(port, budget)
    const { ip, port: source } = channel.ends?.local ?? { ip: '', port: 0 }
    const wire = await this.#acceptedFrom(`${ip}:${source}`)
    if (!isSecure) return { channel, peer: new Peer(wire) }
    const socket = new TLSSocket(wire, { isServer: true, secureContext: outside })
    const isSecured = once(socket, 'secure') // one that ends before says so by FIN alone
    const secured = await channel.secure(asClient({ credentials: restless, alpn: [] }))
    await isSecured
    return { channel: secured.channel, peer: new Peer(socket, wire) }
  }

  /** A channel to a port of this address. */
  dial(port: number, budget: Budget = UNBOUNDED): Promise<Channel> {
    const fd = must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')
    // from one address there are ports for a minute's churn only
    must(native().bindSource(fd, this.#ip.replace(/\d+$/, String(100 + (this.#dialled++ % SOURCES)))), 'bind')
    return this.transport.connect(fd, { ip: this.#ip, port }, { timeoutMs: 5000, budget })
  }

  #acceptedFrom(from: string): Promise<Socket> {
    const socket = this.#accepted.get(from)
    this.#accepted.delete(from)
    return socket === undefined ? new Promise((resolve) => this.#asked.set(from, resolve)) : Promise.resolve(socket)
  }

  /** Two of them, not pumped yet. */
  async pair(budget: Budget = UNBOUNDED): Promise<Pair> {
    const [a, b] = [await this.end(budget, this.#secure.a), await this.end(budget, this.#secure.b)]
    a.peer.from = b.peer.flow
    b.peer.from = a.peer.flow
    return { a: a.peer, b: b.peer, channels: [a.channel, b.channel], heard: new Heard(a.channel) }
  }

  /** Two that are pumped. */
  async pumped(budget: Budget = UNBOUNDED): Promise<Pair> {
    const pair = await this.pair(budget)
    pair.channels[0].pump(pair.channels[1], pair.heard)
    return pair
  }

  close(): void {
    this.#server.close()
  }
}

export interface Pair {
  readonly a: Peer
  readonly b: Peer
  readonly channels: readonly [Channel, Channel]
  readonly heard: Heard
}

/** What is heard of a pump. */
export class Heard implements PumpSink {
  readonly bytes: [number, number] = [0, 0]
  end: string | null = null
  readonly done: Promise<void>
  readonly #a: Channel
  readonly #resolve: () => void

  constructor(a: Channel) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.done = promise
    this.#resolve = resolve
    this.#a = a
  }

  passed(from: Channel, bytes: number): void {
    if (this.end !== null) throw new Error('bytes were told of behind the end')
    this.bytes[from === this.#a ? 0 : 1] += bytes
  }

  closed(): void {
    this.#ends('closed')
  }

  lost(side: Channel, cause: Error): void {
    this.#ends(`${side === this.#a ? 'a' : 'b'} ${(cause as NodeJS.ErrnoException).code}`)
  }

  #ends(how: string): void {
    if (this.end !== null) throw new Error(`${how} behind ${this.end}`)
    this.end = how
    this.#resolve()
  }
}

/** Descriptors of this process: all, and those of pipes. */
export function descriptors(): { readonly all: number; readonly pipes: number } {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return null // the one that read the folder
    }
  })
  const open = targets.filter((target) => target !== null)
  return { all: open.length, pipes: open.filter((target) => target.startsWith('pipe:')).length }
}

/** Waits until something holds. Throws with what `seen` tells where it does not. */
export async function until(holds: () => boolean, seen: () => unknown, ms = 10_000): Promise<void> {
  for (const limit = performance.now() + ms; !holds();) {
    if (performance.now() > limit) throw new Error(`not in ${ms} ms: ${JSON.stringify(seen())}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
