// Connections that are older than their pod's capture, under STRICT: they go on for the grace and are reset after it, and
// nothing else is.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Accounting } from '../../agent/node/accounting.ts'
import type { PeerMode, PeerModes } from '../../agent/model/peer-authentication.ts'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import type { Workload } from '../../agent/model/workload.ts'
import { StrictGrace } from '../../agent/node/strict-grace.ts'
import { join, kernelTest, Relay } from './kernel-test.ts'
import type { BpfWorld, NetnsPod } from './world.ts'

const GRACE_MS = 60_000

/** The graces of a world's pods, by a clock that the test moves. */
class Graces {
  nowMs = 0
  mode: PeerMode = 'STRICT'
  readonly #world: BpfWorld
  readonly grace: StrictGrace

  constructor(world: BpfWorld, graceMs = GRACE_MS) {
    this.#world = world
    this.grace = new StrictGrace({
      kernel: world.kernel,
      graceMs,
      modesOf: () => this.#modes(),
      nowMs: () => this.nowMs,
      log: { info: () => undefined, warn: (fields) => assert.fail(JSON.stringify(fields)) },
    })
  }

  #modes(): PeerModes {
    return { others: { mode: this.mode, by: null }, ports: new Map() }
  }

  async lookAt(nowMs: number, ...pods: NetnsPod[]): Promise<void> {
    this.nowMs = nowMs
    this.grace.know(pods.map(workload))
    for (const { uid } of pods) await this.grace.look(uid, this.#world.kernel.connections(uid))
  }
}

function workload({ uid, ips, terms }: NetnsPod): Workload {
  return {
    ...{ uid, name: uid, namespace: 'shop', node: 'n', ips, labels: {}, serviceAccount: 'default', owner: uid, terms },
    ...{
      hostNetwork: false,
      unfit: null,
      joined: true,
      terminating: false,
      captured: null,
      announcedAccount: null,
      agentReady: true,
      placedBy: 'spec',
    },
  }
}

/** Whether what is said comes back. */
async function isAlive(socket: net.Socket): Promise<boolean> {
  if (socket.destroyed) return false
  socket.write('still?')
  const ended = once(socket, 'close').then(() => false)
  return Promise.race([once(socket, 'data').then(() => true), ended, sleep(2000, false, { ref: false })])
}

/** The code of the error by which a connection ends. */
async function ending(socket: net.Socket): Promise<string> {
  const failed = new Promise<string>((resolve) => {
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(`${code}`))
  })
  return Promise.race([failed, sleep(5000, 'nothing', { ref: false })])
}

/** A server in Python that accepts and keeps what it is given. */
const KEEPER = (listener: string): string => `
import socket
s = ${listener}
print('up')
kept = []
while True: kept.append(s.accept()[0])
`

const echo = (socket: net.Socket): void => void socket.pipe(socket)

for (const [family, third] of [
  ['ip', 140],
  ['ip6', 141],
] as const) {
  kernelTest(
    `plaintext older than the capture goes on for the grace and is reset after it (${family})`,
    { net: third },
    async (world) => {
      const pod = world.pod()
      const [graces, relay] = [new Graces(world), new Relay(world.sockets, world.kernel)]
      const { promise: accepted, resolve } = Promise.withResolvers<net.Socket>()
      world.serve({ ...pod, ip: pod[family] }, 8080, (socket) => {
        resolve(socket)
        echo(socket)
      })
      const before = await world.reach({ ip: pod[family], port: 8080 })
      join(world, relay, pod)
      const after = await world.reach({ ip: pod[family], port: 8080 })
      await graces.lookAt(0, pod)
      await graces.lookAt(GRACE_MS - 1, pod)
      assert.ok(await isAlive(before))
      assert.ok(await isAlive(after))
      const ends = Promise.all([ending(before), ending(await accepted)])
      await graces.lookAt(GRACE_MS, pod)
      assert.deepEqual(await ends, ['ECONNRESET', 'ECONNABORTED'])
      await graces.lookAt(3 * GRACE_MS, pod)
      assert.ok(await isAlive(after), 'what came after the capture is the proxy’s to judge')
      assert.equal(graces.grace.closed, 1)
      assert.deepEqual(graces.grace.lacks, [])
      assert.deepEqual(relay.seen.inbound.length, 1)
    },
  )
}

kernelTest('a listener for both families is no way round', { net: 142 }, async (world) => {
  const pod = world.pod()
  const [graces, relay] = [new Graces(world), new Relay(world.sockets, world.kernel)]
  await world.node.python(
    pod.uid,
    KEEPER(`socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True)`),
    true,
  )
  const both = [await world.reach({ ip: pod.ip, port: 8080 }), await world.reach({ ip: pod.ip6, port: 8080 })]
  join(world, relay, pod)
  await graces.lookAt(0, pod)
  const ends = Promise.all(both.map(ending))
  await graces.lookAt(GRACE_MS, pod)
  assert.deepEqual(await ends, ['ECONNRESET', 'ECONNRESET'])
})

for (const [how, graceMs, mode, third] of [
  ['with a grace of 0', 0, 'STRICT', 143],
  ['under PERMISSIVE', GRACE_MS, 'PERMISSIVE', 144],
] as const) {
  kernelTest(`${how} what is older stays`, { net: third }, async (world) => {
    const pod = world.pod()
    const [graces, relay] = [new Graces(world, graceMs), new Relay(world.sockets, world.kernel)]
    graces.mode = mode
    world.serve(pod, 8080, echo)
    const before = await world.reach({ ip: pod.ip, port: 8080 })
    join(world, relay, pod)
    for (const nowMs of [0, GRACE_MS, 10 * GRACE_MS]) await graces.lookAt(nowMs, pod)
    assert.ok(await isAlive(before))
    assert.equal(world.kernel.connections(pod.uid).length, 1)
  })
}

