import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { status, ToldApi, until } from './api.fixture.ts'
import { sources } from './kinds.ts'
import type { KubeObject } from './object.ts'
import { object } from './objects.fixture.ts'
import { Reflector, type ReflectorSource } from './reflector.ts'

const PATH = '/api/v1/services'
const service = (name: string, resourceVersion = '1'): KubeObject => object({ name, resourceVersion })
const SERVICES: ReflectorSource = {
  name: 'services',
  path: () => Promise.resolve(PATH),
  query: {},
  metadataOnly: false,
}

interface Running {
  readonly api: ToldApi
  readonly reflector: Reflector
  readonly warnings: { reason: string; waitMs: number }[]
  readonly changes: () => number
  readonly names: () => string[]
}

/** A reflector of services, running against a server that lists `first`. */
async function reflecting(
  t: TestContext,
  first: readonly KubeObject[],
  prepare: (api: ToldApi) => ReflectorSource | null = () => null,
): Promise<Running> {
  const api = new ToldApi()
  api.lists(PATH, '10', ...first)
  const source = prepare(api) ?? SERVICES
  const client = await api.start(t)
  const warnings: Running['warnings'] = []
  let changes = 0
  const log = { warn: (fields: object) => void warnings.push(fields as Running['warnings'][number]) }
  const reflector = new Reflector(source, client, { change: () => changes++, log })
  const running = reflector.run()
  t.after(async () => {
    reflector.stop()
    await running
  })
  const names = (): string[] => [...reflector.objects.values()].map(({ metadata }) => metadata.name).sort()
  return { api, reflector, warnings, changes: () => changes, names }
}

