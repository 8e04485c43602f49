import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import {
  ADDRESS_BYTES,
  OWN_BYTES,
  POD_BYTES,
  cookieKey,
  ownValue,
  podValue,
  readAddress,
  sumOf,
  writeAddress,
} from './layout.ts'

const anyAddress = fc.record({ ip: fc.ipV4(), port: fc.integer({ min: 0, max: 65535 }) }, { noNullPrototype: true })

test('an address is read as it was written, whatever stands around it', () => {
  fc.assert(
    fc.property(anyAddress, fc.integer({ min: 0, max: 12 }), (address, offset) => {
      const view = new DataView(new Uint8Array(ADDRESS_BYTES + 12).fill(0xee).buffer)
      writeAddress(view, offset, address)
      assert.deepEqual(readAddress(view, offset), address)
    }),
  )
})

test('IPv4 is written in its mapped form, port and address in network order', () => {
  const view = new DataView(new ArrayBuffer(ADDRESS_BYTES))
  writeAddress(view, 0, { ip: '10.1.2.3', port: 0x1f90 })
  assert.equal(Buffer.from(view.buffer).toString('hex'), '00000000000000000000ffff0a0102031f900000')
})

test('what is no IPv4 address or no port is refused before the kernel sees it', () => {
  const view = new DataView(new ArrayBuffer(ADDRESS_BYTES))
  for (const ip of ['', '::1', '10.0.0', '10.0.0.256', '10.0.0.1 ', 'a.b.c.d']) {
    assert.throws(() => writeAddress(view, 0, { ip, port: 1 }), RangeError, ip)
  }
  for (const port of [-1, 65536, 1.5, NaN]) {
    assert.throws(() => writeAddress(view, 0, { ip: '10.0.0.1', port }), RangeError, `${port}`)
  }
})

test('values have the sizes that the maps have', () => {
  assert.equal(podValue('10.0.0.1', 15001, 15006).length, POD_BYTES)
  assert.equal(ownValue(undefined, undefined).length, OWN_BYTES)
  assert.equal(ownValue('18446744073709551615', { ip: '10.0.0.1', port: 1 }).length, OWN_BYTES)
  assert.deepEqual([...new BigUint64Array(cookieKey('18446744073709551615').buffer)], [18446744073709551615n])
})

test('a socket of the proxy without a callee is marked and nothing else', () => {
  assert.ok(ownValue(undefined, undefined).every((byte) => byte === 0))
})

test('a counter is the sum of its CPUs', () => {
  assert.equal(sumOf(new Uint8Array(new BigUint64Array([1n, 0n, 2n ** 33n]).buffer)), 2 ** 33 + 1)
})
