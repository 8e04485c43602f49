// What a node makes of a whole cluster: agent/kube against the lab's Kubernetes API, over HTTP, in one process.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectKube } from '../../agent/kube/client.ts'
import { Cluster, type ClusterView } from '../../agent/kube/cluster.ts'
import { COLLECTIONS, type Delta, KEYS } from '../../agent/model/delta.ts'
import { DEFAULT_MESH_SETTINGS } from '../../agent/model/mesh-settings.ts'
import type { Inventory } from '../../agent/model/snapshot.ts'
import type { Workload } from '../../agent/model/workload.ts'
import { loadDefinitions } from '../../lab/api/definitions.ts'
import type { ObjectDraft } from '../../lab/api/object.ts'
import { type Api, startApi } from '../../lab/api/server.ts'
import { createStore, type Store } from '../../lab/api/store.ts'

const VIRTUAL_SERVICES = 'virtualservices.networking.istio.io'
const DESTINATION_RULES = 'destinationrules.networking.istio.io'
const AUTHORIZATION_POLICIES = 'authorizationpolicies.security.istio.io'
const REQUEST_AUTHENTICATIONS = 'requestauthentications.security.istio.io'
const PEER_AUTHENTICATIONS = 'peerauthentications.security.istio.io'
const SLICES = 'endpointslices.discovery.k8s.io'
const CRDS = readFileSync(join(import.meta.dirname, '../../lab/api/istio-crds.yaml'), 'utf8')
const NODE = 'node-1'

/** A view with the whole inventory of its moment. */
type Seeing = ClusterView & { readonly inventory: Inventory }

/** The collections of an inventory by key, as a worker comes to know them: from the deltas alone. */
class Folded {
  readonly collections = new Map(COLLECTIONS.map((name) => [name, new Map<string, unknown>()]))
  version = 0

  add(delta: Delta): void {
    assert.equal(delta.from, this.version)
    this.version = delta.version
    for (const [name, items] of this.collections) {
      const keyOf = KEYS[name] as (item: unknown) => string
      for (const key of delta[name].gone) assert.ok(items.delete(key), `${name} had no ${key}`)
      for (const item of delta[name].set) items.set(keyOf(item), item)
    }
  }

  check(inventory: Inventory): void {
    for (const [name, items] of this.collections) {
      const keyOf = KEYS[name] as (item: unknown) => string
      const whole = (inventory[name] as readonly unknown[]).map((item) => [keyOf(item), item] as const)
      assert.deepEqual(items, new Map(whole))
    }
  }
}

/** A cluster and what one node sees of it. */
class Seen {
  readonly store: Store = createStore()
  readonly views: Seeing[] = []
  readonly #folded = new Folded()
  cluster!: Cluster
  api!: Api

  get last(): Seeing {
    const view = this.views.at(-1)
    assert.ok(view, 'no view has come')
    return view
  }

  async start(t: TestContext, settleMs = 10): Promise<this> {
    await this.connect(t, settleMs)
    await this.cluster.start()
    await this.until(() => this.views.length > 0)
    return this
  }

