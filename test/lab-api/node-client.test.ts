// The lab's own client of the API: what it makes of a watch that breaks off, and of one that is too old.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { Api, type KubeObject, keepWatching } from '../../lab/node/api.ts'

const POLL_MS = 5
const WAIT_LIMIT_MS = 5_000

/** A server and a client that follows its config maps; `heard` is what it was told, `failures` what went wrong meanwhile. */
async function followed(logLimit: number) {
  const store = createStore({ logLimit })
  const api = await startApi({ store })
  const client = new Api(api.url)
  const stop = new AbortController()
  const heard: string[] = []
  const failures: string[] = []
  const hear =
    (what: string) =>
    ({ metadata }: KubeObject): void =>
      void heard.push(`${what} ${metadata?.name ?? ''}`)
  const failed = (error: Error): void => void failures.push(error.message)
  const watch = { path: '/api/v1/configmaps', put: hear('put'), gone: hear('gone'), failed }
  const ended = keepWatching(client, watch, stop.signal)
  return {
    ...{ api, heard, failures },
    make: (name: string) => store.create('configmaps', { metadata: { name, namespace: 'default' } }),
    remove: (name: string) => store.delete('configmaps', 'default', name),
    hears: async (last: string): Promise<void> => {
      const deadline = Date.now() + WAIT_LIMIT_MS
      while (heard.at(-1) !== last && Date.now() < deadline) await sleep(POLL_MS)
      assert.equal(heard.at(-1), last)
    },
    end: async (): Promise<void> => {
      stop.abort()
      await ended
      client.close()
      await api.close()
    },
  }
}

test('a watch that breaks off goes on where it was: nothing is told twice, nothing gone comes back', async () => {
  const { api, heard, failures, make, remove, hears, end } = await followed(1_000)
  try {
    make('a')
    await hears('put a')
    make('b')
    await hears('put b')
    remove('b')
    await hears('gone b')
    api.server.closeAllConnections()
    make('c')
    await hears('put c')
    assert.deepEqual(heard, ['put a', 'put b', 'gone b', 'put c'])
    assert.equal(failures.length, 1)
  } finally {
    await end()
  }
})

test('a watch from a version that is too old starts over with what is there now', async () => {
  const { api, heard, make, remove, hears, end } = await followed(2)
  try {
    make('a')
    await hears('put a')
    api.server.closeAllConnections()
    for (const name of ['b', 'c', 'd', 'e']) make(name)
    remove('a')
    await hears('put e')
    assert.deepEqual(heard, ['put a', 'gone a', 'put b', 'put c', 'put d', 'put e'])
  } finally {
    await end()
  }
})
