// How TCP connections end, and what is passed on of it: data ahead of a reset, resets behind a half-close, silence.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { world } from '../../agent/model/world.fixture.ts'
import { drainSocket, mesh, type Mesh, readUntil } from './mesh.ts'

const ECHO = { ip: '10.96.0.1', port: 9000 }

function tcpWorld() {
  return world()
    .service('echo', { ports: [{ port: 9000, protocol: 'opaque', targetPort: 8080 }] })
    .pods('echo-v1')
    .pods('web', { behind: [] })
}

interface Ends {
  readonly caller: Socket
  readonly callee: Socket
}

/** A connection through the mesh; neither end closes by itself when the other does. */
async function pair(t: TestContext, node: Mesh): Promise<Ends> {
  const { promise, resolve } = Promise.withResolvers<Socket>()
  await node.tcp('echo-v1-1', resolve)
  const caller = await node.dial('web-1', ECHO)
  ;(caller as { allowHalfOpen: boolean }).allowHalfOpen = true
  const callee = await promise
  t.after(() => callee.destroy())
  return { caller, callee }
}

const SIDES = ['caller', 'callee'] as const
const otherThan = (side: (typeof SIDES)[number]): (typeof SIDES)[number] => (side === 'caller' ? 'callee' : 'caller')

for (const side of SIDES) {
  const other = otherThan(side)

  test(`what the ${side} sent ahead of its reset arrives ahead of it`, async (t) => {
    const node = mesh(t, tcpWorld())
    const ends = await pair(t, node)
    const seen = drainSocket(ends[other])
    ends[side].write(Buffer.alloc(100_000, 7))
    await sleep(20)
    ends[side].resetAndDestroy()
    const { bytes, how } = await seen
    assert.deepEqual([bytes.length, how], [100_000, 'reset'])
  })

  test(`a reset by the ${side} behind its half-close is a reset`, async (t) => {
    const node = mesh(t, tcpWorld())
    const ends = await pair(t, node)
    const ended = new Promise<void>((resolve) => ends[other].once('end', resolve))
    const lost = new Promise<string>((resolve) => {
      ends[other].once('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)))
      ends[other].once('close', () => resolve('close'))
    })
    ends[other].resume()
    ends[side].end('last')
    await ended
    ends[side].resetAndDestroy()
    // it hears of the loss as it writes, as it would without a mesh between
    const writing = setInterval(() => ends[other].write('x'), 5)
    t.after(() => clearInterval(writing))
    assert.match(await lost, /^(ECONNRESET|EPIPE)$/)
    await node.until(() => node.records.length === 1 && node.plane.node.live.size === 0, 'the end')
  })

  test(`a ${side} that resets while it is not read is a reset at the other end in the end`, async (t) => {
    const node = mesh(t, tcpWorld())
    const ends = await pair(t, node)
    ends[other].pause()
    for (let i = 0; i < 16; i++) ends[side].write(Buffer.alloc(1 << 20))
    await sleep(100)
    ends[side].resetAndDestroy()
    await sleep(50)
    assert.equal((await drainSocket(ends[other])).how, 'reset')
    await node.until(() => node.plane.node.live.size === 0, 'the end')
    assert.equal(node.transport.stagedBytes, 0)
  })

  test(`the ${side} hears a reset though it only writes`, async (t) => {
    const node = mesh(t, tcpWorld())
    const ends = await pair(t, node)
    ends[other].resetAndDestroy()
    const lost = new Promise<string>((resolve) =>
      ends[side].once('error', (error: NodeJS.ErrnoException) => resolve(String(error.code))),
    )
    const writing = setInterval(() => ends[side].write('x'), 5)
    t.after(() => clearInterval(writing))
    assert.match(await lost, /^(ECONNRESET|EPIPE)$/)
  })
}

test('both legs ask a silent peer, after a minute, whether it lives', async (t) => {
  const node = mesh(t, tcpWorld())
  const { callee } = await pair(t, node)
  await sleep(20)
  const legs = execFileSync('ss', ['-tnoH', `src ${callee.remoteAddress} or dst ${callee.remoteAddress}`])
  const asking = legs.toString().match(/timer:\(keepalive,(1min|5\d(\.\d+)?sec)/g)
  assert.equal(asking?.length, 2, legs.toString()) // the applications' own sockets do not
})

test('a half-closed connection without a byte for too long is ended, one with bytes is not', async (t) => {
  const node = mesh(t, tcpWorld(), { limits: { idleMs: 200, sweepMs: 20 } })
  const { caller, callee } = await pair(t, node)
  caller.end('question')
  assert.equal(await readUntil(callee, (got) => got === 'question'), 'question')
  for (let i = 0; i < 6; i++) {
    await sleep(80)
    callee.write('.')
  }
  assert.equal(await readUntil(caller, (got) => got.length === 6), '......')
  assert.equal((await drainSocket(caller)).how, 'reset')
  await node.until(() => node.records.length === 1, 'a record')
  assert.equal(node.records[0]?.weft_reason, 'IDLE_TIMEOUT')
})
