import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_MESH_SETTINGS, type MeshSettings } from '../model/mesh-settings.ts'
import { translateMeshSettings } from './mesh-settings.ts'
import type { KubeObject } from './object.ts'
import { attempt, refOf, type Translation } from './translate.ts'

function translated(mesh: string | null, more: Record<string, string> = {}): Translation<MeshSettings> {
  const metadata = { name: 'weft', namespace: 'istio-system', uid: 'u' }
  const object = { metadata, data: { ...(mesh === null ? {} : { mesh }), ...more } } as unknown as KubeObject
  return attempt(refOf('ConfigMap', object), () => translateMeshSettings(object))
}
const told = ({ problems }: Translation<MeshSettings>): string[] =>
  problems.map(({ field, reason }) => `${field} ${reason}`)

test('what is set is in force, what is not is as by default', () => {
  assert.deepEqual(translated(null), { value: DEFAULT_MESH_SETTINGS, rejected: false, problems: [] })
  assert.deepEqual(translated('').value, DEFAULT_MESH_SETTINGS)
  const mesh = 'outboundTrafficPolicy: { mode: REGISTRY_ONLY }\naccessLogFile: ""\naccessLogEncoding: JSON'
  assert.deepEqual(translated(mesh), {
    value: { outboundTrafficPolicy: 'REGISTRY_ONLY', accessLog: false },
    rejected: false,
    problems: [],
  })
  assert.equal(translated('accessLogFile: /dev/stdout').value?.accessLog, true)
})

test('each field that has no effect is named, and the others are in force', () => {
  const mesh = `
outboundTrafficPolicy: { mode: REGISTRY_ONLY }
accessLogFile: /var/log/mesh.log
accessLogEncoding: TEXT
accessLogFormat: '%START_TIME%'
enableTracing: true
trustDomain: corp
trustDomainAliases: [old]
rootNamespace: elsewhere
extensionProviders: []
defaultProviders: {}
ingressClass: istio`
  const translation = translated(mesh, { meshNetworks: '' })
  assert.equal(translation.value?.outboundTrafficPolicy, 'REGISTRY_ONLY')
  assert.deepEqual(
    translation.problems.map(({ field }) => field),
    [
      ...['data.meshNetworks', 'data.mesh.accessLogFile', 'data.mesh.accessLogEncoding', 'data.mesh.accessLogFormat'],
      ...[
        'data.mesh.enableTracing',
        'data.mesh.trustDomain',
        'data.mesh.trustDomainAliases',
        'data.mesh.rootNamespace',
      ],
      ...['data.mesh.extensionProviders', 'data.mesh.defaultProviders', 'data.mesh.ingressClass'],
    ],
  )
})

test('what cannot be meant is refused, with the field and the reason', () => {
  const cases: [string, RegExp][] = [
    ['outboundTrafficPolicy: { mode: SOMETIMES }', /data\.mesh\.outboundTrafficPolicy\.mode must be ALLOW_ANY or/],
    ['outboundTrafficPolicy: REGISTRY_ONLY', /data\.mesh\.outboundTrafficPolicy must be a mapping/],
    ['accessLogFile: [a]', /data\.mesh\.accessLogFile must be text/],
    ['[1, 2]', /data\.mesh must be a mapping/],
    ['a: [', /data\.mesh is no YAML/],
  ]
  for (const [mesh, wanted] of cases) {
    const translation = translated(mesh)
    assert.ok(translation.rejected, mesh)
    assert.match(told(translation).join(), wanted)
  }
})
