// What a pod, or somebody outside, may try to get past capture. Nothing of it reaches an application or leaves a pod
// unseen, also while no agent listens.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import { openAcceptor } from '../../agent/kernel/acceptor.ts'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { join, kernelTest, met, Relay, take } from './kernel-test.ts'
import { objects } from './objects.ts'
import { type BpfWorld, connect, type NetnsPod } from './world.ts'

const CLOSED = { ...PLAIN_TERMS, onLoss: 'closed' } as const

function inside(pod: NetnsPod, ...command: string[]): void {
  execFileSync('nsenter', [`--net=/run/netns/${pod.uid}`, ...command], { stdio: ['ignore', 'ignore', 'pipe'] })
}

/** What Python prints in the pod. */
const printed = (world: BpfWorld, pod: NetnsPod, program: string): Promise<string> =>
  world.node.printed(pod.uid, `import socket\n${program}`)

const SPEAK = (mark: string, ip: string): string => `
c = socket.socket(); c.settimeout(3)
try:
  ${mark}
  c.connect(('${ip}', 8080)); print(c.recv(30).decode())
except OSError as e: print(e.errno)
`

kernelTest('marks and other options of a socket are no way out', { net: 100 }, async (world) => {
  const [pod, other] = [world.pod(), world.pod()]
  world.serve(other, 8080, (socket) => socket.end('application'))
  const relay = new Relay(world.sockets, world.kernel)
  join(world, relay, { ...pod, terms: CLOSED })
  inside(pod, 'ip', 'address', 'add', '10.231.200.100/32', 'dev', 'eth0')
  const tries = [
    'c.setsockopt(socket.SOL_SOCKET, 36, 0x1234)', // SO_MARK
    'c.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")',
    'c.setsockopt(socket.IPPROTO_IP, 19, 1); c.bind(("10.231.200.100", 0))', // IP_TRANSPARENT
    'c.bind(("10.231.200.100", 0))', // a second address
    'c = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); c.settimeout(3)', // MPTCP
    'c.setsockopt(socket.SOL_TCP, 30, 1)', // TCP_FASTOPEN_CONNECT
  ]
  for (const how of tries) assert.equal(await printed(world, pod, SPEAK(how, other.ip)), 'application', how)
  assert.equal(relay.seen.outbound.length, tries.length)
  const fast = `c = socket.socket(); c.sendto(b'x', 0x20000000, ('${other.ip}', 8080)); print(c.recv(30).decode())` // MSG_FASTOPEN
  assert.equal(await printed(world, pod, fast), 'application')
  assert.equal(relay.seen.outbound.length, tries.length + 1)
  world.kernel.deafen()
  for (const how of tries) assert.equal(await printed(world, pod, SPEAK(how, other.ip)), '111', how)
})

kernelTest('a socket that was connected inside and is connected once more is captured', { net: 101 }, async (world) => {
  const [pod, other] = [world.pod(), world.pod()]
  world.serve(other, 8080, (socket) => socket.end('application'))
  world.serve({ ...pod, ip: '127.0.0.1' }, 7000, (socket) => socket.end('inside'))
  const relay = new Relay(world.sockets, world.kernel)
  join(world, relay, { ...pod, terms: CLOSED })
  const twice = `
import ctypes
c = socket.socket(); c.connect(('127.0.0.1', 7000)); c.recv(10)
libc = ctypes.CDLL(None); libc.connect(c.fileno(), bytes(16), 16)
c.connect(('${other.ip}', 8080)); print(c.recv(30).decode(), c.getpeername()[0])
`
  assert.equal(await printed(world, pod, twice), `application ${other.ip}`)
  assert.deepEqual(relay.seen.outbound, [`${other.ip}:8080`])
})

