// A node of the mesh in this process: the whole data path on the fake kernel, real applications behind it on loopback,
// and its books open to be read. Pods of the small world live at 10.244.x.y and fd00:10:244::y; their sockets are at
// 127.n.x.y and 127.n.0.y: the fake kernel has IPv4 alone, so of IPv6 only what is said goes through, not the sockets.

import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { FakeKernel } from '../../agent/kernel/fake.ts'
import type { Captured, Sockets } from '../../agent/kernel/kernel.ts'
import { familyOf, type IpFamily, type SocketAddress } from '../../agent/model/address.ts'
import { seeded } from '../../agent/model/request.fixture.ts'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import type { World } from '../../agent/model/world.fixture.ts'
import type { Limits } from '../../agent/proxy/plane/limits.ts'
import { DataPlane } from '../../agent/proxy/plane/plane.ts'
import type { Transport } from '../../agent/proxy/transport/transport.ts'
import { native } from '../../agent/kernel/native.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import type { AccessRecord } from '../../agent/telemetry/record.ts'
import { type Sample, SERIES, type SeriesName } from '../../agent/telemetry/series.ts'
import { NETWORK } from '../network.ts'

const real = (ip: string): string =>
  ip
    .replace(/^10\.244\./, NETWORK)
    .replace(/^fd00:10:244::([0-9a-f]{1,2})$/, (_, last: string) => `${NETWORK}0.${Number.parseInt(last, 16)}`)
const shown = (ip: string): string => (ip.startsWith(NETWORK) ? `10.244.${ip.slice(NETWORK.length)}` : ip)
const atReal = ({ ip, port }: SocketAddress): SocketAddress => ({ ip: real(ip), port })
const atShown = ({ ip, port }: SocketAddress): SocketAddress => ({ ip: shown(ip), port })

export interface MeshOptions {
  /** Names of the pods to capture; by default all of the world. */
  readonly captured?: readonly string[]
  readonly limits?: Partial<Limits>
  /** Takes the place of connecting upstream. */
  readonly connect?: Transport['connect']
  /** Another node of the world: pods that it has captured are reached through it. */
  readonly beyond?: () => Mesh
}

/** Starts a node over a world; everything is stopped when the test ends. */
export function mesh(t: TestContext, world: World, options: MeshOptions = {}): Mesh {
  const started = new Mesh(t, world, options)
  t.after(() => started.stop())
  return started
}

/** The transport's body that these tests stand on; WEFT_TRANSPORT=node for the one that needs no addon. */
const bodyOfTransport = (onBug: (thrown: unknown) => void): Transport =>
  process.env['WEFT_TRANSPORT'] === 'node' ? nodeTransport(onBug) : nativeTransport(native(), onBug)

export class Mesh {
  readonly kernel = new FakeKernel()
  readonly records: AccessRecord[] = []
  readonly faults: string[] = []
  /** Of the upstream sockets that were asked for, in order. */
  readonly families: IpFamily[] = []
  readonly plane: DataPlane
  readonly transport: Transport
  readonly #world: World
  readonly #beyond: MeshOptions['beyond']
  readonly #t: TestContext
  readonly #ticker: NodeJS.Timeout
  #version = 1

  constructor(t: TestContext, world: World, { captured, limits = {}, connect, beyond }: MeshOptions) {
    this.#t = t
    this.#world = world
    this.#beyond = beyond
    const transport = bodyOfTransport((thrown) => this.faults.push(String((thrown as Error).stack)))
    this.transport = transport
    this.plane = new DataPlane({
      sockets: shownSockets(this.kernel.sockets(), this.families),
      access: {
        write: (bytes, length) => this.records.push(JSON.parse(bytes.toString('latin1', 0, length)) as AccessRecord),
        dropped: 0,
        close: () => Promise.resolve(),
      },
      onFault: (why) => this.faults.push(why),
      limits,
      random: seeded(20260102), // choices are the same at every run
      transport: {
        adopt: (fd, budget) => transport.adopt(fd, budget),
        connect: connect ?? this.connect,
        get nowMs() {
          return transport.nowMs
        },
        tick: (nowMs) => transport.tick(nowMs),
        get stagedBytes() {
          return transport.stagedBytes
        },
      },
    })
    this.apply()
    const pods = captured?.map((name) => world.pod(name)) ?? world.inventory().workloads
    for (const { uid, ips } of pods) {
      const captured = this.kernel.capture({ uid, ips: [real(ips[0] ?? '')], netns: -1, terms: PLAIN_TERMS })
      this.plane.capture({ ...captured, ips: [...captured.ips, ...ips.filter((ip) => familyOf(ip) === 6)] })
    }
    this.#ticker = setInterval(() => this.plane.tick(), 20)
  }

  /** Connects to where an address of the world is in truth. */
  readonly connect: Transport['connect'] = (fd, to, how) => {
    const { localIp, localPort } = native().ends(fd)
    const steered = this.#beyond?.().kernel.steer({ ip: localIp, port: localPort }, atReal(to))
    return this.transport.connect(fd, steered ?? atReal(to), how)
  }

