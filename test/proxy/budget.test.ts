// What one pod's connections make the mesh hold is bounded for the pod: beyond it that pod's connections alone suffer.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, mesh, type Mesh } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const RAW = { ip: '10.96.0.2', port: 9000 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'
const BOUND = 512 * 1024

function busy() {
  return world()
    .service('app')
    .service('raw', { ports: [{ port: 9000, protocol: 'opaque', targetPort: 9000 }] })
    .pods('app-v1')
    .pods('raw-v1')
    .pods('web', { behind: [] })
    .pods('other', { behind: [] })
}

/** Bytes that a pod's connections hold. */
function held(node: Mesh, uid: string): number {
  return node.plane.node.pods.get(uid)?.budget.held ?? 0
}

async function flooding(node: Mesh): Promise<void> {
  await node.http('app-v1-1', (_, response) => void response.end('ok'))
  await node.tcp('raw-v1-1', (socket) => void socket.write(Buffer.alloc(16 << 20)), 9000)
}

/** Connections of `web` to a server that floods them, none of which reads. Returns how many were reset. */
async function deaf(node: Mesh, count: number): Promise<{ sockets: Socket[]; lost: () => number }> {
  let lost = 0
  const sockets: Socket[] = []
  for (let i = 0; i < count; i++) {
    const socket = await node.dial('web-1', RAW)
    socket.pause()
    socket.on('close', () => lost++)
    socket.on('error', () => {})
    sockets.push(socket)
  }
  return { sockets, lost: () => lost }
}

test('connections that hold too much for one pod are reset, counted, and another pod is served on', async (t) => {
  const shop = busy()
  const node = mesh(t, shop, { limits: { podBufferBytes: BOUND } })
  await flooding(node)
  await deaf(node, 30)
  const isOver = (): boolean => node.count('weft_failures_total', { reason: 'BUFFER_LIMIT' }) > 0
  await node.until(isOver, 'a refusal')
  await sleep(100)
  assert.ok(held(node, shop.pod('web-1').uid) <= BOUND + 128 * 1024, `${held(node, shop.pod('web-1').uid)}`)
  assert.equal((await ask(await node.dial('other-1', APP), GET)).body, 'ok')
  assert.equal(held(node, shop.pod('other-1').uid), 0)
  assert.ok(
    node.records.every(({ weft_reason, response_flags }) => weft_reason !== 'BUFFER_LIMIT' || response_flags === 'UO'),
  )
})

test('what was held is given back, however a connection ends', async (t) => {
  const shop = busy()
  const node = mesh(t, shop)
  await flooding(node)
  const { uid } = shop.pod('web-1')
  const { sockets } = await deaf(node, 6)
  await node.until(() => held(node, uid) > 0, 'a backlog')
  for (const [i, socket] of sockets.entries()) {
    if (i % 3 === 0) socket.resetAndDestroy()
    else if (i % 3 === 1) socket.destroy()
    else socket.resume()
  }
  await sleep(200)
  for (const socket of sockets) socket.destroy()
  await node.until(() => held(node, uid) === 0, 'nothing held')
})

test('what callers send ahead of their turn counts too, and is given back', async (t) => {
  const shop = busy()
  const node = mesh(t, shop, { limits: { podBufferBytes: BOUND } })
  await node.http('app-v1-1', (_, response) => void setTimeout(() => response.end('ok'), 300))
  const { uid } = shop.pod('web-1')
  const sockets = await Promise.all(Array.from({ length: 20 }, () => node.dial('web-1', APP)))
  for (const socket of sockets) {
    socket.write(GET + GET.repeat(1200)) // some 43 KB behind the first
    socket.resume()
  }
  await node.until(() => node.count('weft_failures_total', { reason: 'BUFFER_LIMIT' }) > 0, 'a refusal')
  for (const socket of sockets) socket.destroy()
  await node.until(() => held(node, uid) === 0 && node.plane.node.live.size === 0, 'nothing held')
  assert.equal((await ask(await node.dial('web-1', APP), GET)).body, 'ok')
})
