// The image, built without a registry and run by an OCI runtime: in the place of a lab's agent, with the rights that the mesh says
// that an agent needs, it carries on with the pods that are captured.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { tmpdir } from 'node:os'
import type { V1Pod } from '@kubernetes/client-node'
import { AGENT_CAPABILITIES } from '../../agent/kernel/capabilities.ts'
import { findCgroup2, labCgroup } from '../../lab/node/cgroup.ts'
import { nodeNetns } from '../../lab/node/network.ts'
import type { ContainerRecord, Process } from '../../lab/node/pod/launch.ts'
import type { Bind } from '../../lab/node/pod/mounts.ts'
import { launchOci, type OciLaunch } from '../../lab/node/pod/oci.ts'
import { readImage, type UnpackedImage } from '../../lab/node/pod/oci-archive.ts'
import type { Rights } from '../../lab/node/pod/oci-config.ts'
import { PROJECT } from '../../lab/state.ts'
import { eventually, TestLab } from '../lab/lab.ts'
import type { LoadOrder, Tally } from '../lab/load.ts'
import {
  agentPids,
  applicationPods,
  commandOf,
  podManifest,
  PodProgram,
  samples,
  statusNow,
  sumOf,
  weftStatus,
} from '../lab/mesh.ts'

const START_MS = 20_000
const ROOT_READ_ONLY = /^\S+ \/ overlay ro,/m
/** Where the chart shows an agent the cgroups of the node. */
const CGROUPS = '/host/sys/fs/cgroup'
/** A build takes half a minute; a machine that has much else to do needs more. */
const BUILD_TIMEOUT_MS = 150_000
const MANIFESTS = [
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'shop', annotations: { 'weft.dev/mesh': 'enabled' } },
  }),
  podManifest({ name: 'caller', namespace: 'shop', node: 'node-1' }),
  podManifest({ name: 'web', namespace: 'shop', node: 'node-2' }),
  JSON.stringify(replica()),
].join('\n---\n')

/** One more replica of the controller, as a pod that a kubelet runs from the image: any user, no rights, a root that is read only. */
function replica() {
  const probe = { httpGet: { port: 15_021, path: '/readyz' }, periodSeconds: 1 }
  const securityContext = {
    ...{ runAsNonRoot: true, runAsUser: 65_532, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
    capabilities: { drop: ['ALL'] },
  }
  const container = { name: 'controller', image: 'registry.example/mesh/weft:0.1.0', args: ['controller'] }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'replica', namespace: 'weft-system' },
    spec: {
      ...{ nodeName: 'node-2', serviceAccountName: 'weft-controller' },
      containers: [{ ...container, readinessProbe: probe, securityContext }],
    },
  }
}

const AGENT_RIGHTS: Rights = {
  ...{ user: 0, group: 0, groups: [], noNewPrivileges: true, readOnlyRoot: true },
  capabilities: AGENT_CAPABILITIES.map(({ name }) => name),
}
const ANYBODY: Rights = { ...AGENT_RIGHTS, user: 65_532, group: 65_532, capabilities: [] }

let lab: TestLab
let folder: string
let image: UnpackedImage
let bytes = 0
const running = new Set<Process>()

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-image-test-'))
  lab = await TestLab.make()
  const archive = process.env['WEFT_IMAGE'] ?? join(folder, 'weft.tar')
  if (!existsSync(archive)) await build(archive)
  bytes = (await stat(archive)).size
  const file = await lab.write(MANIFESTS)
  const up = await lab.run('up', '--detach', '--timeout', '45', '--image', `weft=${archive}`, '-f', file)
  assert.equal(up.code, 0, up.stdout + up.stderr)
  image = await readImage(join(lab.place.images, '0'))
})
after(async () => {
  for (const { pid, exited } of running) {
    process.kill(pid, 'SIGTERM')
    await exited
  }
  await lab.end()
  await rm(folder, { recursive: true })
})

