import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UNBOUNDED } from './transport/budget.ts'
import type { Captured as CapturedPod, PodSockets, Sockets } from '../kernel/kernel.ts'
import type { SocketAddress } from '../model/address.ts'
import { MeshError } from '../model/failure.ts'
import { SELF_DIAL } from '../model/self-dial.ts'
import { capture, type Captured } from './capture.ts'
import { Handshakes } from './plane/handshakes.ts'
import { DEFAULT_LIMITS } from './plane/limits.ts'
import type { JoinedPod } from './plane/node.ts'
import type { Channel } from './transport/transport.ts'

const LISTENERS = [
  { direction: 'outbound', ip: '127.0.0.1', fd: 1, port: 15001, socket: '1' },
  { direction: 'inbound', ip: '127.0.0.1', fd: 2, port: 15006, socket: '1' },
  { direction: 'outbound', ip: '::1', fd: 3, port: 15101, socket: '1' },
  { direction: 'inbound', ip: '::1', fd: 4, port: 15006, socket: '1' },
] as const

function podAt(...ips: string[]): JoinedPod {
  const captured: CapturedPod = { uid: 'web', ips, cookie: '7', netns: -1, listeners: LISTENERS }
  const acceptor = { pause() {}, resume() {}, close() {} }
  const sockets: PodSockets = { captured, accept: () => acceptor, socket: () => -1, close: () => undefined }
  const limit = new Handshakes(DEFAULT_LIMITS)
  const handshakes = { inbound: limit, outbound: limit }
  const counts = { connections: 1, nodeConnections: 1, row: null }
  return {
    captured,
    sockets,
    acceptors: [],
    budget: UNBOUNDED,
    handshakes,
    ...counts,
    released: false,
    isHeldOff: false,
  }
}

/** What the kernel says of one connection. */
function told(origin: SocketAddress | null, local: SocketAddress, remote: SocketAddress): Sockets {
  const hold = (): never => assert.fail('no pod is held')
  return {
    hold,
    origin: () => origin,
    ends: () => ({ local, remote }),
    setUserTimeout: () => undefined,
    close: () => undefined,
  }
}

const at = (ip: string, port: number): SocketAddress => ({ ip, port })
const channel = {} as Channel // not looked at

const captureIn = (pod: JoinedPod, direction: 'outbound' | 'inbound', sockets: Sockets): Captured | 'self-dial' =>
  capture({ fd: 9, channel, direction, pod }, { sockets, limits: DEFAULT_LIMITS })

/** What becomes of a dial of the pod's own application. */
function dial(pod: JoinedPod, to: SocketAddress | null, loopback = '127.0.0.1'): Captured | 'self-dial' {
  return captureIn(pod, 'outbound', told(to, at(loopback, 15001), at(loopback, 40000)))
}

/** What becomes of a dial that comes from outside. */
function reach(pod: JoinedPod, dialled: SocketAddress, from: SocketAddress): Captured | 'self-dial' {
  return captureIn(pod, 'inbound', told(null, dialled, from))
}

function outbound(...dialled: Parameters<typeof dial>): Captured {
  const captured = dial(...dialled)
  assert.ok(captured !== 'self-dial')
  return captured
}

function inbound(...reached: Parameters<typeof reach>): Captured {
  const captured = reach(...reached)
  assert.ok(captured !== 'self-dial')
  return captured
}

const code = (work: () => unknown): string | null => {
  try {
    work()
    return null
  } catch (error) {
    assert.ok(error instanceof MeshError)
    return error.code
  }
}

test('a caller is at its pod’s address of the family that it dials', () => {
  const both = podAt('10.244.0.1', 'fd00:1::1')
  assert.deepEqual(outbound(both, at('10.96.0.1', 80)).peer, at('10.244.0.1', 40000))
  assert.deepEqual(outbound(both, at('fd00::1', 80), '::1').peer, at('fd00:1::1', 40000))
  const sixFirst = podAt('fd00:1::1', '10.244.0.1')
  assert.deepEqual(outbound(sixFirst, at('10.96.0.1', 80)).peer, at('10.244.0.1', 40000))
  assert.deepEqual(outbound(podAt('10.244.0.1'), at('fd00::1', 80), '::1').peer, at('::1', 40000))
})

test('what comes in is from where it comes, to where it was sent', () => {
  const pod = podAt('10.244.0.1', 'fd00:1::1')
  for (const [to, from] of [
    [at('10.244.0.1', 8080), at('10.244.9.9', 5)],
    [at('fd00:1::1', 8080), at('fd00:9::9', 5)],
  ] as const) {
    const { dialled, peer } = inbound(pod, to, from)
    assert.deepEqual([dialled, peer], [to, from])
  }
})

test('a pod cannot dial a listener of the mesh’s own, at whatever address leads to it, and nothing else is refused', () => {
  const pod = podAt('10.244.0.1', 'fd00:1::1')
  for (const ip of ['127.0.0.1', '127.9.9.9', '0.0.0.0', '::1', '::', '10.244.0.1', 'fd00:1::1']) {
    for (const port of [15001, 15006, 15101]) {
      assert.equal(
        code(() => dial(pod, at(ip, port))),
        'OWN_LISTENER',
        `${ip} ${port}`,
      )
    }
    assert.deepEqual(outbound(pod, at(ip, 8080)).dialled, at(ip, 8080))
  }
  for (const ip of ['10.244.0.2', 'fd00:1::2']) assert.deepEqual(outbound(pod, at(ip, 15001)).dialled, at(ip, 15001))
})

test('what comes from outside to a listener of the mesh’s own is the agent’s look whether capture works', () => {
  const pod = podAt('10.244.0.1', 'fd00:1::1')
  for (const ip of ['10.244.0.1', 'fd00:1::1']) {
    for (const port of [15001, 15006, 15101]) {
      assert.equal(reach(pod, at(ip, port), at('fd00:9::9', 5)), 'self-dial', `${ip} ${port}`)
    }
    assert.deepEqual(inbound(pod, at(ip, 8080), at('fd00:9::9', 5)).dialled, at(ip, 8080))
  }
})

test('a dial of the address that nobody has, at its very port, is the agent’s look whether capture works', () => {
  const pod = podAt('10.244.0.1', 'fd00:1::1')
  for (const { ip, port } of Object.values(SELF_DIAL)) {
    assert.equal(dial(pod, at(ip, port)), 'self-dial')
    assert.deepEqual(outbound(pod, at(ip, port + 1)).dialled, at(ip, port + 1))
  }
  assert.deepEqual(outbound(pod, at('192.0.0.9', 9)).dialled, at('192.0.0.9', 9))
})

test('a connection whose destination nobody knows is refused', () => {
  assert.equal(
    code(() => dial(podAt('10.244.0.1'), null)),
    'NO_ORIGINAL_DESTINATION',
  )
})

test('a caller that has gone already, and one of too many, are refused as such', () => {
  const pod = podAt('10.244.0.1')
  const gone: Sockets = {
    ...told(at('10.96.0.1', 80), at('127.0.0.1', 15001), at('127.0.0.1', 40000)),
    ends: () => {
      throw new Error('read the ends: ENOTCONN')
    },
  }
  assert.equal(
    code(() => captureIn(pod, 'outbound', gone)),
    'CALLER_RESET',
  )
  pod.nodeConnections = DEFAULT_LIMITS.podConnections
  assert.equal(
    code(() => dial(pod, at('10.96.0.1', 80))),
    null,
  )
  pod.nodeConnections++
  assert.equal(
    code(() => dial(pod, at('10.96.0.1', 80))),
    'SOCKET_LIMIT',
  )
})
