// The helm that the chart is proved with: the machine's own, or the one that Go has built (lab/setup.mjs has it do so).
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

const ASK_TIMEOUT_MS = 30_000

/** Why tests are left out where there is none. */
export const NO_HELM = 'no helm 4 on this machine, and no Go to build it'

let found: string | null | undefined

/** The path of a helm 4, or null where there is none. */
export function findHelm(): string | null {
  return (found ??= isHelm('helm') ? 'helm' : ofGo())
}

function ofGo(): string | null {
  const folder = textOf('go', ['env', 'GOPATH'])
  const path = folder === null ? null : join(folder, 'bin', 'helm')
  return path !== null && isHelm(path) ? path : null
}

const isHelm = (path: string): boolean => textOf(path, ['version', '--short'])?.startsWith('v4.') === true

function textOf(command: string, words: readonly string[]): string | null {
  try {
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore']
    return execFileSync(command, words, { timeout: ASK_TIMEOUT_MS, encoding: 'utf8', stdio }).trim()
  } catch {
    return null
  }
}
