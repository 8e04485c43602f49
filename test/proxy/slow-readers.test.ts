// Callers that do not read: what they hold back is their own.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, type Mesh, mesh } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const BODY_BYTES = 20 * 1024
const GET = 'GET /large HTTP/1.1\r\nHost: app\r\n\r\n'

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

/** A caller that asks, one request after another, until an answer does not leave any more. Returns how many it asked. */
async function stuck(node: Mesh): Promise<{ socket: Socket; answers: number }> {
  const large = Buffer.alloc(BODY_BYTES)
  await node.http('app-v1-1', (request, response) => void response.end(request.url === '/large' ? large : 'small'))
  const socket = await node.dial('web-1', APP)
  socket.pause()
  let answers = 0
  while (node.transport.stagedBytes === 0) {
    socket.write(GET)
    answers++
    await node.until(() => node.records.length === answers, `answer ${answers}`)
    await sleep(0)
  }
  return { socket, answers }
}

test('an upstream whose last answer a caller does not read serves the next caller', async (t) => {
  const node = mesh(t, one())
  await stuck(node)
  const other = await node.dial('web-1', APP)
  const answer = await Promise.race([ask(other, 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'), sleep(1000)])
  assert.equal(answer?.body, 'small')
})

test('a connection to be ended waits for a slow caller to have read its last answer', async (t) => {
  const node = mesh(t, one())
  const { socket, answers } = await stuck(node)
  node.plane.node.live.drain(Infinity)
  await sleep(50)
  assert.equal(node.plane.node.live.size, 1)
  const { bytes, how } = await drainSocket(socket)
  assert.equal(how, 'end')
  assert.equal(bytes.toString('latin1').split('HTTP/1.1 200').length - 1, answers)
  assert.ok(bytes.length > answers * BODY_BYTES)
  socket.end()
  await node.until(() => node.plane.node.live.size === 0, 'the end')
})
