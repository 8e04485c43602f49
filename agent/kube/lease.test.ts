import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from './api.fixture.ts'
import { KubeError } from './client.ts'
import { Leadership } from './lease.ts'
import { MemoryApi } from './memory-api.fixture.ts'
import type { KubeObject } from './object.ts'

const PATH = '/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-controller'
const TERMS = { namespace: 'weft-system', name: 'weft-controller', durationMs: 1000, renewMs: 600, retryMs: 50 }

type Lease = KubeObject & { readonly spec: Readonly<Record<string, unknown>> }
const leaseIn = (api: MemoryApi): Lease => api.objects.get(PATH) as Lease

function replica(t: TestContext, api: MemoryApi, identity: string, changes: boolean[] = []): Leadership {
  const on = { change: (leads: boolean) => void changes.push(leads), log: { warn: () => undefined } }
  const leadership = new Leadership(api, { ...TERMS, identity }, on)
  leadership.start()
  t.after(() => leadership.stop())
  return leadership
}

test('a lease is made as kubectl and other electors read it, and what others keep in it is kept', async (t) => {
  const api = new MemoryApi()
  const one = replica(t, api, 'one')
  await until(() => one.leads(), 'leadership')
  const { spec } = leaseIn(api)
  assert.match(String(spec['renewTime']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  assert.deepEqual(
    [spec['holderIdentity'], spec['leaseDurationSeconds'], spec['leaseTransitions'], spec['acquireTime']],
    ['one', 1, 0, spec['renewTime']],
  )
  const { metadata } = leaseIn(api)
  api.put(PATH, { ...leaseIn(api), metadata: { ...metadata, labels: { a: 'b' } }, spec: { ...spec, strategy: 'x' } })
  await until(() => leaseIn(api).spec['renewTime'] !== spec['renewTime'], 'a renewal')
  assert.deepEqual([leaseIn(api).metadata.labels, leaseIn(api).spec['strategy']], [{ a: 'b' }, 'x'])
  assert.equal(leaseIn(api).spec['acquireTime'], spec['acquireTime'])
})

test('whoever finds at its renewal that another has the lease leads no more at that moment', async (t) => {
  const api = new MemoryApi()
  const one = replica(t, api, 'one')
  await until(() => one.leads(), 'leadership')
  let ledAfter: boolean | null = null
  api.before = ({ method }) => {
    if (ledAfter !== null || method !== 'replace') return
    api.before = () => undefined
    // between its look and its write, which is then refused
    api.put(PATH, { ...leaseIn(api), spec: { ...leaseIn(api).spec, holderIdentity: 'two' } })
    setTimeout(() => (ledAfter = one.leads()), 10)
  }
  await until(() => ledAfter !== null, 'the moment after')
  assert.deepEqual([ledAfter, one.holder()], [false, 'two'])
})

test('a leader without an API is told that it leads no more when its time is over, not later', async (t) => {
  const api = new MemoryApi()
  const changes: boolean[] = []
  const one = replica(t, api, 'one', changes)
  await until(() => one.leads(), 'leadership')
  api.before = () => {
    throw new KubeError(0, 'connection refused')
  }
  const cutMs = performance.now()
  await until(() => changes.length === 2, 'the end')
  assert.ok(performance.now() - cutMs < TERMS.durationMs, `${performance.now() - cutMs} ms`)
  assert.deepEqual([changes, one.leads()], [[true, false], false])
})

test('with requests and answers lost at random no two lead at one moment, and somebody does in the end', async (t) => {
  const api = new MemoryApi()
  const lossy = (): void => {
    if (Math.random() < 0.4) throw new KubeError(0, 'lost')
  }
  api.before = lossy
  api.after = lossy
  const replicas = ['one', 'two', 'three'].map((identity) => replica(t, api, identity))
  const endMs = performance.now() + 3000
  while (performance.now() < endMs) {
    assert.ok(replicas.filter((each) => each.leads()).length <= 1)
    await sleep(2)
  }
  api.before = () => undefined
  api.after = () => undefined
  await until(() => replicas.some((each) => each.leads()), 'a leader')
  const leader = replicas.find((each) => each.leads())
  await leader?.stop() // lets go, unless its last answer was one of those that were lost: then the lease runs out
  await until(() => replicas.some((each) => each !== leader && each.leads()), 'the next one')
})
