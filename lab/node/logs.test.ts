import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { LOG_FILE_BYTES, LogFile, type LogWish, readLogs } from './logs.ts'

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-logs-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
async function textOf(folder: string, wish: LogWish): Promise<string> {
  let text = ''
  for await (const chunk of readLogs(folder, wish)) text += chunk
  return text
}

test('lines come back whole, in order, however they were cut', () =>
  inFolder(async (folder) => {
    const log = new LogFile(join(folder, '0.log'))
    for (const piece of ['one\ntw', 'o\n', 'three']) log.write('stdout', piece)
    log.close()
    assert.equal(await textOf(folder, {}), 'one\ntwo\nthree\n')
    assert.equal(await textOf(folder, { tail: 2 }), 'two\nthree\n')
    assert.equal(await textOf(folder, { tail: 0 }), '')
    assert.match(await textOf(folder, { tail: 1, timestamps: true }), /^\d{4}-\d\d-\d\dT[\d:.]+Z three\n$/)
    assert.equal(await textOf(folder, { sinceMs: Date.now() + 1000 }), '')
  }))

test('the start before is another log', () =>
  inFolder(async (folder) => {
    for (const restart of [0, 1]) {
      const log = new LogFile(join(folder, `${String(restart)}.log`))
      log.write('stderr', `start ${String(restart)}\n`)
      log.close()
    }
    assert.equal(await textOf(folder, {}), 'start 1\n')
    assert.equal(await textOf(folder, { previous: true }), 'start 0\n')
  }))

test('a container that prints without end fills two files at most', () =>
  inFolder(async (folder) => {
    const log = new LogFile(join(folder, '0.log'))
    const block = `${'x'.repeat(1023)}\n`.repeat(256)
    for (let written = 0; written < 3 * LOG_FILE_BYTES; written += block.length) log.write('stdout', block)
    log.close()
    for (const name of ['0.log', '0.log.old']) assert.ok(statSync(join(folder, name)).size <= LOG_FILE_BYTES)
  }))

test('a line without end is cut, not kept in memory', () =>
  inFolder(async (folder) => {
    const log = new LogFile(join(folder, '0.log'))
    log.write('stdout', 'y'.repeat(100_000))
    log.close()
    const lines = (await textOf(folder, {})).trimEnd().split('\n')
    assert.deepEqual([lines.length, lines.join('').length], [7, 100_000])
  }))

test('a full disk costs lines, not the process', () => {
  const log = new LogFile('/dev/full')
  log.write('stdout', 'lost\n')
  log.close()
})

test('following goes on with what is written later, and into the next start', () =>
  inFolder(async (folder) => {
    const first = new LogFile(join(folder, '0.log'))
    first.write('stdout', 'a\n')
    const stop = new AbortController()
    const seen: string[] = []
    const reading = (async () => {
      for await (const text of readLogs(folder, { follow: true }, stop.signal)) {
        seen.push(text)
        if (text === 'a\n') {
          first.write('stdout', 'b\n')
          first.close()
        }
        if (text === 'b\n') new LogFile(join(folder, '1.log')).write('stdout', 'c\n')
        if (text === 'c\n') stop.abort()
      }
    })()
    await reading
    assert.deepEqual(seen, ['a\n', 'b\n', 'c\n'])
  }))
