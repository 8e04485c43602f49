// What `weft lab up` tells its agents, and what they say of what they cannot be told.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { TestLab } from './lab.ts'
import { agentPids, commandOf } from './mesh.ts'

const JOINED = `
apiVersion: v1
kind: Namespace
metadata: { name: default, annotations: { weft.dev/mesh: enabled } }
---
apiVersion: v1
kind: Pod
metadata: { name: one }
spec: { nodeName: node-1, containers: [{ name: main, image: none, command: [sleep, infinity] }] }
`

let lab: TestLab
before(async () => {
  lab = await TestLab.make()
})
after(() => lab.end())

const up = async (...args: string[]): ReturnType<TestLab['run']> =>
  lab.run('up', '--detach', '--nodes', '1', '--timeout', '30', '-f', await lab.write(JOINED), ...args)

test('what is no NAME=VALUE is refused before anything is started', async () => {
  for (const wrong of ['leave-seconds', '=1']) {
    const { code, stdout, stderr } = await up('--agent-flag', wrong)
    assert.deepEqual([code, stdout], [1, ''])
    assert.equal(stderr, `weft lab: --agent-flag takes NAME=VALUE, not ${wrong}\n`)
  }
})

test('a flag that agents do not have, or a value out of its range, is told in the agent’s own words', async () => {
  for (const [flag, words] of [
    ['nope=1', /^weft lab: the agent of node-1 ended \(see .*\): weft: Unknown argument: nope\n$/],
    ['leave-seconds=-1', /: weft: --leave-seconds: -1 is not a whole number from 0 to 300\n$/],
  ] as const) {
    const { code, stderr } = await up('--agent-flag', flag)
    assert.equal(code, 1)
    assert.match(stderr, words)
    await lab.run('down')
  }
})

test('every agent is given all flags', async () => {
  const { code, stderr } = await up('--agent-flag', 'leave-seconds=1', '--agent-flag=account-seconds=2')
  assert.equal(code, 0, stderr)
  const [pid = 0] = agentPids(lab, 'node-1')
  assert.deepEqual(commandOf(pid).slice(-2), ['--leave-seconds=1', '--account-seconds=2'])
})
