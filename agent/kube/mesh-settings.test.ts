import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { stringify } from 'yaml'
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
  const mesh =
    'outboundTrafficPolicy: { mode: REGISTRY_ONLY }\nrootNamespace: mesh\naccessLogFile: ""\naccessLogEncoding: JSON'
  assert.deepEqual(translated(mesh), {
    value: {
      ...DEFAULT_MESH_SETTINGS,
      outboundTrafficPolicy: 'REGISTRY_ONLY',
      rootNamespace: 'mesh',
      accessLog: { file: '', encoding: 'JSON', format: null },
    },
    rejected: false,
    problems: [],
  })
})

test('what says no more than the default, or nothing at all, is no problem', () => {
  const mesh = `
outboundTrafficPolicy: {}
rootNamespace: ""
trustDomain: cluster.local
trustDomainAliases: []
enableTracing: false
extensionProviders: []
defaultProviders: {}
accessLogFormat: ""
accessLogFile:`
  assert.deepEqual(translated(mesh), { value: DEFAULT_MESH_SETTINGS, rejected: false, problems: [] })
})

test('each field that has no effect is named, and what it says is kept', () => {
  const mesh = `
outboundTrafficPolicy: { mode: REGISTRY_ONLY, meshExternal: true }
accessLogFile: /var/log/mesh.log
accessLogEncoding: TEXT
accessLogFormat: '%START_TIME%'
enableTracing: true
trustDomain: corp
trustDomainAliases: [old]
pathNormalization: { normalization: NONE, more: true }
defaultConfig: { gatewayTopology: { numTrustedProxies: 2, proxyProtocol: {} }, concurrency: 2 }
extensionProviders: [{ name: otel, opentelemetry: { port: 4317 } }]
defaultProviders: { accessLogging: [otel] }
constructor: true
outboundTrafficPolicy.mode: ALLOW_ANY`
  const { value, problems, rejected } = translated(mesh, { meshNetworks: '' })
  assert.equal(rejected, false)
  assert.deepEqual(value, {
    trustDomain: 'corp',
    trustDomainAliases: ['old'],
    rootNamespace: null,
    outboundTrafficPolicy: 'REGISTRY_ONLY',
    accessLog: { file: '/var/log/mesh.log', encoding: 'TEXT', format: '%START_TIME%' },
    enableTracing: true,
    pathNormalization: 'NONE',
    authorizers: [],
    trustedProxies: 2,
  })
  const fields = [
    ...['outboundTrafficPolicy.meshExternal', 'enableTracing', 'pathNormalization.more'],
    ...['defaultConfig.gatewayTopology.proxyProtocol', 'defaultConfig.concurrency'],
    ...['extensionProviders[0].opentelemetry', 'defaultProviders', 'constructor', '"outboundTrafficPolicy.mode"'],
  ]
  assert.deepEqual(
    problems.map(({ field }) => field),
    ['data.meshNetworks', ...fields.map((field) => `data.mesh.${field}`)],
  )
})

test('paths are made plain as Istio does by default, and an authorizer is there by its name', () => {
  const normalized = (normalization: string): unknown =>
    translated(stringify({ pathNormalization: { normalization } })).value?.pathNormalization
  assert.deepEqual(['DEFAULT', 'NONE', 'MERGE_SLASHES'].map(normalized), ['BASE', 'NONE', 'MERGE_SLASHES'])
  const provider = { name: 'authz', envoyExtAuthzHttp: { service: 'authz.shop.svc.cluster.local', port: 8000 } }
  const { value, problems } = translated(stringify({ extensionProviders: [provider, { name: 'b', zipkin: {} }] }))
  assert.deepEqual(
    value?.authorizers.map(({ name, port }) => [name, port]),
    [['authz', 8000]],
  )
  assert.deepEqual(
    problems.map(({ field }) => field),
    ['data.mesh.extensionProviders[1].zipkin'],
  )
})

test('a format is text unless the encoding says JSON, and then it must be a JSON object', () => {
  const logOf = (mesh: string): unknown => translated(mesh).value?.accessLog
  const text = { file: null, encoding: 'TEXT', format: '%PROTOCOL%\n' } // as it is: nothing is trimmed
  assert.deepEqual(logOf('accessLogFormat: |\n  %PROTOCOL%\n'), text)
  assert.deepEqual(logOf('accessLogFormat: "%PROTOCOL%\\n"\naccessLogEncoding: TEXT'), text)
  const format = '{"protocol":"%PROTOCOL%"}'
  assert.deepEqual(logOf(`accessLogFormat: '${format}'\naccessLogEncoding: JSON`), {
    ...text,
    encoding: 'JSON',
    format,
  })
})

