import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Frontend } from './balance.ts'
import { nftRules } from './rules.ts'

const web: Frontend = {
  ...{ namespace: 'shop', service: 'web', portName: 'http', protocol: 'tcp', port: 80, nodePort: null, sticky: false },
  addresses: ['10.96.0.20'],
  backends: [
    { address: '10.244.1.2', port: 8080 },
    { address: '10.244.2.2', port: 8080 },
  ],
}
const lineWith = (rules: string, text: string): string => rules.split('\n').find((line) => line.includes(text)) ?? ''

test('the script replaces the whole table in one transaction', () => {
  const [first, second, third] = nftRules([]).split('\n')
  assert.deepEqual(
    [first, second, third],
    ['table ip weft-lab-services {}', 'delete table ip weft-lab-services', 'table ip weft-lab-services {'],
  )
})

test('a service address leads to each backend with equal odds', () => {
  const rules = nftRules([web])
  assert.match(lineWith(rules, '10.96.0.20 . tcp . 80'), /: goto svc-[0-9a-f]{12}/)
  assert.match(
    lineWith(rules, 'numgen'),
    /numgen random mod 2 vmap \{ 0 : goto ep-tcp-10-244-1-2-8080, 1 : goto ep-tcp-10-244-2-2-8080 \}/,
  )
  assert.match(rules, /dnat to 10\.244\.1\.2:8080/)
})

test('with session affinity the caller decides the backend', () => {
  assert.match(lineWith(nftRules([{ ...web, sticky: true }]), 'mod 2'), /jhash ip saddr mod 2/)
})

test('a pod that reaches itself is masqueraded, others are not', () => {
  assert.match(nftRules([web]), /ip saddr 10\.244\.1\.2 meta mark set meta mark or 0x4000/)
})

test('a port without backends is refused, not left to time out', () => {
  const rules = nftRules([{ ...web, backends: [], nodePort: 30_080 }])
  assert.match(rules, /set refused \{\n {2}type .*\n {2}elements = \{ 10\.96\.0\.20 \. tcp \. 80 \}/)
  assert.match(rules, /set refused-node-ports \{\n {2}type .*\n {2}elements = \{ tcp \. 30080 \}/)
  assert.doesNotMatch(rules, /numgen/)
})

test('a node port is sent on with the address of the node', () => {
  const rules = nftRules([{ ...web, nodePort: 30_080 }])
  assert.match(lineWith(rules, 'tcp . 30080'), /: goto svc-[0-9a-f]{12}-node/)
  assert.match(rules, /-node \{\n {2}meta mark set meta mark or 0x4000\n {2}goto svc-/)
})

test('of two services with one external address the first by name has it', () => {
  const rules = nftRules([
    { ...web, addresses: ['10.96.0.20', '192.0.2.1'] },
    { ...web, service: 'zoo', addresses: ['10.96.0.21', '192.0.2.1'] },
  ])
  assert.equal(rules.match(/192\.0\.2\.1 \. tcp/g)?.length, 1)
})
