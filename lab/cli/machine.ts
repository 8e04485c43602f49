// What a lab needs of the machine, each missing thing told in one sentence.
import { accessSync, constants } from 'node:fs'
import { release } from 'node:os'
import { delimiter, join } from 'node:path'
import { findCgroup2 } from '../node/cgroup.ts'

/** An error that is the user's to solve: its message is all that is printed. */
export class Refusal extends Error {}

const TOOLS = {
  ip: 'iproute2',
  nft: 'nftables',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  unshare: 'util-linux',
  mount: 'mount',
} as const

/** cgroup.kill came with Linux 5.14; the agent's own floor is 6.1. */
const KERNEL_FLOOR = [6, 1] as const

/** Throws a Refusal when this machine cannot run a lab. Returns the cgroup2 mount point. */
export function requireMachine(): string {
  if (process.platform !== 'linux') throw new Refusal('a lab needs Linux: it is made of network namespaces and cgroups')
  if (process.geteuid?.() !== 0) throw new Refusal('a lab needs root, to make network namespaces: run it with sudo')
  const [major = 0, minor = 0] = release().split('.').map(Number)
  if (major < KERNEL_FLOOR[0] || (major === KERNEL_FLOOR[0] && minor < KERNEL_FLOOR[1])) {
    throw new Refusal(`a lab needs Linux ${KERNEL_FLOOR.join('.')} or newer, this is ${release()}`)
  }
  for (const [tool, from] of Object.entries(TOOLS)) {
    if (!isOnPath(tool)) throw new Refusal(`a lab needs the program \`${tool}\`: install the package ${from}`)
  }
  const cgroup2 = findCgroup2()
  if (cgroup2 === undefined)
    throw new Refusal('a lab needs cgroup2: mount it with `mount -t cgroup2 none /sys/fs/cgroup`')
  try {
    accessSync(cgroup2, constants.W_OK)
  } catch {
    throw new Refusal(`a lab needs to write to ${cgroup2}, which is mounted read-only here`)
  }
  return cgroup2
}

function isOnPath(tool: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return [...folders, '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
