// What a pod's terms say: exclusions go direct, probes pass in the kernel, a fail-closed pod is refused until it is captured.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, rmdirSync } from 'node:fs'
import net from 'node:net'
import { join as joinPath } from 'node:path'
import { promisify } from 'node:util'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import { cgroupRoot, fault, join, kernelTest, met, Relay, take } from './kernel-test.ts'
import type { BpfWorld, NetnsPod } from './world.ts'

function relayFor(world: BpfWorld): Relay {
  return new Relay(world.sockets, world.kernel)
}

/** Applications that say their name, on some ports of both families. */
function applications(world: BpfWorld, pod: NetnsPod, ports: readonly number[]): void {
  for (const port of ports) {
    world.serve(pod, port, (socket) => socket.end('application'))
    world.serve({ ...pod, ip: pod.ip6 }, port, (socket) => socket.end('application'))
  }
}

kernelTest('excluded outbound ports go direct, the others do not, and terms may change', { net: 80 }, async (world) => {
  const [pod, other] = [world.pod(), world.pod()]
  applications(world, other, [3306, 8080])
  const relay = relayFor(world)
  const terms = { ...PLAIN_TERMS, excludeOutboundPorts: [3306] }
  join(world, relay, { ...pod, terms })
  for (const ip of [other.ip, other.ip6]) {
    for (const port of [3306, 8080]) assert.equal(await met(world.dial(pod, { ip, port })), 'application')
  }
  assert.deepEqual(relay.seen.outbound, [`${other.ip}:8080`, `[${other.ip6}]:8080`])
  assert.equal(world.kernel.counters().excluded, 2)
  // taken back, and other pods never had it
  world.kernel.capture(pod)
  assert.equal(await met(world.dial(pod, { ip: other.ip, port: 3306 })), 'application')
  assert.equal(relay.seen.outbound.at(-1), `${other.ip}:3306`)
})

kernelTest('excluded blocks go direct, by the longest match of their family alone', { net: 81 }, async (world) => {
  const [pod, one, two] = [world.pod(), world.pod(), world.pod()]
  for (const each of [one, two]) applications(world, each, [8080])
  const relay = relayFor(world)
  const terms = { ...PLAIN_TERMS, excludeOutboundCidrs: [`${one.ip}/32`, `${two.ip6}/128`] }
  join(world, relay, { ...pod, terms })
  for (const ip of [one.ip, one.ip6, two.ip, two.ip6]) {
    assert.equal(await met(world.dial(pod, { ip, port: 8080 })), 'application')
  }
  assert.deepEqual(relay.seen.outbound, [`[${one.ip6}]:8080`, `${two.ip}:8080`])
  relay.seen.outbound.length = 0
  world.kernel.capture({ ...pod, terms: { ...PLAIN_TERMS, excludeOutboundCidrs: ['::/0'] } })
  assert.equal(await met(world.dial(pod, { ip: one.ip, port: 8080 })), 'application')
  assert.equal(await met(world.dial(pod, { ip: one.ip6, port: 8080 })), 'application')
  assert.deepEqual(relay.seen.outbound, [`${one.ip}:8080`], 'IPv6 as a whole is not IPv4')
  relay.seen.outbound.length = 0
  world.kernel.capture({ ...pod, terms: { ...PLAIN_TERMS, excludeOutboundCidrs: ['0.0.0.0/0'] } })
  assert.equal(await met(world.dial(pod, { ip: one.ip, port: 8080 })), 'application')
  assert.equal(await met(world.dial(pod, { ip: one.ip6, port: 8080 })), 'application')
  assert.deepEqual(relay.seen.outbound, [`[${one.ip6}]:8080`])
})

kernelTest('excluded inbound ports reach the application, the others the proxy', { net: 82 }, async (world) => {
  const [pod, other] = [world.pod(), world.pod()]
  applications(world, pod, [9090, 8080])
  const relay = relayFor(world)
  join(world, relay, { ...pod, terms: { ...PLAIN_TERMS, excludeInboundPorts: [9090] } })
  join(world, relay, other) // 9090 is excluded for one pod, not for this
  applications(world, other, [9090])
  for (const ip of [pod.ip, pod.ip6, other.ip]) assert.equal(await met(world.reach({ ip, port: 9090 })), 'application')
  assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'application')
  assert.deepEqual(relay.seen.inbound, [`${other.ip}:9090`, `${pod.ip}:8080`])
})

/** Dials from the machine's own namespace, where the agent and so its node are. */
function fromNode(pod: NetnsPod, port: number): Promise<string> {
  return met(
    new Promise((resolve, reject) => {
      const socket = net.connect({ host: pod.ip, port }, () => resolve(socket))
      socket.once('error', reject)
    }),
  )
}

