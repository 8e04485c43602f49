import assert from 'node:assert/strict'
import { BlockList } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { familyOf, ipText } from './address.ts'
import { parseCidr, parsePort, onLossOf } from './terms.ts'

test('a port is a decimal number that can be dialled', () => {
  for (const [text, port] of [
    ['1', 1],
    ['80', 80],
    ['65535', 65535],
  ] as const)
    assert.equal(parsePort(text), port)
  for (const text of ['', '0', '080', '65536', '100000', '80-90', '-1', '+1', '1e3', '8.0', ' 80', 'http', '٣'])
    assert.equal(parsePort(text), null, text)
})

test('a CIDR has one text: canonical, and no host bits', () => {
  const table: [given: string, canonical: string][] = [
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['10.1.2.255/31', '10.1.2.254/31'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['9.9.9.9/0', '0.0.0.0/0'],
    ['FD00::1', 'fd00::1/128'],
    ['fd00:1:2::3/8', 'fd00::/8'],
    ['fd00:0:ffff::/33', 'fd00:0:8000::/33'],
    ['::/0', '::/0'],
    ['::ffff:10.0.0.1', '10.0.0.1/32'],
    ['::ffff:10.9.0.0/104', '10.0.0.0/8'],
    ['::ffff:10.9.0.0/96', '0.0.0.0/0'],
    ['::ffff:10.9.0.0/80', '::/80'],
  ]
  for (const [given, canonical] of table) assert.equal(parseCidr(given), canonical, given)
})

test('what is no CIDR has no text', () => {
  const none = ['', '/', '/8', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0/-1', '10.0.0.0/8/8', '10.0/8']
  for (const text of [...none, 'fd00::/129', 'fd00::/x', '10.0.0.0/255.0.0.0', '10.0.0.0-10.0.0.9', 'any'])
    assert.equal(parseCidr(text), null, text)
})

const words = fc.array(fc.nat({ max: 0xffff }), { minLength: 8, maxLength: 8 })
const address = fc.oneof(
  words.map(ipText),
  fc.tuple(fc.nat({ max: 0xffff }), fc.nat({ max: 0xffff })).map((low) => ipText([0, 0, 0, 0, 0, 0xffff, ...low])),
)

test('the canonical CIDR holds what the given one holds, and is its own', () => {
  const typeOf = (ip: string): 'ipv4' | 'ipv6' => (familyOf(ip) === 4 ? 'ipv4' : 'ipv6')
  fc.assert(
    fc.property(address, fc.nat({ max: 128 }), address, (ip, length, other) => {
      const bits = Math.min(length, familyOf(ip) === 4 ? 32 : 128)
      const canonical = parseCidr(`${ip}/${bits}`)
      assert.ok(canonical !== null)
      assert.equal(parseCidr(canonical), canonical)
      const [network = '', own] = canonical.split('/')
      assert.equal(Number(own), bits)
      const blocks = new BlockList()
      blocks.addSubnet(network, bits, typeOf(network))
      assert.equal(blocks.check(ip, typeOf(ip)), true)
      const given = new BlockList()
      given.addSubnet(ip, bits, typeOf(ip))
      if (familyOf(other) === familyOf(ip))
        assert.equal(blocks.check(other, typeOf(other)), given.check(other, typeOf(other)))
    }),
  )
})

test('without an agent a pod is open unless it says otherwise, and closed where it takes no plaintext', () => {
  const onLoss = (said: 'open' | 'closed' | null, isStrict: boolean) => Object.values(onLossOf(said, isStrict))
  assert.deepEqual(onLoss(null, false), ['open', false])
  assert.deepEqual(onLoss('open', false), ['open', false])
  assert.deepEqual(onLoss('closed', false), ['closed', false])
  assert.deepEqual(onLoss(null, true), ['closed', false])
  assert.deepEqual(onLoss('open', true), ['closed', true])
  assert.deepEqual(onLoss('closed', true), ['closed', false])
})
