// The real body alone: what only a kernel can show. Two or three pods on a routed node; Python plays the applications.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import net from 'node:net'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { openKernel, openSockets } from '../../agent/kernel/bpf.ts'
import type { Captured } from '../../agent/kernel/kernel.ts'
import { must, native } from '../../agent/kernel/native.ts'
import { listenerOf } from '../../agent/kernel/sockets.ts'
import { probe } from '../../agent/kernel/probe.ts'
import { alive, handshakes, objects } from './objects.ts'
import type { Objects } from './objects.ts'
import { bpfWorld, connect, type WorldPod } from './world.ts'

type World = ReturnType<typeof bpfWorld>

const ability = probe()
const cgroupRoot = ability.able === 'yes' ? ability.cgroupRoot : '/sys/fs/cgroup'
let nodes = 1

const fault = (error: unknown): never => assert.fail(String(error))

/** Sockets made of accepted fds; destroyed with the test, because their other ends may vanish with a namespace. */
const taken = new Set<net.Socket>()

function take(fd: number, options: object = {}): net.Socket {
  const socket = new net.Socket({ fd, ...options })
  taken.add(socket)
  return socket.on('close', () => taken.delete(socket)).on('error', () => undefined)
}

/** A test in a world of its own; everything the world made is gone afterwards. */
function kernelTest(states: string, run: (world: World) => Promise<void>): void {
  test(states, { timeout: 120_000 }, async (t) => {
    if (ability.able === 'no') return t.skip(ability.needs)
    const world = bpfWorld(cgroupRoot, ++nodes)
    try {
      await run(world)
    } finally {
      for (const socket of taken) socket.destroy()
      await world.close()
    }
  })
}

/** Relays what a pod's applications dial to where they dialled, as the proxy will. */
function relay(world: World, source: WorldPod, callees: ReadonlyMap<string, Captured>): { origins: string[] } {
  const pod = world.sockets.hold(world.kernel.capture(source))
  const seen = { origins: [] as string[] }
  pod.accept('outbound', {
    onFault: fault,
    onAccept: (fd) => {
      const origin = world.sockets.origin(fd)
      if (!origin) return world.sockets.close(fd)
      seen.origins.push(`${origin.ip}:${origin.port}`)
      const down = take(fd, { allowHalfOpen: true })
      const callee = callees.get(origin.ip)?.cookie
      const upstream = pod.socket({ family: 4, ...(callee === undefined ? {} : { callee }) })
      const up = take(upstream, { manualStart: true, allowHalfOpen: true })
      down.on('error', () => up.destroy())
      up.on('error', () => down.resetAndDestroy())
      up.connect({ host: origin.ip, port: origin.port }, () => up.pipe(down))
      down.pipe(up)
    },
  })
  return seen
}

const ECHO = (ip: string, port: number, count: number): string => `
import socket
s = socket.create_server(('${ip}', ${port}), backlog=512)
print('up')
for i in range(${count}):
  c, peer = s.accept()
  c.recv(16)
  c.sendall(('%s %d %s %d' % (peer[0], peer[1], c.getpeername()[0], c.getsockname()[1])).encode())
  c.close()
`

kernelTest(
  'under churn every connection has its own original destination and no table keeps anything',
  async (world) => {
    const caller = world.pod()
    const captured = world.kernel.capture(caller)
    const pod = world.sockets.hold(captured)
    let right = 0
    let wrong = 0
    pod.accept('outbound', {
      onFault: fault,
      onAccept: (fd) => {
        const origin = world.sockets.origin(fd)
        const told = origin ? `${origin.ip}:${origin.port}` : 'none'
        // its client says where it went: several may have one source port
        take(fd).once('data', (said) => void (String(said) === told ? right++ : wrong++))
      },
    })
    const total = 2000
    const dial = async (i: number): Promise<void> => {
      const to = { ip: `10.${i & 127}.${i % 251}.7`, port: 1 + (i % 60000) }
      const socket = await world.dial(caller, to)
      socket.write(`${to.ip}:${to.port}`)
      await sleep(25)
      socket.resetAndDestroy() // frees the port at once
    }
    for (let i = 0; i < total; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => dial(i + j)))
    await sleep(50)
    assert.deepEqual({ right, wrong }, { right: total, wrong: 0 })
    const counted = world.kernel.counters()
    assert.equal(counted.captured, total)
    assert.equal(counted.handed, total)
    assert.equal(counted.missing + counted.full + counted.noMemory, 0)
    assert.deepEqual(handshakes(), { tables: 2, entries: 0 })
    pod.close()
  },
)