/** Joins the machine's namespace and the test's node by a veth, so that the agent's own namespace can dial the pods. */
function bridge(world: BpfWorld, third: number): Disposable {
  const name = `t-b${third}`
  const ip = (...args: string[]): void => void execFileSync('ip', args)
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'uplink', 'netns', world.node.name)
  ip('address', 'add', `10.231.250.${third}/32`, 'dev', name)
  ip('link', 'set', name, 'up')
  ip('-n', world.node.name, 'link', 'set', 'uplink', 'up')
  ip('-n', world.node.name, 'route', 'add', `10.231.250.${third}/32`, 'dev', 'uplink')
  ip('-n', world.node.name, 'address', 'add', `10.231.251.${third}/32`, 'dev', 'uplink')
  ip('route', 'add', `10.231.${third}.0/24`, 'dev', name, 'src', `10.231.250.${third}`)
  execFileSync('nsenter', [`--net=/run/netns/${world.node.name}`, 'sysctl', '-qw', 'net.ipv4.conf.uplink.proxy_arp=1'])
  return { [Symbol.dispose]: () => ip('link', 'delete', name) }
}

kernelTest(
  'probes of the node pass to the application, and nothing else of the node does',
  { net: 83 },
  async (world) => {
    using _ = bridge(world, 83)
    const pod = world.pod()
    applications(world, pod, [8080, 8081])
    const relay = relayFor(world)
    const closed = { ...PLAIN_TERMS, onLoss: 'closed' as const, probePorts: [8081] }
    world.kernel.capture({ ...pod, terms: closed })
    // as if the agent were dead: nobody accepts what is steered
    world.kernel.deafen()
    assert.equal(await fromNode(pod, 8081), 'application')
    assert.equal(await fromNode(pod, 8080), 'ECONNREFUSED')
    // the same port from another namespace is no probe, whatever address it comes from
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8081 })), 'ECONNREFUSED')
    assert.equal(world.kernel.counters().probes, 1)
    // nor is a socket that was a probe and is connected once more, elsewhere
    const twice = `
import socket, ctypes
c = socket.socket(); c.connect(('${pod.ip}', 8081)); ctypes.CDLL(None).connect(c.fileno(), bytes(16), 16)
try:
  c.connect(('${pod.ip}', 8080)); print('through')
except OSError as e: print(e.errno)
`
    const { stdout } = await promisify(execFile)('python3', ['-c', twice])
    assert.equal(stdout.trim(), '111')
    join(world, relay, { ...pod, terms: closed })
    assert.equal(await fromNode(pod, 8081), 'application')
    assert.equal(await fromNode(pod, 8080), 'application')
    assert.deepEqual(relay.seen.inbound, [`${pod.ip}:8080`])
  },
)

const prober = joinPath(cgroupRoot, `weft-test-prober-${process.pid}`)

kernelTest(
  'where the kubelet’s cgroup is known only its dials are probes',
  { net: 84, proberCgroup: prober, prepare: () => mkdirSync(prober) },
  async (world) => {
    using _ = bridge(world, 84)
    const pod = world.pod()
    applications(world, pod, [8081])
    world.kernel.capture({ ...pod, terms: { ...PLAIN_TERMS, onLoss: 'closed', probePorts: [8081] } })
    world.kernel.deafen()
    assert.equal(await fromNode(pod, 8081), 'ECONNREFUSED')
    const dial = `import socket; print(socket.create_connection(('${pod.ip}', 8081), 2).recv(20).decode())`
    const enter = `echo $$ >'${joinPath(prober, 'deeper')}/cgroup.procs' && exec python3 -c "$0"`
    mkdirSync(joinPath(prober, 'deeper'))
    try {
      const { stdout } = await promisify(execFile)('sh', ['-c', enter, dial])
      assert.equal(stdout.trim(), 'application')
      // the kubelet starts anew, in a cgroup of the same name
      rmdirSync(joinPath(prober, 'deeper'))
      rmdirSync(prober)
      assert.match(world.kernel.look().join(), /no cgroup at/)
      for (const folder of [prober, joinPath(prober, 'deeper')]) mkdirSync(folder)
      assert.deepEqual(world.kernel.look(), [])
      const again = await promisify(execFile)('sh', ['-c', enter, dial])
      assert.equal(again.stdout.trim(), 'application')
    } finally {
      rmdirSync(joinPath(prober, 'deeper'))
      rmdirSync(prober)
    }
  },
)

