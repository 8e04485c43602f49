// HTTP/1.0 on either side: what it does not know is kept from it, and its connections end when they must.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, mesh, parseAnswer, readUntil } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

test('an HTTP/1.0 caller that asks to be kept is, where the length is known', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request, response) => {
    if (request.url === '/chunks') response.write('un')
    response.end('known')
  })
  const socket = await node.dial('web-1', APP)
  const request = (path: string): string => `GET ${path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`
  for (let i = 0; i < 2; i++) {
    const { body, headers } = await ask(socket, request('/'))
    assert.deepEqual([body, headers['connection']], ['known', 'keep-alive'])
  }
  socket.write(request('/chunks'))
  const answer = parseAnswer((await drainSocket(socket)).bytes.toString())
  assert.deepEqual([answer.body, answer.headers['connection']], ['unknown', 'close'])
})

test('an HTTP/1.0 caller hears of no interim response', async (t) => {
  const node = mesh(t, one())
  await node.tcp('app-v1-1', (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  const socket = await node.dial('web-1', APP)
  socket.write('GET / HTTP/1.0\r\n\r\n')
  assert.match((await drainSocket(socket)).bytes.toString(), /^HTTP\/1\.1 200 OK\r\n/)
})

test('an answer of an HTTP/1.0 server that ends with its connection is whole, and the caller’s connection goes on', async (t) => {
  const node = mesh(t, one())
  let connections = 0
  await node.tcp('app-v1-1', (socket) => {
    connections++
    socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\nX-Is: old\r\n\r\nuntil the end'))
  })
  const socket = await node.dial('web-1', APP)
  for (let i = 1; i <= 2; i++) {
    socket.write('GET / HTTP/1.1\r\nHost: app\r\n\r\n')
    const text = await readUntil(socket, (got) => got.endsWith('0\r\n\r\n'))
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*transfer-encoding: chunked[^]*\r\nuntil the end\r\n/i)
    assert.equal(connections, i)
  }
})

test('an HTTP/1.0 server that says nothing of keeping is asked once a connection', async (t) => {
  const node = mesh(t, one())
  let connections = 0
  await node.tcp('app-v1-1', (socket) => {
    connections++
    socket.on('data', () => socket.write('HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'))
  })
  const socket = await node.dial('web-1', APP)
  for (let i = 0; i < 3; i++) assert.equal((await ask(socket, 'GET / HTTP/1.1\r\nHost: app\r\n\r\n')).body, 'ok')
  assert.equal(connections, 3)
})

test('a reset where an answer ends with its connection is a reset, never a short success', async (t) => {
  const node = mesh(t, one())
  await node.tcp('app-v1-1', (socket) => {
    socket.once('data', () =>
      socket.write('HTTP/1.0 200 OK\r\n\r\npart', () => setTimeout(() => socket.resetAndDestroy(), 20)),
    )
  })
  const socket = await node.dial('web-1', APP)
  socket.write('GET / HTTP/1.1\r\nHost: app\r\n\r\n')
  const { bytes, how } = await drainSocket(socket)
  assert.equal(how, 'reset')
  assert.ok(!bytes.toString().endsWith('0\r\n\r\n'))
})
