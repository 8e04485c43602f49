// `weft status` as an operator runs it, on a lab with a joined and an unjoined namespace: whole, not whole, an agent gone.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { connectAsUser } from '../../agent/kube/user-client.ts'
import type { MeshStatus } from '../../agent/cli/mesh-status.ts'
import { findCgroup2, labCgroup } from '../../lab/node/cgroup.ts'
import { PROJECT } from '../../lab/state.ts'
import type { V1EndpointSlice, V1Pod } from '@kubernetes/client-node'
import { TestLab, eventually, ran, type Ran } from './lab.ts'

const pod = (namespace: string, name: string, node: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace} }
spec: { nodeName: ${node}, containers: [{ name: main, image: none, command: [sleep, infinity] }] }
---`
const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, annotations: { weft.dev/mesh: enabled } }
---
apiVersion: v1
kind: Namespace
metadata: { name: aside }
---
${pod('shop', 'one', 'node-1')}${pod('shop', 'two', 'node-2')}${pod('aside', 'three', 'node-1')}
`

let lab: TestLab
before(async () => {
  lab = await TestLab.make()
  const file = await lab.write(MANIFESTS)
  const result = await lab.run('up', '--detach', '--timeout', '40', '-f', file)
  assert.equal(result.code, 0, result.stdout + result.stderr)
})
after(() => lab.end())

/** `weft status ARGS`, the cluster told as kubectl is told. */
const status = (...args: string[]): Promise<Ran> => {
  const command = [process.execPath, join(PROJECT, 'agent/main.ts'), 'status', ...args]
  return ran('env', [`KUBECONFIG=${lab.place.kubeconfig}`, ...command])
}
const statusJson = async (...args: string[]): Promise<MeshStatus & { code: number }> => {
  const { code, stdout, stderr } = await status('-o', 'json', ...args)
  assert.ok(code === 0 || code === 1, stderr)
  return { ...(JSON.parse(stdout) as MeshStatus), code }
}
const podsOf = ({ pods }: MeshStatus): unknown[] =>
  pods.map(({ name, node, state, reason }) => [name, node, state, reason])
const BOTH = [
  ['one', 'node-1', 'captured', null],
  ['two', 'node-2', 'captured', null],
]

test('a mesh that is as it should be: every agent, every joined pod and no other, exit code 0', async () => {
  const { code, stdout } = await status()
  assert.match(stdout, /^NODE +AGENT +VERSION +STATE +REASON\nnode-1 +weft-agent-node-1 +\d\S+ +ready +-\nnode-2 /)
  assert.match(
    stdout,
    /\nshop +one +node-1 +captured +PERMISSIVE +until \S+Z +open +0 +-\nshop +two +node-2 +captured /,
  )
  assert.match(stdout, /\n\n2 of 2 agents ready, 2 of 2 joined pods captured\n$/)
  assert.doesNotMatch(stdout, /aside|three/)
  assert.equal(code, 0)
  const told = await statusJson()
  assert.deepEqual([told.whole, told.code, podsOf(told)], [true, 0, BOTH])
})

/** The mesh's own pods, as the API shows them: name, node, whether ready. */
const meshPods = async (): Promise<unknown[]> => {
  const { items } = await lab.api.get<{ items: V1Pod[] }>('/api/v1/namespaces/weft-system/pods')
  return items.map(({ metadata, spec, status: now }) => {
    const isReady = now?.conditions?.some(({ type, status: holds }) => type === 'Ready' && holds === 'True')
    return [metadata?.name, spec?.nodeName, now?.phase, isReady]
  })
}
/** Nodes by whether the Service of the agents has a ready one there. */
const agentNodes = async (): Promise<Record<string, boolean>> => {
  const path = '/apis/discovery.k8s.io/v1/namespaces/weft-system/endpointslices'
  const { items } = await lab.api.get<{ items: V1EndpointSlice[] }>(path)
  const endpoints = items.flatMap((slice) => slice.endpoints ?? [])
  return Object.fromEntries(endpoints.map(({ nodeName, conditions }) => [nodeName, conditions?.ready === true]))
}

