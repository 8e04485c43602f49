// An access log whose place can be changed while records are written (MeshConfig accessLogFile).

import { constants, openSync } from 'node:fs'
import { STANDARD_OUTPUT } from '../model/mesh-settings.ts'
import { type AccessLog, noAccessLog, openAccessLog } from './access.ts'

const STANDARD: Readonly<Record<string, number>> = { [STANDARD_OUTPUT]: 1, '/dev/stderr': 2 }
const MODE = 0o640

export class AimedLog implements AccessLog {
  #file: string
  #log: AccessLog
  #droppedBefore = 0
  readonly #closing = new Set<AccessLog>()

  /** Begins at standard output. */
  constructor(file: string = STANDARD_OUTPUT) {
    this.#file = file
    this.#log = opened(file)
  }

  get dropped(): number {
    let dropped = this.#droppedBefore + this.#log.dropped
    for (const log of this.#closing) dropped += log.dropped
    return dropped
  }

  write(bytes: Buffer, length: number): void {
    this.#log.write(bytes, length)
  }

  /** What was written so far goes where it was meant to. Where the file cannot be opened the one before stays. */
  aim(file: string): void {
    if (file === this.#file) return
    const next = opened(file)
    const before = this.#log
    this.#file = file
    this.#log = next
    this.#closing.add(before)
    void before.close().then(() => {
      this.#droppedBefore += before.dropped
      this.#closing.delete(before)
    })
  }

  async close(): Promise<void> {
    await Promise.all([this.#log, ...this.#closing].map((log) => log.close()))
  }
}

function opened(file: string): AccessLog {
  if (file === '') return noAccessLog
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK } = constants
  // a pipe without a reader is an error, not something to wait for
  return openAccessLog(STANDARD[file] ?? openSync(file, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, MODE))
}
