import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { type AdminPages, startAdmin } from './admin.ts'
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

async function started(t: { after(end: () => void): void }, address: string | null = '127.0.0.1') {
  const server = await startAdmin(PAGES, { address, port: 0 })
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  const ask = async (path: string, method = 'GET', host = '127.0.0.1'): Promise<[number, string]> => {
    const response = await fetch(`http://${host}:${port}${path}`, { method })
    return [response.status, await response.text()]
  }
  return { server, ask }
}

test('each page answers by its state, and a page that fails fails alone', async (t) => {
  const { ask } = await started(t)
  assert.deepEqual(await ask('/healthz'), [200, 'ok\n'])
  assert.deepEqual(await ask('/readyz?verbose'), [503, 'waiting for the first snapshot\n'])
  assert.deepEqual(await ask('/status'), [200, JSON.stringify(STATUS)])
  assert.deepEqual(await ask('/snapshot'), [200, '{"version":3}'])
  assert.deepEqual(await ask('/snapshot', 'HEAD'), [200, ''])
  assert.deepEqual(await ask('/metrics'), [500, 'Error: no counters\n'])
  assert.equal((await ask('/healthz', 'POST'))[0], 405)
  assert.equal((await ask('/'))[0], 404)
})

test('without an address it answers at those of both families, and knows its own node by either', async (t) => {
  const { ask } = await started(t, null)
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const hosts = ['127.0.0.1', ...(own.some(({ address }) => address === '::1') ? ['[::1]'] : [])]
  for (const host of hosts) assert.deepEqual(await ask('/snapshot', 'GET', host), [200, '{"version":3}'], host)
})

test('connections that cannot be accepted do not end the process', async (t) => {
  const { server, ask } = await started(t)
  for (let i = 0; i < 3; i++) server.emit('error', new Error('accept EMFILE'))
  assert.equal((await ask('/healthz'))[0], 200)
})

test('an address that is taken is told to who starts it', async (t) => {
  const { server } = await started(t)
  const { port } = server.address() as AddressInfo
  await assert.rejects(startAdmin(PAGES, { address: '127.0.0.1', port }), /EADDRINUSE/)
})
