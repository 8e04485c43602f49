// What a pod's terms say, written into the maps of all pods under the pod's cookie, and taken out again. Compared with
// what is really there at each look: an entry that went missing comes back.
import type { CaptureTerms } from '../../model/terms.ts'
import {
  ADDRESS_BYTES,
  EXCLUDED_BLOCK_BYTES,
  EXCLUDED_PORT_BYTES,
  addressKey,
  cookieKey,
  excludedBlockKey,
  excludedPortKey,
  intBytes,
  readCookie,
} from '../layout.ts'
import { must, native } from '../native.ts'
import type { NodePrograms } from '../programs/node.ts'

/** One of the maps: its name, and where in a key or value the cookie of the pod stands. */
interface Table {
  readonly map: 'excluded_ports' | 'excluded_blocks' | 'probes'
  readonly keyBytes: number
  readonly valueBytes: number
  readonly cookieOf: (key: Uint8Array, value: Uint8Array) => string
}

const TABLES: readonly Table[] = [
  { map: 'excluded_ports', keyBytes: EXCLUDED_PORT_BYTES, valueBytes: 4, cookieOf: (key) => readCookie(key) },
  { map: 'excluded_blocks', keyBytes: EXCLUDED_BLOCK_BYTES, valueBytes: 4, cookieOf: (key) => readCookie(key, 4) },
  { map: 'probes', keyBytes: ADDRESS_BYTES, valueBytes: 8, cookieOf: (_, value) => readCookie(value) },
]

/** max_entries of the tables in bpf/maps.h */
const TABLE_MAX = 65_536

/** Where the programs look up what passes a pod's capture by. */
export class PodTerms {
  readonly #programs: NodePrograms
  readonly #cookie: string
  /** Keys that are there because of this pod, in hexadecimal; null: not known yet, an earlier agent may have written. */
  #written: ReadonlyMap<Table['map'], ReadonlySet<string>> | null = null

  /** `isNew`: nobody has written for this pod yet, so nothing is looked for. */
  constructor(programs: NodePrograms, cookie: string, isNew = false) {
    this.#programs = programs
    this.#cookie = cookie
    if (isNew) this.#written = new Map()
  }

  /** Writes what is missing and takes out what is too much. Throws KernelError where the tables are full. */
  write(terms: CaptureTerms, ips: readonly string[]): void {
    const wanted = this.#keysOf(terms, ips)
    const before = this.#written ?? this.#found()
    for (const table of TABLES) {
      const keys = wanted.get(table.map) ?? []
      const names = new Set(keys.map(hex))
      for (const key of before.get(table.map) ?? []) if (!names.has(key)) this.#remove(table, Buffer.from(key, 'hex'))
      for (const key of keys) this.#put(table, key)
    }
    this.#written = new Map(TABLES.map(({ map }) => [map, new Set((wanted.get(map) ?? []).map(hex))]))
  }

  /** Takes out all that is there because of this pod. */
  remove(): void {
    const there = this.#written ?? this.#found()
    for (const table of TABLES) {
      for (const key of there.get(table.map) ?? []) this.#remove(table, Buffer.from(key, 'hex'))
    }
    this.#written = new Map()
  }

  #keysOf(terms: CaptureTerms, ips: readonly string[]): ReadonlyMap<Table['map'], readonly Uint8Array[]> {
    const cookie = this.#cookie
    return new Map([
      [
        'excluded_ports',
        [
          ...terms.excludeOutboundPorts.map((port) => excludedPortKey(cookie, 'outbound', port)),
          ...terms.excludeInboundPorts.map((port) => excludedPortKey(cookie, 'inbound', port)),
        ],
      ],
      ['excluded_blocks', terms.excludeOutboundCidrs.map((cidr) => excludedBlockKey(cookie, cidr))],
      ['probes', ips.flatMap((ip) => terms.probePorts.map((port) => addressKey({ ip, port })))],
    ])
  }

  #put({ map, valueBytes }: Table, key: Uint8Array): void {
    const value = map === 'probes' ? cookieKey(this.#cookie) : intBytes(1)
    const there = new Uint8Array(valueBytes)
    const fd = this.#programs.map(map)
    if (native().mapGet(fd, key, there) >= 0 && hex(there) === hex(value)) return
    must(native().mapPut(fd, key, value), `keep an entry of ${map}`)
  }

  /** An address may have passed on to another pod meanwhile: its entry stays. */
  #remove({ map, valueBytes, cookieOf }: Table, key: Uint8Array): void {
    const there = new Uint8Array(valueBytes)
    const fd = this.#programs.map(map)
    if (native().mapGet(fd, key, there) >= 0 && cookieOf(key, there) === this.#cookie) native().mapRemove(fd, key)
  }

  #found(): ReadonlyMap<Table['map'], ReadonlySet<string>> {
    return new Map(
      TABLES.map((table) => {
        const { map, keyBytes, valueBytes, cookieOf } = table
        const keys = Buffer.alloc(TABLE_MAX * keyBytes)
        const values = Buffer.alloc(TABLE_MAX * valueBytes)
        const count = must(native().mapList(this.#programs.map(map), keys, values, TABLE_MAX), `read ${map}`)
        const own = new Set<string>()
        for (let i = 0; i < count; i++) {
          const key = keys.subarray(i * keyBytes, (i + 1) * keyBytes)
          if (cookieOf(key, values.subarray(i * valueBytes)) === this.#cookie) own.add(hex(key))
        }
        return [map, own]
      }),
    )
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