test('agents and controller are pods of the cluster, each with an account of its own that may do little', async () => {
  assert.deepEqual(await meshPods(), [
    ['weft-agent-node-1', 'node-1', 'Running', true],
    ['weft-agent-node-2', 'node-2', 'Running', true],
    ['weft-controller-node-1', 'node-1', 'Running', true],
  ])
  assert.deepEqual(await agentNodes(), { 'node-1': true, 'node-2': true })
  const { stdout, code } = await lab.run('status')
  assert.match(stdout, /: 2 nodes, 6 pods\n[^]*\nweft-system\/weft-agent-node-2 +ready +Running +- +node-2 /)
  assert.equal(code, 0)
  const words = await lab.run('logs', 'weft-system/weft-agent-node-2')
  assert.match(words.stderr, /shows a program that runs on node-2 itself: its log is \S+\/agent-node-2\.log, and exec /)
  const { mode } = statSync(lab.place.credentials)
  assert.equal(mode & 0o777, 0o700)
  const credentials = join(lab.place.credentials, 'weft-agent-node-2')
  assert.match(readFileSync(join(credentials, 'kubeconfig'), 'utf8'), /tokenFile/)
  const authorization = `Bearer ${readFileSync(join(credentials, 'token'), 'utf8')}`
  const asked = async (path: string, body?: object): Promise<Response> => {
    const headers = { authorization, 'content-type': 'application/json' }
    return fetch(lab.url + path, { headers, ...(body && { method: 'POST', body: JSON.stringify(body) }) })
  }
  const who = await asked('/apis/authentication.k8s.io/v1/selfsubjectreviews', {})
  const { userInfo } = ((await who.json()) as { status: { userInfo: { username: string; extra: object } } }).status
  assert.equal(userInfo.username, 'system:serviceaccount:weft-system:weft-agent')
  const { 'authentication.kubernetes.io/pod-name': pods, 'authentication.kubernetes.io/node-name': nodes } =
    userInfo.extra as Record<string, string[]>
  assert.deepEqual([pods, nodes], [['weft-agent-node-2'], ['node-2']])
  assert.equal((await asked('/api/v1/services')).status, 200)
  assert.equal((await asked('/api/v1/secrets')).status, 403)
  assert.equal((await asked('/apis/apps/v1/deployments')).status, 403)
})

test('the pod of an agent that somebody deletes is there again, and the agent goes on', async () => {
  const path = '/api/v1/namespaces/weft-system/pods/weft-agent-node-1'
  const uidOf = async (): Promise<string | undefined> =>
    (await lab.api.get<V1Pod>(path).catch(() => undefined))?.metadata?.uid
  const before = await uidOf()
  await lab.api.remove(path)
  await eventually('made anew', async () => {
    const uid = await uidOf()
    return uid !== undefined && uid !== before
  })
  await eventually('ready', async () => (await agentNodes())['node-1'] === true)
  assert.equal((await statusJson()).code, 0)
})

test('a joined pod that shares its node’s network is told with the reason, exit code 1, unless it is not asked about', async () => {
  const spec = {
    hostNetwork: true,
    nodeName: 'node-1',
    containers: [{ name: 'm', image: 'x', command: ['sleep', '99'] }],
  }
  const path = '/api/v1/namespaces/shop/pods'
  await lab.api.create(path, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'host' }, spec })
  const told = await eventually('told by its agent', async () => {
    const now = await statusJson()
    return now.pods.some(({ name, onLoss }) => name === 'host' && onLoss !== null) && now
  })
  assert.deepEqual([told.code, podsOf(told)], [1, [['host', 'node-1', 'uncaptured', 'hostNetwork'], ...BOTH]])
  assert.equal((await statusJson('--node', 'node-2')).code, 0)
  assert.equal((await statusJson('--namespace', 'aside')).code, 0)
  await lab.api.remove(`${path}/host?gracePeriodSeconds=0`)
  await eventually('whole again', async () => (await statusJson()).whole)
})

