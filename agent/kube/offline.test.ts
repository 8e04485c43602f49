import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { analyse } from '../model/analysis/analysis.ts'
import { readGiven, type Given } from './offline.ts'
import { type Manifest, parseManifests } from './offline-files.ts'

const OPTIONS = { clusterDomain: 'cluster.local', rootNamespace: 'istio-system', nowMs: Date.UTC(2026, 0, 2) }
const manifests = (text: string): Parameters<typeof readGiven>[0][number] =>
  parseManifests({ file: 'a.yaml', text }, 'default')
const offline = (...texts: string[]): Given => readGiven(texts.map(manifests), null, OPTIONS)
/** Objects as a cluster has them: without a place in a file. */
const standing = (text: string): Manifest[] => manifests(text).manifests.map(({ object }) => ({ object, source: null }))
const found = ({ world, findings, located }: Given): string[] =>
  [...findings, ...analyse(world).map(located)].map(({ code, object, field, line }) => {
    return `${code} ${object.kind} ${object.name} ${field}${line === null ? '' : `:${line}`}`
  })

const SERVICE = `
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [{ name: dns, port: 53, protocol: UDP }, { name: http, port: 80, targetPort: 8080 }, { port: 9, targetPort: named }]
---`
const workload = (kind: string, spec: string): string => `
apiVersion: apps/v1
kind: ${kind}
metadata: { name: web }
spec: ${spec}
---`
const POD = '{ metadata: { labels: { app: web }, annotations: { weft.dev/mesh: enabled } } }'
const ROUTES = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [web]
  http:
    - match: [{ gateways: [edge], uri: { prefix: /out } }]
      route: [{ destination: { host: web } }]
    - match: [{ gateways: [edge] }, { port: 81 }]
      route: [{ destination: { host: web, port: { number: 80 } } }]
---`

test('a Service keeps what only its author says', () => {
  const [known] = offline(SERVICE).world.services
  assert.deepEqual(known?.selector, { app: 'web' })
  assert.deepEqual(known?.places, [
    { field: 'spec.ports[1]', target: 8080 },
    { field: 'spec.ports[2]', target: null },
  ])
  assert.deepEqual(known?.otherPorts, [{ field: 'spec.ports[0]', port: 53, protocol: 'UDP' }])
})

test('workloads stand for the pods that they would make', () => {
  const kinds: readonly [kind: string, spec: string, pods: number][] = [
    ['Deployment', `{ template: ${POD} }`, 1],
    ['StatefulSet', `{ replicas: 3, template: ${POD} }`, 1],
    ['Deployment', `{ replicas: 0, template: ${POD} }`, 0],
    ['CronJob', `{ jobTemplate: { spec: { template: ${POD} } } }`, 1],
    ['Deployment', '{}', 0],
  ]
  for (const [kind, spec, count] of kinds) {
    const { pods } = offline(workload(kind, spec)).world
    assert.equal(pods.length, count, kind)
    for (const pod of pods) assert.deepEqual([pod.labels, pod.joined, pod.namespace], [{ app: 'web' }, true, 'default'])
  }
  const plain = POD.replace('enabled', 'x').replace('weft.dev/mesh', 'y')
  assert.equal(offline(workload('Deployment', `{ template: ${plain} }`)).world.pods[0]?.joined, null)
  const space = 'apiVersion: v1\nkind: Namespace\nmetadata: { name: default }\n---'
  assert.equal(offline(space + workload('Deployment', `{ template: ${plain} }`)).world.pods[0]?.joined, false)
})

test('rules that are for gateways alone are passed over, and the others keep their places', () => {
  const all = found(offline(SERVICE + ROUTES))
  assert.ok(all.includes('WEFT0214 VirtualService web spec.http[1].match[1].port:17'), all.join('\n'))
})

test('what no part of the mesh reads is told, and what is none of the mesh’s is not', () => {
  const of = (apiVersion: string, kind: string): string =>
    `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: x }\nspec: {}\n---\n`
  const given = offline(
    of('networking.istio.io/v1', 'Gateway') +
      of('security.istio.io/v1', 'AuthorizationPolicy') +
      of('policy.linkerd.io/v1alpha1', 'AuthorizationPolicy') +
      of('gateway.networking.k8s.io/v1', 'HTTPRoute') +
      of('linkerd.io/v1alpha2', 'ServiceProfile') +
      of('split.smi-spec.io/v1alpha2', 'TrafficSplit') +
      of('networking.k8s.io/v1', 'Ingress') +
      of('v1', 'Secret'),
  )
  assert.deepEqual(given.world.unread.map(({ object, guards }) => `${object.kind} ${guards}`).sort(), [
    'AuthorizationPolicy true',
    'Gateway false',
    'HTTPRoute false',
    'ServiceProfile false',
    'TrafficSplit false',
  ])
  assert.equal(given.objects, 6)
})

test('WEFT0107 and WEFT0108: what cannot be read, and what is given twice', () => {
  const all = found(offline(SERVICE, `${SERVICE}\nkind: Pod\n`))
  assert.deepEqual(all.slice(0, 2), ['WEFT0107 File a.yaml :9', 'WEFT0108 Service web :2'])
})

test('the mesh’s own settings are judged, and name the root namespace', () => {
  const settings = (text: string): string => `apiVersion: v1
