// One pod on its node, from the moment it is bound to the moment its object can go: sandbox, volumes, init containers,
// containers, status, termination. Steps run in order in one async function; termination waits for it and undoes the rest.
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Container, V1Pod } from '@kubernetes/client-node'
import { ApiError } from '../api.ts'
import { ContainerLife, type PodParts, type RestartPolicy, rfcSeconds } from './container.ts'
import type { NodeParts } from './parts.ts'
import { type Sandbox, makeSandbox, removeSandbox } from './sandbox.ts'
import { podStatus } from './status.ts'
import { type AskToken, type TokenFile, askFor, keepToken } from './token.ts'
import { type LoadFiles, makeVolumes } from './volumes.ts'

/** Pause before a sandbox or volumes that could not be made are tried again. */
export const RETRY_MS = 2_000
/** Pause before a status that could not be written is written again. */
export const STATUS_RETRY_MS = 500

export class PodLife {
  readonly uid: string
  readonly #node: NodeParts
  readonly #path: string
  readonly #startTime = rfcSeconds()
  readonly #stopped = new AbortController()
  readonly #life: Promise<void>
  #pod: V1Pod
  #sandbox: Sandbox | null = null
  #init: ContainerLife[] = []
  #main: ContainerLife[] = []
  #initialized = false
  #dirty = false
  #writing: Promise<void> | null = null
  #ending: Promise<void> | null = null
  #graceMs = Infinity

