// What clients other than kubectl rely on, said on the wire: watches, versions, forms of answers, bounds.
import assert from 'node:assert/strict'
import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import type { AddressInfo } from 'node:net'
import type { Api } from '../../lab/api/server.ts'
import type { KubeObject } from '../../lab/api/object.ts'
import type { Store } from '../../lab/api/store.ts'

interface Event {
  readonly type: string
  readonly object: KubeObject
}

const BOOKMARK_MS = 150
const MAPS = '/api/v1/namespaces/default/configmaps'
let store: Store
let api: Api

before(async () => {
  store = createStore({ logLimit: 20 })
  api = await startApi({ store, bookmarkMs: BOOKMARK_MS, watchLimit: 8, bufferLimitBytes: 1024 * 1024 })
})
after(() => api.close())

function map(name: string, labels: Record<string, string> = {}, data: Record<string, string> = {}): KubeObject {
  return store.create('configmaps', { metadata: { name, namespace: 'default', labels }, data })
}

function relabel(name: string, labels: Record<string, string>): void {
  store.modify('configmaps', 'default', name, (object) => void (object.metadata.labels = labels))
}

/** What the tests read of an answer: lists, tables, objects and Statuses. */
interface Body extends KubeObject {
  readonly code: number
  readonly reason: string
  readonly items: readonly KubeObject[]
  readonly rows: readonly { readonly cells: readonly unknown[]; readonly object: KubeObject }[]
}

async function ask(path: string, init: RequestInit & { accept?: string } = {}): Promise<{ code: number; body: Body }> {
  const headers: Record<string, string> = { accept: init.accept ?? 'application/json', ...(init.headers as object) }
  const response = await fetch(api.url + path, { ...init, headers })
  return { code: response.status, body: (await response.json()) as Body }
}

function send(method: string, path: string, body: unknown, media = 'application/json') {
  return ask(path, { method, body: JSON.stringify(body), headers: { 'content-type': media } })
}

/** Collects events of a watch until `close`. */
async function watch(query: string, accept = 'application/json') {
  const abort = new AbortController()
  const response = await fetch(`${api.url}${MAPS}?watch=true&${query}`, { signal: abort.signal, headers: { accept } })
  const events: Event[] = []
  const done = collect(response, events).catch((error: Error) => {
    if (error.name !== 'AbortError') throw error
  })
  return {
    events,
    /** Resolves when the server ended the stream. */
    done,
    async until(count: number): Promise<void> {
      const end = performance.now() + 5000
      while (events.length < count && performance.now() < end) await sleep(10)
      assert.ok(events.length >= count, `${events.length} of ${count} events`)
    },
    seen: () => events.map(({ type, object }) => `${type} ${object.metadata?.name ?? ''}`.trim()),
    async close(): Promise<void> {
      abort.abort()
      await done
    },
  }
}

async function collect(response: Response, events: Event[]): Promise<void> {
  let rest = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) events.push(JSON.parse(line) as Event)
  }
}

