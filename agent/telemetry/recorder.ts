// Puts records together in the format of the mesh's settings, and hands them to the access log.

import { compileFormat, type Format, headersOf } from '../model/access-format.ts'
import type { AccessLogSettings } from '../model/mesh-settings.ts'
import type { AccessLog } from './access.ts'
import { FormattedRecords } from './formatted.ts'
import { decoded, Line } from './line.ts'
import { type Entry, JsonRecords } from './record.ts'
import { ToldPath } from './told-path.ts'

/** A head: the value of a field by its lower-case name. */
export interface HeaderSource {
  header(name: string): string | undefined
}

/** The mesh's settings, and '' as the file for no records. */
export type LogSettings = AccessLogSettings & { readonly file: string }

export class Recorder {
  readonly #access: AccessLog
  readonly #line = new Line()
  #isOff = false
  #records: JsonRecords | FormattedRecords = new JsonRecords()
  #asks: Readonly<Record<'REQ' | 'RESP', ReadonlySet<string>>> | null = null
  #settings: LogSettings | null = null
  #toldPath = new ToldPath()

  constructor(access: AccessLog) {
    this.#access = access
  }

  /** Writes a record, where records are kept. */
  record(entry: Entry): void {
    if (this.#isOff) return
    const line = this.#line
    line.clear()
    this.#records.write(line, this.#told(entry))
    this.#access.write(line.bytes, line.length)
    line.shrink()
  }

  /** Parameters that tokens are taken from: what they hold is not told from now on. */
  hide(parameters: Iterable<string>): void {
    this.#toldPath = new ToldPath(parameters)
  }

  #told(entry: Entry): Entry {
    const { asked } = entry
    if (asked === null) return entry
    const target = this.#toldPath.of(asked.target)
    if (target === asked.target) return entry
    const { method, authority, minor, requestId, userAgent, forwardedFor } = asked
    return { ...entry, asked: { method, target, authority, minor, requestId, userAgent, forwardedFor } }
  }

  /**
   * Takes the mesh's settings; what is equal to before costs nothing. Returns why a part of them is not in force, which
   * leaves that part as it was.
   */
  configure(settings: LogSettings): string[] {
    const before = this.#settings
    const faults: string[] = []
    const attempt = (what: string, act: () => void): void => {
      try {
        act()
      } catch (error) {
        faults.push(`${what}: ${(error as Error).message}`)
      }
    }
    this.#settings = settings
    if (before?.file !== settings.file) {
      attempt('accessLogFile', () => {
        this.#access.aim?.(settings.file)
        this.#isOff = settings.file === ''
      })
    }
    if (before?.encoding !== settings.encoding || before.format !== settings.format) {
      attempt('accessLogFormat', () => this.#use(compileFormat(settings.encoding, settings.format)))
    }
    return faults
  }

  /** The headers that the format asks for, of those at hand; null where it is one that asks for none. */
  headersOf(kind: 'REQ' | 'RESP', source: HeaderSource | null): ReadonlyMap<string, string> | null {
    if (this.#asks === null || source === null) return null
    const found = new Map<string, string>()
    for (const name of this.#asks[kind]) {
      const value = name.startsWith(':') ? undefined : source.header(name)
      if (value !== undefined) found.set(name, decoded(value))
    }
    return found
  }

  #use(format: Format): void {
    const isDefault = format.kind === 'default'
    this.#records = isDefault ? new JsonRecords() : new FormattedRecords(format)
    this.#asks = isDefault ? null : { REQ: headersOf(format, 'REQ'), RESP: headersOf(format, 'RESP') }
  }
}
