// What the kernel counts of pods' connections, against what was really carried: equal to the byte, however they end.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Tally } from '../../agent/kernel/kernel.ts'
import { Accounts, type PodSum } from '../../agent/kernel/accounts.ts'
import { addressText } from '../../agent/model/address.ts'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import { join, kernelTest, Relay } from './kernel-test.ts'
import type { BpfWorld } from './world.ts'

const HUNDRED_MB = 100_000_000

/** A server in Python: reads to the end, or `takes` bytes; sends `gives` bytes; then ends as `end` says. */
const SERVER = (ip: string, port: number, gives: number, end = ''): string => `
import socket, struct, threading
s = socket.create_server(('${ip}', ${port}), family=socket.AF_INET6 if ':' in '${ip}' else socket.AF_INET)
print('up')
def serve(c):
  def give():
    left = ${gives}
    while left:
      left -= c.send(bytes(min(left, 1 << 16)))
    ${end === '' ? 'c.shutdown(socket.SHUT_WR)' : 'pass'}
  t = threading.Thread(target=give); t.start()
  got = 0
  while True:
    b = c.recv(1 << 16)
    got += len(b)
    if not b: break
  t.join()
  ${end}
  c.close()
while True:
  threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
`

/** A client in Python: sends `gives` bytes and half-closes, reads to the end, ends as `end` says, and prints what it read. */
const CLIENT = (ip: string, port: number, gives: number, end = ''): string => `
import socket, struct, threading
c = socket.create_connection(('${ip}', ${port}))
def give():
  left = ${gives}
  while left:
    left -= c.send(bytes(min(left, 1 << 16)))
  ${end.includes('LINGER') ? 'pass' : 'c.shutdown(socket.SHUT_WR)'}
t = threading.Thread(target=give); t.start()
got = 0
${
  end.includes('LINGER')
    ? 'import time\nt.join(); time.sleep(0.3)'
    : `while True:
  b = c.recv(1 << 16)
  got += len(b)
  if not b: break
t.join()`
}
${end}
c.close()
print(got)
`

const RESET = `c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))`

type Sum = Pick<Tally, 'opened' | 'closed' | 'sentBytes' | 'receivedBytes'>

/** The sums of a pod by direction, passage and other end. */
async function sums(world: BpfWorld, uid: string): Promise<Record<string, Sum>> {
  await sleep(100) // the last side of a connection closes a moment after the first
  return Object.fromEntries(
    world.kernel
      .tallies(uid)
      .map(({ direction, passage, remote, opened, closed, sentBytes, receivedBytes }) => [
        `${direction} ${passage} ${remote === null ? '*' : addressText(remote)}`,
        { opened, closed, sentBytes, receivedBytes },
      ]),
  )
}

function once1(sentBytes: number, receivedBytes: number, count = 1): Sum {
  return { opened: count, closed: count, sentBytes, receivedBytes }
}

for (const [family, third] of [
  ['ip', 90],
  ['ip6', 91],
] as const) {
  kernelTest(`100 MB each way are counted to the byte at both ends (${family})`, { net: third }, async (world) => {
    const [caller, callee] = [world.pod(), world.pod()]
    const relay = new Relay(world.sockets, world.kernel)
    for (const pod of [caller, callee]) join(world, relay, pod)
    await world.node.python(callee.uid, SERVER(callee[family], 8080, HUNDRED_MB), true)
    const got = await world.node.printed(caller.uid, CLIENT(callee[family], 8080, HUNDRED_MB))
    assert.equal(got, `${HUNDRED_MB}`)
    assert.deepEqual(await sums(world, caller.uid), {
      [`outbound proxy ${addressText({ ip: callee[family], port: 8080 })}`]: once1(HUNDRED_MB, HUNDRED_MB),
    })
    assert.deepEqual(await sums(world, callee.uid), {
      'inbound proxy *': once1(HUNDRED_MB, HUNDRED_MB),
    })
  })
}

kernelTest('an excluded port is counted as well, at both ends, as direct', { net: 92 }, async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  const relay = new Relay(world.sockets, world.kernel)
  join(world, relay, { ...caller, terms: { ...PLAIN_TERMS, excludeOutboundPorts: [3306] } })
  join(world, relay, { ...callee, terms: { ...PLAIN_TERMS, excludeInboundPorts: [3306] } })
  await world.node.python(callee.uid, SERVER(callee.ip, 3306, HUNDRED_MB), true)
  await world.node.printed(caller.uid, CLIENT(callee.ip, 3306, HUNDRED_MB))
  assert.deepEqual(await sums(world, caller.uid), {
    [`outbound direct ${callee.ip}:3306`]: once1(HUNDRED_MB, HUNDRED_MB),
  })
  assert.deepEqual(await sums(world, callee.uid), {
    'inbound direct *': once1(HUNDRED_MB, HUNDRED_MB),
  })
  assert.deepEqual(relay.seen, { outbound: [], inbound: [] })
})

