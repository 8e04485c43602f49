// The agent of a node is killed under load, and after some seconds another takes its place: what pods that go direct then
// and pods that are closed then get meanwhile, whether probes pass, and what is left in the books.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { after, before, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CoreV1Event } from '@kubernetes/client-node'
import { eventually, TestLab } from './lab.ts'
import type { LoadOrder, Pings, Tally, Target } from './load.ts'
import {
  agentPids,
  applicationPods,
  commandOf,
  podManifest,
  PodProgram,
  samples,
  startAgent,
  statusNow,
  sumOf,
  upWithAgents,
  weftStatus,
} from './mesh.ts'

/** How long the node has no agent. */
const ABSENT_MS = 6_000
/** New connections work again after so long at most: generous, the machine has other work. */
const OUTAGE_MS = 3_000
const PER_SECOND = 50
const HELD = 10

const MANIFESTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', annotations: { 'weft.dev/mesh': 'enabled' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'aside' } },
]
  .map((each) => JSON.stringify(each))
  .concat(
    podManifest({ name: 'open', namespace: 'shop', node: 'node-1' }),
    podManifest({
      ...{ name: 'closed', namespace: 'shop', node: 'node-1' },
      annotations: { 'weft.dev/on-agent-loss': 'closed' },
    }),
    podManifest({ name: 'neighbour', namespace: 'shop', node: 'node-1' }),
    podManifest({ name: 'till', namespace: 'shop', node: 'node-1' }),
    podManifest({ name: 'teller', namespace: 'shop', node: 'node-1' }),
    podManifest({ name: 'far', namespace: 'shop', node: 'node-2' }),
    podManifest({ name: 'stranger', namespace: 'aside', node: 'node-2' }),
  )
  .join('\n---\n')

let lab: TestLab
/** Programs by the pod they are in. */
const programs = new Map<string, PodProgram>()
const hosts = new Map<string, string>()
/** What the first agent ran as. */
let command: readonly string[] = []
let second: ChildProcess | null = null
let killedAtMs = 0
let probed: Promise<string[]> = Promise.resolve([])
const probing = new AbortController()

before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, ['account-seconds=1', 'leave-seconds=1'])
  for (const { metadata, status } of await applicationPods(lab)) {
    const name = metadata?.name ?? ''
    hosts.set(name, status?.podIP ?? '')
    if (name !== 'till') programs.set(name, new PodProgram(lab, `${metadata?.namespace}/${name}`, 'load.ts'))
  }
})
after(async () => {
  probing.abort()
  for (const program of programs.values()) await program.close()
  await lab.end()
})

const at = (pod: string, port = 9000): Target => ({ host: hosts.get(pod) ?? '', port })
const ask = <Answer>(pod: string, order: LoadOrder): Promise<Answer> => programs.get(pod)!.ask<Answer>(order)
const begin = async (pod: string, name: string, kind: 'new' | 'dial', to: Target): Promise<void> => {
  await ask(pod, { begin: name, kind, targets: [to], perSecond: PER_SECOND })
}
const end = (pod: string, name: string): Promise<Tally> => ask<Tally>(pod, { end: name })

/** Loads that go on from before the death until after the take-over: who dials whom, and how. */
const OPEN_WAYS: readonly (readonly [string, string, 'new' | 'dial', Target['port']])[] = [
  ['neighbour', 'open', 'dial', 9000],
  ['neighbour', 'open', 'new', 8080],
  ['far', 'open', 'dial', 9000],
  ['far', 'open', 'new', 8080],
  ['stranger', 'open', 'dial', 9000],
  ['open', 'far', 'dial', 9000],
  ['open', 'far', 'new', 8080],
]
/** What new connections of and to the closed pod meet, by who dials whom. A caller whose own proxy lives is connected by it, then reset. */
const CLOSED_WAYS = [
  ['closed', 'far', 'ECONNREFUSED'],
  ['closed', 'open', 'ECONNREFUSED'],
  ['neighbour', 'closed', 'ECONNREFUSED'],
  ['stranger', 'closed', 'ECONNREFUSED'],
  ['far', 'closed', 'ECONNRESET'],
] as const

