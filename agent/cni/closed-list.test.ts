import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ClosedList, closedFolder } from './closed-list.ts'

function stateFolder(t: { after(end: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-closed-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

test('the files are the namespaces, whatever was there', (t) => {
  const folder = stateFolder(t)
  const list = new ClosedList(folder)
  list.take(new Set(['shop', 'bank']))
  assert.deepEqual(readdirSync(closedFolder(folder)).sort(), ['bank', 'shop'])
  // another agent's list, after a restart
  const next = new ClosedList(folder)
  next.take(new Set(['shop', '../x', '']))
  assert.deepEqual(readdirSync(closedFolder(folder)), ['shop'])
  assert.deepEqual([next.has('shop'), next.has('bank'), next.lack], [true, false, null])
})

test('what an administrator put there for all namespaces stays', (t) => {
  const folder = stateFolder(t)
  new ClosedList(folder).take(new Set())
  writeFileSync(join(closedFolder(folder), '.all'), '')
  new ClosedList(folder).take(new Set(['shop']))
  assert.deepEqual(readdirSync(closedFolder(folder)).sort(), ['.all', 'shop'])
})

test('a folder that cannot be made is told, and tried again', (t) => {
  const folder = stateFolder(t)
  writeFileSync(closedFolder(folder), '')
  const list = new ClosedList(folder)
  list.take(new Set(['shop']))
  assert.match(list.lack ?? '', /cannot be kept/)
  rmSync(closedFolder(folder))
  list.take(new Set(['shop']))
  assert.deepEqual([list.lack, readdirSync(closedFolder(folder))], [null, ['shop']])
})
