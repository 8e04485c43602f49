import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Deadline, Deadlines } from './deadlines.ts'

test('each is met at the first look behind its time, once, unless it was lifted', () => {
  const command = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), ms: fc.constantFrom(5000, 5500, 15_000) }),
    fc.record({ kind: fc.constant('lift' as const), which: fc.nat(50) }),
    fc.record({ kind: fc.constant('look' as const), laterMs: fc.constantFrom(0, 500, 4000, 20_000) }),
  )
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const deadlines = new Deadlines()
      const known: { deadline: Deadline; dueMs: number; state: 'open' | 'met' | 'lifted' }[] = []
      let nowMs = 0
      for (const each of commands) {
        if (each.kind === 'set') {
          const entry = { dueMs: nowMs + each.ms, state: 'open' as 'open' | 'met' | 'lifted' }
          const expire = (): void => {
            assert.equal(entry.state, 'open')
            entry.state = 'met'
          }
          known.push(Object.assign(entry, { deadline: deadlines.set(each.ms, nowMs, expire) }))
        } else if (each.kind === 'lift') {
          const entry = known[each.which]
          entry?.deadline.lift()
          if (entry?.state === 'open') entry.state = 'lifted'
        } else {
          nowMs += each.laterMs
          deadlines.tick(nowMs)
        }
        for (const { state, dueMs } of known)
          if (each.kind === 'look') assert.equal(state === 'open', dueMs > nowMs && state === 'open')
      }
    }),
  )
})

test('one that is met may lift and set others', () => {
  const deadlines = new Deadlines()
  const met: string[] = []
  const other = deadlines.set(5000, 1, () => met.push('other'))
  deadlines.set(6000, 0, () => {
    met.push('first')
    other.lift()
    deadlines.set(5000, 6000, () => met.push('next'))
  })
  deadlines.tick(5000)
  assert.deepEqual(met, [])
  other.lift()
  deadlines.tick(6000)
  deadlines.tick(10_999)
  assert.deepEqual(met, ['first'])
  deadlines.tick(11_000)
  assert.deepEqual(met, ['first', 'next'])
})

test('short ones do not wait for a look', async () => {
  const deadlines = new Deadlines()
  const lifted = deadlines.set(10, 0, () => assert.fail('it was lifted'))
  lifted.lift()
  await new Promise<void>((resolve) => deadlines.set(20, 0, resolve))
})
