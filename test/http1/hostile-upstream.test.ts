// Upstreams that answer with more, less or other than was asked: the caller gets an answer or an end, the connection to that
// upstream is never used again, and nobody ever sees what came unasked.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, type Mesh, mesh } from '../proxy/mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const CLEAN = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean'
const STRAY = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Stray: 1\r\n\r\nstray'
const OK = 'HTTP/1.1 200 OK\r\n'

interface Case {
  readonly name: string
  readonly method?: string
  /** What the upstream's first connection answers; what it sends unasked, a moment later, once the answer is through. */
  readonly answer: string
  readonly later?: string
  /** Status in the record, and its reason. */
  readonly status: number
  readonly reason?: string
  /** What the caller gets to see of the answer's body; null: the answer breaks off. */
  readonly body: string | null
}

/** An answer that is passed on whole, with something unasked behind it. */
function more(name: string, answer: string, body: string, rest: Partial<Case> = {}): Case {
  return { name, answer, status: 200, body, ...rest }
}

/** What is no answer at all: 502. */
function none(name: string, answer: string): Case {
  const said = 'UPSTREAM_BAD_RESPONSE'
  return { name, answer: `${answer}stray`, status: 502, reason: said, body: said }
}

function fields(name: string, lines: string): Case {
  return none(name, `${OK}${lines}\r\n\r\n5\r\nstray\r\n0\r\n\r\n`)
}

/** An answer that begins well: it can only be broken off. */
function broken(name: string, answer: string, reason: string): Case {
  return { name, answer, status: 200, reason, body: null }
}

