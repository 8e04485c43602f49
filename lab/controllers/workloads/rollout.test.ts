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
  const counts = fc.record({ replicas: fc.nat(20), up: fc.nat(20) })
  const olds = fc.array(counts, { minLength: 1, maxLength: 3 })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      share,
      share,
      olds,
      counts,
      (...[replicas, surge, free, old, fresh]) => {
        const wanted = deployment(replicas, surge, free)
        const setOf = (name: string, { replicas, up }: { replicas: number; up: number }) =>
          set(name, replicas, Math.min(replicas, up))
        const current = setOf('z', fresh)
        const before = old.map((each, at) => setOf(`a${at}`, each))
        const plan = planRollout(wanted, current, before, [])
        const available = (each: ReplicaSet) => each.status?.availableReplicas ?? 0
        // What goes of an old set: first those that are not available.
        const left = before.map((each) =>
          Math.min(available(each), plan.find((step) => step.set === each)?.replicas ?? Infinity),
        )
        const total = (list: number[]) => list.reduce((sum, count) => sum + count, available(current))
        assert.ok(total(left) >= Math.min(boundsOf(wanted).minimum, total(before.map(available))))
      },
    ),
  )
})