kernelTest(
  'a pod of the same node is reached without a second hop and both applications see the truth',
  async (world) => {
    const [caller, callee] = [world.pod(), world.pod()]
    const captured = world.kernel.capture(callee)
    let steered = 0
    world.sockets.hold(captured).accept('inbound', { onFault: fault, onAccept: () => steered++ })
    const seen = relay(world, caller, new Map([[callee.ip, captured]]))
    const app = await world.node.python(callee.uid, ECHO(callee.ip, 8080, 200), true)
    const printed = await world.node.printed(
      caller.uid,
      `
import socket
for i in range(200):
  family = socket.AF_INET6 if i % 2 else socket.AF_INET
  c = socket.socket(family)
  c.connect(('::ffff:${callee.ip}' if i % 2 else '${callee.ip}', 8080))
  me, peer = c.getsockname()[0], c.getpeername()[:2]
  c.sendall(b'hello')
  print(me.replace('::ffff:', ''), peer[0].replace('::ffff:', ''), peer[1], c.recv(100).decode().split()[0])
  c.close()
`,
    )
    const lines = printed.split('\n')
    assert.equal(lines.length, 200)
    for (const line of lines) assert.equal(line, `${caller.ip} ${callee.ip} 8080 ${caller.ip}`)
    assert.equal(seen.origins.length, 200)
    assert.equal(steered, 0)
    assert.equal(world.kernel.counters().passed, 200)
    await sleep(50)
    assert.deepEqual(handshakes(), { tables: 4, entries: 0 })
    app.kill()
  },
)

kernelTest('an application sees the client that its proxy names, by accept() and by getpeername()', async (world) => {
  const source = world.pod()
  const captured = world.kernel.capture(source)
  const pod = world.sockets.hold(captured)
  await world.node.python(source.uid, ECHO(source.ip, 8080, 100), true)
  for (let i = 0; i < 100; i++) {
    const client = { ip: `198.51.100.${i}`, port: 40000 + i }
    const up = await connect(pod.socket({ family: 4, callee: captured.cookie, client }), { ip: source.ip, port: 8080 })
    up.write('x')
    const [answer] = (await once(up, 'data')) as [Buffer]
    assert.equal(answer.toString(), `${client.ip} ${client.port} ${client.ip} 8080`)
    up.destroy()
  }
  await sleep(50)
  assert.deepEqual(handshakes(), { tables: 2, entries: 0 })
  pod.close()
})

kernelTest('connections from another machine are steered, whichever address of the pod they ask for', async (world) => {
  const source = world.pod()
  const second = '10.231.200.99'
  execFileSync('ip', ['-n', source.uid, 'address', 'add', `${second}/32`, 'dev', 'eth0'])
  execFileSync('ip', ['-n', world.node.name, 'route', 'add', `${second}/32`, 'via', source.ip, 'dev', 'v1', 'onlink'])
  world.serve({ ...source, ip: '0.0.0.0' }, 8080, () => assert.fail('an application was reached past the proxy'))
  const pod = world.sockets.hold(world.kernel.capture(source))
  const local: string[] = []
  pod.accept('inbound', {
    onFault: fault,
    onAccept: (fd) => {
      const { local: to, remote } = world.sockets.ends(fd)
      local.push(`${to.ip}:${to.port}`)
      take(fd).end(`${remote.ip} ${remote.port}`)
    },
  })
  const printed = await world.node.printed(
    world.node.name,
    `
import socket
for ip in ('${source.ip}', '${second}'):
  c = socket.create_connection((ip, 8080))
  print(c.recv(100).decode() == '%s %d' % c.getsockname())
`,
  )
  assert.equal(printed, 'True\nTrue')
  assert.deepEqual(local, [`${source.ip}:8080`, `${second}:8080`])
  pod.close()
})

