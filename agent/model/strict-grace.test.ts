import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { PeerMode, PeerModes } from './peer-authentication.ts'
import { type Evidence, type Graces, graceStep, NO_GRACES, type OpenInPod, suspects } from './strict-grace.ts'

const CALLER = { ip: '10.0.9.9', port: 40_000 }
const GRACE_MS = 300_000

function modes(others: PeerMode, ports: Readonly<Record<number, PeerMode>> = {}): PeerModes {
  const named = Object.entries(ports).map(([port, mode]) => [Number(port), { mode, by: null }] as const)
  return { others: { mode: others, by: null }, ports: new Map(named) }
}

/** A connection that came before the capture, or as `tally` says. */
function connection(port: number, tally: OpenInPod['tally'] = null, socket = 1n): OpenInPod {
  return { socket, local: { ip: '10.0.0.1', port }, remote: CALLER, tally }
}

const at = (...listening: number[]): Evidence => ({ listening: new Set(listening), proved: new Set() })
const atMs = (nowMs: number): { nowMs: number; graceMs: number } => ({ nowMs, graceMs: GRACE_MS })

const SUSPECTS: readonly [string, OpenInPod, PeerModes, readonly number[], boolean][] = [
  ['older, at a STRICT port', connection(80), modes('STRICT'), [], true],
  ['older, at a port that alone is STRICT', connection(80), modes('PERMISSIVE', { 80: 'STRICT' }), [], true],
  ['older, at the one port that is not STRICT', connection(80), modes('STRICT', { 80: 'PERMISSIVE' }), [], false],
  ['older, at a PERMISSIVE port', connection(80), modes('PERMISSIVE'), [], false],
  ['older, at a DISABLE port', connection(80), modes('DISABLE'), [], false],
  ['older, at an excluded port', connection(80), modes('STRICT'), [80], false],
  ['older, where another port is excluded', connection(80), modes('STRICT'), [81], true],
  [
    'let past while no agent ran',
    connection(80, { direction: 'inbound', passage: 'direct' }),
    modes('STRICT'),
    [],
    true,
  ],
  ['at an excluded port', connection(80, { direction: 'inbound', passage: 'direct' }), modes('STRICT'), [80], false],
  ['from the proxy', connection(80, { direction: 'inbound', passage: 'proxy' }), modes('STRICT'), [], false],
  ['of a probe', connection(80, { direction: 'inbound', passage: 'probe' }), modes('STRICT'), [], false],
  ['dialled by the pod', connection(80, { direction: 'outbound', passage: 'direct' }), modes('STRICT'), [], false],
]
for (const [what, one, pod, excludeInboundPorts, isSuspect] of SUSPECTS) {
  test(`${isSuspect ? 'looked into' : 'left alone'}: a connection ${what}`, () => {
    assert.deepEqual(suspects([one], { modes: pod, excludeInboundPorts }), isSuspect ? [one] : [])
  })
}

test('a grace begins when the connection is first seen, and is over after its time and not before', () => {
  const first = graceStep(NO_GRACES, [connection(80)], at(80), atMs(1000))
  assert.deepEqual(first, { graces: new Map([[1n, 1000]]), due: [] })
  const before = graceStep(first.graces, [connection(80)], at(80), atMs(1000 + GRACE_MS - 1))
  assert.deepEqual(before, { graces: first.graces, due: [] })
  assert.deepEqual(graceStep(before.graces, [connection(80)], at(80), atMs(1000 + GRACE_MS)).due, [1n])
})

test('what was not to be closed for a while gets a grace anew', () => {
  const { graces } = graceStep(NO_GRACES, [connection(80)], at(80), atMs(0))
  const between = graceStep(graces, [], at(80), atMs(GRACE_MS))
  assert.deepEqual(between, { graces: new Map(), due: [] })
  assert.deepEqual(graceStep(between.graces, [connection(80)], at(80), atMs(GRACE_MS)).due, [])
})

test('an older connection is the pod’s own dial unless its port listens; once taken for accepted it stays so', () => {
  assert.deepEqual(graceStep(NO_GRACES, [connection(80)], at(81), atMs(0)).graces, new Map())
  const { graces } = graceStep(NO_GRACES, [connection(80)], at(80), atMs(0))
  assert.deepEqual(graceStep(graces, [connection(80)], at(), atMs(GRACE_MS)).due, [1n])
})

test('one that was let past needs no listener to be known for accepted', () => {
  const past = connection(80, { direction: 'inbound', passage: 'direct' })
  assert.equal(graceStep(NO_GRACES, [past], at(), atMs(0)).graces.size, 1)
})

test('who dialled from a captured pod of this node stays, until that is captured no more', () => {
  const proved = { ...at(80), proved: new Set(['10.0.9.9:40000']) }
  assert.deepEqual(graceStep(NO_GRACES, [connection(80)], proved, atMs(0)).graces, new Map())
  const other = { ...at(80), proved: new Set(['10.0.9.9:40001']) }
  assert.equal(graceStep(NO_GRACES, [connection(80)], other, atMs(0)).graces.size, 1)
})

test('nothing ends before it was there unjudged for the whole grace, and nothing is left that was', () => {
  const step = fc.record({ there: fc.uniqueArray(fc.nat({ max: 5 })), passedMs: fc.nat({ max: GRACE_MS }) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      let graces: Graces = NO_GRACES
      let nowMs = 0
      const since = new Map<number, number>()
      for (const { there, passedMs } of steps) {
        nowMs += passedMs
        for (const one of since.keys()) if (!there.includes(one)) since.delete(one)
        for (const one of there) since.set(one, since.get(one) ?? nowMs)
        const among = there.map((one) => connection(80, null, BigInt(one)))
        const found = graceStep(graces, among, at(80), atMs(nowMs))
        const over = there.filter((one) => nowMs - (since.get(one) ?? nowMs) >= GRACE_MS).map(BigInt)
        assert.deepEqual(new Set(found.due), new Set(over))
        assert.equal(found.graces.size, there.length)
        graces = found.graces
      }
    }),
  )
})
