// The demo's hands: the lab and kubectl, started as a user would start them, and ended without a trace.
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

const program = (name: string): string => join(import.meta.dirname, '../..', name)
/** The same demo runs from the TypeScript and from its plain JavaScript in dist/. */
const weft = program(import.meta.filename.endsWith('.ts') ? 'agent/main.ts' : 'agent/main.js')
const outputBound = 4 * 1024 * 1024
const killAfterMs = 5_000

export interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

interface RunOptions {
  readonly timeoutMs: number
  /** Called with each line while it runs. */
  readonly onLine?: (line: string) => void
}

/** A running lab in its folder. Everything that it starts ends with `close`, which may be called at any time, twice too. */
export class Cluster {
  readonly folder: string
  readonly nodes: readonly string[]
  readonly #children = new Set<ChildProcessByStdio<null, Readable, Readable>>()
  #closed = false

  constructor(folder: string, nodes: readonly string[]) {
    this.folder = folder
    this.nodes = nodes
  }

  /** Starts the lab with a manifest; resolves when every pod is ready. Throws with the lab's last words. */
  async up(manifest: string, onLine: (line: string) => void): Promise<void> {
    const args = ['lab', 'up', '--dir', this.folder, '--nodes', String(this.nodes.length), '--detach', '-f', manifest]
    await this.#must('weft lab up', [process.execPath, weft, ...args], { timeoutMs: 120_000, onLine })
  }

  /** Runs kubectl against the lab and returns what it prints. Throws with its error message. */
  async kubectl(...args: string[]): Promise<string> {
    const command = ['kubectl', '--kubeconfig', `${this.folder}/kubeconfig`, ...args]
    return (await this.#must(`kubectl ${args.join(' ')}`, command, { timeoutMs: 30_000 })).stdout
  }

  /** Runs a command in a pod (`namespace/pod`) or, with `--node NAME` as the place, on a node. */
  async exec(place: readonly string[], command: readonly string[], options: RunOptions): Promise<Ended> {
    const line = [process.execPath, weft, 'lab', 'exec', '--dir', this.folder, ...place, '--', ...command]
    return this.#run(line, options)
  }

  /** Stops what runs and takes the lab down. Throws when the lab says that it could not. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const gone = [...this.#children].map((child) => once(child, 'exit'))
    for (const child of this.#children) stop(child)
    await Promise.all(gone)
    await this.#must('weft lab down', [process.execPath, weft, 'lab', 'down', '--dir', this.folder], {
      timeoutMs: 60_000,
    })
  }

  async #must(what: string, command: readonly string[], options: RunOptions): Promise<Ended> {
    const ended = await this.#run(command, options)
    if (ended.status === 0) return ended
    const words = (ended.stderr || ended.stdout).trim().split('\n').slice(-8).join('\n')
    throw new Error(`${what} failed (status ${ended.status}):\n${words}`)
  }

  #run([command = '', ...args]: readonly string[], { timeoutMs, onLine }: RunOptions): Promise<Ended> {
    // Whoever was still busy when the demo was stopped ends here; only taking the lab down goes on.
    if (this.#closed && !args.includes('down')) return Promise.reject(new Error('the demo has ended'))
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#children.add(child)
    const deadline = setTimeout(() => stop(child), timeoutMs)
    const [stdout, stderr] = [collected(child.stdout, onLine), collected(child.stderr, onLine)]
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        const why = signal === null ? '' : `ended by ${signal} (a limit of ${timeoutMs / 1000} s, or the demo's end)`
        resolve({ status: code ?? 1, stdout: stdout(), stderr: stderr() + why })
      })
    }).finally(() => {
      clearTimeout(deadline)
      this.#children.delete(child)
    }) as Promise<Ended>
  }
}

function stop(child: ChildProcessByStdio<null, Readable, Readable>): void {
  child.kill('SIGTERM')
  setTimeout(() => child.kill('SIGKILL'), killAfterMs).unref()
}

/** Gathers a stream's text up to a bound, line by line; with a listener the lines go there and only the last are kept. */
function collected(stream: Readable, onLine?: (line: string) => void): () => string {
  const lines: string[] = []
  let size = 0
  createInterface({ input: stream }).on('line', (line) => {
    onLine?.(line)
    lines.push(line)
    size += line.length + 1
    while (size > outputBound || (onLine && lines.length > 20)) size -= (lines.shift() ?? '').length + 1
  })
  return () => lines.join('\n')
}