kernelTest(
  "the proxy's ports are refused from inside and outside, also to the proxy itself, and counted",
  async (world) => {
    const source = world.pod()
    const captured = world.kernel.capture(source)
    const pod = world.sockets.hold(captured)
    const accepted: number[] = []
    pod.accept('outbound', { onFault: fault, onAccept: (fd) => accepted.push(fd) })
    pod.accept('inbound', { onFault: fault, onAccept: (fd) => accepted.push(fd) })
    for (const ip of ['127.0.0.1', '0.0.0.0']) {
      for (const port of [15001, 15006]) await assert.rejects(world.dial(source, { ip, port }), { code: 'EPERM' })
    }
    await assert.rejects(connect(pod.socket({ family: 4 }), { ip: '127.0.0.1', port: 15001 }), { code: 'EPERM' })
    assert.equal(world.kernel.counters().direct, 5)
    for (const port of [15001, 15006]) {
      await assert.rejects(world.reach({ ip: source.ip, port }), { code: 'ECONNREFUSED' })
    }
    assert.equal(world.kernel.counters().dropped, 2)
    // its own address with such a port is no listener of ours: captured as any other, and refused by the stack
    await assert.rejects(connect(pod.socket({ family: 4 }), { ip: source.ip, port: 15006 }), { code: 'ECONNREFUSED' })
    assert.deepEqual(accepted, [])
    pod.close()
  },
)

kernelTest('an accepted connection without an original destination is told as such and counted', async (world) => {
  const source = world.pod()
  const pod = world.sockets.hold(world.kernel.capture(source))
  const { captured } = pod
  const origins: unknown[] = []
  pod.accept('outbound', { onFault: fault, onAccept: (fd) => origins.push(world.sockets.origin(fd)) })
  // the pod's owner turns a loopback address, which is left alone, to the listener
  const nat = `add table ip t; add chain ip t out { type nat hook output priority -100; }; add rule ip t out ip daddr 127.9.9.9 tcp dport 77 dnat to 127.0.0.1:${listenerOf(captured, 'outbound').port}`
  execFileSync('nsenter', [`--net=/run/netns/${source.uid}`, 'nft', nat])
  const client = await world.dial(source, { ip: '127.9.9.9', port: 77 })
  while (origins.length === 0) await sleep(10)
  assert.deepEqual(origins, [null])
  assert.equal(world.kernel.counters().missing, 1)
  client.destroy()
  pod.close()
})

kernelTest('a pod that did not join is not touched', async (world) => {
  const [joined, other, third] = [world.pod(), world.pod(), world.pod()]
  world.sockets.hold(world.kernel.capture(joined))
  const before = world.kernel.counters()
  await world.node.python(third.uid, ECHO(third.ip, 8080, 50), true)
  const printed = await world.node.printed(
    other.uid,
    `
import socket
for i in range(50):
  c = socket.create_connection(('${third.ip}', 8080))
  c.sendall(b'x')
  print(c.getpeername()[0], c.recv(100).decode() == '%s %d %s 8080' % (c.getsockname() + c.getsockname()[:1]))
`,
  )
  assert.deepEqual(new Set(printed.split('\n')), new Set([`${third.ip} True`]))
  assert.deepEqual(world.kernel.counters(), before)
})

kernelTest('open connections live through capture and release', async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  world.serve(callee, 8080, (socket) => socket.pipe(socket))
  const older = await world.dial(caller, { ip: callee.ip, port: 8080 })
  const ping = async (socket: net.Socket): Promise<void> => {
    socket.write('ping')
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    assert.equal(chunk.toString(), 'ping')
  }
  await ping(older)
  const captured = world.kernel.capture(callee)
  relay(world, caller, new Map([[callee.ip, captured]]))
  await ping(older)
  const newer = await world.dial(caller, { ip: callee.ip, port: 8080 })
  await ping(newer)
  // a handshake that is done is forgotten at once: tables hold what is in flight, not what is open
  assert.deepEqual(handshakes(), { tables: 4, entries: 0 })
  world.kernel.release(caller.uid)
  world.kernel.release(callee.uid)
  await ping(older)
  await ping(newer)
  assert.equal(world.kernel.counters().captured, 1)
  older.destroy()
  newer.destroy()
})

