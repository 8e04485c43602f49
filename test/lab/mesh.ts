// A test's view of a lab with agents: how the mesh stands, what agents count, their processes, and programs run inside pods.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { askMesh } from '../../agent/cli/ask-agents.ts'
import { type MeshStatus, meshStatus } from '../../agent/cli/mesh-status.ts'
import { openReach } from '../../agent/cli/reach.ts'
import { connectAsUser } from '../../agent/kube/user-client.ts'
import type { V1Pod } from '@kubernetes/client-node'
import { readExposition, type Sample } from '../../lab/demo/exposition.ts'
import { findCgroup2, labCgroup, makeCgroup } from '../../lab/node/cgroup.ts'
import { ALLOWED, confined } from '../../lab/mesh/confined.ts'
import { isMirror, MESH_NAMESPACE } from '../../lab/mesh/mirror-pod.ts'
import { NETNS_FOLDER, nodeNetns } from '../../lab/node/network.ts'
import { programLog, PROJECT } from '../../lab/state.ts'
import { type Ran, ran, type TestLab } from './lab.ts'

/** An order to a program in a pod may take this long. */
const ORDER_TIMEOUT_MS = 60_000

/** A pod that runs application.ts on a node. Its readiness and liveness are asked for once a second and must not fail once. */
export function podManifest(pod: {
  readonly name: string
  readonly namespace: string
  readonly node: string
  readonly app?: string
  readonly annotations?: Readonly<Record<string, string>>
}): string {
  const { name, namespace, node, app = name, annotations = {} } = pod
  const probe = { httpGet: { port: 8080, path: '/ready' }, periodSeconds: 1, timeoutSeconds: 3, failureThreshold: 1 }
  const command = [process.execPath, join(import.meta.dirname, 'application.ts')]
  const probes = { readinessProbe: probe, livenessProbe: { ...probe, initialDelaySeconds: 3 } }
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { app }, annotations },
    spec: { nodeName: node, containers: [{ name: 'main', image: 'none', command, ...probes }] },
  })
}

/** `weft lab up` with agents that are told `flags` (NAME=VALUE), and a controller its own. Throws what it said when it fails. */
export async function upWithAgents(
  lab: TestLab,
  manifests: string,
  flags: readonly string[],
  controllerFlags: readonly string[] = [],
): Promise<void> {
  const file = await lab.write(manifests)
  const given = [
    ...flags.flatMap((flag) => ['--agent-flag', flag]),
    ...controllerFlags.flatMap((flag) => ['--controller-flag', flag]),
  ]
  const { code, stdout, stderr } = await lab.run('up', '--detach', '--timeout', '45', ...given, '-f', file)
  if (code !== 0) throw new Error(`up failed: ${stdout}${stderr}`)
}

/** The pods of a lab's applications: all but those that show the mesh's own programs. */
export async function applicationPods({ api }: TestLab): Promise<V1Pod[]> {
  const { items } = await api.get<{ items: V1Pod[] }>('/api/v1/pods')
  return items.filter((pod) => !isMirror(pod))
}

/** `weft status ARGS` as a user runs it. */
export function weftStatus(lab: TestLab, ...args: string[]): Promise<Ran> {
  const command = [process.execPath, join(PROJECT, 'agent/main.ts'), 'status', ...args]
  return ran('env', [`KUBECONFIG=${lab.place.kubeconfig}`, ...command])
}

/** What `weft status` would say now, without a process of its own: for asking often. */
export async function statusNow(lab: TestLab): Promise<MeshStatus> {
  const reach = await openReach(connectAsUser(lab.place.kubeconfig), { namespace: MESH_NAMESPACE, token: null })
  return meshStatus(await askMesh(reach, { namespace: null, node: null }))
}

/** A page of a node's agent that is open to everybody, asked through the API server. */
export function page(lab: TestLab, node: string, path: string): Promise<Response> {
  return fetch(`${lab.url}/api/v1/nodes/${node}:15020/proxy/${path}`, { signal: AbortSignal.timeout(10_000) })
}

/** A request to the API as its administrator; gives the answer. Throws what it said where it refuses. */
export async function sent<T>(lab: TestLab, method: string, path: string, body?: object): Promise<T> {
  const headers = { 'content-type': 'application/json' }
  const how = body === undefined ? { method } : { method, headers, body: JSON.stringify(body) }
  const response = await fetch(lab.url + path, { ...how, signal: AbortSignal.timeout(10_000) })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as T
}

