// The ways in which the mesh is used, from the real chart, one after another in one cluster: install, join, apply, scrape,
// upgrade, uninstall. Each is timed and the times are printed.
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CoreV1Event, V1Job, V1Pod } from '@kubernetes/client-node'
import { PROJECT } from '../../lab/state.ts'
import { findHelm, NO_HELM } from '../helm.ts'
import { eventually, ran, type Ran, TestLab } from './lab.ts'
import type { LoadOrder, Pings, Tally, Target } from './load.ts'
import { podManifest, PodProgram, samples, sent, statusNow, sumOf } from './mesh.ts'

const NODES = ['node-1', 'node-2']
const CHART = join(PROJECT, 'charts/weft')
/** New requests, each on a connection of its own, while agents are replaced. */
const REQUESTS = 10_000
const PER_SECOND = 250
const HELM_TIMEOUT = '120s'
const PLACE_MS = 20_000

const SHOP = [
  JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }),
  podManifest({ name: 'web', namespace: 'shop', node: 'node-1' }),
  podManifest({ name: 'near', namespace: 'shop', node: 'node-1' }),
  podManifest({ name: 'far', namespace: 'shop', node: 'node-2' }),
  JSON.stringify(slowPod()),
].join('\n---\n')

/** By the collection that each is made in. */
const POLICIES: Readonly<Record<string, object>> = {
  '/apis/security.istio.io/v1/namespaces/shop/peerauthentications': {
    metadata: { name: 'default' },
    spec: { mtls: { mode: 'STRICT' } },
  },
  '/apis/networking.istio.io/v1/namespaces/shop/virtualservices': {
    metadata: { name: 'web' },
    spec: {
      hosts: ['web'],
      http: [
        { match: [{ uri: { prefix: '/old' } }], redirect: { uri: '/new' } },
        { route: [{ destination: { host: 'web' } }] },
      ],
    },
  },
}

const helm = findHelm()
let lab: TestLab
const programs = new Map<string, PodProgram>()
const hosts = new Map<string, string>()
const times: string[] = []

before(async () => {
  if (helm === null) return
  lab = await TestLab.make()
  await lab.up(SHOP, '--nodes', '2')
  const { items } = await lab.api.get<{ items: V1Pod[] }>('/api/v1/namespaces/shop/pods')
  for (const { metadata, status } of items) hosts.set(metadata?.name ?? '', status?.podIP ?? '')
})
after(async () => {
  if (helm === null) return
  for (const program of programs.values()) await program.close()
  await lab.end()
})

/** Answers after a while, and ends what it has begun when it is told to stop. */
function slowPod(): object {
  const code = [
    "const server = require('node:http').createServer((_, response) => setTimeout(() => response.end('late'), 3000))",
    "server.listen(8080, '0.0.0.0')",
    "process.on('SIGTERM', () => server.close(() => process.exit()))",
  ]
  const readinessProbe = { tcpSocket: { port: 8080 }, periodSeconds: 1 }
  const container = { name: 'main', image: 'none', command: [process.execPath, '-e', code.join(';')], readinessProbe }
  const metadata = { name: 'slow', namespace: 'shop', labels: { app: 'slow' } }
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { nodeName: 'node-2', containers: [container] } }
}

/** A step of the way: skipped where helm is not to be had, timed where it is. */
function step(name: string, work: (t: TestContext) => Promise<void>): void {
  test(name, { timeout: 240_000 }, async (t) => {
    if (helm === null) return t.skip(NO_HELM)
    const beganMs = performance.now()
    await work(t)
    times.push(`${name}: ${((performance.now() - beganMs) / 1000).toFixed(1)} s`)
  })
}