/** Probes that have failed since the lab was started: some do while applications start. */
async function failedProbes(): Promise<number> {
  const { items } = await lab.api.get<{ items: CoreV1Event[] }>('/api/v1/events')
  return items.filter(({ reason }) => reason === 'Unhealthy').reduce((sum, { count }) => sum + (count ?? 1), 0)
}

/** Looks several times a second whether every pod is ready, until it is told to stop; says what was otherwise. */
async function watchProbes(): Promise<string[]> {
  const wrong = new Set<string>()
  const failedBefore = await failedProbes()
  while (!probing.signal.aborted) {
    for (const { metadata, status } of await applicationPods(lab)) {
      const isReady = status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True')
      const isRestarted = status?.containerStatuses?.some(({ restartCount }) => restartCount > 0)
      if (isReady !== true) wrong.add(`${metadata?.name} was not ready`)
      if (isRestarted === true) wrong.add(`${metadata?.name} was restarted`)
    }
    await sleep(200, undefined, { signal: probing.signal }).catch(() => undefined)
  }
  const failed = (await failedProbes()) - failedBefore
  return failed === 0 ? [...wrong] : [...wrong, `${failed} probes failed`]
}

/** How long after the death a load's new connections failed; those that were begun before are counted apart. */
function judge(t: TestContext, what: string, { begun, answered, failed, fineAtMs }: Tally): void {
  const before = failed.filter(({ atMs }) => atMs < killedAtMs)
  const after = failed.filter(({ atMs }) => atMs >= killedAtMs)
  const lastFailedMs = Math.max(killedAtMs, ...after.map(({ atMs }) => atMs))
  const againMs = Math.min(...fineAtMs.filter((ms) => ms >= lastFailedMs)) - killedAtMs
  const codes = [...new Set(failed.map(({ code }) => code))].join(', ')
  t.diagnostic(
    `${what}: ${begun} dials, works again ${againMs} ms after the death; ${before.length} in flight broke, ` +
      `${after.length} begun later failed${codes === '' ? '' : ` (${codes})`}`,
  )
  assert.equal(answered + failed.length, begun, what)
  assert.ok(againMs < OUTAGE_MS, `${what}: ${againMs} ms`)
}

test('an agent that is killed under load: new connections of open pods go direct within a moment', async (t) => {
  for (const [from, to, kind, port] of OPEN_WAYS) await begin(from, `${to} ${kind}`, kind, at(to, port))
  for (const from of ['neighbour', 'far']) await ask(from, { hold: 'held', to: at('open'), count: HELD })
  await ask('far', { hold: 'aside', to: at('stranger'), count: HELD })
  // connections that are quiet when the agent dies, so that what they carried is known to the byte
  await ask('teller', { hold: 'relayed', to: at('till'), count: HELD })
  await sleep(1_000)
  await ask('teller', { pings: 'relayed', when: 'quiet' })
  probed = watchProbes()
  const [pid = 0] = agentPids(lab, 'node-1')
  command = commandOf(pid)
  killedAtMs = Date.now()
  process.kill(pid, 'SIGKILL')
  await eventually('the agent is dead', () => Promise.resolve(!existsSync(`/proc/${pid}`)))
  t.diagnostic(`dead and buried ${Date.now() - killedAtMs} ms after the signal`)
  for (const [from, to] of CLOSED_WAYS) await begin(from, `${to} closed`, 'dial', at(to))
  await begin('teller', 'direct', 'dial', at('till'))
  await ask('teller', { hold: 'lasting', to: at('till'), count: 5 })
  await sleep(killedAtMs + ABSENT_MS - Date.now())
  const { pods } = await statusNow(lab)
  assert.deepEqual(
    new Set(pods.filter(({ node }) => node === 'node-1').map(({ reason }) => reason)),
    new Set(['no agent on its node']),
  )
})

test('while no agent runs a closed pod is refused both ways', async (t) => {
  for (const [from, to, code] of CLOSED_WAYS) {
    const { begun, answered, failed } = await end(from, `${to} closed`)
    const codes = new Set(failed.map((each) => each.code))
    t.diagnostic(`${from} to ${to}: ${begun} dials, ${failed.length} ${[...codes].join()}`)
    assert.deepEqual([answered, [...codes]], [0, [code]], `${from} to ${to}`)
    assert.ok(begun > (PER_SECOND * ABSENT_MS) / 2000, `only ${begun} dials`)
  }
})

