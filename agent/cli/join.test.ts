import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Ending, status, ToldApi } from '../kube/api.fixture.ts'
import { object } from '../kube/objects.fixture.ts'
import type { KubeObject, Metadata, Pod } from '../kube/object.ts'
import type { Plan } from '../model/joining/plan.ts'
import { Agents, sliceOf } from './agents.fixture.ts'
import { carryOut, joinWishOf, type JoinWish } from './join.ts'

const SHOP = '/api/v1/namespaces/shop'
const LEASE = '/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-controller'
const pod = (name: string, more: Partial<Metadata> = {}, spec: Pod['spec'] = { nodeName: 'node-1' }): Pod =>
  object<Pod>({ name, namespace: 'shop', ...more }, { spec, status: { phase: 'Running' } })
const captured = (name: string): Pod => pod(name, { annotations: { 'weft.dev/captured': 'weft-node-1' } })
const lease = (renewedMs: number): KubeObject =>
  object(
    { name: 'weft-controller' },
    { spec: { holderIdentity: 'a', leaseDurationSeconds: 15, renewTime: new Date(renewedMs).toISOString() } },
  )

/** A cluster with an agent on node-1, and a namespace `shop` with these pods. */
async function cluster(t: Ending, pods: readonly Pod[], shop: Partial<Metadata> = {}) {
  const api = new ToldApi()
  const agents = new Agents(t)
  const client = agents.client(await api.start(t))
  const namespace = object({ name: 'shop', namespace: '', ...shop })
  api.answers.set(SHOP, { status: 200, body: namespace })
  api.lists('/api/v1/namespaces', '1', namespace)
  for (const path of ['/api/v1/services', '/api/v1/namespaces/istio-system/configmaps']) api.lists(path, '1')
  const slice = sliceOf(['node-1'])
  const labels = { 'kubernetes.io/service-name': 'weft-agent' }
  api.lists('/apis/discovery.k8s.io/v1/endpointslices', '1', { ...slice, metadata: { ...slice.metadata, labels } })
  api.lists('/apis/discovery.k8s.io/v1/namespaces/weft-system/endpointslices', '1', slice)
  api.lists('/api/v1/nodes', '1', object({ name: 'node-1', namespace: '' }))
  api.lists('/api/v1/pods', '1', ...pods)
  api.lists(`${SHOP}/pods`, '1', ...pods)
  api.answers.set(LEASE, { status: 200, body: lease(Date.now()) })
  return { api, agents, client }
}

const wishOf = (given: object = {}, deed: JoinWish['deed'] = 'join'): JoinWish =>
  joinWishOf(deed, { namespace: 'shop', output: 'json', timeout: 0.05, ...given })

/** What the agent of node-1 says of a pod of `shop`. */
const told = (name: string, state: string, reason: string | null) => {
  const pod = { namespace: 'shop', name, uid: `uid-shop-${name}`, ips: [], state, reason, onLoss: 'open' }
  const pods = [{ ...pod, olderConnections: 0, modes: { others: 'PERMISSIVE', ports: {} }, certificate: null }]
  return { code: 200, body: { node: 'node-1', agent: 'weft-node-1', version: '1', state: 'ready', reasons: [], pods } }
}

type Cluster = Awaited<ReturnType<typeof cluster>>

async function ranBy({ client }: Cluster, wish: JoinWish, heard: (line: string) => void = () => undefined) {
  const lines: string[] = []
  let text = ''
  const progress = (line: string): void => {
    lines.push(line)
    heard(line)
  }
  const code = await carryOut(wish, client, { out: (more) => (text += more), progress })
  return { code, text, lines, plan: (wish.output === 'json' ? JSON.parse(text) : null) as Plan & { outcome: unknown } }
}

test('a dry run only reads', async (t) => {
  const at = await cluster(t, [pod('a'), pod('b', {}, { nodeName: 'node-2' })])
  const { code, plan } = await ranBy(at, wishOf({ 'dry-run': true }))
  assert.equal(code, 1)
  assert.deepEqual(
    plan.pods.map(({ name, kind, reason }) => [name, kind, reason]),
    [
      ['a', 'changes', null],
      ['b', 'cannot', 'no agent on its node'],
    ],
  )
  assert.deepEqual([...new Set(at.api.asks.map(({ method }) => method))], ['GET'])
})

