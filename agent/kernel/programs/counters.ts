// Per-CPU counters of the programs.
import { readFileSync } from 'node:fs'
import { intBytes, sumOf } from '../layout.ts'
import { must, native } from '../native.ts'

/** CPUs that per-CPU maps have a value for: the kernel's possible ones, `0-3` or `0,2-5`. */
export function possibleCpus(text: string): number {
  const last = /(\d+)\s*$/.exec(text)?.[1]
  return Number(last ?? 0) + 1
}

let cpus = 0

/** Reads per-CPU counters by the names of their indices. */
export function readCounters<Name extends string>(map: number, names: readonly Name[]): Record<Name, number> {
  cpus ||= possibleCpus(readFileSync('/sys/devices/system/cpu/possible', 'utf8')) // never changes
  const values = new Uint8Array(8 * cpus)
  const counted = {} as Record<Name, number>
  names.forEach((name, index) => {
    must(native().mapGet(map, intBytes(index), values), `read the counter ${name}`)
    counted[name] = sumOf(values)
  })
  return counted
}
