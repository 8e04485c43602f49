// HTTP where it is hard: failures, retries, deadlines, big and broken bodies, callers that leave.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { match, rule, to, world } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, type Mesh, mesh, parseAnswer, readUntil } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const get = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nHost: app\r\n${headers}\r\n`

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

test('weights are kept to', async (t) => {
  const node = mesh(
    t,
    world()
      .service('app')
      .pods('app-v1')
      .pods('app-v2')
      .pods('web', { behind: [] })
      .destinationRule({ host: 'app', subsets: [{ name: 'v1' }, { name: 'v2' }] })
      .virtualService({
        hosts: ['app'],
        http: [
          rule({
            destinations: [to('app', { subset: 'v1', weight: 80 }), to('app', { subset: 'v2', weight: 20 })],
          }),
        ],
      }),
  )
  for (const version of ['v1', 'v2']) await node.http(`app-${version}-1`, (_, response) => void response.end(version))
  const socket = await node.dial('web-1', APP)
  let second = 0
  for (let i = 0; i < 500; i++) if ((await ask(socket, get('/'))).body === 'v2') second++
  assert.ok(second > 100 - 33 && second < 100 + 33, `${second} of 500`) // 99.98 % of a binomial(500, 0.2)
})

test('requests on one connection reuse one upstream, pods never share one', async (t) => {
  const node = mesh(t, one().pods('other', { behind: [] }))
  const ports = new Set<number | undefined>()
  await node.http('app-v1-1', (request, response) => {
    ports.add(request.socket.remotePort)
    response.end()
  })
  const [web, other] = [await node.dial('web-1', APP), await node.dial('other-1', APP)]
  for (let i = 0; i < 3; i++) await ask(web, get('/'))
  assert.equal(ports.size, 1)
  await ask(other, get('/'))
  assert.equal(ports.size, 2)
})

test('a chunked body arrives whole, in both directions', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request, response) => void request.pipe(response))
  const socket = await node.dial('web-1', APP)
  const answer = await ask(
    socket,
    'POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n',
  )
  assert.equal(answer.headers['transfer-encoding'], 'chunked')
  assert.equal(dechunked(answer.body), 'abcde')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.bytes_received, 5)
  assert.equal(node.records[0]?.bytes_sent, 5)
})

test('trailers pass in both directions, less those that may not trail', async (t) => {
  const node = mesh(t, one())
  let seen: string[] = []
  await node.http('app-v1-1', (request, response) => {
    response.writeHead(200, { trailer: 'x-sum' })
    request.on('data', (chunk: Buffer) => response.write(chunk))
    request.on('end', () => {
      seen = [String(request.headers['te']), String(request.headers['trailer']), ...request.rawTrailers]
      response.addTrailers({ 'x-sum': '1', 'content-type': 'no' })
      response.end()
    })
  })
  const socket = await node.dial('web-1', APP)
  const head =
    'POST / HTTP/1.1\r\nHost: app\r\nTE: trailers\r\nConnection: te\r\nTrailer: T\r\nTransfer-Encoding: chunked\r\n\r\n'
  const answer = await ask(socket, `${head}1\r\na\r\n0\r\nT:v \r\nHost: other\r\n\r\n`)
  assert.deepEqual(seen, ['trailers', 'T', 'T', 'v'])
  assert.equal(answer.headers['trailer'], 'x-sum')
  assert.equal(answer.body, '1\r\na\r\n0\r\nx-sum: 1\r\n\r\n')
  // a caller that cannot read them gets the body alone
  socket.write('GET / HTTP/1.0\r\nTE: trailers\r\n\r\n')
  const { bytes } = await drainSocket(socket)
  assert.match(bytes.toString(), /\r\n\r\n$/)
  assert.doesNotMatch(bytes.toString(), /x-sum/)
})

test('how large a head may be is a setting', async (t) => {
  const limits = { headBytes: 1024, headFields: 10 }
  const node = mesh(t, one(), { limits })
  let answered = 0
  await node.http('app-v1-1', (_, response) => {
    if (answered++ > 0) response.setHeader('x', 'y'.repeat(1024))
    response.end('ok')
  })
  for (const [headers, status] of [
    [`X: ${'x'.repeat(900)}\r\n`, 200],
    [`X: ${'x'.repeat(1024)}\r\n`, 431],
    ['X: y\r\n'.repeat(10), 431],
    ['', 502], // the answer's head is too large
  ] as const) {
    assert.equal((await ask(await node.dial('web-1', APP), get('/', headers))).status, status)
  }
})

