// Room: many connections at once into one port of a pod and out of it, and many one after the other. One loopback address
// and one port alone have room for some 28 000.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join as joinPath } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Captured } from '../../agent/kernel/kernel.ts'
import type { Held, HolderOrder } from './holder.ts'
import { fault, kernelTest, take } from './kernel-test.ts'
import { handshakes } from './objects.ts'
import type { BpfWorld } from './world.ts'

const AT_ONCE = 60_000
/** A process may have 20 000 fds here. */
const FDS = 18_000
const SETTLE_MS = 240_000

/** Holders of one pod's direction, enough for `count` connections with `fdsEach` fds each. */
class Holders {
  readonly #children: ChildProcess[] = []
  readonly #said: Held[] = []

  constructor(world: BpfWorld, captured: Captured, direction: HolderOrder['direction'], count: number) {
    const most = Math.floor(FDS / (direction === 'inbound' ? 2 : 1))
    const handles = world.kernel.handles()
    const given = [
      handles.own,
      handles.accepted,
      handles.home,
      captured.netns,
      ...captured.listeners.map(({ fd }) => fd),
    ]
    const at = (index: number): number => 3 + index
    const order: HolderOrder = {
      handles: { body: 'bpf', own: at(0), accepted: at(1), home: at(2) },
      captured: {
        ...captured,
        netns: at(3),
        listeners: captured.listeners.map((listener, index) => ({ ...listener, fd: at(4 + index) })),
      },
      direction,
      most,
    }
    for (let i = 0; i < Math.ceil(count / most); i++) {
      const args = [joinPath(import.meta.dirname, 'holder.ts'), JSON.stringify(order)]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', ...given] })
      createInterface({ input: child.stdout! }).on('line', (line) => (this.#said[i] = JSON.parse(line) as Held))
      this.#children.push(child)
    }
  }

  get held(): number {
    return this.#said.reduce((sum, said) => sum + (said?.held ?? 0), 0)
  }

  get failed(): Held['failed'] {
    return Object.assign({}, ...this.#said.map((said) => said?.failed ?? {})) as Held['failed']
  }

  get isReady(): boolean {
    return this.#said.filter(Boolean).length === this.#children.length
  }

  async end(): Promise<void> {
    for (const child of this.#children) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + SETTLE_MS
  while (!condition() && performance.now() < deadline) await sleep(100)
}

/** Python that opens `count` connections from an address, one after the other, and keeps them; prints how many it has. */
const CROWD = (from: string, to: string, port: number, count: number): string => `
import socket, time
kept = []
for i in range(${count}):
  c = socket.socket(); c.setsockopt(socket.IPPROTO_IP, 24, 1)
  ${from === '' ? '' : `c.bind(('${from}', 0))`}
  c.connect(('${to}', ${port})); kept.append(c)
print(len(kept))
time.sleep(300)
`

/** Python servers on one port that keep what they accept, each of them less than its fds allow. */
const KEEPERS = (ip: string, port: number, processes: number): string => `
import socket, os, time
s = socket.create_server(('${ip}', ${port}), backlog=4096)
for i in range(${processes - 1}):
  if os.fork() == 0: break
print('up')
kept = []
while len(kept) < 15500: kept.append(s.accept()[0])
time.sleep(300)
`

kernelTest(
  `${AT_ONCE} connections at once into one port of one pod, each to its application`,
  { net: 110, timeoutMs: SETTLE_MS + 60_000 },
  async (world) => {
    const pod = world.pod()
    const crowds = Math.ceil(AT_ONCE / 15_000)
    for (let i = 0; i < crowds; i++) {
      execFileSync('ip', ['-n', world.node.name, 'address', 'add', `10.231.252.${i + 1}/32`, 'dev', 'lo'])
    }
    await world.node.python(pod.uid, KEEPERS(pod.ip, 8080, crowds), true)
    const holders = new Holders(world, world.kernel.capture(pod), 'inbound', AT_ONCE)
    try {
      await until(() => holders.isReady)
      for (let i = 0; i < crowds; i++) {
        const count = Math.min(15_000, AT_ONCE - i * 15_000)
        void world.node.python(world.node.name, CROWD(`10.231.252.${i + 1}`, pod.ip, 8080, count))
      }
      await until(() => holders.held >= AT_ONCE || Object.keys(holders.failed).length > 0)
      assert.deepEqual({ held: holders.held, failed: holders.failed }, { held: AT_ONCE, failed: {} })
      const { steered, passed, full, noMemory } = world.kernel.counters()
      assert.deepEqual({ passed, full, noMemory }, { passed: AT_ONCE, full: 0, noMemory: 0 })
      assert.ok(steered >= AT_ONCE) // a SYN that is sent again counts again
      const opened = world.kernel.tallies(pod.uid).reduce((sum, tally) => sum + tally.opened, 0)
      assert.equal(opened, AT_ONCE)
    } finally {
      await holders.end()
    }
  },
)

kernelTest(
  `${AT_ONCE} connections at once out of one pod, each with its destination`,
  { net: 111, timeoutMs: SETTLE_MS + 60_000 },
  async (world) => {
    const pod = world.pod()
    const holders = new Holders(world, world.kernel.capture(pod), 'outbound', AT_ONCE)
    try {
      await until(() => holders.isReady)
      for (let left = AT_ONCE; left > 0; left -= 15_000) {
        void world.node.python(pod.uid, CROWD('', '10.9.9.9', 99, Math.min(15_000, left)))
      }
      await until(() => holders.held >= AT_ONCE || Object.keys(holders.failed).length > 0)
      assert.deepEqual({ held: holders.held, failed: holders.failed }, { held: AT_ONCE, failed: {} })
      const { handed, missing, full } = world.kernel.counters()
      assert.deepEqual({ handed, missing, full }, { handed: AT_ONCE, missing: 0, full: 0 })
    } finally {
      await holders.end()
    }
  },
)

kernelTest(
  '20 000 short connections of one pod all have their destination',
  { net: 112, timeoutMs: 120_000 },
  async (world) => {
    const pod = world.pod()
    const held = world.sockets.hold(world.kernel.capture(pod))
    let missing = 0
    let served = 0
    held.accept('outbound', {
      onFault: fault,
      onAccept: (fd) => {
        if (world.sockets.origin(fd)?.port === 99) served++
        else missing++
        take(fd).end('x')
      },
    })
    const churn = `
import socket
done = 0
for i in range(5000):
  c = socket.create_connection(('10.9.9.9', 99)); c.recv(1); c.close(); done += 1
print(done)
`
    const printed = await Promise.all([1, 2, 3, 4].map(() => world.node.printed(pod.uid, churn)))
    assert.deepEqual(printed, ['5000', '5000', '5000', '5000'])
    assert.deepEqual({ served, missing }, { served: 20_000, missing: 0 })
    const { captured, handed, missing: lost, full } = world.kernel.counters()
    assert.deepEqual({ captured, handed, lost, full }, { captured: 20_000, handed: 20_000, lost: 0, full: 0 })
    await sleep(100)
    assert.deepEqual(handshakes(), { tables: 2, entries: 0 })
  },
)