kind: ConfigMap
metadata: { name: weft, namespace: istio-system }
data: { mesh: '${text}' }`
  assert.equal(offline(settings('{ rootNamespace: root }')).world.rootNamespace, 'root')
  assert.deepEqual(found(offline(settings('{ nonsense: 1 }'))), ['WEFT0102 ConfigMap weft data.mesh.nonsense:4'])
  assert.deepEqual(found(offline(settings('{ trustDomain: 7 }'))), ['WEFT0101 ConfigMap weft data.mesh.trustDomain:4'])
})

test('files are laid over a cluster as if they were applied', () => {
  const old = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: NAME, creationTimestamp: '2025-01-01T00:00:00Z' }
spec: { hosts: [web], http: [{ route: [{ destination: { host: web } }] }] }
---`
  const space = 'apiVersion: v1\nkind: Namespace\nmetadata: { name: default }\n---'
  const cluster = standing(
    space + SERVICE.replace(/\{ name: dns.*UDP \}, |, \{ port: 9.*named \}/g, '') + old.replace('NAME', 'web'),
  )
  const laid = (text: string): string[] => found(readGiven([manifests(text)], cluster, OPTIONS))
  assert.ok(
    laid('').every((one) => one.startsWith('WEFT0206')),
    laid('').join('\n'),
  )
  // one more is younger, and loses; the same one again is as old as it was, under another version too
  const another = old.replace('NAME', 'other').replace(/, creationTimestamp: '[^']*'/, '')
  assert.ok(laid(another).includes('WEFT0103 VirtualService other :2'))
  const again = another.replace('other', 'web').replace('/v1', '/v1beta1').replace('hosts: [web]', 'hosts: [wbe]')
  const all = laid(again)
  assert.ok(
    all.includes('WEFT0201 VirtualService web spec.hosts[0]:5') && !all.join().includes('WEFT0108'),
    all.join('\n'),
  )
  assert.ok(!all.join().includes('WEFT0103'))
})

const samples = join(import.meta.dirname, '../../../shared/data')
const skip = existsSync(samples) ? false : 'the sample manifests are not at hand (../shared/data)'

test('Bookinfo as its authors publish it has nothing to warn of', { skip }, () => {
  const text = (file: string): string => readFileSync(join(samples, 'istio/samples/bookinfo', file), 'utf8')
  const given = offline(
    text('platform/kube/bookinfo.yaml'),
    text('networking/destination-rule-all.yaml'),
    text('networking/virtual-service-all-v1.yaml'),
  )
  const grave = analyse(given.world).filter(({ severity }) => severity !== 'info')
  assert.deepEqual([...given.findings, ...grave], [])
  // subsets that only its other deployments have, and those that no rule of this guide step uses
  assert.deepEqual([...new Set(analyse(given.world).map(({ code }) => code))].sort(), ['WEFT0302', 'WEFT0303'])
})

test('the mission’s own routes alone lack nothing but their Services', { skip }, () => {
  const text = readFileSync(join(samples, 'mission/virtualservice-my-service.yaml'), 'utf8')
  assert.deepEqual(found(offline(text)), ['WEFT0201 VirtualService my-service spec.hosts[0]:7'])
})

const GUARDS = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask }
spec:
  action: CUSTOM
  provider: { name: authz }
  rules: [{}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: odd }
spec:
  rules:
    - to: [{ operation: { ports: [http] } }]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: web }
spec:
  targetRef: { kind: Service, name: nowhere }
  jwtRules: [{ issuer: 'https://a.example' }]
---`
const SETTINGS = `
apiVersion: v1
kind: ConfigMap
metadata: { name: weft, namespace: istio-system }
data:
  mesh: '{ extensionProviders: [{ name: authz, envoyExtAuthzHttp: { service: a.shop.svc.cluster.local, port: 80 } }] }'
---`

test('what guards is read, with whom the settings of the mesh name', () => {
  const ask = 'WEFT0501 AuthorizationPolicy ask spec.provider.name'
  const of = (given: Given): string[] => found(given).filter((one) => !/WEFT0(4|505)/.test(one))
  const others = [
    'WEFT0101 AuthorizationPolicy odd spec.rules[0].to[0].operation.ports[0]:15',
    'WEFT0507 RequestAuthentication web spec.targetRefs:20',
  ]
  assert.deepEqual(of(offline(GUARDS)), others)
  assert.deepEqual(of(offline(GUARDS, SETTINGS)), others)
  const unnamed = SETTINGS.replace('name: authz', 'name: other')
  assert.deepEqual(
    of(offline(GUARDS, unnamed)).filter((one) => one.startsWith('WEFT0501')),
    [`${ask}:7`],
  )
  const cluster = readGiven([], standing(GUARDS), OPTIONS)
  assert.ok(of(cluster).includes(ask), 'a cluster without settings has those of the defaults')
})