function dechunked(text: string): string {
  const end = text.indexOf('\r\n')
  const length = Number.parseInt(text.slice(0, end), 16)
  return length === 0 ? '' : text.slice(end + 2, end + 2 + length) + dechunked(text.slice(end + 4 + length))
}

test('an HTTP/1.0 caller gets a body that ends with the connection', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request, response) => {
    assert.equal(request.headers.host, '10.96.0.1:80') // a server may refuse a request of HTTP/1.1 that names no host
    response.write('part one ')
    response.end('part two')
  })
  const socket = await node.dial('web-1', APP)
  socket.write('GET / HTTP/1.0\r\n\r\n')
  const { bytes, how } = await drainSocket(socket)
  const answer = parseAnswer(bytes.toString())
  assert.equal(how, 'end')
  assert.equal(answer.headers['connection'], 'close')
  assert.equal(answer.headers['transfer-encoding'], undefined)
  assert.equal(answer.body, 'part one part two')
})

test('HEAD keeps the length it is told and no body follows', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request, response) => {
    response.setHeader('content-length', 1234)
    if (request.method === 'HEAD') response.end()
    else response.end('x'.repeat(1234))
  })
  const socket = await node.dial('web-1', APP)
  socket.write(`HEAD / HTTP/1.1\r\nHost: app\r\n\r\n${get('/')}`)
  const text = await readUntil(socket, (got) => got.endsWith('x'.repeat(1234)))
  assert.equal(text.split('HTTP/1.1 200 OK').length, 3)
  assert.equal(text.match(/content-length: 1234/gi)?.length, 2)
})

test('pipelined requests are answered in order, however long each takes', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request, response) => {
    setTimeout(() => response.end(`<${request.url}>`), request.url === '/0' ? 60 : 0)
  })
  const socket = await node.dial('web-1', APP)
  socket.write([0, 1, 2, 3].map((i) => get(`/${i}`)).join(''))
  const text = await readUntil(socket, (got) => got.includes('</3>'))
  assert.deepEqual(text.match(/<\/\d>/g), ['</0>', '</1>', '</2>', '</3>'])
})

test('pipelined requests that are answered from here come in order too', async (t) => {
  const fault = { delay: null, abort: { percent: 100, status: 418, grpcStatus: null } }
  const node = mesh(t, one().virtualService({ hosts: ['app'], http: [rule({ fault, destinations: [to('app')] })] }))
  const socket = await node.dial('web-1', APP)
  socket.write(get('/').repeat(50))
  const text = await readUntil(socket, (got) => got.split('fault filter abort').length === 51)
  assert.equal(text.match(/HTTP\/1\.1 418/g)?.length, 50)
})

test('a head stays what it was while its body arrives ahead of the decision, on many connections at once', async (t) => {
  const fault = { delay: { percent: 100, ms: 40 }, abort: null }
  const node = mesh(t, one().virtualService({ hosts: ['app'], http: [rule({ fault, destinations: [to('app')] })] }))
  await node.http('app-v1-1', (request, response) => {
    let length = 0
    request.on('data', (chunk: Buffer) => (length += chunk.length))
    request.on('end', () => response.end(`${request.url} ${String(request.headers['x-who'])} ${length}`))
  })
  await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      await new Promise((resolve) => setTimeout(resolve, 3 * i)) // each takes memory that the one before gave back
      const socket = await node.dial('web-1', APP)
      socket.write(
        `POST /${i} HTTP/1.1\r\nHost: app\r\nX-Who: ${i}${'w'.repeat(1500)}\r\nContent-Length: 30000\r\n\r\n`,
      )
      for (let part = 0; part < 10; part++) {
        await new Promise((resolve) => setTimeout(resolve, 2))
        socket.write(Buffer.alloc(3000))
      }
      const answer = await ask(socket, '')
      assert.equal(answer.body, `/${i} ${i}${'w'.repeat(1500)} 30000`)
    }),
  )
  assert.deepEqual(node.faults, [])
})

