// The two worlds that the contract is run in: real pods in network namespaces, and the fake's loopback addresses. Both
// let a test play the application inside a pod and a caller outside.
import { closeSync, openSync } from 'node:fs'
import net from 'node:net'
import { openAcceptor } from '../../agent/kernel/acceptor.ts'
import { type KernelOptions, openKernel, openSockets } from '../../agent/kernel/bpf.ts'
import { FakeKernel } from '../../agent/kernel/fake.ts'
import type { Kernel, PodSource, Sockets } from '../../agent/kernel/kernel.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { familyOf } from '../../agent/model/address.ts'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import type { SocketAddress } from '../../agent/model/address.ts'
import { TestNode } from './netns.ts'

/** A pod by its IPv4 address, which most tests speak of. */
export interface WorldPod extends PodSource {
  readonly ip: string
}

/** A pod that is a namespace has IPv6 too. */
export interface NetnsPod extends WorldPod {
  readonly ip6: string
}

export interface World {
  readonly kernel: Kernel
  readonly sockets: Sockets
  pod(): WorldPod
  /** An application in the pod dials. */
  dial(pod: WorldPod, to: SocketAddress): Promise<net.Socket>
  /** A caller outside of every pod dials. */
  reach(to: SocketAddress): Promise<net.Socket>
  /** An application in the pod listens and gives each connection to `serve`. */
  serve(pod: WorldPod, port: number, serve: (socket: net.Socket) => void): void
  close(): Promise<void>
}

/** Connects a plain fd. */
export async function connect(fd: number, to: SocketAddress): Promise<net.Socket> {
  const socket = new net.Socket({ fd, manualStart: true } as net.SocketConstructorOpts)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('error', reject)
  socket.connect({ host: to.ip, port: to.port }, resolve)
  await promise
  socket.off('error', reject)
  socket.on('error', () => socket.destroy())
  return socket
}

/** What an application does: listens at ip:port in a namespace (-1: this one). */
function listenAs(pod: WorldPod, home: number, port: number, serve: (socket: net.Socket) => void): () => void {
  const listener = must(
    native().listenIn(pod.netns, home, { ip: pod.ip, port, backlog: 1024, own: -1, mark: NO_MARK }),
    'listen as an application',
  )
  const open = new Set<net.Socket>()
  const acceptor = openAcceptor(listener, {
    onAccept: (fd) => {
      const socket = new net.Socket({ fd })
      open.add(socket)
      socket.on('close', () => open.delete(socket))
      socket.on('error', () => socket.destroy())
      serve(socket)
    },
    onFault: (error) => {
      throw error
    },
  })
  return () => {
    acceptor.close()
    native().closeFd(listener)
    for (const socket of open) socket.destroy()
  }
}

/** Sockets whose pods are closed with the world. */
function closing(sockets: Sockets, undo: (() => void)[]): Sockets {
  const hold: Sockets['hold'] = (captured) => {
    const pod = sockets.hold(captured)
    undo.push(() => pod.close())
    return pod
  }
  return { ...sockets, hold }
}

/** The world of the real body. */
export interface BpfWorld extends World {
  readonly node: TestNode
  pod(): NetnsPod
}

/** Pods are namespaces; this process is the agent, in the machine's own. */
export function bpfWorld(cgroupRoot: string, net: number, options: Omit<KernelOptions, 'cgroupRoot'> = {}): BpfWorld {
  const node = new TestNode(net)
  const kernel = openKernel({ cgroupRoot, ...options })
  const home = openSync('/proc/self/ns/net', 'r')
  const undo: (() => void)[] = []
  let pods = 0
  const dialIn = (netns: number, to: SocketAddress): Promise<net.Socket> =>
    connect(must(native().socketIn(netns, home, familyOf(to.ip), -1, NO_MARK), 'dial as an application'), to)
  return {
    node,
    kernel,
    sockets: closing(openSockets(kernel.handles()), undo),
    pod: () => {
      const { name, ip, ip6, netns } = node.pod(`p${pods++}`)
      return { uid: name, ip, ip6, ips: [ip, ip6], netns, terms: PLAIN_TERMS }
    },
    dial: (pod, to) => dialIn(pod.netns, to),
    reach: (to) => dialIn(node.netns, to),
    serve: (pod, port, serve) => void undo.push(listenAs(pod, home, port, serve)),
    close: async () => {
      for (const each of undo) each()
      kernel.close('remove')
      closeSync(home)
      await node.close()
    },
  }
}

export function fakeWorld(): World {
  const kernel = new FakeKernel()
  const undo: (() => void)[] = []
  let pods = 0
  return {
    kernel,
    sockets: closing(kernel.sockets(), undo),
    pod: () => {
      const ip = `127.31.${process.pid & 255}.${++pods}`
      return { uid: `pod-${pods}`, ip, ips: [ip], netns: -1, terms: PLAIN_TERMS }
    },
    dial: (pod, to) => kernel.dial(pod.ip, to),
    reach: (to) => kernel.reach(to),
    serve: (pod, port, serve) => void undo.push(listenAs(pod, -1, port, serve)),
    close: async () => {
      for (const each of undo) each()
      kernel.close('remove')
    },
  }
}
