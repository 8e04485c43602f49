import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Condition } from '../model/condition.ts'
import type { Verdict } from '../model/verdict.ts'
import { until } from './api.fixture.ts'
import { KubeError } from './client.ts'
import { MemoryApi } from './memory-api.fixture.ts'
import type { KubeObject } from './object.ts'
import { istio } from './objects.fixture.ts'
import type { Judged } from './policies.ts'
import { Reporter, type ReportOptions } from './report.ts'

const COLLECTION = '/apis/networking.istio.io/v1/virtualservices'
const pathOf = (name: string): string => COLLECTION.replace('/virtual', `/namespaces/default/virtual`) + `/${name}`
const EVENTS = '/apis/events.k8s.io/v1/namespaces/default/events'

/** A replica's reporter over an API in memory. */
class Desk {
  readonly api = new MemoryApi()
  readonly warnings: string[] = []
  leads = true
  reporter!: Reporter

  start(t: TestContext, options: Partial<ReportOptions> = {}): this {
    const lease = { deedMs: 1000, leads: () => this.leads }
    const given = { writesPerSecond: 1000, repeatMs: 60_000, instance: 'one', lease, ...options }
    const log = { warn: (_: object, message: string) => void this.warnings.push(message) }
    this.reporter = new Reporter(this.api, given, log)
    this.reporter.start()
    t.after(() => this.reporter.stop())
    return this
  }

  make(name: string, generation = 1): KubeObject {
    return this.api.put(pathOf(name), istio('VirtualService', {}, { name, uid: name, generation }))
  }

  /** Tells the reporter of all objects as they stand, each with the fields that it does not honour. */
  judge(unhonoured: Readonly<Record<string, readonly string[]>>): void {
    this.reporter.want(
      Object.entries(unhonoured).flatMap(([name, fields]): Judged[] => {
        const object = this.api.objects.get(pathOf(name))
        if (object === undefined) return []
        return [{ ...judged(object, fields), path: pathOf(name), collection: COLLECTION }]
      }),
    )
  }

  conditions(name: string): readonly Condition[] {
    return (this.api.objects.get(pathOf(name))?.status as { conditions: Condition[] } | undefined)?.conditions ?? []
  }

  types(name: string): string {
    return this.conditions(name)
      .map(({ type }) => String(type))
      .join()
  }

  async settled(): Promise<void> {
    await until(() => this.reporter.counts().pending === 0, 'an empty queue')
    await sleep(20)
  }
}

function judged(object: KubeObject, fields: readonly string[]): Omit<Judged, 'path' | 'collection'> {
  const ref = { kind: 'VirtualService', namespace: 'default', name: object.metadata.name }
  const unhonoured = fields.map((field) => ({ object: ref, field, reason: 'not honoured' }))
  const verdict: Verdict = { object: ref, rejected: null, unhonoured, losses: [], enforcement: null }
  return { object, verdict, hasStatus: true, apiVersion: 'networking.istio.io/v1' }
}

test('another writer between reading and writing is not overwritten: the list is made anew from his', async (t) => {
  const desk = new Desk().start(t)
  desk.make('a')
  let isFirst = true
  desk.api.before = ({ method }) => {
    if (method !== 'patch' || !isFirst) return
    isFirst = false
    const standing = desk.api.objects.get(pathOf('a')) as KubeObject
    desk.api.put(pathOf('a'), { ...standing, status: { conditions: [{ type: 'Reconciled', status: 'True' }] } })
  }
  desk.judge({ a: ['spec.tls'] })
  await desk.settled()
  assert.equal(desk.types('a'), 'Reconciled,Accepted,PartiallyHonoured')
  assert.deepEqual([desk.api.count('patch'), desk.reporter.counts().statuses], [2, 1])
})

test('an object that changed since it was judged is left until it is judged anew', async (t) => {
  const desk = new Desk().start(t)
  const before = desk.make('a')
  desk.make('a', 2)
  desk.reporter.want([{ ...judged(before, []), path: pathOf('a'), collection: COLLECTION }])
  await desk.settled()
  assert.equal(desk.types('a'), '')
  desk.judge({ a: [] })
  await desk.settled()
  assert.deepEqual(
    desk.conditions('a').map(({ observedGeneration }) => observedGeneration),
    [2],
  )
})

test('what the server does not keep of a condition is written once, not for ever', async (t) => {
  const desk = new Desk().start(t)
  desk.api.keep = (object) => {
    const { conditions = [] } = (object.status ?? {}) as { conditions?: Condition[] }
    return { ...object, status: { conditions: conditions.map(({ observedGeneration: _, ...rest }) => rest) } }
  }
  desk.make('a')
  for (let times = 0; times < 3; times++) {
    desk.judge({ a: [] })
    await desk.settled()
  }
  assert.equal(desk.api.count('patch'), 1)
  desk.judge({ a: ['spec.tls'] })
  await desk.settled()
  assert.deepEqual([desk.api.count('patch'), desk.types('a')], [2, 'Accepted,PartiallyHonoured'])
})

