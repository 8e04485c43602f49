import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { type AdminPages, BadQuestion, closedGate, type Gate, startAdmin } from './admin.ts'
import { agentStatus } from './status.ts'

const STATUS = agentStatus({
  ...{ node: 'node-1', agent: 'weft-agent-1', version: '0.1.0', pods: [] },
  ...{ unready: 'waiting for the first snapshot', lacks: [] },
})

const PAGES: AdminPages = {
  unready: () => 'waiting for the first snapshot',
  metrics: () => Promise.reject(new Error('no counters')),
  status: () => Promise.resolve(STATUS),
  snapshot: () => '{"version":3}',
}

/** Lets in who shows `Bearer SUBRESOURCE`. */
const GATE: Gate = {
  refuse: (authorization, subresource) => {
    if (authorization === undefined) return Promise.resolve({ status: 401, reason: 'who are you?' })
    const isAllowed = authorization === `Bearer ${subresource}`
    return Promise.resolve(isAllowed ? null : { status: 403, reason: `not for ${authorization}` })
  },
}

interface How {
  readonly address?: string | null
  readonly gate?: Gate
  readonly pages?: AdminPages
}

async function started(t: { after(end: () => void): void }, how: How = {}) {
  const { address = '127.0.0.1', gate = GATE, pages = PAGES } = how
  const server = await startAdmin(pages, gate, { address, port: 0 })
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  const ask = async (path: string, bearer: string | null = null, method = 'GET'): Promise<[number, string]> => {
    const headers: Record<string, string> = bearer === null ? {} : { authorization: `Bearer ${bearer}` }
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers })
    return [response.status, await response.text()]
  }
  return { server, ask, port }
}

test('each page answers by its state, and a page that fails fails alone', async (t) => {
  const { ask } = await started(t)
  assert.deepEqual(await ask('/healthz'), [200, 'ok\n'])
  assert.deepEqual(await ask('/readyz?verbose'), [503, 'waiting for the first snapshot\n'])
  assert.deepEqual(await ask('/status', 'status'), [200, JSON.stringify(STATUS)])
  assert.deepEqual(await ask('/snapshot', 'snapshot'), [200, '{"version":3}'])
  assert.deepEqual(await ask('/snapshot', 'snapshot', 'HEAD'), [200, ''])
  assert.deepEqual(await ask('/metrics'), [500, 'Error: no counters\n'])
  assert.equal((await ask('/healthz', null, 'POST'))[0], 405)
  for (const path of ['/', '/toString', '/status/']) assert.equal((await ask(path))[0], 404, path)
})

test('what tells of the mesh is for whom the gate lets in, page by page', async (t) => {
  const { ask, port } = await started(t)
  for (const path of ['/status', '/snapshot', '/snapshot?x', '/explain?q=1', '/authz?q=1']) {
    assert.deepEqual(await ask(path), [401, 'who are you?\n'], path)
    assert.deepEqual(await ask(path, 'kai'), [403, 'not for Bearer kai\n'], path)
  }
  assert.equal((await ask('/snapshot', 'status'))[0], 403)
  assert.equal((await ask('/status', null, 'HEAD'))[0], 401)
  const { headers } = await fetch(`http://127.0.0.1:${port}/status`)
  assert.equal(headers.get('www-authenticate'), 'Bearer')
})

test('without anybody to ask who it is, only what is open is shown', async (t) => {
  const { ask } = await started(t, { gate: closedGate('no API') })
  assert.deepEqual(await ask('/status', 'status'), [503, 'no API\n'])
  assert.equal((await ask('/healthz'))[0], 200)
})

test('a question is answered, or said to be none; where nothing is explained there is no such page', async (t) => {
  const explain = (question: string): Promise<string> =>
    question === '{}' ? Promise.reject(new BadQuestion('no pod is named')) : Promise.resolve(`[${question}]`)
  const authz = (question: string): Promise<string> => Promise.resolve(`{"asked":${question}}`)
  const { ask } = await started(t, { pages: { ...PAGES, explain, authz } })
  assert.deepEqual(await ask('/explain?q=%7B%22a%22%3A1%7D', 'explain'), [200, '[{"a":1}]'])
  assert.deepEqual(await ask('/explain?q={}', 'explain'), [400, 'no pod is named\n'])
  assert.equal((await ask('/explain', 'explain'))[0], 400)
  assert.deepEqual(await ask('/authz?q=1', 'authz'), [200, '{"asked":1}'])
  assert.equal((await ask('/authz?q=1', 'explain'))[0], 403)
  const without = await started(t)
  assert.equal((await without.ask('/authz?q=1', 'authz'))[0], 404)
  assert.equal((await without.ask('/explain?q=1', 'explain'))[0], 404)
})

test('without an address it answers at those of both families', async (t) => {
  const { port } = await started(t, { address: null })
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const hosts = ['127.0.0.1', ...(own.some(({ address }) => address === '::1') ? ['[::1]'] : [])]
  for (const host of hosts) assert.equal((await fetch(`http://${host}:${port}/healthz`)).status, 200, host)
})

test('connections that cannot be accepted do not end the process', async (t) => {
  const { server, ask } = await started(t)
  for (let i = 0; i < 3; i++) server.emit('error', new Error('accept EMFILE'))
  assert.equal((await ask('/healthz'))[0], 200)
})

test('an address that is taken is told to who starts it', async (t) => {
  const { server } = await started(t)
  const { port } = server.address() as AddressInfo
  await assert.rejects(startAdmin(PAGES, GATE, { address: '127.0.0.1', port }), /EADDRINUSE/)
})