test('the annotation alone is written, once; then pods are waited for', async (t) => {
  const at = await cluster(t, [captured('a')])
  const { code, plan, lines } = await ranBy(at, wishOf())
  assert.equal(code, 0)
  const writes = at.api.asks.filter(({ method }) => method !== 'GET')
  assert.deepEqual(
    writes.map(({ method, path, body }) => [method, path, JSON.parse(body)]),
    [['PATCH', SHOP, { metadata: { annotations: { 'weft.dev/mesh': 'enabled' } } }]],
  )
  assert.deepEqual(lines, ['1 of 1 pods captured'])
  assert.equal((plan.outcome as { complete: boolean }).complete, true)
})

test('who leaves loses annotation and label where both join it', async (t) => {
  const words = { 'weft.dev/mesh': 'enabled' }
  const at = await cluster(t, [captured('a')], { annotations: words, labels: words })
  await ranBy(at, wishOf({ wait: false }, 'leave'))
  const [write] = at.api.asks.filter(({ method }) => method === 'PATCH')
  assert.deepEqual(JSON.parse(write?.body ?? ''), {
    metadata: { annotations: { 'weft.dev/mesh': null }, labels: { 'weft.dev/mesh': null } },
  })
})

test('pods that do not follow in time are exit code 1, and named; without waiting nobody asks', async (t) => {
  const at = await cluster(t, [pod('slow')])
  at.agents.token = null // who proves himself by a certificate has nothing to show to agents
  const { code, text } = await ranBy(at, wishOf({ output: 'text' }))
  assert.equal(code, 1)
  assert.match(
    text,
    /\n0 of 1 pods captured after 0\.\d s\n {2}slow: its agent has not announced to have captured it\n$/,
  )
  assert.equal((await ranBy(await cluster(t, [pod('slow')]), wishOf({ wait: false }))).code, 0)
})

test('an agent that may be asked says why a pod is late', async (t) => {
  const at = await cluster(t, [pod('slow')])
  at.agents.answers.set('weft-node-1', told('slow', 'pending', 'no certificate yet'))
  const { code, text } = await ranBy(at, wishOf({ output: 'text' }))
  assert.deepEqual([code, text.trimEnd().split('\n').at(-1)], [1, '  slow: pending: no certificate yet'])
})

test('who leaves is waited for until its agent no longer takes what dials it', async (t) => {
  const shop = { annotations: { 'weft.dev/mesh': 'enabled' } }
  const leaving = async () => {
    const at = await cluster(t, [captured('a')], shop)
    const gone = { status: 200, body: { metadata: { resourceVersion: '1' }, items: [pod('a')] } }
    const there = { status: 200, body: { metadata: { resourceVersion: '1' }, items: [captured('a')] } }
    at.api.answers.set(`${SHOP}/pods`, [there, ...Array.from({ length: 9 }, () => gone)])
    at.agents.answers.set('weft-node-1', told('a', 'leaving', null))
    return at
  }
  const late = await ranBy(await leaving(), wishOf({ output: 'text' }, 'leave'))
  assert.deepEqual([late.code, /\n0 of 1 pods released .*\n {2}a: leaving: /.test(late.text)], [1, true])
  const at = await leaving()
  const letGo = (line: string): void => {
    if (line.includes('still taken')) at.agents.answers.set('weft-node-1', told('other', 'captured', null))
  }
  const { code, lines } = await ranBy(at, wishOf({ timeout: 20 }, 'leave'), letGo)
  assert.deepEqual([code, lines.at(-1)], [0, 'what dials 1 of them is still taken, for some seconds'])
})

test('an agent that does not answer is not taken for one that lets go', async (t) => {
  const at = await cluster(t, [pod('a')], { annotations: { 'weft.dev/mesh': 'enabled' } })
  const list = (one: Pod) => ({ status: 200, body: { metadata: { resourceVersion: '1' }, items: [one] } })
  at.api.answers.set(`${SHOP}/pods`, [list(captured('a')), ...Array.from({ length: 9 }, () => list(pod('a')))])
  at.agents.answers.set('weft-node-1', { code: 404, body: '' })
  const { code, lines } = await ranBy(at, wishOf({}, 'leave'))
  assert.equal(code, 0)
  assert.match(lines.at(-1) ?? '', /not all agents say how it stands$/)
})

