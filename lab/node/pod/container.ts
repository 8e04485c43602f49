// One container of a pod through all its starts: image, environment, process, probes, restarts with back-off.
//
//   waiting → running → terminated ─┬─ over (restart policy)
//      └──────── back-off ──────────┘
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Container, V1Pod, V1Probe } from '@kubernetes/client-node'
import { imageName, resolveImage } from '../../apps/images.ts'
import { PROJECT } from '../../state.ts'
import { killCgroup } from '../cgroup.ts'
import { dropOldLogs, logFolder } from '../logs.ts'
import { enterArgs } from './enter.ts'
import { ConfigError, commandLine, environmentOf, namedSources } from './env.ts'
import { type ContainerRecord, type Exit, type Process, SETUP_FAILED, launch } from './launch.ts'
import { launchOci } from './oci.ts'
import { readImage, unpackedFolder } from './oci-archive.ts'
import { rightsOf } from './oci-config.ts'
import type { NodeParts } from './parts.ts'
import { type ProbeKind, type ProbeTarget, keepProbing, tryProbe } from './probe.ts'
import type { Sandbox } from './sandbox.ts'
import { securityOf } from './security.ts'
import type { ContainerState } from './status.ts'
import { type Files, type LoadFiles, bindsOf } from './volumes.ts'

/** The first restart is at once; then the wait doubles from this … */
export const BACKOFF_FIRST_MS = 1_000
/** … to this (Kubernetes: 10 s to 5 min; a lab is watched by a person). */
export const BACKOFF_MOST_MS = 30_000
/** A container that ran this long starts its back-off anew. */
export const BACKOFF_RESET_MS = 60_000
const DEFAULT_GRACE_MS = 30_000
const EXEC_OUTPUT_CHARS = 4_096

export const backoffMs = (crashes: number): number =>
  crashes === 0 ? 0 : Math.min(BACKOFF_FIRST_MS * 2 ** (crashes - 1), BACKOFF_MOST_MS)

/** What a container takes from the pod it belongs to. */
export interface PodParts {
  readonly node: NodeParts
  readonly sandbox: Sandbox
  readonly places: Map<string, string>
  readonly load: LoadFiles
  /** The pod as last seen. */
  pod(): V1Pod
  /** Called after each change of the container's state. */
  changed(): void
}

export type RestartPolicy = 'Always' | 'OnFailure' | 'Never'

export class ContainerLife {
  readonly state: ContainerState
  readonly #spec: V1Container
  readonly #parts: PodParts
  readonly #policy: RestartPolicy
  readonly #stopped = new AbortController()
  #process: Process | null = null
  #record: ContainerRecord | null = null
  /** The process whose preStop hook was begun: it runs once, whoever else asks for the end meanwhile. */
  #warned: Process | null = null

  constructor(spec: V1Container, parts: PodParts, policy: RestartPolicy) {
    this.#spec = spec
    this.#parts = parts
    this.#policy = policy
    this.state = {
      name: spec.name,
      image: spec.image ?? '',
      state: { kind: 'waiting', reason: 'ContainerCreating' },
      last: null,
      containerID: '',
      restarts: 0,
      ready: false,
      started: false,
      keeps: policy === 'Always',
    }
  }

