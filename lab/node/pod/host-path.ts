// A pod's hostPath volume: where it is on its node, and whether it is what its `type` wants.
// Source: Kubernetes documentation "Volumes: hostPath volume types".
import type { Stats } from 'node:fs'
import { mkdir, open, stat } from 'node:fs/promises'
import type { V1HostPathVolumeSource } from '@kubernetes/client-node'
import { type HostFiles, placeOnNode } from '../host-files.ts'
import { ConfigError } from './env.ts'

const CHECKS: Readonly<Record<string, { readonly is: (found: Stats) => boolean; readonly what: string }>> = {
  Directory: { is: (found) => found.isDirectory(), what: 'a directory' },
  DirectoryOrCreate: { is: (found) => found.isDirectory(), what: 'a directory' },
  File: { is: (found) => found.isFile(), what: 'a file' },
  FileOrCreate: { is: (found) => found.isFile(), what: 'a file' },
  Socket: { is: (found) => found.isSocket(), what: 'a socket file' },
  CharDevice: { is: (found) => found.isCharacterDevice(), what: 'a character device' },
  BlockDevice: { is: (found) => found.isBlockDevice(), what: 'a block device' },
}

/** Where the volume is. Makes what …OrCreate says. Throws ConfigError in a kubelet's words where its type does not fit. */
export async function hostPathPlace({ path, type = '' }: V1HostPathVolumeSource, host: HostFiles): Promise<string> {
  if (!path.startsWith('/')) throw new ConfigError(`hostPath "${path}" is not absolute`)
  const place = placeOnNode(host, path)
  if (type === '') return place
  const check = Object.hasOwn(CHECKS, type) ? CHECKS[type] : undefined
  if (check === undefined) throw new ConfigError(`hostPath ${path}: there is no type "${type}"`)
  if (type === 'DirectoryOrCreate') await mkdir(place, { recursive: true, mode: 0o755 }).catch(ignoreThere)
  if (type === 'FileOrCreate') await (await open(place, 'a', 0o644)).close()
  const found = await stat(place).catch(() => undefined)
  if (!found || !check.is(found)) throw new ConfigError(`hostPath type check failed: ${path} is not ${check.what}`)
  return place
}

/** What stands there already is looked at next. */
function ignoreThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST' && error.code !== 'ENOTDIR') throw error
}
