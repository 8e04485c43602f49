// Container logs: bounded files of `<RFC 3339 time> <line>`, one a start of a container, and reading them back.
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { open, readFile, readdir, stat } from 'node:fs/promises'
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

/** One start's log file. Writes are synchronous: a container that prints is slowed down, nothing queues up in memory. */
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
    if (this.#bytes + block.length > LOG_FILE_BYTES && this.#bytes > 0) this.#turnOver()
    this.#bytes += writeSync(this.#fd, block)
  }

  #turnOver(): void {
    closeSync(this.#fd)
    renameSync(this.path, `${this.path}.old`)
    this.#fd = openSync(this.path, 'a')
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
  let restart = await newestRestart(folder)
  if (wish.previous) restart -= 1
  if (restart < 0) return
  let path = join(folder, `${String(restart)}.log`)
  const older = await readFile(`${path}.old`, 'utf8').catch(() => '')
  const text = await readFile(path, 'utf8').catch(() => '')
  let offset = Buffer.byteLength(text)
  const first = chosen(older + text, wish)
  if (first !== '')
    yield wish.limitBytes === undefined ? first : Buffer.from(first).subarray(0, wish.limitBytes).toString()
  if (!wish.follow || wish.previous) return
  const onward = { timestamps: wish.timestamps }
  while (!signal?.aborted) {
    await sleep(FOLLOW_POLL_MS, undefined, { signal }).catch(() => undefined)
    const more = await readFrom(path, offset)
    if (more === undefined) return
    offset = more.offset
    if (more.text !== '') yield chosen(more.text, onward)
    const newest = await newestRestart(folder)
    if (newest > restart && more.text === '') {
      restart = newest
      path = join(folder, `${String(restart)}.log`)
      offset = 0
    }
  }
}

async function newestRestart(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => [])
  return Math.max(-1, ...names.filter((name) => name.endsWith('.log')).map((name) => Number.parseInt(name, 10)))
}

/** Reads whole lines beyond `offset`; starts over in a file that was turned over; undefined when it is gone. */
async function readFrom(path: string, offset: number): Promise<{ text: string; offset: number } | undefined> {
  const size = (await stat(path).catch(() => undefined))?.size
  if (size === undefined) return undefined
  const from = size < offset ? 0 : offset
  if (size === from) return { text: '', offset: from }
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from)
    const end = buffer.subarray(0, bytesRead).lastIndexOf(0x0a) + 1
    return { text: buffer.toString('utf8', 0, end), offset: from + end }
  } finally {
    await file.close()
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