test('a hundred megabytes up and down pass unchanged and are never held', async (t) => {
  const node = mesh(t, one())
  const size = 100 << 20
  await node.http('app-v1-1', (request, response) => {
    response.setHeader('content-length', size)
    request.pipe(response)
  })
  const socket = await node.dial('web-1', APP)
  socket.write(`POST / HTTP/1.1\r\nHost: app\r\nContent-Length: ${size}\r\n\r\n`)
  const [sent, seen] = [createHash('sha1'), createHash('sha1')]
  let [head, body, mostStaged, mostRss] = ['', 0, 0, 0]
  const rssBefore = process.memoryUsage().rss
  const done = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      let rest = chunk
      if (!head.includes('\r\n\r\n')) {
        head += chunk.toString('latin1')
        const end = head.indexOf('\r\n\r\n')
        rest = end < 0 ? Buffer.alloc(0) : Buffer.from(head.slice(end + 4), 'latin1')
      }
      body += rest.length
      seen.update(rest)
      mostStaged = Math.max(mostStaged, node.transport.stagedBytes)
      mostRss = Math.max(mostRss, process.memoryUsage.rss())
      if (body >= size) resolve()
    })
  })
  const chunk = Buffer.alloc(1 << 20)
  for (let i = 0; i < 100; i++) {
    chunk.fill(i)
    const copy = Buffer.from(chunk)
    sent.update(copy)
    if (!socket.write(copy)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  await done
  assert.equal(body, size)
  assert.equal(seen.digest('hex'), sent.digest('hex'))
  assert.ok(mostStaged <= 512 * 1024, `${mostStaged} bytes were staged`)
  assert.ok(mostRss - rssBefore < 200 << 20, `memory grew by ${(mostRss - rssBefore) >> 20} MB`)
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.bytes_sent, size)
  assert.equal(node.records[0]?.bytes_received, size)
})

test('a caller that does not read holds the upstream back', async (t) => {
  const node = mesh(t, one())
  let written = 0
  await node.http('app-v1-1', (_, response) => {
    const chunk = Buffer.alloc(1 << 20)
    const more = (): void => {
      if (written >= 64 << 20) return void response.end()
      written += chunk.length
      response.write(chunk, more)
    }
    more()
  })
  const socket = await node.dial('web-1', APP)
  socket.write(get('/'))
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.ok(written < 40 << 20, `${written} bytes were taken`)
  assert.ok(node.transport.stagedBytes <= 256 * 1024, `${node.transport.stagedBytes} bytes are held`)
  const whole = drainSocket(socket)
  await node.until(() => node.records.length === 1, 'the end')
  socket.end()
  assert.ok((await whole).bytes.length > 64 << 20)
})

test('nobody listening is 503 with flag UF and a body that names the reason', async (t) => {
  const node = mesh(t, one())
  const socket = await node.dial('web-1', APP)
  const answer = await ask(socket, get('/'))
  assert.equal(answer.status, 503)
  assert.match(answer.body, /^CONNECT_REFUSED: .*cannot be reached/)
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_flags, 'UF,URX')
  assert.equal(node.count('istio_requests_total', { response_code: '503', response_flags: 'UF,URX' }), 2)
  assert.equal(node.count('weft_failures_total', { step: 'connect', reason: 'CONNECT_REFUSED' }), 1)
})

test('where one endpoint refuses, another is tried', async (t) => {
  const node = mesh(t, world().service('app').pods('app-v1').pods('app-v2').pods('web', { behind: [] }))
  await node.http('app-v2-1', (_, response) => void response.end('second'))
  const socket = await node.dial('web-1', APP)
  for (let i = 0; i < 8; i++) {
    const answer = await ask(socket, 'POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\n\r\nbody')
    assert.equal(answer.body, 'second')
  }
  assert.ok(node.count('weft_retries_total', { why: 'CONNECT_REFUSED' }) > 0)
  await node.until(() => node.records.length === 8, 'a record a request')
  assert.ok(node.records.every((record) => record.response_code === 200 && record.bytes_received === 4))
})

