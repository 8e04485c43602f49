// Two ends of a connection, each on the body of Transport that a test asks for, and what they heard.

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { openAcceptor } from '../../agent/kernel/acceptor.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { UNBOUNDED } from '../../agent/proxy/transport/budget.ts'
import { Credentials, type CredentialsOptions, type Secured, TlsError } from '../../agent/proxy/transport/tls.ts'
import type { Channel, ChannelSink, Transport } from '../../agent/proxy/transport/transport.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import { NETWORK } from '../network.ts'
import { authority, issue } from './certificates.ts'

export const IP = `${NETWORK}9.2`
/** For what comes at once, on a machine that has much else to do and a build that watches itself. */
const PATIENCE_MS = 10_000

export type Body = 'native' | 'node'
export const BODIES: readonly Body[] = ['native', 'node']
/** Each body at either end. */
export const PAIRS = BODIES.flatMap((server) =>
  BODIES.map((client) => ({ server, client, name: `${client} to ${server}` })),
)

export const transport = (body: Body, thrown: unknown[] = []): Transport =>
  body === 'native'
    ? nativeTransport(native(), (error) => thrown.push(error))
    : nodeTransport((error) => thrown.push(error))

const freshSocket = (): number => must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')

/** Connects two channels, the server's first. They are reset when the test ends. */
export async function channels(t: TestContext, server: Transport, client: Transport): Promise<[Channel, Channel]> {
  const { accepted, port } = listening(server)
  const there = await client.connect(freshSocket(), { ip: IP, port }, { timeoutMs: PATIENCE_MS, budget: UNBOUNDED })
  const here = await accepted
  t.after(() => {
    here.reset()
    there.reset()
  })
  return [here, there]
}

export interface Middle {
  readonly pair: [server: Channel, client: Channel]
  readonly toServer: Socket
  readonly toClient: Socket
}

/** The same, with two sockets between them that carry nothing by themselves. */
export async function channelsApart(t: TestContext, server: Transport, client: Transport): Promise<Middle> {
  const { accepted, port } = listening(server)
  const toServer = connect({ port, host: IP, allowHalfOpen: true, noDelay: true })
  const [here, { channel: there, socket: toClient }] = await Promise.all([accepted, dialled(client)])
  for (const socket of [toServer, toClient]) socket.on('error', () => {})
  t.after(() => {
    here.reset()
    there.reset()
    toServer.destroy()
    toClient.destroy()
  })
  return { pair: [here, there], toServer, toClient }
}

function listening(server: Transport): { accepted: Promise<Channel>; port: number } {
  const wish = { ip: IP, port: 0, backlog: 16, own: -1, mark: NO_MARK }
  const listener = must(native().listenIn(-1, -1, wish), 'listen')
  const accepted = Promise.withResolvers<Channel>()
  const acceptor = openAcceptor(listener, {
    onAccept: (fd) => accepted.resolve(server.adopt(fd, UNBOUNDED)),
    onFault: accepted.reject,
  })
  const close = (): void => {
    acceptor.close()
    native().closeFd(listener)
  }
  return { accepted: accepted.promise.finally(close), port: native().ends(listener).localPort }
}

async function dialled(client: Transport): Promise<{ channel: Channel; socket: Socket }> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }).listen(0, IP)
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const { port } = server.address() as { port: number }
  const channel = await client.connect(freshSocket(), { ip: IP, port }, { timeoutMs: PATIENCE_MS, budget: UNBOUNDED })
  const [socket] = await accepted
  server.close()
  return { channel, socket }
}

/** A channel and, at its other end, a socket of node:net. */
export async function withSocket(t: TestContext, transport: Transport): Promise<[Channel, Socket]> {
  const { channel, socket } = await dialled(transport)
  socket.on('error', () => {})
  t.after(() => {
    channel.reset()
    socket.destroy()
  })
  return [channel, socket]
}

// --- credentials