void describe('a reflector', { concurrency: true }, () => {
  test('lists once and watches from there, with bookmarks', async (t) => {
    const { api, reflector, names } = await reflecting(t, [service('a'), service('b')])
    await reflector.synced
    assert.deepEqual(names(), ['a', 'b'])
    const { resourceVersion, allowWatchBookmarks } = await api.watched(PATH, 1)
    assert.deepEqual([resourceVersion, allowWatchBookmarks], ['10', 'true'])
    assert.equal(api.listed(PATH), 1)
  })

  test('follows what is added, changed and deleted, and tells of each', async (t) => {
    const { api, reflector, names, changes } = await reflecting(t, [service('a')])
    await api.watched(PATH, 1)
    const kept = reflector.objects.get('uid-default-a')
    const before = changes()
    api.send(PATH, 'ADDED', service('b', '11'))
    api.send(PATH, 'MODIFIED', service('b', '12'))
    await until(() => changes() === before + 2, 'two changes')
    assert.equal(reflector.objects.get('uid-default-b')?.metadata.resourceVersion, '12')
    assert.equal(reflector.objects.get('uid-default-a'), kept)
    api.send(PATH, 'DELETED', service('a', '13'))
    await until(() => changes() === before + 3, 'the third change')
    assert.deepEqual(names(), ['b'])
  })

  test('resumes from the last bookmark when the server ends the watch, without a list, a wait or a warning', async (t) => {
    const { api, warnings, changes } = await reflecting(t, [service('a')])
    await api.watched(PATH, 1)
    const before = changes()
    api.send(PATH, 'BOOKMARK', { kind: 'Service', metadata: { resourceVersion: '50' } })
    await sleep(20)
    api.endWatches(PATH)
    assert.equal((await api.watched(PATH, 2))['resourceVersion'], '50')
    assert.deepEqual([api.listed(PATH), warnings.length, changes()], [1, 0, before])
  })

  test('backs off when the connection breaks, then resumes from the last event', async (t) => {
    const { api, warnings, reflector } = await reflecting(t, [service('a')])
    await api.watched(PATH, 1)
    api.send(PATH, 'ADDED', service('b', '33'))
    await until(() => reflector.objects.size === 2, 'the event')
    const brokenMs = performance.now()
    api.breakWatches(PATH)
    assert.equal((await api.watched(PATH, 2))['resourceVersion'], '33')
    const watches = api.asks.filter(({ query }) => query['watch'] === 'true')
    assert.ok(watches[1]!.atMs - brokenMs >= 90, `waited ${watches[1]!.atMs - brokenMs} ms`)
    assert.deepEqual([warnings.length, warnings[0]?.waitMs, api.listed(PATH)], [1, 200, 1])
    api.send(PATH, 'DELETED', service('a', '34'))
    await until(() => reflector.objects.size === 1, 'the event after')
  })

  test('waits as after a first failure when the watch before was a sound one', async (t) => {
    const { api, warnings, reflector } = await reflecting(t, [])
    for (let round = 1; round <= 3; round++) {
      await api.watched(PATH, round)
      api.send(PATH, 'ADDED', service(`s${round}`, `${20 + round}`))
      await until(() => reflector.objects.size === round, 'the event')
      api.breakWatches(PATH)
      await until(() => warnings.length === round, 'the warning')
    }
    assert.deepEqual(
      warnings.map(({ waitMs }) => waitMs),
      [200, 200, 200],
    )
  })

  for (const how of ['as the answer', 'in the stream']) {
    test(`lists anew, at once, where it is too old to resume, told ${how}`, async (t) => {
      const { api, reflector, warnings, changes } = await reflecting(t, [service('a'), service('b')])
      await api.watched(PATH, 1)
      const [kept, replaced] = [reflector.objects.get('uid-default-a'), reflector.objects.get('uid-default-b')]
      const before = changes()
      const gone = status(410, 'too old resource version')
      // the list: a as it was, b changed, c new
      api.lists(PATH, '90', service('a'), service('b', '2'), service('c'))
      if (how === 'in the stream') api.send(PATH, 'ERROR', gone.body)
      else {
        const list = { metadata: { resourceVersion: '90' }, items: [service('a'), service('b', '2'), service('c')] }
        api.answers.set(PATH, [gone, { status: 200, body: list }])
        api.send(PATH, 'BOOKMARK', { metadata: { resourceVersion: '20' } })
        await sleep(20)
        api.endWatches(PATH)
      }
      await until(() => reflector.objects.size === 3, 'the list')
      const watch = await api.watched(PATH, how === 'in the stream' ? 2 : 3)
      assert.equal(watch['resourceVersion'], '90')
      assert.equal(reflector.objects.get('uid-default-a'), kept)
      assert.notEqual(reflector.objects.get('uid-default-b'), replaced)
      assert.equal(changes(), before + 1)
      assert.deepEqual(warnings, [])
    })
  }

  test('a list that brings what was known is no change', async (t) => {
    const { api, reflector, changes } = await reflecting(t, [service('a')])
    await api.watched(PATH, 1)
    const before = changes()
    api.lists(PATH, '90', service('a'))
    api.send(PATH, 'ERROR', status(410, 'gone').body)
    assert.equal((await api.watched(PATH, 2))['resourceVersion'], '90')
    assert.deepEqual([changes(), reflector.objects.size], [before, 1])
  })

  test('what was deleted meanwhile is gone after the next list', async (t) => {
    const { api, names } = await reflecting(t, [service('a'), service('b')])
    await api.watched(PATH, 1)
    api.lists(PATH, '90', service('b'))
    api.send(PATH, 'ERROR', status(410, 'gone').body)
    await until(() => names().length === 1, 'the list')
    assert.deepEqual(names(), ['b'])
  })

  for (const trouble of ['ends every watch at once', 'answers 410 to every watch', 'refuses every list']) {
    test(`does not ask in a loop of a server that ${trouble}`, async (t) => {
      const { api, warnings } = await reflecting(t, [service('a')], (told) => {
        if (trouble === 'ends every watch at once') told.endsWatches = true
        if (trouble === 'refuses every list') told.answers.set(PATH, status(500, 'etcd is away'))
        if (trouble === 'answers 410 to every watch') {
          const list = { status: 200, body: { metadata: { resourceVersion: '1' }, items: [] } }
          told.answers.set(
            PATH,
            Array.from({ length: 400 }, (_, index) => (index % 2 ? status(410, 'gone') : list)),
          )
        }
        return null
      })
      await sleep(1200)
      assert.ok(api.asks.length >= 3 && api.asks.length <= 12, `${api.asks.length} requests in 1.2 s`)
      const waits = warnings.map(({ waitMs }) => waitMs)
      assert.ok(
        waits.length >= 2 && waits.every((ms, index) => index === 0 || ms === waits[index - 1]! * 2),
        waits.join(),
      )
      if (trouble === 'refuses every list') assert.equal(warnings[0]?.reason, 'etcd is away')
    })
  }

  test('asks for metadata alone where no more is wanted, in list and watch', async (t) => {
    const source = { ...SERVICES, metadataOnly: true, query: { labelSelector: 'a=b' } }
    const { api } = await reflecting(t, [], () => source)
    await api.watched(PATH, 1)
    const [list, watch] = api.asks
    assert.match(list!.accept, /as=PartialObjectMetadataList;/)
    assert.match(watch!.accept, /as=PartialObjectMetadata;/)
    assert.deepEqual([list!.query['labelSelector'], watch!.query['labelSelector']], ['a=b', 'a=b'])
  })

  test('a kind that the cluster does not serve is empty, and followed once it is served', async (t) => {
    const group = '/apis/networking.istio.io'
    const path = `${group}/v1beta1/virtualservices`
    const api = new ToldApi()
    const client = await api.start(t)
    let changes = 0
    const on = { change: () => changes++, log: { warn: () => undefined } }
    const reflector = new Reflector(sources(client, 'node-1', 'istio-system').virtualServices, client, on)
    const running = reflector.run()
    t.after(async () => {
      reflector.stop()
      await running
    })
    await reflector.synced
    assert.deepEqual([reflector.objects.size, changes], [0, 0])
    // the newest served version is taken, and one that serves other kinds only is passed over
    const versions = ['v1', 'v1beta1', 'v1alpha3'].map((version) => ({ version }))
    api.answers.set(group, { status: 200, body: { versions } })
    api.answers.set(`${group}/v1`, { status: 200, body: { resources: [{ name: 'sidecars' }] } })
    api.answers.set(`${group}/v1beta1`, { status: 200, body: { resources: [{ name: 'virtualservices' }] } })
    api.lists(path, '5', service('late'))
    await until(() => reflector.objects.size === 1, 'the kind that came late')
    assert.equal((await api.watched(path, 1))['resourceVersion'], '5')
    assert.equal(changes, 1)
    assert.equal(api.listed(`${group}/v1alpha3/virtualservices`), 0)
    // discovery that fails once takes nothing away
    api.answers.delete(group)
    const asked = api.asks.length
    api.endWatches(path)
    await until(() => api.asks.length > asked, 'another look')
    await sleep(100)
    assert.deepEqual([reflector.objects.size, changes], [1, 1])
  })

  test('what can be done without keeps nobody waiting where it is refused, and is followed once it is not', async (t) => {
    const refused = status(403, 'services is forbidden')
    const optional = { ...SERVICES, isOptional: true }
    const { api, reflector, names, warnings } = await reflecting(t, [service('a')], (told) => {
      told.answers.set(PATH, [refused, status(404, 'no such path')])
      return optional
    })
    await reflector.synced
    assert.deepEqual(names(), [])
    await until(() => names().length === 1, 'the list')
    assert.equal(api.listed(PATH), 3)
    assert.equal(warnings.length, 2)
  })

  test('what cannot be done without is waited for, also where it is refused', async (t) => {
    const { reflector, names } = await reflecting(t, [service('a')], (told) => {
      told.answers.set(PATH, [status(403, 'services is forbidden')])
      return SERVICES
    })
    await reflector.synced
    assert.deepEqual(names(), ['a'])
  })

  test('nothing comes after it was stopped, and its run ends', async (t) => {
    const { api, reflector, changes, names } = await reflecting(t, [service('a')])
    await api.watched(PATH, 1)
    const before = changes()
    reflector.stop()
    api.send(PATH, 'ADDED', service('b', '11'))
    await sleep(250)
    assert.deepEqual([changes(), names()], [before, ['a']])
    assert.equal(api.asks.length, 2)
  })
})
