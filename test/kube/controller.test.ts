// `weft controller` as a user runs it: replicas as processes against the lab's Kubernetes API, over HTTP.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeObject } from '../../lab/api/object.ts'
import {
  AUTHORIZATION_POLICIES,
  Cluster,
  DESTINATION_RULES,
  LEASES,
  PEER_AUTHENTICATIONS,
  until,
  VIRTUAL_SERVICES,
} from './replica.ts'

const HOST = 'reviews.shop.svc.cluster.local'
const route = (host = 'reviews') => ({ route: [{ destination: { host } }] })
const reviews = (...http: object[]) => ({ hosts: [HOST], http: http.length > 0 ? http : [route()] })
/** A CRD as older charts have it: without the status subresource. */
const withoutStatus = (crds: string): string =>
  crds
    .replace('      subresources: &subresources { status: {} }\n', '')
    .replaceAll('      subresources: *subresources\n', '')

void describe('weft controller', { concurrency: 2 }, () => {
  test('says of every object whether it is accepted, overridden and honoured, and takes back what holds no more', async (t) => {
    const cluster = await Cluster.start(t)
    cluster.apply(VIRTUAL_SERVICES, 'good', { hosts: ['good'], http: [route('good')] })
    cluster.apply(VIRTUAL_SERVICES, 'old', reviews())
    await sleep(1100) // creationTimestamps count whole seconds
    cluster.apply(VIRTUAL_SERVICES, 'a-young', reviews({ ...route(), match: [{ statPrefix: 'a' }] }))
    cluster.apply(VIRTUAL_SERVICES, 'bad', { hosts: ['bad'], http: [{ ...route(), match: [{ uri: { regex: '(' } }] }] })
    const http = { maxConcurrentStreams: 1 }
    cluster.apply(DESTINATION_RULES, 'pool', { host: 'good', trafficPolicy: { connectionPool: { http } } })
    const said = (name: string) => cluster.said(VIRTUAL_SERVICES, name)
    await cluster.replica(t, 'one')
    await until('all to be said', () =>
      [said('good'), said('old'), said('a-young'), said('bad'), cluster.said(DESTINATION_RULES, 'pool')].every(
        (each) => 'Accepted' in each,
      ),
    )
    assert.deepEqual(Object.keys(said('good')), ['Accepted'])
    assert.deepEqual(Object.keys(said('old')), ['Accepted'])
    const young = said('a-young')
    assert.equal(young['Conflicted']?.reason, 'Overridden')
    assert.match(
      young['Conflicted']?.message ?? '',
      /^reviews\.shop\.\S+: VirtualService shop\/old is in force instead$/,
    )
    assert.match(young['PartiallyHonoured']?.message ?? '', /^spec\.http\[0\]\.match\[0\]\.statPrefix: /)
    assert.deepEqual([young['Accepted']?.status, young['Accepted']?.observedGeneration], ['True', 1])
    const bad = said('bad')['Accepted']
    assert.deepEqual([bad?.status, bad?.reason], ['False', 'Rejected'])
    assert.match(bad?.message ?? '', /^spec\.http\[0\]\.match\[0\]\.uri\.regex: /)
    assert.match(
      cluster.said(DESTINATION_RULES, 'pool')['PartiallyHonoured']?.message ?? '',
      /^spec\.trafficPolicy\.connectionPool\.http\.maxConcurrentStreams: /,
    )

    cluster.apply(VIRTUAL_SERVICES, 'a-young', { hosts: ['other'], http: [route('other')] })
    cluster.apply(VIRTUAL_SERVICES, 'bad', { hosts: ['bad'], http: [route('bad')] })
    await until(
      'taken back',
      () => said('a-young')['Conflicted']?.status === 'False' && said('bad')['Accepted']?.status === 'True',
    )
    const after = said('a-young')
    assert.deepEqual([after['PartiallyHonoured']?.status, after['PartiallyHonoured']?.observedGeneration], ['False', 2])
    assert.equal(after['Accepted']?.lastTransitionTime, young['Accepted']?.lastTransitionTime)
  })

  test('leaves others’ conditions and fields, and does not write for its own writes’ sake', async (t) => {
    const cluster = await Cluster.start(t)
    cluster.apply(VIRTUAL_SERVICES, 'reviews', reviews({ ...route(), match: [{ statPrefix: 'a' }] }))
    const reconciled = { type: 'Reconciled', status: 'True', reason: 'Pushed' }
    const status = { observedGeneration: 1, validationMessages: ['x'], conditions: [reconciled] }
    cluster.store.modify(VIRTUAL_SERVICES, 'shop', 'reviews', (object) => void (object.status = status), {
      subresource: 'status',
    })
    const replica = await cluster.replica(t, 'one')
    await until('said', () => 'PartiallyHonoured' in cluster.said(VIRTUAL_SERVICES, 'reviews'))
    const written = cluster.get(VIRTUAL_SERVICES, 'reviews')
    assert.deepEqual({ ...written?.status, conditions: written?.status.conditions.slice(0, 1) }, status)
    await sleep(500)
    assert.equal(cluster.get(VIRTUAL_SERVICES, 'reviews')?.metadata.resourceVersion, written?.metadata.resourceVersion)
    assert.equal(await replica.metric('weft_controller_writes_total{to="status"}'), 1)
    assert.deepEqual(
      [await replica.metric('weft_controller_write_errors_total'), await replica.metric('weft_controller_pending')],
      [0, 0],
    )
    // another writer takes ours away: they are written again
    cluster.store.modify(VIRTUAL_SERVICES, 'shop', 'reviews', (object) => void (object.status = status), {
      subresource: 'status',
    })
    await until('said again', () => 'PartiallyHonoured' in cluster.said(VIRTUAL_SERVICES, 'reviews'))
  })

  test('one of two leads; when it is killed the other does within the lease’s time, and writes', async (t) => {
    const cluster = await Cluster.start(t)
    const one = await cluster.replica(t, 'one')
    await until('one leads', () => cluster.holder === 'one')
    const two = await cluster.replica(t, 'two')
    cluster.apply(VIRTUAL_SERVICES, 'first', reviews())
    await until('first is said', () => 'Accepted' in cluster.said(VIRTUAL_SERVICES, 'first'))
    await until('two is ready', async () => (await two.ask('/readyz').catch(() => '')) === 'ready\n')
    assert.deepEqual([await one.metric('weft_controller_leader'), await two.metric('weft_controller_leader')], [1, 0])
    assert.equal(await two.metric('weft_controller_writes_total{to="status"}'), 0)
    await one.end('SIGKILL')
    const killedMs = performance.now()
    cluster.apply(VIRTUAL_SERVICES, 'second', reviews())
    await until('second is said', () => 'Accepted' in cluster.said(VIRTUAL_SERVICES, 'second'))
    const tookMs = performance.now() - killedMs
    assert.equal(cluster.holder, 'two')
    assert.ok(tookMs < 4500, `${tookMs} ms`) // 3 s of lease, a look each 0.2 s, a slow machine
    assert.equal(cluster.store.get(LEASES, 'weft-system', 'weft-controller')?.spec.leaseTransitions, 1)
    t.diagnostic(`taken over after ${Math.round(tookMs)} ms, of a lease of 3000 ms`)
  })

  test('a leader that stood still for longer than its lease does not write when it goes on', async (t) => {
    const cluster = await Cluster.start(t)
    const one = await cluster.replica(t, 'one', '--settle-ms', '0')
    await until('one leads', () => cluster.holder === 'one')
    await until('one is ready', async () => (await one.ask('/readyz')) === 'ready\n')
    one.signal('SIGSTOP')
    await cluster.replica(t, 'two', '--settle-ms', '2000') // leaves it to one, if that would
    for (let index = 0; index < 20; index++) cluster.apply(VIRTUAL_SERVICES, `v${index}`, reviews())
    await until('two leads', () => cluster.holder === 'two')
    one.signal('SIGCONT')
    await until('one follows', async () => (await one.metric('weft_controller_leader')) === 0)
    await until('two has written', () => 'Accepted' in cluster.said(VIRTUAL_SERVICES, 'v19'))
    assert.equal(await one.metric('weft_controller_writes_total{to="status"}'), 0)
  })

  test('a leader that is told to stop lets the lease go: the next one need not wait for its end', async (t) => {
    const cluster = await Cluster.start(t)
    const one = await cluster.replica(t, 'one', '--lease-seconds', '60')
    await until('one leads', () => cluster.holder === 'one')
    const two = await cluster.replica(t, 'two')
    await until('two is ready', async () => (await two.ask('/readyz').catch(() => '')) === 'ready\n')
    await one.end('SIGTERM')
    assert.notEqual(cluster.holder, 'one')
    await until('two leads, long before the lease of a minute would be over', () => cluster.holder === 'two', 20_000)
  })

  test('a leader whose lease was taken writes no more, goes on as a follower, and leads again when it may', async (t) => {
    const cluster = await Cluster.start(t)
    const replica = await cluster.replica(t, 'one')
    await until('it leads', () => cluster.holder === 'one')
    cluster.store.modify(LEASES, 'weft-system', 'weft-controller', ({ spec }) => {
      Object.assign(spec, { holderIdentity: 'stranger', leaseDurationSeconds: 4 })
    })
    await until('it follows', async () => (await replica.metric('weft_controller_leader')) === 0)
    cluster.apply(VIRTUAL_SERVICES, 'reviews', reviews())
    await until('it has judged', async () => (await replica.ask('/snapshot')).includes('"reviews"'))
    await sleep(1000)
    assert.deepEqual([cluster.said(VIRTUAL_SERVICES, 'reviews'), cluster.holder], [{}, 'stranger'])
    await until('it leads again', () => cluster.holder === 'one')
    await until('it writes', () => 'Accepted' in cluster.said(VIRTUAL_SERVICES, 'reviews'))
    await until('its log says so', () => /"leads":true.*"leads":false.*"leads":true/s.test(replica.log))
  })

  test('a leader that cannot reach the API stops writing before its lease is over, and does not end', async (t) => {
    const cluster = await Cluster.start(t)
    const replica = await cluster.replica(t, 'one')
    await until('it leads', () => cluster.holder === 'one')
    const port = Number(new URL(cluster.api.url).port)
    await cluster.api.close()
    await until('it follows', async () => (await replica.metric('weft_controller_leader')) === 0, 4000)
    await cluster.serve(port)
    await until('it leads again', async () => (await replica.metric('weft_controller_leader')) === 1)
    cluster.apply(VIRTUAL_SERVICES, 'reviews', reviews())
    await until('it writes', () => 'Accepted' in cluster.said(VIRTUAL_SERVICES, 'reviews'))
  })

  test('of a kind without a status subresource it tells by Events, each once, counted up by the next replica', async (t) => {
    const cluster = await Cluster.start(t, withoutStatus)
    cluster.apply(VIRTUAL_SERVICES, 'good', { hosts: ['good'], http: [route('good')] })
    cluster.apply(VIRTUAL_SERVICES, 'reviews', reviews({ ...route(), match: [{ statPrefix: 'a' }] }))
    const events = () => cluster.store.list('events', { namespace: 'shop' })
    const one = await cluster.replica(t, 'one')
    await until('told', () => events().length > 0)
    await sleep(600)
    const [event] = events()
    assert.equal(events().length, 1)
    assert.deepEqual(
      [event?.['type'], event?.['reason'], event?.['involvedObject'].name],
      ['Warning', 'PartiallyHonoured', 'reviews'],
    )
    assert.match(event?.['message'], /^spec\.http\[0\]\.match\[0\]\.statPrefix: /)
    assert.equal(event?.['series'], undefined)
    assert.deepEqual(cluster.said(VIRTUAL_SERVICES, 'reviews'), {})
    assert.equal(await one.metric('weft_controller_writes_total{to="event"}'), 1)
    await one.end('SIGTERM')
    await cluster.replica(t, 'two')
    await until('counted up', () => events()[0]?.['series']?.count === 2)
    assert.equal(events().length, 1)
    cluster.apply(VIRTUAL_SERVICES, 'reviews', reviews({ ...route(), match: [{ uri: { regex: '(' } }] }))
    await until('told of what changed', () => events().some(({ reason }) => reason === 'Rejected'))
  })

  test('of the mesh’s settings it tells by Events, and judges by the root namespace that they name', async (t) => {
    const cluster = await Cluster.start(t)
    const settings = (mesh: string): void => {
      const known = cluster.store.get('configmaps', 'istio-system', 'weft')
      if (known !== undefined)
        cluster.store.modify('configmaps', 'istio-system', 'weft', (object) => void (object['data'] = { mesh }))
      else cluster.store.create('configmaps', { metadata: { namespace: 'istio-system', name: 'weft' }, data: { mesh } })
    }
    const overriding = (name: string): string => cluster.said(VIRTUAL_SERVICES, name)['Conflicted']?.message ?? ''
    // of one host, neither in its own namespace: for callers of a third one the root namespace's is in force
    cluster.apply(VIRTUAL_SERVICES, 'client/one', { hosts: ['far.other.svc.cluster.local'], http: [route()] })
    await sleep(1100) // creationTimestamps count whole seconds
    cluster.apply(VIRTUAL_SERVICES, 'shop/two', { hosts: ['far.other.svc.cluster.local'], http: [route()] })
    settings('outboundTrafficPolicy: { mod: REGISTRY_ONLY }')
    const replica = await cluster.replica(t, 'one')
    const notes = () =>
      cluster.store.list('events', { namespace: 'istio-system' }).map(({ reason, message }) => `${reason} ${message}`)
    await until('told', () => notes().length === 1 && overriding('shop/two') !== '')
    assert.match(
      notes().join(),
      /^PartiallyHonoured data\.mesh\.outboundTrafficPolicy\.mod: is not a field that is known/,
    )
    const oldest = overriding('shop/two')
    settings('rootNamespace: shop')
    await until('judged anew', () => overriding('shop/two') !== oldest)
    const rooted = overriding('shop/two')
    assert.match(oldest, /in force only for callers in shop;/)
    assert.match(rooted, /for callers in client VirtualService client\/one is/)
    settings('rootNamespace: [shop]')
    await until('told of what is unsound', () => notes().some((note) => note.startsWith('Rejected ')))
    await sleep(300)
    assert.equal(overriding('shop/two'), rooted, 'the last good one is in force')
    assert.equal(await replica.metric('weft_controller_write_errors_total'), 0)
    assert.equal(cluster.store.get('configmaps', 'istio-system', 'weft')?.status, undefined)
  })

  test('of a PeerAuthentication that is STRICT it says which pods are not captured, as they come and change', async (t) => {
    const cluster = await Cluster.start(t)
    const { store } = cluster
    store.modify('namespaces', null, 'shop', ({ metadata }) => void (metadata.labels = { 'weft.dev/mesh': 'enabled' }))
    const pod = (name: string, phase: string): void => {
      const spec = { nodeName: 'node-1', containers: [{ name: 'app', image: 'app' }] }
      store.create('pods', { metadata: { namespace: 'shop', name, labels: { app: 'web' } }, spec })
      store.modify('pods', 'shop', name, (object) => void (object.status = { phase }), { subresource: 'status' })
    }
    const announce = (name: string, annotations: Record<string, string>): void =>
      void store.modify('pods', 'shop', name, ({ metadata }) => void (metadata.annotations = annotations))
    pod('web-1', 'Running')
    pod('web-2', 'Running')
    pod('job', 'Succeeded')
    const selector = { matchLabels: { app: 'web' } }
    cluster.apply(PEER_AUTHENTICATIONS, 'web', { selector, mtls: { mode: 'STRICT' } })
    cluster.apply(PEER_AUTHENTICATIONS, 'db', { selector: { matchLabels: { app: 'db' } }, mtls: { mode: 'STRICT' } })
    await sleep(1100) // creationTimestamps count whole seconds
    cluster.apply(PEER_AUTHENTICATIONS, 'web-again', { selector, mtls: { mode: 'DISABLE' } })
    const enforced = (name = 'web') => cluster.said(PEER_AUTHENTICATIONS, name)['Enforced']
    const replica = await cluster.replica(t, 'one')
    await until('all are said', () => enforced()?.status === 'False' && enforced('db')?.status === 'True')
    assert.match(enforced()?.message ?? '', /^2 of 2 pods under it are not captured .*: shop\/web-1, shop\/web-2$/)
    assert.equal(enforced('db')?.reason, 'NoPods')
    await until('the younger one loses', () => 'Conflicted' in cluster.said(PEER_AUTHENTICATIONS, 'web-again'))
    assert.deepEqual(Object.keys(cluster.said(PEER_AUTHENTICATIONS, 'web-again')), ['Accepted', 'Conflicted'])
    announce('web-1', { 'weft.dev/captured': 'agent-1' })
    announce('web-2', { 'weft.dev/captured': 'agent-1', 'weft.dev/service-account': 'default' })
    await until('one is captured', () => enforced()?.message.startsWith('1 of 2 pods under it is not') ?? false)
    assert.match(enforced()?.message ?? '', /: shop\/web-1$/)
    const series = 'weft_controller_warnings{kind="PeerAuthentication",condition="Enforced"}'
    assert.equal(await replica.metric(series), 1)
    store.modify('pods', 'shop', 'web-1', (object) => void (object.status = { phase: 'Failed' }), {
      subresource: 'status',
    })
    await until('all are captured', () => enforced()?.status === 'True')
    assert.equal(enforced()?.reason, 'PodsCaptured')
    cluster.apply(PEER_AUTHENTICATIONS, 'web', { selector, mtls: { mode: 'PERMISSIVE' } })
    await until('nothing is demanded', () => enforced() === undefined)
    assert.equal(cluster.said(PEER_AUTHENTICATIONS, 'web')['Accepted']?.status, 'True')
  })

  test('of an AuthorizationPolicy it says what agents make of it, and which pods it does not reach', async (t) => {
    const cluster = await Cluster.start(t)
    const { store } = cluster
    store.modify('namespaces', null, 'shop', ({ metadata }) => void (metadata.labels = { 'weft.dev/mesh': 'enabled' }))
    const spec = { nodeName: 'node-1', containers: [{ name: 'app', image: 'app' }] }
    store.create('pods', { metadata: { namespace: 'shop', name: 'web', labels: { app: 'web' } }, spec })
    const running = (object: KubeObject): void => void (object.status = { phase: 'Running' })
    store.modify('pods', 'shop', 'web', running, { subresource: 'status' })
    const rules = [{ from: [{ source: { namespaces: ['shop'] } }] }]
    cluster.apply(AUTHORIZATION_POLICIES, 'web', { selector: { matchLabels: { app: 'web' } }, rules })
    cluster.apply(AUTHORIZATION_POLICIES, 'edge', {
      targetRef: { kind: 'ServiceEntry', group: 'networking.istio.io', name: 'a' },
    })
    cluster.apply(AUTHORIZATION_POLICIES, 'odd', { rules: [{ when: [{ key: 'weather', values: ['fair'] }] }] })
    const said = (name: string) => cluster.said(AUTHORIZATION_POLICIES, name)
    await cluster.replica(t, 'one')
    await until('all are said', () => ['web', 'edge', 'odd'].every((name) => 'Accepted' in said(name)))
    assert.match(
      said('web')['Enforced']?.message ?? '',
      /^1 of 1 pods under it is not captured and take whatever comes: shop\/web$/,
    )
    assert.deepEqual(Object.keys(said('edge')).sort(), ['Accepted', 'PartiallyHonoured'])
    assert.match(said('edge')['PartiallyHonoured']?.message ?? '', /^spec\.targetRef: has no effect/)
    const { status, message } = said('odd')['Accepted']!
    assert.equal(status, 'False')
    assert.match(message, /^spec\.rules\[0\]\.when\[0\]\.key: 'weather' is no attribute .*such a rule allows nothing\)/)
    const annotations = { 'weft.dev/captured': 'agent-1', 'weft.dev/service-account': 'default' }
    const announce = ({ metadata }: KubeObject): void => void (metadata.annotations = annotations)
    store.modify('pods', 'shop', 'web', announce)
    await until('it is captured', () => said('web')['Enforced']?.status === 'True')
  })

  test('a thousand objects are written no faster than it is told', async (t) => {
    const cluster = await Cluster.start(t)
    for (let index = 0; index < 1000; index++) cluster.apply(VIRTUAL_SERVICES, `v${index}`, reviews())
    const times: number[] = []
    cluster.store.watch(VIRTUAL_SERVICES, ({ type }) => void (type === 'MODIFIED' && times.push(performance.now())))
    const replica = await cluster.replica(t, 'one', '--writes-per-second', '200')
    await until('all are said', () => times.length >= 1000, 30_000)
    const tookMs = times[999]! - times[0]!
    assert.ok(tookMs >= 4990, `a thousand in ${tookMs} ms`)
    await sleep(500)
    assert.equal(times.length, 1000)
    assert.equal(await replica.metric('weft_controller_writes_total{to="status"}'), 1000)
    assert.equal(await replica.metric('weft_controller_warnings{kind="VirtualService",condition="Conflicted"}'), 999)
    t.diagnostic(`1000 objects in ${Math.round(tookMs)} ms at 200 a second`)
  })
})