describe('watching', () => {
  test('from a list goes on where the list ended', async () => {
    map('before')
    const { metadata } = (await ask(MAPS)).body
    map('after')
    const watched = await watch(`resourceVersion=${metadata.resourceVersion}`)
    store.delete('configmaps', 'default', 'before')
    await watched.until(2)
    assert.deepEqual(watched.seen(), ['ADDED after', 'DELETED before'])
    assert.ok(Number(watched.events[1]!.object.metadata.resourceVersion) > Number(metadata.resourceVersion))
    await watched.close()
    store.delete('configmaps', 'default', 'after')
  })

  test('without a version, or with 0, begins with what is there', async () => {
    map('there')
    for (const query of ['', 'resourceVersion=0']) {
      const watched = await watch(query)
      await watched.until(1)
      assert.deepEqual(watched.seen(), ['ADDED there'])
      await watched.close()
    }
    store.delete('configmaps', 'default', 'there')
  })

  test('with a selector tells of objects that enter and leave it', async () => {
    const watched = await watch(`resourceVersion=${store.version}&labelSelector=app%3Da`)
    map('m', { app: 'b' })
    relabel('m', { app: 'a' })
    relabel('m', { app: 'a', more: 'yes' })
    relabel('m', { app: 'b' })
    relabel('m', { app: 'a' })
    store.delete('configmaps', 'default', 'm')
    await watched.until(5)
    assert.deepEqual(watched.seen(), ['ADDED m', 'MODIFIED m', 'DELETED m', 'ADDED m', 'DELETED m'])
    await watched.close()
  })

  test('from a version that is forgotten is Gone, told inside of the stream', async () => {
    const from = store.version
    for (let at = 0; at < 12; at++) {
      map('churn')
      store.delete('configmaps', 'default', 'churn')
    }
    for (const version of [from, '1', String(Number(store.version) + 1000)]) {
      const watched = await watch(`resourceVersion=${version}`)
      await watched.done
      const { type, object } = watched.events[0]!
      assert.equal(type, 'ERROR')
      assert.deepEqual([object['code'], object['reason'], object['status']], [410, 'Expired', 'Failure'])
    }
  })

  test('has bookmarks for those who ask, from which another watch goes on', async () => {
    const asking = await watch(`resourceVersion=${store.version}&allowWatchBookmarks=true`)
    const plain = await watch(`resourceVersion=${store.version}`)
    await asking.until(2)
    const { type, object } = asking.events.at(-1)!
    assert.deepEqual([type, object.kind, object.metadata.resourceVersion], ['BOOKMARK', 'ConfigMap', store.version])
    assert.deepEqual(plain.events, [])
    await Promise.all([asking.close(), plain.close()])
  })

  test('as a streaming list marks where the list ends', async () => {
    map('listed')
    const watched = await watch('sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan')
    await watched.until(2)
    assert.deepEqual(watched.seen(), ['ADDED listed', 'BOOKMARK'])
    assert.equal(watched.events[1]!.object.metadata.annotations?.['k8s.io/initial-events-end'], 'true')
    await watched.close()
    store.delete('configmaps', 'default', 'listed')
  })

  test('ends when its time is over', async () => {
    const start = performance.now()
    const watched = await watch(`resourceVersion=${store.version}&timeoutSeconds=1`)
    await watched.done
    assert.ok(performance.now() - start > 900)
  })

  test('tells metadata alone to those who want that', async () => {
    const accept = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'
    const watched = await watch(`resourceVersion=${store.version}`, accept)
    map('partial', { app: 'a' }, { secret: 'x' })
    await watched.until(1)
    const { object } = watched.events[0]!
    assert.deepEqual(
      [object.apiVersion, object.kind, object['data']],
      ['meta.k8s.io/v1', 'PartialObjectMetadata', undefined],
    )
    assert.equal(object.metadata.labels?.['app'], 'a')
    await watched.close()
    store.delete('configmaps', 'default', 'partial')
  })

  test('has a bound on how many, and a place is free again when a client leaves', async () => {
    const open = []
    for (let at = 0; at < 8; at++) open.push(await watch(`resourceVersion=${store.version}`))
    const { code, body } = await ask(`${MAPS}?watch=true`)
    assert.deepEqual([code, body.reason], [429, 'TooManyRequests'])
    await Promise.all(open.map((each) => each.close()))
    await sleep(50)
    const again = await watch(`resourceVersion=${store.version}`)
    await again.close()
  })

  test('cuts off a client that does not read, and only that one', async () => {
    const reader = await watch(`resourceVersion=${store.version}`)
    const abort = new AbortController()
    const idle = await fetch(`${api.url}${MAPS}?watch=true&resourceVersion=${store.version}`, { signal: abort.signal })
    const connections = (): Promise<number> =>
      new Promise((resolve) => api.server.getConnections((_error, count) => resolve(count)))
    const before = await connections()
    const large = 'x'.repeat(500_000)
    for (let at = 0; at < 40; at++) {
      map('large', {}, { large })
      store.delete('configmaps', 'default', 'large')
      await sleep(5)
    }
    await reader.until(80)
    assert.ok((await connections()) < before)
    abort.abort()
    await idle.body?.cancel().catch(() => {})
    await reader.close()
  })
})

