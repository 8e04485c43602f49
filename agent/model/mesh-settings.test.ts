import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accessLogOf, DEFAULT_MESH_SETTINGS, STANDARD_OUTPUT } from './mesh-settings.ts'

test('records go where the settings say, and where they say nothing as the agent is told', () => {
  const cases: [file: string | null, wanted: string, unwanted: string][] = [
    [null, STANDARD_OUTPUT, ''],
    ['', '', ''],
    [STANDARD_OUTPUT, STANDARD_OUTPUT, STANDARD_OUTPUT],
    ['/var/log/mesh.log', '/var/log/mesh.log', '/var/log/mesh.log'],
  ]
  for (const [file, wanted, unwanted] of cases) {
    const settings = { ...DEFAULT_MESH_SETTINGS, accessLog: { ...DEFAULT_MESH_SETTINGS.accessLog, file } }
    assert.deepEqual([accessLogOf(settings, true).file, accessLogOf(settings, false).file], [wanted, unwanted])
  }
})
