// A lab for a test: its own state folder, the commands run as a user runs them, and what the machine holds before and after.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Pod } from '@kubernetes/client-node'
import { Api } from '../../lab/node/api.ts'
import { PROJECT, type LabPlace, labPlace } from '../../lab/state.ts'

/** A lab command may take this long. */
const COMMAND_TIMEOUT_MS = 50_000
const POLL_MS = 50

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end and gathers what it said. */
export function ran(command: string, args: readonly string[], cwd = '/'): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: COMMAND_TIMEOUT_MS, cwd })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (text: Buffer) => (stdout += text.toString()))
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      resolve({ code: code ?? -1, stdout, stderr: signal === null ? stderr : `${stderr}killed by ${signal}` })
    })
  })
}

/** A lab's commands over one state folder of its own. */
export class TestLab {
  readonly place: LabPlace
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
    this.place = labPlace(join(folder, '.lab'))
  }

  static async make(): Promise<TestLab> {
    return new TestLab(await mkdtemp(join(tmpdir(), 'weft-lab-test-')))
  }

  /** `weft lab ARGS` as a user runs it in the lab's folder. */
  run(...args: string[]): Promise<Ran> {
    return ran(process.execPath, [join(PROJECT, 'lab/main.ts'), ...args], this.#folder)
  }

  /** Writes manifests into the lab's folder; returns the file. */
  async write(manifests: string): Promise<string> {
    const file = join(this.#folder, 'manifests.yaml')
    await writeFile(file, manifests)
    return file
  }

  /** Starts `weft lab ARGS` and leaves it running. */
  start(...args: string[]): ChildProcess {
    const command = [join(PROJECT, 'lab/main.ts'), ...args]
    return spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'], cwd: this.#folder })
  }

  /** Starts a program in a pod (NAMESPACE/POD) by `weft lab exec` and leaves it running, its input and output ours. */
  startIn(pod: string, command: readonly string[]): ChildProcess {
    const exec = [join(PROJECT, 'lab/main.ts'), 'exec', pod, '--', ...command]
    return spawn(process.execPath, exec, { stdio: ['pipe', 'pipe', 'inherit'], cwd: this.#folder })
  }

  /** `up --detach` without agents, with manifests given as text. Throws what it said when it fails. */
  async up(manifests: string, ...args: string[]): Promise<string> {
    const file = await this.write(manifests)
    const result = await this.run('up', '--no-mesh', '--detach', '--timeout', '30', '-f', file, ...args)
    if (result.code !== 0) throw new Error(`up failed: ${result.stdout}${result.stderr}`)
    return result.stdout
  }

  /** Runs a shell script in a pod. */
  sh(pod: string, script: string): Promise<Ran> {
    return this.run('exec', pod, '--', 'sh', '-c', script)
  }

  /** Runs JavaScript in a pod, `await` allowed; resolves to what it printed, one line. Throws when it fails. */
  async js(pod: string, code: string): Promise<string> {
    const wrapped = `(async () => { ${code} })().catch((e) => { console.error(e); process.exit(1) })`
    const result = await this.run('exec', pod, '--', 'node', '-e', wrapped)
    if (result.code !== 0) throw new Error(`in ${pod}: ${result.stderr}`)
    return result.stdout.trim()
  }

  /** The API's address, as the kubeconfig names it. */
  get url(): string {
    return /server: "(.*?)"/.exec(readFileSync(this.place.kubeconfig, 'utf8'))?.[1] ?? ''
  }

  get api(): Api {
    return new Api(this.url)
  }

  pod(name: string): Promise<V1Pod> {
    return this.api.get<V1Pod>(`/api/v1/namespaces/default/pods/${name}`)
  }

  /** Ends the lab and removes the test's folder. */
  async end(): Promise<void> {
    await this.run('down')
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Waits until `probe` returns something other than undefined and false; throws with `what` after `withinMs`. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  withinMs = 10_000,
): Promise<T> {
  const deadline = Date.now() + withinMs
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`${what}: not within ${String(withinMs)} ms`)
    await sleep(POLL_MS)
  }
}