test('a format that cannot be followed is refused, with what is wrong in it', () => {
  const cases: [encoding: string, format: string, why: RegExp][] = [
    ['JSON', '%PROTOCOL%', /the format is not JSON/],
    ['JSON', '["a"]', /the format is no JSON object/],
    ['JSON', '{"a":', /the format is not JSON/],
    ['JSON', '{"a": "%WEATHER%"}', /%WEATHER% is not supported/],
    ['TEXT', 'a %PROTOCOL', /is no whole command/],
  ]
  for (const [accessLogEncoding, accessLogFormat, why] of cases) {
    const { rejected, problems } = translated(stringify({ accessLogFormat, accessLogEncoding }))
    assert.equal(rejected, true)
    assert.match(problems.map(({ field, reason }) => `${field} ${reason}`).join(), why)
    assert.equal(problems[0]?.field, 'data.mesh.accessLogFormat')
  }
})

test('what cannot be meant is refused, with the field and the reason', () => {
  const cases: [string, RegExp][] = [
    ['outboundTrafficPolicy: { mode: SOMETIMES }', /data\.mesh\.outboundTrafficPolicy\.mode must be ALLOW_ANY or/],
    ['outboundTrafficPolicy: { mode: 0 }', /data\.mesh\.outboundTrafficPolicy\.mode must be ALLOW_ANY or/],
    ['outboundTrafficPolicy: REGISTRY_ONLY', /data\.mesh\.outboundTrafficPolicy must be a mapping/],
    ['accessLogFile: [a]', /data\.mesh\.accessLogFile must be text/],
    ['accessLogEncoding: XML', /data\.mesh\.accessLogEncoding must be JSON or TEXT/],
    ['rootNamespace: Not_A_Name', /data\.mesh\.rootNamespace must be the name of a namespace/],
    ['enableTracing: "true"', /data\.mesh\.enableTracing must be true or false/],
    ['trustDomain: 7', /data\.mesh\.trustDomain must be text/],
    ['trustDomain: a/b', /data\.mesh\.trustDomain must be a trust domain/],
    ['trustDomain: ""', /data\.mesh\.trustDomain must be a trust domain/],
    ['trustDomainAliases: [a, B]', /data\.mesh\.trustDomainAliases\[1\] must be a trust domain/],
    ['trustDomainAliases: [a, 7]', /data\.mesh\.trustDomainAliases\[1\] must be text/],
    ['trustDomainAliases: a', /data\.mesh\.trustDomainAliases must be a list/],
    ['extensionProviders: { a: b }', /data\.mesh\.extensionProviders must be a list/],
    ['extensionProviders: [{ name: a }, { name: a }]', /extensionProviders\[1\]\.name 'a' is the name of another/],
    ['pathNormalization: { normalization: SOME }', /pathNormalization\.normalization must be DEFAULT or NONE/],
    ['pathNormalization: BASE', /data\.mesh\.pathNormalization must be a mapping/],
    ['defaultConfig: { gatewayTopology: 2 }', /defaultConfig\.gatewayTopology must be a mapping/],
    ['defaultConfig: { gatewayTopology: { numTrustedProxies: -1 } }', /numTrustedProxies must be a whole number/],
    ['defaultConfig: { gatewayTopology: { numTrustedProxies: "1" } }', /numTrustedProxies must be a whole number/],
    ['defaultProviders: []', /data\.mesh\.defaultProviders must be a mapping/],
    ['[1, 2]', /data\.mesh must be a mapping/],
    ['a: [', /data\.mesh is no YAML/],
    ['a: 1\na: 2', /data\.mesh is no YAML/],
    ['a: 1\n---\nb: 1', /data\.mesh is no YAML/],
  ]
  for (const [mesh, wanted] of cases) {
    const translation = translated(mesh)
    assert.ok(translation.rejected, mesh)
    assert.match(told(translation).join(), wanted)
  }
})

test('aliases that unfold to more than anybody can mean are refused', () => {
  const levels = Array.from({ length: 9 }, (_, index) => `l${index + 1}: &l${index + 1} [${`*l${index},`.repeat(9)}]`)
  const bomb = `l0: &l0 [x]\n${levels.join('\n')}`
  assert.match(told(translated(bomb)).join(), /^data\.mesh is no YAML/)
})

test('whatever the text, it is in force or refused by a path into it, and no field is dropped in silence', () => {
  const name = fc.oneof(
    fc.constantFrom('outboundTrafficPolicy', 'mode', 'accessLogFile', 'trustDomain', '__proto__', 'toString'),
    fc.string(),
  )
  const fields = fc.dictionary(name, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 })
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fields.map((given) => stringify(given)),
      ),
      (mesh) => {
        const { value, rejected, problems } = translated(mesh)
        assert.equal(value === null, rejected)
        assert.ok(!rejected || problems.length === 1)
        for (const { field } of problems) assert.match(field, /^data\.mesh/)
      },
    ),
  )
  const unknown = fc.string({ minLength: 1 }).map((own) => `x${own}`)
  fc.assert(
    fc.property(unknown, (own) => {
      const { problems } = translated(JSON.stringify({ [own]: 1 }))
      assert.equal(problems.length, 1)
    }),
  )
})
