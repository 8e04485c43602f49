import assert from 'node:assert/strict'
import { isIP, SocketAddress } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressText, canonicalIp, ipIn, familyOf, ipText, ipWords, isLoopback } from './address.ts'

test('every way to write an address becomes one text', () => {
  const table: [given: string, canonical: string][] = [
    ['10.96.0.1', '10.96.0.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['::', '::'],
    ['::1', '::1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['FD00::A', 'fd00::a'],
    ['fd00:0:0:0::0001', 'fd00::1'],
    // RFC 5952 §4.1, §4.2.1, §4.2.2, §4.2.3
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['1:2:3:4:5:6:0:0', '1:2:3:4:5:6::'],
    // one address, whichever family of socket was asked
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:a00:1', '10.0.0.1'],
    ['0:0:0:0:0:ffff:0a00:0001', '10.0.0.1'],
    ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
  ]
  for (const [given, canonical] of table) assert.equal(canonicalIp(given), canonical, given)
})

test('what is no address has no text', () => {
  const none = ['', ':', ':::', '1', '1.2.3', '1.2.3.4.5', '256.0.0.1', '010.0.0.1', '1.2.3.4 ', 'None', 'fe80::1%eth0']
  const malformed = ['1::2::3', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4::5:6:7:8', '12345::', 'g::', '1.2.3.4::']
  for (const text of [...none, ...malformed, '::1.2.3', '::1.2.3.4:1', '[::1]', '10.0.0.0/8']) {
    assert.equal(canonicalIp(text), null, text)
  }
})

const word = fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat({ max: 0xffff }))
const words = fc.array(word, { minLength: 8, maxLength: 8 })
const mapped = fc.tuple(word, word).map(([high, low]) => [0, 0, 0, 0, 0, 0xffff, high, low])

test('an address is written as the system writes it, and read back as the same', () => {
  fc.assert(
    fc.property(fc.oneof(words, mapped), (given) => {
      const text = ipText(given)
      assert.deepEqual(ipWords(text), given)
      assert.equal(canonicalIp(text), text)
      assert.equal(canonicalIp(given.map((part) => part.toString(16).padStart(4, '0')).join(':')), text)
      assert.equal(familyOf(text), isIP(text))
      // the system writes ::/96 in dots (IPv4-compatible, RFC 4291 §2.5.5.1: not in use), which RFC 5952 does not
      if (given.slice(0, 6).some((part) => part !== 0)) {
        const family = familyOf(text) === 6 ? 'ipv6' : 'ipv4'
        assert.equal(new SocketAddress({ address: text, family }).address, text)
      }
    }),
  )
})

test('an address is one exactly where the system takes it for one', () => {
  const piece = fc.constantFrom(':', '::', '.', '0', '1', 'ff', 'ffff', '10.0.0.1', '255', '256', '01', 'g', '%')
  const text = fc.oneof(
    fc.array(piece, { maxLength: 16 }).map((pieces) => pieces.join('')),
    fc.ipV6(),
    fc.ipV4(),
    fc.string({ maxLength: 12 }),
  )
  fc.assert(
    fc.property(text, (given) => {
      fc.pre(!given.includes('%')) // a zone is the system's, not the mesh's
      assert.equal(canonicalIp(given) !== null, isIP(given) !== 0, given)
    }),
    { numRuns: 2000 },
  )
})

test('an address and a port are told apart', () => {
  assert.equal(addressText({ ip: '10.0.0.1', port: 80 }), '10.0.0.1:80')
  assert.equal(addressText({ ip: 'fd00::1', port: 80 }), '[fd00::1]:80')
})

test('loopback is what ends in the namespace it was dialled in', () => {
  const own = ['127.0.0.1', '127.9.9.9', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:0:0']
  for (const ip of own) assert.equal(isLoopback(ip), true, ip)
  for (const ip of ['128.0.0.1', '10.0.0.1', 'fd00::1', '7f00::1', '::2']) assert.equal(isLoopback(ip), false, ip)
})

test('the IP is found again in the text of an address', () => {
  for (const ip of ['10.0.0.1', 'fd00::1']) assert.equal(ipIn(addressText({ ip, port: 8080 })), ip)
})
