import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_MESH_SETTINGS, isRecording, STANDARD_OUTPUT } from './mesh-settings.ts'

test('records are written where the settings say, or the agent where they say nothing that it can do', () => {
  const cases: [file: string | null, ifFlag: boolean, ifNot: boolean][] = [
    [null, true, false],
    ['', false, false],
    [STANDARD_OUTPUT, true, true],
    ['/var/log/mesh.log', true, false],
  ]
  for (const [file, ifFlag, ifNot] of cases) {
    const settings = { ...DEFAULT_MESH_SETTINGS, accessLog: { ...DEFAULT_MESH_SETTINGS.accessLog, file } }
    assert.deepEqual([isRecording(settings, true), isRecording(settings, false)], [ifFlag, ifNot], String(file))
  }
})
