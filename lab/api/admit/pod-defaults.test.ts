import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultPodSpec, qosOf } from './pod-defaults.ts'

test('quality of service by requests and limits of all containers', () => {
  const withResources = (...all: object[]) => ({ containers: all.map((resources) => ({ name: 'c', resources })) })
  const guaranteed = { limits: { cpu: '1', memory: '1Gi' } }
  assert.equal(qosOf(withResources({})), 'BestEffort')
  assert.equal(qosOf(withResources({ requests: { cpu: '1' } })), 'Burstable')
  assert.equal(qosOf(withResources(guaranteed)), 'Guaranteed')
  assert.equal(qosOf(withResources(guaranteed, {})), 'Burstable')
})

test('zero in a probe counts as absent', () => {
  const livenessProbe: Record<string, unknown> = { periodSeconds: 0, timeoutSeconds: 3, exec: { command: ['true'] } }
  defaultPodSpec({ containers: [{ name: 'c', image: 'i', livenessProbe }] })
  assert.deepEqual([livenessProbe['periodSeconds'], livenessProbe['timeoutSeconds']], [10, 3])
})
