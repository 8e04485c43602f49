import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Captured as CapturedPod, PodSockets, Sockets } from '../kernel/kernel.ts'
import type { SocketAddress } from '../model/address.ts'
import { MeshError } from '../model/failure.ts'
import { capture, type Captured } from './capture.ts'
import { DEFAULT_LIMITS } from './plane/limits.ts'
import type { JoinedPod } from './plane/node.ts'
import type { Channel } from './transport/transport.ts'

const LISTENERS = [
  { direction: 'outbound', ip: '127.0.0.1', fd: 1, port: 15001 },
  { direction: 'inbound', ip: '127.0.0.1', fd: 2, port: 15006 },
  { direction: 'outbound', ip: '::1', fd: 3, port: 15101 },
  { direction: 'inbound', ip: '::1', fd: 4, port: 15006 },
] as const

function podAt(...ips: string[]): JoinedPod {
  const captured: CapturedPod = { uid: 'web', ips, cookie: '7', netns: -1, listeners: LISTENERS }
  const acceptor = { pause() {}, resume() {}, close() {} }
  const sockets: PodSockets = { captured, accept: () => acceptor, socket: () => -1, close: () => undefined }
  return { captured, sockets, acceptors: [], connections: 1, released: false }
}

/** What the kernel says of one connection. */
function told(origin: SocketAddress | null, local: SocketAddress, remote: SocketAddress): Sockets {
  const hold = (): never => assert.fail('no pod is held')
  return { hold, origin: () => origin, ends: () => ({ local, remote }), close: () => undefined }
}

const at = (ip: string, port: number): SocketAddress => ({ ip, port })
const channel = {} as Channel // not looked at

function outbound(pod: JoinedPod, to: SocketAddress | null, loopback = '127.0.0.1'): Captured {
  const sockets = told(to, at(loopback, 15001), at(loopback, 40000))
  return capture({ fd: 9, channel, direction: 'outbound', pod }, { sockets, limits: DEFAULT_LIMITS })
}

function inbound(pod: JoinedPod, dialled: SocketAddress, from: SocketAddress): Captured {
  const sockets = told(null, dialled, from)
  return capture({ fd: 9, channel, direction: 'inbound', pod }, { sockets, limits: DEFAULT_LIMITS })
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

test('a listener of the mesh’s own is refused at every address that leads to it, and nothing else is', () => {
  const pod = podAt('10.244.0.1', 'fd00:1::1')
  for (const ip of ['127.0.0.1', '127.9.9.9', '0.0.0.0', '::1', '::', '10.244.0.1', 'fd00:1::1']) {
    for (const port of [15001, 15006, 15101]) {
      assert.equal(
        code(() => outbound(pod, at(ip, port))),
        'OWN_LISTENER',
        `${ip} ${port}`,
      )
      assert.equal(
        code(() => inbound(pod, at(ip, port), at('fd00:9::9', 5))),
        'OWN_LISTENER',
        `${ip} ${port}`,
      )
    }
    assert.equal(
      code(() => outbound(pod, at(ip, 8080))),
      null,
      ip,
    )
  }
  for (const ip of ['10.244.0.2', 'fd00:1::2'])
    assert.equal(
      code(() => outbound(pod, at(ip, 15001))),
      null,
      ip,
    )
})

test('a connection whose destination nobody knows is refused', () => {
  assert.equal(
    code(() => outbound(podAt('10.244.0.1'), null)),
    'NO_ORIGINAL_DESTINATION',
  )
})
