import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { AGENT_CAPABILITIES, effectiveIn, lacking } from './capabilities.ts'

const status = (mask: string): string =>
  `Name:\tnode\nCapInh:\t0000000000000000\nCapPrm:\tffffffffffffffff\nCapEff:\t${mask}\n`

test('the effective capabilities are read, and a text without them is none', () => {
  assert.equal(effectiveIn(status('0000000000281000')), 0x281000n)
  assert.equal(effectiveIn(status('000001ffffffffff')), 0x1ffffffffffn)
  assert.equal(effectiveIn('Name:\tnode\n'), 0n)
})

test('what is lacking is what a mask does not have', () => {
  const all = AGENT_CAPABILITIES.reduce((mask, { bit }) => mask | (1n << BigInt(bit)), 0n)
  assert.deepEqual(lacking(all), [])
  assert.deepEqual(lacking(0n), AGENT_CAPABILITIES)
  for (const each of AGENT_CAPABILITIES) assert.deepEqual(lacking(all & ~(1n << BigInt(each.bit))), [each])
})

test('names and bits are those of the kernel', () => {
  const header = '/usr/include/linux/capability.h'
  const text = readFileSync(header, 'utf8')
  for (const { name, bit } of AGENT_CAPABILITIES) assert.match(text, new RegExp(`^#define ${name}\\s+${bit}$`, 'm'))
})

test('the table of docs/capabilities.md is this list', () => {
  const text = readFileSync(new URL('../../docs/capabilities.md', import.meta.url), 'utf8')
  const rows = [...text.matchAll(/^\| `(CAP_\w+)`\s*\|/gm)].map(([, name]) => name)
  assert.deepEqual(
    rows,
    AGENT_CAPABILITIES.map(({ name }) => name),
  )
})
