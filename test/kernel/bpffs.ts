// A bpffs for a test, so that captures can outlive the process that made them, and go with the test.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Mounts one; `path` is a folder in it. Dispose of it: what is pinned goes with it. */
export function testBpffs(): { readonly path: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'weft-bpffs-'))
  execFileSync('mount', ['-t', 'bpf', 'weft-test', folder])
  return {
    path: join(folder, 'agent'),
    [Symbol.dispose]: () => {
      execFileSync('umount', [folder])
      rmdirSync(folder)
    },
  }
}
