// Every address family: IPv6, IPv4 from AF_INET6 sockets, both at once, and addresses that a pod gets late.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import { DIALLER, join, kernelTest, NAMER, Relay } from './kernel-test.ts'
import { connect } from './world.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'

kernelTest(
  'IPv6 between two captured pods is relayed, and both applications see the truth',
  { net: 60 },
  async (world) => {
    const [caller, callee] = [world.pod(), world.pod()]
    const relay = new Relay(world.sockets, world.kernel)
    for (const pod of [caller, callee]) join(world, relay, pod)
    await world.node.python(callee.uid, NAMER('::', 8080), true)
    const told = await world.node.printed(caller.uid, DIALLER(callee.ip6, 8080))
    const [me, peer, seen, seenByName] = told.split('|')
    assert.deepEqual([me, peer], [caller.ip6, `${callee.ip6} 8080`])
    assert.match(seen!, new RegExp(`^${caller.ip6} \\d+$`))
    assert.equal(seenByName, caller.ip6)
    assert.deepEqual(relay.seen, { outbound: [`[${callee.ip6}]:8080`], inbound: [] })
  },
)

kernelTest('IPv6 from outside is steered, and its application sees the client', { net: 61 }, async (world) => {
  const callee = world.pod()
  const relay = new Relay(world.sockets, world.kernel)
  join(world, relay, callee)
  await world.node.python(callee.uid, NAMER(callee.ip6, 8080), true)
  // the node's own address towards the pod is a link-local one, so it dials from another
  execFileSync('ip', ['-n', world.node.name, 'address', 'add', 'fd00:231:61::ffff/128', 'dev', 'lo', 'nodad'])
  const before = `c.bind(('fd00:231:61::ffff', 0))`
  const told = await world.node.printed(world.node.name, DIALLER(callee.ip6, 8080, before))
  assert.match(told.split('|')[2]!, /^fd00:231:61::ffff \d+$/)
  assert.equal(told.split('|')[3], 'fd00:231:61::ffff')
  assert.deepEqual(relay.seen, { outbound: [], inbound: [`[${callee.ip6}]:8080`] })
  assert.equal(world.kernel.counters().steered, 1)
})

kernelTest('an IPv4 address dialled by an AF_INET6 socket is one of IPv4 to everybody', { net: 62 }, async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  const relay = new Relay(world.sockets, world.kernel)
  for (const pod of [caller, callee]) join(world, relay, pod)
  await world.node.python(callee.uid, NAMER('::', 8080), true)
  const told = await world.node.printed(caller.uid, DIALLER(`::ffff:${callee.ip}`, 8080))
  const [me, peer, seen] = told.split('|')
  assert.deepEqual([me, peer], [`::ffff:${caller.ip}`, `::ffff:${callee.ip} 8080`])
  assert.match(seen!, new RegExp(`^::ffff:${caller.ip} \\d+$`))
  assert.deepEqual(relay.seen.outbound, [`${callee.ip}:8080`])
})

kernelTest(
  'closed ports of IPv6 refuse, and a listener of the other family does not open them',
  { net: 63 },
  async (world) => {
    const callee = world.pod()
    const relay = new Relay(world.sockets, world.kernel)
    join(world, relay, callee)
    await world.node.python(callee.uid, NAMER('0.0.0.0', 8001), true)
    await world.node.python(callee.uid, NAMER('::', 8002), true)
    const met = async (ip: string, port: number): Promise<string> =>
      world.reach({ ip, port }).then(
        (socket) => {
          socket.destroy()
          return 'open'
        },
        (error: NodeJS.ErrnoException) => `${error.code}`,
      )
    assert.deepEqual(await Promise.all([met(callee.ip, 8001), met(callee.ip6, 8001)]), ['open', 'ECONNREFUSED'])
    assert.deepEqual(await Promise.all([met(callee.ip, 8002), met(callee.ip6, 8002)]), ['open', 'open'])
    assert.deepEqual(await Promise.all([met(callee.ip, 8003), met(callee.ip6, 8003)]), ['ECONNREFUSED', 'ECONNREFUSED'])
  },
)

kernelTest('the proxy’s ports at ::1 and at the pod’s IPv6 address are refused', { net: 64 }, async (world) => {
  const pod = world.pod()
  const relay = new Relay(world.sockets, world.kernel)
  const { listeners } = join(world, relay, pod)
  assert.deepEqual(
    listeners.map(({ direction, ip, port }) => [direction, ip, port]),
    [
      ['inbound', '127.0.0.1', 15006],
      ['inbound', '::1', 15006],
      ['outbound', '127.0.0.1', 15001],
      ['outbound', '::1', 15001],
    ],
  )
  for (const port of [15001, 15006]) {
    await assert.rejects(world.dial(pod, { ip: '::1', port }), { code: 'EPERM' })
    await assert.rejects(world.reach({ ip: pod.ip6, port }), { code: 'ECONNREFUSED' })
  }
  assert.deepEqual(relay.seen, { outbound: [], inbound: [] })
})

