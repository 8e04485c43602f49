import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fillDefaults, prune, schemaFaults } from './schema.ts'

const SCHEMA = {
  type: 'object',
  required: ['spec'],
  properties: {
    spec: {
      type: 'object',
      required: ['crew'],
      properties: {
        crew: { type: 'integer', minimum: 1, maximum: 100 },
        hull: { type: 'string', enum: ['oak', 'pine'], default: 'oak' },
        name: { type: 'string', pattern: '^[a-z]+$', maxLength: 5 },
        ports: { type: 'array', maxItems: 2, items: { type: 'object', properties: { city: { type: 'string' } } } },
        notes: { type: 'object', additionalProperties: { type: 'string' } },
        free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        port: { 'x-kubernetes-int-or-string': true },
        mast: { type: 'string', nullable: true },
        sail: {
          type: 'object',
          oneOf: [{ required: ['red'] }, { required: ['blue'] }],
          properties: { red: {}, blue: {} },
        },
      },
    },
  },
}

const boat = (spec: unknown): Record<string, any> => ({
  apiVersion: 'e/v1',
  kind: 'Boat',
  metadata: { name: 'a' },
  spec,
})
const told = (spec: unknown): string[] => schemaFaults(SCHEMA, boat(spec)).map(({ field, kind }) => `${field} ${kind}`)

test('unknown fields go, wherever they are, and are named; free ones stay', () => {
  const object = boat({
    crew: 1,
    oars: 2,
    ports: [{ city: 'x', tax: 1 }],
    notes: { any: 'thing' },
    free: { a: { b: 1 } },
  })
  assert.deepEqual(prune(SCHEMA, object), ['spec.oars', 'spec.ports[0].tax'])
  assert.deepEqual(object, boat({ crew: 1, ports: [{ city: 'x' }], notes: { any: 'thing' }, free: { a: { b: 1 } } }))
})

test('a default is filled in where nothing stands', () => {
  const object = boat({ crew: 1 })
  fillDefaults(SCHEMA, object)
  assert.equal(object['spec'].hull, 'oak')
})

test('each broken rule is one fault at its field', () => {
  assert.deepEqual(told({ crew: 50, hull: 'oak', name: 'argo', ports: [{}], port: 'web', mast: null }), [])
  assert.deepEqual(told({}), ['spec.crew required'])
  assert.deepEqual(told({ crew: 0 }), ['spec.crew invalid'])
  assert.deepEqual(told({ crew: 1.5 }), ['spec.crew invalid'])
  assert.deepEqual(told({ crew: 'many' }), ['spec.crew invalid'])
  assert.deepEqual(told({ crew: 1, hull: 'tin', name: 'ARGO' }), ['spec.hull unsupported', 'spec.name invalid'])
  assert.deepEqual(told({ crew: 1, ports: [{}, {}, {}] }), ['spec.ports invalid'])
  assert.deepEqual(told({ crew: 1, notes: { a: 1 }, port: true }), ['spec.notes.a invalid', 'spec.port invalid'])
  assert.deepEqual(told({ crew: 1, sail: { red: 1, blue: 1 } }), ['spec.sail invalid'])
  assert.equal(
    schemaFaults(SCHEMA, boat({ crew: 'x' }))[0]?.text,
    'spec.crew in body must be of type integer: "string"',
  )
})

test('what was pruned once is pruned no further', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (spec) => {
      const object = boat(spec)
      prune(SCHEMA, object)
      assert.deepEqual(prune(SCHEMA, object), [])
    }),
  )
})
