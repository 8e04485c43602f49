import assert from 'node:assert/strict'
import test from 'node:test'
import {
  ADDRESS_BYTES,
  COUNTERS,
  EXCLUDED_BLOCK_BYTES,
  EXCLUDED_PORT_BYTES,
  INBOUND_COUNTERS,
  OWN_BYTES,
  POD_BYTES,
  PORTS_BYTES,
  PORTS_GROUPS,
  PROBER_BYTES,
  TALLY_BYTES,
  TALLY_KEY_BYTES,
} from '../layout.ts'
import type { BpfObject, MapShape } from './load.ts'
import { INBOUND, MESH } from './objects.ts'

/** BPF_MAP_TYPE_ARRAY */
const ARRAY = 2
const BOTH: readonly BpfObject[] = [MESH, INBOUND]

function shapeOf(object: BpfObject, name: string): MapShape {
  return object.maps.find((map) => map.name === name) ?? assert.fail(`no map ${name}`)
}

test('the compiled maps have the keys and values that layout.ts writes', () => {
  const sizes = (object: BpfObject, name: string): readonly number[] => {
    const { keyBytes, valueBytes } = shapeOf(object, name)
    return [keyBytes, valueBytes]
  }
  assert.deepEqual(sizes(MESH, 'pods'), [8, POD_BYTES])
  assert.deepEqual(sizes(MESH, 'own'), [4, OWN_BYTES])
  assert.deepEqual(sizes(MESH, 'accepted'), [4, ADDRESS_BYTES])
  assert.deepEqual(sizes(MESH, 'counted'), [4, TALLY_KEY_BYTES])
  assert.deepEqual(sizes(MESH, 'probes'), [ADDRESS_BYTES, 8])
  assert.deepEqual(sizes(MESH, 'prober'), [4, PROBER_BYTES])
  assert.deepEqual(sizes(MESH, 'excluded_ports'), [EXCLUDED_PORT_BYTES, 4])
  assert.deepEqual(sizes(MESH, 'excluded_blocks'), [EXCLUDED_BLOCK_BYTES, 4])
  assert.deepEqual(sizes(INBOUND, 'gate'), [4, POD_BYTES])
  assert.deepEqual(sizes(INBOUND, 'ports'), [4, PORTS_BYTES])
  assert.deepEqual(sizes(INBOUND, 'sums'), [TALLY_KEY_BYTES, TALLY_BYTES])
  assert.equal(shapeOf(INBOUND, 'ports').entries, PORTS_GROUPS)
  assert.equal(shapeOf(MESH, 'counters').entries, COUNTERS.length)
  assert.equal(shapeOf(INBOUND, 'steering').entries, INBOUND_COUNTERS.length)
})

test('a pod’s maps fit into the maps of all pods by which the programs find them', () => {
  for (const [outer, own] of [
    ['origins', 'turned'],
    ['entries', 'arrivals'],
    ['listening', 'ports'],
    ['tallies', 'sums'],
  ] as const) {
    // an array has the same number of entries, too; a hash's differs as the agent's bounds do
    const of = ({ type, keyBytes, valueBytes, flags, entries }: MapShape): readonly number[] =>
      type === ARRAY ? [type, keyBytes, valueBytes, flags, entries] : [type, keyBytes, valueBytes, flags]
    const { inner } = shapeOf(MESH, outer)
    assert.ok(inner, outer)
    assert.deepEqual(of(inner), of(shapeOf(INBOUND, own)), `${own} in ${outer}`)
  }
})

test('every map that a program loads is one that its object has, at an instruction that loads it', () => {
  const LOAD = 0x18 // BPF_LD | BPF_IMM | BPF_DW of linux/bpf.h
  for (const { maps, programs } of BOTH) {
    const names = new Set(maps.map(({ name }) => name))
    for (const { name, code, maps: uses } of programs) {
      const bytes = Buffer.from(code, 'base64')
      for (const { at, map } of uses) {
        assert.ok(names.has(map), `${name} loads ${map}`)
        assert.equal(bytes[8 * at], LOAD, `${name} at ${at}`)
      }
    }
  }
})

test('what both objects declare is declared alike', () => {
  for (const { name, keyType: _k, valueType: _v, ...shape } of INBOUND.maps) {
    const other = MESH.maps.find((map) => map.name === name)
    if (other === undefined) continue
    const { name: _n, keyType: _ok, valueType: _ov, ...otherShape } = other
    assert.deepEqual(shape, otherShape, name)
  }
})

test('no name is longer than what the kernel keeps', () => {
  const names = BOTH.flatMap(({ maps, programs }) => [...maps, ...programs].map(({ name }) => name))
  assert.deepEqual(
    names.filter((name) => name.length > 15),
    [],
  )
  assert.ok(BOTH.every(({ programs }) => programs.every(({ name }) => name.startsWith('weft_'))))
})