kernelTest('a pod that gets IPv6 after its capture is captured there too', { net: 65 }, async (world) => {
  const [late, other] = [world.pod(), world.pod()]
  const inside = (...command: string[]): void => {
    execFileSync('nsenter', [`--net=/run/netns/${late.uid}`, ...command])
  }
  inside('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.lo.disable_ipv6=1')
  const relay = new Relay(world.sockets, world.kernel)
  const first = join(world, relay, { ...late, ips: [late.ip] })
  assert.equal(first.listeners.length, 2)
  inside('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=0', 'net.ipv6.conf.lo.disable_ipv6=0')
  inside('ip', 'address', 'add', `${late.ip6}/128`, 'dev', 'eth0', 'nodad')
  inside('ip', '-6', 'route', 'replace', 'default', 'via', 'fe80::1', 'dev', 'eth0')
  const second = join(world, relay, late) // the next look
  assert.equal(second.listeners.length, 4)
  assert.equal(second.cookie, first.cookie)
  await world.node.python(other.uid, NAMER('::', 8080), true)
  const told = await world.node.printed(late.uid, DIALLER(other.ip6, 8080))
  assert.equal(told.split('|')[0], late.ip6)
  assert.deepEqual(relay.seen.outbound, [`[${other.ip6}]:8080`])
})

kernelTest('IPv6 without ::1 is captured both ways, and shows nothing of it', { net: 66 }, async (world) => {
  const [pod, other] = [world.pod(), world.pod()]
  execFileSync('nsenter', [`--net=/run/netns/${pod.uid}`, 'ip', 'address', 'delete', '::1/128', 'dev', 'lo'])
  const relay = new Relay(world.sockets, world.kernel)
  const { listeners } = join(world, relay, pod)
  assert.deepEqual(
    listeners.map(({ direction, ip }) => `${direction} ${ip}`),
    ['inbound 127.0.0.1', 'inbound ::', 'outbound 127.0.0.1'],
  )
  world.serve({ ...pod, ip: pod.ip6 }, 8081, (socket) => socket.end('inbound'))
  const socket = await world.dial(other, { ip: pod.ip6, port: 8081 })
  await once(socket.resume(), 'end')
  socket.destroy()
  assert.deepEqual(relay.seen.inbound, [`[${pod.ip6}]:8081`])
  await assert.rejects(world.dial(other, { ip: pod.ip6, port: 15006 }), { code: 'ECONNREFUSED' })
  await world.node.python(other.uid, NAMER('::', 8080), true)
  const told = await world.node.printed(pod.uid, DIALLER(other.ip6, 8080))
  assert.deepEqual(told.split('|').slice(0, 2), [pod.ip6, `${other.ip6} 8080`])
  assert.deepEqual(relay.seen.outbound, [`[${other.ip6}]:8080`])
})

kernelTest('a second address of either family is captured, whenever it came', { net: 67 }, async (world) => {
  const pod = world.pod()
  const relay = new Relay(world.sockets, world.kernel)
  join(world, relay, pod)
  const seconds = ['10.231.200.67', 'fd00:231:67::99']
  for (const ip of seconds) {
    const bits = ip.includes(':') ? 128 : 32
    execFileSync('ip', [
      '-n',
      pod.uid,
      'address',
      'add',
      `${ip}/${bits}`,
      'dev',
      'eth0',
      ...(bits === 128 ? ['nodad'] : []),
    ])
    const via = ip.includes(':') ? [] : ['via', pod.ip, 'onlink']
    execFileSync('ip', ['-n', world.node.name, 'route', 'add', `${ip}/${bits}`, ...via, 'dev', 'v1'])
  }
  world.serve({ ...pod, ip: '0.0.0.0' }, 8080, (socket) => socket.end('v4'))
  world.serve({ ...pod, ip: '::' }, 8081, (socket) => socket.end('v6'))
  const home = world.kernel.handles().home
  for (const [index, ip] of seconds.entries()) {
    const family = index === 0 ? 4 : 6
    const fd = must(native().socketIn(world.node.netns, home, family, -1, NO_MARK), 'dial from the node')
    const socket = await connect(fd, { ip, port: 8080 + index })
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()
  }
  assert.deepEqual(relay.seen.inbound, ['10.231.200.67:8080', '[fd00:231:67::99]:8081'])
})

kernelTest('a link-local address goes direct, and nowhere from a closed pod', { net: 68 }, async (world) => {
  const [open, closed] = [world.pod(), world.pod()]
  const relay = new Relay(world.sockets, world.kernel)
  join(world, relay, open)
  join(world, relay, { ...closed, terms: { ...PLAIN_TERMS, onLoss: 'closed' } })
  const server = `
import socket
s = socket.socket(socket.AF_INET6); s.bind(('::', 7070)); s.listen(16); print('up')
while True: s.accept()[0].sendall(b'node')
`
  await world.node.python(world.node.name, server, true)
  const dial = `
import socket
c = socket.socket(socket.AF_INET6); c.settimeout(3)
try:
  c.connect(('fe80::1', 7070, 0, socket.if_nametoindex('eth0'))); print(c.recv(10).decode())
except OSError as e: print(e.errno)
`
  assert.equal(await world.node.printed(open.uid, dial), 'node')
  assert.equal(await world.node.printed(closed.uid, dial), '111')
  assert.deepEqual(relay.seen, { outbound: [], inbound: [] })
})
