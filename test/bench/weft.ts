// Weft beside its peers: the whole data path in a process of its own. All that is not as on a node is the kernel's part,
// which gives each connection an original destination: here every one of them was going to one service.
//
//     node weft.ts PORT-TO-LISTEN-AT PORT-OF-THE-UPSTREAM FILE-FOR-ACCESS-RECORDS native|node

import { openSync } from 'node:fs'
import { openAcceptor } from '../../agent/kernel/acceptor.ts'
import type { Captured, PodSockets, Sockets } from '../../agent/kernel/kernel.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { endsOf } from '../../agent/kernel/sockets.ts'
import { DataPlane } from '../../agent/proxy/plane/plane.ts'
import { nativeTransport } from '../../agent/proxy/transport/transport-native.ts'
import { nodeTransport } from '../../agent/proxy/transport/transport-node.ts'
import { openAccessLog } from '../../agent/telemetry/access.ts'
import { CALLER, cluster, DIALLED, PODS_NETWORK } from './cluster.ts'

const TICK_MS = 500
const BACKLOG = 4096

const [listen = '', upstream = '', log = '', body = 'native'] = process.argv.slice(2)
const records = openSync(log, 'a')
const listener = must(
  native().listenIn(-1, -1, { ip: '127.0.0.1', port: Number(listen), backlog: BACKLOG, own: -1, mark: NO_MARK }),
  'listen',
)

/** A pod whose outbound connections come in at the listener; nothing comes in from outside. */
function podSockets(captured: Captured): PodSockets {
  return {
    captured,
    accept: (direction, options) =>
      direction === 'outbound' ? openAcceptor(listener, options) : { pause() {}, resume() {}, close() {} },
    socket: () => must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket'),
    close: () => {},
  }
}

const sockets: Sockets = {
  hold: podSockets,
  origin: () => DIALLED,
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
const { inventory, caller } = cluster(Number(upstream))
const why = plane.apply(inventory)
if (why !== null) throw new Error(why)
plane.capture({ uid: caller.uid, ips: [CALLER], cookie: '1', netns: -1, listeners: [] })
const ticker = setInterval(() => plane.tick(), TICK_MS)

process.once('SIGTERM', () => {
  clearInterval(ticker)
  void plane.stop(0).then(() => process.exit(0))
})