export const ROOT = authority('root')
export const FOREIGN = authority('foreign')
export const CALLER = 'spiffe://mesh.example/ns/shop/sa/caller'
export const CALLEE = 'spiffe://mesh.example/ns/shop/sa/callee'

export function credentials(
  uri: string,
  change: Partial<CredentialsOptions> = {},
  wish: Parameters<typeof issue>[1] = {},
): Credentials {
  return new Credentials({ ...issue(ROOT, { uris: [uri], ...wish }), rootsPem: ROOT.certificatePem, ...change })
}

export const callee = credentials(CALLEE)
export const caller = credentials(CALLER)

export const asServer = (how: object = {}) =>
  ({ side: 'server', credentials: callee, alpn: ['weft-http/1', 'weft-tcp/1'], mutual: true, ...how }) as const
export const asClient = (how: object = {}) =>
  ({ side: 'client', credentials: caller, alpn: ['weft-tcp/1'], serverName: null, session: null, ...how }) as const

// --- both ends

export interface End {
  readonly secured: Secured
  readonly channel: Channel
  /** What its sink heard, in order; bytes as text. */
  readonly heard: string[]
}

export function listenTo(secured: Secured, sink: Partial<ChannelSink> = {}): End {
  const heard: string[] = []
  const { channel } = secured
  channel.sink = {
    bytes: (arena, from, to) => heard.push(arena.toString('latin1', from, to)),
    end: () => heard.push('(end)'),
    drained: () => heard.push('(drained)'),
    closed: () => heard.push('(closed)'),
    lost: (cause) => heard.push(`(lost ${(cause as NodeJS.ErrnoException).code})`),
    ...sink,
  }
  return { secured, channel, heard }
}

/** Secures both, and resumes neither. */
export async function handshake(
  [server, client]: readonly [Channel, Channel],
  serverHow: object = {},
  clientHow: object = {},
): Promise<{ server: End; client: End }> {
  const [one, other] = await Promise.all([server.secure(asServer(serverHow)), client.secure(asClient(clientHow))])
  return { server: listenTo(one), client: listenTo(other) }
}

const often = { rekeyBytes: 100_000 }
const restless = { callee: credentials(CALLEE, often), caller: credentials(CALLER, often) }

/** Secures who dialled and who was dialled; keys change often, where the body can. */
export async function securedPair(dialler: Channel, dialled: Channel): Promise<readonly [Channel, Channel]> {
  const [one, other] = await Promise.all([
    dialler.secure(asClient({ credentials: restless.caller })),
    dialled.secure(asServer({ credentials: restless.callee })),
  ])
  return [one.channel, other.channel]
}

/** Why a handshake failed. */
export async function reasonOf(securing: Promise<Secured>): Promise<string> {
  try {
    const { channel } = await securing
    channel.resume()
    return 'secured'
  } catch (error) {
    const { code, cause } = error as { code: string; cause: NodeJS.ErrnoException & { reason?: string } }
    const why = cause instanceof TlsError ? cause.reason : (cause.code ?? cause.message)
    return `${code} ${why}`
  }
}

/** Writes `size` bytes as fast as they leave; `at` says what each is. */
export function pour({ channel }: End, size: number, at: (index: number) => number): void {
  const piece = Buffer.allocUnsafe(100_000)
  let written = 0
  const go = (): void => {
    while (written < size && !channel.blocked && channel.backlog < 1 << 20) {
      const length = Math.min(piece.length, size - written)
      for (let i = 0; i < length; i++) piece[i] = at(written + i)
      channel.write(piece, 0, length, null)
      written += length
    }
    if (written < size) setImmediate(go)
    else channel.shutdown()
  }
  go()
}

export const soon = (ms = 40): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
export const write = (channel: Channel, text: string): void =>
  channel.write(Buffer.from(text), 0, Buffer.byteLength(text), null)

/** Waits until something holds, at most a few seconds. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  for (const limit = performance.now() + PATIENCE_MS; !holds(); await soon(5)) {
    if (performance.now() > limit) throw new Error(`never: ${what}`)
  }
}
