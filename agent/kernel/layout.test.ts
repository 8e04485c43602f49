import assert from 'node:assert/strict'
import { endianness } from 'node:os'
import test from 'node:test'
import fc from 'fast-check'
import { canonicalIp, familyOf, ipText, ipWords } from '../model/address.ts'
import { parseCidr } from '../model/terms.ts'
import {
  ADDRESS_BYTES,
  CONNECTION_BYTES,
  DIRECTIONS,
  EXCLUDED_BLOCK_BYTES,
  FLAG,
  OWN_BYTES,
  PASSAGES,
  POD_BYTES,
  type PodValue,
  TALLY_BYTES,
  TALLY_KEY_BYTES,
  addressKey,
  cookieKey,
  excludedBlockKey,
  excludedPortKey,
  ownValue,
  podValue,
  proberValue,
  readAddress,
  readConnections,
  readCookie,
  readTally,
  readTallyKey,
  spillKey,
  sumOf,
  writeAddress,
} from './layout.ts'

// What is expected here is written by hand from the comments of bpf/mesh.h and native/diag.cc: fields in their order,
// network byte order where they say so, else the machine's own.

const IS_LITTLE = endianness() === 'LE'
const hex = (bytes: Uint8Array | DataView): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
/** A number as the machine keeps it. */
const own = (value: number | bigint, bytes: number): string => {
  const text = BigInt(value)
    .toString(16)
    .padStart(2 * bytes, '0')
  return IS_LITTLE ? Buffer.from(text, 'hex').reverse().toString('hex') : text
}
const u16 = (value: number): string => own(value, 2)
const u32 = (value: number): string => own(value, 4)
const u64 = (value: number | bigint): string => own(value, 8)
/** An address as it is on the wire. */
const V4 = '00000000000000000000ffff0a010203' // 10.1.2.3
const V6 = 'fd001000000000000000000000000a42' // fd00:1000::a42
const NONE = '0'.repeat(2 * ADDRESS_BYTES)

const MOST = '18446744073709551615'
const anyCookie = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String)
const anyPort = fc.integer({ min: 0, max: 65535 })
const anyIp = fc.oneof(fc.ipV4(), fc.ipV6()).map((ip) => canonicalIp(ip) ?? assert.fail(ip))
const anyAddress = fc.record({ ip: anyIp, port: anyPort }, { noNullPrototype: true })
/** An IP, and one that differs in one bit. */
const twoIps = fc.tuple(anyIp, fc.nat({ max: 127 })).map(([ip, bit]) => {
  const words = ipWords(ip) ?? assert.fail(ip)
  return [ip, ipText(words.map((word, index) => word ^ (index === bit >> 4 ? 0x8000 >> (bit & 15) : 0)))] as const
})

test('an address of either family is read as it was written, whatever stands around it', () => {
  fc.assert(
    fc.property(anyAddress, fc.integer({ min: 0, max: 12 }), (address, offset) => {
      const bytes = new Uint8Array(ADDRESS_BYTES + 12).fill(0xee)
      const view = new DataView(bytes.buffer)
      writeAddress(view, offset, address)
      assert.deepEqual(readAddress(view, offset), address)
      assert.ok(bytes.subarray(0, offset).every((byte) => byte === 0xee))
      assert.ok(bytes.subarray(offset + ADDRESS_BYTES).every((byte) => byte === 0xee))
    }),
  )
})

test('addresses that differ in one bit, or in the port, have different keys', () => {
  fc.assert(
    fc.property(twoIps, anyPort, anyPort, ([ip, other], port, otherPort) => {
      assert.notEqual(hex(addressKey({ ip, port })), hex(addressKey({ ip: other, port })))
      assert.equal(hex(addressKey({ ip, port })) === hex(addressKey({ ip, port: otherPort })), port === otherPort)
    }),
  )
})

test('IPv4 is written in its mapped form, IPv6 as it is, port and address in network order', () => {
  assert.equal(hex(addressKey({ ip: '10.1.2.3', port: 0x1f90 })), `${V4}1f900000`)
  assert.equal(hex(addressKey({ ip: 'fd00:1000::a42', port: 1 })), `${V6}00010000`)
  assert.equal(hex(addressKey({ ip: '::ffff:10.1.2.3', port: 0x1f90 })), `${V4}1f900000`)
})

test('what is no address or no port is refused before the kernel sees it', () => {
  const view = new DataView(new ArrayBuffer(ADDRESS_BYTES))
  for (const ip of ['', ':', '1::2::3', '12345::', 'fe80::1%eth0', '10.0.0', '10.0.0.256', '10.0.0.1 ', 'a.b.c.d']) {
    assert.throws(() => writeAddress(view, 0, { ip, port: 1 }), RangeError, ip)
  }
  for (const port of [-1, 65536, 1.5, NaN]) {
    assert.throws(() => writeAddress(view, 0, { ip: '10.0.0.1', port }), RangeError, `${port}`)
  }
})

