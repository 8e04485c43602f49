// `weft analyze` on files, as a pipeline runs it.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { wishOf } from './analyze.ts'

const folder = mkdtempSync(join(tmpdir(), 'weft-analyze-'))
after(() => rmSync(folder, { recursive: true }))

const SOUND = `
apiVersion: v1
kind: Service
metadata: { name: front }
spec: { ports: [{ name: http, port: 80 }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: front }
spec:
  hosts: [front]
  http:
    - route: [{ destination: { host: front } }]
`
const file = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const sound = file('sound.yaml', SOUND)
const wrong = file('wrong.yaml', SOUND.replace('host: front }', 'host: fornt }'))
const lax = file('lax.yaml', SOUND.replace('name: http, ', ''))

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function ran(args: readonly string[], input = ''): Ran {
  const command = [join(import.meta.dirname, '../main.ts'), 'analyze', ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { input, encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

test('exit code 0 and one sentence where nothing is wrong', () => {
  assert.deepEqual(ran(['--offline', '-f', sound]), { code: 0, stdout: 'no findings in 2 objects\n', stderr: '' })
})

test('exit code 1 for an error, with file, line, code and field', () => {
  const { code, stdout } = ran(['--offline', '-f', wrong])
  assert.equal(code, 1)
  assert.equal(
    stdout,
    `VirtualService default/front
  ${wrong}:13: error WEFT0202: spec.http[0].route[0].destination.host: Service default/fornt is not in the given files

1 error in 1 of 2 objects
`,
  )
})

test('--fail-on says from when on it is 1; standard input is a file as others', () => {
  const lesser = ran(['--offline', '-f', '-', '-o', 'json'], SOUND.replace('name: http, ', ''))
  assert.equal(lesser.code, 0)
  const [finding] = JSON.parse(lesser.stdout)
  assert.deepEqual(
    [finding.code, finding.file, finding.line, finding.severity],
    ['WEFT0401', 'standard input', 5, 'info'],
  )
  assert.equal(ran(['--offline', '-f', lax, '--fail-on', 'info']).code, 1)
  assert.equal(ran(['--offline', '-f', lax, '--fail-on', 'warning']).code, 0)
})

test('exit code 2 for wrong usage, what is not there, and a cluster that does not answer', () => {
  const nowhere = file('kubeconfig', 'apiVersion: v1\nkind: Config\nclusters: []\n')
  const rows: readonly [args: string[], stderr: RegExp][] = [
    [['--offline'], /needs at least one --file/],
    [['--offline', '-f', join(folder, 'nothing.yaml')], /no such file/],
    [['--fail-on', 'sometimes', '--offline', '-f', sound], /fail-on/],
    [['--kubeconfig', nowhere], /no current cluster/],
    [['--offline', '-f', sound, wrong], /Unknown argument/],
  ]
  for (const [args, stderr] of rows) {
    const result = ran(args)
    assert.equal(result.code, 2, args.join(' '))
    assert.match(result.stderr, stderr)
    assert.equal(result.stdout, '')
  }
})

test('--file may be given again, and what stands last counts', () => {
  const { code, stdout } = ran(['--offline', '-f', wrong, '-f', sound])
  assert.equal(code, 0)
  assert.match(stdout, /warning WEFT0108: stands in .*wrong.yaml:2 too[^]*2 warnings in 2 of 2 objects/)
})

test('options that contradict each other are refused', () => {
  assert.throws(() => wishOf({ offline: true, file: ['a'], kubeconfig: 'b' }), /means nothing/)
  assert.throws(() => wishOf({ file: ['-', '-'] }), /read once/)
  assert.throws(() => wishOf({ file: [''] }), /must not be empty/)
  assert.throws(() => wishOf({ namespace: ['a', 'b'] }), /must be given once/)
  assert.deepEqual(wishOf({}).failOn, 'error')
})
