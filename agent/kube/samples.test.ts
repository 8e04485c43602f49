// The manifests that others publish, where they are at hand (../shared/data beside the repository): each is understood.

import { DEFAULT_MESH_SETTINGS } from '../model/mesh-settings.ts'
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { compile } from '../model/snapshot.ts'
import type { DestinationRule, VirtualService } from '../model/policy.ts'
import { translateDestinationRule } from './destination-rule.ts'
import type { KubeObject } from './object.ts'
import { istio, object } from './objects.fixture.ts'
import { translatePeerAuthentication } from './peer-authentication.ts'
import type { Translation } from './translate.ts'
import { translateVirtualService } from './virtual-service.ts'

const samples = join(import.meta.dirname, '../../../shared/data')
const skip = existsSync(samples) ? false : 'the sample manifests are not at hand (../shared/data)'

/** How the kinds that are understood are translated. */
const TRANSLATE = {
  VirtualService: translateVirtualService,
  DestinationRule: translateDestinationRule,
  PeerAuthentication: translatePeerAuthentication,
} as const
type Kind = keyof typeof TRANSLATE
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
    const spec = given.spec as { http?: object[]; tcp?: unknown; tls?: unknown }
    return { file, spec, ...translate(given, 'cluster.local') }
  })
}

/** What needs more than is honoured, and is refused by the name of the field. */
const REFUSED: readonly RegExp[] = [/\.(redirect|directResponse|delegate)$/]

test('every published VirtualService is in force, or says by which field it is not', { skip }, () => {
  const found = translated('VirtualService', translateVirtualService)
  assert.ok(found.length >= 20, `${found.length} samples`)
  for (const { file, rejected, problems, value, spec } of found) {
    if (rejected) {
      assert.ok(
        REFUSED.some((field) => field.test(problems[0]!.field)),
        `${file}: ${JSON.stringify(problems)}`,
      )
      continue
    }
    for (const { field, reason } of problems) assert.ok(field.startsWith('spec.') && reason !== '', file)
    // one that is not in force at all must be for gateways alone, or have said which routes it has beside http
    if (value === null) assert.ok(problems.length > 0, file)
    else assert.equal(value.http.length, spec.http?.length, file)
  }
})