/** Makes the archive, as a user does. */
async function build(archive: string): Promise<void> {
  const child = spawn(process.execPath, [join(PROJECT, 'image/main.ts'), '--output', archive], {
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: BUILD_TIMEOUT_MS,
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  assert.equal(code, 0, 'npm run image')
}

interface Run {
  readonly name: string
  readonly args: readonly string[]
  readonly cgroup: string
  readonly rights: Rights
  readonly binds: readonly Bind[]
}

/** Starts the image on node-1, as a pod with the node's network has it. */
async function start({ name, args, ...run }: Run): Promise<Process> {
  const wish: OciLaunch = {
    ...{ ...run, argv: [...image.command, ...args], env: image.env, rootfs: image.rootfs, workingDir: '/' },
    ...{ netns: nodeNetns(lab.place.id, 'node-1'), hostname: 'node-1' },
    ...{ scratch: join(folder, name), logPath: join(folder, `${name}.log`), recordPath: join(folder, `${name}.json`) },
  }
  const started = await launchOci(wish)
  running.add(started)
  void started.exited.then(() => running.delete(started))
  return started
}

const cgroupOf = (name: string): string => join(labCgroup(findCgroup2() ?? '', lab.place.id), 'node-1', name)

/** Runs a command of the image to its end, as a user without any right; gives its exit code and what it said. */
async function said(name: string, ...args: string[]): Promise<{ code: number; log: string }> {
  const { exited } = await start({ name, args, cgroup: cgroupOf(name), rights: ANYBODY, binds: [] })
  const { code } = await exited
  return { code, log: await readFile(join(folder, `${name}.log`), 'utf8') }
}

test('the command is there for any user', async () => {
  const { code, log } = await said('help', 'status', '--help')
  assert.equal(code, 0, log)
  assert.match(log, /Show agents, pods that joined the mesh/)
})

test('a kubelet runs the controller from it, as a user without rights who reaches the API as a pod does', async () => {
  // `up` has waited until it is ready
  const { metadata, status } = await lab.api.get<V1Pod>('/api/v1/namespaces/weft-system/pods/replica')
  assert.equal(status?.containerStatuses?.[0]?.restartCount, 0)
  const record = join(lab.place.folder, 'pods', metadata?.uid ?? '', 'controller.json')
  const { pid } = JSON.parse(await readFile(record, 'utf8')) as ContainerRecord
  const running = await readFile(`/proc/${pid}/status`, 'utf8')
  assert.match(running, /^Uid:\t65532\t65532\t/m)
  assert.match(running, /^CapBnd:\t0+$/m)
  assert.match(await readFile(`/proc/${pid}/mounts`, 'utf8'), ROOT_READ_ONLY)
})

test('a lab is not in it, and it says so', async () => {
  const { code, log } = await said('without-lab', 'lab', 'up')
  assert.equal(code, 2, log)
  assert.match(log, /this installation has no lab/)
})

/** Requests from one node to the other, and how they ended. */
async function requests(): Promise<Tally> {
  const host = (await applicationPods(lab)).find(({ metadata }) => metadata?.name === 'web')?.status?.podIP ?? ''
  const caller = new PodProgram(lab, 'shop/caller', 'load.ts')
  try {
    await caller.ask({ begin: 'all', kind: 'new', targets: [{ host, port: 8080 }], perSecond: 100 } satisfies LoadOrder)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    return await caller.ask<Tally>({ end: 'all' } satisfies LoadOrder)
  } finally {
    await caller.close()
  }
}

/** The files of the machine that an agent of a lab works with, where it expects them. */
function agentBinds(): Bind[] {
  const bind = (path: string, readOnly: boolean): Bind => ({ source: path, target: path, readOnly, isFile: false })
  const { bpf, run, credentials } = lab.place
  return [
    { ...bind(findCgroup2() ?? '', true), target: CGROUPS },
    bind(bpf, false),
    bind(run, false),
    bind(credentials, true),
  ]
}

test('in the place of an agent it has the same pods, with three capabilities and a root that is read only', async (t) => {
  const [first = 0] = agentPids(lab, 'node-1')
  // without Node and its program; cgroups are found where a pod has them
  const args = commandOf(first)
    .slice(2)
    .map((word) => word.replace(findCgroup2() ?? '', CGROUPS))
  process.kill(first, 'SIGTERM')
  await eventually('the first ends', async () => agentPids(lab, 'node-1').length === 0, START_MS)
  const agent = await start({
    name: 'agent',
    args,
    cgroup: cgroupOf('agent'),
    rights: AGENT_RIGHTS,
    binds: agentBinds(),
  })
  const log = (): Promise<string> => readFile(join(folder, 'agent.log'), 'utf8')
  await eventually('the mesh is whole', async () => (await statusNow(lab)).whole, START_MS).catch(async (error) => {
    throw new Error(`${(error as Error).message}\n${await log()}`)
  })
  assert.equal((await weftStatus(lab)).code, 0)
  const { begun, answered, failed } = await requests()
  assert.deepEqual([failed, answered], [[], begun])
  assert.ok(begun > 10)
  const secured = { response_code: '200', connection_security_policy: 'mutual_tls' }
  const counted = async (): Promise<boolean> =>
    sumOf(await samples(lab, 'node-2'), 'istio_requests_total', secured) >= begun
  await eventually('all came by mTLS', counted)
  const own = sumOf(await samples(lab, 'node-1'), 'istio_requests_total', { response_code: '200', reporter: 'source' })
  assert.ok(own >= begun, `the image's agent has counted ${own} of ${begun}`)
  const recorded = async (): Promise<boolean> =>
    (await log()).split('\n').filter((line) => line.includes('"response_code":200')).length >= begun
  await eventually('each request has its record', recorded)
  const status = await readFile(`/proc/${agent.pid}/status`, 'utf8')
  const mask = AGENT_CAPABILITIES.reduce((sum, { bit }) => sum | (1n << BigInt(bit)), 0n)
    .toString(16)
    .padStart(16, '0')
  for (const line of [`CapEff:\t${mask}`, `CapBnd:\t${mask}`, 'NoNewPrivs:\t1']) assert.ok(status.includes(line), line)
  const mounts = await readFile(`/proc/${agent.pid}/mounts`, 'utf8')
  assert.match(mounts, ROOT_READ_ONLY)
  const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1])
  t.diagnostic(`image: archive ${(bytes / 1e6).toFixed(1)} MB; its agent: VmRSS ${(kilobytes / 1024).toFixed(0)} MiB`)
})