/** An application that resets every connection once it has heard something on it; counts what it heard. */
async function resetting(node: Mesh, pod: string): Promise<() => number> {
  let heard = 0
  await node.tcp(pod, (socket) => {
    socket.once('data', () => {
      heard++
      socket.resetAndDestroy()
    })
  })
  return () => heard
}

test('where a new connection is reset before any answer, a safe request is tried once more, at another endpoint', async (t) => {
  const node = mesh(t, world().service('app').pods('app-v1').pods('app-v2').pods('web', { behind: [] }))
  const first = await resetting(node, 'app-v1-1')
  await node.http('app-v2-1', (_, response) => void response.end('second'))
  const socket = await node.dial('web-1', APP)
  for (let i = 0; i < 8; i++) assert.equal((await ask(socket, get('/'))).body, 'second')
  assert.ok(first() > 0, 'the first endpoint was asked')
  assert.equal(node.count('weft_retries_total', { why: 'UPSTREAM_RESET' }), first())
})

test('a safe request is lost once at most, and one that is not safe never sent again', async (t) => {
  const node = mesh(t, world().service('app').pods('app-v1', { count: 3 }).pods('web', { behind: [] }))
  const heard = await Promise.all([1, 2, 3].map((pod) => resetting(node, `app-v1-${pod}`)))
  const sum = (): number => heard.reduce((all, count) => all + count(), 0)
  const socket = await node.dial('web-1', APP)
  assert.equal((await ask(socket, get('/'))).status, 503)
  assert.equal(sum(), 2)
  assert.equal((await ask(socket, 'POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\n\r\nbody')).status, 503)
  assert.equal(sum(), 3)
})

test('inbound, an application that listens no more or resets is a reset, as it is without the mesh', async (t) => {
  const node = mesh(t, one())
  for (const application of [null, resetting]) {
    await application?.(node, 'app-v1-1')
    const socket = await node.reach('app-v1-1')
    const ended = new Promise((resolve) => socket.once('close', resolve))
    let read = ''
    socket.on('error', () => {}).on('data', (bytes: Buffer) => (read += bytes.toString()))
    socket.write(get('/'))
    await ended
    assert.equal(read, '')
  }
  assert.deepEqual(
    node.records.map(({ response_code, response_flags }) => [response_code, response_flags]),
    [
      [0, 'UF'],
      [0, 'UC'],
    ],
  )
})

test('an answer from a pod that is about to go is its connection’s last, so that callers leave in time', async (t) => {
  const built = one()
  const node = mesh(t, built)
  await node.http('app-v1-1', (_, response) => void response.end('in'))
  const socket = await node.reach('app-v1-1')
  assert.equal((await ask(socket, get('/'))).headers['connection'], undefined)
  const inventory = built.inventory(2)
  const services = inventory.services.map((service) => ({
    ...service,
    ports: service.ports.map((port) => ({
      ...port,
      endpoints: port.endpoints.map((endpoint) => ({ ...endpoint, ready: false, terminating: true })),
    })),
  }))
  node.plane.apply({ ...inventory, services })
  const last = await ask(socket, get('/'))
  assert.deepEqual([last.body, last.headers['connection']], ['in', 'close'])
})

test('a request whose answer has not begun is lost as soon as its pod is gone', async (t) => {
  const built = world().service('app').pods('app-v1').pods('web', { behind: [] })
  const node = mesh(t, built)
  const asked = Promise.withResolvers<void>()
  await node.tcp('app-v1-1', (socket) => socket.once('data', () => asked.resolve())) // and says nothing, ever
  const socket = await node.dial('web-1', APP)
  const answer = ask(socket, get('/'))
  await asked.promise
  const inventory = built.inventory(2)
  node.plane.apply({ ...inventory, workloads: inventory.workloads.filter(({ name }) => name !== 'app-v1-1') })
  assert.equal((await answer).status, 503) // its only endpoint was lost: who tries once more is told of the first
  assert.equal(node.records.at(-1)?.weft_message, 'the pod behind it is gone')
})

