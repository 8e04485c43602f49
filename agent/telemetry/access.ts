// The access log's way to its reader: whole lines are gathered in batches and written one batch at a time, off the event
// loop. A reader that is too slow costs records, which are counted, and neither memory nor time.

import { close, constants, fstatSync, openSync, write } from 'node:fs'
import { promisify } from 'node:util'
import { locks } from 'node:worker_threads'

/** Bytes of batches that wait for a slow reader; beyond, records are dropped and counted. */
export const QUEUE_BYTES = 4 * 1024 * 1024
/** Bytes gathered before a write. */
const BATCH_BYTES = 256 * 1024
/** A record waits at most so long for others to be written with. */
const FLUSH_MS = 200
/** How long what waits may take to be written at the end. */
const CLOSE_MS = 1000
/** A full pipe is tried again after so long, doubled up to the second. */
const RETRY_MS = [1, 100] as const

export interface AccessLog {
  /** Takes the first `length` bytes: one or more whole lines. */
  write(bytes: Buffer, length: number): void
  /** Records dropped so far. */
  readonly dropped: number
  /** Writes what waits, then closes; resolves when that is done, or a slow reader has had its time. */
  close(): Promise<void>
  /** Where records go from now on: a path, or '' for nowhere. Throws where it cannot be opened. Absent: to one place alone. */
  aim?(file: string): void
}

/** Keeps no records. */
export const noAccessLog: AccessLog = { write() {}, dropped: 0, close: () => Promise.resolve() }

/** Writes records to a file descriptor, which it closes at the end if it is not one of the standard three. */
export function openAccessLog(fd: number): AccessLog {
  return new BatchedLog(fd)
}

/** Lines that are written together. Its first byte is a newline, for the case that a line before was torn. */
class Batch {
  readonly bytes: Buffer
  length = 1
  lines = 0

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size)
    this.bytes[0] = NEWLINE
  }
}

const NEWLINE = 0x0a
const STDERR = 2
const writeSome = promisify(write)

class BatchedLog implements AccessLog {
  dropped = 0
  readonly #fd: number
  readonly #toClose: readonly number[]
  /** What writers to one pipe take turns by; null where a write is whole anyway (a file that is appended to). */
  readonly #lock: string | null
  readonly #timer: NodeJS.Timeout
  #filling = new Batch(BATCH_BYTES)
  #spare: Batch | null = null
  readonly #waiting: Batch[] = []
  #waitingBytes = 0
  #writing: Promise<void> | null = null
  #torn = false
  readonly #giveUp = new AbortController()

  constructor(fd: number) {
    const place = fstatSync(fd)
    this.#lock = place.isFile() ? null : `weft access log ${place.dev}:${place.ino}`
    this.#fd = unblocked(fd)
    this.#toClose = [...new Set([fd, this.#fd])].filter((each) => each > STDERR)
    this.#timer = setInterval(() => this.#flush(), FLUSH_MS)
    this.#timer.unref()
  }

  write(bytes: Buffer, length: number): void {
    let batch = this.#filling
    if (batch.length + length > batch.bytes.length) {
      this.#flush()
      batch = this.#filling
      if (batch.lines > 0 || this.#waitingBytes + length > QUEUE_BYTES) {
        this.dropped++
        return
      }
      if (length + 1 > BATCH_BYTES) batch = this.#filling = new Batch(length + 1)
    }
    bytes.copy(batch.bytes, batch.length, 0, length)
    batch.length += length
    batch.lines++
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#flush()
    this.dropped += this.#filling.lines // for these the queue had no room
    await Promise.race([this.#writing, delay(CLOSE_MS)])
    this.#giveUp.abort()
    await Promise.race([this.#writing, delay(2 * RETRY_MS[1])])
    for (const fd of this.#toClose) await promisify(close)(fd).catch(() => {})
  }

  /** Hands the batch that is being filled to the writer, where the queue has room for it. */
  #flush(): void {
    const batch = this.#filling
    if (batch.lines === 0 || this.#waitingBytes + batch.bytes.length > QUEUE_BYTES) return
    this.#waiting.push(batch)
    this.#waitingBytes += batch.bytes.length
    this.#filling = this.#spare ?? new Batch(BATCH_BYTES)
    this.#spare = null
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = null))
  }

  async #writeAll(): Promise<void> {
    for (let batch = this.#waiting.shift(); batch !== undefined; batch = this.#waiting.shift()) {
      const written = await this.#writeInTurn(batch)
      this.#waitingBytes -= batch.bytes.length
      this.#note(batch, written)
      if (batch.bytes.length !== BATCH_BYTES) continue
      batch.length = 1
      batch.lines = 0
      this.#spare = batch
    }
  }

  /** Several workers write to one pipe, which keeps only writes up to PIPE_BUF (4 KB) in one piece: one batch at a time. */
  async #writeInTurn(batch: Batch): Promise<number> {
    if (this.#lock === null) return this.#writeBatch(batch)
    try {
      return await locks.request(this.#lock, { signal: this.#giveUp.signal }, () => this.#writeBatch(batch))
    } catch {
      return this.#torn ? 0 : 1 // given up while another worker was writing
    }
  }

  /** Writes one batch; returns how far it came. A reader that went away must not end the mesh. */
  async #writeBatch({ bytes, length }: Batch): Promise<number> {
    let at = this.#torn ? 0 : 1
    let retryMs: number = RETRY_MS[0]
    while (at < length && !this.#giveUp.signal.aborted) {
      try {
        at += (await writeSome(this.#fd, bytes, at, length - at)).bytesWritten
        retryMs = RETRY_MS[0]
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') break
        await delay(retryMs)
        retryMs = Math.min(2 * retryMs, RETRY_MS[1])
      }
    }
    return at
  }

  /** Counts the lines of a batch that did not get through, and notes whether one was torn. */
  #note({ bytes, length }: Batch, written: number): void {
    for (let at = Math.max(written, 1); at < length; at++) if (bytes[at] === NEWLINE) this.dropped++
    this.#torn = bytes[written - 1] !== NEWLINE && (this.#torn || written > 1)
  }
}

/**
 * A descriptor of the same pipe whose writes do not wait. Not by a flag on this one: its description is shared with whoever
 * started us. One that cannot be opened anew (a socket, a pipe of another user) is written to as it is.
 */
function unblocked(fd: number): number {
  if (!fstatSync(fd).isFIFO()) return fd
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_APPEND)
  } catch {
    return fd
  }
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
