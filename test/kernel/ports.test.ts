// A port of a captured pod where nobody listens refuses; one where an application listens reaches the proxy.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import net from 'node:net'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { probe } from '../../agent/kernel/probe.ts'
import { listeners } from './objects.ts'
import { bpfWorld, connect, type WorldPod } from './world.ts'

type World = ReturnType<typeof bpfWorld>

const ability = probe()
let nodes = 40

/** A test in a world of its own, with one captured pod whose inbound connections are accepted and told apart by `hi`. */
function portsTest(states: string, run: (world: World, source: WorldPod) => Promise<void>): void {
  test(states, { timeout: 60_000 }, async (t) => {
    if (ability.able === 'no') return t.skip(ability.needs)
    const world = bpfWorld(ability.able === 'yes' ? ability.cgroupRoot : '/sys/fs/cgroup', ++nodes)
    try {
      await run(world, world.pod())
    } finally {
      await world.close()
    }
  })
}

function join(world: World, source: WorldPod): void {
  const pod = world.sockets.hold(world.kernel.capture(source))
  const onFault = (error: unknown): never => assert.fail(String(error))
  pod.accept('inbound', {
    onFault,
    onAccept: (fd) => void new net.Socket({ fd }).on('error', () => undefined).end('hi'),
  })
}

/** What a caller meets at an address: `proxy`, `refused`, or what else was said. */
async function met(dialling: Promise<net.Socket>): Promise<string> {
  try {
    const socket = await dialling
    let said = ''
    for await (const chunk of socket) said += String(chunk)
    return said === 'hi' ? 'proxy' : said
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ECONNREFUSED' ? 'refused' : `${code}`
  }
}

const outside = (world: World, ip: string, port: number): Promise<string> => met(world.reach({ ip, port }))

/** Listens as an application of the pod does, from this process; returns how to stop. */
function listen(world: World, source: WorldPod, ip: string, port: number): () => void {
  const { home } = world.kernel.handles()
  const fd = must(
    native().listenIn(source.netns, home, { ip, port, backlog: 16, own: -1, mark: NO_MARK }),
    `listen at ${ip}:${port}`,
  )
  return () => void native().closeFd(fd)
}

/** Python listeners, one a line of (family, ip, port, code before bind); each command of stdin is executed. */
function python(lines: readonly (readonly [string, string, number, string?])[], last = ''): string {
  const each = lines.map(
    ([family, ip, port, before = ''], i) => `
s${i} = socket.socket(socket.${family}${before.includes('MPTCP') ? ', socket.SOCK_STREAM, 262' : ''})
s${i}.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
${before.includes('MPTCP') ? '' : before.replaceAll('$', `s${i}`)}
s${i}.bind(('${ip}', ${port}))
s${i}.listen(64)`,
  )
  return `
import socket, os, time, signal
${each.join('\n')}
${last}
print('up')
time.sleep(50)
`
}

portsTest('a closed port is refused, from the node and from another pod, and counted', async (world, source) => {
  const other = world.pod()
  join(world, source)
  assert.equal(await outside(world, source.ip, 8080), 'refused')
  assert.equal(await met(world.dial(other, { ip: source.ip, port: 8080 })), 'refused')
  assert.equal(world.kernel.counters().closed, 2)
  assert.equal(world.kernel.counters().steered, 0)
})

portsTest('a port is open as soon as listen() returned and closed as soon as close() did', async (world, source) => {
  join(world, source)
  for (let i = 0; i < 200; i++) {
    const port = 8000 + (i % 3) * 64
    const stop = listen(world, source, i % 2 ? source.ip : '0.0.0.0', port)
    assert.equal(await outside(world, source.ip, port), 'proxy', `round ${i}`)
    stop()
    assert.equal(await outside(world, source.ip, port), 'refused', `round ${i}`)
  }
  assert.deepEqual(listeners(), { seen: 0, older: 0, crowded: 0 })
})

for (const when of ['older than the capture', 'younger than the capture']) {
  portsTest(`listeners ${when} are reached, whatever they are bound to`, async (world, source) => {
    const second = '10.231.200.98'
    execFileSync('ip', ['-n', source.uid, 'address', 'add', `${second}/32`, 'dev', 'eth0'])
    execFileSync('ip', ['-n', world.node.name, 'route', 'add', `${second}/32`, 'via', source.ip, 'dev', 'v1', 'onlink'])
    if (when.startsWith('younger')) join(world, source)
    const lines = [
      ['AF_INET', '0.0.0.0', 8001],
      ['AF_INET6', '::', 8002],
      ['AF_INET', source.ip, 8003],
      ['AF_INET6', `::ffff:${source.ip}`, 8004],
      ['AF_INET', '127.0.0.1', 8005],
      ['AF_INET6', '::1', 8006],
      ['AF_INET', second, 8007],
      ['AF_INET', '0.0.0.0', 8008, 'MPTCP'],
    ] as const
    await world.node.python(source.uid, python(lines), true)
    await world.node.python(source.uid, NODE, false)
    for (let i = 0; i < 100 && (await met(world.dial(source, { ip: '127.0.0.1', port: 8010 }))) === 'refused'; i++) {
      await sleep(20)
    }
    if (when.startsWith('older')) join(world, source)
    for (const port of [8001, 8002, 8003, 8004, 8008, 8009, 8010]) {
      assert.equal(await outside(world, source.ip, port), 'proxy', `${port}`)
    }
    for (const port of [8005, 8006, 8007]) assert.equal(await outside(world, source.ip, port), 'refused', `${port}`)
    for (const port of [8001, 8002, 8007]) assert.equal(await outside(world, second, port), 'proxy', `${port}`)
    assert.equal(await outside(world, second, 8003), 'refused')
    // inside the pod nothing changes
    const home = world.kernel.handles().home
    const inside = must(native().socketIn(source.netns, home, 4, -1, NO_MARK), 'dial inside')
    ;(await connect(inside, { ip: '127.0.0.1', port: 8005 })).destroy()
    const { seen, older } = listeners()
    assert.deepEqual([seen, older], when.startsWith('older') ? [0, 8] : [8, 0])
  })
}