/** Runs a program with the kubeconfig of the cluster's administrator; throws what it said where it fails. */
async function did(program: string, ...args: readonly string[]): Promise<Ran> {
  const done = await ran('env', [`KUBECONFIG=${lab.place.kubeconfig}`, program, ...args], PROJECT)
  assert.equal(done.code, 0, `${program} ${args.join(' ')}: ${done.stdout}${done.stderr}`)
  return done
}
const doHelm = (verb: string, ...args: string[]): Promise<Ran> =>
  did(helm ?? '', verb, 'weft', ...args, '--namespace', 'weft-system', '--wait', '--timeout', HELM_TIMEOUT)
const weft = (...args: string[]): Promise<Ran> => did(process.execPath, join(PROJECT, 'agent/main.ts'), ...args)

const at = (pod: string, port: number): Target => ({ host: hosts.get(pod) ?? '', port })
const ask = <Answer>(pod: string, order: LoadOrder): Promise<Answer> => {
  const program = programs.get(pod) ?? new PodProgram(lab, `shop/${pod}`, 'load.ts')
  programs.set(pod, program)
  return program.ask<Answer>(order)
}
const podsOf = async (namespace: string, app: string): Promise<V1Pod[]> =>
  (await lab.api.get<{ items: V1Pod[] }>(`/api/v1/namespaces/${namespace}/pods?labelSelector=app%3D${app}`)).items

/** What a node keeps of agents, by its path there. */
function tracesOn(node: string): string[] {
  const host = join(lab.place.folder, 'hosts', node)
  const folders = ['run/weft', 'var/lib/weft', 'opt/cni/bin', 'etc/cni/net.d']
  const files = folders.flatMap((folder) => {
    const path = join(host, folder)
    const inside = existsSync(path) ? readdirSync(path, { recursive: true }).map(String) : []
    return inside.map((name) => join(folder, name))
  })
  const pins = join(lab.place.bpf, node)
  return [...files, ...(existsSync(pins) ? readdirSync(pins).map((name) => join('bpf', name)) : [])]
}

step('install', async () => {
  await doHelm(
    'install',
    CHART,
    '--create-namespace',
    '--set',
    'agent.settings.account-seconds=1',
    '--set',
    'agent.settings.drain-seconds=5',
  )
  const agents = await podsOf('weft-system', 'weft-agent')
  assert.deepEqual(agents.map(({ spec }) => spec?.nodeName).toSorted(), NODES)
  for (const { metadata, status } of agents) {
    assert.ok(
      status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
      String(metadata?.name),
    )
  }
  assert.equal((await podsOf('weft-system', 'weft-controller')).length, 2)
  assert.equal((await statusNow(lab)).agents.length, 2)
})

step('join', async () => {
  await weft('join', 'shop')
  const { pods, whole } = await statusNow(lab)
  assert.ok(whole, JSON.stringify(pods))
  assert.deepEqual(pods.map(({ name, state }) => `${name} ${state}`).toSorted(), [
    'far captured',
    'near captured',
    'slow captured',
    'web captured',
  ])
})

step('apply', async () => {
  for (const [path, object] of Object.entries(POLICIES)) await sent(lab, 'POST', path, object)
  await eventually('STRICT is in force', async () => {
    const { pods } = await statusNow(lab)
    return pods.every(({ modes }) => modes?.others === 'STRICT')
  })
  const dialled = await lab.js('shop/far', `console.log((await fetch('http://${hosts.get('web')}:8080/ready')).status)`)
  assert.equal(dialled, '200')
})

step('scrape', async () => {
  const secured = { reporter: 'destination', connection_security_policy: 'mutual_tls', response_code: '200' }
  await eventually('the request is counted as secured', async () => {
    return sumOf(await samples(lab, 'node-1'), 'istio_requests_total', secured) > 0
  })
})

/** Its very first deed, before its containers run, is a call; then the same again. */
const JOB = {
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: 'early', namespace: 'shop' },
  spec: {
    backoffLimit: 0,
    template: {
      metadata: { labels: { app: 'early' } },
      spec: {
        restartPolicy: 'Never',
        nodeName: 'node-2',
        initContainers: [{ name: 'first', image: 'docker.io/curlimages/curl:8.10.1', command: ['sh', '-c', ''] }],
        containers: [{ name: 'then', image: 'docker.io/curlimages/curl:8.10.1', command: ['sh', '-c', ''] }],
      },
    },
  },
}