kernelTest(
  'rules in the pod that turn strangers to a listener on loopback open no way in',
  { net: 102 },
  async (world) => {
    const pod = world.pod()
    const relay = new Relay(world.sockets, world.kernel)
    // a listener that takes what is turned to it, transparently, and one on an ordinary port
    const listen = `
s = socket.socket(); s.setsockopt(socket.IPPROTO_IP, 19, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 9999)); s.listen(64); print('up')
while True: s.accept()[0].sendall(b'listener')
`
    await world.node.python(pod.uid, `import socket\n${listen}`, true)
    world.serve(pod, 8080, (socket) => socket.end('application'))
    join(world, relay, { ...pod, terms: CLOSED })
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'application')
    inside(pod, 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1', 'net.ipv4.conf.eth0.route_localnet=1')
    inside(pod, 'ip', 'rule', 'add', 'fwmark', '1', 'lookup', '100')
    inside(pod, 'ip', 'route', 'add', 'local', '0.0.0.0/0', 'dev', 'lo', 'table', '100')
    const rules = {
      tproxy:
        'type filter hook prerouting priority mangle; tcp dport 8080 tproxy to 127.0.0.1:9999 meta mark set 1 accept',
      redirect: 'type nat hook prerouting priority dstnat; tcp dport 8080 redirect to :9999',
      dnat: 'type nat hook prerouting priority dstnat; tcp dport 8080 dnat to 127.0.0.1:9999',
    }
    for (const [name, rule] of Object.entries(rules)) {
      inside(
        pod,
        'nft',
        `add table ip t; add chain ip t c { ${rule.slice(0, rule.indexOf(';') + 1)} }; add rule ip t c${rule.slice(rule.indexOf(';') + 1)}`,
      )
      for (const state of ['alive', 'dead']) {
        if (state === 'dead') world.kernel.deafen()
        relay.seen.inbound.length = 0
        const got = await met(world.reach({ ip: pod.ip, port: 8080 }))
        // alive, the proxy's own leg may be turned: the pod decides which of its applications answers
        const isSeen = relay.seen.inbound.length > 0
        assert.equal(isSeen, state === 'alive' && name === 'tproxy', `${name}, agent ${state}`)
        if (!isSeen) assert.ok(!['listener', 'application'].includes(got), `${name}, agent ${state}: ${got}`)
      }
      world.kernel.capture({ ...pod, terms: CLOSED })
      inside(pod, 'nft', 'delete table ip t')
    }
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'application')
  },
)

kernelTest('an address that another pod had a moment ago opens nothing to it', { net: 103 }, async (world) => {
  const [before, after, caller] = [world.pod(), world.pod(), world.pod()]
  const relay = new Relay(world.sockets, world.kernel)
  for (const pod of [before, caller]) join(world, relay, { ...pod, terms: CLOSED })
  join(world, relay, { ...after, terms: CLOSED })
  const route = (...args: string[]): void => void execFileSync('ip', args)
  for (let round = 0; round < 20; round++) {
    const [from, to] = round % 2 === 0 ? [before, after] : [after, before]
    // what the proxy announced to the pod that has the address now must not let a SYN pass at the next one
    const fd = relay.hold(world.kernel.captured().get(caller.uid)!).socket({
      family: 4,
      callee: world.kernel.captured().get(from.uid)!.cookie,
    })
    assert.ok(fd > 0)
    route('-n', from.uid, 'address', 'delete', `${before.ip}/32`, 'dev', 'eth0')
    route('-n', to.uid, 'address', 'add', `${before.ip}/32`, 'dev', 'eth0')
    route('-n', world.node.name, 'route', 'replace', `${before.ip}/32`, 'dev', to === after ? 'v2' : 'v1')
    // with its last address a namespace lost its routes
    route('-n', to.uid, 'route', 'replace', '169.254.1.1', 'dev', 'eth0')
    route('-n', to.uid, 'route', 'replace', 'default', 'via', '169.254.1.1')
    const stop = serving(world, { ...to, ip: before.ip })
    relay.seen.inbound.length = 0
    try {
      assert.equal(await met(connect(fd, { ip: before.ip, port: 8080 })), 'application')
      assert.deepEqual(relay.seen.inbound, [`${before.ip}:8080`], 'it came to the proxy as a stranger’s')
    } finally {
      stop()
    }
  }
})

/** An application that can be ended. */
function serving(world: BpfWorld, pod: NetnsPod): () => void {
  const home = world.kernel.handles().home
  const wish = { ip: pod.ip, port: 8080, backlog: 16, own: -1, mark: NO_MARK }
  const fd = must(native().listenIn(pod.netns, home, wish), 'listen')
  const acceptor = openAcceptor(fd, { onAccept: (each) => take(each).end('application'), onFault: () => undefined })
  return () => {
    acceptor.close()
    native().closeFd(fd)
  }
}

