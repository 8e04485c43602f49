// Control groups of the lab: where cgroup2 is mounted, and making, killing and removing a tree of it.
//
//   <cgroup2>/weft-lab-<id>/control · <node>/lab · <node>/agent · <node>/kubepods[/burstable|/besteffort]/pod<uid>/<container>
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readFile, readdir, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long a killed cgroup may take to become empty. */
export const KILL_TIMEOUT_MS = 10_000
const KILL_POLL_MS = 10

/** The cgroup2 mount point named in /proc/mounts, or undefined where there is none. */
export function findCgroup2(mounts = readFileSync('/proc/mounts', 'utf8')): string | undefined {
  for (const line of mounts.split('\n')) {
    const [, folder, type] = line.split(' ')
    if (type === 'cgroup2' && folder !== undefined) return folder
  }
  return undefined
}

export const labCgroup = (cgroup2: string, labId: string): string => join(cgroup2, `weft-lab-${labId}`)

/** Makes the cgroup (and those above it) and moves process `pid` into it when given. */
export async function makeCgroup(folder: string, pid?: number): Promise<void> {
  await mkdir(folder, { recursive: true })
  if (pid !== undefined) await writeFile(join(folder, 'cgroup.procs'), String(pid))
}

/** Process ids in the cgroup itself (not below). */
export async function processesOf(folder: string): Promise<number[]> {
  const text = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => '')
  return text.split('\n').filter(Boolean).map(Number)
}

/** Kills every process of the cgroup and below at once (cgroup.kill, Linux 5.14) and waits until none is left. */
export async function killCgroup(folder: string): Promise<void> {
  if (!existsSync(folder)) return
  await writeFile(join(folder, 'cgroup.kill'), '1').catch(ignoreGone)
  const deadline = Date.now() + KILL_TIMEOUT_MS
  while (await isPopulated(folder)) {
    if (Date.now() > deadline) throw new Error(`processes in ${folder} do not die`)
    await sleep(KILL_POLL_MS)
  }
}

async function isPopulated(folder: string): Promise<boolean> {
  const events = await readFile(join(folder, 'cgroup.events'), 'utf8').catch(() => '')
  return events.includes('populated 1')
}

/** Kills every process of a cgroup tree and removes it, deepest first. Throws when a process does not die. */
export async function removeCgroup(folder: string): Promise<void> {
  if (!existsSync(folder)) return
  await killCgroup(folder)
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await removeCgroup(join(folder, entry.name))
  }
  const deadline = Date.now() + KILL_TIMEOUT_MS
  for (;;) {
    try {
      await rmdir(folder)
      return
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT') return
      if (code !== 'EBUSY' || Date.now() > deadline) throw error
      // A process that was just killed keeps its cgroup busy until the kernel has buried it; one that was just being
      // started may have come in since.
      await sleep(KILL_POLL_MS)
      await killCgroup(folder)
    }
  }
}

function ignoreGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT' && error.code !== 'ENODEV') throw error
}
