import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BUILT_IN } from '../resources.ts'
import { applied } from './apply.ts'
import { fieldsIn, fromFieldsV1, toFieldsV1 } from './field-set.ts'
import { managedPart } from './managed.ts'
import { shapeOf } from './shape.ts'
import type { KubeObject } from '../object.ts'

const DEPLOYMENT = shapeOf(
  BUILT_IN.find(({ key }) => key === 'deployments.apps')!,
  'v1',
)
const SERVICE = shapeOf(
  BUILT_IN.find(({ key }) => key === 'services')!,
  'v1',
)

const METADATA = {
  name: 'a',
  namespace: 'n',
  uid: 'u',
  resourceVersion: '1',
  creationTimestamp: '2030-01-01T00:00:00Z',
}
const object = (spec: unknown): KubeObject => ({ apiVersion: 'v1', kind: 'X', metadata: { ...METADATA }, spec })
const by = (manager: string) => ({ manager, apiVersion: 'v1', subresource: undefined, time: '2030-01-01T00:00:00Z' })

function apply(live: KubeObject, manager: string, spec: unknown, shape = DEPLOYMENT): KubeObject {
  const configuration = { metadata: { name: 'a' }, spec }
  const { object: result, managedFields } = applied(live, { configuration, manager: by(manager), force: false }, shape)
  return { ...result, metadata: { ...result.metadata, managedFields } }
}

test('FieldsV1 spells members, keyed items and items as such', () => {
  const spec = { template: { spec: { containers: [{ name: 'web', args: ['a'], ports: [{ containerPort: 80 }] }] } } }
  const fields = toFieldsV1(fieldsIn({ spec }, DEPLOYMENT))
  const port = { 'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} } }
  const web = { '.': {}, 'f:args': {}, 'f:name': {}, 'f:ports': port }
  assert.deepEqual(fields, {
    'f:spec': { 'f:template': { 'f:spec': { 'f:containers': { 'k:{"name":"web"}': web } } } },
  })
  assert.deepEqual(toFieldsV1(fromFieldsV1(fields)), fields)
})

test('ports of one number and two protocols are two', () => {
  const tcp = { name: 'dns-tcp', port: 53, protocol: 'TCP' }
  const udp = { name: 'dns', port: 53, protocol: 'UDP' }
  const live = apply(object({}), 'one', { ports: [tcp, udp] }, SERVICE)
  assert.deepEqual(apply(live, 'one', { ports: [udp] }, SERVICE).spec, { ports: [udp] })
})

test('an item that another writer added stays, in its place', () => {
  const first = apply(object({}), 'one', { template: { spec: { containers: [{ name: 'a' }, { name: 'b' }] } } })
  const second = apply(first, 'two', { template: { spec: { containers: [{ name: 'side' }] } } })
  const third = apply(second, 'one', { template: { spec: { containers: [{ name: 'b' }, { name: 'c' }] } } })
  const names = third.spec.template.spec.containers.map((each: { name: string }) => each.name)
  assert.deepEqual(names, ['b', 'side', 'c'])
})

test('an item whose other fields belong to another manager loses only what was one’s own', () => {
  const containers = (...list: object[]): unknown => ({ template: { spec: { containers: list } } })
  const first = apply(object({}), 'one', containers({ name: 'a', image: 'x' }, { name: 'b' }))
  const second = apply(first, 'two', containers({ name: 'a', tty: true }))
  const third = apply(second, 'one', containers({ name: 'b' }))
  assert.deepEqual(third.spec.template.spec.containers, [{ name: 'a', tty: true }, { name: 'b' }])
})

test('a lone manager always gets what it applied, and a second time nothing changes', () => {
  const value = fc.oneof(fc.string(), fc.integer(), fc.boolean())
  const spec = fc.record({
    template: fc.record({
      spec: fc.record({
        nodeSelector: fc.dictionary(fc.string({ minLength: 1 }), value, { minKeys: 1, maxKeys: 3 }),
        containers: fc.uniqueArray(
          fc.record({
            name: fc.constantFrom('a', 'b', 'c', 'd'),
            image: value,
            args: fc.array(value, { minLength: 1 }),
          }),
          { selector: ({ name }) => name, minLength: 1 },
        ),
      }),
    }),
    extra: fc.dictionary(fc.constantFrom('x', 'y', 'z'), value, { minKeys: 1 }),
  })
  fc.assert(
    fc.property(spec, spec, (before, after) => {
      const live = apply(object({}), 'one', before)
      const next = apply(live, 'one', after)
      assert.deepEqual(next.spec, structuredClone(after))
      assert.deepEqual(apply(next, 'one', after), next)
      assert.deepEqual(managedPart(next), { spec: next.spec })
    }),
  )
})