test('every published DestinationRule is in force, and names what is not honoured', { skip }, () => {
  const found = translated('DestinationRule', translateDestinationRule)
  assert.ok(found.length >= 5, `${found.length} samples`)
  for (const { file, rejected, problems, value } of found) {
    assert.equal(rejected, false, `${file}: ${JSON.stringify(problems)}`)
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
  assert.deepEqual(aborted?.fault, { delay: null, abort: { percent: 100, status: 500 } })
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
    ...nothing,
    virtualServices: all,
    destinationRules: rules,
    peerAuthentications: [],
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

const ROUTE = { destination: { host: 'a' } }
const POLICY = ['trafficPolicy', 'trafficPolicy.loadBalancer', 'trafficPolicy.portLevelSettings[]', 'trafficPolicy.tls']
/** Where fields are looked up in a CRD, and an object that has one there. */
const PLACES: Record<Kind, { at: string; around: (field: object) => object }[]> = {
  VirtualService: [
    { at: '', around: (field) => ({ hosts: ['a'], http: [{ route: [ROUTE] }], ...field }) },
    { at: 'http[]', around: (field) => ({ hosts: ['a'], http: [{ route: [ROUTE], ...field }] }) },
    { at: 'http[].match[]', around: (field) => ({ hosts: ['a'], http: [{ route: [ROUTE], match: [field] }] }) },
    { at: 'http[].route[]', around: (field) => ({ hosts: ['a'], http: [{ route: [{ ...ROUTE, ...field }] }] }) },
    { at: 'http[].rewrite', around: (field) => ({ hosts: ['a'], http: [{ route: [ROUTE], rewrite: field }] }) },
    {
      at: 'http[].fault.delay',
      around: (field) => ({
        hosts: ['a'],
        http: [{ route: [ROUTE], fault: { delay: { fixedDelay: '1s', ...field } } }],
      }),
    },
    {
      at: 'http[].fault.abort',
      around: (field) => ({
        hosts: ['a'],
        http: [{ route: [ROUTE], fault: { abort: { httpStatus: 500, ...field } } }],
      }),
    },
  ],
  DestinationRule: [
    { at: '', around: (field) => ({ host: 'a', ...field }) },
    { at: POLICY[0]!, around: (field) => ({ host: 'a', trafficPolicy: field }) },
    { at: POLICY[1]!, around: (field) => ({ host: 'a', trafficPolicy: { loadBalancer: field } }) },
    {
      at: POLICY[2]!,
      around: (field) => ({ host: 'a', trafficPolicy: { portLevelSettings: [{ port: { number: 1 }, ...field }] } }),
    },
    {
      at: POLICY[3]!,
      around: (field) => ({
        host: 'a',
        trafficPolicy: { tls: { mode: 'MUTUAL', clientCertificate: '/c', privateKey: '/k', ...field } },
      }),
    },
    { at: 'subsets[]', around: (field) => ({ host: 'a', subsets: [{ name: 'a', ...field }] }) },
  ],
  PeerAuthentication: [
    { at: '', around: (field) => field },
    { at: 'selector', around: (field) => ({ selector: field }) },
    { at: 'mtls', around: (field) => ({ mtls: field }) },
  ],
}

/** The fields that are honoured, by place: all others of the CRD must be named in a problem. */
const HONOURED: Readonly<Record<string, readonly string[]>> = {
  'VirtualService ': ['hosts', 'gateways', 'exportTo', 'http'],
  'VirtualService http[]': ['name', 'match', 'route', 'rewrite', 'fault', 'timeout'],
  'VirtualService http[].match[]':
    'name uri ignoreUriCase scheme method authority headers withoutHeaders queryParams port sourceLabels sourceNamespace gateways'.split(
      ' ',
    ),
  'VirtualService http[].route[]': ['destination', 'weight'],
  'VirtualService http[].rewrite': ['uri', 'authority'],
  'VirtualService http[].fault.delay': ['fixedDelay', 'percent', 'percentage'],
  'VirtualService http[].fault.abort': ['httpStatus', 'percentage'],
  'PeerAuthentication ': ['selector', 'mtls', 'portLevelMtls'],
  'PeerAuthentication selector': ['matchLabels'],
  'PeerAuthentication mtls': ['mode'],
  'DestinationRule ': ['host', 'exportTo', 'trafficPolicy', 'subsets'],
  'DestinationRule trafficPolicy': ['loadBalancer', 'portLevelSettings', 'tls'],
  'DestinationRule trafficPolicy.loadBalancer': ['simple'],
  'DestinationRule trafficPolicy.portLevelSettings[]': ['port', 'loadBalancer', 'tls'],
  'DestinationRule trafficPolicy.tls':
    'mode sni subjectAltNames clientCertificate privateKey caCertificates credentialName insecureSkipVerify'.split(' '),
  'DestinationRule subsets[]': ['name', 'labels', 'trafficPolicy'],
}

function schemaAt(root: Schema, at: string): Schema {
  const steps = at.split('.').filter((step) => step !== '')
  return steps.reduce((schema, step) => {
    const inner = schema.properties?.[step.replace('[]', '')] ?? {}
    return step.endsWith('[]') ? (inner.items ?? {}) : inner
  }, root)
}

test('every field that Istio’s CRDs have is honoured, or an object that uses it says that it is not', { skip }, () => {
  const definitions = documents('istio/manifests/charts/base/files/crd-all.gen.yaml') as Definition[]
  let checked = 0
  for (const kind of Object.keys(TRANSLATE) as Kind[]) {
    const crd = definitions.find(({ spec }) => spec.names.kind === kind)
    const root = crd!.spec.versions[0]!.schema.openAPIV3Schema.properties!['spec']!
    for (const { at, around } of PLACES[kind]) {
      const fields = Object.entries(schemaAt(root, at).properties ?? {})
      assert.ok(fields.length > 0, `${kind} ${at} is no place in the CRD`)
      for (const [name, schema] of fields) {
        if (HONOURED[`${kind} ${at}`]?.includes(name)) continue
        const given = istio(kind, around({ [name]: valueFor(schema) }))
        const { problems } = TRANSLATE[kind](given, 'cluster.local')
        const place = `spec${at === '' ? '' : '.'}${at}`.replaceAll('[]', '[0]')
        const isNamed = problems.some(({ field }) => {
          const isInside =
            field.startsWith(`${place}.${name}`) && !/^\w/.test(field.slice(place.length + 1 + name.length))
          return isInside || field === place // refused as a whole: `exactly one of`
        })
        assert.ok(isNamed, `${kind} ${place}.${name} is dropped in silence: ${JSON.stringify(problems)}`)
        checked++
      }
    }
  }
  assert.ok(checked > 30, `${checked} fields`)
})
