// The control plane of a lab, one process in the root namespace: API, controllers, and the programs it starts on nodes.
// Started by `weft lab up` with an IPC channel; lives on when that command has gone. `weft lab down` ends it.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { Server, Socket } from 'node:net'
import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startApi } from './api/server.ts'
import { mountBpffs } from './bpffs.ts'
import { badRequest } from './api/status.ts'
import type { KubeObject } from './api/object.ts'
import { type Store, createStore } from './api/store.ts'
import type { ReadLog } from './api/http/subresources.ts'
import { loadDefinitions } from './api/definitions.ts'
import { applyManifests, parseManifests } from './cli/manifests.ts'
import { startControllers } from './controllers/start.ts'
import { ALLOWED, confined } from './mesh/confined.ts'
import { Mirror } from './mesh/mirror.ts'
import { type Program, isMirror, nodeOf, podName } from './mesh/mirror-pod.ts'
import { Api } from './node/api.ts'
import { type DialWord, NodeDialler } from './node/dial.ts'
import { findCgroup2, killCgroup, labCgroup, makeCgroup, processesOf } from './node/cgroup.ts'
import { LogFile, logFolder, readLogs } from './node/logs.ts'
import type { NodeOrder, NodeWord } from './node/main.ts'
import {
  API_PORT,
  CLUSTER_DNS,
  KUBERNETES_SERVICE,
  NETNS_FOLDER,
  makeNetwork,
  nodeAddress,
  nodeName,
  nodeNetns,
  podNetns,
} from './node/network.ts'
import {
  AGENT_STOP_MS,
  type LabPlace,
  PROJECT,
  kubeconfig,
  labPlace,
  program,
  programLog,
  startOf,
  writeRecord,
} from './state.ts'

/** What `weft lab up` asks for: JSON, this program's one argument. */
export interface LabOrder {
  readonly folder: string
  readonly nodes: number
  /** 0: any free port. */
  readonly port: number
  readonly mesh: boolean
  /** One replica of the controller, on the first node; only with the mesh. */
  readonly controller: boolean
  /** NAME=VALUE, for every agent. */
  readonly agentFlags: readonly string[]
  /** The same, for the controller. */
  readonly controllerFlags: readonly string[]
  /** Images that nodes run from their own files: name → folder that each is unpacked to. */
  readonly images: Readonly<Record<string, string>>
}

/** What the control plane tells `weft lab up`. */
export type LabWord =
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'up'; readonly url: string }
  | { readonly kind: 'failed'; readonly message: string }

/** A node process must be there within this time. */
export const NODE_START_MS = 20_000
const ENTER_POLL_MS = 5
/** Where the mesh's programs answer for themselves. */
const ADMIN_PORTS: Readonly<Record<Program['role'], number>> = { agent: 15_020, controller: 15_021 }
const READYZ_TIMEOUT_MS = 1_000

const log = (sentence: string): void => {
  process.stderr.write(`${new Date().toISOString()} ${sentence}\n`)
}
const tell = (word: LabWord): void => {
  if (process.connected) process.send?.(word, () => undefined)
}

class ControlPlane {
  readonly #order: LabOrder
  readonly #place: LabPlace
  readonly #cgroup: string
  /** Agents and the controller: they are told to stop, and given the time. */
  readonly #programs: ChildProcess[] = []
  readonly #diallers = new Map<string, NodeDialler>()
  /** An object that a controller stumbles over must not end the cluster: it is reported. */
  readonly #store = createStore({ report })
  /** Aborted when the lab ends: until then the pods of agents and controller are kept. */
  readonly #ending = new AbortController()

  constructor(order: LabOrder, cgroup2: string) {
    this.#order = order
    this.#place = labPlace(order.folder)
    this.#cgroup = labCgroup(cgroup2, this.#place.id)
  }

