// Container logs: bounded files of `<RFC 3339 time> <line>`, one a start of a container, and reading them back.
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { type FileHandle, open, readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A log file is turned over at this size; one older piece is kept. */
export const LOG_FILE_BYTES = 4 << 20
/** A longer line is cut into pieces of this length, as container runtimes do. */
export const LOG_LINE_CHARS = 16_384
const FOLLOW_POLL_MS = 200

/** Folder of one container's logs inside the lab's state folder. */
export const logFolder = (stateFolder: string, podUid: string, container: string): string =>
  join(stateFolder, 'pods', podUid, 'logs', container)

/**
 * One start's log file. Writes are synchronous: a container that prints is slowed down, nothing queues up in memory.
 * What a full disk does not take is lost; that never throws.
 */
export class LogFile {
  readonly path: string
  #fd: number
  #bytes = 0
  readonly #rest: Record<'stdout' | 'stderr', string> = { stdout: '', stderr: '' }

  readonly #stamped: boolean

  /** `stamped` puts the time before each line, as readLogs expects it. */
  constructor(path: string, stamped = true) {
    this.path = path
    this.#stamped = stamped
    this.#fd = openSync(path, 'a')
  }

  /** Takes text as a container printed it, in any pieces. */
  write(from: 'stdout' | 'stderr', text: string): void {
    const lines = (this.#rest[from] + text).split('\n')
    let rest = lines.pop() ?? ''
    while (rest.length > LOG_LINE_CHARS) {
      lines.push(rest.slice(0, LOG_LINE_CHARS))
      rest = rest.slice(LOG_LINE_CHARS)
    }
    this.#rest[from] = rest
    if (lines.length > 0) this.#append(lines)
  }

  close(): void {
    if (this.#fd < 0) return
    const rests = [this.#rest.stdout, this.#rest.stderr].filter((text) => text !== '')
    if (rests.length > 0) this.#append(rests)
    closeSync(this.#fd)
    this.#fd = -1
  }

  #append(lines: readonly string[]): void {
    if (this.#fd < 0) return
    const stamp = this.#stamped ? `${new Date().toISOString()} ` : ''
    const block = Buffer.from(lines.map((line) => `${stamp}${line}\n`).join(''))
    try {
      if (this.#bytes + block.length > LOG_FILE_BYTES && this.#bytes > 0) this.#turnOver()
      this.#bytes += writeSync(this.#fd, block)
    } catch {
      // Whoever runs the container must outlive its log.
    }
  }

  #turnOver(): void {
    renameSync(this.path, `${this.path}.old`)
    const next = openSync(this.path, 'a')
    closeSync(this.#fd)
    this.#fd = next
    this.#bytes = 0
  }
}

/** Drops the logs of all but the last two starts of a container. `restart` is the number of the newest. */
export function dropOldLogs(folder: string, restart: number): void {
  for (const suffix of ['.log', '.log.old']) rmSync(join(folder, `${String(restart - 2)}${suffix}`), { force: true })
}

export interface LogWish {
  /** Only this many of the last lines. */
  readonly tail?: number | undefined
  readonly follow?: boolean | undefined
  /** The start before the current one. */
  readonly previous?: boolean | undefined
  readonly timestamps?: boolean | undefined
  /** Only lines printed at or after this instant, milliseconds since 1970. */
  readonly sinceMs?: number | undefined
  /** No more than this many bytes of what is there now. */
  readonly limitBytes?: number | undefined
}

/** Yields a container's log in chunks of whole lines; with `follow`, goes on until the signal is aborted or the pod is gone. */
export async function* readLogs(folder: string, wish: LogWish, signal?: AbortSignal): AsyncGenerator<string> {
  const restart = (await newestRestart(folder)) - (wish.previous ? 1 : 0)
  if (restart < 0) return
  const path = join(folder, `${restart}.log`)
  const older = await readFile(`${path}.old`, 'utf8').catch(() => '')
  const file = await open(path).catch(() => undefined)
  if (!file) return
  const tail = new Tail(file)
  try {
    const first = chosen(older + (await tail.read()), wish)
    if (first !== '')
      yield wish.limitBytes === undefined ? first : Buffer.from(first).toString('utf8', 0, wish.limitBytes)
    if (wish.follow && !wish.previous)
      yield* follow(folder, { tail, from: restart, timestamps: wish.timestamps }, signal ?? NEVER)
  } finally {
    await tail.close()
  }
}

async function newestRestart(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => [])
  return Math.max(-1, ...names.filter((name) => name.endsWith('.log')).map((name) => Number.parseInt(name, 10)))
}

/** What a log file holds beyond what was read of it. The open file outlives its name: nothing written before an end is lost. */
class Tail {
  #file: FileHandle
  #offset = 0

  constructor(file: FileHandle) {
    this.#file = file
  }

  /** The whole lines that were added. */
  async read(): Promise<string> {
    const { size } = await this.#file.stat()
    if (size <= this.#offset) return ''
    const { buffer, bytesRead } = await this.#file.read(Buffer.alloc(size - this.#offset), { position: this.#offset })
    const end = buffer.subarray(0, bytesRead).lastIndexOf(0x0a) + 1
    this.#offset += end
    return buffer.toString('utf8', 0, end)
  }

  /** Whether `path` is still the name of this file. */
  async isAt(path: string): Promise<boolean> {
    const [own, named] = [await this.#file.stat(), await stat(path).catch(() => undefined)]
    return own.ino === named?.ino
  }

  /** Goes on with the file that has the name now; false when there is none. */
  async moveTo(path: string): Promise<boolean> {
    const next = await open(path).catch(() => undefined)
    if (!next) return false
    await this.#file.close()
    this.#file = next
    this.#offset = 0
    return true
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

interface Followed {
  readonly tail: Tail
  /** The start of the container that `tail` reads. */
  readonly from: number
  readonly timestamps: boolean | undefined
}

const NEVER = new AbortController().signal

async function* follow(
  folder: string,
  { tail, from, timestamps }: Followed,
  signal: AbortSignal,
): AsyncGenerator<string> {
  let restart = from
  while (!signal.aborted) {
    await sleep(FOLLOW_POLL_MS, undefined, { signal }).catch(() => undefined)
    const newest = await newestRestart(folder)
    const path = join(folder, `${restart}.log`)
    // Asked before the read: what is written until the name changes hands is in the file that is open here.
    const isCurrent = newest === restart && (await tail.isAt(path))
    const text = await tail.read()
    if (text !== '') yield chosen(text, { timestamps })
    if (isCurrent) continue
    restart = Math.max(newest, restart)
    if (!(await tail.moveTo(join(folder, `${restart}.log`)))) return
  }
}

function chosen(text: string, wish: LogWish): string {
  let lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  const since = wish.sinceMs
  if (since !== undefined) lines = lines.filter((line) => Date.parse(line.slice(0, line.indexOf(' '))) >= since)
  if (wish.tail !== undefined) lines = wish.tail === 0 ? [] : lines.slice(-wish.tail)
  if (!wish.timestamps) lines = lines.map((line) => line.slice(line.indexOf(' ') + 1))
  return lines.map((line) => `${line}\n`).join('')
}