kernelTest('a handshake that never completes leaves no entry when the socket is closed', async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  const pod = world.sockets.hold(world.kernel.capture(caller))
  const captured = world.kernel.capture(callee)
  // the callee's node drops what comes for it
  execFileSync('ip', ['-n', world.node.name, 'route', 'replace', 'blackhole', `${callee.ip}/32`])
  const fds = Array.from({ length: 20 }, () => pod.socket({ family: 4, callee: captured.cookie }))
  const sockets = fds.map((fd) => take(fd, { manualStart: true }))
  for (const socket of sockets) socket.connect({ host: callee.ip, port: 8080 })
  await sleep(50)
  assert.deepEqual(handshakes(), { tables: 4, entries: 20 })
  for (const socket of sockets) socket.destroy()
  await sleep(100)
  assert.deepEqual(handshakes(), { tables: 4, entries: 0 })
  pod.close()
})

kernelTest('a full table refuses the connection and counts it; it neither forwards nor evicts', async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  const kernel = openKernel({ cgroupRoot, entriesBound: 4 })
  const pod = openSockets(kernel.handles()).hold(kernel.capture(caller))
  const captured = kernel.capture(callee)
  execFileSync('ip', ['-n', world.node.name, 'route', 'replace', 'blackhole', `${callee.ip}/32`])
  const sockets = Array.from({ length: 6 }, () => {
    const fd = pod.socket({ family: 4, callee: captured.cookie })
    return take(fd, { manualStart: true })
  })
  for (const socket of sockets) socket.connect({ host: callee.ip, port: 8080 })
  await sleep(50)
  assert.equal(kernel.counters().full, 2)
  for (const socket of sockets) socket.destroy()
  pod.close()
  kernel.close('remove')
})

kernelTest('ports that an application holds are left to it', async (world) => {
  const source = world.pod()
  world.serve({ ...source, ip: '127.0.0.1' }, 15001, (socket) => socket.end('mine'))
  world.serve({ ...source, ip: '0.0.0.0' }, 15006, (socket) => socket.end('mine too'))
  const captured = world.kernel.capture(source)
  assert.equal(listenerOf(captured, 'outbound').port, 15101)
  assert.equal(listenerOf(captured, 'inbound').port, 15106)
  for (const [port, says] of [
    [15001, 'mine'],
    [15006, 'mine too'],
  ] as const) {
    const socket = await world.dial(source, { ip: '127.0.0.1', port })
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    assert.equal(chunk.toString(), says)
    socket.destroy()
  }
})

kernelTest('a socket bound to a device, or to the pod address, is captured too', async (world) => {
  const source = world.pod()
  const pod = world.sockets.hold(world.kernel.capture(source))
  const origins: string[] = []
  pod.accept('outbound', {
    onFault: fault,
    onAccept: (fd) => {
      const origin = world.sockets.origin(fd)
      origins.push(origin ? `${origin.ip}:${origin.port}` : 'none')
      take(fd).end('proxy')
    },
  })
  const printed = await world.node.printed(
    source.uid,
    `
import socket
a = socket.socket(); a.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0'); a.connect(('10.1.2.3', 81)); print(a.recv(9).decode())
b = socket.socket(); b.bind(('${source.ip}', 0)); b.connect(('10.1.2.3', 82)); print(b.recv(9).decode(), b.getsockname()[0])
`,
  )
  assert.equal(printed, `proxy\nproxy ${source.ip}`)
  assert.deepEqual(origins, ['10.1.2.3:81', '10.1.2.3:82'])
  pod.close()
})

kernelTest(
  "the agent's own network and an address that is not the pod's are refused with the reason",
  async (world) => {
    const source = world.pod()
    const home = must(native().duplicate(world.kernel.handles().home), 'duplicate')
    assert.throws(() => world.kernel.capture({ ...source, uid: 'host', ips: ['127.0.0.1'], netns: home }), {
      code: 'EHOST',
    })
    native().closeFd(home)
    assert.throws(() => world.kernel.capture({ ...source, ips: ['10.231.0.250'] }), { code: 'EADDRNOTAVAIL' })
    assert.equal(world.kernel.captured().size, 0)
  },
)