test('a pooled connection that its server closed meanwhile does not fail a safe request', async (t) => {
  const node = mesh(t, one())
  const sockets: Socket[] = []
  let served = 0
  await node.tcp('app-v1-1', (socket) => {
    sockets.push(socket)
    socket.on('data', () => {
      // the second request on a connection meets a server that has just closed
      if (++served === 2) socket.resetAndDestroy()
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  const socket = await node.dial('web-1', APP)
  assert.equal((await ask(socket, get('/'))).body, 'ok')
  assert.equal((await ask(socket, get('/'))).body, 'ok')
  assert.equal(sockets.length, 2)
  assert.equal(node.count('weft_retries_total', { why: 'STALE_CONNECTION' }), 1)
})

test('a request with a body is not sent twice', async (t) => {
  const node = mesh(t, one())
  let requests = 0
  await node.tcp('app-v1-1', (socket) => {
    socket.on('data', () => {
      if (++requests === 2) socket.resetAndDestroy()
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  const socket = await node.dial('web-1', APP)
  await ask(socket, get('/'))
  const answer = await ask(socket, 'POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1\r\n\r\nx')
  assert.equal(answer.status, 503)
  assert.equal(requests, 2)
  await node.until(() => node.records.length === 2, 'two records')
  assert.equal(node.records[1]?.response_flags, 'UC')
})

test('a caller that resets ends its request upstream, and is a record with flag DC', async (t) => {
  const node = mesh(t, one())
  let closed = false
  const arrived = Promise.withResolvers<void>()
  await node.http('app-v1-1', (request: IncomingMessage) => {
    request.socket.on('close', () => (closed = true))
    arrived.resolve()
  })
  const socket = await node.dial('web-1', APP)
  socket.write(get('/slow'))
  await arrived.promise
  socket.resetAndDestroy()
  await node.until(() => closed, 'the end of the upstream connection')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_flags, 'DC')
  assert.equal(node.records[0]?.response_code, 0)
})

test('a caller that closes while it waits is seen by the application as without the mesh', async (t) => {
  const node = mesh(t, one())
  let aborted = false
  const arrived = Promise.withResolvers<void>()
  await node.http('app-v1-1', (request) => {
    request.on('close', () => (aborted = true))
    arrived.resolve()
  })
  const socket = await node.dial('web-1', APP)
  socket.write(get('/slow'))
  await arrived.promise
  socket.destroy()
  await node.until(() => aborted, 'the abort of the request')
  await node.until(() => node.records.length === 1, 'a record')
})

test('a caller that half-closes behind its request still gets the response', async (t) => {
  const node = mesh(t, one())
  const server = await node.tcp('app-v1-1', (socket) => {
    socket.on('end', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate'))
    socket.resume()
  })
  void server
  const socket = await node.dial('web-1', APP)
  socket.end(get('/'))
  const { bytes, how } = await drainSocket(socket)
  assert.equal(how, 'end')
  assert.ok(bytes.toString().endsWith('late'))
})

test('a time-out answers 504 with flag UT and leaves no upstream behind', async (t) => {
  const node = mesh(
    t,
    one().virtualService({ hosts: ['app'], http: [rule({ timeoutMs: 50, destinations: [to('app')] })] }),
  )
  let closed = false
  await node.http('app-v1-1', (request) => void request.socket.on('close', () => (closed = true)))
  const socket = await node.dial('web-1', APP)
  const answer = await ask(socket, get('/'))
  assert.equal(answer.status, 504)
  await node.until(() => closed, 'the end of the upstream connection')
  assert.equal(node.records[0]?.response_flags, 'UT')
})

test('a delay is waited for, and ends early where the caller leaves', async (t) => {
  const fault = { delay: { percent: 100, ms: 150 }, abort: null }
  const long = { delay: { percent: 100, ms: 60_000 }, abort: null }
  const slow = match({ uri: { kind: 'exact', value: '/slow' } })
  const node = mesh(
    t,
    one().virtualService({
      hosts: ['app'],
      http: [
        rule({ matches: [slow], fault: long, destinations: [to('app')] }),
        rule({ fault, destinations: [to('app')] }),
      ],
    }),
  )
  await node.http('app-v1-1', (_, response) => void response.end('ok'))
  const socket = await node.dial('web-1', APP)
  const startedAt = performance.now()
  assert.equal((await ask(socket, get('/'))).body, 'ok')
  assert.ok(performance.now() - startedAt >= 145)
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_flags, 'DI')
  socket.write(get('/slow'))
  setTimeout(() => socket.destroy(), 30)
  await node.until(() => node.records.length === 2, 'a second record')
  assert.equal(node.records[1]?.response_flags, 'DI,DC')
})

test('an early response reaches the caller though the request never ends', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(413, { 'content-length': 7 })
    response.end('too big')
    void request
  })
  const socket = await node.dial('web-1', APP)
  const whole = drainSocket(socket)
  socket.write('POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 50000000\r\n\r\n')
  socket.write(Buffer.alloc(100_000))
  const { bytes, how } = await whole
  assert.equal(how, 'end')
  assert.equal(parseAnswer(bytes.toString()).body, 'too big')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_code, 413)
})

test('100-continue is passed on, and the body follows', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (request, response) => void request.pipe(response))
  const socket = await node.dial('web-1', APP)
  socket.write('PUT / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n')
  assert.match(await readUntil(socket, (got) => got.endsWith('\r\n\r\n')), /^HTTP\/1\.1 100 Continue\r\n/)
  const answer = await ask(socket, 'hello')
  assert.equal(answer.status, 200)
  assert.ok(answer.body.includes('hello'))
})

test('an upgrade that the application accepts becomes a tunnel', async (t) => {
  const node = mesh(t, one())
  const server = await node.http('app-v1-1', () => {})
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nwelcome ')
    socket.pipe(socket)
  })
  const socket = await node.dial('web-1', APP)
  socket.write(get('/', 'Connection: Upgrade\r\nUpgrade: chat\r\n'))
  const text = await readUntil(socket, (got) => got.endsWith('welcome '))
  assert.match(text, /^HTTP\/1\.1 101 /)
  assert.match(text, /\r\nupgrade: chat\r\n/i)
  socket.write('echo me')
  assert.equal(await readUntil(socket, (got) => got.length === 7), 'echo me')
  socket.end()
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_code, 101)
})

