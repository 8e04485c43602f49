import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { constants, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openAccessLog, QUEUE_BYTES } from './access.ts'

const record = { method: 'GET', path: '/', user_agent: 'x'.repeat(1000) }
const lineOf = (fields: object): string => `${JSON.stringify(fields)}\n`

function folder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'weft-access-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}

test('each record is one line of JSON, and all are there after close', async () => {
  using place = folder()
  const path = join(place.path, 'log')
  const log = openAccessLog(openSync(path, 'w'))
  for (let i = 0; i < 1000; i++) log.write(lineOf({ ...record, response_code: i }))
  await log.close()
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { response_code: number }).response_code),
    Array.from({ length: 1000 }, (_, i) => i),
  )
  assert.equal(log.dropped, 0)
})

/** Bytes in use once the garbage is gone. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}

test('a reader that does not read costs records, not memory', async () => {
  using place = folder()
  const path = join(place.path, 'pipe')
  execFileSync('mkfifo', [path])
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  const log = openAccessLog(fd)
  try {
    const before = heapBytes()
    const count = (4 * QUEUE_BYTES) / 1000
    for (let i = 0; i < count; i++) {
      log.write(lineOf(record))
      if (i % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    assert.ok(log.dropped > count / 2, `${log.dropped} of ${count} were dropped`)
    const grown = heapBytes() - before
    assert.ok(grown < 2 * QUEUE_BYTES, `${grown} bytes more`)
  } finally {
    const closing = performance.now()
    await log.close()
    assert.ok(performance.now() - closing < 5000)
  }
})