  /** Serves the cluster and connects to it, and does not watch yet. */
  async connect(t: TestContext, settleMs = 10): Promise<this> {
    this.api = await startApi({ store: this.store })
    const folder = await mkdtemp(join(tmpdir(), 'weft-cluster-'))
    const file = join(folder, 'kubeconfig')
    await writeFile(file, kubeconfig(this.api.url))
    const domains = { clusterDomain: 'cluster.local', rootNamespace: 'istio-system', namespace: 'weft-system' }
    const options = { node: NODE, ...domains, sandboxedRuntimes: ['gvisor'], settleMs }
    const log = { warn: () => undefined }
    this.cluster = new Cluster(connectKube(file), options, { view: (view) => this.#see(view), log })
    t.after(async () => {
      this.cluster.stop()
      await this.api.close()
      await rm(folder, { recursive: true })
    })
    return this
  }

  #see(view: ClusterView): void {
    const inventory = this.cluster.inventory()
    this.#folded.add(view.delta)
    this.#folded.check(inventory)
    this.views.push({ ...view, inventory })
  }

  async until(isSo: (view: Seeing) => boolean): Promise<Seeing> {
    const deadlineMs = performance.now() + 8_000
    while (this.views.length === 0 || !isSo(this.last)) {
      if (performance.now() > deadlineMs)
        throw new Error(`in vain; the last view: ${JSON.stringify(this.views.at(-1))}`)
      await sleep(5)
    }
    return this.last
  }

  /** A Service whose selectorless endpoints are the pods named: uid, address, node. */
  service(name: string, ...pods: { uid: string; ip: string; node: string }[]): void {
    this.store.create('services', named(name, { spec: { ports: [{ name: 'http', port: 80 }] } }))
    const endpoints = pods.map(({ uid, ip, node }) => ({
      addresses: [ip],
      nodeName: node,
      conditions: { ready: true },
      targetRef: { kind: 'Pod', uid, namespace: 'default', name: uid },
    }))
    const labels = { 'kubernetes.io/service-name': name }
    const draft = { addressType: 'IPv4', ports: [{ name: 'http', port: 8080, protocol: 'TCP' }], endpoints }
    this.store.create(SLICES, named(`${name}-s`, draft, { labels }))
  }

  /** A running pod; gives its uid. */
  pod(name: string, node: string, ip: string, metadata: object = {}): string {
    const spec = { nodeName: node, containers: [{ name: 'app', image: 'app' }] }
    const { metadata: made } = this.store.create('pods', named(name, { spec }, metadata))
    this.phase(name, 'Running', ip)
    return made.uid
  }

  phase(name: string, phase: string, podIP: string): void {
    const change = (pod: { status?: unknown }): void => void (pod.status = { phase, podIP, podIPs: [{ ip: podIP }] })
    this.store.modify('pods', 'default', name, change, { subresource: 'status' })
  }

  /** Replaces the spec of a VirtualService `reviews`, or makes it. */
  virtualService(spec: unknown): void {
    const known = this.store.get(VIRTUAL_SERVICES, 'default', 'reviews')
    if (known === undefined) this.store.create(VIRTUAL_SERVICES, named('reviews', { spec }))
    else this.store.modify(VIRTUAL_SERVICES, 'default', 'reviews', (object) => void (object['spec'] = spec))
  }
}

function named(name: string, rest: object, metadata: object = {}): ObjectDraft {
  return { ...rest, metadata: { name, namespace: 'default', ...metadata } }
}

function kubeconfig(url: string): string {
  const cluster = { name: 'lab', cluster: { server: url } }
  const context = { name: 'lab', context: { cluster: 'lab', user: 'lab' } }
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [cluster],
    users: [{ name: 'lab', user: {} }],
    contexts: [context],
    'current-context': 'lab',
  })
}

function seen(): Seen {
  const cluster = new Seen()
  loadDefinitions(cluster.store, CRDS)
  return cluster
}

const rule = (host: string) => ({ route: [{ destination: { host } }] })
const destinationOf = ({ inventory }: Seeing): string | undefined =>
  inventory.virtualServices[0]?.http[0]?.destinations[0]?.host.split('.')[0]

