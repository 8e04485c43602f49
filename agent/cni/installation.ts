// The plug-in on its node: the program in the runtime's folder, its entry in the configuration, both kept there while
// others rewrite them.

import {
  chmodSync,
  closeSync,
  fsyncSync,
  type FSWatcher,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { extname, join } from 'node:path'
import { type ConfFile, planInstalled, planRemoved, PLUGIN, type PluginEntry } from './conflist.ts'

/** Where the parts of the plug-in stand. */
export interface CniPlaces {
  /** Folder of the runtime's plug-ins. */
  readonly binDir: string
  /** Folder of its configuration. */
  readonly confDir: string
  /** Folder of what must outlive an agent. */
  readonly stateDir: string
}

export interface InstallationOptions extends CniPlaces {
  /** The program that is copied. */
  readonly program: string
  readonly entry: PluginEntry
  readonly log: {
    info(fields: object, message: string): void
    warn(fields: object, message: string): void
  }
}

/** A change is looked at after so long: whoever writes often writes more than once. */
const SETTLE_MS = 100
/** How often all is looked over. */
export const LOOK_MS = 10_000
/** Longest pause between two repairs, where another undoes each: doubled from SETTLE_MS. */
const REPAIR_PAUSE_MAX_MS = 60_000
/** Nobody has undone a repair for so long: the next one is made at once. */
const CALM_MS = 5 * 60_000
/** Repairs in a row that are told as a lack. */
const STRIFE = 4
/** Files of the configuration folder that are read, and the longest of them. */
const FILES_MAX = 64
const FILE_BYTES_MAX = 1024 * 1024

/** What writeWhole() writes to before it has its name. */
const TEMPORARY = /^\.weft-\d+\.tmp$/

/** Keeps the plug-in installed. No call throws: what fails is told by `lack`, and tried again. */
export class Installation {
  readonly #options: InstallationOptions
  #watcher: FSWatcher | null = null
  #next: NodeJS.Timeout | null = null
  #stopped = false
  #lack: string | null = 'the CNI plug-in is not installed yet'
  #repairs = 0
  #repairedMs = -Infinity

  constructor(options: InstallationOptions) {
    this.#options = options
  }

  /** Why pods are not captured before they start, or null: the plug-in is installed. */
  get lack(): string | null {
    return this.#lack
  }

  start(): void {
    this.#look()
  }

  /** Leaves what is installed as it is. */
  stop(): void {
    this.#stopped = true
    if (this.#next !== null) clearTimeout(this.#next)
    this.#watcher?.close()
  }

  #look(): void {
    if (this.#stopped) return
    this.#follow()
    let waitMs = LOOK_MS
    try {
      waitMs = Math.min(waitMs, this.#bringInLine())
    } catch (error) {
      this.#tell(`the CNI plug-in cannot be installed: ${(error as Error).message}`)
    }
    if (this.#next !== null) clearTimeout(this.#next)
    this.#next = setTimeout(() => this.#look(), waitMs)
  }

  /** Returns after how many milliseconds to look again. */
  #bringInLine(): number {
    const { binDir, confDir, program, entry, log } = this.#options
    putProgram(program, join(binDir, PLUGIN))
    const { write, lack } = planInstalled(readFolder(confDir), entry)
    if (write === null) {
      // what others do to it is forgotten after a while of calm
      const isCalm = performance.now() - this.#repairedMs > CALM_MS
      if (isCalm) this.#repairs = 0
      if (lack !== null || isCalm || this.#repairs < STRIFE) this.#tell(lack)
      return LOOK_MS
    }
    const pauseMs = Math.min(SETTLE_MS * 2 ** this.#repairs, REPAIR_PAUSE_MAX_MS)
    const leftMs = this.#repairedMs + pauseMs - performance.now()
    if (leftMs > 0) return leftMs
    writeWhole(join(confDir, write.name), write.text, 0o600)
    log.info({ file: join(confDir, write.name) }, 'CNI plug-in put into the configuration')
    this.#repairedMs = performance.now()
    this.#repairs++
    const isStrife = this.#repairs >= STRIFE
    this.#tell(isStrife ? `another program takes the CNI plug-in out of ${write.name} again and again` : null)
    return LOOK_MS
  }

  #tell(lack: string | null): void {
    if (lack === this.#lack) return
    this.#lack = lack
    if (lack !== null) this.#options.log.warn({ reason: lack }, 'CNI')
  }

  /** A watch that cannot be had, or ends, is replaced at the next look. */
  #follow(): void {
    if (this.#watcher !== null) return
    try {
      const watcher = watch(this.#options.confDir, { persistent: false }, () => this.#soon())
      watcher.on('error', () => {
        watcher.close()
        this.#watcher = null
      })
      this.#watcher = watcher
    } catch {
      // the folder is not there yet
    }
  }

  #soon(): void {
    if (this.#stopped) return
    if (this.#next !== null) clearTimeout(this.#next)
    this.#next = setTimeout(() => this.#look(), SETTLE_MS)
  }
}

/**
 * Takes the plug-in out of the node: first the configuration, then the program, then the state, and what an agent that was
 * killed left half-written. Throws what fs throws; it can be called again.
 */
export function removeInstallation({ binDir, confDir, stateDir }: CniPlaces): void {
  const { write, remove } = planRemoved(readFolder(confDir))
  for (const { name, text } of write) writeWhole(join(confDir, name), text, 0o600)
  for (const name of remove) rmSync(join(confDir, name), { force: true })
  rmSync(join(binDir, PLUGIN), { force: true })
  for (const folder of [confDir, binDir]) {
    for (const name of namesIn(folder)) if (TEMPORARY.test(name)) rmSync(join(folder, name), { force: true })
  }
  rmSync(stateDir, { recursive: true, force: true })
}

/** Files that runtimes could read; those that go meanwhile, or are too long, are left out. */
function readFolder(folder: string): readonly ConfFile[] {
  const ours = namesIn(folder)
    .filter((name) => ['.conf', '.conflist', '.json'].includes(extname(name)))
    .sort()
  return ours.slice(0, FILES_MAX).flatMap((name) => {
    try {
      const path = join(folder, name)
      const isRead = statSync(path).isFile() && statSync(path).size <= FILE_BYTES_MAX
      return isRead ? [{ name, text: readFileSync(path, 'utf8') }] : []
    } catch {
      return []
    }
  })
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Copies the program where another, or none, stands. One that runs keeps running: the name passes on, not the file. */
function putProgram(from: string, to: string): void {
  const program = readFileSync(from)
  try {
    if (program.equals(readFileSync(to)) && (statSync(to).mode & 0o777) === 0o755) return
  } catch {
    // not there yet
  }
  mkdirSync(join(to, '..'), { recursive: true })
  writeWhole(to, program, 0o755)
}

/** Writes a file so that whoever reads it finds the old one or the new one, whole, also after a loss of power. */
function writeWhole(path: string, content: string | Uint8Array, mode: number): void {
  const temporary = join(path, '..', `.weft-${process.pid}.tmp`)
  const keptMode = modeOf(path) ?? mode
  try {
    const fd = openSync(temporary, 'w', 0o600)
    try {
      writeFileSync(fd, content)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    chmodSync(temporary, mode === 0o755 ? mode : keptMode)
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
  const folder = openSync(join(path, '..'), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/** Whoever could read a configuration before may read it after. */
function modeOf(path: string): number | null {
  try {
    return statSync(path).mode & 0o777
  } catch {
    return null
  }
}
