// The access log: one JSON record a request or TCP connection, field names as Istio's default JSON log has them.

import { fstatSync } from 'node:fs'
import { pino } from 'pino'

/** Bytes of records that wait for a slow reader; beyond, records are dropped and counted. */
export const QUEUE_BYTES = 4 * 1024 * 1024
/** Bytes gathered before a write; less where the reader of a pipe may have several writers. */
const BATCH_BYTES = 32 * 1024
const PIPE_BYTES = 4096
/** Bytes of UTF-8 that one UTF-16 unit may take. */
const UTF8_MOST = 3
/** A record waits at most so long for others to be written with. */
const FLUSH_MS = 200

/** How long what waits may take to be written at the end. */
const CLOSE_MS = 1000

/** What pino's destination is where it takes bytes. */
interface Destination {
  write(bytes: Buffer): boolean
  on(event: 'drop' | 'error', listener: () => void): unknown
  once(event: 'drop' | 'error' | 'close', listener: () => void): unknown
  off(event: 'drop', listener: () => void): unknown
  end(): void
  destroy(): void
}

export interface AccessLog {
  /** Takes a record: a whole line. */
  write(line: string): void
  /** Records dropped so far. */
  readonly dropped: number
  /** Writes what waits, then closes; resolves when that is done, or a slow reader has had its time. */
  close(): Promise<void>
}

/** Keeps no records. */
export const noAccessLog: AccessLog = { write() {}, dropped: 0, close: () => Promise.resolve() }

/** Writes records to a file descriptor, asynchronously and many at once. */
export function openAccessLog(fd: number): AccessLog {
  // what several workers write to one pipe stays whole line by line only up to this size (POSIX, PIPE_BUF)
  const batchBytes = fstatSync(fd).isFIFO() ? PIPE_BYTES : BATCH_BYTES
  const options = { dest: fd, sync: false, maxLength: QUEUE_BYTES, maxWrite: batchBytes, contentMode: 'buffer' }
  // pino's destination without its logger: a record has no level, and its fields are Istio's alone
  const destination = pino.destination(options) as unknown as Destination
  const log = { dropped: 0 }
  const batch = { bytes: Buffer.allocUnsafeSlow(batchBytes), used: 0, records: 0 }
  /** Hands a batch over; it is the destination's then. */
  const hand = (bytes: Buffer, records: number): void => {
    const drop = (): void => void (log.dropped += records)
    destination.once('drop', drop) // tells at once
    destination.write(bytes)
    destination.off('drop', drop)
  }
  const flush = (): void => {
    if (batch.records === 0) return
    const { bytes, used, records } = batch
    batch.bytes = Buffer.allocUnsafeSlow(batchBytes)
    batch.used = batch.records = 0
    hand(bytes.subarray(0, used), records)
  }
  destination.on('error', () => log.dropped++) // a reader that went away must not end the mesh
  const timer = setInterval(flush, FLUSH_MS)
  timer.unref()
  return {
    write: (line) => {
      const most = line.length * UTF8_MOST
      if (batch.used + most > batchBytes) flush()
      if (most > batchBytes) {
        hand(Buffer.from(line), 1)
        return
      }
      batch.used += batch.bytes.write(line, batch.used)
      batch.records++
    },
    get dropped() {
      return log.dropped
    },
    close: () => {
      clearInterval(timer)
      flush()
      return new Promise((resolve) => {
        const giveUp = setTimeout(() => destination.destroy(), CLOSE_MS)
        const done = (): void => {
          clearTimeout(giveUp)
          resolve()
        }
        destination.once('close', done)
        destination.once('error', done)
        destination.end()
      })
    },
  }
}
