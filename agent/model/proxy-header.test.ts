import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalIp, type SocketAddress } from './address.ts'
import { beginsProxyHeader, proxyHeader } from './proxy-header.ts'

const ip = fc.oneof(
  fc.ipV4(),
  fc.ipV6().map((text) => canonicalIp(text) ?? '::1'),
)
const address: fc.Arbitrary<SocketAddress> = fc
  .tuple(ip, fc.integer({ min: 0, max: 65535 }))
  .map(([ip, port]) => ({ ip, port }))

interface Told {
  readonly family: 4 | 6
  readonly source: SocketAddress
  readonly destination: SocketAddress
}

/** As a server reads version 1 (proxy-protocol.txt §2.1). */
function readText(bytes: Buffer): Told {
  assert.ok(bytes.length <= 107, 'the longest line there is')
  const line = /^PROXY TCP([46]) (\S+) (\S+) (0|[1-9]\d*) (0|[1-9]\d*)\r\n$/.exec(bytes.toString('latin1'))
  assert.ok(line, bytes.toString())
  const [, family, from = '', to = '', fromPort, toPort] = line
  for (const text of [from, to]) assert.equal(text.includes(':'), family === '6', 'in the form of its family')
  const end = (text: string, port: string | undefined) => ({ ip: canonicalIp(text) ?? '', port: Number(port) })
  return { family: family === '4' ? 4 : 6, source: end(from, fromPort), destination: end(to, toPort) }
}

/** As a server reads version 2 (§2.2). */
function readBinary(bytes: Buffer): Told {
  assert.equal(bytes.subarray(0, 12).toString('latin1'), '\r\n\r\n\0\r\nQUIT\n')
  assert.equal(bytes.readUInt8(12), 0x21)
  const size = bytes.readUInt8(13) === 0x11 ? 4 : 16
  if (size === 16) assert.equal(bytes.readUInt8(13), 0x21)
  assert.equal(bytes.readUInt16BE(14), 2 * size + 4)
  assert.equal(bytes.length, 16 + 2 * size + 4)
  const end = (index: number): SocketAddress => {
    const raw = bytes.subarray(16 + index * size, 16 + (index + 1) * size)
    const words = raw.toString('hex').match(/.{4}/g) ?? []
    const text = size === 4 ? [...raw].join('.') : words.join(':')
    return { ip: canonicalIp(text) ?? '', port: bytes.readUInt16BE(16 + 2 * size + 2 * index) }
  }
  return { family: size === 4 ? 4 : 6, source: end(0), destination: end(1) }
}

test('what a header tells is what a server reads', () => {
  fc.assert(
    fc.property(address, address, (source, destination) => {
      const family = source.ip.includes(':') || destination.ip.includes(':') ? 6 : 4
      const expected = { family, source, destination }
      assert.deepEqual(readText(Buffer.from(proxyHeader({ version: 1, source, destination }))), expected)
      assert.deepEqual(readBinary(Buffer.from(proxyHeader({ version: 2, source, destination }))), expected)
    }),
    { numRuns: 2000, seed: 3 },
  )
})

test('a header is written as the protocol’s own examples are', () => {
  const ends = { source: { ip: '192.168.0.1', port: 56324 }, destination: { ip: '192.168.0.11', port: 443 } }
  assert.equal(
    Buffer.from(proxyHeader({ version: 1, ...ends })).toString(),
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n',
  )
  assert.equal(
    Buffer.from(proxyHeader({ version: 2, ...ends })).toString('hex'),
    `0d0a0d0a000d0a515549540a2111000cc0a80001c0a8000bdc0401bb`,
  )
})

test('a header is known by how it begins, however it comes in', () => {
  const ends = { source: { ip: '10.0.0.1', port: 1 }, destination: { ip: 'fd00::1', port: 2 } }
  for (const [version, length] of [
    [1, 9],
    [2, 12],
  ] as const) {
    const bytes = proxyHeader({ version, ...ends })
    for (let seen = 0; seen < length; seen++) assert.equal(beginsProxyHeader(bytes.subarray(0, seen)), 'partial')
    for (let seen = length; seen <= bytes.length; seen++) {
      assert.equal(beginsProxyHeader(bytes.subarray(0, seen)), 'yes')
    }
  }
  for (const text of ['GET / HTTP/1.1\r\n', 'PROXY / HTTP/1.1\r\n', '\r\nGET /', 'POST', '\r\n\r\nG']) {
    assert.equal(beginsProxyHeader(Buffer.from(text)), 'no', text)
  }
})
