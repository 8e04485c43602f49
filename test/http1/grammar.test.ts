// The parser and the writer of HTTP/1.x, held against the grammar, the split of the input, and Node's own parser.

import assert from 'node:assert/strict'
import { createServer, METHODS, request as send } from 'node:http'
import { connect, createServer as createTcpServer, type Server, type AddressInfo } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { forwarded, misunderstanding } from './emission.ts'
import { CORPUS, HOWS, mutated } from './mutations.ts'
import { disagreement, slowReading, type Stream } from './readings.ts'

const RUNS = 3000

const mutation = fc.record({ how: fc.constantFrom(...HOWS), at: fc.nat(400), what: fc.nat(5000) })
const hostile = fc
  .tuple(fc.constantFrom(...CORPUS), fc.array(mutation, { maxLength: 4 }))
  .map(([stream, mutations]): Stream => ({ ...stream, text: mutated(stream.text, mutations) }))

const name = fc.constantFrom('A', 'x-long-name', 'Accept', "odd!#$%&'*+.^_`|~", 'TE', 'Upgrade', 'X-Request-Id', 'Via')
const value = fc.stringMatching(/^[ \t!-~\x80-\xff]{0,20}$/)
const chunked = fc
  .array(fc.tuple(fc.stringMatching(/^[ -~\r\n]{1,20}$/), fc.constantFrom('', ';a', ' ;\ta = "b;\\"" ; c=d')))
  .map((chunks) => chunks.map(([data, ext]) => `${data.length.toString(16)}${ext}\r\n${data}\r\n`).join(''))
  .chain((data) => fc.constantFrom('', 'T: x\r\n', 'A:\r\nHost: y\r\n').map((t) => `${data}0\r\n${t}\r\n`))
  .map((body) => `Transfer-Encoding: chunked\r\n\r\n${body}`)
const bounded = fc.stringMatching(/^[ -~\r\n]{0,20}$/).map((body) => `Content-Length: ${body.length}\r\n\r\n${body}`)
const valid = fc
  .record({
    start: fc.constantFrom('GET /a HTTP/1.1', 'DELETE http://b:1?c HTTP/1.1', 'HTTP/1.1 200 OK', 'HTTP/1.1 299'),
    fields: fc.array(fc.tuple(name, fc.constantFrom(':', ': ', ':\t '), value), { maxLength: 8 }),
    rest: fc.oneof(chunked, bounded, fc.constant('\r\n')),
    next: fc.constantFrom('', 'GET / HTTP/1.1\r\n', 'x'),
  })
  .map(({ start, fields, rest, next }): Stream => {
    const text = `${start}\r\nHost: a\r\n${fields.map((parts) => `${parts.join('')}\r\n`).join('')}${rest}${next}`
    return { kind: start.startsWith('HTTP') ? 'response' : 'request', method: 'GET', text }
  })

const cuts = fc.array(fc.array(fc.nat(300), { minLength: 1 }), { maxLength: 3 })
const sorted = (splits: number[][]): number[][] => splits.map((split) => [...new Set(split)].sort((a, b) => a - b))
const everywhere = (text: string): number[] => Array.from({ length: text.length }, (_, i) => i)

test('messages that are sound are understood, by the parser as by the grammar', () => {
  fc.assert(
    fc.property(valid, cuts, (stream, splits) => {
      assert.equal(disagreement(stream, sorted(splits)), null)
      assert.equal(slowReading(stream).verdict, 'done')
    }),
    { numRuns: RUNS },
  )
})

test('messages that were tampered with say the same to the parser and to the grammar, whatever the split', () => {
  fc.assert(
    fc.property(hostile, cuts, (stream, splits) => {
      assert.equal(disagreement(stream, sorted([...splits, everywhere(stream.text)])), null)
    }),
    { numRuns: RUNS },
  )
})

