// Weft beside its peers: the whole data path in a process of its own. All that is not as on a node is the kernel's part,
// which gives each connection an original destination: here every one of them was going to one service. Of a pair there are
// two such processes, each a node: what the caller's sends to a pod of the other, it sends to a listener of the callee's.
//
//     node weft.ts HOSTING-AS-JSON

import { openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openAcceptor } from '../../agent/kernel/acceptor.ts'
import type { Acceptor, Captured, Direction, PodSockets, Sockets } from '../../agent/kernel/kernel.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { endsOf } from '../../agent/kernel/sockets.ts'
import type { SocketAddress } from '../../agent/model/address.ts'
import type { Workload } from '../../agent/model/workload.ts'
import { DataPlane } from '../../agent/proxy/plane/plane.ts'
import type { Channel } from '../../agent/proxy/transport/transport.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import { openAccessLog } from '../../agent/telemetry/access.ts'
import { CALLER, cluster, DIALLED, DIALLED_RAW, IDENTITIES, PODS_NETWORK } from './cluster.ts'
import { type Reuse, resumptionsFile } from './pair.ts'

/** What such a process is told. */
export interface Hosting {
  /** Where it takes HTTP requests, and where whole flows. */
  readonly port: number
  readonly rawPort: number
  /** Where the pods listen: of the service that is asked, and of the one that takes flows. */
  readonly upstream: number
  readonly sink: number
  /** The file for records. */
  readonly log: string
  readonly body: 'native' | 'node'
  readonly services: number
  readonly pair: Pairing | null
}

/** What it is told of a pair that it is an end of. */
export interface Pairing {
  readonly side: 'caller' | 'callee'
  readonly reuse: Reuse
  /** Where the certificates are. */
  readonly folder: string
  /** Where the callee's proxy listens in place of `upstream` and `sink`. */
  readonly inside: number
  readonly insideRaw: number
}

const TICK_MS = 500
const BACKLOG = 4096
const LOOPBACK = '127.0.0.'
/** The one pod of the load makes all handshakes of a node that has many: what one may make in a second is another test's. */
const HANDSHAKES_PER_SECOND = 1e6

const { port, rawPort, upstream, sink, log, body, services, pair } = JSON.parse(process.argv[2] ?? '') as Hosting
const isCallee = pair?.side === 'callee'
const records = openSync(log, 'a')
const { inventory, caller, callees } = cluster({ upstream, sink }, services, pair !== null)

function listen(at: SocketAddress): number {
  return must(native().listenIn(-1, -1, { ...at, backlog: BACKLOG, own: -1, mark: NO_MARK }), 'listen')
}

/** Where a port of the pods is reached from outside. */
function insideOf(of: number): number {
  if (pair === null) return of
  return of === sink ? pair.insideRaw : pair.inside
}

/** nothing is forwarded to a loopback address: the pods have others, and their sockets are there all the same */
const realIp = (ip: string): string => ip.replace(PODS_NETWORK, LOOPBACK)

/** Connections of the load come in at the caller's pod, those of another node at the callees'. */
function listenersOf({ uid, ips }: Captured, direction: Direction): number[] {
  if (direction === 'outbound') {
    return uid === caller.uid ? [port, rawPort].map((each) => listen({ ip: CALLER, port: each })) : []
  }
  const own = callees.filter(({ pod }) => pod.uid === uid)
  return own.map((callee) => listen({ ip: realIp(ips[0] ?? ''), port: insideOf(callee.port) }))
}

function podSockets(captured: Captured): PodSockets {
  return {
    captured,
    accept: (direction, options) => {
      const all = listenersOf(captured, direction).map((listener) => openAcceptor(listener, options))
      const each = (act: (acceptor: Acceptor) => void) => (): void => all.forEach(act)
      return {
        pause: each((one) => one.pause()),
        resume: each((one) => one.resume()),
        close: each((one) => one.close()),
      }
    },
    socket: () => must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket'),
    close: () => {},
  }
}

/** What the caller's node has dialled, in place of where the callee's listens for it. */
function dialledOf({ ip, port: at }: SocketAddress): SocketAddress {
  return { ip: ip.replace(LOOPBACK, PODS_NETWORK), port: at === pair?.insideRaw ? sink : upstream }
}

const sockets: Sockets = {
  hold: podSockets,
  origin: (fd) => (endsOf(fd).local.port === rawPort ? DIALLED_RAW : DIALLED),
  ends: (fd) => {
    const ends = endsOf(fd)
    return isCallee ? { ...ends, local: dialledOf(ends.local) } : ends
  },
  setUserTimeout: (fd, ms) => void native().setUserTimeout(fd, ms),
  close: (fd) => void native().closeFd(fd),
}

const onBug = (thrown: unknown): void => void process.stderr.write(`${String(thrown)}\n`)
const transport = body === 'native' ? nativeTransport(native(), onBug) : nodeTransport(onBug)

/** Its handshakes are whole, whatever sessions there are. */
function forgetful(channel: Channel): Channel {
  const secure = channel.secure.bind(channel)
  channel.secure = (how) => secure(how.side === 'client' ? { ...how, session: null } : how)
  return channel
}

const plane = new DataPlane({
  sockets,
  transport: {
    adopt: (fd, budget) => transport.adopt(fd, budget),
    connect: async (fd, to, how) => {
      const at = { ip: realIp(to.ip), port: isCallee ? to.port : insideOf(to.port) }
      const connecting = transport.connect(fd, at, how)
      return pair?.reuse === 'nothing' ? forgetful(await connecting) : connecting
    },
    get nowMs() {
      return transport.nowMs
    },
    tick: (nowMs) => transport.tick(nowMs),
    get stagedBytes() {
      return transport.stagedBytes
    },
  },
  access: openAccessLog(records),
  onFault: (why) => process.stderr.write(`${why}\n`),
  limits: {
    podHandshakesPerSecond: HANDSHAKES_PER_SECOND,
    // between the two only: the callee's legs to its applications are kept as ever
    ...(pair?.side === 'caller' && pair.reuse !== 'connection' ? { pooledIdleMs: 0 } : {}),
  },
})
const why = plane.apply(inventory)
if (why !== null) throw new Error(why)
if (pair !== null) identify(pair)
const own: readonly Workload[] = isCallee ? callees.map(({ pod }) => pod) : [caller]
for (const [index, { uid, ips }] of own.entries()) {
  plane.capture({ uid, ips, cookie: String(index + 1), netns: -1, listeners: [] })
}
const ticker = setInterval(() => plane.tick(), TICK_MS)

/** Takes the certificate of this end's pods. */
function identify({ side, folder }: Pairing): void {
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8')
  plane.identify({
    uri: IDENTITIES[side],
    certificatePem: read(`${side}.pem`),
    privateKeyPem: read(`${side}.pem.key`),
    rootsPem: read('root.pem'),
    ticketSecret: Buffer.alloc(32, side),
  })
}

process.on('SIGUSR2', () => {
  const place = resumptionsFile(log)
  let count = 0
  for (const { name, labels, ...sample } of plane.counters()) {
    if (name === 'weft_tls_handshakes_total' && labels.includes('resumed') && 'value' in sample) count += sample.value
  }
  writeFileSync(`${place}.part`, String(count))
  renameSync(`${place}.part`, place)
})

process.once('SIGTERM', () => {
  clearInterval(ticker)
  void plane.stop(0).then(() => process.exit(0))
})
