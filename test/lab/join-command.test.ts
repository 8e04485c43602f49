// `weft join` and `weft leave` as an operator runs them: what they show before, what they do, and what agents make of it.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { V1Namespace, V1Pod } from '@kubernetes/client-node'
import type { Plan } from '../../agent/model/joining/plan.ts'
import type { Outcome } from '../../agent/cli/join-wait.ts'
import { PROJECT } from '../../lab/state.ts'
import { eventually, type Ran, ran, TestLab } from './lab.ts'
import { podManifest, samples, statusNow, sumOf, upWithAgents } from './mesh.ts'

const hostNetworkPod = (name: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop }
spec: { nodeName: node-2, hostNetwork: true, containers: [{ name: main, image: none, command: [sleep, infinity] }] }`
const disabled = { 'weft.dev/mesh': 'disabled' }
const enabled = { 'weft.dev/mesh': 'enabled' }
const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }, { name: db, port: 3307, targetPort: 3306 }] }
---
${podManifest({ name: 'web-1', namespace: 'shop', node: 'node-1', app: 'web' })}
---
${podManifest({ name: 'web-2', namespace: 'shop', node: 'node-2', app: 'web' })}
---
${podManifest({ name: 'caller', namespace: 'shop', node: 'node-1' })}
---
${podManifest({ name: 'shy', namespace: 'shop', node: 'node-1', annotations: disabled })}
---
${podManifest({ name: 'keen', namespace: 'shop', node: 'node-2', annotations: enabled })}
---
${hostNetworkPod('bare')}
`

let lab: TestLab
before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, ['leave-seconds=2', 'account-seconds=1'])
})
after(() => lab.end())

const weft = (...args: string[]): Promise<Ran> =>
  ran('env', [`KUBECONFIG=${lab.place.kubeconfig}`, process.execPath, join(PROJECT, 'agent/main.ts'), ...args])
const told = (result: Ran): Plan & { dryRun: boolean; written: boolean; outcome: Outcome | null } =>
  JSON.parse(result.stdout)
const fates = ({ pods }: Plan): unknown[] => pods.map(({ name, kind, reason }) => [name, kind, reason])
const namespace = (): Promise<V1Namespace> => lab.api.get<V1Namespace>('/api/v1/namespaces/shop')
const pods = async (): Promise<V1Pod[]> => (await lab.api.get<{ items: V1Pod[] }>('/api/v1/namespaces/shop/pods')).items
const carried = async (): Promise<number> => {
  const all = (await Promise.all(['node-1', 'node-2'].map((node) => samples(lab, node)))).flat()
  return sumOf(all, 'istio_requests_total', { reporter: 'source', source_workload: 'caller' })
}
const call = (): Promise<Ran> => lab.sh('shop/caller', 'curl -sf -m 5 http://web.shop/')
const JOINING = [
  ['bare', 'cannot', 'hostNetwork'],
  ['caller', 'changes', null],
  ['keen', 'changes', null],
  ['shy', 'stays', "its own weft.dev/mesh says 'disabled'"],
  ['web-1', 'changes', null],
  ['web-2', 'changes', null],
]

test('a dry run shows what would become of each pod, and changes nothing', async () => {
  await eventually('keen is captured', async () =>
    (await statusNow(lab)).pods.some(({ name, state }) => name === 'keen' && state === 'captured'),
  )
  const versions = async (): Promise<unknown[]> => {
    const all = [await namespace(), ...(await pods())]
    return all.map(({ metadata }) => [metadata?.name, metadata?.resourceVersion, metadata?.annotations])
  }
  const was = await versions()
  const result = await weft('join', 'shop', '--dry-run', '-o', 'json')
  assert.equal(result.code, 1, result.stderr)
  const plan = told(result)
  assert.deepEqual(fates(plan), JOINING)
  assert.deepEqual(
    [plan.dryRun, plan.written, plan.outcome, plan.cares],
    [true, false, null, ['1 pod cannot be captured']],
  )
  assert.deepEqual(plan.change.annotation, { from: null, to: 'enabled' })
  assert.equal(plan.controller, true)
  assert.deepEqual(
    plan.ports.hints.map(({ service, port, protocol, speaks }) => [service, port, protocol, speaks]),
    [['web', 3307, 'mysql', 'server']],
  )
  const { stdout } = await weft('join', 'shop', '--dry-run')
  assert.match(stdout, /^Namespace shop joins the mesh \(dry run\): weft.dev\/mesh=enabled would be written\n/)
  assert.match(stdout, /\nnode-2 +bare +not captured +hostNetwork\n/)
  assert.deepEqual(await versions(), was)
})

test('what joins is captured when the command comes back, and its traffic goes through the mesh', async (t) => {
  assert.equal((await call()).code, 0)
  assert.equal(await carried(), 0)
  const result = await weft('join', 'shop')
  t.diagnostic(result.stdout + result.stderr)
  assert.equal(result.code, 1, 'bare cannot be captured')
  assert.match(result.stdout, /\n4 of 4 pods captured after \d/)
  const { pods: known } = await statusNow(lab)
  assert.deepEqual(
    known
      .filter(({ state }) => state === 'captured')
      .map(({ name }) => name)
      .sort(),
    ['caller', 'keen', 'web-1', 'web-2'],
  )
  assert.equal((await call()).code, 0)
  await eventually('the call is counted', async () => (await carried()) > 0)
})

test('who has joined already is told so, and nothing is written', async () => {
  const was = (await namespace()).metadata?.resourceVersion
  const again = told(await weft('join', 'shop', '-o', 'json'))
  assert.deepEqual(
    [again.written, again.change.notes, again.outcome?.complete],
    [false, ['it has joined already'], true],
  )
  assert.equal((await namespace()).metadata?.resourceVersion, was)
})

test('what leaves is let go of when the command comes back, but for a pod that asks for the mesh itself', async (t) => {
  const preview = await weft('leave', 'shop', '--dry-run', '-o', 'json')
  assert.equal(preview.code, 0, preview.stderr)
  assert.equal((await namespace()).metadata?.annotations?.['weft.dev/mesh'], 'enabled')
  const result = await weft('leave', 'shop')
  t.diagnostic(result.stdout + result.stderr)
  assert.equal(result.code, 0)
  assert.match(result.stdout, /\nnode-2 +keen +stays in the mesh +its own weft.dev\/mesh says 'enabled'\n/)
  assert.match(result.stdout, /\n3 of 3 pods released after \d/)
  const { pods: known } = await statusNow(lab)
  assert.deepEqual(
    known.map(({ name, state }) => [name, state]),
    [['keen', 'captured']],
  )
  assert.equal((await namespace()).metadata?.annotations?.['weft.dev/mesh'], undefined)
  const before = await carried()
  assert.equal((await call()).code, 0)
  assert.equal(await carried(), before)
})

test('no such namespace, one of the system, a wrong flag: one sentence, exit code 2, nothing written', async () => {
  const said = async (...args: string[]): Promise<unknown[]> => {
    const { code, stdout, stderr } = await weft(...args)
    return [code, stdout, stderr.trim()]
  }
  assert.deepEqual(await said('join', 'nowhere'), [2, '', 'weft: there is no namespace nowhere'])
  const [code, , stderr] = await said('join', 'weft-system')
  assert.equal(code, 2)
  assert.match(String(stderr), /^weft: weft-system is of the mesh itself: .*--force/)
  assert.deepEqual((await said('join', 'shop', '--timeout', '0'))[0], 2)
})