test('the limits of a head are the same to the parser and to the grammar, whatever the split', () => {
  const limits = fc.record({ headBytes: fc.integer({ min: 1, max: 200 }), headFields: fc.integer({ min: 1, max: 5 }) })
  fc.assert(
    fc.property(hostile, limits, cuts, (stream, limits, splits) => {
      assert.equal(disagreement({ ...stream, limits }, sorted(splits)), null)
    }),
    { numRuns: RUNS },
  )
})

test('no place to split a message changes what it says', () => {
  fc.assert(
    fc.property(fc.oneof(hostile, valid), (stream) => {
      const each = everywhere(stream.text).map((cut) => [cut])
      assert.equal(disagreement(stream, each), null)
    }),
    { numRuns: 100 },
  )
})

test('what leaves means what came, and nothing else of how it was framed', () => {
  fc.assert(
    fc.property(fc.oneof(valid, hostile), (stream) => assert.equal(misunderstanding(stream), null)),
    { numRuns: RUNS },
  )
})

/** Distinct messages that leave the proxy, from random ones that came. */
function leaving(kind: Stream['kind'], count: number): { out: string; came: Stream }[] {
  const found = new Map<string, Stream>()
  for (const stream of fc.sample(fc.oneof(valid, hostile), { numRuns: 20 * count, seed: 9112 })) {
    const out = stream.kind === kind && stream.method !== 'HEAD' ? forwarded(stream) : null
    if (out !== null && found.size < count) found.set(out, stream)
  }
  return [...found].map(([out, came]) => ({ out, came }))
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

test('requests that leave are read by Node’s own parser as they were meant', async () => {
  const samples = leaving('request', 150).filter(({ out }) => METHODS.includes(out.split(' ')[0] ?? ''))
  assert.ok(samples.length > 80, `${samples.length} samples`)
  let seen: object[] = []
  const server = createServer((incoming, answer) => {
    let payload = ''
    incoming.setEncoding('latin1').on('data', (chunk: string) => (payload += chunk))
    incoming.on('end', () => {
      const { method, url, rawTrailers } = incoming
      seen.push({ method, url, host: incoming.headers.host, payload, trailers: rawTrailers })
      answer.shouldKeepAlive = false
      answer.end()
    })
  })
  server.on('checkContinue', (incoming, answer) => server.emit('request', incoming, answer))
  const port = await listening(server)
  try {
    for (const { out, came } of samples) {
      seen = []
      await exchange(port, out)
      const { addressed, body, head } = slowReading(came)
      const trailers = body?.trailers.flat()
      const { method } = head ?? {}
      const wanted = { method, url: addressed?.target, host: addressed?.authority, payload: body?.payload, trailers }
      assert.deepEqual(seen, [wanted], JSON.stringify(out))
    }
  } finally {
    server.close()
  }
})

function exchange(port: number, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text, 'latin1'))
    socket.on('close', () => resolve()).on('error', reject)
    socket.resume()
  })
}

test('responses that leave are read by Node’s own parser as they were meant', async () => {
  const samples = leaving('response', 80).filter(({ out }) => !/^HTTP\/1.1 1/.test(out))
  assert.ok(samples.length > 20, `${samples.length} samples`)
  let out = ''
  const server = createTcpServer((socket) => {
    socket.on('error', () => {}).once('data', () => socket.end(out, 'latin1'))
  })
  const port = await listening(server)
  try {
    for (const sample of samples) {
      ;({ out } = sample)
      const { head, body } = slowReading(sample.came)
      assert.deepEqual(
        await got(port),
        { status: head?.status, payload: body?.payload, trailers: body?.trailers.flat() },
        JSON.stringify(out),
      )
    }
  } finally {
    server.close()
  }
})

function got(port: number): Promise<object> {
  return new Promise((resolve, reject) => {
    const outgoing = send({ port, host: '127.0.0.1', agent: false }, (incoming) => {
      let payload = ''
      incoming.setEncoding('latin1').on('data', (chunk: string) => (payload += chunk))
      incoming.on('end', () => resolve({ status: incoming.statusCode, payload, trailers: incoming.rawTrailers }))
      incoming.on('error', reject)
    })
    outgoing.on('error', reject).end()
  })
}