test('a cookie is read as it was written', () => {
  fc.assert(fc.property(anyCookie, (cookie) => assert.equal(readCookie(cookieKey(cookie)), cookie)))
  assert.equal(hex(cookieKey(MOST)), 'f'.repeat(16))
  assert.equal(readCookie(Buffer.concat([new Uint8Array(4), cookieKey('77')]), 4), '77')
})

const NOBODY: PodValue = {
  ...{ cookie: '0', flags: 0, shown4: null, shown6: null },
  ...{ outbound4: 0, outbound6: 0, inbound4: 0, inbound6: 0 },
}

test('a pod is written field by field', () => {
  const value = podValue({
    ...{ cookie: '258', flags: FLAG.closed | FLAG.blocks, shown4: '10.1.2.3', shown6: 'fd00:1000::a42' },
    ...{ outbound4: 15001, outbound6: 15101, inbound4: 15006, inbound6: 40000 },
  })
  const ports = '3a99' + '3afd' + '3a9e' + '9c40'
  const shown = `${V4}00000000${V6}00000000`
  assert.equal(hex(value), `${u64(258)}${shown}${ports}${u32(8 + 32)}${u32(0)}`)
})

test('what a pod has not is written as nothing', () => {
  assert.equal(hex(podValue({ ...NOBODY, cookie: MOST })), `${'f'.repeat(16)}${'0'.repeat(2 * (POD_BYTES - 8))}`)
  const sixOnly = podValue({ ...NOBODY, shown6: 'fd00:1000::a42', inbound6: 15006 })
  assert.equal(hex(sixOnly), `${u64(0)}${NONE}${V6}00000000${'000000000000'}3a9e${u32(0)}${u32(0)}`)
})

test('flags of a pod are told apart', () => {
  const flags = Object.values(FLAG)
  assert.equal(
    flags.reduce((sum: number, flag) => sum | flag, 0),
    flags.reduce((sum: number, flag) => sum + flag, 0),
  )
})

test('a socket of the proxy is written with its callee and the client to show', () => {
  const value = ownValue('258', { ip: '10.1.2.3', port: 0x1f90 })
  assert.equal(hex(value), `${u64(258)}${V4}1f900000${u32(0)}`)
  assert.equal(hex(ownValue('258', { ip: 'fd00:1000::a42', port: 1 })), `${u64(258)}${V6}00010000${u32(0)}`)
})

test('a socket of the proxy without a callee is marked and nothing else', () => {
  assert.equal(hex(ownValue(undefined, undefined)), '0'.repeat(2 * OWN_BYTES))
})

test('an excluded port is written with its direction', () => {
  assert.equal(hex(excludedPortKey('258', 'outbound', 3306)), `${u64(258)}0cea${u16(0)}${u32(0)}`)
  assert.equal(hex(excludedPortKey('258', 'inbound', 3306)), `${u64(258)}0cea${u16(1)}${u32(0)}`)
})

test('an excluded block counts the bits of cookie and family, and for IPv4 those of the mapped form', () => {
  const block = (bits: number, family: number, ip: string): string =>
    `${u32(64 + 32 + bits)}${u64(258)}${u32(family)}${ip}`
  assert.equal(hex(excludedBlockKey('258', '10.1.2.3/32')), block(128, 4, V4))
  assert.equal(hex(excludedBlockKey('258', '10.0.0.0/8')), block(96 + 8, 4, `${V4.slice(0, 26)}000000`))
  assert.equal(hex(excludedBlockKey('258', '0.0.0.0/0')), block(96, 4, `${V4.slice(0, 24)}00000000`))
  assert.equal(hex(excludedBlockKey('258', 'fd00:1000::/20')), block(20, 6, `fd001000${'0'.repeat(24)}`))
  assert.equal(hex(excludedBlockKey('258', '::/0')), block(0, 6, '0'.repeat(32)))
  assert.equal(excludedBlockKey('258', '::/0').length, EXCLUDED_BLOCK_BYTES)
  assert.throws(() => excludedBlockKey('258', '10.0.0/8'), RangeError)
})

/** Whether an LPM trie finds `ip` under the block: what the kernel compares, bit by bit. */
function isFound(block: Uint8Array, cookie: string, ip: string): boolean {
  const bits = new DataView(block.buffer).getUint32(0, IS_LITTLE)
  const text = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const asked = excludedBlockKey(cookie, `${ip}/${ip.includes(':') ? 128 : 32}`)
  return text(asked.subarray(4)).slice(0, bits) === text(block.subarray(4)).slice(0, bits)
}

test('an address is in an excluded block of its family where its first bits are the block’s, and only for the same pod', () => {
  fc.assert(
    fc.property(twoIps, fc.nat({ max: 128 }), anyCookie, ([ip, other], bits, cookie) => {
      const cidr = parseCidr(`${ip}/${ip.includes(':') ? bits : bits >> 2}`) ?? assert.fail(ip)
      const key = excludedBlockKey(cookie, cidr)
      assert.ok(isFound(key, cookie, ip), cidr)
      assert.ok(!isFound(key, `${BigInt(cookie) ^ 1n}`, ip), cidr)
      const [network = '', length = ''] = cidr.split('/')
      const first = (text: string): string =>
        (ipWords(text) ?? [])
          .map((word) => word.toString(2).padStart(16, '0'))
          .join('')
          .slice(0, Number(length) + (network.includes(':') ? 0 : 96))
      const isIn = familyOf(other) === familyOf(network) && first(other) === first(network)
      assert.equal(isFound(key, cookie, other), isIn, `${other} in ${cidr}`)
    }),
  )
})

