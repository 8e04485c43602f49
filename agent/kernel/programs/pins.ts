// Where BPF objects outlive the agent that made them: files of bpffs, a folder an agent and one more a pod.
import { existsSync, mkdirSync, readdirSync, rmdirSync, statfsSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { errorName, must, native } from '../native.ts'

/** A folder of pinned objects. */
export interface Pins {
  /** Whether what is pinned here outlives the agent. */
  readonly lasting: boolean
  /** fd of what is pinned by this name, or null. */
  open(name: string): number | null
  /** Throws KernelError. */
  pin(name: string, fd: number): void
  /** Pins again what somebody has unpinned. False where that cannot be: it does not last then. */
  keep(name: string, fd: number): boolean
  /** Detaches what it was, where that is a link: the kernel would do so some time after the last pin is gone. */
  unpin(name: string): void
  folder(name: string): Pins
  folders(): string[]
  /** Removes the folder with all in it: what nobody holds by fd is gone then. */
  remove(): void
}

/** Where there is no bpffs: nothing outlives the agent. */
export const UNPINNED: Pins = {
  lasting: false,
  open: () => null,
  pin: () => undefined,
  keep: () => true,
  unpin: () => undefined,
  folder: () => UNPINNED,
  folders: () => [],
  remove: () => undefined,
}

/** statfs(2): BPF_FS_MAGIC of linux/magic.h */
const BPF_FS = 0xcafe4a11

/** The pins below a path, which is made where it is not there; UNPINNED where it is not on a bpffs. */
export function pinsAt(path: string): Pins {
  let known = path
  while (!existsSync(known) && known !== dirname(known)) known = dirname(known)
  return statfsSync(known).type === BPF_FS ? new BpfFolder(path) : UNPINNED
}

class BpfFolder implements Pins {
  readonly lasting = true
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  open(name: string): number | null {
    const fd = native().openPin(join(this.#path, name))
    if (fd < 0 && errorName(fd) === 'ENOENT') return null
    return must(fd, `open ${join(this.#path, name)}`)
  }

  pin(name: string, fd: number): void {
    mkdirSync(this.#path, { recursive: true, mode: 0o700 })
    must(native().pin(fd, join(this.#path, name)), `pin ${join(this.#path, name)}`)
  }

  keep(name: string, fd: number): boolean {
    try {
      if (!existsSync(join(this.#path, name))) this.pin(name, fd)
      return true
    } catch {
      return false
    }
  }

  unpin(name: string): void {
    this.#detach(name)
    try {
      unlinkSync(join(this.#path, name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  folder(name: string): Pins {
    return new BpfFolder(join(this.#path, name))
  }

  folders(): string[] {
    return this.#entries(true)
  }

  remove(): void {
    for (const name of this.folders()) this.folder(name).remove()
    for (const name of this.#entries(false)) this.unpin(name)
    if (existsSync(this.#path)) rmdirSync(this.#path)
  }

  #detach(name: string): void {
    const fd = native().openPin(join(this.#path, name))
    if (fd < 0) return
    native().detach(fd)
    native().closeFd(fd)
  }

  #entries(folders: boolean): string[] {
    if (!existsSync(this.#path)) return []
    return readdirSync(this.#path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() === folders)
      .map((entry) => entry.name)
  }
}
