// The reader of what the compiler tells of the BPF programs, shown on the objects that are checked in.
import assert from 'node:assert/strict'
import test from 'node:test'
import { INBOUND, MESH } from '../../agent/kernel/programs/objects.ts'
import { declaredMaps } from '../../bpf/btf.ts'
import { readElf } from '../../bpf/elf.ts'

test('the maps that an object lists are those which its types declare', () => {
  for (const { btf, maps } of [MESH, INBOUND]) {
    const declared = [...declaredMaps(Buffer.from(btf, 'base64'))].map(([name, map]) => ({ name, ...map }))
    assert.ok(declared.length > 0)
    assert.deepEqual(declared, maps)
  }
})

test('a map of maps is declared with what it holds, a plain one with nothing', () => {
  const declared = declaredMaps(Buffer.from(MESH.btf, 'base64'))
  const tallies = declared.get('tallies')
  assert.deepEqual([tallies?.keyBytes, tallies?.valueBytes], [8, 4])
  assert.deepEqual([tallies?.inner?.keyBytes, tallies?.inner?.valueBytes], [24, 48])
  assert.equal(declared.get('pods')?.inner, null)
})

test('what is no 64-bit little-endian object is refused', () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('#!/bin/sh\n'), Buffer.from('\x7fELF\x01\x01', 'latin1')]) {
    assert.throws(() => readElf(bytes), /not a 64-bit little-endian ELF object/)
  }
})
