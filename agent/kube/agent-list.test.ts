import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AgentList } from './agent-list.ts'
import type { EndpointSlice } from './object.ts'

const OF = { namespace: 'weft-system', service: 'weft-agent' }

function slice(uid: string, agents: Readonly<Record<string, boolean | undefined>>, of = OF): EndpointSlice {
  const labels = { 'kubernetes.io/service-name': of.service }
  return {
    metadata: { uid, name: uid, namespace: of.namespace, resourceVersion: '1', labels },
    endpoints: Object.entries(agents).map(([name, ready]) => ({
      addresses: ['10.0.0.1'],
      conditions: ready === undefined ? {} : { ready },
      targetRef: { kind: 'Pod', name },
    })),
  }
}

test('an agent is ready as its endpoint is, and what is another answer is told', () => {
  const agents = new AgentList('weft-system')
  const first = slice('1', { a: true, b: false, c: undefined })
  assert.deepEqual(agents.take([{ before: null, after: first }]), new Set(['a', 'c']))
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => agents.isReady(name)),
    [true, false, true, false],
  )
  const second = slice('1', { a: false, b: true, c: true })
  assert.deepEqual(agents.take([{ before: first, after: second }]), new Set(['a', 'b']))
  assert.deepEqual(agents.take([{ before: null, after: slice('2', { a: true }) }]), new Set(['a']))
  assert.deepEqual(agents.take([{ before: second, after: null }]), new Set(['b', 'c']))
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => agents.isReady(name)),
    [true, false, false],
  )
})

test('what an agent announced is kept by the next one of its node', () => {
  const agents = new AgentList('weft-system')
  const at = (uid: string, ready: Readonly<Record<string, boolean>>): EndpointSlice => {
    const made = slice(uid, ready)
    return { ...made, endpoints: (made.endpoints ?? []).map((each) => ({ ...each, nodeName: 'node-1' })) }
  }
  const [alone, both, next, none] = [
    at('1', { old: true }),
    at('1', { old: true, new: false }),
    at('1', { new: true }),
    at('1', { new: false }),
  ]
  agents.take([{ before: null, after: alone }])
  assert.deepEqual(agents.take([{ before: alone, after: both }]), new Set(['new']))
  assert.deepEqual(agents.take([{ before: both, after: next }]), new Set())
  assert.deepEqual([agents.isReady('old'), agents.isReady('new')], [true, true])
  assert.deepEqual(agents.take([{ before: next, after: none }]), new Set(['old', 'new']))
  assert.deepEqual([agents.isReady('old'), agents.isReady('new')], [false, false])
})

test('slices of other services, and of one of that name elsewhere, say nothing', () => {
  const agents = new AgentList('weft-system')
  for (const of of [
    { ...OF, service: 'web' },
    { ...OF, namespace: 'shop' },
  ]) {
    assert.deepEqual(agents.take([{ before: null, after: slice('1', { a: true }, of) }]), new Set())
  }
  assert.equal(agents.isReady('a'), false)
})