describe('answers', () => {
  test('come as object, table or metadata, as the first form the client names that there is', async () => {
    map('formed', { app: 'a' })
    const plain = await ask(MAPS)
    assert.deepEqual([plain.body.kind, plain.body.items.length], ['ConfigMapList', 1])
    const table = await ask(MAPS, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' })
    assert.deepEqual([table.body.kind, table.body.rows[0]?.cells[0]], ['Table', 'formed'])
    assert.equal(table.body.rows[0]?.object.kind, 'PartialObjectMetadata')
    const whole = await ask(`${MAPS}?includeObject=Object`, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' })
    assert.equal(whole.body.rows[0]?.object.kind, 'ConfigMap')
    const partial = await ask(MAPS, { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' })
    assert.deepEqual(
      [partial.body.kind, partial.body.items[0]?.kind],
      ['PartialObjectMetadataList', 'PartialObjectMetadata'],
    )
    const neither = await ask(MAPS, { accept: 'application/vnd.kubernetes.protobuf' })
    assert.deepEqual([neither.code, neither.body.reason], [406, 'NotAcceptable'])
    store.delete('configmaps', 'default', 'formed')
  })

  test('name what is wrong with a request, as a Status', async () => {
    for (const [path, code, reason] of [
      ['/api/v1/nothing', 404, 'NotFound'],
      ['/apis/apps/v2/deployments', 404, 'NotFound'],
      ['/api/v1/pods/name-without-namespace', 404, 'NotFound'],
      ['/api/v1/namespaces/default/namespaces/x', 404, 'NotFound'],
      ['/%ff', 404, 'NotFound'],
      [`${MAPS}?labelSelector=a+b+c`, 400, 'BadRequest'],
      [`${MAPS}?fieldSelector=data.x%3Dy`, 400, 'BadRequest'],
      [`${MAPS}?resourceVersion=abc`, 400, 'BadRequest'],
      [`${MAPS}?continue=abc`, 410, 'Expired'],
      [`${MAPS}?resourceVersion=99999999999999`, 504, 'Timeout'],
    ] as const) {
      const { code: given, body } = await ask(path)
      assert.deepEqual([given, body.kind, body.code, body.reason], [code, 'Status', code, reason], path)
    }
  })

  test('refuse bodies that are wrong, too large or for another object', async () => {
    const named = (name: string, more: object = {}): object => ({ metadata: { name }, ...more })
    assert.equal((await send('POST', MAPS, 'text')).code, 400)
    assert.equal(
      (await ask(MAPS, { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } })).code,
      400,
    )
    assert.equal((await send('POST', MAPS, named('a', { apiVersion: 'v2' }))).code, 400)
    assert.equal((await send('POST', MAPS, named('a', { kind: 'Secret' }))).code, 400)
    assert.equal((await send('POST', MAPS, { metadata: { name: 'a', namespace: 'other' } })).code, 400)
    assert.equal((await send('POST', '/api/v1/configmaps', named('a'))).code, 405)
    assert.equal((await send('POST', MAPS, named('a'), 'text/plain')).code, 415)
    assert.equal((await send('POST', `${MAPS}?dryRun=Some`, named('a'))).code, 400)
    const big = await send('POST', MAPS, named('a', { data: { x: 'x'.repeat(4 * 1024 * 1024) } }))
    assert.deepEqual([big.code, big.body.reason], [413, 'RequestEntityTooLarge'])
    assert.equal((await send('PUT', `${MAPS}/a`, named('b'))).code, 400)
    assert.equal((await send('PUT', `${MAPS}/a`, named('a'))).code, 404)
    assert.deepEqual(store.list('configmaps'), [])
  })

  test('hold writers to the version they read', async () => {
    const first = map('contested')
    const changed = (await send('PUT', `${MAPS}/contested`, { ...first, data: { a: '1' } })).body
    const late = await send('PUT', `${MAPS}/contested`, { ...first, data: { a: '2' } })
    assert.deepEqual([late.code, late.body.reason], [409, 'Conflict'])
    const patch = { metadata: { resourceVersion: first.metadata.resourceVersion }, data: { a: '3' } }
    assert.equal((await send('PATCH', `${MAPS}/contested`, patch, 'application/merge-patch+json')).code, 409)
    assert.equal((await ask(`${MAPS}/contested`)).body.metadata.resourceVersion, changed.metadata.resourceVersion)
    store.delete('configmaps', 'default', 'contested')
  })

  test('a strategic patch of a custom resource is refused, as a cluster does', async () => {
    store.create('customresourcedefinitions.apiextensions.k8s.io', {
      metadata: { name: 'things.example.com' },
      spec: {
        ...{ group: 'example.com', scope: 'Cluster', names: { plural: 'things', kind: 'Thing' } },
        versions: [{ name: 'v1', served: true, storage: true }],
      },
    })
    store.create('things.example.com', { metadata: { name: 't' } })
    const path = '/apis/example.com/v1/things/t'
    assert.equal((await send('PATCH', path, {}, 'application/strategic-merge-patch+json')).code, 415)
    assert.equal((await send('PATCH', path, { spec: { a: 1 } }, 'application/merge-patch+json')).body.spec.a, 1)
  })

  test('pods are bound and evicted through their subresources', async () => {
    store.create('pods', {
      metadata: { name: 'p', namespace: 'default' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    })
    const path = '/api/v1/namespaces/default/pods/p'
    assert.equal((await send('POST', `${path}/binding`, { target: { name: 'node-1' } })).code, 201)
    assert.equal((await send('POST', `${path}/binding`, { target: { name: 'node-2' } })).code, 409)
    assert.equal(store.get('pods', 'default', 'p')?.spec.nodeName, 'node-1')
    assert.equal((await send('POST', `${path}/eviction`, { deleteOptions: { gracePeriodSeconds: 0 } })).code, 201)
    assert.equal(store.get('pods', 'default', 'p'), undefined)
  })
})

describe('the server', () => {
  test('serves connections of sockets that others listen on', async () => {
    const listening = createServer()
    listening.listen(0, '127.0.0.2')
    await once(listening, 'listening')
    const { address, port } = listening.address() as AddressInfo
    const detach = api.attach(listening)
    const response = await fetch(`http://${address}:${port}/readyz`)
    assert.equal(await response.text(), 'ok')
    detach()
    listening.close()
  })

  test('survives clients that leave in the middle of a body, a list or a watch', async () => {
    const { port } = new URL(api.url)
    const head = `HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`
    for (const text of [
      `POST ${MAPS} ${head}Content-Length: 100\r\n\r\n{"metadata"`,
      `POST ${MAPS} ${head}Content-Length: 9\r\n\r\nnot json!`,
      `GET ${MAPS} ${head}\r\n`,
      `GET ${MAPS}?watch=true ${head}\r\n`,
      'no http at all\r\n\r\n',
    ]) {
      const socket = connect(Number(port), '127.0.0.1')
      await once(socket, 'connect')
      socket.write(text)
      await sleep(20)
      socket.resetAndDestroy()
    }
    map('after')
    store.delete('configmaps', 'default', 'after')
    await sleep(50)
    assert.equal((await ask(MAPS)).code, 200)
  })

  test('closes with watches open', async () => {
    const other = await startApi({ store: createStore() })
    const response = await fetch(`${other.url}/api/v1/pods?watch=true`)
    const read = response.text()
    await other.close()
    await read.catch(() => {})
    await assert.rejects(fetch(`${other.url}/readyz`))
  })
})