kernelTest(
  'what the pod dialled, what it excludes, and what stays inside it, is not touched',
  { net: 145 },
  async (world) => {
    const [pod, other] = [world.pod(), world.pod()]
    const [graces, relay] = [new Graces(world), new Relay(world.sockets, world.kernel)]
    const excluding = { ...pod, terms: { ...PLAIN_TERMS, excludeInboundPorts: [9090] } }
    world.serve(other, 5432, echo)
    world.serve(pod, 9090, echo)
    world.serve(pod, 8080, echo)
    world.serve({ ...pod, ip: '127.0.0.1' }, 8081, echo)
    const dialled = await world.dial(pod, { ip: other.ip, port: 5432 })
    const excluded = await world.reach({ ip: pod.ip, port: 9090 })
    const inside = await world.dial(pod, { ip: pod.ip, port: 8080 })
    const loopback = await world.dial(pod, { ip: '127.0.0.1', port: 8081 })
    join(world, relay, excluding)
    const excludedLater = await world.reach({ ip: pod.ip, port: 9090 })
    for (const nowMs of [0, GRACE_MS, 2 * GRACE_MS]) await graces.lookAt(nowMs, excluding)
    for (const socket of [dialled, excluded, inside, loopback, excludedLater]) assert.ok(await isAlive(socket))
    assert.equal(graces.grace.closed, 0)
  },
)

kernelTest(
  'what a captured pod of this node dialled stays; what one that did not join dialled does not',
  { net: 146 },
  async (world) => {
    const [callee, caller, proxied, stranger] = [world.pod(), world.pod(), world.pod(), world.pod()]
    const [graces, relay] = [new Graces(world), new Relay(world.sockets, world.kernel)]
    const to = { ip: callee.ip, port: 8080 }
    world.serve(callee, 8080, echo)
    join(world, relay, proxied)
    const byApplication = await world.dial(caller, to)
    const byProxy = await world.dial(proxied, to)
    assert.ok(await isAlive(byProxy))
    const byStranger = await world.dial(stranger, to)
    for (const pod of [caller, callee]) join(world, relay, pod)
    assert.equal(world.kernel.connections(callee.uid).length, 3)
    await graces.lookAt(0, callee)
    const end = ending(byStranger)
    await graces.lookAt(GRACE_MS, callee)
    assert.equal(await end, 'ECONNRESET')
    assert.ok(await isAlive(byApplication))
    assert.ok(await isAlive(byProxy))
    assert.equal(graces.grace.closed, 1)
  },
)

kernelTest('what came while no agent listened is no better than what is older', { net: 147 }, async (world) => {
  const pod = world.pod()
  const [graces, relay] = [new Graces(world), new Relay(world.sockets, world.kernel)]
  world.serve(pod, 8080, echo)
  join(world, relay, pod)
  world.kernel.deafen()
  const direct = await world.reach({ ip: pod.ip, port: 8080 })
  assert.ok(await isAlive(direct))
  world.kernel.capture(pod)
  await graces.lookAt(0, pod)
  const end = ending(direct)
  await graces.lookAt(GRACE_MS, pod)
  assert.equal(await end, 'ECONNRESET')
})

kernelTest('a socket that is bound to a device is found too', { net: 148 }, async (world) => {
  const pod = world.pod()
  const [graces, relay] = [new Graces(world), new Relay(world.sockets, world.kernel)]
  await world.node.python(
    pod.uid,
    KEEPER(`socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
s.bind(('${pod.ip}', 8080))
s.listen()`),
    true,
  )
  const before = await world.reach({ ip: pod.ip, port: 8080 })
  join(world, relay, pod)
  await graces.lookAt(0, pod)
  const end = ending(before)
  await graces.lookAt(GRACE_MS, pod)
  assert.equal(await end, 'ECONNRESET')
})

kernelTest('the agent’s own loop closes hundreds, by the real clock', { net: 149 }, async (world) => {
  const pod = world.pod()
  const relay = new Relay(world.sockets, world.kernel)
  const log = { info: () => undefined, warn: (fields: object) => assert.fail(JSON.stringify(fields)) }
  world.serve(pod, 8080, echo)
  const older = await Promise.all(Array.from({ length: 300 }, () => world.reach({ ip: pod.ip, port: 8080 })))
  const grace = new StrictGrace({
    kernel: world.kernel,
    graceMs: 1000,
    modesOf: () => ({
      others: { mode: 'PERMISSIVE', by: null },
      ports: new Map([[8080, { mode: 'STRICT', by: null }]]),
    }),
    nowMs: () => performance.now(),
    log,
  })
  grace.know([workload(pod)])
  const accounting = new Accounting({ data: { account: () => undefined }, everyMs: 50, grace, log })
  try {
    const ends = Promise.all(older.map(ending))
    join(world, relay, pod)
    const beganMs = performance.now()
    accounting.watch(world.kernel)
    assert.deepEqual(new Set(await ends), new Set(['ECONNRESET']))
    assert.ok(performance.now() - beganMs >= 1000)
    assert.equal(grace.closed, 300)
  } finally {
    accounting.stop()
  }
})
