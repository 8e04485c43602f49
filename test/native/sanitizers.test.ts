// The addon's tests once more, on a build of it that watches its own memory and arithmetic.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { buildSanitized, sanitizedEnvironment } from './sanitized.ts'

const root = join(import.meta.dirname, '../..')
const SUITES = [
  'test/proxy/transport.test.ts',
  'test/proxy/transport-fuzz.test.ts',
  'test/proxy/transport-tls.test.ts',
  'test/proxy/transport-tls-refusals.test.ts',
  'test/proxy/transport-tls-peers.test.ts',
  'test/proxy/pump.test.ts',
  'test/proxy/pump-tls.test.ts',
]
/** Tests of the body that needs no addon: they have shown what they can already. And two that fill sockets for a minute here. */
const LEFT_OUT = '/^node(?: to node)?(?:, [^:]+)?: |takes no answer/'
const SUITE_MS = 120_000

/** Tells whether the sanitizer and the build that it watches are there. */
const PRESENCE = `
  import { native } from './agent/kernel/native.ts'
  import { readFileSync } from 'node:fs'
  const maps = readFileSync('/proc/self/maps', 'utf8')
  native()
  console.log(/libasan/.test(maps), /sanitized.weft.node/.test(readFileSync('/proc/self/maps', 'utf8')))
`

interface Run {
  readonly ok: boolean
  readonly text: string
}

function node(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<Run> {
  const env = { ...environment, NODE_TEST_CONTEXT: undefined } // not a part of the run that this test is in
  return new Promise((resolve) => {
    const options = { cwd: root, env, timeout: SUITE_MS, maxBuffer: 2 ** 26 }
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      resolve({ ok: error === null, text: stdout + stderr })
    })
  })
}

/** What a run that failed said, from the first test of it that did. */
const toldOf = (text: string): string => text.slice(Math.max(0, text.search(/^ *not ok /m))).slice(0, 4000)

let environment: NodeJS.ProcessEnv

before(async () => {
  environment = sanitizedEnvironment(await buildSanitized())
})

test('the build that watches itself is the one that is loaded', async () => {
  const { text } = await node(['--input-type=module', '-e', PRESENCE], environment)
  assert.match(text, /true true/)
})

for (const suite of SUITES) {
  test(`nothing is out of bounds, freed or undefined in ${suite}`, async () => {
    const how = ['--test', '--test-reporter=tap', '--test-skip-pattern', LEFT_OUT]
    const { ok, text } = await node([...how, suite], environment)
    assert.doesNotMatch(text, /AddressSanitizer|runtime error:/)
    assert.ok(ok, toldOf(text))
    assert.match(text, /^# pass [1-9]/m)
  })
}
