import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ToldPath } from './told-path.ts'

test('what stands behind a parameter that tokens are taken from is not told', () => {
  const rows: [names: readonly string[], target: string, told: string][] = [
    [[], '/a', '/a'],
    [[], '/a?b=c', '/a?b=c'],
    [[], '/access_token=x', '/access_token=x'],
    [[], '/a?access_token=x', '/a?access_token=***'],
    [[], '/a?b=c&access_token=x.y.z&d=e', '/a?b=c&access_token=***&d=e'],
    [[], '/a?access_token=x&access_token=y', '/a?access_token=***&access_token=***'],
    [[], '/a?not_access_token=x', '/a?not_access_token=x'],
    [[], '/a?jwt=x', '/a?jwt=x'],
    [
      ['jwt', 'a.b', 'c d'],
      '/a?jwt=x&a.b=y&axb=z&c%20d=t&access_token=u',
      '/a?jwt=***&a.b=***&axb=z&c%20d=***&access_token=***',
    ],
  ]
  for (const [names, target, told] of rows) assert.equal(new ToldPath(names).of(target), told, target)
})
