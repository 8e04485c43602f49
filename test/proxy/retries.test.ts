// Retries as a rule asks for them, end to end: what is sent again, how often, and what the caller gets.

import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { test, type TestContext } from 'node:test'
import type { Retries } from '../../agent/model/policy.ts'
import { to, world } from '../../agent/model/world.fixture.ts'
import type { Limits } from '../../agent/proxy/plane/limits.ts'
import { ask, type Mesh, mesh, readUntil } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'
const post = (body: string): string => `POST / HTTP/1.1\r\nHost: app\r\nContent-Length: ${body.length}\r\n\r\n${body}`

interface Asked {
  readonly node: Mesh
  /** The body of each request that an application got, in order. */
  readonly bodies: string[]
}

/** What each try is answered by number from 0 on; a body is read first. */
type Answers = (tried: number, response: ServerResponse, request: IncomingMessage) => void

interface Wish {
  readonly retries: Partial<Retries>
  readonly answers: Answers
  /** Those that answer; 0: the test listens itself. */
  readonly pods?: number
  readonly limits?: Partial<Limits>
  readonly timeoutMs?: number
}

async function asked(t: TestContext, { retries, answers, pods = 1, limits = {}, timeoutMs }: Wish): Promise<Asked> {
  const said = { attempts: null, perTryMs: null, on: null, statuses: [], ignorePrevious: null, remoteLocalities: null }
  const rule = { destinations: [to('app')], retries: { ...said, backoffMs: 1, ...retries } }
  const places = world()
    .service('app')
    .pods('app', { count: Math.max(1, pods) })
    .pods('web', { behind: [] })
    .virtualService({ hosts: ['app'], http: [{ ...rule, timeoutMs: timeoutMs ?? null }] })
  const node = mesh(t, places, { limits })
  const bodies: string[] = []
  for (let pod = 1; pod <= pods; pod++) {
    await node.http(`app-${pod}`, (request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
      request.on('end', () => answers(bodies.push(body) - 1, response, request))
    })
  }
  return { node, bodies }
}

/** 503 to the first so many, then 200. */
const failing =
  (times: number, status = 503): Answers =>
  (tried, response) => {
    response.statusCode = tried < times ? status : 200
    response.end(tried < times ? 'not yet' : 'at last')
  }

test('an answer that a rule has tried again never reaches the caller, its body is sent again whole', async (t) => {
  const { node, bodies } = await asked(t, { retries: { attempts: 3, on: ['5xx'] }, answers: failing(2) })
  const socket = await node.dial('web-1', APP)
  const answer = await ask(socket, post('a body'))
  assert.deepEqual([answer.status, answer.body], [200, 'at last'])
  assert.deepEqual(bodies, ['a body', 'a body', 'a body'])
  const chunked = 'POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'
  bodies.length = 0
  assert.equal((await ask(socket, chunked)).status, 200)
  assert.deepEqual(bodies, ['abcde', 'abcde', 'abcde'])
  await node.until(() => node.records.length === 2, 'two records')
  assert.deepEqual(
    node.records.map((record) => [record.response_code, record.response_flags]),
    [
      [200, '-'],
      [200, '-'],
    ],
  )
  assert.equal(node.count('weft_retries_total', { why: 'ANSWERED' }), 4)
  assert.deepEqual(node.faults, [])
})

test('the last answer is the caller’s once retries have run out, and its record says so', async (t) => {
  const { node, bodies } = await asked(t, { retries: { attempts: 2, on: ['gateway-error'] }, answers: failing(9, 502) })
  const answer = await ask(await node.dial('web-1', APP), GET)
  assert.deepEqual([answer.status, answer.body, bodies.length], [502, 'not yet', 3])
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_flags, 'URX')
})

for (const [name, retries, status, sent] of [
  ['no word for it', { attempts: 3, on: ['connect-failure'] }, 503, 1],
  ['attempts 0', { attempts: 0, on: ['5xx'] }, 503, 1],
  ['a status of its own', { attempts: 3, on: [], statuses: [503] }, 200, 3],
  ['Istio’s default words', { attempts: 3 }, 503, 1],
  ['reset alone', { attempts: 3, on: ['reset'] }, 503, 1],
] as const) {
  test(`${name}: 503 twice is ${status} after ${sent} requests`, async (t) => {
    const { node, bodies } = await asked(t, { retries, answers: failing(2) })
    assert.equal((await ask(await node.dial('web-1', APP), GET)).status, status)
    assert.equal(bodies.length, sent)
  })
}

test('a body longer than is kept is sent once, and its answer stands', async (t) => {
  const limits = { retryBytes: 1000 }
  const { node, bodies } = await asked(t, { retries: { attempts: 3, on: ['5xx'] }, answers: failing(2), limits })
  const socket = await node.dial('web-1', APP)
  assert.equal((await ask(socket, post('x'.repeat(1001)))).status, 503)
  assert.equal(bodies.length, 1)
  bodies.length = 0
  assert.equal((await ask(socket, post('x'.repeat(1000)))).status, 200)
  assert.equal(bodies.length, 3)
  const { budget } = [...node.plane.node.pods.values()].find(({ captured }) => captured.uid.includes('web'))!
  assert.ok(budget.held < 1000, `nothing is kept of what has been answered: ${budget.held}`)
})

