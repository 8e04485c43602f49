// The manifests that others publish, where they are at hand (../shared/data beside the repository): each is understood.

import { NOWHERE_KNOWN } from '../model/balance/locality.ts'
import { DEFAULT_MESH_SETTINGS } from '../model/mesh-settings.ts'
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { compile } from '../model/snapshot.ts'
import type { VirtualService } from '../model/policy.ts'
import type { DestinationRule } from '../model/traffic-policy.ts'
import { translateAuthorizationPolicy } from './authorization-policy.ts'
import { translateDestinationRule } from './destination-rule.ts'
import type { KubeObject } from './object.ts'
import { istio, object } from './objects.fixture.ts'
import { translatePeerAuthentication } from './peer-authentication.ts'
import { translateRequestAuthentication } from './request-authentication.ts'
import type { Translation } from './translate.ts'
import { translateVirtualService } from './virtual-service.ts'

const samples = join(import.meta.dirname, '../../../shared/data')
const skip = existsSync(samples) ? false : 'the sample manifests are not at hand (../shared/data)'

type Kind =
  'VirtualService' | 'DestinationRule' | 'PeerAuthentication' | 'AuthorizationPolicy' | 'RequestAuthentication'
type Schema = { readonly properties?: Record<string, Schema>; readonly items?: Schema; readonly type?: string }
interface Definition extends KubeObject {
  readonly spec: {
    readonly names: { readonly kind: string }
    readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Schema } }[]
  }
}

function documents(file: string): KubeObject[] {
  const found = parseAllDocuments(readFileSync(join(samples, file), 'utf8'))
  return [...found].flatMap((document) => {
    const value: unknown = document.toJS()
    return value === null ? [] : [value as KubeObject]
  })
}

/** Every sample object of a kind, as a cluster would store it. */
function sampled(kind: Kind): { file: string; given: KubeObject }[] {
  const files = globSync(['mission/*.yaml', 'istio/samples/**/*.yaml', 'istio/pkg/**/*.yaml'], { cwd: samples }).sort()
  return files.flatMap((file) =>
    documents(file)
      .filter((given) => given.kind === kind)
      .map((given) => ({ file, given: object({ ...given.metadata }, given) })),
  )
}

function translated<T>(kind: Kind, translate: (given: KubeObject, domain: string) => Translation<T>) {
  return sampled(kind).map(({ file, given }) => {
    const spec = given.spec as { http?: object[]; tcp?: object[]; tls?: object[] }
    return { file, spec, ...translate(given, 'cluster.local') }
  })
}

test('every published VirtualService is in force with all of its rules', { skip }, () => {
  const found = translated('VirtualService', translateVirtualService)
  assert.ok(found.length >= 20, `${found.length} samples`)
  for (const { file, rejected, problems, value, spec } of found) {
    assert.equal(rejected, false, `${file}: ${JSON.stringify(problems)}`)
    // there is nothing in them that is not honoured, but that some are for gateways, or for gateways alone
    for (const { field } of problems) assert.equal(field, 'spec.gateways', file)
    if (value === null) {
      assert.equal(problems.length, 1, file)
      continue
    }
    for (const name of ['http', 'tls', 'tcp'] as const) assert.equal(value[name].length, spec[name]?.length ?? 0, file)
  }
})

test('every published DestinationRule is in force, and names what is not honoured', { skip }, () => {
  const found = translated('DestinationRule', translateDestinationRule)
  assert.ok(found.length >= 5, `${found.length} samples`)
  for (const { file, rejected, problems, value } of found) {
    assert.equal(rejected, false, `${file}: ${JSON.stringify(problems)}`)
    for (const { field } of problems) assert.match(field, /\.h2UpgradePolicy$/, file)
    assert.ok(value?.host.includes('.'), file)
  }
})

test('every published PeerAuthentication is in force with all of its fields', { skip }, () => {
  const found = translated('PeerAuthentication', translatePeerAuthentication)
  assert.ok(found.length >= 3, `${found.length} samples`)
  for (const { file, problems, value } of found) {
    assert.deepEqual(problems, [], file)
    assert.notEqual(value, null, file)
  }
})

test(
  'every published AuthorizationPolicy and RequestAuthentication is in force with all of its rules',
  { skip },
  () => {
    const policies = translated('AuthorizationPolicy', translateAuthorizationPolicy)
    const authentications = translated('RequestAuthentication', translateRequestAuthentication)
    assert.ok(
      policies.length >= 2 && authentications.length >= 2,
      `${policies.length}, ${authentications.length} samples`,
    )
    for (const { file, rejected, problems, value } of policies) {
      assert.deepEqual([rejected, problems], [false, []], file)
      assert.equal(value?.rules.length, 1, file)
    }
    for (const { file, rejected, problems, value } of authentications) {
      assert.equal(rejected, false, file)
      // whose issuer is no URL, and where its keys are nobody says
      assert.deepEqual(
        problems.map(({ field }) => field),
        ['spec.jwtRules[0].issuer'],
        file,
      )
      assert.equal(value?.rules.length, 1, file)
    }
  },
)

