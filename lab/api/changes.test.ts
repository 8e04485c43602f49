import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Changes } from './changes.ts'
import type { ApiError } from './status.ts'
import type { Change } from './changes.ts'

function change(version: number): Change {
  const metadata = { name: 'a', uid: 'u', resourceVersion: String(version), creationTimestamp: '' }
  return { type: 'MODIFIED', object: { apiVersion: 'v1', kind: 'A', metadata }, previous: null, version }
}

describe('the watch log', () => {
  test('gives exactly the changes after a version, or says that it has forgotten some', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 60 }), (limit, count) => {
        const changes = new Changes({ limit, listenerLimit: 1, since: 100 })
        for (let at = 1; at <= count; at++) changes.append(change(100 + at))
        const forgotten = 100 + Math.max(0, count - limit)
        for (let from = 95; from <= 100 + count; from++) {
          if (from < forgotten)
            assert.throws(
              () => changes.since(from),
              (error) => (error as ApiError).code === 410,
            )
          else {
            const versions = changes.since(from).map(({ version }) => version)
            assert.deepEqual(
              versions,
              Array.from({ length: 100 + count - from }, (_, at) => from + at + 1),
            )
          }
        }
      }),
    )
  })

  test('takes no more listeners than allowed', () => {
    const changes = new Changes({ limit: 1, listenerLimit: 2, since: 0 })
    const stop = changes.listen(() => {})
    changes.listen(() => {})
    assert.throws(
      () => changes.listen(() => {}),
      (error) => (error as ApiError).code === 429,
    )
    stop()
    changes.listen(() => {})
  })

  test('a listener that throws is reported and the others still hear', () => {
    const changes = new Changes({ limit: 1, listenerLimit: 2, since: 0 })
    const heard: number[] = []
    changes.listen(() => {
      throw new Error('mine')
    })
    changes.listen(({ version }) => heard.push(version))
    const reported: unknown[] = []
    changes.announce(change(1), (error) => reported.push(error))
    assert.deepEqual(heard, [1])
    assert.equal(reported.length, 1)
  })
})
