import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agentStatus } from './status.ts'

const KNOWN = { node: 'node-1', agent: 'weft-agent-1', version: '0.1.0', pods: [] }

test('an agent is ready when it waits for nothing and lacks nothing', () => {
  assert.deepEqual(agentStatus({ ...KNOWN, unready: null, lacks: [] }), { ...KNOWN, state: 'ready', reasons: [] })
})

test('one that serves without something is degraded, one that does not serve yet is starting', () => {
  const lacks = ['the data side does not answer']
  assert.deepEqual(agentStatus({ ...KNOWN, unready: null, lacks }), { ...KNOWN, state: 'degraded', reasons: lacks })
  const waiting = agentStatus({ ...KNOWN, unready: 'waiting for the first snapshot', lacks })
  assert.deepEqual([waiting.state, waiting.reasons], ['starting', ['waiting for the first snapshot', ...lacks]])
})