step('a job whose init container calls before anything else, under STRICT', async () => {
  const command = ['curl', '-sf', '--max-time', '5', `http://${hosts.get('web')}:8080/ready`]
  const job = structuredClone(JOB)
  for (const each of [...job.spec.template.spec.initContainers, ...job.spec.template.spec.containers])
    each.command = command
  await sent(lab, 'POST', '/apis/batch/v1/namespaces/shop/jobs', job)
  const over = await eventually(
    'the job is over',
    async () => {
      const { status } = await lab.api.get<V1Job>('/apis/batch/v1/namespaces/shop/jobs/early')
      return status?.succeeded === 1 || (status?.failed ?? 0) > 0 ? status : undefined
    },
    PLACE_MS,
  )
  const { items } = await lab.api.get<{ items: CoreV1Event[] }>('/api/v1/namespaces/shop/events')
  assert.equal(over.succeeded, 1, JSON.stringify(items.map(({ message }) => message)))
  await sent(lab, 'DELETE', '/apis/batch/v1/namespaces/shop/jobs/early')
})

step(`upgrade: agents are replaced under ${REQUESTS} new requests`, async (t) => {
  const ways = [
    ['near', 'web'],
    ['far', 'web'],
  ] as const
  const before = (await podsOf('weft-system', 'weft-agent')).map(({ metadata }) => metadata?.name)
  for (const [from, to] of ways) {
    await ask(from, { begin: 'new', kind: 'new', targets: [at(to, 8080)], perSecond: PER_SECOND / ways.length })
  }
  await ask('far', { hold: 'held', to: at('web', 9000), count: 5 })
  const beganMs = performance.now()
  await doHelm('upgrade', CHART, '--reuse-values', '--set', 'agent.podAnnotations.turn=second')
  t.diagnostic(`the upgrade took ${((performance.now() - beganMs) / 1000).toFixed(1)} s`)
  const after = await eventually(
    'each node has one agent',
    async () => {
      const all = await podsOf('weft-system', 'weft-agent')
      return all.length === NODES.length ? all : undefined
    },
    PLACE_MS,
  )
  for (const { metadata } of after) assert.ok(!before.includes(metadata?.name), String(metadata?.name))
  const leftMs = (REQUESTS / PER_SECOND) * 1000 - (performance.now() - beganMs)
  if (leftMs > 0) await sleep(leftMs)
  let begun = 0
  for (const [from, to] of ways) {
    const tally = await ask<Tally>(from, { end: 'new' })
    t.diagnostic(
      `${from} to ${to}: ${tally.begun} begun, ${tally.failed.length} failed, slowest ${tally.slowestMs.toFixed(0)} ms`,
    )
    assert.deepEqual(tally.failed.slice(0, 3), [])
    assert.equal(tally.answered, tally.begun)
    begun += tally.begun
  }
  assert.ok(begun >= REQUESTS * 0.95, `${begun} requests`)
  const { open, lost } = await ask<Pings>('far', { pings: 'held', when: 'now' })
  t.diagnostic(`long-lived TCP connections through the first agents: ${open} open, ${lost.length} ended`)
  assert.ok((await statusNow(lab)).whole)
})

step('a pod is deleted while its connections drain', async () => {
  const answer = ask<string>('near', { slow: at('slow', 8080), ms: 3_000 })
  await sleep(500) // it is on its way
  await sent(lab, 'DELETE', '/api/v1/namespaces/shop/pods/slow')
  assert.match(await answer, /^200 /)
})

/** As after a restart of the node: its agent is not there yet, and what lies in memory is gone. */
async function forget(node: string): Promise<void> {
  await rm(join(lab.place.folder, 'hosts', node, 'run/weft', node), { recursive: true, force: true })
  await rm(join(lab.place.bpf, node, 'weft'), { recursive: true, force: true })
}