kernelTest('worker threads take connections with the numbers they were posted, and end cleanly', async (world) => {
  const source = world.pod()
  const captured = world.kernel.capture(source)
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.bpf).then(({ openSockets }) => {
      const sockets = openSockets(workerData.handles)
      const pod = sockets.hold(workerData.captured)
      pod.accept('outbound', {
        onAccept: (fd) => { parentPort.postMessage(sockets.origin(fd)); sockets.close(fd) },
        onFault: (error) => { throw error },
      })
      parentPort.postMessage('ready')
    })`
  const bpf = new URL('../../agent/kernel/bpf.ts', import.meta.url).href
  const workerData = { bpf, handles: world.kernel.handles(), captured }
  const workers = [1, 2].map(() => new Worker(program, { eval: true, workerData }))
  const told: unknown[] = []
  await Promise.all(
    workers.map(async (worker) => {
      await once(worker, 'message')
      worker.on('message', (origin) => told.push(origin))
    }),
  )
  for (let i = 0; i < 40; i++) (await world.dial(source, { ip: '10.7.7.7', port: 7000 })).destroy()
  for (let i = 0; i < 100 && told.length < 40; i++) await sleep(20)
  assert.equal(told.length, 40)
  for (const origin of told) assert.deepEqual(origin, { ip: '10.7.7.7', port: 7000 })
  for (const worker of workers) assert.equal(await worker.terminate(), 1)
})

kernelTest('two agents at one cgroup root each serve their own pods', async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  const other = openKernel({ cgroupRoot })
  const captured = other.capture(callee)
  world.serve(callee, 8080, () => assert.fail('an application was reached past the proxy'))
  const theirs = openSockets(other.handles()).hold(captured)
  const local: string[] = []
  theirs.accept('inbound', {
    onFault: fault,
    onAccept: (fd) => {
      const { local: to } = world.sockets.ends(fd)
      local.push(`${to.ip}:${to.port}`)
      take(fd).end('second agent')
    },
  })
  const seen = relay(world, caller, new Map())
  const client = await world.dial(caller, { ip: callee.ip, port: 8080 })
  const [answer] = (await once(client, 'data')) as [Buffer]
  assert.equal(answer.toString(), 'second agent')
  assert.deepEqual(seen.origins, [`${callee.ip}:8080`])
  assert.deepEqual(local, [`${callee.ip}:8080`])
  assert.equal(other.counters().captured, 0)
  assert.equal(world.kernel.counters().steered, 0)
  client.destroy()
  theirs.close()
  other.close('remove')
})

kernelTest('capture, use and release leave no program, link, map or fd behind', async (world) => {
  const sources = [world.pod(), world.pod()]
  const before = objects()
  const seen: Objects[] = []
  let fds = 0
  for (let round = 0; round < 5; round++) {
    const pods = sources.map((source) => world.sockets.hold(world.kernel.capture(source)))
    pods[0]!.accept('outbound', { onFault: fault, onAccept: (fd) => world.sockets.close(fd) })
    const client = await world.dial(sources[0]!, { ip: '10.7.7.7', port: 7000 })
    const now = objects()
    const added = (kind: keyof Objects): number[] => now[kind].filter((id) => !before[kind].includes(id))
    seen.push({ prog: added('prog'), map: added('map'), link: added('link') })
    client.destroy()
    await once(client, 'close')
    for (const source of sources) world.kernel.release(source.uid)
    for (const pod of pods) pod.close()
    await sleep(20)
    // the first round also waits for what earlier tests are still closing
    if (round === 0) fds = readdirSync('/proc/self/fd').length
  }
  for (const { prog, map, link } of seen) assert.deepEqual([prog.length, map.length, link.length], [2, 16, 2])
  assert.deepEqual(objects(), before)
  assert.equal(readdirSync('/proc/self/fd').length, fds)
  assert.equal(await gone(seen), 0)
})

test('a closed kernel leaves nothing in the machine', { timeout: 20_000 }, async (t) => {
  if (ability.able === 'no') return t.skip(ability.needs)
  const kernel = openKernel({ cgroupRoot })
  const held = objects()
  assert.deepEqual([held.prog.length, held.link.length], [7, 7])
  assert.equal(alive(held), held.prog.length + held.map.length + held.link.length)
  kernel.close('remove')
  assert.deepEqual(objects(), { prog: [], map: [], link: [] })
  assert.equal(await gone([held]), 0)
})

/** How many of these are left once the kernel had its grace periods. */
async function gone(which: readonly Objects[]): Promise<number> {
  const left = (): number => which.reduce((sum, each) => sum + alive(each), 0)
  for (let i = 0; i < 40 && left() > 0; i++) await sleep(50)
  return left()
}
