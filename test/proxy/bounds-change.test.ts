// What is bounded stays so while rules change, and while tries are given up.

import assert from 'node:assert/strict'
import { closeSync } from 'node:fs'
import { test } from 'node:test'
import { pool } from '../../agent/model/traffic-policy.fixture.ts'
import { type PolicyWish, rule, to, world } from '../../agent/model/world.fixture.ts'
import { MeshError } from '../../agent/model/failure.ts'
import { ask, mesh, readUntil } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: app\r\n\r\n`

function shop(policy: PolicyWish) {
  return world()
    .service('app')
    .pods('app-v1')
    .pods('web', { behind: [] })
    .destinationRule({ name: 'bounds', host: 'app', policy })
}

test('a connection from before its host was bounded is not kept beside those that count', async (t) => {
  const node = mesh(t, shop({ pool: pool({ maxRequests: 100 }) }))
  let answer = (): void => {}
  const ports = new Set<number | undefined>()
  await node.http('app-v1-1', (request, response) => {
    ports.add(request.socket.remotePort)
    if (request.url === '/held') answer = () => response.end('held')
    else response.end('ok')
  })
  const socket = await node.dial('web-1', APP)
  socket.write(get('/held'))
  await node.until(() => ports.size === 1, 'a request')
  node.plane.apply(shop({ pool: pool({ maxRequests: 100, maxConnections: 1 }) }).inventory(50))
  assert.equal((await ask(await node.dial('web-1', APP), get('/'))).status, 200)
  answer()
  await readUntil(socket, (got) => got.endsWith('held'))
  const before = new Set(ports)
  for (let i = 0; i < 3; i++) assert.equal((await ask(socket, get('/'))).status, 200)
  assert.deepEqual(ports, before, 'the one that counts is used')
  const [, second] = [...before]
  assert.ok(second !== undefined && ports.size === 2)
  assert.equal(node.plane.node.pools.idle, 1)
})

test('a connection that its try does not wait for any more is not made any more', async (t) => {
  const retries = {
    ...{ attempts: 2, perTryMs: 40, on: ['5xx' as const], statuses: [], backoffMs: 1 },
    ...{ ignorePrevious: null, remoteLocalities: null },
  }
  const places = shop({ pool: pool({ maxConnections: 1 }) })
  places.virtualService({ hosts: ['app'], http: [rule({ retries, destinations: [to('app')] })] })
  let [now, most, all] = [0, 0, 0]
  const node = mesh(t, places, {
    connect: (fd, _, { begun }) =>
      new Promise((_resolve, reject) => {
        all++
        most = Math.max(most, ++now)
        begun?.(() => {
          now--
          closeSync(fd)
          reject(new MeshError('CONNECT_TIMEOUT', 'given up'))
        })
      }),
  })
  assert.equal((await ask(await node.dial('web-1', APP), get('/'))).status, 504)
  assert.deepEqual([now, most, all], [0, 1, 3])
  const socket = await node.dial('web-1', APP)
  socket.write(get('/'))
  await node.until(() => now === 1, 'a try')
  socket.destroy()
  await node.until(() => now === 0, 'its end')
})