const agentsOn = async (node: string): Promise<number> =>
  (await podsOf('weft-system', 'weft-agent')).filter(({ spec }) => spec?.nodeName === node).length

async function keepAgentsTo(selector: object | null): Promise<void> {
  const spec = { template: { spec: { nodeSelector: { 'kubernetes.io/hostname': null, ...selector } } } }
  await did(
    'kubectl',
    '-n',
    'weft-system',
    'patch',
    'daemonset',
    'weft-agent',
    '--type=merge',
    '-p',
    JSON.stringify({ spec }),
  )
}

step('a node that starts anew: pods of fail-closed namespaces wait for its agent, others do not', async () => {
  await keepAgentsTo({ 'kubernetes.io/hostname': 'node-1' })
  await eventually('node-2 has no agent', async () => (await agentsOn('node-2')) === 0, PLACE_MS)
  await forget('node-2')
  await sent(lab, 'POST', '/api/v1/namespaces', { metadata: { name: 'aside' } })
  for (const namespace of ['shop', 'aside']) {
    const pod = JSON.parse(podManifest({ name: 'early', namespace, node: 'node-2' })) as object
    await sent(lab, 'POST', `/api/v1/namespaces/${namespace}/pods`, pod)
  }
  const phase = async (namespace: string): Promise<string | undefined> =>
    (await lab.api.get<V1Pod>(`/api/v1/namespaces/${namespace}/pods/early`)).status?.phase
  await eventually('the pod of another namespace runs', async () => (await phase('aside')) === 'Running', PLACE_MS)
  const { items } = await eventually('the other is refused', async () => {
    const events = await lab.api.get<{ items: CoreV1Event[] }>('/api/v1/namespaces/shop/events')
    return events.items.some(({ reason }) => reason === 'FailedCreatePodSandBox') ? events : undefined
  })
  assert.match(items.find(({ reason }) => reason === 'FailedCreatePodSandBox')?.message ?? '', /shop/)
  assert.equal(await phase('shop'), 'Pending')
  await keepAgentsTo(null)
  await eventually('it runs once the agent is there', async () => (await phase('shop')) === 'Running', PLACE_MS)
  await eventually('all is captured', async () => (await statusNow(lab)).whole, PLACE_MS)
  const early = (await statusNow(lab)).pods.find(({ name }) => name === 'early')
  assert.deepEqual([early?.state, early?.fromStart], ['captured', true])
})

step('uninstall leaves nothing', async () => {
  await weft('leave', 'shop')
  await doHelm('uninstall')
  assert.deepEqual(await podsOf('weft-system', 'weft-agent'), [])
  for (const node of NODES) assert.deepEqual(tracesOn(node), ['etc/cni/net.d/10-weft-lab.conflist'], node)
  const { items } = await lab.api.get<{ items: V1Pod[] }>('/api/v1/namespaces/shop/pods')
  for (const { metadata } of items) {
    assert.deepEqual(
      Object.keys(metadata?.annotations ?? {}).filter((name) => name.startsWith('weft.dev/')),
      [],
    )
  }
  for (const kind of ['secrets', 'configmaps', 'serviceaccounts']) {
    const left = (await lab.api.get<{ items: V1Pod[] }>(`/api/v1/namespaces/weft-system/${kind}`)).items
    const names = left.map(({ metadata }) => metadata?.name ?? '')
    assert.deepEqual(
      names.filter((name) => name !== 'default' && name !== 'kube-root-ca.crt'),
      [],
      kind,
    )
  }
  const dialled = await lab.js(
    'shop/near',
    `console.log((await fetch('http://${hosts.get('web')}:8080/ready')).status)`,
  )
  assert.equal(dialled, '200')
})

test('how long it took', (t) => {
  for (const line of times) t.diagnostic(line)
})