kernelTest('however a connection ends its bytes are counted, and no FIN for one', { net: 93 }, async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  const relay = new Relay(world.sockets, world.kernel)
  const terms = { ...PLAIN_TERMS, excludeOutboundPorts: [9001, 9002, 9003] }
  join(world, relay, { ...caller, terms })
  join(world, relay, { ...callee, terms: { ...PLAIN_TERMS, excludeInboundPorts: [9001, 9002, 9003] } })
  const ends = [
    ['half-closed by the caller first', 8001, '', ''],
    ['reset by the callee after its last byte', 8002, RESET, ''],
    ['reset by the caller, which reads nothing', 8003, '', RESET],
    ['the same, past the proxy', 9001, '', ''],
    ['reset by the callee, past the proxy', 9002, RESET, ''],
    ['reset by the caller, past the proxy', 9003, '', RESET],
  ] as const
  for (const [, port, serverEnd] of ends) {
    await world.node.python(callee.uid, SERVER(callee.ip, port, 2000, serverEnd), true)
  }
  for (const [, port, , clientEnd] of ends) {
    const child = await world.node.python(caller.uid, CLIENT(callee.ip, port, 1000, clientEnd))
    await ended(child)
  }
  const of = await sums(world, caller.uid)
  for (const [how, port] of ends) {
    const passage = port < 9000 ? 'proxy' : 'direct'
    assert.deepEqual(of[`outbound ${passage} ${callee.ip}:${port}`], once1(1000, 2000), how)
  }
  const inbound = await sums(world, callee.uid)
  assert.deepEqual(inbound['inbound proxy *'], once1(6000, 3000, 3))
  assert.deepEqual(inbound['inbound direct *'], once1(6000, 3000, 3))
})

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null) await once(child, 'exit')
}

kernelTest('what is open shows while it runs, and is not counted twice at its end', { net: 94 }, async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  world.serve(callee, 8080, (socket) => socket.pipe(socket))
  const before = await world.dial(caller, { ip: callee.ip, port: 8080 })
  const relay = new Relay(world.sockets, world.kernel)
  join(world, relay, { ...caller, terms: { ...PLAIN_TERMS, excludeOutboundPorts: [8080] } })
  const accounts = new Accounts()
  const read = (): PodSum | undefined => {
    const tallies = world.kernel.tallies(caller.uid)
    accounts.read(caller.uid, tallies, world.kernel.connections(caller.uid))
    return accounts.sums(performance.now()).find(({ passage }) => passage === 'direct')
  }
  const after = await world.dial(caller, { ip: callee.ip, port: 8080 })
  after.write('x'.repeat(5000))
  for (let got = 0; got < 5000;) got += ((await once(after, 'data')) as [Buffer])[0].length
  const open = read()
  assert.deepEqual(
    [open?.opened, open?.closed, open?.sentBytes, open?.receivedBytes],
    [1, 0, 5000, 5000],
    'while it is open',
  )
  assert.equal(accounts.older(caller.uid), 1)
  after.destroy()
  before.destroy()
  await sleep(100)
  const closed = read()
  assert.deepEqual([closed?.opened, closed?.closed, closed?.sentBytes, closed?.receivedBytes], [1, 1, 5000, 5000])
  assert.equal(accounts.older(caller.uid), 0)
})

kernelTest(
  'more other ends than the table has room for are counted all the same, under none',
  { net: 95, talliesBound: 16 },
  async (world) => {
    const [caller, callee] = [world.pod(), world.pod()]
    const relay = new Relay(world.sockets, world.kernel)
    join(world, relay, caller)
    for (let i = 0; i < 40; i++) world.serve(callee, 9000 + i, (socket) => socket.end('123'))
    for (let i = 0; i < 40; i++) {
      const socket = await world.dial(caller, { ip: callee.ip, port: 9000 + i })
      await once(socket.resume(), 'end')
      socket.destroy()
    }
    const all = Object.entries(await sums(world, caller.uid))
    const total = all.reduce((sum, [, { closed, receivedBytes }]) => sum + closed * 1000 + receivedBytes, 0)
    assert.equal(total, 40 * 1000 + 40 * 3)
    assert.ok(all.length <= 16)
    const spilled = all.find(([key]) => key === 'outbound proxy *')?.[1]
    assert.equal(spilled?.closed, world.kernel.counters().spilled / 2, 'once at its opening and once at its end')
  },
)

kernelTest('a pod’s own connections to itself are nobody’s traffic', { net: 96 }, async (world) => {
  const pod = world.pod()
  const relay = new Relay(world.sockets, world.kernel)
  join(world, relay, pod)
  world.serve({ ...pod, ip: '127.0.0.1' }, 8080, (socket) => socket.end('self'))
  const socket = await world.dial(pod, { ip: '127.0.0.1', port: 8080 })
  await once(socket.resume(), 'end')
  socket.destroy()
  assert.deepEqual(await sums(world, pod.uid), {})
})

kernelTest(
  'a socket that is connected once more, to loopback, is not counted for where it was before',
  { net: 97 },
  async (world) => {
    const [pod, other] = [world.pod(), world.pod()]
    world.serve(other, 8080, (socket) => socket.end('there'))
    world.serve({ ...pod, ip: '127.0.0.1' }, 7000, (socket) => socket.end('inside'))
    const relay = new Relay(world.sockets, world.kernel)
    join(world, relay, pod)
    await world.node.printed(
      pod.uid,
      `
import socket, ctypes
c = socket.socket(); c.connect(('${other.ip}', 8080)); c.recv(10)
ctypes.CDLL(None).connect(c.fileno(), bytes(16), 16)
c.connect(('127.0.0.1', 7000)); c.recv(10); c.close()
`,
    )
    assert.deepEqual(await sums(world, pod.uid), { [`outbound proxy ${other.ip}:8080`]: once1(0, 5) })
  },
)
