// The kubectls the API is proved with: the machine's own, and Debian's, fetched once into node_modules/.cache.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const COMMAND_TIMEOUT_MS = 30_000
const FETCH_TIMEOUT_MS = 120_000
const CACHE = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'weft', 'kubectl-debian')

/** What a command wrote and how it ended. */
export interface Outcome {
  readonly code: number
  readonly out: string
  readonly error: string
}

/** The path of a kubectl, or why there is none. */
export type Found = { readonly path: string } | { readonly why: string }

/** The machine's own kubectl. */
export async function ownKubectl(): Promise<Found> {
  try {
    await execute('kubectl', ['version', '--client'], { timeout: COMMAND_TIMEOUT_MS })
    return { path: 'kubectl' }
  } catch (error) {
    return { why: `no kubectl on this machine: ${String(error)}` }
  }
}

/** Debian's kubernetes-client, unpacked from its package without installing it. */
export async function debianKubectl(): Promise<Found> {
  const path = join(CACHE, 'usr', 'bin', 'kubectl')
  if (existsSync(path)) return { path }
  try {
    mkdirSync(CACHE, { recursive: true })
    const options = { cwd: CACHE, timeout: FETCH_TIMEOUT_MS }
    // Since Debian 13 the program is in a package of its own, which older ones do not have.
    for (const name of ['kubernetes-client', 'kubectl']) {
      await execute('apt-get', ['download', name], options)
      await execute('sh', ['-c', `dpkg-deb -x ${name}_*.deb . && rm ${name}_*.deb`], options)
      if (existsSync(path)) return { path }
    }
    return { why: 'the package kubernetes-client cannot be fetched: there is no kubectl in it' }
  } catch (error) {
    const [line] = String(error).split('\n')
    return { why: `the package kubernetes-client cannot be fetched: ${line}` }
  }
}

/** kubectl against one API, with a home of its own. */
export class Kubectl {
  readonly #path: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'weft-kubectl-'))

  constructor(path: string, url: string) {
    this.#path = path
    writeFileSync(join(this.#folder, 'config'), configOf(url))
  }

  /** Runs to the end. `input` is given on stdin, for `-f -`. Rejects only when it cannot be started or never ends. */
  run(words: readonly string[], input = '', environment: Record<string, string> = {}): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const env = { ...process.env, HOME: this.#folder, KUBECONFIG: join(this.#folder, 'config'), ...environment }
      const child = execFile(this.#path, words, { env, timeout: COMMAND_TIMEOUT_MS }, (error, out, errors) => {
        if (error && typeof error.code !== 'number')
          reject(new Error(`kubectl ${words.join(' ')}: ${errors}`, { cause: error }))
        else resolve({ code: Number(error?.code ?? 0), out, error: errors })
      })
      child.stdin?.end(input)
    })
  }

  /** As `run`, but rejects when it ends in an error. Gives what was written to stdout. */
  async ok(line: string, input = ''): Promise<string> {
    const outcome = await this.run(wordsOf(line), input)
    if (outcome.code !== 0) throw new Error(`kubectl ${line}: ${outcome.error}`)
    return outcome.out
  }

  /** As `run`, but rejects when it ends well. Gives what was written to stderr. */
  async refused(line: string, input = ''): Promise<string> {
    const outcome = await this.run(wordsOf(line), input)
    if (outcome.code === 0) throw new Error(`kubectl ${line} succeeded: ${outcome.out}`)
    return outcome.error
  }

  close(): void {
    rmSync(this.#folder, { recursive: true })
  }
}

/** Splits at spaces; what stands in single quotes stays together. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}

/** A kubeconfig, as JSON, for an API that asks for no credentials. */
export function configOf(url: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server: url } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'lab' } }],
    users: [{ name: 'lab', user: {} }],
    'current-context': 'lab',
  })
}