test('a response that breaks off is a reset, never a short success', async (t) => {
  const node = mesh(t, one())
  await node.tcp('app-v1-1', (socket) => {
    socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this'))
  })
  const socket = await node.dial('web-1', APP)
  socket.write(get('/'))
  const { how } = await drainSocket(socket)
  assert.equal(how, 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.response_flags, 'UC')
})

test('what is no response is 502', async (t) => {
  const node = mesh(t, one())
  await node.tcp('app-v1-1', (socket) => void socket.on('data', () => socket.write('SSH-2.0-hello\r\n')))
  const answer = await ask(await node.dial('web-1', APP), get('/'))
  assert.equal(answer.status, 502)
})

for (const [what, request, status] of [
  ['no HTTP', 'hello there\r\n\r\n', 400],
  ['two lengths that differ', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', 400],
  ['length and chunked', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['a folded line', 'GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n', 400],
  ['a head too large', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, 431],
  ['CONNECT to a path', 'CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['CONNECT without a port', 'CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['CONNECT with content', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\nx', 400],
  ['a coding that is not known', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 501],
] as const) {
  test(`${what} is answered ${status} and the connection ends`, async (t) => {
    const node = mesh(t, one())
    const socket = await node.dial('web-1', APP)
    socket.write(request)
    const { bytes } = await drainSocket(socket)
    const answer = parseAnswer(bytes.toString())
    assert.equal(answer.status, status)
    assert.equal(answer.headers['connection'], 'close')
    await node.until(() => node.records.length === 1, 'a record')
    assert.equal(node.records[0]?.response_code, status)
  })
}

test('a rule changes path and authority on the way', async (t) => {
  const node = mesh(
    t,
    one().virtualService({
      hosts: ['app'],
      http: [
        rule({
          matches: [match({ uri: { kind: 'prefix', value: '/old/' } })],
          rewrite: { uri: '/new/', authority: 'elsewhere', regex: null },
          destinations: [to('app')],
        }),
      ],
    }),
  )
  await node.http('app-v1-1', (request, response) => void response.end(`${request.headers.host} ${request.url}`))
  const socket = await node.dial('web-1', APP)
  assert.equal((await ask(socket, get('/old/thing?q=1'))).body, 'elsewhere /new/thing?q=1')
  assert.equal((await ask(socket, get('/none'))).status, 404)
  await node.until(() => node.records.length === 2, 'two records')
  assert.equal(node.records[1]?.response_flags, 'NR')
})

test('inbound HTTP is counted by the destination, and two callers never share an upstream', async (t) => {
  const node = mesh(t, one())
  const ports = new Set<number | undefined>()
  await node.http('app-v1-1', (request, response) => {
    ports.add(request.socket.remotePort)
    response.end('in')
  })
  const [first, second] = [await node.reach('app-v1-1'), await node.reach('app-v1-1')]
  for (const socket of [first, second]) {
    assert.equal((await ask(socket, get('/'))).body, 'in')
    assert.equal((await ask(socket, get('/'))).body, 'in')
  }
  assert.equal(ports.size, 2)
  const labels = { reporter: 'destination', destination_workload: 'app-v1', source_workload: 'unknown' }
  assert.equal(node.count('istio_requests_total', labels), 4)
  assert.equal(node.count('istio_requests_total'), 4)
})

test('a kept connection that was in use when its node stopped gets one more answer, told to be its last', async (t) => {
  const node = mesh(t, one(), { limits: { quietMs: 500 } })
  await node.http('app-v1-1', (_, response) => response.end('done'))
  node.plane.tick()
  const [used, silent] = [await node.dial('web-1', APP), await node.dial('web-1', APP)]
  for (const socket of [used, silent]) assert.equal((await ask(socket, get('/'))).headers['connection'], undefined)
  const ends = [drainSocket(used), drainSocket(silent)] as const
  const beganMs = performance.now()
  const stopped = node.plane.stop(5000)
  await new Promise((resolve) => setTimeout(resolve, 100))
  used.write(get('/'))
  const { bytes, how } = await ends[0]
  const answer = parseAnswer(bytes.toString())
  assert.deepEqual([answer.body, answer.headers['connection'], how], ['done', 'close', 'end'])
  assert.equal((await ends[1]).how, 'end')
  await stopped
  assert.ok(performance.now() - beganMs < 2000, 'nobody waits for who says nothing')
})

test('a response whose head has gone when its node stops is not the last: the next one says so', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (_, response) => {
    response.setHeader('content-length', 4).write('do')
    setTimeout(() => response.end('ne'), 200)
  })
  const socket = await node.dial('web-1', APP)
  const first = ask(socket, get('/'))
  await new Promise((resolve) => setTimeout(resolve, 100))
  const stopped = node.plane.stop(5000)
  const { body, headers } = await first
  assert.deepEqual([body, headers['connection']], ['done', undefined])
  const second = await ask(socket, get('/'))
  assert.deepEqual([second.body, second.headers['connection']], ['done', 'close'])
  await stopped
})

test('a stopping node ends idle connections and lets a request under way finish', async (t) => {
  const node = mesh(t, one())
  await node.http('app-v1-1', (_, response) => void setTimeout(() => response.end('done'), 100))
  const [idle, busy] = [await node.dial('web-1', APP), await node.dial('web-1', APP)]
  busy.write(get('/'))
  await new Promise((resolve) => setTimeout(resolve, 30))
  const ends = [drainSocket(idle), drainSocket(busy)] as const
  const stopped = node.plane.stop(2000)
  assert.equal((await ends[0]).how, 'end')
  const { bytes, how } = await ends[1]
  assert.equal(how, 'end')
  const answer = parseAnswer(bytes.toString())
  assert.equal(answer.body, 'done')
  assert.equal(answer.headers['connection'], 'close')
  await stopped
})

test('a head that does not come is 408', async (t) => {
  const node = mesh(t, one(), { limits: { headMs: 60, sweepMs: 20 } })
  const socket = await node.dial('web-1', APP)
  socket.write('GET / HTTP/1.1\r\nHo')
  const { bytes } = await drainSocket(socket)
  assert.equal(parseAnswer(bytes.toString()).status, 408)
})
