// helm against an API that a test has started.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { configOf } from './kubectl.ts'
import type { Outcome } from './kubectl.ts'

const COMMAND_TIMEOUT_MS = 120_000

/** helm against one API, with a home of its own. */
export class Helm {
  readonly #path: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'weft-helm-'))

  constructor(path: string, url: string) {
    this.#path = path
    writeFileSync(join(this.#folder, 'config'), configOf(url))
  }

  /** Runs to the end. Rejects only when it cannot be started or never ends. */
  run(words: readonly string[]): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const home = { HOME: this.#folder, KUBECONFIG: join(this.#folder, 'config') }
      const settings = { HELM_CACHE_HOME: this.#folder, HELM_CONFIG_HOME: this.#folder, HELM_DATA_HOME: this.#folder }
      const env = { ...process.env, ...home, ...settings }
      const options = { env, timeout: COMMAND_TIMEOUT_MS, encoding: 'utf8' } as const
      execFile(this.#path, words, options, (error, out, errors) => {
        if (error && typeof error.code !== 'number')
          reject(new Error(`helm ${words.join(' ')}: ${errors}`, { cause: error }))
        else resolve({ code: Number(error?.code ?? 0), out, error: errors })
      })
    })
  }

  /** As `run`, but rejects when it ends in an error. Gives what was written to stdout. */
  async ok(line: string): Promise<string> {
    const outcome = await this.run(line.split(' '))
    if (outcome.code !== 0) throw new Error(`helm ${line}: ${outcome.error}`)
    return outcome.out
  }

  /** As `run`, but rejects when it ends well. Gives what was written to stderr. */
  async refused(line: string): Promise<string> {
    const outcome = await this.run(line.split(' '))
    if (outcome.code === 0) throw new Error(`helm ${line} succeeded: ${outcome.out}`)
    return outcome.error
  }

  close(): void {
    rmSync(this.#folder, { recursive: true })
  }
}
