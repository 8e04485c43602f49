// Weft beside its peers: the whole data path in a process of its own. All that is not as on a node is the kernel's part,
// which gives each connection an original destination: here every one of them was going to one service.
//
//     node weft.ts PORT-FOR-HTTP PORT-FOR-FLOWS PORT-OF-THE-UPSTREAM PORT-OF-THE-SINK FILE-FOR-RECORDS native|node SERVICES

import { openSync } from 'node:fs'
import { openAcceptor } from '../../agent/kernel/acceptor.ts'
import type { Acceptor, Captured, PodSockets, Sockets } from '../../agent/kernel/kernel.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { endsOf } from '../../agent/kernel/sockets.ts'
import { DataPlane } from '../../agent/proxy/plane/plane.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import { openAccessLog } from '../../agent/telemetry/access.ts'
import { CALLER, cluster, DIALLED, DIALLED_RAW, PODS_NETWORK } from './cluster.ts'

const TICK_MS = 500
const BACKLOG = 4096

const [port = '', rawPort = '', upstream = '', sink = '', log = '', body = 'native', services = '100'] =
  process.argv.slice(2)
const records = openSync(log, 'a')

function listen(at: string): number {
  const wish = { ip: '127.0.0.1', port: Number(at), backlog: BACKLOG, own: -1, mark: NO_MARK }
  return must(native().listenIn(-1, -1, wish), 'listen')
}

const listeners = [listen(port), listen(rawPort)]

/** A pod whose outbound connections come in at the listeners; nothing comes in from outside. */
function podSockets(captured: Captured): PodSockets {
  return {
    captured,
    accept: (direction, options) => {
      const all = direction === 'outbound' ? listeners.map((listener) => openAcceptor(listener, options)) : []
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

const sockets: Sockets = {
  hold: podSockets,
  origin: (fd) => (endsOf(fd).local.port === Number(rawPort) ? DIALLED_RAW : DIALLED),
  ends: endsOf,
  setUserTimeout: (fd, ms) => void native().setUserTimeout(fd, ms),
  close: (fd) => void native().closeFd(fd),
}

const onBug = (thrown: unknown): void => void process.stderr.write(`${String(thrown)}\n`)
const transport = body === 'native' ? nativeTransport(native(), onBug) : nodeTransport(onBug)

const plane = new DataPlane({
  sockets,
  transport: {
    adopt: (fd, budget) => transport.adopt(fd, budget),
    // nothing is forwarded to a loopback address: the pods have others, and their sockets are here all the same
    connect: (fd, { ip, port }, how) => transport.connect(fd, { ip: ip.replace(PODS_NETWORK, '127.0.0.'), port }, how),
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
})
const { inventory, caller } = cluster({ upstream: Number(upstream), sink: Number(sink) }, Number(services))
const why = plane.apply(inventory)
if (why !== null) throw new Error(why)
plane.capture({ uid: caller.uid, ips: [CALLER], cookie: '1', netns: -1, listeners: [] })
const ticker = setInterval(() => plane.tick(), TICK_MS)

process.once('SIGTERM', () => {
  clearInterval(ticker)
  void plane.stop(0).then(() => process.exit(0))
})