  async start(): Promise<void> {
    const { nodes, port, mesh, controller } = this.#order
    await makeCgroup(join(this.#cgroup, 'control'), process.pid)
    await mkdir(this.#place.logs, { recursive: true })
    await mountBpffs(this.#place.bpf)
    tell({ kind: 'progress', text: `network of ${String(nodes)} node${nodes === 1 ? '' : 's'}` })
    await makeNetwork(this.#place.id, nodes)
    tell({ kind: 'progress', text: 'Kubernetes API and controllers' })
    const store = this.#store
    const readLog = logReader(store, this.#place)
    const dialNode = this.#dial.bind(this)
    const dialPod = this.#dialPod.bind(this)
    // reviews of it tell agents that the administrator asks; the API itself takes who comes without any
    const administratorToken = randomBytes(32).toString('base64url')
    const addresses = Array.from({ length: nodes }, (_, at) => nodeAddress(at + 1))
    const api = await startApi({ store, port, administratorToken, readLog, dialNode, dialPod, addresses, report })
    const client = new Api(api.url)
    if (mesh) await prepareMesh(store, client)
    prepare(store, nodes)
    startControllers({ store, log: { warn: log }, rootCa: api.rootCa })
    await writeFile(this.#place.kubeconfig, kubeconfig(api.url, { token: administratorToken }))
    const given = { id: this.#place.id, nodes, mesh, port: Number(new URL(api.url).port) }
    await writeRecord(this.#place, { ...given, controlPid: process.pid, controlStart: startOf(process.pid) })
    tell({ kind: 'progress', text: 'nodes' })
    const indexes = Array.from({ length: nodes }, (_, at) => at + 1)
    await Promise.all(indexes.map((index) => this.#startNode(index, (socket) => api.attach(socket))))
    if (mesh) {
      tell({ kind: 'progress', text: 'agents' })
      // first, for agents wait for their certificates
      if (controller) await this.#startController(client)
      for (const index of indexes) await this.#startAgent(index, client)
    }
    tell({ kind: 'up', url: api.url })
  }

  /** Ends agents and controller gently and everything else at once. What then is left of the lab is `weft lab down`'s to remove. */
  async stop(): Promise<void> {
    if (this.#ending.signal.aborted) return
    this.#ending.abort()
    const ends = this.#programs
      .filter((each) => each.exitCode === null && each.signalCode === null)
      .map((each) => {
        each.kill('SIGTERM')
        return once(each, 'exit')
      })
    await Promise.race([Promise.all(ends), sleep(AGENT_STOP_MS)])
    for (let index = 1; index <= this.#order.nodes; index += 1) await killCgroup(join(this.#cgroup, nodeName(index)))
  }

  async #startNode(index: number, attach: (socket: Server) => void): Promise<void> {
    const name = nodeName(index)
    const cgroup = join(this.#cgroup, name)
    const order: NodeOrder = {
      ...{ labId: this.#place.id, index, stateFolder: this.#place.folder },
      host: { files: join(this.#place.hosts, name), bpf: join(this.#place.bpf, name) },
      ...{ kubepods: join(cgroup, 'kubepods'), binFolder: dirname(process.execPath), images: this.#order.images },
    }
    await makeCgroup(join(cgroup, 'kubepods'))
    const child = await this.#spawn(name, 'node', [program('lab/node/main'), JSON.stringify(order)])
    this.#diallers.set(name, new NodeDialler(child))
    const ready = new Promise<void>((resolve, reject) => {
      child.on('message', (word: NodeWord | DialWord, socket) => {
        if (word.kind === 'socket') attach(socket as Server)
        if (word.kind === 'ready') resolve()
      })
      child.once('exit', () => {
        reject(new Error(`the process of ${name} ended at its start; see ${programLog(this.#place, 'node', name)}`))
      })
    })
    const timer = new AbortController()
    const late = sleep(NODE_START_MS, undefined, { signal: timer.signal }).then(() => {
      throw new Error(`${name} is not up after ${String(NODE_START_MS / 1000)} s`)
    })
    late.catch(() => undefined)
    await Promise.race([ready, late])
    timer.abort()
  }

  /** Nodes are in network namespaces that nothing leads to from here: their own processes connect. */
  async #dial(node: string, address: string, port: number): Promise<Socket> {
    const dialler = this.#diallers.get(node)
    if (dialler === undefined) throw new Error(`dial tcp: lookup ${node}: no such host`)
    return dialler.dial(address, port)
  }

  /** As a kubelet forwards a port: on loopback, in the pod's own network or in that of its node. */
  async #dialPod({ metadata, spec }: KubeObject, port: number): Promise<Socket> {
    const { hostNetwork, nodeName: node = '' } = spec as { hostNetwork?: boolean; nodeName?: string }
    if (hostNetwork === true) return this.#dial(node, '127.0.0.1', port)
    const netns = `--net=${NETNS_FOLDER}/${podNetns(this.#place.id, metadata.uid)}`
    const stdio: StdioOptions = ['ignore', 'ignore', 'ignore', 'ipc']
    const child = spawn('nsenter', [netns, process.execPath, program('lab/node/dial-in')], { stdio, cwd: PROJECT })
    child.on('error', () => undefined) // its end says it
    try {
      return await new NodeDialler(child).dial('127.0.0.1', port)
    } finally {
      child.kill()
    }
  }

  /** Whether a program answers as the kubelet's readiness probe wants it. */
  #isReady({ role, node }: Program): Promise<boolean> {
    return new Promise((resolve) => {
      const say = (isReady: boolean): void => resolve(isReady)
      this.#dial(node, '127.0.0.1', ADMIN_PORTS[role]).then(
        (socket) => {
          const options = { createConnection: () => socket, path: '/readyz', timeout: READYZ_TIMEOUT_MS }
          const asked = http.get(options, (response) => {
            response.resume()
            say(response.statusCode === 200)
          })
          asked.on('timeout', () => asked.destroy())
          asked.on('error', () => say(false))
        },
        () => say(false),
      )
    })
  }

  async #startAgent(index: number, client: Api): Promise<void> {
    const name = nodeName(index)
    const which: Program = { role: 'agent', node: name, address: nodeAddress(index) }
    const given = [
      ...['--node', name, '--agent-name', podName(which), '--pods-cgroup', join(this.#cgroup, name)],
      ...['--pin-root', join(this.#place.bpf, name), '--run-dir', join(this.#place.run, name)],
      ...['--prober-cgroup', join(this.#cgroup, name, 'lab')], // the kubelet's stand-in runs there
      ...this.#order.agentFlags.map((flag) => `--${flag}`),
    ]
    const agent = await this.#startProgram(which, client, given)
    await entered(agent, join(this.#cgroup, name, 'agent'))
  }

  async #startController(client: Api): Promise<void> {
    const which: Program = { role: 'controller', node: nodeName(1), address: nodeAddress(1) }
    await this.#startProgram(
      which,
      client,
      this.#order.controllerFlags.map((flag) => `--${flag}`),
    )
  }

  /** Starts a program of the mesh as what its service account is, and shows it as a pod. */
  async #startProgram(which: Program, api: Api, given: readonly string[] = []): Promise<ChildProcess> {
    const { role, node } = which
    const mirror = new Mirror({
      ...{ store: this.#store, api, program: which, log },
      cgroup: join(this.#cgroup, node, role),
      credentials: this.#place.credentials,
      server: `http://127.0.0.1:${String(API_PORT)}`,
      readyz: () => this.#isReady(which),
    })
    const words = [program('agent/main'), role, '--kubeconfig', await mirror.make(), ...given]
    const child = await this.#spawn(node, role, words)
    this.#programs.push(child)
    void mirror.follow(this.#ending.signal)
    return child
  }

  /**
   * Starts a program of ours in a node's network namespace and cgroup, its output in a bounded log file; one of the mesh
   * with no more rights than it needs.
   */
  async #spawn(node: string, role: 'node' | 'agent' | 'controller', args: readonly string[]): Promise<ChildProcess> {
    const cgroup = join(this.#cgroup, node, role === 'node' ? 'lab' : role)
    await makeCgroup(cgroup)
    const netns = `--net=${NETNS_FOLDER}/${nodeNetns(this.#place.id, node)}`
    const enter = ['/bin/sh', '-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup]
    const rights = role === 'node' ? [] : confined(ALLOWED[role])
    const child = spawn('nsenter', [netns, ...enter, ...rights, process.execPath, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', ...(role === 'node' ? (['ipc'] as const) : [])],
      cwd: PROJECT,
      env: { PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`, HOME: process.env['HOME'] ?? '/root' },
    })
    const file = new LogFile(programLog(this.#place, role, node), false)
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream]?.setEncoding('utf8').on('data', (text: string) => {
        file.write(stream, text)
      })
    }
    child.on('error', (error) => {
      log(`${role} of ${node}: ${error.message}`)
    })
    child.on('exit', (code, signal) => {
      if (!this.#ending.signal.aborted)
        log(`${role} of ${node} ended: ${signal ?? `exit code ${String(code)}`}; see ${file.path}`)
    })
    child.on('close', () => {
      file.close()
    })
    return child
  }
}

/** Waits until a child is in the cgroup that it moves itself to, or has ended: a cgroup without it means that it ended. */
async function entered(child: ChildProcess, cgroup: string): Promise<void> {
  const deadline = Date.now() + NODE_START_MS
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null
  while (!hasEnded() && !(await processesOf(cgroup)).includes(child.pid ?? 0)) {
    if (Date.now() > deadline) throw new Error(`nothing enters ${cgroup}`)
    await sleep(ENTER_POLL_MS)
  }
}

/** Answers `kubectl logs` from the files that the node processes write. */
function logReader(store: Store, place: LabPlace): ReadLog {
  return ({ namespace, pod: name, container, tailLines, ...wish }, signal) => {
    const pod = store.get('pods', namespace, name)
    if (pod && isMirror(pod)) {
      throw badRequest(`the lab keeps this log in ${programLog(place, container, nodeOf(pod))}`)
    }
    return readLogs(logFolder(place.folder, pod?.metadata.uid ?? '', container), { ...wish, tail: tailLines }, signal)
  }
}

/** What a cluster has of the mesh before its programs start: the Istio kinds, the namespaces, and what the programs may do. */
async function prepareMesh(store: Store, api: Api): Promise<void> {
  loadDefinitions(store, await readFile(join(PROJECT, 'lab/api/istio-crds.yaml'), 'utf8'))
  for (const name of ['istio-system', 'weft-system']) store.create('namespaces', { metadata: { name } })
  const rights = join(PROJECT, 'lab/mesh/rights.yaml')
  await applyManifests(api, parseManifests(await readFile(rights, 'utf8'), rights), () => undefined)
}

/** What every lab's cluster has: the services of API and DNS. */
function prepare(store: Store, nodes: number): void {
  const service = (namespace: string, name: string, clusterIP: string, ports: object[]): void => {
    store.create('services', { metadata: { namespace, name }, spec: { clusterIP, ports } })
  }
  service('default', 'kubernetes', KUBERNETES_SERVICE, [{ name: 'https', port: 443, targetPort: API_PORT }])
  service('kube-system', 'kube-dns', CLUSTER_DNS, [
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  ])
  const label = { 'kubernetes.io/service-name': 'kubernetes' }
  store.create('endpointslices.discovery.k8s.io', {
    metadata: { namespace: 'default', name: 'kubernetes', labels: label },
    addressType: 'IPv4',
    ports: [{ name: 'https', port: API_PORT, protocol: 'TCP' }],
    endpoints: Array.from({ length: nodes }, (_, at) => ({
      addresses: [nodeAddress(at + 1)],
      conditions: { ready: true },
    })),
  })
}

const report = (error: unknown): void => {
  log((error as Error).stack ?? String(error))
}

async function run(order: LabOrder): Promise<void> {
  const cgroup2 = findCgroup2()
  if (cgroup2 === undefined) throw new Error('no cgroup2 is mounted on this machine')
  const plane = new ControlPlane(order, cgroup2)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      void plane.stop().finally(() => process.exit(0))
    })
  }
  await plane.start()
}

run(JSON.parse(process.argv[2] ?? '{}') as LabOrder).catch((error: unknown) => {
  report(error)
  tell({ kind: 'failed', message: (error as Error).message })
  setTimeout(() => process.exit(1), 100)
})
