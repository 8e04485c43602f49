// The access log: one JSON record a request or TCP connection, field names as Istio's default JSON log has them.

import { pino } from 'pino'

/** Bytes of records that wait for a slow reader; beyond, records are dropped and counted. */
export const QUEUE_BYTES = 4 * 1024 * 1024
/** Bytes gathered before a write. */
const WRITE_BYTES = 4096
/** A record waits at most so long for others to be written with. */
const FLUSH_MS = 200

/** How long what waits may take to be written at the end. */
const CLOSE_MS = 1000

export interface AccessRecord {
  readonly start_time: string
  readonly direction: string
  readonly method: string | null
  readonly path: string | null
  readonly protocol: string | null
  readonly response_code: number
  readonly response_flags: string
  readonly response_code_details: string | null
  readonly connection_termination_details: string | null
  readonly bytes_received: number
  readonly bytes_sent: number
  readonly duration: number
  readonly upstream_service_time: number | null
  readonly x_forwarded_for: string | null
  readonly user_agent: string | null
  readonly request_id: string | null
  readonly authority: string | null
  readonly upstream_host: string | null
  readonly upstream_cluster: string | null
  readonly upstream_local_address: string | null
  readonly downstream_local_address: string | null
  readonly downstream_remote_address: string | null
  readonly requested_server_name: string | null
  readonly route_name: string | null
  readonly source_workload: string | null
  readonly destination_workload: string | null
  /** Version of the snapshot that the decision was made by. */
  readonly weft_snapshot: number
  /** Code of the failure, null where there was none. */
  readonly weft_reason: string | null
  /** What is particular to this failure; a denial names its policy. */
  readonly weft_message: string | null
}

export interface AccessLog {
  write(record: AccessRecord): void
  /** Records dropped so far. */
  readonly dropped: number
  /** Writes what waits, then closes; resolves when that is done, or a slow reader has had its time. */
  close(): Promise<void>
}

/** Keeps no records. */
export const noAccessLog: AccessLog = { write() {}, dropped: 0, close: () => Promise.resolve() }

/** Writes records to a file descriptor, asynchronously. */
export function openAccessLog(fd: number): AccessLog {
  const destination = pino.destination({ dest: fd, sync: false, minLength: WRITE_BYTES, maxLength: QUEUE_BYTES })
  const log = { dropped: 0 }
  destination.on('drop', () => log.dropped++)
  destination.on('error', () => log.dropped++) // a reader that went away must not end the mesh
  const timer = setInterval(() => destination.flush(), FLUSH_MS)
  timer.unref()
  return {
    // pino's destination without its logger: a record has no level, and its fields are Istio's alone
    write: (record) => void destination.write(`${JSON.stringify(record)}\n`),
    get dropped() {
      return log.dropped
    },
    close: () => {
      clearInterval(timer)
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
