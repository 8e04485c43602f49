// A bpffs of the lab's own. What the agents pin in it goes with it, however they ended.
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { mustRun } from './node/run.ts'

/** Mounts it at a folder, which is made. */
export async function mountBpffs(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  if (!isMounted(folder)) await mustRun('mount', ['-t', 'bpf', 'weft-lab', folder])
}

/** Unmounts it; true where there was one. Another that ends the same lab may come first. */
export async function unmountBpffs(folder: string): Promise<boolean> {
  if (!isMounted(folder)) return false
  await mustRun('umount', [folder]).catch((error: unknown) => {
    if (isMounted(folder)) throw error
  })
  return true
}

/** /proc/mounts writes a space, a tab, a newline and a backslash in octal. */
function isMounted(folder: string): boolean {
  const written = folder.replace(/[ \t\n\\]/g, (each) => `\\${each.charCodeAt(0).toString(8).padStart(3, '0')}`)
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[1] === written)
}