const NODE = `
import os
os.execvp('node', ['node', '-e', 'const net = require("net"); net.createServer().listen(8009, "0.0.0.0", () => net.createServer((s) => s.end("node")).listen(8010))'])
`

portsTest('a second listener that closes does not close the port', async (world, source) => {
  join(world, source)
  const share = '$.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)'
  const pair = ['AF_INET', '0.0.0.0', 8080, share] as const
  const stay = await world.node.python(source.uid, python([pair]), true)
  const churn = `
for i in range(10_000_000):
  s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind(('0.0.0.0', 8080)); s.listen(8)
  s.shutdown(socket.SHUT_RDWR) if i & 1 else None
  s.close()
  if i == 100: print('churning')
`
  const churning = await world.node.python(source.uid, `import socket\n${churn}`, true)
  for (let i = 0; i < 300; i++) assert.equal(await outside(world, source.ip, 8080), 'proxy', `dial ${i}`)
  assert.equal(churning.exitCode, null)
  churning.kill()
  await sleep(100)
  assert.deepEqual(listeners(), { seen: 1, older: 0, crowded: 0 })
  stay.kill()
  await sleep(200)
  assert.deepEqual(listeners(), { seen: 0, older: 0, crowded: 0 })
  assert.equal(await outside(world, source.ip, 8080), 'refused')
})

portsTest(
  'a listener that is shared by fork, listens twice or is shut down counts as what it is',
  async (world, source) => {
    join(world, source)
    const steps = `
if os.fork() == 0:
  time.sleep(50)
  os._exit(0)
s0.close()
s1.listen(32); s1.listen(64)
s2.shutdown(socket.SHUT_RD)
s3.shutdown(socket.SHUT_RD); s3.listen(8)
`
    const ports = [8081, 8082, 8083, 8084].map((port) => ['AF_INET', '0.0.0.0', port] as const)
    await world.node.python(source.uid, python(ports, steps), true)
    // the child holds all but what was shut down
    assert.deepEqual(await Promise.all(ports.map(([, , port]) => outside(world, source.ip, port))), [
      'proxy',
      'proxy',
      'refused',
      'proxy',
    ])
  },
)

portsTest(
  'an older listener that closed is refused after the next look, and a new capture forgets',
  async (world, source) => {
    const stop = listen(world, source, '0.0.0.0', 8080)
    const stay = listen(world, source, '0.0.0.0', 8081)
    join(world, source)
    const younger = listen(world, source, '0.0.0.0', 8082)
    assert.deepEqual(listeners(), { seen: 1, older: 2, crowded: 0 })
    stop()
    world.kernel.capture(source)
    assert.deepEqual(listeners(), { seen: 1, older: 1, crowded: 0 })
    assert.equal(await outside(world, source.ip, 8080), 'refused')
    world.kernel.release(source.uid)
    assert.deepEqual(listeners(), { seen: 0, older: 0, crowded: 0 })
    join(world, source)
    // both are older than this capture
    assert.deepEqual(listeners(), { seen: 0, older: 2, crowded: 0 })
    for (const port of [8081, 8082]) assert.equal(await outside(world, source.ip, port), 'proxy')
    younger() // its callback belongs to the first capture and takes nothing from the second
    world.kernel.capture(source)
    assert.deepEqual(
      [await outside(world, source.ip, 8081), await outside(world, source.ip, 8082)],
      ['proxy', 'refused'],
    )
    stay()
  },
)

portsTest(
  'a full set is counted and loses no traffic: its closed ports look open, other ones do not',
  async (world, source) => {
    join(world, source)
    const stops = Array.from({ length: 20 }, (_, i) => listen(world, source, '0.0.0.0', 1024 + i * 64))
    assert.equal(world.kernel.counters().crowded, 4)
    for (let i = 0; i < 20; i++) assert.equal(await outside(world, source.ip, 1024 + i * 64), 'proxy')
    assert.equal(await outside(world, source.ip, 1024 + 30 * 64), 'proxy')
    assert.equal(await outside(world, source.ip, 1025), 'refused')
    for (const stop of stops) stop()
    assert.deepEqual(listeners(), { seen: 0, older: 0, crowded: 1 })
  },
)

portsTest('more listeners than can be kept at the capture: every port looks open', async (world, source) => {
  const stops = Array.from({ length: 1030 }, (_, i) => listen(world, source, '0.0.0.0', 2000 + i))
  join(world, source)
  assert.equal(listeners().crowded, 64)
  assert.equal(world.kernel.counters().crowded, 1)
  for (const port of [2000, 3029, 9999]) assert.equal(await outside(world, source.ip, port), 'proxy')
  for (const stop of stops) stop()
})

portsTest('listeners made while the pod is captured are all known', async (world, source) => {
  const program = `
import socket
kept = []
for i in range(600):
  s = socket.socket(); s.bind(('0.0.0.0', 2000 + i)); s.listen(8); kept.append(s)
  if i == 20: print('on')
print('all')
import time; time.sleep(50)
`
  const child = await world.node.python(source.uid, program, true)
  join(world, source)
  const { seen, older } = listeners()
  await sleep(500)
  for (let i = 0; i < 600; i++) assert.equal(await outside(world, source.ip, 2000 + i), 'proxy', `${2000 + i}`)
  const all = listeners()
  assert.equal(all.seen + all.older, 600, `${seen} and ${older} at first`)
  child.kill()
})
