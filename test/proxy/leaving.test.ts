// Endpoints that leave: idle connections to them are closed, their callers are told to go, and nobody waits for the gone.

import assert from 'node:assert/strict'
import { closeSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { MeshError } from '../../agent/model/failure.ts'
import { rule, to, world } from '../../agent/model/world.fixture.ts'
import { ask, type Mesh, mesh } from './mesh.ts'

const REVIEWS = { ip: '10.96.0.1', port: 80 }
const GET = 'GET / HTTP/1.1\r\nHost: reviews\r\n\r\n'
const shop = () => world().service('reviews').pods('reviews-v1').pods('reviews-v2').pods('web', { behind: [] })

test('idle connections to an endpoint that terminates are closed, those to others are kept', async (t) => {
  const mine = shop()
  const node = mesh(t, mine)
  const open = new Map<string, number>()
  for (const pod of ['reviews-v1-1', 'reviews-v2-1']) {
    const server = await node.http(pod, (_, response) => void response.end(pod))
    server.on('connection', (socket) => {
      open.set(pod, (open.get(pod) ?? 0) + 1)
      socket.on('close', () => open.set(pod, (open.get(pod) ?? 0) - 1))
    })
  }
  const socket = await node.dial('web-1', REVIEWS)
  for (let i = 0; i < 50 && open.size < 2; i++) await ask(socket, GET)
  assert.deepEqual([...open.values()], [1, 1])
  mine.end('reviews-v1-1', 'terminates')
  node.apply()
  await node.until(() => open.get('reviews-v1-1') === 0, 'the idle connection is closed')
  for (let i = 0; i < 10; i++) assert.equal((await ask(socket, GET)).body, 'reviews-v2-1')
  assert.equal(open.get('reviews-v2-1'), 1)
})

test('nothing idle is kept to the only endpoint once it terminates, and it is still gone to', async (t) => {
  const mine = world().service('reviews').pods('reviews-v1').pods('web', { behind: [] })
  const node = mesh(t, mine)
  let [open, made] = [0, 0]
  const server = await node.http('reviews-v1-1', (_, response) => void response.end('last'))
  server.on('connection', (socket) => {
    ;[open, made] = [open + 1, made + 1]
    socket.on('close', () => open--)
  })
  const socket = await node.dial('web-1', REVIEWS)
  for (let i = 0; i < 2; i++) await ask(socket, GET)
  assert.deepEqual([open, made], [1, 1])
  mine.end('reviews-v1-1', 'terminates')
  node.apply()
  await node.until(() => open === 0, 'the idle connection is closed')
  for (let i = 0; i < 2; i++) {
    assert.equal((await ask(socket, GET)).body, 'last')
    await node.until(() => open === 0, 'it is closed behind its response')
  }
  assert.equal(made, 3)
})

test('a connection that is busy as its endpoint leaves is closed behind the response', async (t) => {
  const mine = shop()
  const node = mesh(t, mine)
  const held: { pod: string; finish: () => void }[] = []
  let open = 0
  for (const pod of ['reviews-v1-1', 'reviews-v2-1']) {
    const server = await node.http(pod, (_, response) => void held.push({ pod, finish: () => response.end('done') }))
    server.on('connection', (socket) => {
      open++
      socket.on('close', () => open--)
    })
  }
  const answer = ask(await node.dial('web-1', REVIEWS), GET)
  await node.until(() => held.length === 1, 'the request has come')
  mine.end(held[0]!.pod, 'terminates')
  node.apply()
  assert.equal(open, 1)
  held[0]!.finish()
  assert.equal((await answer).body, 'done')
  await node.until(() => open === 0, 'it is closed')
})

test('a pod that is being ended answers with its connection’s last response', async (t) => {
  const mine = shop()
  const node = mesh(t, mine)
  await node.http('reviews-v1-1', (_, response) => void response.end('bye'))
  const socket = await node.reach('reviews-v1-1')
  assert.equal((await ask(socket, GET)).headers['connection'], undefined)
  mine.end('reviews-v1-1', 'terminates')
  node.apply()
  assert.equal((await ask(socket, GET)).headers['connection'], 'close')
})

test('so does one that was dialled itself, on the caller’s side', async (t) => {
  const mine = shop()
  const node = mesh(t, mine, { captured: ['web-1'] })
  let open = 0
  const server = await node.http('reviews-v1-1', (_, response) => void response.end('bye'))
  server.on('connection', (socket) => {
    open++
    socket.on('close', () => open--)
  })
  const socket = await node.dial('web-1', { ip: mine.pod('reviews-v1-1').ips[0]!, port: 8080 })
  assert.equal((await ask(socket, GET)).headers['connection'], undefined)
  mine.end('reviews-v1-1', 'terminates')
  node.apply()
  await node.until(() => open === 0, 'the idle connection is closed')
  assert.equal((await ask(socket, GET)).headers['connection'], 'close')
})

test('a request that waits for a pod that is gone is sent again to another', async (t) => {
  const mine = shop()
  const node = mesh(t, mine)
  let waiting = ''
  for (const pod of ['reviews-v1-1', 'reviews-v2-1']) {
    await node.http(pod, (_, response) => {
      if (waiting === '') waiting = pod
      else response.end(pod)
    })
  }
  const socket = await node.dial('web-1', REVIEWS)
  const answer = ask(socket, GET)
  await node.until(() => waiting !== '', 'a pod has it')
  const other = waiting === 'reviews-v1-1' ? 'reviews-v2-1' : 'reviews-v1-1'
  mine.end(waiting, 'gone')
  node.apply()
  assert.equal((await answer).body, other)
  assert.equal(node.count('weft_retries_total', { why: 'UPSTREAM_RESET' }), 1)
})

test('one that waits for a connection to a pod that is gone is sent to another', async (t) => {
  const mine = shop()
  const pods = ['reviews-v1-1', 'reviews-v2-1']
  const podAt = new Map(pods.map((pod) => [mine.pod(pod).ips[0], pod]))
  const dialled: string[] = []
  let isGivenUp = false
  const node: Mesh = mesh(t, mine, {
    connect: (fd, to, how) => {
      dialled.push(podAt.get(to.ip) ?? to.ip)
      if (dialled.length > 1) return node.connect(fd, to, how)
      // it is dead by now, and with its network nobody is left to refuse
      return new Promise((_resolve, reject) => {
        how?.begun?.(() => {
          isGivenUp = true
          closeSync(fd)
          reject(new MeshError('CONNECT_TIMEOUT', 'given up'))
        })
      })
    },
  })
  for (const pod of pods) await node.http(pod, (_, response) => void response.end(pod))
  const socket = await node.dial('web-1', REVIEWS)
  const answer = ask(socket, GET)
  await node.until(() => dialled.length === 1, 'a pod is dialled')
  const [gone = '', other] = dialled[0] === pods[0] ? pods : pods.toReversed()
  mine.end(gone, 'gone')
  node.apply()
  assert.equal((await answer).body, other)
  assert.deepEqual(dialled, [gone, other])
  assert.ok(isGivenUp)
})

test('nobody dials a pod that went while a request waited for something else', async (t) => {
  const fault = { delay: { percent: 100, ms: 100 }, abort: null }
  const mine = shop().virtualService({ hosts: ['reviews'], http: [rule({ fault, destinations: [to('reviews')] })] })
  let dials = 0
  const node: Mesh = mesh(t, mine, {
    connect: (fd, to, how) => {
      dials++
      return node.connect(fd, to, how)
    },
  })
  for (const pod of ['reviews-v1-1', 'reviews-v2-1']) await node.http(pod, (_, response) => void response.end(pod))
  const socket = await node.dial('web-1', REVIEWS)
  const answer = ask(socket, GET)
  await node.until(() => node.count('weft_proxy_connections_open') === 1, 'the request is there')
  await sleep(30)
  for (const pod of ['reviews-v1-1', 'reviews-v2-1']) mine.end(pod, 'gone')
  node.apply()
  assert.equal((await answer).status, 503)
  assert.equal(dials, 0)
})