test('a try that takes longer than its own time is given up, and another one may answer', async (t) => {
  const answers: Answers = (tried, response) => void (tried > 0 && response.end('second'))
  const { node, bodies } = await asked(t, { retries: { attempts: 1, on: ['5xx'], perTryMs: 60 }, answers })
  const began = performance.now()
  const answer = await ask(await node.dial('web-1', APP), post('again'))
  assert.deepEqual([answer.status, answer.body, bodies], [200, 'second', ['again', 'again']])
  assert.ok(performance.now() - began >= 55)
  assert.equal(node.count('weft_retries_total', { why: 'PER_TRY_TIMEOUT' }), 1)
})

test('where every try is too slow it is 504 UT', async (t) => {
  const retries = { attempts: 1, on: ['5xx'], perTryMs: 40 } as const
  const { node, bodies } = await asked(t, { retries, answers: () => {} })
  assert.equal((await ask(await node.dial('web-1', APP), GET)).status, 504)
  assert.equal(bodies.length, 2)
  await node.until(() => node.records.length === 1, 'a record')
  assert.deepEqual(
    [node.records[0]?.response_flags, node.records[0]?.response_code_details],
    ['UT,URX', 'upstream_per_try_timeout'],
  )
})

test('the time of all tries together is the rule’s', async (t) => {
  const retries = { attempts: 50, on: ['5xx'], perTryMs: 40 } as const
  const { node, bodies } = await asked(t, { retries, answers: () => {}, timeoutMs: 150 })
  assert.equal((await ask(await node.dial('web-1', APP), GET)).status, 504)
  assert.ok(bodies.length < 6, `${bodies.length} tries in 150 ms`)
})

test('an endpoint that failed is passed over while another is left', async (t) => {
  const seen: string[] = []
  const answers: Answers = (_, response, request) => {
    seen.push(String(request.socket.localAddress))
    response.statusCode = 500
    response.end()
  }
  const { node } = await asked(t, { retries: { attempts: 2, on: ['5xx'] }, answers, pods: 3 })
  assert.equal((await ask(await node.dial('web-1', APP), GET)).status, 500)
  assert.equal(new Set(seen).size, 3)
})

test('a response that has begun is not tried again, however it ends', async (t) => {
  const answers: Answers = (_, response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('half')
    setTimeout(() => response.socket?.resetAndDestroy(), 20)
  }
  const { node, bodies } = await asked(t, { retries: { attempts: 3, on: ['5xx', 'reset'] }, answers })
  const socket = await node.dial('web-1', APP)
  socket.write(GET)
  await assert.rejects(readUntil(socket, () => false))
  assert.equal(bodies.length, 1)
})

test('a caller that still sends its body while an early answer is tried again is heard to the end', async (t) => {
  const places = world().service('app').pods('app').pods('web', { behind: [] })
  const said = { perTryMs: null, statuses: [], ignorePrevious: null, remoteLocalities: null }
  const retries = { ...said, attempts: 1, on: ['5xx'] as const, backoffMs: 200 }
  places.virtualService({ hosts: ['app'], http: [{ destinations: [to('app')], retries }] })
  const node = mesh(t, places)
  const bodies: string[] = []
  await node.http('app-1', (request, response) => {
    if (bodies.length === 0) {
      bodies.push('early')
      response.statusCode = 503
      response.end() // before the body has come
      return
    }
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
    request.on('end', () => response.end(String(bodies.push(body))))
  })
  const socket = await node.dial('web-1', APP)
  socket.write('POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 8\r\n\r\nfour')
  await node.until(() => bodies.length === 1, 'the first try')
  socket.write('more')
  const text = await readUntil(socket, (got) => got.endsWith('2'))
  assert.match(text, /^HTTP\/1.1 200 /)
  assert.deepEqual(bodies, ['early', 'fourmore'])
})

for (const [what, said] of [
  ['an interim response', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ['a part of a head', 'HTTP/1.1 200 OK\r\nServ'],
] as const) {
  test(`${what} does not end the time of a try`, async (t) => {
    const retries = { attempts: 1, on: ['5xx'], perTryMs: 60 } as const
    const { node } = await asked(t, { retries, answers: () => {}, pods: 0 })
    let tried = 0
    await node.tcp('app-1', (socket) => {
      socket.once('data', () => {
        socket.write(++tried === 1 ? said : 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond')
      })
    })
    const socket = await node.dial('web-1', APP)
    socket.write(GET)
    assert.match(await readUntil(socket, (got) => got.endsWith('second')), /HTTP\/1.1 200 OK\r\n[^]*second$/)
    assert.equal(tried, 2)
  })
}