test('a refusal says which right is missing', async (t) => {
  const forbidden = status(403, 'namespaces "shop" is forbidden: User "kai" cannot do that')
  const noPatch = await cluster(t, [pod('a')])
  const shop = noPatch.api.answers.get(SHOP)
  noPatch.api.answers.set(
    SHOP,
    [shop, forbidden].flat().filter((one) => one !== undefined),
  )
  await assert.rejects(ranBy(noPatch, wishOf()), /^Error: it takes the right to patch namespace shop: .*"kai"/)
  const noGet = await cluster(t, [])
  noGet.api.answers.set(SHOP, forbidden)
  await assert.rejects(ranBy(noGet, wishOf()), /it takes the right to get namespace shop: /)
  const noList = await cluster(t, [])
  noList.api.answers.set('/api/v1/pods', forbidden)
  await assert.rejects(ranBy(noList, wishOf()), /it takes the right to list what the mesh reads: /)
  const noPods = await cluster(t, [])
  noPods.api.answers.set(`${SHOP}/pods`, forbidden)
  await assert.rejects(ranBy(noPods, wishOf()), /it takes the right to list pods in shop: /)
})

test('a namespace that is not there, or goes, is refused', async (t) => {
  const at = await cluster(t, [])
  at.api.answers.set(SHOP, status(404, 'not found'))
  await assert.rejects(ranBy(at, wishOf()), /^Error: there is no namespace shop$/)
  const going = await cluster(t, [], { deletionTimestamp: '2026-01-02T03:04:05Z' })
  await assert.rejects(ranBy(going, wishOf()), /^Error: namespace shop is being deleted$/)
})

test('whether a controller leads: by its lease, with room for clocks; who may not read it does not know', async (t) => {
  const leads = async (answer: Parameters<ToldApi['answers']['set']>[1]): Promise<boolean | null> => {
    const at = await cluster(t, [])
    at.api.answers.set(LEASE, answer)
    return (await ranBy(at, wishOf({ 'dry-run': true }))).plan.controller
  }
  assert.equal(await leads({ status: 200, body: lease(Date.now() - 30_000) }), true)
  assert.equal(await leads({ status: 200, body: lease(Date.now() - 300_000) }), false)
  assert.equal(await leads(status(404, 'no')), false)
  assert.equal(await leads(status(403, 'no')), null)
})

test('static pods, and what the spec says of a container, are seen', async (t) => {
  const mirror = pod('static', { annotations: { 'kubernetes.io/config.mirror': 'a' } })
  const kata = pod('boxed', {}, { nodeName: 'node-1', runtimeClassName: 'kata-qemu' })
  const { plan } = await ranBy(await cluster(t, [mirror, kata]), wishOf({ 'dry-run': true }))
  assert.deepEqual(
    plan.pods.map(({ name, reason }) => [name, reason]),
    [
      ['boxed', 'sandboxed runtimeClass kata-qemu'],
      ['static', 'static pod'],
    ],
  )
})

test('namespaces of the system join by force alone, and leave at any time', () => {
  for (const namespace of ['kube-system', 'weft-system', 'istio-system']) {
    assert.throws(() => wishOf({ namespace }), /must work while the mesh does not/)
    assert.equal(wishOf({ namespace, force: true }).force, true)
    assert.equal(wishOf({ namespace }, 'leave').namespace, namespace)
  }
  assert.throws(() => wishOf({ namespace: 'mesh', 'weft-namespace': 'mesh' }), /of the mesh itself/)
})

test('flags that are amiss are named', () => {
  assert.throws(() => wishOf({ timeout: 0 }), /^Error: --timeout: /)
  assert.throws(() => wishOf({ timeout: NaN }), /^Error: --timeout: /)
  assert.throws(() => wishOf({ timeout: [1, 2] }), /^Error: --timeout: /)
  assert.throws(() => wishOf({ namespace: 'Shop/a' }), /is no name of a namespace/)
  assert.throws(() => wishOf({ token: '' }), /^Error: --token: /)
})