kernelTest(
  'an address that passes to another pod within milliseconds keeps the new pod’s probe',
  { net: 85 },
  async (world) => {
    using _ = bridge(world, 85)
    const [before, after] = [world.pod(), world.pod()]
    const terms = { ...PLAIN_TERMS, onLoss: 'closed' as const, probePorts: [8081] }
    world.kernel.capture({ ...before, terms })
    const ip = (...args: string[]): void => void execFileSync('ip', args)
    ip('-n', before.uid, 'address', 'delete', `${before.ip}/32`, 'dev', 'eth0')
    ip('-n', after.uid, 'address', 'add', `${before.ip}/32`, 'dev', 'eth0')
    ip('-n', world.node.name, 'route', 'replace', `${before.ip}/32`, 'dev', 'v2')
    const moved = { ...after, ip: before.ip, ips: [before.ip, after.ip6], terms }
    world.serve(moved, 8081, (socket) => socket.end('after'))
    world.kernel.capture(moved)
    world.kernel.release(before.uid)
    world.kernel.deafen()
    assert.equal(await fromNode(moved, 8081), 'after')
  },
)

kernelTest(
  'a fail-closed pod whose capture fails is refused until it succeeds; an open one is left alone',
  { net: 86 },
  async (world) => {
    const [pod, other] = [world.pod(), world.pod()]
    applications(world, other, [8080])
    applications(world, pod, [8080])
    // no port is left for the proxy's listeners
    const hogs = [15001, 15101, 15006, 15106].map((port) => [port, '127.0.0.1'] as const)
    for (const [port, ip] of hogs) world.serve({ ...pod, ip }, port, (socket) => socket.end('hog'))
    execFileSync('nsenter', [
      `--net=/run/netns/${pod.uid}`,
      'sysctl',
      '-qw',
      'net.ipv4.ip_local_port_range=40000 40000',
    ])
    world.serve({ ...pod, ip: '127.0.0.1' }, 40000, (socket) => socket.end('hog'))
    assert.throws(() => world.kernel.capture({ ...pod, terms: { ...PLAIN_TERMS, onLoss: 'closed' } }), {
      code: 'EADDRINUSE',
    })
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'ECONNREFUSED')
    execFileSync('nsenter', [
      `--net=/run/netns/${pod.uid}`,
      'sysctl',
      '-qw',
      'net.ipv4.ip_local_port_range=41000 42000',
    ])
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'ECONNREFUSED')
    assert.ok(world.kernel.counters().pending >= 1)
    const relay = relayFor(world)
    const closed = { ...pod, terms: { ...PLAIN_TERMS, onLoss: 'closed' as const } }
    join(world, relay, closed)
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'application')
    // a look that fails later refuses too, and what is refused can be let go
    const unsound = { ...closed, terms: { ...closed.terms, excludeOutboundCidrs: ['10.0.0.0/99'] } }
    assert.throws(() => world.kernel.capture(unsound), RangeError)
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'ECONNREFUSED')
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'ECONNREFUSED')
    assert.deepEqual(world.kernel.held(), [pod.uid])
    world.kernel.release(pod.uid)
    assert.deepEqual(world.kernel.held(), [])
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
  },
)

kernelTest(
  'after the first half of a release what the pod dials goes direct, what dials it is still taken',
  { net: 87 },
  async (world) => {
    const [pod, other] = [world.pod(), world.pod()]
    for (const each of [pod, other]) applications(world, each, [8080])
    const relay = relayFor(world)
    join(world, relay, pod)
    world.kernel.loosen(pod.uid)
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'application')
    assert.deepEqual(relay.seen, { outbound: [], inbound: [`${pod.ip}:8080`] })
    world.kernel.capture(pod) // it joins again
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    assert.deepEqual(relay.seen.outbound, [`${other.ip}:8080`])
  },
)

kernelTest(
  'a capture is proved by dials both ways, and what answers in its place is no proof',
  { net: 88 },
  async (world) => {
    using _ = bridge(world, 88)
    const pod = world.pod()
    const relay = relayFor(world)
    const captured = world.kernel.capture({ ...pod, ips: [pod.ip] })
    await assert.rejects(world.kernel.prove(pod.uid), /self-dial .*ETIMEDOUT/) // nobody accepts
    const held = world.sockets.hold(captured)
    const wrong = (fd: number): void => void take(fd).end('weft 1\n')
    const acceptors = (['inbound', 'outbound'] as const).map((direction) =>
      held.accept(direction, { onFault: fault, onAccept: wrong }),
    )
    await assert.rejects(world.kernel.prove(pod.uid), /self-dial .*EPROTO/) // another's name
    for (const acceptor of acceptors) acceptor.close()
    relay.hold(captured)
    await world.kernel.prove(pod.uid)
    assert.deepEqual(relay.seen, { outbound: [], inbound: [] })
    // the gate is shut again
    await assert.rejects(world.reach({ ip: pod.ip, port: 15006 }), { code: 'ECONNREFUSED' })
  },
)