/** Every sample that a node's agent counts now. */
export async function samples(lab: TestLab, node: string): Promise<Sample[]> {
  const response = await page(lab, node, 'metrics')
  if (response.status !== 200) {
    throw new Error(`${node}: /metrics answers ${response.status}: ${(await response.text()).slice(0, 300)}`)
  }
  return readExposition(await response.text())
}

/** The sum of a series over the samples that carry `labels`. */
export function sumOf(all: readonly Sample[], name: string, labels: Readonly<Record<string, string>>): number {
  const wanted = Object.entries(labels)
  const isMeant = (sample: Sample): boolean =>
    sample.name === name && wanted.every(([key, value]) => sample.labels[key] === value)
  return all.filter(isMeant).reduce((sum, { value }) => sum + value, 0)
}

type Role = 'agent' | 'controller'

/** Folder of the cgroup that a node's agents, or its controllers, live in. */
const cgroupOf = (lab: TestLab, node: string, role: Role): string =>
  join(labCgroup(findCgroup2() ?? '', lab.place.id), node, role)

/** Words that run a command in the network namespace of a node. */
export const onNode = (lab: TestLab, node: string, command: readonly string[]): string[] => [
  `--net=${NETNS_FOLDER}/${nodeNetns(lab.place.id, node)}`,
  ...command,
]

/** Process ids of a node's agents, or of its controllers. */
export function agentPids(lab: TestLab, node: string, role: Role = 'agent'): number[] {
  const text = readFileSync(join(cgroupOf(lab, node, role), 'cgroup.procs'), 'utf8')
  return text.split('\n').filter(Boolean).map(Number)
}

/** The words of a process's command line. */
export const commandOf = (pid: number): string[] =>
  readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')
    .split('\0')
    .slice(0, -1)

/**
 * Starts an agent, or a controller, on a node beside those that the lab started, where these live: `weft lab down` ends it
 * too. It has the rights that theirs have.
 */
export async function startAgent(
  lab: TestLab,
  node: string,
  command: readonly string[],
  role: Role = 'agent',
): Promise<ChildProcess> {
  const cgroup = cgroupOf(lab, node, role)
  await makeCgroup(cgroup)
  const log = openSync(`${programLog(lab.place, role, node)}.next`, 'a')
  const enter = ['/bin/sh', '-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup]
  const child = spawn('nsenter', onNode(lab, node, [...enter, ...confined(ALLOWED[role]), ...command]), {
    stdio: ['ignore', log, log],
    cwd: PROJECT,
  })
  closeSync(log)
  await once(child, 'spawn')
  return child
}

/** A program of this folder inside a pod: it takes orders, a line of JSON each, and answers each with one. */
export class PodProgram {
  readonly #child: ChildProcess
  readonly #waiting: ((line: string) => void)[] = []
  readonly #ended: Promise<void>
  readonly #name: string

  /** `pod` is NAMESPACE/POD. */
  constructor(lab: TestLab, pod: string, file: string) {
    this.#name = `${file} in ${pod}`
    this.#child = lab.startIn(pod, [process.execPath, join(import.meta.dirname, file)])
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#waiting.shift()?.(line))
    this.#ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()))
  }

  /** Answers come in the order of the orders. */
  ask<Answer>(order: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.#name}: no answer to ${JSON.stringify(order)}`)),
        ORDER_TIMEOUT_MS,
      )
      void this.#ended.then(() => {
        clearTimeout(timer)
        reject(new Error(`${this.#name} has ended`))
      })
      this.#waiting.push((line) => {
        clearTimeout(timer)
        const answer = JSON.parse(line) as Answer & { readonly failed?: unknown }
        if (typeof answer?.failed === 'string') reject(new Error(`${this.#name}: ${answer.failed}`))
        else resolve(answer)
      })
      this.#child.stdin!.write(`${JSON.stringify(order)}\n`)
    })
  }

  /** Ends it; idempotent. */
  async close(): Promise<void> {
    this.#child.stdin!.end()
    const timer = setTimeout(() => this.#child.kill('SIGTERM'), 2_000)
    await this.#ended
    clearTimeout(timer)
  }
}