test('Bookinfo’s routes mean what its guide says', { skip }, () => {
  const folder = 'istio/samples/bookinfo/networking'
  const of = (file: string): VirtualService[] =>
    documents(join(folder, file)).map((given) => {
      const { value, problems } = translateVirtualService(object({ ...given.metadata }, given), 'cluster.local')
      assert.deepEqual(problems, [], file)
      return value!
    })
  const shares = (file: string) => of(file)[0]!.http[0]!.destinations.map(({ subset, weight }) => [subset, weight])
  assert.deepEqual(shares('virtual-service-reviews-80-20.yaml'), [
    ['v1', 80],
    ['v2', 20],
  ])
  assert.deepEqual(shares('virtual-service-reviews-50-v3.yaml'), [
    ['v1', 50],
    ['v3', 50],
  ])
  const [jason, others] = of('virtual-service-reviews-test-v2.yaml')[0]!.http
  assert.deepEqual(jason?.matches[0]?.headers, [{ name: 'end-user', match: { kind: 'exact', value: 'jason' } }])
  assert.deepEqual([jason?.destinations[0]?.subset, others?.destinations[0]?.subset], ['v2', 'v1'])
  const [delayed] = of('virtual-service-ratings-test-delay.yaml')[0]!.http
  assert.deepEqual(delayed?.fault, { delay: { percent: 100, ms: 7000 }, abort: null })
  const [aborted] = of('virtual-service-ratings-test-abort.yaml')[0]!.http
  assert.deepEqual(aborted?.fault, { delay: null, abort: { percent: 100, status: 500, grpcStatus: null } })
  assert.equal(of('virtual-service-all-v1.yaml').length, 4)
  const rules: DestinationRule[] = documents(join(folder, 'destination-rule-all.yaml')).map(
    (given) => translateDestinationRule(object({ ...given.metadata }, given), 'cluster.local').value!,
  )
  assert.deepEqual(
    rules.map(({ host, subsets }) => `${host.split('.')[0]}: ${subsets.map(({ name }) => name).join()}`),
    ['productpage: v1', 'reviews: v1,v2,v3', 'ratings: v1,v2,v2-mysql,v2-mysql-vm', 'details: v1,v2'],
  )
  const all = of('virtual-service-all-v1.yaml')
  const nothing = { workloads: [], services: [] }
  compile({
    version: 1,
    rootNamespace: 'r',
    mesh: DEFAULT_MESH_SETTINGS,
    node: 'node-1',
    locality: NOWHERE_KNOWN,
    ...nothing,
    virtualServices: all,
    destinationRules: rules,
    peerAuthentications: [],
    authorizationPolicies: [],
    requestAuthentications: [],
  })
})

/** A value that the schema of a field may take; where it needs more it is refused, which names the field too. */
function valueFor(schema: Schema): unknown {
  switch (schema.type) {
    case 'array':
      return [valueFor(schema.items ?? {})]
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {})
          .slice(0, 1)
          .map(([k, v]) => [k, valueFor(v)]),
      )
    case 'boolean':
      return true
    case 'integer':
    case 'number':
      return 1
    default:
      return 'a'
  }
}

/** Where fields are looked up in a CRD, and an object that has one there. */
const PLACES: readonly { at: string; around: (field: object) => object }[] = [
  { at: '', around: (field) => field },
  { at: 'selector', around: (field) => ({ selector: field }) },
  { at: 'mtls', around: (field) => ({ mtls: field }) },
]

/** The fields that are honoured, by place: all others of the CRD must be named in a problem. */
const HONOURED: Readonly<Record<string, readonly string[]>> = {
  '': ['selector', 'mtls', 'portLevelMtls'],
  selector: ['matchLabels'],
  mtls: ['mode'],
}

function schemaAt(root: Schema, at: string): Schema {
  const steps = at.split('.').filter((step) => step !== '')
  return steps.reduce((schema, step) => {
    const inner = schema.properties?.[step.replace('[]', '')] ?? {}
    return step.endsWith('[]') ? (inner.items ?? {}) : inner
  }, root)
}

test('every field of PeerAuthentication is honoured, or an object that uses it says that it is not', { skip }, () => {
  const definitions = documents('istio/manifests/charts/base/files/crd-all.gen.yaml') as Definition[]
  const crd = definitions.find(({ spec }) => spec.names.kind === 'PeerAuthentication')
  const root = crd!.spec.versions[0]!.schema.openAPIV3Schema.properties!['spec']!
  for (const { at, around } of PLACES) {
    const fields = Object.entries(schemaAt(root, at).properties ?? {})
    assert.ok(fields.length > 0, `${at} is no place in the CRD`)
    for (const [name, schema] of fields) {
      if (HONOURED[at]?.includes(name)) continue
      const { problems } = translatePeerAuthentication(
        istio('PeerAuthentication', around({ [name]: valueFor(schema) })),
      )
      const place = `spec${at === '' ? '' : '.'}${at}.${name}`
      const isNamed = problems.some(({ field }) => field.startsWith(place))
      assert.ok(isNamed, `${place} is dropped in silence: ${JSON.stringify(problems)}`)
    }
  }
})