  /** Puts the world as it is now in force. */
  apply(): void {
    const why = this.plane.apply(this.#world.inventory(this.#version++))
    if (why !== null) throw new Error(why)
  }

  /** An HTTP application in a pod. */
  async http(pod: string, listener: RequestListener, port = 8080): Promise<Server> {
    const server = createServer({ keepAliveTimeout: 30_000 }, listener)
    await this.#listen(server, pod, port)
    this.#t.after(() => {
      server.closeAllConnections()
      server.close()
    })
    return server
  }

  /** A TCP application in a pod. */
  async tcp(pod: string, onConnection: (socket: Socket) => void, port = 8080): Promise<TcpServer> {
    const open = new Set<Socket>()
    const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
      socket.on('error', () => {})
      onConnection(socket)
    })
    await this.#listen(server, pod, port)
    this.#t.after(() => {
      for (const socket of open) socket.destroy()
      server.close()
    })
    return server
  }

  /** An application in a pod dials an address of the world. */
  async dial(pod: string, to: SocketAddress): Promise<Socket> {
    const socket = await this.kernel.dial(real(this.#ip(pod)), to)
    return this.#kept(socket)
  }

  /** Somebody outside dials a pod. */
  async reach(pod: string, port = 8080): Promise<Socket> {
    return this.#kept(await this.kernel.reach({ ip: real(this.#ip(pod)), port }))
  }

  /** The sum of a series' samples that carry these labels. */
  count(name: SeriesName, labels: Readonly<Record<string, string>> = {}): number {
    const wanted = Object.entries(labels)
    const matches = (sample: Sample): boolean =>
      sample.name === name &&
      wanted.every(([label, value]) => sample.labels[SERIES[name].labels.indexOf(label as never)] === value)
    return this.plane
      .counters()
      .filter(matches)
      .reduce((sum, sample) => sum + ('value' in sample ? sample.value : sample.counts.reduce((a, b) => a + b)), 0)
  }

  /** Waits until something holds. Throws with what it saw last where it does not within 2 s. */
  async until(holds: () => boolean, what: string): Promise<void> {
    for (let i = 0; i < 400; i++) {
      if (holds()) return
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    throw new Error(
      `${what} did not come about; records: ${JSON.stringify(this.records, null, 1)}; ${this.faults.join()}`,
    )
  }

  /** Where a pod's sockets are, for an application that is not of this process. */
  addressOf(pod: string): string {
    return real(this.#ip(pod))
  }

  async stop(): Promise<void> {
    clearInterval(this.#ticker)
    await this.plane.stop(0)
    this.kernel.close('remove')
  }

  #ip(pod: string): string {
    return this.#world.pod(pod).ips[0] ?? ''
  }

  #kept(socket: Socket): Socket {
    socket.on('error', () => {})
    this.#t.after(() => socket.destroy())
    return socket
  }

  async #listen(server: TcpServer, pod: string, port: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    server.listen(port, real(this.#ip(pod)), resolve)
    await promise
  }
}

function shownSockets(sockets: Sockets, families: IpFamily[]): Sockets {
  return {
    ...sockets,
    hold: (captured) => {
      const pod = sockets.hold(captured)
      return {
        captured,
        accept: (direction, options) => pod.accept(direction, options),
        socket: (options) => {
          families.push(options.family)
          return pod.socket({ ...options, family: 4 })
        },
        close: () => pod.close(),
      }
    },
    ends: (fd) => {
      const { local, remote } = sockets.ends(fd)
      return { local: atShown(local), remote: atShown(remote) }
    },
  }
}

/** The listener that a captured pod's IPv4 connections are turned to. */
export function outboundOf({ listeners }: Captured): Captured['listeners'][number] {
  const found = listeners.find(({ direction, ip }) => direction === 'outbound' && familyOf(ip) === 4)
  if (found === undefined) throw new Error('this pod has no outbound listener')
  return found
}

/** Reads a socket to its end; how it ended is part of the answer. */
export function drainSocket(socket: Socket): Promise<{ bytes: Buffer; how: 'end' | 'reset' }> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', () => resolve({ bytes: Buffer.concat(chunks), how: 'end' }))
    socket.on('error', () => resolve({ bytes: Buffer.concat(chunks), how: 'reset' }))
    socket.resume()
  })
}

/** How a connection ends that gets no byte; here a reset may overtake the word that it was made. */
export async function ending(dialling: Promise<Socket>): Promise<string> {
  try {
    return (await drainSocket(await dialling)).how
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNRESET' ? 'reset' : String(error)
  }
}

/** Reads until the text so far satisfies `enough`. */
export function readUntil(socket: Socket, enough: (text: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1')
      if (!enough(text)) return
      stop()
      resolve(text)
    }
    const onEnd = (): void => {
      stop()
      reject(new Error(`ended after ${JSON.stringify(text.slice(0, 2000))}`))
    }
    const stop = (): void => {
      socket.off('data', onData)
      socket.off('end', onEnd)
      socket.off('error', onEnd)
      socket.pause()
    }
    socket.on('data', onData)
    socket.on('end', onEnd)
    socket.on('error', onEnd)
    socket.resume()
  })
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** One request on a held connection; the answer must carry a content-length or be chunked. */
export async function ask(socket: Socket, request: string): Promise<Answer> {
  socket.write(request)
  const text = await readUntil(socket, (got) => completeAt(got) >= 0)
  return parseAnswer(text)
}

const LAST_CHUNK = /\r\n0\r\n(?:[^\r\n]+\r\n)*\r\n$/

function completeAt(text: string): number {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return -1
  const head = text.slice(0, end).toLowerCase()
  const length = /content-length: (\d+)/.exec(head)
  if (length !== null) return text.length >= end + 4 + Number(length[1]) ? end : -1
  if (head.includes('transfer-encoding: chunked')) return LAST_CHUNK.test(text) ? end : -1
  return end
}

export function parseAnswer(text: string): Answer {
  const end = text.indexOf('\r\n\r\n')
  const [first = '', ...lines] = text.slice(0, end).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  return { status: Number(first.split(' ')[1]), headers, body: text.slice(end + 4) }
}
