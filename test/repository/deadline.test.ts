import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

const deadline = join(import.meta.dirname, 'deadline.ts')

function run(program: string, limitMs: string) {
  const env = { ...process.env, WEFT_FILE_LIMIT_MS: limitMs }
  const args = ['--import', deadline, '--eval', program]
  return spawnSync(process.execPath, args, { encoding: 'utf8', env, timeout: 20_000 })
}

test('a file that keeps something open is ended, and says what', () => {
  const { status, stderr } = run("require('node:net').createServer().listen(0, '127.0.0.1')", '300')
  assert.equal(status, 1)
  assert.match(stderr, /has not ended after 0\.3 s; open: .*TCPServerWrap/)
})

test('a file that ends by itself is not kept', () => {
  const started = performance.now()
  assert.equal(run('', '15000').status, 0)
  assert.ok(performance.now() - started < 10_000)
})
