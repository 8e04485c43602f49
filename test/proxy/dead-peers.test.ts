// Peers that vanish without a word: what was dialled, and who dialled, in network namespaces whose answers are swallowed.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { must, native, NO_MARK } from '../../agent/kernel/native.ts'
import { probe } from '../../agent/kernel/probe.ts'
import { world } from '../../agent/model/world.fixture.ts'
import { DataPlane } from '../../agent/proxy/plane/plane.ts'
import { bpfWorld, type NetnsPod } from '../kernel/world.ts'
import { drainSocket, readUntil } from './mesh.ts'

const ability = probe()
const USER_TIMEOUT_MS = 1000
const ECHO = { ip: '10.96.0.1', port: 9000 }

test('the patience of a socket is what it was given', () => {
  const fd = must(native().socketIn(-1, -1, 4, -1, NO_MARK), 'make a socket')
  try {
    assert.equal(native().userTimeout(fd), 0)
    assert.equal(native().setUserTimeout(fd, 1234), 0)
    assert.equal(native().userTimeout(fd), 1234)
  } finally {
    native().closeFd(fd)
  }
  assert.ok(native().setUserTimeout(fd, 1) < 0)
})

/** From now on nothing that a pod sends arrives anywhere. */
function swallow({ uid: namespace }: NetnsPod): void {
  execFileSync('ip', ['-n', namespace, 'route', 'replace', 'blackhole', 'default'])
}

/** How a socket ended, and after how many milliseconds. */
async function ended(socket: Socket): Promise<{ how: string; ms: number }> {
  const beganMs = performance.now()
  const { how } = await drainSocket(socket)
  return { how, ms: performance.now() - beganMs }
}

test('a dead peer is a reset at the other end within the time that is set', { timeout: 60_000 }, async (t) => {
  if (ability.able !== 'yes') return t.skip(ability.able === 'no' ? ability.needs : ability.why)
  const machine = bpfWorld(ability.cgroupRoot, 93)
  const [app, web] = [machine.pod(), machine.pod()]
  const shop = world()
    .service('echo', { ports: [{ port: 9000, protocol: 'opaque', targetPort: 8080 }] })
    .pods('echo-v1', { ips: [app.ip] })
    .pods('web', { ips: [web.ip], behind: [] })
  const faults: string[] = []
  const plane = new DataPlane({
    sockets: machine.sockets,
    access: { write: () => {}, dropped: 0, close: () => Promise.resolve() },
    onFault: (why) => faults.push(why),
    limits: { userTimeoutMs: USER_TIMEOUT_MS },
  })
  try {
    plane.apply(shop.inventory(1))
    plane.capture(machine.kernel.capture({ ...web, uid: shop.pod('web-1').uid }))
    machine.serve(app, 8080, (socket) => socket.pipe(socket))
    const socket = await machine.dial(web, ECHO)
    socket.write('there?')
    assert.equal(await readUntil(socket, (got) => got.length === 6), 'there?')
    swallow(app)
    const end = ended(socket)
    socket.write('and now?')
    const { how, ms } = await end
    assert.equal(how, 'reset')
    assert.ok(ms >= USER_TIMEOUT_MS * 0.9 && ms < 10 * USER_TIMEOUT_MS, `${ms} ms`)
    await sleep(50)
    assert.equal(plane.node.live.size, 0)
    assert.deepEqual(faults, [])
  } finally {
    await plane.stop(0)
    await machine.close()
  }
})
