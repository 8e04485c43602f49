import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import { runInNewContext } from 'node:vm'
import { type AccessLog, openAccessLog, QUEUE_BYTES } from './access.ts'

const FILLING = 'x'.repeat(1000)
const put = (log: AccessLog, id: number, filling = FILLING): void => {
  const line = Buffer.from(`${JSON.stringify({ id, filling })}\n`)
  log.write(line, line.length)
}
const ids = (text: string): number[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { id: number }).id)
const upTo = (count: number): number[] => Array.from({ length: count }, (_, id) => id)

function folder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'weft-access-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}

/** A pipe that nobody reads until somebody does. */
function pipe(): Disposable & { readonly fd: number; readonly path: string } {
  const place = folder()
  const path = join(place.path, 'pipe')
  execFileSync('mkfifo', [path])
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  const end = (): void => {
    closeSync(fd)
    place[Symbol.dispose]()
  }
  return { fd, path, [Symbol.dispose]: end }
}

/** What a pipe holds now. */
function drain(fd: number, most = 1 << 20): string {
  const bytes = Buffer.alloc(most)
  try {
    return bytes.toString('latin1', 0, readSync(fd, bytes))
  } catch {
    return '' // nothing
  }
}

test('all lines are there after close, those longer than a batch too', async () => {
  using place = folder()
  const path = join(place.path, 'log')
  const log = openAccessLog(openSync(path, 'w'))
  for (const id of upTo(1000)) put(log, id, id % 100 === 7 ? 'y'.repeat(200_000) : FILLING)
  await log.close()
  assert.deepEqual(ids(readFileSync(path, 'utf8')), upTo(1000))
  assert.equal(log.dropped, 0)
})

test('a line waits for others no longer than a moment', async () => {
  using place = folder()
  const path = join(place.path, 'log')
  const log = openAccessLog(openSync(path, 'w'))
  put(log, 0)
  const began = performance.now()
  while (readFileSync(path, 'utf8') === '') {
    assert.ok(performance.now() - began < 5000, 'it never came')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await log.close()
})

/** Bytes in use once the garbage is gone, those of buffers included. */
function bytesInUse(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

test('a reader that does not read costs records, which are counted to the unit, and no memory', async () => {
  using full = pipe()
  const log = openAccessLog(openSync(full.path, 'w'))
  const before = bytesInUse()
  const count = Math.ceil((4 * QUEUE_BYTES) / 1000)
  for (const id of upTo(count)) {
    put(log, id)
    if (id % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(log.dropped > count / 2, `${log.dropped} of ${count} were dropped`)
  const grown = bytesInUse() - before
  assert.ok(grown < 2 * QUEUE_BYTES, `${grown} bytes more`)
  const closing = performance.now()
  await log.close()
  assert.ok(performance.now() - closing < 5000)
  const whole = drain(full.fd).split('\n').slice(0, -1) // what is behind the last newline was torn
  assert.equal(whole.length + log.dropped, count)
  assert.deepEqual(ids(whole.join('\n')), upTo(whole.length))
})

test('a slow reader gets every line whole and in order', async () => {
  using slow = pipe()
  const log = openAccessLog(openSync(slow.path, 'w'))
  for (const id of upTo(2000)) put(log, id)
  let text = ''
  const reading = setInterval(() => (text += drain(slow.fd)), 5)
  const began = performance.now()
  while (ids(text.slice(0, text.lastIndexOf('\n') + 1)).length < 2000 && performance.now() - began < 10_000) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  clearInterval(reading)
  await log.close()
  assert.deepEqual([ids(text), log.dropped], [upTo(2000), 0])
})

test('a reader that went away costs records alone', async () => {
  using place = folder()
  const path = join(place.path, 'pipe')
  execFileSync('mkfifo', [path])
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const log = openAccessLog(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK))
  closeSync(reading)
  for (const id of upTo(100)) put(log, id)
  await log.close()
  assert.equal(log.dropped, 100)
})

const WORKER = `
import { workerData } from 'node:worker_threads'
import { openSync } from 'node:fs'
const { openAccessLog } = await import(workerData.module)
const log = openAccessLog(openSync(workerData.path, 'w'))
for (let id = 0; id < workerData.count; id++) {
  const line = Buffer.from(JSON.stringify({ id, worker: workerData.worker, filling: 'z'.repeat(3000) }) + '\\n')
  log.write(line, line.length)
  if (id % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
}
await log.close()
if (log.dropped > 0) throw new Error(log.dropped + ' dropped')
`

test('lines of several workers that write to one pipe are never mixed', async () => {
  using slow = pipe()
  const shared = { module: new URL('access.ts', import.meta.url).href, count: 300, path: slow.path }
  const url = new URL(`data:text/javascript,${encodeURIComponent(WORKER)}`)
  const workers = [0, 1, 2].map((worker) => new Worker(url, { workerData: { ...shared, worker } }))
  let text = ''
  const reading = setInterval(() => (text += drain(slow.fd, 10_000)), 1) // so that writes come through in pieces
  await Promise.all(workers.map((worker) => once(worker, 'exit')))
  clearInterval(reading)
  text += drain(slow.fd)
  const by = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: number; worker: number })
  for (const worker of [0, 1, 2]) {
    assert.deepEqual(
      by.filter((each) => each.worker === worker).map(({ id }) => id),
      upTo(300),
    )
  }
})
