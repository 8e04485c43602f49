import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Endpoint, EndpointSlice, Service } from '../world/kinds.ts'
import type { Group } from './backends.ts'
import { planSlices, SLICE_LIMIT } from './slices.ts'

const service: Service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: '' },
  spec: {},
}

function endpoint(id: number, ready: boolean): Endpoint {
  return {
    addresses: [`10.0.${id >> 8}.${id & 255}`],
    conditions: { ready, serving: ready, terminating: false },
    targetRef: { kind: 'Pod', name: `p${id}`, namespace: 'default', uid: `u${id}` },
  }
}

/** A group on `port` of the pods with these numbers. */
function group(port: number, ids: readonly number[], ready = true): Group {
  return { ports: [{ name: '', protocol: 'TCP', port }], endpoints: ids.map((id) => endpoint(id, ready)) }
}

/** The slices as they are once a plan for `groups` is carried out on `existing`. */
function carriedOut(groups: readonly Group[], existing: readonly EndpointSlice[]): EndpointSlice[] {
  const plan = planSlices(service, 'IPv4', groups, existing)
  const kept = existing.filter((slice) => !plan.remove.includes(slice))
  const updated = kept.map((slice) => {
    const change = plan.update.find((each) => each.slice === slice)
    return change ? { ...slice, metadata: { ...slice.metadata, labels: labels() }, endpoints: change.endpoints } : slice
  })
  const created = plan.create.map((draft) => ({ ...draft }) as unknown as EndpointSlice)
  return [...updated, ...created]
}

function labels(): Record<string, string> {
  return planSlices(service, 'IPv4', [], []).create[0]!.metadata.labels!
}

const ids = fc.uniqueArray(fc.integer({ min: 0, max: 600 }), { maxLength: 250, size: 'max' })
const world = fc.tuple(ids, ids, fc.boolean()).map(([one, two, ready]) => {
  const groups = [
    group(80, one, ready),
    group(
      81,
      two.filter((id) => !one.includes(id)),
    ),
  ]
  return groups.filter(({ endpoints }) => endpoints.length > 0)
})

test('after any changes each endpoint is in one slice of its ports, and no slice is too full', () => {
  fc.assert(
    fc.property(fc.array(world, { minLength: 1, maxLength: 5 }), (steps) => {
      let slices: EndpointSlice[] = []
      for (const groups of steps) {
        slices = carriedOut(groups, slices)
        const have = slices.flatMap(({ ports, endpoints = [] }) =>
          endpoints.map((each) => JSON.stringify([ports, each])),
        )
        const want = groups.flatMap(({ ports, endpoints }) => endpoints.map((each) => JSON.stringify([ports, each])))
        assert.deepEqual(have.sort(), want.sort())
        assert.ok(slices.length > 0)
        for (const { endpoints = [] } of slices) assert.ok(endpoints.length <= SLICE_LIMIT)
      }
    }),
    { numRuns: 60 },
  )
})

test('a plan carried out leaves nothing to do', () => {
  fc.assert(
    fc.property(world, world, (before, after) => {
      const slices = carriedOut(after, carriedOut(before, []))
      assert.deepEqual(planSlices(service, 'IPv4', after, slices), { create: [], update: [], remove: [] })
    }),
    { numRuns: 60 },
  )
})
