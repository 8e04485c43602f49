// Certificates that end soon, roots that follow one another, and a controller that is away: what callers notice of it.
//
// WEFT_ROTATION_SECONDS: how long leaves are rotated under load; by default 15, a full run takes 60.
import assert from 'node:assert/strict'
import { type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeRoot } from '../../agent/identity/authority.ts'
import { readRoots } from '../../agent/identity/roots.ts'
import { eventually, TestLab } from './lab.ts'
import type { LoadOrder, Tally, Target } from './load.ts'
import {
  agentPids,
  applicationPods,
  commandOf,
  podManifest,
  PodProgram,
  samples,
  sent,
  startAgent,
  statusNow,
  sumOf,
  upWithAgents,
} from './mesh.ts'

const ROTATION_SECONDS = Number(process.env['WEFT_ROTATION_SECONDS'] ?? 15)
/** Renewed at half of it. */
const LIFE_SECONDS = 12
const SETTLE_SECONDS = 3
/** Those of the last test: the second half of it is enough to start an agent anew. */
const LONGER_SECONDS = 36
const PER_SECOND = 500

const MANIFESTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', annotations: { 'weft.dev/mesh': 'enabled' } } },
  {
    ...{ apiVersion: 'security.istio.io/v1', kind: 'PeerAuthentication' },
    metadata: { name: 'default', namespace: 'istio-system' },
    spec: { mtls: { mode: 'STRICT' } },
  },
]
  .map((each) => JSON.stringify(each))
  .concat(
    podManifest({ name: 'caller', namespace: 'shop', node: 'node-1' }),
    podManifest({ name: 'web', namespace: 'shop', node: 'node-2' }),
  )
  .join('\n---\n')

const SECRET = '/api/v1/namespaces/weft-system/secrets/weft-root'
const ROOTS = '/api/v1/namespaces/weft-system/configmaps/weft-roots'

let lab: TestLab
const programs = new Map<string, PodProgram>()
const hosts = new Map<string, string>()
const started: ChildProcess[] = []

before(async () => {
  lab = await TestLab.make()
  const lease = ['lease-seconds=3', 'renew-seconds=2', 'retry-ms=200'] // one that is killed is soon followed
  const controller = [`certificate-seconds=${LIFE_SECONDS}`, `root-settle-seconds=${SETTLE_SECONDS}`, ...lease]
  await upWithAgents(lab, MANIFESTS, [], controller)
  for (const { metadata, status } of await applicationPods(lab)) {
    const name = metadata?.name ?? ''
    hosts.set(name, status?.podIP ?? '')
    programs.set(name, new PodProgram(lab, `shop/${name}`, 'load.ts'))
  }
})
after(async () => {
  for (const program of programs.values()) await program.close()
  await lab.end()
})

const at = (port: number): Target => ({ host: hosts.get('web') ?? '', port })
const ask = <Answer>(order: LoadOrder): Promise<Answer> => programs.get('caller')!.ask<Answer>(order)

/** Half of it over HTTP, every other request on a new connection; half as dials of their own. */
async function begin(perSecond = PER_SECOND): Promise<void> {
  await ask({ begin: 'mixed', kind: 'mixed', targets: [at(8080)], perSecond: (perSecond * 4) / 5 })
  await ask({ begin: 'dial', kind: 'dial', targets: [at(9000)], perSecond: perSecond / 5 })
}

/** Ends the load and tells what came of it; none may have failed. */
async function end(): Promise<string> {
  const tallies = [await ask<Tally>({ end: 'mixed' }), await ask<Tally>({ end: 'dial' })]
  for (const { begun, answered, failed } of tallies) assert.deepEqual([failed, answered], [[], begun])
  return tallies.map(({ begun, slowestMs }) => `${begun} begun, slowest ${slowestMs.toFixed(0)} ms`).join('; ')
}

/** Serial numbers do not show; ends do: each certificate has its own. */
const ends = async (): Promise<string[]> =>
  (await statusNow(lab)).pods.map(({ certificate }) => certificate?.notAfter ?? '')

