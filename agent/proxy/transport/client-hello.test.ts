import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { connect, type ConnectionOptions } from 'node:tls'
import fc from 'fast-check'
import { CLIENT_HELLO_MOST, readClientHello } from './client-hello.ts'

/** What OpenSSL sends first. */
async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const chunks: Buffer[] = []
  const wire = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done()
    },
  })
  const client = connect({ socket: wire, ...options })
  client.on('error', () => {})
  while (chunks.length === 0) await setImmediate()
  client.destroy()
  return Buffer.concat(chunks)
}

const vector = (size: 1 | 2, bytes: Uint8Array): Buffer => {
  const length = Buffer.alloc(size)
  length.writeUIntBE(bytes.length, 0, size)
  return Buffer.concat([length, bytes])
}
const extension = (type: number, body: Uint8Array): Buffer => Buffer.concat([Buffer.from([0, type]), vector(2, body)])
const serverName = (name: string): Buffer =>
  extension(0, vector(2, Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name))])))
const alpn = (names: readonly string[]): Buffer =>
  extension(16, vector(2, Buffer.concat(names.map((name) => vector(1, Buffer.from(name, 'latin1'))))))

function message(...extensions: Buffer[]): Buffer {
  const body = Buffer.concat([
    Buffer.alloc(34, 3),
    vector(1, Buffer.alloc(32)),
    vector(2, Buffer.from([0x13, 0x01])),
    vector(1, Buffer.from([0])),
    vector(2, Buffer.concat(extensions)),
  ])
  return Buffer.concat([Buffer.from([1, 0]), vector(2, body)])
}

/** `bytes` in records of the given sizes, the last of which is used for the rest. */
function records(bytes: Buffer, sizes: readonly number[]): Buffer {
  const parts: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[Math.min(i, sizes.length - 1)] as number
    parts.push(Buffer.from([22, 3, 1]), vector(2, bytes.subarray(at, at + size)))
    at += size
  }
  return Buffer.concat(parts)
}

test('a hello of OpenSSL says its names, and is partial at every length before its end', async () => {
  const hellos = [
    { options: { servername: 'a.example', ALPNProtocols: ['weft-http/1', 'h2'] }, name: 'a.example' },
    { options: { ALPNProtocols: ['weft-tcp/1'] }, name: null },
    { options: { servername: 'b.example', maxVersion: 'TLSv1.2' }, name: 'b.example' },
  ] as const
  for (const { options, name } of hellos) {
    const bytes = await helloOf({ ...options })
    const offered = 'ALPNProtocols' in options ? [...options.ALPNProtocols] : []
    assert.deepEqual(readClientHello(bytes), { alpn: offered, serverName: name })
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(readClientHello(bytes.subarray(0, length)), 'partial', `${length} of ${bytes.length}`)
    }
  }
})

test('however a hello is cut into records, it says the same; bytes behind it change nothing', () => {
  const names = fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 40 }), { maxLength: 20 })
  const sizes = fc.array(fc.integer({ min: 12, max: 2000 }), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(names, fc.domain(), sizes, fc.uint8Array({ maxLength: 50 }), (protocols, host, cuts, rest) => {
      const whole = message(serverName(host), alpn(protocols))
      const wire = records(whole, cuts)
      const expected = { alpn: protocols, serverName: host }
      assert.deepEqual(readClientHello(Buffer.concat([wire, rest])), expected)
      for (let length = 0; length < wire.length; length++) {
        assert.equal(readClientHello(wire.subarray(0, length)), 'partial')
      }
    }),
    { numRuns: 60 },
  )
})

test('what is no hello is known from the first byte that cannot be one', () => {
  for (const text of ['GET / HTTP/1.1\r\n', 'PRI * HTTP/2.0', '\0', 'SSH-2.0-']) {
    assert.equal(readClientHello(Buffer.from(text)), 'not-tls')
  }
  for (const bytes of [[23], [22, 2], [22, 3, 5], [22, 3, 1, 0, 0], [22, 3, 1, 0x40, 1], [22, 3, 1, 0, 9, 2]]) {
    assert.equal(readClientHello(Uint8Array.from(bytes)), 'not-tls', String(bytes))
  }
  assert.equal(readClientHello(Uint8Array.from([22, 3, 1, 0, 9, 1, 1])), 'partial')
  assert.equal(readClientHello(Uint8Array.from([22, 3, 1, 0, 9, 1, 1, 0, 0])), 'not-tls') // 64 KB are announced
})

test('a hello that lies about a length, says a thing twice or is spread too thin is none', () => {
  const twice = message(alpn(['a']), alpn(['b']))
  assert.equal(readClientHello(records(twice, [16384])), 'not-tls')
  assert.equal(readClientHello(records(message(alpn([''])), [16384])), 'not-tls')
  const long = message(alpn(['weft-http/1']))
  long[long.length - 12] = 200 // the name's length
  assert.equal(readClientHello(records(long, [16384])), 'not-tls')
  assert.equal(readClientHello(records(message(serverName('x'.repeat(200))), [1])), 'not-tls')
})

test('hostile input gets an answer, and none but partial hellos are waited for, up to a bound', () => {
  const mutated = fc
    .tuple(fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 6 }), fc.nat(400))
    .map(([changes, length]) => {
      const bytes = records(message(serverName('host.example'), alpn(['weft-http/1', 'weft-tcp/1'])), [60])
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      return bytes.subarray(0, length)
    })
  const answered = (bytes: Uint8Array): void => {
    const hello = readClientHello(bytes)
    if (typeof hello === 'object') assert.ok(hello.alpn.every((name) => name.length > 0))
  }
  fc.assert(fc.property(mutated, answered), { numRuns: 2000 })
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), answered), { numRuns: 500 })
  const endless = records(Buffer.concat([Buffer.from([1, 0, 0x40, 0]), Buffer.alloc(CLIENT_HELLO_MOST)]), [400])
  assert.notEqual(readClientHello(endless.subarray(0, CLIENT_HELLO_MOST)), 'partial')
})
