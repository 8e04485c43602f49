// The rules that the CRDs of VirtualService and DestinationRule have beside their schemas (x-kubernetes-validations). A
// cluster of an older Kubernetes, or with older CRDs, does not hold them: what breaks one is refused here.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { translateDestinationRule } from '../destination-rule.ts'
import { istio } from '../objects.fixture.ts'
import { translateVirtualService } from '../virtual-service.ts'

/** `duration(self) >= duration('1ms')`, by kind: the fields under a path. */
const POLICIES = ['', 'portLevelSettings[].']
  .map((at) => `trafficPolicy.${at}`)
  .flatMap((at) => [at, `subsets[].${at}`])
const DURATIONS = {
  VirtualService: [
    ...['corsPolicy.maxAge', 'fault.delay.exponentialDelay', 'fault.delay.fixedDelay', 'retries.backoff'],
    ...['retries.perTryTimeout', 'timeout'],
  ].map((field) => `http[].${field}`),
  DestinationRule: POLICIES.flatMap((at) =>
    [
      ...['http2KeepAlive.interval', 'http2KeepAlive.timeout', 'idleTimeout'].map(
        (name) => `connectionPool.http.${name}`,
      ),
      ...['connectTimeout', 'maxConnectionDuration'].map((name) => `connectionPool.tcp.${name}`),
      ...['interval', 'time'].map((name) => `connectionPool.tcp.tcpKeepalive.${name}`),
      ...['loadBalancer.warmup.duration', 'loadBalancer.warmupDurationSecs'],
      ...['outlierDetection.baseEjectionTime', 'outlierDetection.interval'],
    ].map((field) => `${at}${field}`),
  ),
} as const
type Kind = keyof typeof DURATIONS

/** The other rules: that of labels to select by. */
const LABELS = [
  ['workloadSelector.matchLabels', '!key.contains("*")', { '*': 'a' }],
  ['workloadSelector.matchLabels', 'key.size() != 0', { '': 'a' }],
  ['workloadSelector.matchLabels.*', '!self.contains("*")', { app: 'a*' }],
] as const

/** `value` at a path, lists on it of one entry. */
function at(path: string, value: unknown): unknown {
  const [step = '', ...rest] = path.split('.')
  if (step === '') return value
  const inner = at(rest.join('.'), value)
  return step.endsWith('[]') ? { [step.slice(0, -2)]: [inner] } : { [step]: inner }
}

/** Both together; what `around` has of the same name and is no object gives way. */
function merged(around: unknown, given: unknown): unknown {
  if (Array.isArray(given)) return given.map((one, index) => merged(Array.isArray(around) ? around[index] : null, one))
  if (typeof given !== 'object' || given === null) return given
  const before = typeof around === 'object' && around !== null ? around : {}
  const entries = Object.entries(given).map(([name, one]) => [
    name,
    merged((before as Record<string, unknown>)[name], one),
  ])
  return { ...before, ...(Object.fromEntries(entries) as object) }
}

const AROUND = {
  VirtualService: { hosts: ['a'], http: [{ route: [{ destination: { host: 'a' } }], retries: { attempts: 1 } }] },
  DestinationRule: {
    host: 'a',
    trafficPolicy: { portLevelSettings: [{ port: { number: 1 } }] },
    subsets: [{ name: 'a', trafficPolicy: { portLevelSettings: [{ port: { number: 1 } }] } }],
  },
} as const
const TRANSLATE = { VirtualService: translateVirtualService, DestinationRule: translateDestinationRule } as const

/** The path of what is refused, or null. */
function refused(kind: Kind, path: string, value: unknown): string | null {
  const given = istio(kind, merged(AROUND[kind], at(path, value)))
  const { rejected, problems } = TRANSLATE[kind](given, 'cluster.local')
  return rejected ? (problems[0]?.field ?? '') : null
}

test('a duration of less than a millisecond is refused wherever the CRD has none', () => {
  for (const kind of Object.keys(DURATIONS) as Kind[]) {
    for (const path of DURATIONS[kind]) {
      const field = `spec.${path}`.replaceAll('[]', '[0]')
      for (const text of ['999us', '-1s', 'soon']) assert.equal(refused(kind, path, text), field, `${path}: ${text}`)
      if (path === 'http[].timeout') continue // 0s was Istio's word for none before the rule, and means that still
      assert.equal(refused(kind, path, '0s'), field)
      if (path.endsWith('exponentialDelay')) continue // refused whatever it says
      assert.equal(refused(kind, path, path.endsWith('maxAge') ? '1s' : '1ms'), null, path)
    }
  }
})

test('labels to select by have names, and no wildcards', () => {
  for (const [path, , matchLabels] of LABELS) {
    const found = refused('DestinationRule', 'workloadSelector', { matchLabels })
    assert.ok(found?.startsWith('spec.workloadSelector.matchLabels'), path)
  }
  assert.equal(refused('DestinationRule', 'workloadSelector', { matchLabels: { app: 'a' } }), null)
})

const crds = join(import.meta.dirname, '../../../../shared/data/istio/manifests/charts/base/files/crd-all.gen.yaml')
const skip = existsSync(crds) ? false : 'the sample manifests are not at hand (../shared/data)'

test('the rules above are those of the newest CRDs', { skip }, () => {
  type Node = Record<string, unknown>
  const rulesOf = (schema: Node, path: string): string[] => {
    const own = (schema['x-kubernetes-validations'] ?? []) as { rule: string }[]
    const inner = Object.entries((schema['properties'] ?? {}) as Record<string, Node>)
    const [items, more] = [schema['items'], schema['additionalProperties']] as (Node | undefined)[]
    return [
      ...own.map(({ rule }) => `${path}: ${rule}`),
      ...inner.flatMap(([name, one]) => rulesOf(one, path === '' ? name : `${path}.${name}`)),
      ...(items === undefined ? [] : rulesOf(items, `${path}[]`)),
      ...(more === undefined ? [] : rulesOf(more, `${path}.*`)),
    ]
  }
  const known = (kind: Kind): string[] => [
    ...DURATIONS[kind].map((path) => `${path}: duration(self) >= duration('1ms')`),
    ...(kind === 'VirtualService' ? [] : LABELS).map(([path, rule]) => {
      return `${path}: ${path.endsWith('.*') ? rule : `self.all(key, ${rule})`}`
    }),
  ]
  const found = parseAllDocuments(readFileSync(crds, 'utf8')).map((document) => document.toJS() as Node | null)
  for (const kind of Object.keys(DURATIONS) as Kind[]) {
    const crd = found.find((one) => (one?.['spec'] as { names: { kind: string } } | undefined)?.names.kind === kind)
    const [version] = (crd!['spec'] as { versions: { schema: { openAPIV3Schema: { properties: { spec: Node } } } }[] })
      .versions
    const rules = rulesOf(version!.schema.openAPIV3Schema.properties.spec, '')
    assert.deepEqual(rules.sort(), known(kind).sort(), kind)
  }
})