test('certificates that live 12 s are renewed under load, and no request fails', async (t) => {
  const seen = new Set<string>()
  await begin()
  for (const until = Date.now() + ROTATION_SECONDS * 1000; Date.now() < until; await sleep(500)) {
    for (const each of await ends()) seen.add(each)
  }
  t.diagnostic(`${ROTATION_SECONDS} s: ${await end()}`)
  // both pods have one account and so one identity, a certificate a node, renewed in less than 10 s
  const least = Math.floor((ROTATION_SECONDS / 10) * 2)
  assert.ok(seen.size > least, `${seen.size} certificates in ${ROTATION_SECONDS} s`)
  t.diagnostic(`${seen.size} certificates of two nodes`)
  const all = await samples(lab, 'node-2')
  const [full, resumed] = ['full', 'resumed'].map((kind) => sumOf(all, 'weft_tls_handshakes_total', { kind }))
  t.diagnostic(`handshakes of node-2: ${full} full, ${resumed} resumed`)
  assert.ok((resumed ?? 0) > (full ?? 0), 'dials resume: that they do not later is told from here')
  await eventually('the series say when the certificate ends', async () => {
    const now = (await ends()).map((each) => Math.floor(Date.parse(each) / 1000))
    const seconds = (await samples(lab, 'node-2')).find(({ name }) => name === 'weft_certificate_not_after_seconds')
    return seconds !== undefined && now.includes(Math.floor(seconds.value))
  })
  assert.equal(sumOf(await samples(lab, 'node-2'), 'weft_certificate_failing', {}), 0)
})

interface Held {
  readonly metadata: object
  readonly data: Record<string, string>
}

test('a new root takes the place of the old one under load, and no request fails', async (t) => {
  const secret = await sent<Held>(lab, 'GET', SECRET)
  const fresh = makeRoot({ trustDomain: 'cluster.local', days: 100, nowMs: Date.now() })
  const data = {
    'tls.crt': Buffer.from(fresh.certificatePem).toString('base64'),
    'tls.key': Buffer.from(fresh.privateKeyPem).toString('base64'),
  }
  const [wanted] = readRoots(fresh.certificatePem)
  const roots = async (): Promise<string[]> => {
    const { data: texts } = await sent<Held>(lab, 'GET', ROOTS)
    return readRoots(texts['roots.pem'] ?? '').map(({ fingerprint }) => fingerprint)
  }
  await begin()
  await sent(lab, 'PUT', SECRET, { ...secret, data })
  await eventually('the new root is told', async () => (await roots()).includes(wanted?.fingerprint ?? ''))
  assert.notEqual((await roots())[0], wanted?.fingerprint, 'it signs before anybody can have heard of it')
  await eventually('it signs', async () => (await roots())[0] === wanted?.fingerprint, 15_000)
  const before = await ends()
  await eventually(
    'all have a certificate of it',
    async () => (await ends()).every((each) => !before.includes(each)),
    30_000,
  )
  await sleep(2_000)
  const full = async (): Promise<number> =>
    sumOf(await samples(lab, 'node-2'), 'weft_tls_handshakes_total', { kind: 'full' })
  const fullBefore = await full()
  const map = await sent<Held>(lab, 'GET', ROOTS)
  await sent(lab, 'PUT', ROOTS, { ...map, data: { ...map.data, 'roots.pem': fresh.certificatePem } })
  await sleep(3_000)
  t.diagnostic(await end())
  assert.deepEqual(await roots(), [wanted?.fingerprint])
  assert.ok((await full()) > fullBefore, 'a session of before went on')
})

test('with the controller dead for more than half a lifetime, and then an agent, traffic goes on', async (t) => {
  const [pid = 0] = agentPids(lab, 'node-1', 'controller')
  const command = commandOf(pid).map((word) => word.replace(/^(--certificate-seconds)=.*/, `$1=${LONGER_SECONDS}`))
  process.kill(pid, 'SIGKILL')
  const controller = await startAgent(lab, 'node-1', command, 'controller')
  started.push(controller)
  const lastMs = async (): Promise<number> => Math.min(...(await ends()).map((each) => Date.parse(each)))
  await eventually('longer certificates', async () => (await lastMs()) > Date.now() + LONGER_SECONDS * 750, 30_000)
  const gone = once(controller, 'exit')
  controller.kill('SIGKILL')
  await gone
  await begin(100)
  const [overMs, agent = 0] = [await lastMs(), ...agentPids(lab, 'node-2')]
  const half = overMs - LONGER_SECONDS * 500
  await sleep(Math.max(0, half + 3_000 - Date.now()))
  t.diagnostic(`half a lifetime has passed without a controller: ${await end()}`)
  assert.equal(await lastMs(), overMs, 'renewed by whom?')
  const again = commandOf(agent)
  process.kill(agent, 'SIGKILL')
  started.push(await startAgent(lab, 'node-2', again))
  await eventually('whole again', async () => (await statusNow(lab)).whole, 20_000)
  await begin(100)
  await sleep(3_000)
  t.diagnostic(`with an agent that was killed meanwhile: ${await end()}`)
  assert.ok(Date.now() < overMs, 'the machine was too slow for this test: the certificates are over')
})
