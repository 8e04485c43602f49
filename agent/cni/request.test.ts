import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ipsOf, parseRequest } from './request.ts'

const ASKED = { command: 'ADD', namespace: 'shop', pod: 'cart', uid: 'u', containerId: 'c', ifname: 'eth0' }
const INTERFACES = [
  { name: 'veth1' },
  { name: 'eth0', sandbox: '/run/netns/x' },
  { name: 'net1', sandbox: '/run/netns/x' },
]

test('a request is what the plug-in sends', () => {
  const prevResult = { ips: [{ address: '10.0.0.5/24' }, { address: 'FD00::5/64' }] }
  const { ifname: _, ...asked } = ASKED
  const read = { ...asked, ips: ['10.0.0.5', 'fd00::5'], hears: false }
  assert.deepEqual(parseRequest(JSON.stringify({ ...ASKED, prevResult })), read)
  assert.equal(parseRequest(JSON.stringify({ ...ASKED, hears: true })).hears, true)
  assert.deepEqual(parseRequest(JSON.stringify({ ...ASKED, command: 'DEL', prevResult: null })).ips, [])
})

test('what is missing is named', () => {
  assert.throws(() => parseRequest(JSON.stringify({ ...ASKED, uid: 1 })), /^Error: uid: /)
  assert.throws(() => parseRequest(JSON.stringify({ ...ASKED, command: 'GC' })), /^Error: command: GC/)
  assert.throws(() => parseRequest('null'), /command/)
})

test('only addresses inside the pod, at the interface that was asked for, are the pod’s', () => {
  const ips = [
    { address: '10.0.0.1/24', interface: 0 },
    { address: '10.0.0.5/24', interface: 1 },
    { address: '10.9.0.5/24', interface: 2 },
  ]
  assert.deepEqual(ipsOf({ interfaces: INTERFACES, ips }, 'eth0'), ['10.0.0.5'])
  assert.deepEqual(ipsOf({ interfaces: INTERFACES, ips }, 'other'), ['10.0.0.5', '10.9.0.5'])
  assert.deepEqual(ipsOf({ ips: [{ address: '10.0.0.5/24' }, { address: '10.0.0.5/16' }] }, 'eth0'), ['10.0.0.5'])
})

test('whatever a result is, it is read', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (ips, interfaces) => Array.isArray(ipsOf({ ips, interfaces }, 'e'))),
  )
  fc.assert(fc.property(fc.jsonValue(), (result) => Array.isArray(ipsOf(result, 'eth0'))))
})
