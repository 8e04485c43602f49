import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { world } from '../world.fixture.ts'
import { fatesOf } from './fates.ts'
import { sceneOf } from './joining.fixture.ts'
import type { ScenePod } from './scene.ts'

const fate = (
  deed: 'join' | 'leave',
  words: Partial<ScenePod>,
  agents: Record<string, boolean> = { 'node-1': true },
) => {
  const scene = sceneOf(world().pods('web'), { 'web-1': words }, { agents: new Map(Object.entries(agents)) })
  const [{ kind, reason } = { kind: null, reason: null }] = fatesOf(deed, scene)
  return [kind, reason]
}

test('a pod that runs beside an agent is captured, also where that is not ready yet', () => {
  assert.deepEqual(fate('join', {}), ['changes', null])
  assert.deepEqual(fate('join', {}, { 'node-1': false }), ['changes', null])
})

test('who cannot be captured is told in the words of the agents', () => {
  assert.deepEqual(fate('join', { unfit: 'hostNetwork' }), ['cannot', 'hostNetwork'])
  assert.deepEqual(fate('join', { unfit: 'istio-proxy sidecar' }), ['cannot', 'istio-proxy sidecar'])
  assert.deepEqual(fate('join', {}, {}), ['cannot', 'no agent on its node'])
})

test('a pod’s own word counts before all else', () => {
  assert.deepEqual(fate('join', { wish: 'disabled', unfit: 'hostNetwork' }), [
    'stays',
    "its own weft.dev/mesh says 'disabled'",
  ])
  assert.deepEqual(fate('join', { wish: 'enabled' }), ['changes', null])
  assert.deepEqual(fate('leave', { wish: 'enabled', captured: 'a' }), ['stays', "its own weft.dev/mesh says 'enabled'"])
})

test('what does not run is captured later, and not waited for', () => {
  assert.deepEqual(fate('join', { node: null, isRunning: false }), ['waits', 'not scheduled to a node yet'])
  assert.deepEqual(fate('join', { isRunning: false }), ['waits', 'it does not run yet'])
})

test('who leaves is released where it is captured', () => {
  assert.deepEqual(fate('leave', { captured: 'weft-agent-1' }), ['changes', null])
  assert.deepEqual(fate('leave', { captured: null }), ['apart', 'it is not captured'])
  assert.deepEqual(fate('leave', { captured: null, unfit: 'hostNetwork' }), ['apart', 'hostNetwork'])
})

test('every pod has one fate, and a reason wherever it does not simply follow', () => {
  const pod = fc.record({
    wish: fc.constantFrom(null, 'enabled', 'disabled', 'x'),
    unfit: fc.constantFrom(null, 'hostNetwork'),
    node: fc.constantFrom(null, 'node-1', 'node-2'),
    terminating: fc.boolean(),
    isRunning: fc.boolean(),
    captured: fc.constantFrom(null, 'weft-agent-1'),
  })
  fc.assert(
    fc.property(fc.constantFrom('join' as const, 'leave' as const), pod, (deed, words) => {
      const [kind, reason] = fate(deed, words)
      assert.equal(reason === null, kind === 'changes')
      if (deed === 'join') assert.ok(kind !== 'changes' || (words.unfit === null && words.node === 'node-1'))
      else assert.ok(kind !== 'changes' || words.captured !== null)
    }),
  )
})