const CHUNKED = 'Transfer-Encoding: chunked'
const CASES: readonly Case[] = [
  more('two answers to one request', CLEAN + STRAY, 'clean'),
  more('a body longer than its length', `${CLEAN}stray`, 'clean'),
  more('a line end behind a body', `${CLEAN}\r\n`, 'clean'),
  more('an answer behind the last chunk', `${OK}${CHUNKED}\r\n\r\n5\r\nclean\r\n0\r\n\r\n${STRAY}`, 'clean'),
  more('an answer behind a body of no length', `${OK}Content-Length: 0\r\n\r\n${STRAY}`, ''),
  more('a body to HEAD', CLEAN.replace('clean', 'stray'), '', { method: 'HEAD' }),
  more('a body behind 204', 'HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nstray', '', { status: 204 }),
  more('chunks behind 204', `HTTP/1.1 204 No\r\n${CHUNKED}\r\n\r\n5\r\nstray\r\n0\r\n\r\n`, '', { status: 204 }),
  more('a body behind 304', 'HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nstray', '', { status: 304 }),
  more('an answer that comes unasked', CLEAN, 'clean', { later: STRAY }),
  more('a byte that comes unasked', CLEAN, 'clean', { later: '\n' }),
  more('an interim answer that comes unasked', CLEAN, 'clean', { later: 'HTTP/1.1 100 stray\r\n\r\n' }),
  more('a body to 204 that comes late', 'HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n', '', {
    status: 204,
    later: 'stray',
  }),
  fields('length and chunked', `Content-Length: 5\r\n${CHUNKED}`),
  fields('lengths that differ', 'Content-Length: 5\r\nContent-Length: 6'),
  fields('equal lengths', 'Content-Length: 5\r\nContent-Length: 5'),
  fields('a list of lengths', 'Content-Length: 5, 5'),
  fields('a signed length', 'Content-Length: +5'),
  fields('chunked twice', `${CHUNKED}\r\n${CHUNKED}`),
  fields('a coding behind chunked', `${CHUNKED}, gzip`),
  fields('a coding that is not known', 'Transfer-Encoding: gzip, chunked'),
  fields('a field split by a bare CR', 'X: a\rSet-Cookie: stray'),
  fields('a field split by a bare LF', 'X: a\nSet-Cookie: stray'),
  fields('NUL in a field', 'X: a\0'),
  fields('a folded field', 'X: a\r\n stray'),
  fields('a blank before a colon', 'Content-Length : 5'),
  fields('too many fields', 'X: y\r\n'.repeat(101) + 'Content-Length: 5'),
  fields('a head too long', `X: ${'y'.repeat(61 * 1024)}`),
  none('chunked in HTTP/1.0', `HTTP/1.0 200 OK\r\n${CHUNKED}\r\n\r\n`),
  none('another version', 'HTTP/2.0 200 OK\r\n\r\n'),
  none('a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'),
  none('a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'),
  none('a status that is none', 'HTTP/1.1 600 OK\r\n\r\n'),
  none('a status below all', 'HTTP/1.1 099 OK\r\n\r\n'),
  none('a reason split by a bare CR', 'HTTP/1.1 200 OK\rX: stray\r\n\r\n'),
  none('no status line', 'X: stray\r\n\r\n'),
  none('an upgrade that nobody asked for', 'HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
  none('interim answers without end', 'HTTP/1.1 102 P\r\n\r\n'.repeat(20)),
  none('a body behind an interim answer', 'HTTP/1.1 100 C\r\nContent-Length: 5\r\n\r\nstray'),
  broken('a chunk that is none', `${OK}${CHUNKED}\r\n\r\n5\r\nclean\r\nZ\r\n${STRAY}`, 'UPSTREAM_BAD_RESPONSE'),
  broken('a chunk longer than it says', `${OK}${CHUNKED}\r\n\r\n5\r\ncleaner\r\n0\r\n\r\n`, 'UPSTREAM_BAD_RESPONSE'),
  broken(
    'a trailer that is a status line',
    `${OK}${CHUNKED}\r\n\r\n5\r\nclean\r\n0\r\n${STRAY}`,
    'UPSTREAM_BAD_RESPONSE',
  ),
]

/** An upstream whose first connection misbehaves; all others are clean. Counts connections and requests. */
async function misbehaving(node: Mesh, { answer, later }: Case) {
  const seen = { connections: 0, requests: 0, first: null as Socket | null }
  await node.tcp('app-v1-1', (socket) => {
    const isFirst = ++seen.connections === 1
    if (isFirst) seen.first = socket
    socket.on('data', () => {
      seen.requests++
      socket.write(isFirst ? answer : CLEAN, 'latin1')
    })
    socket.on('end', () => socket.end())
  })
  return {
    seen,
    sendLater: () => void seen.first?.write(later ?? ''),
  }
}

for (const hostile of CASES) {
  test(`${hostile.name} is seen by nobody, and its connection is not used again`, async (t) => {
    const node = mesh(t, world().service('app').pods('app-v1').pods('web', { behind: [] }))
    const { seen, sendLater } = await misbehaving(node, hostile)
    const request = `${hostile.method ?? 'GET'} /a HTTP/1.1\r\nHost: app\r\n\r\n`
    const socket = await node.dial('web-1', APP)
    const whole = drainSocket(socket)
    socket.write(request)
    await node.until(() => node.records.length === 1, 'a record')
    if (hostile.later !== undefined) {
      sendLater()
      await node.until(() => node.count('weft_proxy_upstreams_idle') === 0, 'the end of the connection')
    }
    const record = node.records[0]
    assert.equal(record?.response_code, hostile.status)
    assert.equal(record.weft_reason, hostile.reason ?? null)
    assert.equal(node.count('weft_proxy_upstreams_idle'), 0)

    // on the same connection where it is still there, else on a new one: the next answer is the next request's own
    const next = hostile.body === null ? await node.dial('web-1', APP) : socket
    if (next === socket) socket.write('GET /b HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n')
    else assert.equal((await ask(next, 'GET /b HTTP/1.1\r\nHost: app\r\n\r\n')).body, 'clean')
    const { bytes, how } = await whole
    const text = bytes.toString('latin1').replace(/HTTP\/1\.1 1[^]*?\r\n\r\n/g, '') // interim answers are the upstream's to give
    assert.equal(how, hostile.body === null ? 'reset' : 'end')
    assert.doesNotMatch(text, /stray/i)
    if (hostile.body !== null) {
      const [, first = '', second = '', ...others] = text.split(/HTTP\/1\.1 (?=\d)/)
      assert.equal(Number(first.slice(0, 3)), hostile.status)
      assert.ok(first.includes(hostile.body), text)
      assert.match(second, /^200 OK\r\n[^]*\r\n\r\nclean$/)
      assert.deepEqual(others, [])
    }
    await node.until(() => node.records.length === 2, 'a record of the next request')
    assert.equal(node.records[1]?.response_code, 200)
    assert.equal(seen.connections, 2)
    assert.equal(seen.requests, 2)
  })
}

test(`there are at least 15 hostile answers`, (t) => {
  t.diagnostic(`${CASES.length} hostile answers`)
  assert.ok(CASES.length >= 15)
})
