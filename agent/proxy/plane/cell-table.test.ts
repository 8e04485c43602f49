import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { cellMemory, CellTable, hashOf } from './cell-table.ts'

const memory = (capacity: number, textBytes = 16) => cellMemory({ capacity, words: 2, textBytes })

test('the same text is the same cell for every worker, and another text is another', () => {
  const shared = memory(8)
  const [one, other] = [new CellTable(shared, 0), new CellTable(shared, 1)]
  const a = one.claim('a')!
  assert.equal(other.claim('a'), a)
  assert.notEqual(other.claim('b'), a)
  assert.notEqual(one.claim('a', 1), a) // told apart by the seed
  one.words[a] = 7
  assert.equal(other.words[a], 7)
  assert.deepEqual([...new CellTable(shared, null).all()].map(({ text }) => text).sort(), ['a', 'a', 'b'])
})

test('a cell is another’s only once no worker uses it, and all is forgotten then', () => {
  const freed: number[] = []
  const shared = memory(1)
  const tables = [0, 1].map((column) => new CellTable(shared, column, (at) => freed.push(at)))
  const at = tables[0]!.claim('a')!
  tables[1]!.claim('a')
  tables[0]!.words[at] = 7
  assert.equal(tables[0]!.claim('b'), null)
  tables[0]!.letGo(at)
  assert.equal(tables[0]!.claim('b'), null)
  assert.equal(tables[0]!.claim('a'), at)
  assert.equal(tables[0]!.words[at], 7)
  tables[0]!.letGo(at)
  assert.deepEqual(freed, [])
  tables[1]!.letGo(at)
  assert.deepEqual(freed, [at])
  assert.equal(tables[1]!.claim('b'), at)
  assert.equal(tables[1]!.words[at], 0)
})

test('texts that are longer than what is kept, or agree in part, are told apart', () => {
  const table = new CellTable(memory(8, 4), 0)
  const texts = ['abcd', 'abcde', 'abcdf', 'abc', '', 'ä€']
  assert.equal(new Set(texts.map((text) => table.claim(text))).size, texts.length)
  assert.equal(table.claim('abcde'), table.claim('abcde'))
})

test('a hash has 64 bits that differ: none of 200 000 agree, nor do neighbours share a bucket', () => {
  const seen = new Set<string>()
  const buckets = new Set<number>()
  for (let i = 0; i < 200_000; i++) {
    const [high, low] = hashOf(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:8080`)
    seen.add(`${high} ${low}`)
    if (i < 4096) buckets.add(low & 4095)
  }
  assert.equal(seen.size, 200_000)
  assert.ok(buckets.size > 2300, `${buckets.size}`) // 4096 balls in as many bins fill 2589
})

test('a worker that ended gives back its cells, and the lock, wherever in a claim it ended', () => {
  const shared = memory(4)
  const [one, other] = [new CellTable(shared, 0), new CellTable(shared, 1)]
  const control = new CellTable(shared, null)
  const both = one.claim('both')!
  other.claim('both')
  one.claim('mine')
  const words = new Int32Array(shared.buffer)
  words[0] = 1 // the first worker has the lock
  words[1] = 99 // and was about to write the chain of free cells
  assert.equal(other.claim('new'), null) // it counts for itself meanwhile
  assert.equal(control.clear(0), true)
  assert.deepEqual(
    [...control.all()].map(({ text }) => text),
    ['both'],
  )
  assert.equal(other.claim('both'), both)
  const claimed = ['x', 'y', 'z'].map((text) => other.claim(text))
  assert.equal(new Set([...claimed, both]).size, 4)
  assert.equal(other.claim('one too many'), null)
})

test('while another has the lock nothing is cleared, and nothing breaks', () => {
  const shared = memory(4)
  const one = new CellTable(shared, 0)
  one.claim('a')
  const words = new Int32Array(shared.buffer)
  words[0] = 3
  assert.equal(new CellTable(shared, null).clear(0), false)
  words[0] = 0
  assert.equal(new CellTable(shared, null).clear(0), true)
  assert.equal([...one.all()].length, 0)
})

test('whatever workers claim, let go and end in, each text in use has one cell and keeps its words', () => {
  const step = fc.record({
    what: fc.constantFrom('claim', 'claim', 'claim', 'let go', 'end'),
    column: fc.integer({ min: 0, max: 3 }),
    text: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const shared = memory(5)
      const tables = [0, 1, 2, 3].map((column) => new CellTable(shared, column))
      const control = new CellTable(shared, null)
      /** By text: who uses it, where it is, and what was written there. */
      const used = new Map<string, { columns: Set<number>; at: number; mark: number }>()
      let mark = 0
      const leave = (text: string, column: number): void => {
        const cell = used.get(text)
        if (cell?.columns.delete(column) && cell.columns.size === 0) used.delete(text)
      }
      for (const { what, column, text } of steps) {
        const table = tables[column]!
        const known = used.get(text)
        if (what === 'claim') {
          const at = table.claim(text)
          if (known === undefined && used.size === 5) assert.equal(at, null)
          else if (known === undefined) {
            assert.equal(table.words[at!], 0)
            used.set(text, { columns: new Set([column]), at: at!, mark: (table.words[at!] = ++mark) })
          } else {
            assert.equal(at, known.at)
            known.columns.add(column)
          }
        } else if (what === 'let go' && known?.columns.has(column)) {
          assert.equal(table.letGo(known.at), true)
          leave(text, column)
        } else if (what === 'end') {
          control.clear(column)
          for (const own of [...used.keys()]) leave(own, column)
        }
        assert.deepEqual(
          new Map([...control.all()].map((cell) => [cell.text, cell.at])),
          new Map([...used].map(([own, cell]) => [own, cell.at])),
        )
        for (const cell of used.values()) assert.equal(table.words[cell.at], cell.mark)
      }
    }),
  )
})

test('threads that claim at once share the cells of the same texts', { timeout: 30_000 }, async () => {
  const shared = memory(64)
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(${JSON.stringify(new URL('./cell-table.ts', import.meta.url).href)}).then(({ CellTable }) => {
      const table = new CellTable(workerData.shared, workerData.column)
      for (let i = 0; i < 20000; i++) {
        const at = table.claim('t' + (i % 40))
        if (at === null) continue
        Atomics.add(table.words, at, 1)
        Atomics.sub(table.words, at, 1)
        if (i < 19900) table.letGo(at)
      }
      const surely = (text) => table.claim(text) ?? surely(text) // the lock may be held by a thread that waits for its turn
      parentPort.postMessage([...Array(40).keys()].map((i) => surely('t' + i)))
    })`
  const told = await Promise.all(
    [0, 1, 2].map(async (column) => {
      const worker = new Worker(code, { eval: true, workerData: { shared, column } })
      const [cells] = (await once(worker, 'message')) as [number[]]
      return cells
    }),
  )
  assert.equal(new Set(told[0]).size, 40)
  const control = new CellTable(shared, null)
  assert.equal([...control.all()].length, 40)
  // the last claims are at the same time, so all of them found the same cells
  assert.deepEqual([told[1], told[2]], [told[0], told[0]])
  for (const { at } of control.all()) assert.equal(control.words[at], 0)
})
