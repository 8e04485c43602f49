// A gigabyte through one connection, and peers that take their time: memory stays where it was.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { world } from '../../agent/model/world.fixture.ts'
import { type Mesh, mesh } from './mesh.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const GB = 2 ** 30
/** What one connection may hold in the mesh: a read, and a write buffer that the kernel has not taken. */
const MOST_STAGED = 512 * 1024
/** Of this whole process: both applications and the mesh between them, garbage not yet collected. */
const MOST_GROWTH = 150 << 20

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const CHUNK = Buffer.alloc(1 << 20, 'x')

function one() {
  return world().service('app').pods('app-v1').pods('web', { behind: [] })
}

/** Watches what is held while something runs. Returns the largest growth of resident memory and the most staged. */
async function watched<T>(node: Mesh, run: () => Promise<T>): Promise<{ result: T; growth: number; staged: number }> {
  collect()
  const before = process.memoryUsage.rss()
  let [growth, staged] = [0, 0]
  const timer = setInterval(() => {
    growth = Math.max(growth, process.memoryUsage.rss() - before)
    staged = Math.max(staged, node.transport.stagedBytes)
  }, 5)
  try {
    return { result: await run(), growth, staged }
  } finally {
    clearInterval(timer)
  }
}

/** Writes `bytes` to a socket, as fast as it is taken, `pauseMs` behind each megabyte. */
async function pour(socket: Socket, bytes: number, pauseMs = 0): Promise<void> {
  for (let left = bytes; left > 0 && !socket.destroyed; left -= CHUNK.length) {
    const chunk = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK
    if (!socket.write(chunk)) await new Promise<void>((resolve) => socket.once('drain', resolve))
    if (pauseMs > 0) await sleep(pauseMs)
  }
}

/** Counts what comes behind a head, until `bytes` of it have come; reads at most a megabyte every `pauseMs`. */
function swallow(socket: Socket, bytes: number, pauseMs = 0): Promise<number> {
  return new Promise((resolve) => {
    let [head, seen, since] = ['', 0, 0]
    socket.on('data', (chunk: Buffer) => {
      let rest = chunk.length
      if (!head.includes('\r\n\r\n')) {
        head += chunk.toString('latin1')
        rest = head.includes('\r\n\r\n') ? head.length - head.indexOf('\r\n\r\n') - 4 : 0
      }
      seen += rest
      since += rest
      if (seen >= bytes) resolve(seen)
      else if (pauseMs > 0 && since >= CHUNK.length) {
        since = 0
        socket.pause()
        setTimeout(() => socket.resume(), pauseMs)
      }
    })
    socket.on('close', () => resolve(seen))
    socket.resume()
  })
}

interface Pace {
  readonly bytes: number
  readonly writerMs?: number
  readonly readerMs?: number
}

/** The application sends a response of so many bytes. */
async function download(node: Mesh, { bytes, writerMs, readerMs }: Pace): Promise<number> {
  await node.tcp('app-v1-1', (socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`)
      void pour(socket, bytes, writerMs)
    })
  })
  const socket = await node.dial('web-1', APP)
  socket.write('GET / HTTP/1.1\r\nHost: app\r\n\r\n')
  return await swallow(socket, bytes, readerMs)
}

/** The caller sends a request of so many bytes. */
async function upload(node: Mesh, { bytes, writerMs, readerMs }: Pace): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  await node.tcp('app-v1-1', (socket) => {
    void swallow(socket, bytes, readerMs).then((seen) => {
      socket.write('HTTP/1.1 204 No Content\r\n\r\n')
      resolve(seen)
    })
  })
  const socket = await node.dial('web-1', APP)
  socket.write(`PUT / HTTP/1.1\r\nHost: app\r\nContent-Length: ${bytes}\r\n\r\n`)
  await pour(socket, bytes, writerMs)
  return await promise
}

async function holds(t: TestContext, node: Mesh, transfer: typeof download, pace: Pace): Promise<void> {
  const beganMs = performance.now()
  const { result, growth, staged } = await watched(node, () => transfer(node, pace))
  const seconds = (performance.now() - beganMs) / 1000
  t.diagnostic(
    `${pace.bytes >> 20} MB in ${seconds.toFixed(1)} s; memory grew by ${growth >> 20} MB; ${staged >> 10} KB staged`,
  )
  assert.equal(result, pace.bytes)
  assert.ok(staged <= MOST_STAGED, `${staged} bytes were staged`)
  assert.ok(growth < MOST_GROWTH, `memory grew by ${growth >> 20} MB`)
  await node.until(() => node.records.length === 1, 'a record')
  const [record] = node.records
  assert.equal(Math.max(record?.bytes_sent ?? 0, record?.bytes_received ?? 0), pace.bytes)
  assert.equal(node.transport.stagedBytes, 0)
}

for (const [what, transfer] of [
  ['down', download],
  ['up', upload],
] as const) {
  test(`a gigabyte ${what} passes in flat memory`, { timeout: 60_000 }, async (t) => {
    await holds(t, mesh(t, one()), transfer, { bytes: GB })
  })

  test(`a slow reader of what goes ${what} is waited for, and gets all of it`, { timeout: 60_000 }, async (t) => {
    await holds(t, mesh(t, one()), transfer, { bytes: 64 << 20, readerMs: 10 })
  })

  test(`a slow writer of what goes ${what} is not given up`, { timeout: 60_000 }, async (t) => {
    await holds(t, mesh(t, one(), { limits: { bodyMs: 500, sweepMs: 50 } }), transfer, {
      bytes: 32 << 20,
      writerMs: 20,
    })
  })
}
