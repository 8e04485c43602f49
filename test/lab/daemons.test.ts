// A DaemonSet as programs of a node have them: rights, files of the node, its network, other pods' processes, updates by surge.
import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { V1DaemonSet, V1Namespace, V1Pod } from '@kubernetes/client-node'
import { TestLab, eventually } from './lab.ts'

const SETS = '/apis/apps/v1/namespaces/default/daemonsets'
const PODS = '/api/v1/namespaces/default/pods'

/** Writes into the node's files, says what it may do, and answers on a port that both pods of a surge share. */
const SCRIPT = `
const fs = require('fs')
fs.appendFileSync('/host/weft/seen', process.env.NODE_NAME + ' ' + process.env.VERSION + '\\n')
fs.mkdirSync('/sys/fs/bpf/mine', { recursive: true })
const tried = (f) => { try { f(); return 'yes' } catch (e) { return e.code } }
const status = fs.readFileSync('/proc/self/status', 'utf8')
const seen = (name) => new RegExp(name + ':\\\\s+(\\\\w+)').exec(status)[1]
console.log(JSON.stringify({
  caps: seen('CapEff'), bounds: seen('CapBnd'), nnp: seen('NoNewPrivs'), uid: process.getuid(),
  root: tried(() => fs.writeFileSync('/etc/weft-lab-test', '')), tmp: tried(() => fs.writeFileSync('/tmp/weft-lab-test', '')),
  ro: tried(() => fs.writeFileSync('/host/cgroup/x', '')), cgroup2: fs.readFileSync('/proc/self/mounts', 'utf8').includes(' /host/cgroup'),
  api: [process.env.KUBERNETES_SERVICE_HOST, process.env.KUBERNETES_SERVICE_PORT],
}))
if (process.env.VERSION === 'v1') require('http').createServer((q, r) => r.end('v1')).listen({ port: 9100, host: '0.0.0.0' })
else require('http').createServer((q, r) => r.end('v2')).listen({ port: 9101, host: '0.0.0.0' })
process.on('SIGTERM', () => process.exit(0))
`

const daemons = (version: string, port: number): object => ({
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name: 'daemon' },
  spec: {
    selector: { matchLabels: { app: 'daemon' } },
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: {
      metadata: { labels: { app: 'daemon' } },
      spec: {
        ...{ hostNetwork: true, hostPID: true, dnsPolicy: 'ClusterFirstWithHostNet', terminationGracePeriodSeconds: 3 },
        containers: [
          {
            name: 'main',
            image: 'none',
            command: ['node', '-e', SCRIPT],
            env: [
              { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
              { name: 'VERSION', value: version },
            ],
            securityContext: {
              ...{ runAsUser: 0, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
              capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'SYS_PTRACE', 'SYS_ADMIN'] },
            },
            readinessProbe: { httpGet: { path: '/', port }, periodSeconds: 1 },
            volumeMounts: [
              { name: 'run', mountPath: '/host/weft' },
              { name: 'bpf', mountPath: '/sys/fs/bpf' },
              { name: 'cgroup', mountPath: '/host/cgroup', readOnly: true },
              { name: 'tmp', mountPath: '/tmp' },
            ],
          },
        ],
        volumes: [
          { name: 'run', hostPath: { path: '/run/weft/deep', type: 'DirectoryOrCreate' } },
          { name: 'bpf', hostPath: { path: '/sys/fs/bpf' } },
          { name: 'cgroup', hostPath: { path: '/sys/fs/cgroup', type: 'Directory' } },
          { name: 'tmp', emptyDir: {} },
        ],
      },
    },
  },
})

let lab: TestLab
before(async () => {
  lab = await TestLab.make()
  await lab.up(JSON.stringify(daemons('v1', 9100)))
})
after(() => lab.end())

const pods = async (): Promise<V1Pod[]> =>
  (await lab.api.get<{ items: V1Pod[] }>(`${PODS}?labelSelector=app%3Ddaemon`)).items.toSorted((a, b) =>
    (a.spec?.nodeName ?? '') < (b.spec?.nodeName ?? '') ? -1 : 1,
  )
const hostFile = (node: string, path: string): string => join(lab.place.hosts, node, path)
const isReady = ({ status }: V1Pod): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true

