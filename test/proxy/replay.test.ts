// A pooled connection that its server has closed meanwhile: what may be sent again is, once; what may not be is 503.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { world } from '../../agent/model/world.fixture.ts'
import { REPEAT_LIMIT } from '../../agent/proxy/exchange.ts'
import { ask, type Mesh, mesh } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

interface Server {
  readonly node: Mesh
  /** What came on each connection. */
  readonly came: string[]
}

/**
 * A server that answers the first request of each of its first `stale` connections, and resets at the second; `partly`
 * is sent ahead of the reset. Further connections serve on.
 */
async function closing(t: TestContext, { stale = 1, partly = '' } = {}): Promise<Server> {
  const node = mesh(t, one())
  const came: string[] = []
  await node.tcp('app-v1-1', (socket: Socket) => {
    const connection = came.push('') - 1
    let requests = 0
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      came[connection] += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end < 0) return
      if (++requests === 2 && connection < stale) {
        if (partly === '') socket.resetAndDestroy()
        else socket.write(partly, () => setTimeout(() => socket.resetAndDestroy(), 10))
        return
      }
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
      if (text.length < end + 4 + length) {
        requests--
        return
      }
      text = text.slice(end + 4 + length)
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  return { node, came }
}

const replays = (node: Mesh): number => node.count('weft_retries_total', { why: 'STALE_CONNECTION' })

for (const [method, body, status] of [
  ['GET', '', 200],
  ['OPTIONS', '', 200],
  ['DELETE', '', 200],
  ['PUT', '', 200],
  ['PUT', 'a body', 200],
  ['DELETE', 'a body', 200],
  ['POST', '', 503],
  ['POST', 'a body', 503],
  ['PATCH', 'a body', 503],
  ['LOCK', '', 503],
] as const) {
  const what = `${method} with ${body === '' ? 'no' : 'a short'} body`
  test(`${what} is ${status === 200 ? 'sent again' : '503'} where its pooled connection was closed`, async (t) => {
    const { node, came } = await closing(t)
    const socket = await node.dial('web-1', APP)
    assert.equal((await ask(socket, GET)).body, 'ok')
    const length = body === '' ? '' : `Content-Length: ${body.length}\r\n`
    const answer = await ask(socket, `${method} /second HTTP/1.1\r\nHost: app\r\n${length}\r\n${body}`)
    assert.equal(answer.status, status)
    assert.deepEqual([replays(node), came.length], status === 200 ? [1, 2] : [0, 1])
    if (status === 200) assert.ok(came[1]?.startsWith(`${method} /second`) && came[1].endsWith(`\r\n\r\n${body}`))
    await node.until(() => node.records.length === 2, 'two records')
    const [, record] = node.records
    assert.deepEqual([record?.response_code, record?.bytes_received], [status, body.length])
  })
}

test('a body that comes in parts, before and after the connection is lost, is sent again whole', async (t) => {
  const { node, came } = await closing(t)
  const socket = await node.dial('web-1', APP)
  await ask(socket, GET)
  socket.write('PUT /second HTTP/1.1\r\nHost: app\r\nContent-Length: 6\r\n\r\n')
  for (const part of ['ab', 'cd', 'ef']) {
    await sleep(20)
    socket.write(part)
  }
  assert.equal((await ask(socket, '')).status, 200)
  assert.match(came[1] ?? '', /\r\n\r\nabcdef$/)
})

for (const [what, head, body] of [
  ['beyond what is kept', `Content-Length: ${REPEAT_LIMIT + 1}`, 'x'.repeat(REPEAT_LIMIT + 1)],
  ['of unknown length', 'Transfer-Encoding: chunked', '1\r\nx\r\n0\r\n\r\n'],
] as const) {
  test(`a body ${what} is not sent again`, async (t) => {
    const { node } = await closing(t)
    const socket = await node.dial('web-1', APP)
    await ask(socket, GET)
    assert.equal((await ask(socket, `PUT / HTTP/1.1\r\nHost: app\r\n${head}\r\n\r\n${body}`)).status, 503)
    assert.equal(replays(node), 0)
  })
}

test('a connection that is lost behind a byte of the response is no reason to ask again', async (t) => {
  const { node, came } = await closing(t, { partly: 'HTTP/1.1 200 O' })
  const socket = await node.dial('web-1', APP)
  await ask(socket, GET)
  assert.equal((await ask(socket, GET)).status, 503)
  assert.deepEqual([replays(node), came.length], [0, 1])
})

test('where a server has closed all its pooled connections, a request is sent again once', async (t) => {
  const { node, came } = await closing(t, { stale: 5 })
  const sockets = await Promise.all(Array.from({ length: 5 }, () => node.dial('web-1', APP)))
  await Promise.all(sockets.map((socket) => ask(socket, GET)))
  assert.equal(node.plane.node.pools.idle, 5)
  assert.equal((await ask(sockets[0] as Socket, GET)).status, 200)
  assert.deepEqual([replays(node), came.length], [1, 6])
})
