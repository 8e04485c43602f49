import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { applyStrategicPatch } from './strategic-patch.ts'
import { ApiError } from '../status.ts'

const containers = (...list: object[]): object => ({ spec: { containers: list } })
const template = (spec: object): object => ({ spec: { template: { spec } } })

interface Case {
  readonly does: string
  readonly kind: string
  readonly to: object
  readonly patch: object
  readonly gives: object
}

const CASES: readonly Case[] = [
  {
    does: 'merges containers by name',
    kind: 'Pod',
    to: containers({ name: 'a', image: '1', env: [{ name: 'X', value: '1' }] }, { name: 'b', image: '1' }),
    patch: containers({ name: 'a', image: '2', env: [{ name: 'Y', value: '2' }] }),
    gives: containers(
      {
        name: 'a',
        image: '2',
        env: [
          { name: 'X', value: '1' },
          { name: 'Y', value: '2' },
        ],
      },
      { name: 'b', image: '1' },
    ),
  },
  {
    does: 'deletes an item with $patch: delete',
    kind: 'Deployment',
    to: template({ containers: [{ name: 'a' }, { name: 'b' }] }),
    patch: template({ containers: [{ name: 'a', $patch: 'delete' }] }),
    gives: template({ containers: [{ name: 'b' }] }),
  },
  {
    does: 'replaces a list with $patch: replace',
    kind: 'Deployment',
    to: template({ containers: [{ name: 'a' }, { name: 'b' }] }),
    patch: template({ containers: [{ name: 'c' }, { $patch: 'replace' }] }),
    gives: template({ containers: [{ name: 'c' }] }),
  },
  {
    does: 'replaces a map with $patch: replace',
    kind: 'Service',
    to: { spec: { selector: { a: '1', b: '2' } } },
    patch: { spec: { selector: { $patch: 'replace', c: '3' } } },
    gives: { spec: { selector: { c: '3' } } },
  },
  {
    does: 'keeps only $retainKeys, as a change of strategy sends',
    kind: 'Deployment',
    to: { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } },
    patch: { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } },
    gives: { spec: { strategy: { type: 'Recreate' } } },
  },
  {
    does: 'merges Service ports by port and container ports by containerPort',
    kind: 'Service',
    to: {
      spec: {
        ports: [
          { port: 80, name: 'a' },
          { port: 81, name: 'b' },
        ],
      },
    },
    patch: { spec: { ports: [{ port: 80, targetPort: 8080 }] } },
    gives: {
      spec: {
        ports: [
          { port: 80, name: 'a', targetPort: 8080 },
          { port: 81, name: 'b' },
        ],
      },
    },
  },
  {
    does: 'replaces lists without a merge key',
    kind: 'Pod',
    to: containers({ name: 'a', args: ['1', '2'] }),
    patch: containers({ name: 'a', args: ['3'] }),
    gives: containers({ name: 'a', args: ['3'] }),
  },
  {
    does: 'takes values out of a plain list',
    kind: 'ConfigMap',
    to: { metadata: { finalizers: ['a', 'b'] } },
    patch: { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'], finalizers: ['c'] } },
    gives: { metadata: { finalizers: ['b', 'c'] } },
  },
  {
    does: 'puts items in the order asked for, another writer’s where it was',
    kind: 'Pod',
    to: containers({ name: 'a' }, { name: 'sidecar' }, { name: 'b' }),
    patch: {
      spec: { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }], containers: [{ name: 'a', image: '2' }] },
    },
    gives: containers({ name: 'sidecar' }, { name: 'b' }, { name: 'a', image: '2' }),
  },
  {
    does: 'does not take a ConfigMap key for a field',
    kind: 'ConfigMap',
    to: { data: { a: '1' } },
    patch: { data: { b: '2', a: null } },
    gives: { data: { b: '2' } },
  },
  {
    does: 'merges conditions by type',
    kind: 'Node',
    to: {
      status: {
        conditions: [
          { type: 'Ready', status: 'False' },
          { type: 'Disk', status: 'True' },
        ],
      },
    },
    patch: { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
    gives: {
      status: {
        conditions: [
          { type: 'Ready', status: 'True' },
          { type: 'Disk', status: 'True' },
        ],
      },
    },
  },
]

describe('strategic merge patch', () => {
  for (const { does, kind, to, patch, gives } of CASES) {
    test(does, () => assert.deepEqual(applyStrategicPatch(kind, to, patch), gives))
  }

  test('refuses an item without its merge key, an unknown directive and a patch that is no object', () => {
    for (const patch of [
      containers({ image: 'x' }),
      { spec: { $patch: 'explode' } },
      containers('x' as never),
      [],
      7,
    ]) {
      const refused = (): unknown => applyStrategicPatch('Pod', containers({ name: 'a' }), patch)
      assert.throws(refused, (error) => error instanceof ApiError && error.code === 400)
    }
  })

  test('never changes its input, never reaches a prototype and leaves no directive behind', () => {
    const name = fc.constantFrom('a', 'b', 'c')
    const item = fc.record(
      { name, image: fc.constantFrom('x', 'y'), $patch: fc.constantFrom('merge', 'delete') },
      { requiredKeys: ['name'] },
    )
    const list = fc.uniqueArray(item, { selector: (each) => each.name, maxLength: 3 })
    const plain = fc.uniqueArray(fc.record({ name, image: fc.constantFrom('x', 'y') }), {
      selector: (each) => each.name,
    })
    fc.assert(
      fc.property(plain, list, fc.array(name), (old, patch, order) => {
        const target = containers(...old)
        const before = JSON.stringify(target)
        const orders = { '$setElementOrder/containers': order.map((each) => ({ name: each })) }
        const change = JSON.parse(`{"__proto__": {"reached": 1}}`) as object
        const text = JSON.stringify(
          applyStrategicPatch('Pod', target, { ...change, spec: { ...orders, containers: patch } }),
        )
        assert.equal(JSON.stringify(target), before)
        assert.ok(!text.includes('$'), text)
        assert.equal(({} as Record<string, unknown>)['reached'], undefined)
        const names = JSON.parse(text).spec.containers.map((each: { name: string }) => each.name)
        assert.equal(new Set(names).size, names.length)
        for (const each of patch) assert.equal(names.includes(each.name), each.$patch !== 'delete')
      }),
    )
  })
})