test('an object that the API refuses is left alone until it changes, and keeps no other waiting', async (t) => {
  const desk = new Desk().start(t)
  desk.make('a')
  desk.make('b')
  desk.api.before = ({ method, path }) => {
    if (method === 'patch' && path.includes('/a/')) throw new KubeError(422, 'no such field')
  }
  for (let times = 0; times < 3; times++) {
    desk.judge({ a: [], b: [] })
    await desk.settled()
  }
  assert.deepEqual([desk.types('b'), desk.api.count('patch'), desk.reporter.counts().failures], ['Accepted', 2, 1])
})

test('while the API refuses everything it is asked ever more seldom, and nothing is lost', async (t) => {
  const desk = new Desk().start(t)
  const times: number[] = []
  desk.make('a')
  desk.make('b')
  desk.api.before = ({ method }) => {
    if (method === 'patch' && times.push(performance.now()) <= 2) throw new KubeError(503, 'later')
  }
  desk.judge({ a: [], b: [] })
  await until(() => desk.types('a') !== '' && desk.types('b') !== '', 'both said')
  const [first = 0, second = 0, third = 0] = times
  assert.ok(second - first > 450 && third - second > 900, times.join())
  assert.equal(desk.warnings.length, 2)
})

test('a lease that is lost ends the writing in the middle of a queue, and within one write’s tries', async (t) => {
  const desk = new Desk().start(t)
  for (const name of ['a', 'b', 'c']) desk.make(name)
  desk.api.before = ({ method, path }) => {
    if (method !== 'patch' || !path.includes('/b/')) return
    desk.leads = false
    throw new KubeError(409, 'conflict')
  }
  desk.judge({ a: [], b: [], c: [] })
  await until(() => !desk.leads, 'the loss')
  await sleep(50)
  assert.deepEqual([desk.types('a'), desk.types('c'), desk.api.sent.at(-1)?.method], ['Accepted', '', 'patch'])
  desk.api.before = () => undefined
  desk.leads = true
  desk.reporter.lead(true)
  await until(() => desk.types('b') !== '' && desk.types('c') !== '', 'the rest')
})

test('an object that is going away, or gone, costs nothing', async (t) => {
  const desk = new Desk().start(t)
  const gone = desk.make('gone')
  desk.api.objects.delete(pathOf('gone'))
  const going = istio('VirtualService', {}, { name: 'going', uid: 'going', deletionTimestamp: 't' })
  desk.reporter.want(
    [gone, going].map((object) => ({
      ...judged(object, ['x']),
      path: pathOf(object.metadata.name),
      collection: COLLECTION,
    })),
  )
  await desk.settled()
  assert.deepEqual([desk.api.count('patch'), desk.api.count('create'), desk.reporter.counts().failures], [1, 0, 0])
})

/** A kind whose /status is not there. */
function withoutStatus(desk: Desk): Desk {
  desk.api.before = ({ path }) => {
    if (path.endsWith('/status')) throw new KubeError(404, 'no such resource')
  }
  return desk
}
const seriesOf = (desk: Desk): unknown[] =>
  [...desk.api.objects]
    .filter(([path]) => path.startsWith(EVENTS))
    .map(([, event]) => (event as { series?: { count: number } }).series?.count ?? 1)

test('where there is no status a warning is told once, told anew when it changes, and again when it is old', async (t) => {
  const desk = withoutStatus(new Desk()).start(t, { repeatMs: 600 })
  desk.make('a')
  desk.make('good')
  for (let times = 0; times < 3; times++) {
    desk.judge({ a: ['spec.tls'], good: [] })
    await desk.settled()
  }
  assert.deepEqual([seriesOf(desk), desk.api.count('patch')], [[1], 1])
  desk.judge({ a: ['spec.tcp'], good: [] })
  await desk.settled()
  assert.deepEqual(seriesOf(desk), [1, 1])
  await until(() => seriesOf(desk).includes(2), 'a repetition')
  assert.deepEqual(seriesOf(desk), [1, 2])
})

test('a kind that has no status by nature is told of at once, and nobody asks it for one', async (t) => {
  const desk = new Desk().start(t)
  const object = desk.make('a')
  desk.reporter.want([{ ...judged(object, ['data.a']), hasStatus: false, path: pathOf('a'), collection: COLLECTION }])
  await desk.settled()
  assert.deepEqual([seriesOf(desk), desk.api.count('patch')], [[1], 0])
})

test('no Event has a name that Kubernetes refuses, or a note longer than it takes', async (t) => {
  const desk = withoutStatus(new Desk()).start(t)
  const name = `${'a'.repeat(235)}.${'b'.repeat(17)}`
  desk.make(name)
  desk.judge({ [name]: Array.from({ length: 90 }, (_, index) => `spec.http[${index}].mirror`) })
  await desk.settled()
  const [event] = [...desk.api.objects.values()].filter(({ kind }) => kind === 'Event') as (KubeObject & {
    note: string
  })[]
  assert.match(event?.metadata.name ?? '', /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/)
  assert.ok((event?.metadata.name.length ?? 999) <= 253)
  assert.ok(Buffer.byteLength(event?.note ?? '') <= 1024)
})
