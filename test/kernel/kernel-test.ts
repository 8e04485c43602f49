// The frame of a test of the real body: a world of its own with pods as namespaces, a data side that relays as the proxy
// does, and everything gone afterwards.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KernelOptions } from '../../agent/kernel/bpf.ts'
import type { Captured, Kernel, PodSockets, Sockets } from '../../agent/kernel/kernel.ts'
import { probe } from '../../agent/kernel/probe.ts'
import { addressText, familyOf, type SocketAddress } from '../../agent/model/address.ts'
import { isSelfDial, selfDialAnswer } from '../../agent/model/self-dial.ts'
import { type BpfWorld, bpfWorld, type WorldPod } from './world.ts'

const ability = probe()

/** The root of cgroup2 on this machine. */
export const cgroupRoot = ability.able === 'yes' ? ability.cgroupRoot : '/sys/fs/cgroup'

export interface KernelTestOptions extends Omit<KernelOptions, 'cgroupRoot'> {
  /** Third byte of the pods' addresses: one a test file and test, so that nothing is mistaken for another's. */
  readonly net: number
  readonly timeoutMs?: number
  /** Done before the kernel is opened. */
  readonly prepare?: () => void
}

/** A test in a world of its own; skipped, with the reason, where pods cannot be captured. */
export function kernelTest(states: string, options: KernelTestOptions, run: (world: BpfWorld) => Promise<void>): void {
  const { net: third, timeoutMs = 30_000, prepare, ...kernel } = options
  test(states, { timeout: timeoutMs }, async (t) => {
    if (ability.able === 'no') return t.skip(ability.needs)
    prepare?.()
    const world = bpfWorld(cgroupRoot, third, kernel)
    try {
      await run(world)
    } finally {
      for (const socket of taken) socket.destroy()
      await world.close()
    }
  })
}

export const fault = (error: unknown): never => assert.fail(String(error))

/** Sockets made of fds; destroyed with the test, because their other ends may vanish with a namespace. */
const taken = new Set<net.Socket>()

export function take(fd: number, options: object = {}): net.Socket {
  const socket = new net.Socket({ fd, ...options })
  taken.add(socket)
  return socket.on('close', () => taken.delete(socket)).on('error', () => undefined)
}

/** What a dial meets: what is said there, the code of the refusal, or `nothing` where two seconds pass. */
export async function met(dialling: Promise<net.Socket>): Promise<string> {
  const silence = sleep(2000, 'nothing', { ref: false })
  const talk = async (): Promise<string> => {
    try {
      const socket = await dialling
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      socket.destroy()
      return chunk.toString()
    } catch (error) {
      return `${(error as NodeJS.ErrnoException).code}`
    }
  }
  return Promise.race([talk(), silence])
}

/** What came to a pod's listeners, by where it was going. */
export interface Seen {
  readonly outbound: string[]
  readonly inbound: string[]
}

/**
 * A data side as small as can be: what applications dial is relayed to where they dialled, what dials the pod to its
 * application, the client's name with it. Self-dials are answered.
 */
export class Relay {
  readonly seen: Seen = { outbound: [], inbound: [] }
  readonly #sockets: Sockets
  readonly #callees: () => ReadonlyMap<string, Captured>
  readonly #pods: PodSockets[] = []
  readonly #onFault: (error: unknown) => void

  /** `kernel`: whose captured pods are callees of the same node. `onFault`: hears of listeners that fail. */
  constructor(sockets: Sockets, kernel: Pick<Kernel, 'captured'>, onFault: (error: unknown) => void = fault) {
    this.#sockets = sockets
    this.#onFault = onFault
    this.#callees = () =>
      new Map([...kernel.captured().values()].flatMap((pod) => pod.ips.map((ip) => [ip, pod] as const)))
  }

  hold(captured: Captured): PodSockets {
    const pod = this.#sockets.hold(captured)
    this.#pods.push(pod)
    pod.accept('outbound', { onFault: this.#onFault, onAccept: (fd) => this.#out(pod, fd) })
    pod.accept('inbound', { onFault: this.#onFault, onAccept: (fd) => this.#in(pod, fd) })
    return pod
  }

  close(): void {
    for (const pod of this.#pods) pod.close()
  }

  #out(pod: PodSockets, fd: number): void {
    const origin = this.#sockets.origin(fd)
    if (origin === null) return this.#sockets.close(fd)
    if (isSelfDial(origin)) return void take(fd).end(selfDialAnswer(pod.captured.cookie))
    this.seen.outbound.push(addressText(origin))
    const callee = this.#callees().get(origin.ip)?.cookie
    this.#carry(fd, origin, pod.socket({ family: familyOf(origin.ip), ...(callee === undefined ? {} : { callee }) }))
  }

  #in(pod: PodSockets, fd: number): void {
    const { local, remote } = this.#sockets.ends(fd)
    const isProof = pod.captured.listeners.some(({ direction, port }) => direction === 'inbound' && port === local.port)
    if (isProof) return void take(fd).end(selfDialAnswer(pod.captured.cookie))
    this.seen.inbound.push(addressText(local))
    this.#carry(fd, local, pod.socket({ family: familyOf(local.ip), callee: pod.captured.cookie, client: remote }))
  }

  #carry(fd: number, to: SocketAddress, upstream: number): void {
    const down = take(fd, { allowHalfOpen: true })
    const up = take(upstream, { manualStart: true, allowHalfOpen: true })
    down.on('error', () => up.resetAndDestroy())
    up.on('error', () => down.resetAndDestroy())
    up.connect({ host: to.ip, port: to.port }, () => up.pipe(down))
    down.pipe(up)
  }
}

/** Captures a pod and relays for it. */
export function join(world: BpfWorld, relay: Relay, pod: WorldPod): Captured {
  const captured = world.kernel.capture(pod)
  relay.hold(captured)
  return captured
}

/** A server in Python that tells each connection, in one line, how its ends are named. */
export const NAMER = (ip: string, port: number): string => `
import socket, threading
family = socket.AF_INET6 if ':' in '${ip}' else socket.AF_INET
s = socket.create_server(('${ip}', ${port}), family=family, backlog=512, dualstack_ipv6='${ip}' == '::')
print('up')
def serve(c, peer):
  c.recv(16)
  c.sendall(('%s %d|%s|%s %d' % (peer[0], peer[1], c.getpeername()[0], c.getsockname()[0], c.getsockname()[1])).encode())
  c.close()
while True:
  c, peer = s.accept()
  threading.Thread(target=serve, args=(c, peer), daemon=True).start()
`

/** Dials in Python and prints how both ends are named there, and what the other side said. */
export const DIALLER = (ip: string, port: number, before = ''): string => `
import socket
c = socket.socket(socket.AF_INET6 if ':' in '${ip}' else socket.AF_INET)
${before}
c.connect(('${ip}', ${port}))
c.sendall(b'x')
print('%s|%s %d|%s' % (c.getsockname()[0], c.getpeername()[0], c.getpeername()[1], c.recv(200).decode()))
`
