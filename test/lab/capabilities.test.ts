// What the mesh's programs may do, on the real kernel: agents have the capabilities of agent/kernel/capabilities.ts and a
// controller none, that is enough, and no capability is there for nothing. All other tests of labs rest on the same.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { AGENT_CAPABILITIES, type Capability } from '../../agent/kernel/capabilities.ts'
import { confined } from '../../lab/mesh/confined.ts'
import { REFUSALS, saidWith, without } from '../kernel/rights.ts'
import { TestLab } from './lab.ts'
import type { LoadOrder, Tally } from './load.ts'
import {
  agentPids,
  applicationPods,
  commandOf,
  onNode,
  podManifest,
  PodProgram,
  samples,
  statusNow,
  sumOf,
  upWithAgents,
} from './mesh.ts'

const MANIFESTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', annotations: { 'weft.dev/mesh': 'enabled' } } },
]
  .map((each) => JSON.stringify(each))
  .concat(
    podManifest({ name: 'caller', namespace: 'shop', node: 'node-1' }),
    podManifest({ name: 'web', namespace: 'shop', node: 'node-2' }),
  )
  .join('\n---\n')
const WAIT_MS = 20_000

let lab: TestLab
before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, [])
})
after(() => lab.end())

const MASKS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Uid'] as const

/** Lines of /proc/PID/status of a process, those about rights. */
function rightsOf(pid: number): Readonly<Record<string, string>> {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Object.fromEntries(MASKS.map((name) => [name, new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(text)?.[1] ?? '']))
}

/** What these lines are of a process with no more than `capabilities`, and no way to more. */
function exactly(capabilities: readonly Capability[]): Readonly<Record<string, string>> {
  const all = capabilities.reduce((mask, { bit }) => mask | (1n << BigInt(bit)), 0n)
  const [has, none] = [all, 0n].map((mask) => mask.toString(16).padStart(16, '0')) as [string, string]
  return { CapInh: none, CapPrm: has, CapEff: has, CapBnd: has, CapAmb: none, NoNewPrivs: '1', Uid: '0' }
}

test('every agent has exactly the capabilities of the list, and can get no others', () => {
  for (const node of ['node-1', 'node-2']) {
    const pids = agentPids(lab, node)
    assert.equal(pids.length, 1)
    for (const pid of pids) assert.deepEqual(rightsOf(pid), exactly(AGENT_CAPABILITIES))
  }
})

test('the controller has none, and leads and signs all the same', async () => {
  const [pid = 0] = agentPids(lab, 'node-1', 'controller')
  assert.deepEqual(rightsOf(pid), exactly([]))
  for (const { certificate } of (await statusNow(lab)).pods) assert.notEqual(certificate, null)
})

test('with these, traffic of captured pods goes through the agents of both nodes', async () => {
  assert.ok((await statusNow(lab)).whole)
  const host = (await applicationPods(lab)).find(({ metadata }) => metadata?.name === 'web')?.status?.podIP ?? ''
  const caller = new PodProgram(lab, 'shop/caller', 'load.ts')
  try {
    const begin: LoadOrder = { begin: 'all', kind: 'new', targets: [{ host, port: 8080 }], perSecond: 100 }
    await caller.ask(begin)
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const { begun, answered, failed } = await caller.ask<Tally>({ end: 'all' } satisfies LoadOrder)
    assert.deepEqual([failed, answered], [[], begun])
    assert.ok(begun > 10)
    for (const node of ['node-1', 'node-2']) {
      const carried = sumOf(await samples(lab, node), 'istio_requests_total', { response_code: '200' })
      assert.ok(carried >= begun, `${node} has carried ${carried} of ${begun}`)
    }
  } finally {
    await caller.close()
  }
})

/** The first line of a program's output that `wanted` finds, of a program that is ended then. */
async function lineOf(child: ChildProcess, wanted: RegExp): Promise<string> {
  const timer = setTimeout(() => child.kill('SIGKILL'), WAIT_MS)
  try {
    for await (const line of createInterface({ input: child.stdout! })) if (wanted.test(line)) return line
    return 'it said nothing of the kind'
  } finally {
    clearTimeout(timer)
    const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
    child.kill('SIGTERM')
    await ended
  }
}

test('an agent that lacks one says which, and what for, and stays unready', async () => {
  const [pid = 0] = agentPids(lab, 'node-1')
  // Node, the program, its role, its kubeconfig: beside the agent that is there, and with nothing of it
  const command = [...commandOf(pid).slice(0, 5), '--node', 'node-1', '--admin-port', '15920']
  assert.equal(command.at(3), '--kubeconfig')
  for (const each of AGENT_CAPABILITIES) {
    const words = onNode(lab, 'node-1', [...confined(without(each.name)), ...command])
    const said = await lineOf(spawn('nsenter', words, { stdio: ['ignore', 'pipe', 'inherit'] }), /cannot capture pods/)
    const needs = `capturing pods needs ${each.name} (to ${each.why}), which this process was not given`
    assert.ok(said.includes(needs), said)
  }
  assert.ok((await statusNow(lab)).whole, 'the agent of the node goes on')
})

for (const [deed, { lacks, says }] of Object.entries(REFUSALS)) {
  test(`the kernel refuses to ${deed} without ${lacks}, and with the list it does not`, () => {
    assert.equal(saidWith(AGENT_CAPABILITIES, deed), 'done')
    assert.match(saidWith(without(lacks), deed), says)
  })
}

test('every capability of the list is needed by one of these deeds', () => {
  const needed = Object.values(REFUSALS).map(({ lacks }) => lacks)
  assert.deepEqual(new Set(needed), new Set(AGENT_CAPABILITIES.map(({ name }) => name)))
})