kernelTest('a drop between two pods of one node stops their relayed traffic too', { net: 104 }, async (world) => {
  const [caller, callee] = [world.pod(), world.pod()]
  world.serve(callee, 8080, (socket) => socket.end('application'))
  const relay = new Relay(world.sockets, world.kernel)
  for (const pod of [caller, callee]) join(world, relay, pod)
  assert.equal(await met(world.dial(caller, { ip: callee.ip, port: 8080 })), 'application')
  const nft = (rules: string): void => {
    execFileSync('nsenter', [`--net=/run/netns/${world.node.name}`, 'nft', rules])
  }
  nft(
    `add table ip t; add chain ip t c { type filter hook forward priority 0; }; add rule ip t c ip saddr ${caller.ip} ip daddr ${callee.ip} drop`,
  )
  assert.equal(await met(world.dial(caller, { ip: callee.ip, port: 8080 })), 'nothing')
  nft('delete table ip t')
  assert.equal(await met(world.dial(caller, { ip: callee.ip, port: 8080 })), 'application')
})

kernelTest('what somebody detaches or deletes comes back with the next look', { net: 105 }, async (world) => {
  const [pod, other] = [world.pod(), world.pod()]
  world.serve(other, 8080, (socket) => socket.end('application'))
  const relay = new Relay(world.sockets, world.kernel)
  const { cookie } = join(world, relay, { ...pod, terms: { ...CLOSED, probePorts: [8080] } })
  const bpftool = (...args: string[]): string => execFileSync('bpftool', ['-j', ...args], { encoding: 'utf8' })
  const maps = JSON.parse(bpftool('map', 'show')) as { id: number; name?: string }[]
  const own = objects().map
  const idOf = (name: string): number => maps.find((map) => map.name === name && own.includes(map.id))!.id
  const key = [...new Uint8Array(new BigUint64Array([BigInt(cookie)]).buffer)].map(String)
  for (const name of ['pods', 'origins', 'entries', 'listening', 'tallies']) {
    bpftool('map', 'delete', 'id', `${idOf(name)}`, 'key', ...key)
  }
  bpftool('map', 'delete', 'id', `${idOf('listeners')}`, 'key', '0', '0', '0', '0')
  assert.deepEqual(world.kernel.look(), [])
  for (const id of objects().link) bpftool('link', 'detach', 'id', `${id}`)
  assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application') // and nobody sees it
  assert.deepEqual(relay.seen.outbound, [])
  assert.equal(world.kernel.look().length, 7)
  assert.deepEqual(world.kernel.look(), [])
  world.kernel.capture({ ...pod, terms: { ...CLOSED, probePorts: [8080] } })
  assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
  world.serve(pod, 8080, (socket) => socket.end('own'))
  assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'own')
  assert.deepEqual(relay.seen, { outbound: [`${other.ip}:8080`], inbound: [`${pod.ip}:8080`] })
})

kernelTest(
  'listeners of the proxy that the pod itself has ended are opened anew by the next look',
  { net: 106 },
  async (world) => {
    const [pod, other] = [world.pod(), world.pod()]
    for (const each of [pod, other]) world.serve(each, 8080, (socket) => socket.end('application'))
    const relay = new Relay(world.sockets, world.kernel, () => undefined)
    const before = join(world, relay, { ...pod, terms: CLOSED })
    for (const port of [15001, 15006]) inside(pod, 'ss', '-K', '-l', '-t', `sport = :${port}`)
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'ECONNREFUSED')
    assert.notEqual(join(world, relay, { ...pod, terms: CLOSED }), before, 'so the data side is told')
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'application')
    assert.deepEqual(relay.seen, { outbound: [`${other.ip}:8080`], inbound: [`${pod.ip}:8080`] })
  },
)

kernelTest(
  'a binding to a device that cannot be taken off goes direct, and nowhere from a closed pod',
  { net: 107 },
  async (world) => {
    const [open, closed, other] = [world.pod(), world.pod(), world.pod()]
    world.serve(other, 8080, (socket) => socket.end('application'))
    const relay = new Relay(world.sockets, world.kernel)
    join(world, relay, open)
    join(world, relay, { ...closed, terms: CLOSED })
    const bound = `import os\nos.setuid(65534)${SPEAK('c.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")', other.ip)}`
    assert.equal(await printed(world, open, bound), 'application')
    assert.equal(await printed(world, closed, bound), '111')
    assert.deepEqual(relay.seen.outbound, [])
  },
)