test('the next agent takes over what the killed one captured, and no connection is lost by that', async (t) => {
  await ask('teller', { pings: 'lasting', when: 'quiet' })
  const direct = await end('teller', 'direct')
  assert.deepEqual(direct.failed, [])
  const beganMs = Date.now()
  second = await startAgent(lab, 'node-1', command)
  await eventually('whole again', async () => (await statusNow(lab)).whole, 20_000)
  t.diagnostic(`whole again ${Date.now() - beganMs} ms after the start of the next agent`)
  assert.equal((await weftStatus(lab)).code, 0)
  for (const [from, to] of CLOSED_WAYS) await begin(from, `${to} again`, 'dial', at(to))
  await sleep(1_000)
  for (const [from, to] of CLOSED_WAYS) {
    const { begun, answered, failed } = await end(from, `${to} again`)
    assert.deepEqual([failed, answered], [[], begun], `${from} to ${to}`)
  }
  for (const [from, to, kind] of OPEN_WAYS) {
    const tally = await end(from, `${to} ${kind}`)
    judge(t, `${from} to ${to}, ${kind === 'dial' ? 'TCP' : 'HTTP'}`, tally)
    assert.deepEqual(
      tally.failed.filter(({ atMs }) => atMs > beganMs),
      [],
      'during the take-over',
    )
  }
})

test('connections that were open through the killed agent break, others do not', async (t) => {
  for (const from of ['neighbour', 'far']) {
    const { open, lost } = await ask<Pings>(from, { pings: 'held', when: 'now' })
    t.diagnostic(
      `${from} held ${HELD} to a pod of the node: ${lost.length} broke, ${Math.max(...lost.map(({ atMs }) => atMs - killedAtMs))} ms after the death at the latest`,
    )
    assert.deepEqual([open, lost.length], [0, HELD])
  }
  const { open, lost, sent, answered } = await ask<Pings>('far', { pings: 'aside', when: 'ended' })
  assert.deepEqual([open, lost, answered], [HELD, [], sent], 'past the node')
})

test('probes passed all the time: every pod stayed ready and none was restarted', async (t) => {
  t.diagnostic(
    `${((Date.now() - killedAtMs) / 1000).toFixed(1)} s watched, ${ABSENT_MS / 1000} s of them without agent`,
  )
  probing.abort()
  assert.deepEqual(await probed, [])
})

test('what closed while no agent ran is in the books of the next one, to the byte', async (t) => {
  const relayed = await ask<Pings>('teller', { pings: 'relayed', when: 'now' })
  const lasting = await ask<Pings>('teller', { pings: 'lasting', when: 'ended' })
  const direct = await end('teller', 'direct')
  assert.deepEqual([relayed.lost.length, lasting.lost, lasting.open], [HELD, [], 5])
  const connections = HELD + direct.answered + 5
  const bytes = relayed.bytes + direct.bytes + lasting.bytes
  const books = async (): Promise<object[]> => {
    const all = await samples(lab, 'node-1')
    return [
      ['teller', 'outbound'],
      ['till', 'inbound'],
    ].map(([pod = '', direction = '']) => {
      const of = (name: string): number =>
        ['proxy', 'direct'].reduce(
          (sum, passage) => sum + sumOf(all, `weft_kernel_tcp_${name}`, { pod, direction, passage }),
          0,
        )
      const [opened, closed] = [of('connections_opened_total'), of('connections_closed_total')]
      return { pod, opened, closed, sent: of('sent_bytes_total'), received: of('received_bytes_total') }
    })
  }
  const wanted = ['teller', 'till'].map((pod) => ({
    pod,
    opened: connections,
    closed: connections,
    sent: bytes,
    received: bytes,
  }))
  t.diagnostic(
    `${connections} connections, ${bytes} bytes each way, ${direct.answered} of them opened and closed without agent`,
  )
  await eventually('all closed', async () => JSON.stringify(await books()) === JSON.stringify(wanted)).catch(
    () => undefined,
  )
  assert.deepEqual(await books(), wanted)
})

test('the end of the lab is the end of the agent that was started beside it', async () => {
  const ended = once(second!, 'exit')
  for (const program of programs.values()) await program.close()
  assert.match((await lab.run('down')).stdout, /is gone/)
  await ended
})