void describe('a cluster as a node sees it', { concurrency: true }, () => {
  test('is told whole, once all kinds were listed', async (t) => {
    const s = seen()
    const [own, far] = [
      s.pod('own', NODE, '10.244.1.2'),
      s.pod('far', 'node-2', '10.244.2.2', { labels: { app: 'far' } }),
    ]
    s.pod('unbacked', 'node-2', '10.244.2.3')
    s.service('reviews', { uid: own, ip: '10.244.1.2', node: NODE }, { uid: far, ip: '10.244.2.2', node: 'node-2' })
    s.virtualService({ hosts: ['reviews'], http: [rule('reviews')] })
    s.store.create(DESTINATION_RULES, named('reviews', { spec: { host: 'reviews', subsets: [{ name: 'v1' }] } }))
    await s.start(t)
    const { inventory, localPods, problems } = s.last
    assert.deepEqual([s.views.length, inventory.version, inventory.rootNamespace], [1, 1, 'istio-system'])
    assert.deepEqual(problems, [])
    assert.deepEqual(
      localPods.map(({ name, ips, node }) => [name, ips, node]),
      [['own', ['10.244.1.2'], NODE]],
    )
    const places = inventory.workloads.map(({ name, ips, node, labels }) => [name, ips, node, labels['app']])
    assert.deepEqual(places.sort(), [
      ['far', ['10.244.2.2'], 'node-2', 'far'],
      ['own', ['10.244.1.2'], NODE, undefined],
      ['unbacked', [], null, undefined], // no slice says where it is
    ])
    const service = inventory.services.find(({ name }) => name === 'reviews')
    assert.deepEqual(
      service?.ports[0]?.endpoints.map(({ workload, address }) => [workload, address.ip, address.port]),
      [
        [own, '10.244.1.2', 8080],
        [far, '10.244.2.2', 8080],
      ],
    )
    assert.deepEqual([inventory.virtualServices.length, inventory.destinationRules.length], [1, 1])
    assert.deepEqual(structuredClone(inventory), inventory) // it crosses to a worker
  })

  test('knows a pod of another node by its addresses of both families', async (t) => {
    const s = seen()
    const far = s.pod('far', 'node-2', '10.244.2.2')
    s.service('reviews', { uid: far, ip: '10.244.2.2', node: 'node-2' })
    const targetRef = { kind: 'Pod', uid: far, namespace: 'default', name: 'far' }
    const endpoints = [{ addresses: ['FD00:2::0:2'], nodeName: 'node-2', conditions: { ready: true }, targetRef }]
    const draft = { addressType: 'IPv6', ports: [{ name: 'http', port: 8080, protocol: 'TCP' }], endpoints }
    s.store.create(SLICES, named('reviews-six', draft, { labels: { 'kubernetes.io/service-name': 'reviews' } }))
    await s.start(t)
    const { workloads, services } = s.last.inventory
    assert.deepEqual([...(workloads.find(({ name }) => name === 'far')?.ips ?? [])].sort(), ['10.244.2.2', 'fd00:2::2'])
    const service = services.find(({ name }) => name === 'reviews')
    assert.equal(service?.ports[0]?.endpoints.length, 2)
  })

  test('makes one view of a burst of changes', async (t) => {
    const s = await seen().start(t, 400)
    const [views, version] = [s.views.length, s.last.inventory.version]
    for (let i = 0; i < 40; i++) s.store.create('services', named(`s${i}`, { spec: { ports: [{ port: 80 + i }] } }))
    await s.until(({ inventory }) => inventory.services.length >= 40)
    await sleep(500)
    assert.equal(s.views.length, views + 1)
    assert.equal(s.last.inventory.version, version + 1)
  })

  test('tells an endpoint that comes after a quiet while at once, and what people write when it has settled', async (t) => {
    const s = seen()
    s.service('reviews')
    await s.start(t, 1000)
    await sleep(1100)
    const ready = async (ip: string): Promise<number> => {
      const begunMs = performance.now()
      s.store.modify(SLICES, 'default', 'reviews-s', (slice) => {
        slice['endpoints'] = [{ addresses: [ip], conditions: { ready: true } }]
      })
      const endpoint = (inventory: Inventory) => inventory.services.find(({ name }) => name === 'reviews')?.ports[0]
      await s.until(({ inventory }) => endpoint(inventory)?.endpoints[0]?.address.ip === ip)
      return performance.now() - begunMs
    }
    assert.ok((await ready('10.0.0.1')) < 900)
    const views = s.views.length
    s.virtualService({ hosts: ['reviews'], http: [rule('reviews')] })
    await sleep(300)
    assert.equal(s.views.length, views)
    await s.until((view) => destinationOf(view) === 'reviews')
    assert.equal(s.views.length, views + 1)
  })

  test('a change that changes nothing for the mesh is no view', async (t) => {
    const s = seen()
    s.pod('own', NODE, '10.244.1.2')
    s.service('reviews')
    await s.start(t)
    const views = s.views.length
    s.store.modify('services', 'default', 'reviews', ({ metadata }) => void (metadata.annotations = { note: 'x' }))
    s.store.modify('pods', 'default', 'own', ({ metadata }) => void (metadata.annotations = { note: 'x' }))
    await sleep(200)
    assert.equal(s.views.length, views)
  })

  test('keeps the last good policy while a bad one stands in its place, and says what is wrong', async (t) => {
    const s = seen()
    s.virtualService({ hosts: ['reviews'], http: [rule('good')] })
    await s.start(t)
    assert.equal(destinationOf(s.last), 'good')
    s.virtualService({ hosts: ['reviews'], http: [{ ...rule('bad'), match: [{ uri: { regex: '(' } }] }] })
    const bad = await s.until(({ problems }) => problems.length > 0)
    assert.equal(destinationOf(bad), 'good')
    assert.equal(bad.problems[0]?.field, 'spec.http[0].match[0].uri.regex')
    assert.deepEqual(bad.problems[0]?.object, { kind: 'VirtualService', namespace: 'default', name: 'reviews' })
    s.virtualService({ hosts: ['reviews'], http: [{ ...rule('worse'), timeout: 'soon' }] })
    const worse = await s.until(({ problems }) => problems[0]?.field === 'spec.http[0].timeout')
    assert.deepEqual([destinationOf(worse), worse.problems.length], ['good', 1])
    s.virtualService({ hosts: ['reviews'], http: [rule('better')] })
    const better = await s.until(({ problems }) => problems.length === 0)
    assert.equal(destinationOf(better), 'better')
  })

  test('of what guards pods the last sound version stays, and one that never was opens nothing', async (t) => {
    const s = seen()
    const good = [{ from: [{ source: { namespaces: ['shop'] } }] }, {}]
    const bad = [{ from: [{ source: { namespaces: [''] } }] }, {}]
    s.store.create(AUTHORIZATION_POLICIES, named('known', { spec: { rules: good } }))
    s.store.create(AUTHORIZATION_POLICIES, named('new', { spec: { rules: bad } }))
    s.store.create(REQUEST_AUTHENTICATIONS, named('tokens', { spec: { jwtRules: [{ issuer: 'https://a' }] } }))
    await s.start(t)
    const rules = (name: string) =>
      s.last.inventory.authorizationPolicies
        .find(({ ref }) => ref.name === name)
        ?.rules.map(({ from, when }) =>
          [from, when].flat(2).map(({ attribute, values }) => `${attribute.kind} ${values.join()}`),
        )
    const [wanted, closed] = [
      [['source.namespace shop'], []],
      [['destination.port 0'], []],
    ]
    assert.deepEqual([rules('known'), rules('new')], [wanted, closed])
    assert.equal(s.last.inventory.requestAuthentications[0]?.rules[0]?.issuer, 'https://a')
    assert.deepEqual(
      s.last.problems.map(({ object, field }) => `${object.name} ${field}`),
      ['new spec.rules[0].from[0].source.namespaces[0]'],
    )
    s.store.modify(AUTHORIZATION_POLICIES, 'default', 'known', (object) => void (object.spec = { rules: bad }))
    await s.until(() => s.last.problems.length === 2)
    assert.deepEqual(rules('known'), wanted)
    const dry = { 'istio.io/dry-run': 'true' }
    s.store.modify(AUTHORIZATION_POLICIES, 'default', 'new', (object) => void (object.spec = { rules: good }))
    await s.until(() => s.last.problems.length === 1)
    s.store.modify(AUTHORIZATION_POLICIES, 'default', 'new', ({ metadata }) => void (metadata.annotations = dry))
    await s.until(() => s.last.inventory.authorizationPolicies.some(({ dryRun }) => dryRun))
    assert.deepEqual(rules('new'), wanted)
  })

  test('has nothing in force of a policy that never was good, nor of one that is deleted', async (t) => {
    const s = seen()
    s.virtualService({ hosts: ['reviews'], http: [{ redirect: {} }] })
    await s.start(t)
    assert.deepEqual([s.last.inventory.virtualServices.length, s.last.problems.length], [0, 1])
    s.virtualService({ hosts: ['reviews'], http: [rule('good')] })
    await s.until((view) => destinationOf(view) === 'good')
    s.store.delete(VIRTUAL_SERVICES, 'default', 'reviews')
    const after = await s.until(({ inventory }) => inventory.virtualServices.length === 0)
    assert.deepEqual(after.problems, [])
  })

  test('the mesh’s settings are those of the ConfigMap: the last good ones, and the defaults without it', async (t) => {
    const s = seen()
    const weft = (mesh: string): ObjectDraft => named('weft', { data: { mesh } }, { namespace: 'istio-system' })
    const change = (mesh: string): unknown =>
      s.store.modify('configmaps', 'istio-system', 'weft', (object) => void (object['data'] = { mesh }))
    s.store.create('namespaces', { metadata: { name: 'istio-system' } })
    s.store.create('configmaps', named('weft', { data: { mesh: 'outboundTrafficPolicy: { mode: REGISTRY_ONLY }' } }))
    await s.start(t)
    const modeOf = ({ inventory }: Seeing): string => inventory.mesh.outboundTrafficPolicy
    assert.equal(modeOf(s.last), 'ALLOW_ANY', 'another namespace’s is not the mesh’s')
    s.store.create('configmaps', weft('outboundTrafficPolicy: { mode: REGISTRY_ONLY }'))
    await s.until((view) => modeOf(view) === 'REGISTRY_ONLY')
    change('outboundTrafficPolicy: { mode: NEVER }')
    const bad = await s.until(({ problems }) => problems.length > 0)
    assert.equal(modeOf(bad), 'REGISTRY_ONLY')
    assert.deepEqual(bad.problems[0], {
      object: { kind: 'ConfigMap', namespace: 'istio-system', name: 'weft' },
      field: 'data.mesh.outboundTrafficPolicy.mode',
      reason: 'must be ALLOW_ANY or REGISTRY_ONLY',
    })
    change('accessLogFile: ""')
    const good = await s.until(({ problems }) => problems.length === 0)
    assert.deepEqual([modeOf(good), good.inventory.mesh.accessLog.file], ['ALLOW_ANY', ''])
    assert.equal(good.inventory.rootNamespace, 'istio-system')
    change('rootNamespace: mesh-root')
    await s.until(({ inventory }) => inventory.rootNamespace === 'mesh-root')
    s.store.delete('configmaps', 'istio-system', 'weft')
    await s.until(({ inventory }) => inventory.rootNamespace === 'istio-system')
    assert.deepEqual(s.last.inventory.mesh, DEFAULT_MESH_SETTINGS)
  })

  test('an object that nobody foresaw is a problem of its own, and all others are read', async (t) => {
    const s = seen()
    const odd = [{ host: null }, { host: 'a', trafficPolicy: null, subsets: [null] }, { host: { a: 1 } }]
    odd.forEach((spec, index) => s.store.create(DESTINATION_RULES, named(`odd-${index}`, { spec })))
    s.store.create(DESTINATION_RULES, named('good', { spec: { host: 'reviews', exportTo: null } }))
    await s.start(t)
    assert.deepEqual(
      s.last.inventory.destinationRules.map(({ ref }) => ref.name),
      ['good'],
    )
    assert.deepEqual(new Set(s.last.problems.map(({ object }) => object.name)).size, odd.length)
  })

  test('a pod joins and leaves with what its namespace says', async (t) => {
    const s = seen()
    s.pod('own', NODE, '10.244.1.2')
    s.pod('far', 'node-2', '10.244.2.2')
    s.pod('out', NODE, '10.244.1.3', { annotations: { 'weft.dev/mesh': 'disabled' } })
    await s.start(t)
    const joined = ({ inventory }: Seeing): string =>
      inventory.workloads
        .filter((workload) => workload.joined)
        .map(({ name }) => name)
        .sort()
        .join()
    assert.equal(joined(s.last), '')
    const mesh = (value: string): void =>
      void s.store.modify('namespaces', null, 'default', ({ metadata }) => {
        metadata.annotations = { 'weft.dev/mesh': value }
      })
    mesh('enabled')
    await s.until((view) => joined(view) === 'far,own')
    mesh('disabled')
    await s.until((view) => joined(view) === '')
  })

  test('what a pod asks of its capture and cannot have is told, what is wrong with a namespace once', async (t) => {
    const s = seen()
    const annotations = { 'weft.dev/mesh': 'enabled', 'weft.dev/exclude-outbound-cidrs': '10.0.0.0/8,any' }
    s.store.modify('namespaces', null, 'default', ({ metadata }) => void (metadata.annotations = annotations))
    s.pod('one', NODE, '10.244.1.2')
    s.pod('two', NODE, '10.244.1.3', { annotations: { 'weft.dev/exclude-inbound-ports': '80-90,9090' } })
    s.pod('far', 'node-2', '10.244.2.2', { annotations: { 'weft.dev/exclude-inbound-ports': 'any' } })
    await s.start(t)
    const told = s.last.problems.map(({ object, field }) => [object.kind, object.name, field])
    assert.deepEqual(told.sort(), [
      ['Namespace', 'default', 'metadata.annotations[weft.dev/exclude-outbound-cidrs]'],
      ['Pod', 'two', 'metadata.annotations[weft.dev/exclude-inbound-ports]'],
    ])
    const two = s.last.localPods.find(({ name }) => name === 'two')
    assert.deepEqual(two?.terms.excludeOutboundCidrs, ['10.0.0.0/8'])
    assert.deepEqual(two?.terms.excludeInboundPorts, [9090])
  })

  test('a policy that refuses plaintext closes this node’s pods without an agent, whatever they say, and no others', async (t) => {
    const s = seen()
    const joined = { 'weft.dev/mesh': 'enabled' }
    s.pod('web', NODE, '10.244.1.2', { labels: { app: 'web' }, annotations: joined })
    const wish = { ...joined, 'weft.dev/on-agent-loss': 'open' }
    s.pod('open', NODE, '10.244.1.3', { labels: { app: 'web' }, annotations: wish })
    s.pod('db', NODE, '10.244.1.4', { labels: { app: 'db' } })
    await s.start(t)
    const closed = ({ localPods }: Seeing): string =>
      localPods
        .filter(({ terms }) => terms.onLoss === 'closed')
        .map(({ name }) => name)
        .sort()
        .join()
    assert.equal(closed(s.last), '')
    const { localPods } = s.last
    const selector = { matchLabels: { app: 'web' } }
    const spec = { selector, portLevelMtls: { 8080: { mode: 'STRICT' } } }
    s.store.create(PEER_AUTHENTICATIONS, named('web', { spec }))
    const strict = await s.until((view) => closed(view) === 'open,web')
    assert.notEqual(strict.localPods, localPods)
    assert.deepEqual(
      strict.problems.map(({ object, field }) => [object.name, field]),
      [['open', 'metadata.annotations[weft.dev/on-agent-loss]']],
    )
    assert.deepEqual(
      strict.inventory.peerAuthentications.map(({ ref, ports }) => [ref.name, ports]),
      [['web', [{ port: 8080, mode: 'STRICT' }]]],
    )
    s.store.delete(PEER_AUTHENTICATIONS, 'default', 'web')
    const after = await s.until((view) => closed(view) === '')
    assert.deepEqual([after.problems, after.inventory.peerAuthentications], [[], []])
    // whose policies are the mesh's is a setting
    s.store.create('namespaces', { metadata: { name: 'istio-system' } })
    s.store.create('namespaces', { metadata: { name: 'mesh-root' } })
    const mesh = { spec: { mtls: { mode: 'STRICT' } } }
    s.store.create(PEER_AUTHENTICATIONS, named('default', mesh, { namespace: 'mesh-root' }))
    await s.until(({ inventory }) => inventory.peerAuthentications.length === 1)
    assert.equal(closed(s.last), '')
    const data = { data: { mesh: 'rootNamespace: mesh-root' } }
    s.store.create('configmaps', named('weft', data, { namespace: 'istio-system' }))
    await s.until((view) => closed(view) === 'db,open,web')
  })

  test('a pod that has ended is no workload of its node any more', async (t) => {
    const s = seen()
    s.pod('job', NODE, '10.244.1.2')
    await s.start(t)
    assert.equal(s.last.localPods.length, 1)
    s.phase('job', 'Succeeded', '10.244.1.2')
    const after = await s.until(({ localPods }) => localPods.length === 0)
    assert.deepEqual(after.inventory.workloads, [])
  })

  test('what did not change is the same object in the next view', async (t) => {
    const s = seen()
    s.service('kept')
    s.service('changed')
    s.virtualService({ hosts: ['reviews'], http: [rule('kept')] })
    await s.start(t)
    const before = s.last.inventory
    s.store.modify('services', 'default', 'changed', (service) => {
      service['spec'] = { ...(service['spec'] as object), ports: [{ name: 'http', port: 81 }] }
    })
    const of = (services: typeof before.services, name: string) => services.find((service) => service.name === name)
    const { inventory } = await s.until((view) => of(view.inventory.services, 'changed')?.ports[0]?.port === 81)
    assert.equal(of(inventory.services, 'kept'), of(before.services, 'kept'))
    assert.notEqual(of(inventory.services, 'changed'), of(before.services, 'changed'))
    assert.equal(inventory.virtualServices[0], before.virtualServices[0])
  })

  test('works without the Istio kinds, and follows them once they are there', async (t) => {
    const s = new Seen()
    s.service('reviews')
    await s.start(t)
    assert.equal(
      s.last.inventory.services.some(({ name }) => name === 'reviews'),
      true,
    )
    const views = s.views.length
    loadDefinitions(s.store, CRDS)
    s.virtualService({ hosts: ['reviews'], http: [rule('late')] })
    await s.until((view) => destinationOf(view) === 'late')
    assert.ok(s.views.length <= views + 2, `${s.views.length - views} views for one change`)
  })

  test('this node and its endpoints are where the labels of nodes say', async (t) => {
    const seen = new Seen()
    const label = (name: string, zone: string): void => {
      const labels = { 'topology.kubernetes.io/region': 'eu', 'topology.kubernetes.io/zone': zone }
      if (seen.store.get('nodes', null, name) === undefined) seen.store.create('nodes', { metadata: { name, labels } })
      else seen.store.modify('nodes', null, name, (node) => void (node.metadata.labels = labels))
    }
    label(NODE, 'a')
    label('far', 'b')
    seen.service('web', { uid: 'u1', ip: '10.1.0.1', node: 'far' }, { uid: 'u2', ip: '10.1.0.2', node: 'unknown' })
    await seen.start(t)
    const zones = ({ inventory }: Seeing): unknown => [
      inventory.locality.zone,
      ...(inventory.services[0]?.ports[0]?.endpoints.map(({ locality }) => locality?.zone ?? null) ?? []),
    ]
    assert.deepEqual(zones(seen.last), ['a', 'b', null])
    assert.equal(seen.last.delta.settings.locality.region, 'eu')
    label('far', 'c')
    await seen.until((view) => JSON.stringify(zones(view)) === '["a","c",null]')
    const before = seen.views.length
    label(NODE, 'd')
    await seen.until((view) => JSON.stringify(zones(view)) === '["d","c",null]')
    assert.equal(seen.views.length, before + 1)
    assert.deepEqual(seen.last.delta.services, { set: [], gone: [] })
  })

  test('goes on where it was when the API server comes back', async (t) => {
    const s = await seen().start(t)
    const port = Number(new URL(s.api.url).port)
    await s.api.close()
    s.service('meanwhile')
    s.api = await startApi({ store: s.store, port })
    const { inventory } = await s.until((view) => view.inventory.services.some(({ name }) => name === 'meanwhile'))
    assert.equal(inventory.services.filter(({ name }) => name === 'meanwhile').length, 1)
  })

  test('an announcement counts as long as the agent that made it is ready', async (t) => {
    const s = new Seen()
    const agents = (ready: boolean): object => ({
      endpoints: [{ addresses: ['10.0.0.9'], conditions: { ready }, targetRef: { kind: 'Pod', name: 'weft-agent-b' } }],
    })
    const labels = { 'kubernetes.io/service-name': 'weft-agent' }
    s.store.create('namespaces', { metadata: { name: 'weft-system' } })
    const metadata = { namespace: 'weft-system', name: 'weft-agent-1', labels }
    s.store.create('endpointslices.discovery.k8s.io', { metadata, addressType: 'IPv4', ports: [], ...agents(true) })
    const annotations = {
      'weft.dev/mesh': 'enabled',
      'weft.dev/captured': 'weft-agent-b',
      'weft.dev/service-account': 'web',
      'weft.dev/addresses': '10.244.9.9',
    }
    s.store.create(
      'pods',
      named('far', { spec: { nodeName: 'elsewhere', containers: [{ name: 'a', image: 'a' }] } }, { annotations }),
    )
    await s.start(t)
    const far = (view: { readonly inventory: Inventory }): Workload | undefined =>
      view.inventory.workloads.find(({ name }) => name === 'far')
    await s.until((view) => far(view)?.agentReady === true)
    assert.deepEqual([far(s.last)?.captured, far(s.last)?.ips], ['weft-agent-b', ['10.244.9.9']])
    const put = (ready: boolean): void => {
      s.store.modify('endpointslices.discovery.k8s.io', 'weft-system', 'weft-agent-1', (slice) =>
        Object.assign(slice, agents(ready)),
      )
    }
    put(false)
    await s.until((view) => far(view)?.agentReady === false)
    assert.deepEqual([far(s.last)?.captured, far(s.last)?.ips], ['weft-agent-b', ['10.244.9.9']])
    put(true)
    await s.until((view) => far(view)?.agentReady === true)
  })

  test('says nothing where it is stopped while its lists are under way', async (t) => {
    const s = await seen().connect(t)
    const starting = s.cluster.start()
    s.cluster.stop()
    await Promise.race([starting, sleep(300)])
    await sleep(100)
    assert.deepEqual(s.views, [])
  })

  test('says nothing after it was stopped', async (t) => {
    const s = await seen().start(t)
    s.store.create('services', named('pending', { spec: { ports: [{ port: 80 }] } }))
    s.cluster.stop()
    const views = s.views.length
    s.store.create('services', named('after', { spec: { ports: [{ port: 80 }] } }))
    await sleep(200)
    assert.equal(s.views.length, views)
  })
})