test('a port on a pod’s own loopback is reached through the API, whether the pod joined or not', async () => {
  const client = connectAsUser(lab.place.kubeconfig)
  for (const [namespace, name] of [
    ['aside', 'three'],
    ['shop', 'one'],
  ] as const) {
    const code = `require('net').createServer((s) => s.end('this is ${name}')).listen(7000, '127.0.0.1', () => console.log('up'))`
    const server = lab.startIn(`${namespace}/${name}`, [process.execPath, '-e', code])
    await once(server.stdout!, 'data')
    const stream = await client.forward({ namespace, pod: name, port: 7000 }, AbortSignal.timeout(10_000))
    assert.equal(await text(stream), `this is ${name}`)
    server.kill()
    await once(server, 'exit')
    const refused = await client.forward({ namespace, pod: name, port: 7001 }, AbortSignal.timeout(10_000))
    await assert.rejects(text(refused), /dial tcp 127\.0\.0\.1:7001: connect: connection refused/)
  }
})

test('an agent tells no more than it must to who shows no token, also on its own node', async () => {
  const asked = async (page: string): Promise<string> => {
    const curl = ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', `http://127.0.0.1:15020${page}`]
    return (await lab.run('exec', '--node', 'node-1', '--', ...curl)).stdout
  }
  assert.deepEqual(await Promise.all(['/healthz', '/metrics', '/status', '/snapshot'].map(asked)), [
    ...['200', '200', '401', '401'],
  ])
})

test('a wrong flag, a node that is not there and a cluster that cannot be reached end with 2 and a sentence', async () => {
  const cases: [string[], RegExp][] = [
    [['--what'], /Unknown argument: what/],
    [['--node', 'node-9'], /there is no node node-9/],
    [['-n', 'nope'], /there is no namespace nope/],
    [['-o', 'yaml'], /Choices: "text", "json"/],
    [['--kubeconfig', '/nowhere/kubeconfig'], /nowhere/],
  ]
  for (const [args, words] of cases) {
    const { code, stdout, stderr } = await status(...args)
    assert.deepEqual([code, stdout], [2, ''], args.join(' '))
    assert.match(stderr, words)
    assert.match(stderr, /^weft: /)
  }
})

test('an agent that was killed is no agent, its pods are uncaptured, exit code 1; the other node is as before', async () => {
  const procs = join(labCgroup(findCgroup2() ?? '', lab.place.id), 'node-2', 'agent', 'cgroup.procs')
  for (const pid of readFileSync(procs, 'utf8').split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL')
  const told = await eventually('gone', async () => {
    const now = await statusJson()
    return now.agents.some(({ state }) => state === 'no agent') && now
  })
  assert.equal(told.code, 1)
  assert.deepEqual(
    told.agents.map(({ node, agent, state }) => [node, agent, state]),
    [
      ['node-2', null, 'no agent'],
      ['node-1', 'weft-agent-node-1', 'ready'],
    ],
  )
  assert.match(
    told.agents[0]?.reasons.join() ?? '',
    /error forwarding port 15020 to pod weft-agent-node-2, \S+ \S+: dial tcp 127\.0\.0\.1:15020: connect/,
  )
  assert.deepEqual(podsOf(told), [['two', 'node-2', 'uncaptured', 'no agent on its node'], BOTH[0]])
  await eventually('seen by the cluster', async () => (await agentNodes())['node-2'] === false)
  const { stdout, code } = await lab.run('status')
  assert.match(stdout, /the agent of node-2 does not run: see [^]*waiting for:\n  weft-system\/weft-agent-node-2 /)
  assert.equal(code, 1)
  assert.match((await status()).stdout, /^NODE[^\n]*\nnode-2 +- +- +no agent +error forwarding port 15020 to pod /)
  assert.equal((await status('--node', 'node-1')).code, 0)
})
