// Waiting has an end: heads, bodies, requests, connects and silence, each with its own answer.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { match, rule, to, world } from '../../agent/model/world.fixture.ts'
import { MeshError } from '../../agent/model/failure.ts'
import { ask, drainSocket, mesh, parseAnswer, readUntil } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

test('a head that trickles for too long is 408, however often a byte comes', async (t) => {
  const node = mesh(t, one(), { limits: { headMs: 150, sweepMs: 20 } })
  const socket = await node.dial('web-1', APP)
  const whole = drainSocket(socket)
  const drip = setInterval(() => socket.write('x'), 10)
  t.after(() => clearInterval(drip))
  socket.write('GET / HTTP/1.1\r\nHost: app\r\nX: ')
  const answer = parseAnswer((await whole).bytes.toString())
  assert.deepEqual([answer.status, answer.headers['connection']], [408, 'close'])
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_code, 408)
})

test('the time for a head begins with its own first byte, not with the connection or the request ahead', async (t) => {
  const node = mesh(t, one(), { limits: { headMs: 150, sweepMs: 20 } })
  await node.http('app-v1-1', (_, response) => void setTimeout(() => response.end('ok'), 250))
  const socket = await node.dial('web-1', APP)
  for (let i = 0; i < 2; i++) {
    await sleep(250)
    assert.equal((await ask(socket, GET)).status, 200)
  }
})

test('a caller that falls silent within its request body is 408', async (t) => {
  const node = mesh(t, one(), { limits: { bodyMs: 100, sweepMs: 20 } })
  let closed = false
  await node.http('app-v1-1', (request) => {
    request.on('error', () => {})
    request.socket.on('close', () => (closed = true))
    request.resume()
  })
  const socket = await node.dial('web-1', APP)
  socket.write('POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\n12345')
  const { bytes } = await drainSocket(socket)
  assert.equal(parseAnswer(bytes.toString()).status, 408)
  await node.until(() => closed && node.records.length === 1, 'the end of the upstream connection and a record')
  assert.deepEqual([node.records[0]?.response_code, node.records[0]?.bytes_received], [408, 5])
})

test('a caller is not blamed for a body that the application does not take, nor for one answered already', async (t) => {
  const node = mesh(t, one(), { limits: { bodyMs: 100, sweepMs: 20 } })
  const body = Buffer.alloc(24 << 20)
  await node.http('app-v1-1', (request, response) => {
    if (request.url === '/early') {
      response.write('early ') // and waits for a body that takes its time
      request.on('end', () => response.end('late'))
      request.resume()
    } else setTimeout(() => void request.resume().on('end', () => response.end('taken')), 500)
  })
  const stuck = await node.dial('web-1', APP)
  stuck.write(`POST /stuck HTTP/1.1\r\nHost: app\r\nContent-Length: ${body.length}\r\n\r\n`)
  stuck.write(body)
  const early = await node.dial('web-1', APP)
  early.write('POST /early HTTP/1.1\r\nHost: app\r\nContent-Length: 1\r\n\r\n')
  await readUntil(early, (got) => got.includes('early '))
  await sleep(400)
  early.write('x')
  assert.match(await readUntil(early, (got) => got.endsWith('0\r\n\r\n')), /late/)
  assert.match(await readUntil(stuck, (got) => got.includes('taken')), /^HTTP\/1\.1 200/)
})

test('a request without a time-out of its own has the one of the settings; a rule’s goes first', async (t) => {
  const slow = match({ uri: { kind: 'exact', value: '/slow' } })
  const http = [
    rule({ matches: [slow], timeoutMs: 1000, destinations: [to('app')] }),
    rule({ destinations: [to('app')] }),
  ]
  const node = mesh(t, one().virtualService({ hosts: ['app'], http }), { limits: { requestMs: 60 } })
  await node.http('app-v1-1', (_, response) => void setTimeout(() => response.end('late'), 200))
  const socket = await node.dial('web-1', APP)
  assert.equal((await ask(socket, GET)).status, 504)
  assert.equal((await ask(socket, GET.replace('/', '/slow'))).body, 'late')
  await node.until(() => node.records.length === 2, 'two records')
  assert.deepEqual(
    node.records.map((record) => record.response_flags),
    ['UT', '-'],
  )
})

test('a response that does not end in time is broken off, never a short success', async (t) => {
  const node = mesh(t, one(), { limits: { requestMs: 100 } })
  await node.http('app-v1-1', (_, response) => void response.setHeader('content-length', 100).write('part'))
  const socket = await node.dial('web-1', APP)
  socket.write(GET)
  const { how, bytes } = await drainSocket(socket)
  assert.equal(how, 'reset')
  assert.ok(bytes.toString().endsWith('part'))
  await node.until(() => node.records.length === 1, 'a record')
  assert.deepEqual([node.records[0]?.response_code, node.records[0]?.response_flags], [200, 'UT'])
})

test('an endpoint that does not answer a connect is 503 with flag UF once all were tried', async (t) => {
  let connects = 0
  const node = mesh(t, one(), {
    connect: (_fd, to) => {
      connects++
      return Promise.reject(new MeshError('CONNECT_TIMEOUT', `${to.ip} did not answer`))
    },
  })
  const answer = await ask(await node.dial('web-1', APP), GET)
  assert.deepEqual([answer.status, connects], [503, 3])
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_flags, 'UF,URX')
})

test('a kept connection that says nothing for too long is closed in order, not reset', async (t) => {
  const node = mesh(t, one(), { limits: { idleMs: 120, sweepMs: 20 } })
  await node.http('app-v1-1', (_, response) => void response.end('ok'))
  const socket = await node.dial('web-1', APP)
  assert.equal((await ask(socket, GET)).status, 200)
  assert.equal((await drainSocket(socket)).how, 'end')
  socket.end()
  await node.until(() => node.plane.node.live.size === 0, 'the end')
})

test('the time of a request begins behind an injected delay', async (t) => {
  const delayed = rule({
    fault: { delay: { percent: 100, ms: 300 }, abort: null },
    timeoutMs: 5000,
    destinations: [to('app')],
  })
  const node = mesh(t, one().virtualService({ hosts: ['app'], http: [delayed] }))
  await node.http('app-v1-1', (_request, response) => {
    node.plane.node.deadlines.tick(performance.now() + 4900)
    response.end('in time')
  })
  const answer = await ask(await node.dial('web-1', APP), GET)
  assert.deepEqual([answer.status, answer.body], [200, 'in time'])
})
