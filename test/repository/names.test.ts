import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bannedWord } from './names.ts'
import { verdicts } from './lint.ts'

test('a word that says nothing is found in every way to write a name', () => {
  for (const name of ['PodManager', 'requestInfo', 'http-util.ts', 'common.ts', 'HTTPHandler', 'test_helpers']) {
    assert.notEqual(bannedWord(name), undefined, name)
  }
})

test('a word that only contains one is not', () => {
  for (const name of ['Information', 'utility.ts', 'Commons', 'contextual', 'Ledger', 'informer.ts', 'mishandled']) {
    assert.equal(bannedWord(name), undefined, name)
  }
})

test('the linter refuses such file and type names', async () => {
  assert.deepEqual(await verdicts('agent/model/util.ts', 'export const one = 1\n'), ['weft/names'])
  assert.deepEqual(await verdicts('agent/model/pod.ts', 'export class PodManager {}\n'), ['weft/names'])
  assert.deepEqual(await verdicts('agent/model/pod.ts', 'export interface PodInfo {\n  name: string\n}\n'), [
    'weft/names',
  ])
  assert.deepEqual(await verdicts('agent/model/pod.ts', 'export class Pod {}\n'), [])
})