  /** Runs the container until its restart policy says that it is over, or stop() is called. Never rejects. */
  async run(): Promise<void> {
    let crashes = 0
    while (!this.#stopped.signal.aborted) {
      const beganMs = Date.now()
      const exit = await this.#runOnce().catch((error: unknown) => this.#couldNot(error as Error))
      if (this.#stopped.signal.aborted || (exit && this.#isOver(exit))) return
      if (exit && Date.now() - beganMs > BACKOFF_RESET_MS) crashes = 0
      const waitMs = exit ? backoffMs(crashes) : Math.max(backoffMs(crashes), BACKOFF_FIRST_MS)
      crashes += 1
      if (exit && waitMs > 0) this.#announceBackoff(waitMs)
      await sleep(waitMs, undefined, { signal: this.#stopped.signal }).catch(() => undefined)
      if (exit) this.state.restarts += 1
    }
  }

  /** Ends the container for good: preStop, SIGTERM, then SIGKILL to all of it after `graceMs`. Never rejects. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped.abort()
    await this.#end(graceMs)
  }

  /** Runs a command inside the running container. */
  exec(argv: readonly string[], timeoutMs: number): Promise<{ code: number; output: string }> {
    const record = this.#record
    if (!record) return Promise.resolve({ code: 126, output: 'the container does not run' })
    return new Promise((resolve) => {
      const options = { stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'], timeout: timeoutMs }
      const child = spawn('nsenter', enterArgs(record, argv), { ...options, killSignal: 'SIGKILL' })
      let output = ''
      const take = (text: Buffer): void => {
        if (output.length < EXEC_OUTPUT_CHARS) output += text.toString()
      }
      child.stdout.on('data', take)
      child.stderr.on('data', take)
      child.on('error', (error) => {
        resolve({ code: 126, output: error.message })
      })
      child.on('exit', (code) => {
        resolve({ code: code ?? 137, output: code === null ? `timed out after ${String(timeoutMs)} ms` : output })
      })
    })
  }

  #isOver(exit: Exit): boolean {
    if (this.#policy === 'Always') return false
    return this.#policy === 'Never' || exit.code === 0
  }

  /** One start, to its end. Throws when the container cannot be started. */
  async #runOnce(): Promise<Exit> {
    const { node, sandbox } = this.#parts
    const folder = unpackedFolder(node.images, imageName(this.state.image))
    const unpacked = folder === undefined ? null : await readImage(folder)
    const image = unpacked ?? resolveImage(this.state.image)
    const security = securityOf(this.#parts.pod(), this.#spec)
    // A user that the machine does not know has no home.
    const home = security.user === 0 ? '/root' : '/'
    const env = await this.#environment({ HOME: home, ...image?.env })
    const argv = commandLine(this.#spec, image, env)
    if (argv.length === 0) throw new NoImage(this.state.image)
    if (this.#stopped.signal.aborted) return { code: 0, signal: undefined }
    const logs = logFolder(node.stateFolder, this.#parts.pod().metadata?.uid ?? '', this.#spec.name)
    await mkdir(logs, { recursive: true })
    dropOldLogs(logs, this.state.restarts)
    const cgroup = join(sandbox.cgroup, this.#spec.name)
    const workingDir = this.#spec.workingDir ?? '/'
    this.#event('Normal', 'Pulled', `Container image "${this.state.image}" already present on machine`)
    const wish = {
      ...{ argv, env, workingDir, cgroup, netns: sandbox.netns, hostname: sandbox.hostname },
      binds: await bindsOf(this.#spec, sandbox, this.#parts.places),
      scratch: join(sandbox.folder, `scratch-${this.#spec.name}`),
      logPath: join(logs, `${String(this.state.restarts)}.log`),
      recordPath: join(sandbox.folder, `${this.#spec.name}.json`),
    }
    const kept = [PROJECT, dirname(process.execPath), node.stateFolder]
    this.#process = unpacked
      ? await launchOci({ ...wish, rootfs: unpacked.rootfs, rights: rightsOf(this.#parts.pod(), this.#spec) })
      : await launch({ ...wish, security, kept })
    this.#record = this.#process.record
    return this.#accompany(this.#process)
  }

  /** From start to exit: states, probes. */
  async #accompany(process: Process): Promise<Exit> {
    const startedAt = rfcSeconds()
    this.state.containerID = `lab://${randomUUID().replaceAll('-', '')}`
    this.state.state = { kind: 'running', startedAt }
    this.state.started = !this.#spec.startupProbe
    this.state.ready = this.state.started && !this.#spec.readinessProbe
    this.#event('Normal', 'Created', `Created container: ${this.#spec.name}`)
    this.#event('Normal', 'Started', `Started container ${this.#spec.name}`)
    this.#parts.changed()
    const over = new AbortController()
    if (this.#stopped.signal.aborted) void this.#end(0)
    this.#startProbes(over.signal)
    const exit = await process.exited
    over.abort()
    this.#process = null
    this.#record = null
    this.state.ready = false
    this.state.started = false
    const reason = exit.code === 0 ? 'Completed' : exit.code === SETUP_FAILED ? 'ContainerCannotRun' : 'Error'
    const finishedAt = rfcSeconds()
    const { containerID } = this.state
    this.state.last = {
      kind: 'terminated',
      exitCode: exit.code,
      signal: exit.signal,
      reason,
      startedAt,
      finishedAt,
      containerID,
    }
    this.state.state = this.state.last
    this.#parts.changed()
    return exit
  }

  async #environment(own: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const { node, sandbox } = this.#parts
    const pod = this.#parts.pod()
    const base = {
      PATH: `${node.binFolder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOSTNAME: sandbox.hostname,
      ...node.serviceLinks(pod.metadata?.namespace ?? 'default', pod.spec?.enableServiceLinks !== false),
      ...own,
    }
    const found = new Map<string, Record<string, string> | undefined>()
    for (const { kind, name } of namedSources(this.#spec))
      found.set(`${kind}/${name}`, textOf(await this.#parts.load(kind, name)))
    const placed = {
      ...pod,
      status: { ...pod.status, podIP: sandbox.address, podIPs: [{ ip: sandbox.address }], hostIP: node.address },
    }
    return environmentOf(this.#spec, placed, base, (kind, name) => found.get(`${kind}/${name}`))
  }

  #couldNot(error: Error): null {
    const reason =
      error instanceof NoImage
        ? 'ErrImagePull'
        : error instanceof ConfigError
          ? 'CreateContainerConfigError'
          : 'RunContainerError'
    this.state.state = { kind: 'waiting', reason, message: error.message }
    this.#event('Warning', 'Failed', `Error: ${reason}: ${error.message}`)
    this.#parts.changed()
    return null
  }

  #announceBackoff(waitMs: number): void {
    const where = `${this.#spec.name} in pod ${this.#parts.pod().metadata?.name ?? ''}`
    const message = `back-off ${String(waitMs / 1000)}s restarting failed container ${where}`
    this.state.state = { kind: 'waiting', reason: 'CrashLoopBackOff', message }
    this.#event('Warning', 'BackOff', `Back-off restarting failed container ${where}`)
    this.#parts.changed()
  }

  #startProbes(signal: AbortSignal): void {
    const { startupProbe, livenessProbe, readinessProbe } = this.#spec
    const others = (): void => {
      if (livenessProbe) this.#probe('Liveness', livenessProbe, signal)
      if (readinessProbe) this.#probe('Readiness', readinessProbe, signal)
    }
    if (startupProbe) this.#probe('Startup', startupProbe, signal, others)
    else others()
  }

  #probe(kind: ProbeKind, probe: V1Probe, signal: AbortSignal, passed?: () => void): void {
    const verdict = (healthy: boolean): void => {
      if (signal.aborted) return
      if (kind === 'Readiness') this.#setReady(healthy)
      else if (!healthy) this.#killByProbe(kind, probe)
      else if (kind === 'Startup') {
        this.state.started = true
        if (!this.#spec.readinessProbe) this.state.ready = true
        this.#parts.changed()
        passed?.()
      }
    }
    const failed = (sentence: string): void => {
      if (!signal.aborted) this.#event('Warning', 'Unhealthy', `${kind} probe failed: ${sentence}`)
    }
    void keepProbing({ kind, probe, target: this.#target(), verdict, failed }, signal)
  }

  #target(): ProbeTarget {
    return {
      address: this.#parts.sandbox.address,
      container: this.#spec,
      exec: (command, timeoutMs) => this.exec(command, timeoutMs),
    }
  }

  #setReady(ready: boolean): void {
    if (this.state.ready === ready) return
    this.state.ready = ready
    this.#parts.changed()
  }

  #killByProbe(kind: ProbeKind, probe: V1Probe): void {
    this.#event(
      'Normal',
      'Killing',
      `Container ${this.#spec.name} failed ${kind.toLowerCase()} probe, will be restarted`,
    )
    const seconds = probe.terminationGracePeriodSeconds ?? this.#parts.pod().spec?.terminationGracePeriodSeconds
    void this.#end(seconds === undefined ? DEFAULT_GRACE_MS : seconds * 1000)
  }

  /** Never rejects: probes and a pod's end start it and go on. */
  async #end(graceMs: number): Promise<void> {
    const process = this.#process
    if (!process) return
    const deadlineMs = Date.now() + graceMs
    if (graceMs > 0 && this.#warned !== process) {
      this.#warned = process
      await this.#preStop(graceMs)
    }
    signalProcess(process.pid)
    const leftMs = Math.max(0, deadlineMs - Date.now())
    const timer = new AbortController()
    await Promise.race([process.exited, sleep(leftMs, undefined, { signal: timer.signal }).catch(() => undefined)])
    timer.abort()
    await killCgroup(join(this.#parts.sandbox.cgroup, this.#spec.name)).catch((error: unknown) => {
      this.#event('Warning', 'FailedKillPod', (error as Error).message)
    })
    await process.exited
  }

  async #preStop(graceMs: number): Promise<void> {
    const hook = this.#spec.lifecycle?.preStop
    if (hook?.exec) await this.exec(hook.exec.command ?? [], graceMs)
    if (hook?.sleep) await sleep(Math.min(hook.sleep.seconds * 1000, graceMs))
    if (hook?.httpGet) await tryProbe({ httpGet: hook.httpGet, timeoutSeconds: graceMs / 1000 }, this.#target())
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#parts.node.events.record(this.#parts.pod(), { type, reason, message, container: this.#spec.name })
  }
}

class NoImage extends Error {
  constructor(image: string) {
    super(`no stand-in for image "${image}": add it to lab/images.yaml, or give the container a command`)
  }
}

function signalProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM')
  } catch {
    // Gone already.
  }
}

const textOf = (files: Files | undefined): Record<string, string> | undefined =>
  files && Object.fromEntries(Object.entries(files).map(([key, bytes]) => [key, bytes.toString('utf8')]))

/** An instant as Kubernetes writes it: RFC 3339, whole seconds. */
export const rfcSeconds = (): string => new Date().toISOString().replace(/\.\d+Z$/, 'Z')
