import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Code, CODES } from '../model/analysis/codes.ts'
import type { Located } from '../kube/offline.ts'
import { analysisJson, analysisText } from './analyze-text.ts'

const finding = (code: Code, more: Partial<Located> = {}): Located => ({
  code,
  severity: CODES[code].severities[0],
  object: { kind: 'VirtualService', namespace: 'shop', name: 'front' },
  field: 'spec.hosts[0]',
  message: 'is wrong',
  file: 'routes.yaml',
  line: 7,
  ...more,
})

test('findings stand under their objects, and a line sums them up', () => {
  const findings = [
    finding('WEFT0201'),
    finding('WEFT0202', { file: null, line: null, field: '' }),
    finding('WEFT0401', { object: { kind: 'Service', namespace: 'shop', name: 'front' } }),
    finding('WEFT0107', { object: { kind: 'File', namespace: '', name: 'a\u001b.yaml' }, message: 'up\nand away' }),
  ]
  assert.equal(
    analysisText({ findings, objects: 12 }),
    `VirtualService shop/front
  routes.yaml:7: error WEFT0201: spec.hosts[0]: is wrong
  error WEFT0202: is wrong

Service shop/front
  routes.yaml:7: info WEFT0401: spec.hosts[0]: is wrong

File a .yaml
  routes.yaml:7: error WEFT0107: spec.hosts[0]: up and away

3 errors, 1 info in 3 of 12 objects
`,
  )
})

test('where nothing is found, one sentence', () => {
  assert.equal(analysisText({ findings: [], objects: 1 }), 'no findings in 1 object\n')
  assert.equal(analysisJson({ findings: [], objects: 1 }), '[]\n')
})

test('in JSON a finding is one flat object', () => {
  assert.deepEqual(JSON.parse(analysisJson({ findings: [finding('WEFT0201')], objects: 1 })), [
    {
      code: 'WEFT0201',
      severity: 'error',
      kind: 'VirtualService',
      namespace: 'shop',
      name: 'front',
      field: 'spec.hosts[0]',
      message: 'is wrong',
      file: 'routes.yaml',
      line: 7,
    },
  ])
})

test('docs/analyze.md has every code, as the command has it', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/analyze.md'), 'utf8')
  const rows = [...text.matchAll(/^\| (WEFT\d{4}) +\| (.*?) +\| (.*?) +\|$/gm)].map(([, ...cells]) => cells)
  const known = Object.entries(CODES).map(([code, { severities, says }]) => [code, severities.join(', '), says])
  assert.deepEqual(rows, known)
})
