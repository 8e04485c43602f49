import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  MalformedQuery,
  type Query,
  RCODE,
  type ResourceRecord,
  TYPE,
  decodeName,
  decodeQuery,
  encodeName,
  encodeReply,
} from './wire.ts'

const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,63}$/)
const name = fc
  .array(label, { minLength: 1, maxLength: 6 })
  .map((labels) => labels.join('.'))
  .filter((text) => text.length < 250)

/** A query as a resolver sends it. */
function queryBytes(asked: string, type: number, udpBytes?: number): Buffer {
  const header = Buffer.alloc(12)
  header.writeUInt16BE(0x1234, 0)
  header.writeUInt16BE(0x0100, 2)
  header.writeUInt16BE(1, 4)
  const tail = Buffer.alloc(4)
  tail.writeUInt16BE(type, 0)
  tail.writeUInt16BE(1, 2)
  const parts = [header, encodeName(asked), tail]
  if (udpBytes !== undefined) {
    header.writeUInt16BE(1, 10)
    const opt = Buffer.alloc(11)
    opt.writeUInt16BE(TYPE.OPT, 1)
    opt.writeUInt16BE(udpBytes, 3)
    parts.push(opt)
  }
  return Buffer.concat(parts)
}

const queryOf = (asked: string): Query => decodeQuery(queryBytes(asked, TYPE.A))
const addresses = (count: number): ResourceRecord[] =>
  Array.from({ length: count }, (_, at) => ({ name: 'a.b', ttlSeconds: 5, type: 'A', address: `10.0.0.${String(at)}` }))

test('a name survives encoding and decoding', () => {
  fc.assert(
    fc.property(name, (text) => {
      const wire = encodeName(text)
      assert.deepEqual(decodeName(wire, 0), { name: text, end: wire.length })
    }),
  )
})

test('a query is read as it was written', () => {
  fc.assert(
    fc.property(
      name,
      fc.constantFrom(TYPE.A, TYPE.AAAA, TYPE.SRV),
      fc.option(fc.integer({ min: 0, max: 65_535 })),
      (text, type, udp) => {
        const query = decodeQuery(queryBytes(text, type, udp ?? undefined))
        assert.deepEqual(query.question, { name: text, type, class: 1 })
        assert.equal(query.edns, udp !== null)
        assert.ok(query.udpBytes >= 512 && query.udpBytes <= 1232)
      },
    ),
  )
})

test('any bytes are a query or malformed, never another error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      try {
        decodeQuery(Buffer.from(bytes))
      } catch (error) {
        assert.ok(error instanceof MalformedQuery)
      }
    }),
    { numRuns: 2000 },
  )
})

test('a query cut short or with one byte changed is a query or malformed', () => {
  const whole = queryBytes('reviews.default.svc.cluster.local', TYPE.A, 1232)
  for (let at = 0; at < whole.length; at += 1) {
    assert.throws(() => decodeQuery(whole.subarray(0, at)), MalformedQuery)
    for (const value of [0, 0x3f, 0x40, 0xc0, 0xff]) {
      const changed = Buffer.from(whole)
      changed[at] = value
      try {
        decodeQuery(changed)
      } catch (error) {
        assert.ok(error instanceof MalformedQuery)
      }
    }
  }
})

test('a compression pointer to itself or forwards is refused', () => {
  assert.throws(() => decodeName(Buffer.from([0xc0, 0x00]), 0), RangeError)
  assert.throws(() => decodeName(Buffer.from([0xc0, 0x02, 1, 97, 0]), 0), RangeError)
  assert.deepEqual(decodeName(Buffer.from([1, 97, 0, 1, 98, 0xc0, 0x00]), 3), { name: 'b.a', end: 7 })
})

test('an answer is not answered', () => {
  const answer = queryBytes('a.b', TYPE.A)
  answer.writeUInt16BE(0x8180, 2)
  assert.throws(
    () => decodeQuery(answer),
    (error) => error instanceof MalformedQuery && error.id === null,
  )
})

test('a reply that is too long for UDP is cut at a record and says so', () => {
  const reply = { rcode: RCODE.OK, authoritative: true, answers: addresses(100), authority: [] }
  const wire = encodeReply(queryOf('a.b'), reply, 512)
  assert.ok(wire.length <= 512)
  assert.equal(wire.readUInt16BE(2) & 0x0200, 0x0200)
  const kept = wire.readUInt16BE(6)
  assert.equal(wire.length, 12 + 5 + 4 + kept * (5 + 10 + 4))
  const whole = encodeReply(queryOf('a.b'), reply)
  assert.equal(whole.readUInt16BE(2) & 0x0200, 0)
  assert.equal(whole.readUInt16BE(6), 100)
})

test('a service record carries port and target', () => {
  const record: ResourceRecord = {
    name: 's',
    ttlSeconds: 5,
    type: 'SRV',
    priority: 0,
    weight: 100,
    port: 8080,
    target: 't.x',
  }
  const wire = encodeReply(queryOf('s'), { rcode: 0, authoritative: true, answers: [record], authority: [] })
  const tail = wire.subarray(wire.length - 11)
  assert.deepEqual([...tail], [0, 0, 0, 100, 0x1f, 0x90, 1, 116, 1, 120, 0])
})