  constructor(pod: V1Pod, node: NodeParts) {
    this.#pod = pod
    this.#node = node
    this.uid = pod.metadata?.uid ?? ''
    this.#path = `/api/v1/namespaces/${pod.metadata?.namespace ?? ''}/pods/${pod.metadata?.name ?? ''}`
    this.#life = this.#live().catch((error: unknown) => {
      node.log(`pod ${this.#path}: ${(error as Error).stack ?? String(error)}`)
    })
  }

  /** Takes a newer version of the pod's object. */
  update(pod: V1Pod): void {
    this.#pod = pod
  }

  /** Writes the status again, where someone else may have changed it. */
  report(): void {
    this.#publish()
  }

  /** Ends the pod and removes its object (`byApi`), or only ends it where the object is gone. Can be called again with less grace. */
  terminate(graceMs: number, byApi: boolean): Promise<void> {
    if (this.#ending && graceMs < this.#graceMs) {
      this.#graceMs = graceMs
      void Promise.all([...this.#main, ...this.#init].map((each) => each.stop(graceMs)))
    }
    this.#graceMs = Math.min(graceMs, this.#graceMs)
    this.#ending ??= this.#end(byApi)
    return this.#ending
  }

  async #live(): Promise<void> {
    this.#sandbox = await this.#insist('FailedCreatePodSandBox', () =>
      makeSandbox(this.#pod, this.#node).catch((error: unknown) => {
        throw new Error(`Failed to create pod sandbox: ${(error as Error).message}`, { cause: error })
      }),
    )
    if (!this.#sandbox) return
    const sandbox = this.#sandbox
    const load = loadFrom(this.#node, this.#pod)
    this.#declare(sandbox, new Map(), load)
    this.#publish()
    const ask = (projection: Parameters<typeof askFor>[2]): AskToken => askFor(this.#node.api, this.#pod, projection)
    const contents = { load, askFor: ask, host: this.#node.host }
    const volumes = await this.#insist('FailedMount', () => makeVolumes(this.#pod, sandbox, contents))
    if (!volumes) return
    for (const token of volumes.tokens) this.#keepFresh(token)
    this.#declare(sandbox, volumes.places, load)
    if (!(await this.#runInit())) return
    this.#initialized = true
    this.#publish()
    await Promise.all(this.#main.map((each) => each.run()))
    if (!this.#isStopping()) await Promise.all(this.#init.map((each) => each.stop(this.#graceOf())))
    this.#publish()
  }

  #declare(sandbox: Sandbox, places: Map<string, string>, load: LoadFiles): void {
    const changed = (): void => {
      this.#publish()
    }
    const parts: PodParts = { node: this.#node, sandbox, places, load, pod: () => this.#pod, changed }
    const policy = (this.#pod.spec?.restartPolicy ?? 'Always') as RestartPolicy
    const initPolicy = (spec: V1Container): RestartPolicy =>
      spec.restartPolicy === 'Always' ? 'Always' : policy === 'Never' ? 'Never' : 'OnFailure'
    this.#init = (this.#pod.spec?.initContainers ?? []).map((spec) => new ContainerLife(spec, parts, initPolicy(spec)))
    this.#main = (this.#pod.spec?.containers ?? []).map((spec) => new ContainerLife(spec, parts, policy))
    if (this.#init.length > 0) {
      for (const each of this.#main) each.state.state = { kind: 'waiting', reason: 'PodInitializing' }
    }
  }

  #keepFresh(token: TokenFile): void {
    const failed = ({ message }: Error): void => this.#node.log(`pod ${this.#path}: no new token: ${message}`)
    void keepToken(token, this.#stopped.signal, { failed })
  }

  /** Runs the init containers one after the other; false when the pod must not go on. */
  async #runInit(): Promise<boolean> {
    for (const each of this.#init) {
      if (this.#isStopping()) return false
      const run = each.run()
      if (each.state.keeps) {
        while (!each.state.started && !this.#isStopping()) await sleep(50)
        continue
      }
      await run
      const { state } = each.state
      if (state.kind !== 'terminated' || state.exitCode !== 0) return false
      each.state.ready = true
    }
    return !this.#isStopping()
  }

  /** Tries a step until it works or the pod is to end; each failure is an event. */
  async #insist<T>(reason: string, step: () => Promise<T>): Promise<T | null> {
    while (!this.#isStopping()) {
      try {
        return await step()
      } catch (error) {
        this.#node.events.record(this.#pod, { type: 'Warning', reason, message: (error as Error).message })
        this.#node.log(`pod ${this.#path}: ${reason}: ${(error as Error).message}`)
        await sleep(RETRY_MS, undefined, { signal: this.#stopped.signal }).catch(() => undefined)
      }
    }
    return null
  }

  async #end(byApi: boolean): Promise<void> {
    this.#stopped.abort()
    for (const each of this.#main) {
      const { name } = each.state
      const message = `Stopping container ${name}`
      this.#node.events.record(this.#pod, { type: 'Normal', reason: 'Killing', message, container: name })
    }
    await Promise.all(this.#main.map((each) => each.stop(this.#graceMs)))
    await Promise.all(this.#init.map((each) => each.stop(this.#graceMs)))
    await this.#life
    if (byApi) {
      this.#publish()
      await this.#writing
    }
    await this.#removeSandbox()
    if (byApi) await this.#removeObject()
  }

  /** Tries until it works: a pod whose processes do not die yet stays Terminating, as with a kubelet. */
  async #removeSandbox(): Promise<void> {
    for (;;) {
      try {
        await removeSandbox(this.#pod, this.#node, this.#sandbox)
        return
      } catch (error) {
        this.#node.log(`pod ${this.#path}: cannot remove its sandbox: ${(error as Error).message}`)
        await sleep(RETRY_MS)
      }
    }
  }

  async #removeObject(): Promise<void> {
    const options = { gracePeriodSeconds: 0, preconditions: { uid: this.uid } }
    for (;;) {
      try {
        await this.#node.api.remove(this.#path, options)
        return
      } catch (error) {
        if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return
        this.#node.log(`pod ${this.#path}: cannot delete its object: ${(error as Error).message}`)
        await sleep(RETRY_MS)
      }
    }
  }

  #graceOf(): number {
    return (this.#pod.spec?.terminationGracePeriodSeconds ?? 30) * 1000
  }

  #isStopping(): boolean {
    return this.#stopped.signal.aborted
  }

  /** Has the status written soon; any number of calls in one turn make one write. */
  #publish(): void {
    this.#dirty = true
    this.#writing ??= this.#write().finally(() => {
      this.#writing = null
    })
  }

  async #write(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#dirty) {
      this.#dirty = false
      try {
        const status = podStatus(this.#pod, this.#facts(), rfcSeconds())
        const written = await this.#node.api.patch<V1Pod>(`${this.#path}/status`, {
          metadata: { uid: this.uid },
          status,
        })
        // The next write compares its conditions with these, also when the watch is late.
        if (written.status) this.#pod = { ...this.#pod, status: written.status }
      } catch (error) {
        if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return
        this.#node.log(`pod ${this.#path}: cannot write its status: ${(error as Error).message}`)
        this.#dirty = true
        await sleep(STATUS_RETRY_MS)
      }
    }
  }

  #facts(): Parameters<typeof podStatus>[1] {
    return {
      init: this.#init.map((each) => each.state),
      main: this.#main.map((each) => each.state),
      initialized: this.#initialized,
      hasNetwork: this.#sandbox !== null,
      addresses: this.#sandbox && { pod: this.#sandbox.address, host: this.#node.address },
      startTime: this.#startTime,
    }
  }
}

/** Reads ConfigMaps and Secrets of the pod's namespace. */
function loadFrom(node: NodeParts, pod: V1Pod): LoadFiles {
  return async (kind, name) => {
    const plural = kind === 'ConfigMap' ? 'configmaps' : 'secrets'
    const path = `/api/v1/namespaces/${pod.metadata?.namespace ?? ''}/${plural}/${name}`
    try {
      const object = await node.api.get<{ data?: Record<string, string>; binaryData?: Record<string, string> }>(path)
      const files: Record<string, Buffer> = {}
      for (const [key, text] of Object.entries(object.data ?? {}))
        files[key] = Buffer.from(text, kind === 'Secret' ? 'base64' : 'utf8')
      for (const [key, text] of Object.entries(object.binaryData ?? {})) files[key] = Buffer.from(text, 'base64')
      return files
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return undefined
      throw error
    }
  }
}
