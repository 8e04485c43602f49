import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DEFAULT_MESH_SETTINGS } from '../model/mesh-settings.ts'
import { translateMeshSettings } from './mesh-settings.ts'
import type { ConfigMap } from './object.ts'
import { object } from './objects.fixture.ts'
import { attempt, Rejected, type Translation } from './translate.ts'
import type { MeshSettings } from '../model/mesh-settings.ts'

const map = (mesh: string, more: Record<string, string> = {}): ConfigMap =>
  object({ name: 'weft', namespace: 'istio-system' }, { data: { mesh, ...more } })
const read = (mesh: string): Translation<MeshSettings> => translateMeshSettings(map(mesh), DEFAULT_MESH_SETTINGS)
const fields = ({ problems }: Translation<MeshSettings>): string[] =>
  problems.map(({ field, reason }) => `${field}: ${reason}`)

test('an empty ConfigMap, and one without the key, mean the defaults', () => {
  assert.deepEqual(read('').value, DEFAULT_MESH_SETTINGS)
  assert.deepEqual(read('{}\n').value, DEFAULT_MESH_SETTINGS)
  assert.deepEqual(
    translateMeshSettings({ ...map(''), data: undefined }, DEFAULT_MESH_SETTINGS).value,
    DEFAULT_MESH_SETTINGS,
  )
})

test('fields have the names that they have in Istio', () => {
  const { value, problems } = read(`
rootNamespace: mesh-root
outboundTrafficPolicy:
  mode: REGISTRY_ONLY
accessLogFile: /dev/stdout
accessLogEncoding: TEXT
accessLogFormat: "%PROTOCOL%\\n"
`)
  assert.deepEqual(value, {
    ...DEFAULT_MESH_SETTINGS,
    rootNamespace: 'mesh-root',
    outboundTrafficPolicy: 'REGISTRY_ONLY',
    accessLog: { file: '/dev/stdout', encoding: 'TEXT', format: '%PROTOCOL%\n' },
  })
  assert.deepEqual(problems, [])
})

test('what has no effect is said, by field', () => {
  const found = read(`
trustDomain: prod.example
trustDomainAliases: [old.example]
enableTracing: true
defaultProviders: { accessLogging: [envoy] }
extensionProviders: [{ name: otel }]
outboundTrafficPolicy: { mode: ALLOW_ANY, egressProxy: { host: a } }
mystery: 1
`)
  assert.deepEqual([found.value?.trustDomain, found.value?.enableTracing], ['prod.example', true])
  assert.deepEqual(fields(found), [
    'data.mesh.trustDomain: this field is not honoured',
    'data.mesh.trustDomainAliases: this field is not honoured',
    'data.mesh.enableTracing: this field is not honoured',
    'data.mesh.extensionProviders: this field is not honoured',
    'data.mesh.defaultProviders: this field is not honoured',
    'data.mesh.outboundTrafficPolicy.egressProxy: this field is not known',
    'data.mesh.mystery: this field is not known',
  ])
  const more = translateMeshSettings(map('', { meshNetworks: '' }), DEFAULT_MESH_SETTINGS)
  assert.deepEqual(fields(more), ['data.meshNetworks: only the key mesh is read'])
  assert.deepEqual(read('enableTracing: false\ntrustDomain: cluster.local\nextensionProviders: []').problems, [])
})

test('a wrong type or word rejects the whole object and names the field', () => {
  const wrong = {
    'outboundTrafficPolicy: { mode: ALLOW }': 'data.mesh.outboundTrafficPolicy.mode',
    'outboundTrafficPolicy: ALLOW_ANY': 'data.mesh.outboundTrafficPolicy',
    'outboundTrafficPolicy: { mode: 1 }': 'data.mesh.outboundTrafficPolicy.mode',
    'rootNamespace: Not_A_Name': 'data.mesh.rootNamespace',
    'enableTracing: "yes"': 'data.mesh.enableTracing',
    'trustDomainAliases: [1]': 'data.mesh.trustDomainAliases[0]',
    'trustDomainAliases: a': 'data.mesh.trustDomainAliases',
    'accessLogEncoding: XML': 'data.mesh.accessLogEncoding',
    'extensionProviders: {}': 'data.mesh.extensionProviders',
    '- a': 'data.mesh',
    'a: [': 'data.mesh',
    'a: 1\n---\nb: 2': 'data.mesh',
  }
  for (const [mesh, field] of Object.entries(wrong)) {
    assert.throws(
      () => read(mesh),
      (error) => error instanceof Rejected && error.field === field,
      mesh,
    )
  }
})

test('whatever stands there is read or rejected, and never more than that', () => {
  const anything = fc.oneof(
    fc.string(),
    fc.json(),
    fc
      .dictionary(fc.constantFrom('trustDomain', 'rootNamespace', 'a', '__proto__'), fc.jsonValue())
      .map((value) => JSON.stringify(value)),
  )
  const ref = { kind: 'ConfigMap', namespace: 'istio-system', name: 'weft' }
  fc.assert(
    fc.property(anything, (mesh) => {
      const { value, rejected, problems } = attempt(ref, () => read(mesh))
      assert.equal(value === null, rejected)
      assert.ok(!rejected || problems[0]?.field.startsWith('data.mesh'), JSON.stringify(problems))
    }),
  )
})
