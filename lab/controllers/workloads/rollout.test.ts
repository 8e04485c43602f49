import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Deployment, ReplicaSet } from '../world/kinds.ts'
import { amount, boundsOf, planRollout } from './rollout.ts'

const metadata = { name: 'web', namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: '' }
const template = { spec: { containers: [] } }

function deployment(replicas: number, maxSurge: number | string, maxUnavailable: number | string): Deployment {
  const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } }
  const spec = { replicas, selector: {}, template, strategy }
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec }
}

function set(name: string, replicas: number, availableReplicas: number): ReplicaSet {
  const spec = { replicas, selector: {}, template }
  const named = { ...metadata, name, uid: name, creationTimestamp: name }
  return { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: named, spec, status: { availableReplicas } }
}

const share = fc.oneof(
  fc.integer({ min: 0, max: 5 }),
  fc.integer({ min: 0, max: 100 }).map((percent) => `${percent}%`),
)

test('percentages are of the desired count: surge rounds up, unavailable rounds down', () => {
  assert.deepEqual(boundsOf(deployment(5, '25%', '25%')), { desired: 5, maximum: 7, minimum: 4 })
  assert.deepEqual(boundsOf(deployment(1, '25%', '25%')), { desired: 1, maximum: 2, minimum: 1 })
  assert.deepEqual(boundsOf(deployment(3, 0, 0)), { desired: 3, maximum: 3, minimum: 2 })
  assert.equal(amount('50%', 3, Math.ceil), 2)
})

test('a rollout whose pods all get ready keeps within its bounds and ends', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 30 }), share, share, (replicas, surge, unavailable) => {
      const wanted = deployment(replicas, surge, unavailable)
      const { maximum, minimum } = boundsOf(wanted)
      let sets = { new: 0, old: replicas }
      for (let step = 0; step < 200; step++) {
        const current = set('b', sets.new, sets.new)
        const old = set('a', sets.old, sets.old)
        const plan = planRollout(wanted, current, [old], [])
        if (plan.length === 0) break
        for (const { set: changed, replicas: count } of plan) {
          sets = changed === current ? { ...sets, new: count } : { ...sets, old: count }
        }
        assert.ok(sets.new + sets.old <= Math.max(maximum, replicas))
        assert.ok(sets.new + sets.old >= minimum)
      }
      assert.deepEqual(sets, { new: replicas, old: 0 })
    }),
  )
})

test('available replicas never fall below the minimum, however many of the new ones fail', () => {
  const state = fc.record({ old: fc.nat(20), oldUp: fc.nat(20), fresh: fc.nat(20), freshUp: fc.nat(20) })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), share, share, state, (replicas, surge, unavailable, at) => {
      const wanted = deployment(replicas, surge, unavailable)
      const current = set('b', at.fresh, Math.min(at.fresh, at.freshUp))
      const old = set('a', at.old, Math.min(at.old, at.oldUp))
      const { minimum } = boundsOf(wanted)
      const availableBefore = Math.min(at.fresh, at.freshUp) + Math.min(at.old, at.oldUp)
      const step = planRollout(wanted, current, [old], []).find((each) => each.set === old)
      // What goes of the old set: first those that are not available.
      const oldAvailable = Math.min(at.old, at.oldUp, step?.replicas ?? at.old)
      const after = Math.min(at.fresh, at.freshUp) + oldAvailable
      assert.ok(after >= Math.min(minimum, availableBefore), `${after} < ${minimum}`)
    }),
  )
})