test('a block of one family takes no address of the other, however wide it is', () => {
  assert.ok(!isFound(excludedBlockKey('7', '::/0'), '7', '10.1.2.3'))
  assert.ok(!isFound(excludedBlockKey('7', '0.0.0.0/0'), '7', 'fd00::1'))
  assert.ok(isFound(excludedBlockKey('7', '::/0'), '7', 'fd00::1'))
  assert.ok(isFound(excludedBlockKey('7', '0.0.0.0/0'), '7', '10.1.2.3'))
})

test('the prober is the id of a cgroup and how deep it is', () => {
  assert.equal(hex(proberValue(2n ** 40n + 5n, 3)), `${u64(2n ** 40n + 5n)}${u32(3)}${u32(0)}`)
})

/** `struct tally_key` */
const tallyKey = (ip: string, port: string, direction: number, path: number): string =>
  `${ip}${port}0000${u16(direction)}${u16(path)}`

test('a tally’s key tells the other end, the direction and the passage', () => {
  const read = (text: string): unknown => readTallyKey(Buffer.from(`ffffffffff${text}`, 'hex'), 5)
  assert.deepEqual(read(tallyKey(V4, '1f90', 0, 0)), {
    ...{ remote: { ip: '10.1.2.3', port: 8080 }, direction: 'outbound', passage: 'proxy' },
  })
  assert.deepEqual(read(tallyKey(V6, '0000', 1, 2)), {
    ...{ remote: { ip: 'fd00:1000::a42', port: 0 }, direction: 'inbound', passage: 'probe' },
  })
  assert.deepEqual(read(tallyKey(V4, '0000', 1, 1)), {
    ...{ remote: { ip: '10.1.2.3', port: 0 }, direction: 'inbound', passage: 'direct' },
  })
})

test('what found no room for a tally of its own is read under no other end', () => {
  for (const [at, direction] of DIRECTIONS.entries()) {
    for (const [path, passage] of PASSAGES.entries()) {
      const key = spillKey(direction, passage)
      assert.equal(hex(key), `${NONE}${u16(at)}${u16(path)}`)
      assert.equal(key.length, TALLY_KEY_BYTES)
      assert.deepEqual(readTallyKey(key, 0), { remote: null, direction, passage })
    }
  }
})

test('a tally is six counts, also those beyond 32 bits', () => {
  const text = [3, 2, 2 ** 40 + 1, 2 ** 33, 5, 120_000].map(u64).join('')
  const bytes = Buffer.from('ee'.repeat(TALLY_BYTES) + text, 'hex')
  assert.deepEqual(readTally(bytes, TALLY_BYTES), {
    ...{ opened: 3, closed: 2, sentBytes: 2 ** 40 + 1, receivedBytes: 2 ** 33 },
    ...{ retransmits: 5, srttUs: 120_000 },
  })
})

test('connections are read one after the other, with whose they are', () => {
  const ends = `${V4}1f900000${V6}9c400000`
  const row = (socket: bigint, key: string, isOwn: number, isInside: number): string =>
    `${u64(socket)}${u64(2 ** 40)}${u64(17)}${key}${u32(isOwn)}${u32(isInside)}${ends}`
  const none = '0'.repeat(2 * TALLY_KEY_BYTES)
  const bytes = Buffer.from(
    [row(2n ** 63n + 1n, tallyKey(V6, '01bb', 0, 1), 0, 0), row(2n, none, 1, 0), row(3n, none, 0, 1)].join(''),
    'hex',
  )
  assert.equal(bytes.length, 3 * CONNECTION_BYTES)
  const told = { local: { ip: '10.1.2.3', port: 8080 }, remote: { ip: 'fd00:1000::a42', port: 40000 } }
  const carried = { sentBytes: 2 ** 40, receivedBytes: 17, ...told }
  const tally = { remote: { ip: 'fd00:1000::a42', port: 443 }, direction: 'outbound', passage: 'direct' }
  assert.deepEqual(readConnections(bytes), [
    { socket: 2n ** 63n + 1n, ...carried, tally, own: false, inside: false },
    { socket: 2n, ...carried, tally: null, own: true, inside: false },
    { socket: 3n, ...carried, tally: null, own: false, inside: true },
  ])
  assert.deepEqual(readConnections(new Uint8Array(0)), [])
})

test('a counter is the sum of its CPUs', () => {
  assert.equal(sumOf(new Uint8Array(new BigUint64Array([1n, 0n, 2n ** 33n]).buffer)), 2 ** 33 + 1)
})