test('a cluster without the mesh has nothing of it', async () => {
  const { items } = await lab.api.get<{ items: V1Namespace[] }>('/api/v1/namespaces')
  const names = items.map(({ metadata }) => metadata?.name)
  assert.ok(!names.some((name) => name === 'weft-system' || name === 'istio-system'), names.join())
  const found = await fetch(`${lab.url}/apis/networking.istio.io/v1`)
  assert.equal(found.status, 404)
  const { items: crds } = await lab.api.get<{ items: object[] }>(
    '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  )
  assert.equal(crds.length, 0)
})

test('a container may do what its security context leaves it, and its logs and exec work', async () => {
  const [first] = await pods()
  const name = first?.metadata?.name ?? ''
  const said = JSON.parse((await lab.run('logs', name)).stdout) as Record<string, unknown>
  const kept = ((1n << 12n) | (1n << 19n) | (1n << 21n)).toString(16).padStart(16, '0')
  assert.deepEqual(said, {
    ...{
      caps: kept,
      bounds: kept,
      nnp: '1',
      uid: 0,
      root: 'EROFS',
      tmp: 'yes',
      ro: 'EROFS',
      cgroup2: true,
    },
    api: ['10.96.0.1', '443'],
  })
  const entered = await lab.run('exec', name, '--', 'grep', '-E', 'CapBnd|NoNewPrivs', '/proc/self/status')
  assert.equal(entered.stdout, `CapBnd:\t${kept}\nNoNewPrivs:\t1\n`)
})

test("a node's pod finds the processes of others, and may look at their networks", async () => {
  const [first, second] = await pods()
  const script = `folder=$(find /host/cgroup -type d -name 'pod${second?.metadata?.uid ?? ''}')
    pid=$(head -n 1 "$folder/main/cgroup.procs"); tr '\\0' ' ' </proc/$pid/environ | grep -o 'NODE_NAME=[a-z0-9-]*'
    [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ] && nsenter --net=/proc/$pid/ns/net ip -o addr show dev eth0`
  const { stdout, stderr } = await lab.sh(first?.metadata?.name ?? '', script)
  assert.match(stdout, /^NODE_NAME=node-2\n.*10\.89\.0\.12\/24/, stderr)
})

test("each node's files are its own, in folders of the lab's state", async () => {
  for (const node of ['node-1', 'node-2']) {
    assert.equal(readFileSync(hostFile(node, '/run/weft/deep/seen'), 'utf8'), `${node} v1\n`)
    assert.deepEqual(readdirSync(join(lab.place.bpf, node)), ['mine'])
  }
  for (const place of ['/run/weft', '/etc/weft-lab-test', '/tmp/weft-lab-test', '/host'])
    assert.ok(!existsSync(place), place)
})

test("the API's address and cluster names lead on from a node's own network", async () => {
  const [first] = await pods()
  const code = `const dns = require('dns').promises; const { address } = await dns.lookup('kubernetes.default')
    const s = require('net').connect(443, address); await new Promise((r, j) => s.on('connect', r).on('error', j))
    s.destroy(); console.log(address)`
  assert.equal(await lab.js(first?.metadata?.name ?? '', code), '10.96.0.1')
})

test('an update with a surge puts the new pod beside the old one, and no node is without for a moment', async () => {
  const set = await lab.api.get<V1DaemonSet>(`${SETS}/daemon`)
  const spec = (daemons('v2', 9101) as V1DaemonSet).spec
  let [fewest, most] = [Infinity, 0]
  const version = (pod: V1Pod): string | undefined =>
    pod.spec?.containers[0]?.env?.find(({ name }) => name === 'VERSION')?.value
  await lab.api.patch(`${SETS}/daemon`, { ...set, spec })
  await eventually(
    'both nodes updated',
    async () => {
      const now = await pods()
      for (const node of ['node-1', 'node-2']) {
        const here = now.filter((pod) => pod.spec?.nodeName === node)
        fewest = Math.min(fewest, here.filter(isReady).length)
        most = Math.max(most, here.length)
      }
      return now.length === 2 && now.every((pod) => version(pod) === 'v2' && isReady(pod))
    },
    30_000,
  )
  assert.deepEqual([fewest, most], [1, 2])
  for (const node of ['node-1', 'node-2'])
    assert.equal(readFileSync(hostFile(node, '/run/weft/deep/seen'), 'utf8'), `${node} v1\n${node} v2\n`)
})

test('who must not be root is not, and a volume of the wrong type is refused in a sentence', async () => {
  const create = (name: string, spec: object): Promise<unknown> =>
    lab.api.create(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: { restartPolicy: 'Never', ...spec },
    })
  const id = ['sh', '-c', 'id -u; id -g; echo $HOME; cat /proc/self/status | grep CapEff']
  const containers = [{ name: 'main', image: 'none', command: id }]
  await create('user', { containers, securityContext: { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 7 } })
  await create('root', { containers, securityContext: { runAsNonRoot: true } })
  const volumes = [{ name: 'v', hostPath: { path: '/var/lib/weft/none', type: 'Directory' } }]
  await create('volume', {
    containers: [{ ...containers[0], volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
    volumes,
  })
  await eventually('the user done', async () => (await lab.pod('user')).status?.phase === 'Succeeded')
  assert.equal((await lab.run('logs', 'user')).stdout, '65532\n7\n/\nCapEff:\t0000000000000000\n')
  const waiting = await eventually(
    'the refusal',
    async () => (await lab.pod('root')).status?.containerStatuses?.[0]?.state?.waiting,
  )
  assert.equal(waiting.reason, 'CreateContainerConfigError')
  assert.match(waiting.message ?? '', /container has runAsNonRoot and image will run as root/)
  await eventually('the mount failed', async () => {
    const { items } = await lab.api.get<{ items: { message?: string; reason?: string }[] }>(
      '/api/v1/namespaces/default/events',
    )
    return items.some(
      ({ reason, message }) =>
        reason === 'FailedMount' && /\/var\/lib\/weft\/none is not a directory/.test(message ?? ''),
    )
  })
})

test("the project's own image runs the project's command", async () => {
  const containers = [{ name: 'main', image: 'example.com/weft:1.2', args: ['--help'] }]
  const spec = { restartPolicy: 'Never', containers }
  await lab.api.create(PODS, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'own' }, spec })
  await eventually('it has ended', async () => (await lab.pod('own')).status?.phase === 'Succeeded')
  assert.match((await lab.run('logs', 'own')).stdout, /weft agent/)
})
