// The BPF objects that an agent has once: loaded, attached at the root of cgroup2, counted, closed. Not pinned: they go
// with the process that holds them, so an agent's death leaves every connection to the kernel's own way.
import { closeSync, openSync, readFileSync } from 'node:fs'
import type { MeshFds } from './native.ts'
import { must, native } from './native.ts'
import { COUNTERS, intBytes, sumOf } from './layout.ts'

/** enum bpf_attach_type of linux/bpf.h */
export const ATTACH = {
  handshake: 3,
  connect4: 10,
  connect6: 11,
  getpeername4: 29,
  getpeername6: 30,
  getsockname4: 31,
  getsockname6: 32,
  skLookup: 36,
} as const

const HOOKS = [
  'handshake',
  'getpeername4',
  'getpeername6',
  'getsockname4',
  'getsockname6',
  'connect4',
  'connect6',
] as const

/** The objects of one agent. */
export interface Programs {
  readonly maps: Pick<MeshFds, 'pods' | 'own' | 'accepted' | 'origins' | 'entries' | 'listening'>
  counters(): Record<(typeof COUNTERS)[number], number>
  /** Detaches and unloads. Idempotent. */
  close(): void
}

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

/** Loads the programs and attaches them at a cgroup2 directory. Throws KernelError, and then nothing stays. */
export function attachPrograms(cgroupRoot: string): Programs {
  using undo = new DisposableStack()
  const mesh = native().loadMesh()
  must(mesh.status, 'load the BPF programs')
  const { status: _, ...fds } = mesh
  for (const fd of Object.values(fds)) undo.defer(() => native().closeFd(fd))
  const root = openSync(cgroupRoot, 'r')
  try {
    for (const hook of HOOKS) {
      const link = must(native().attach(mesh[hook], root, ATTACH[hook]), `attach ${hook} at ${cgroupRoot}`)
      undo.defer(() => native().closeFd(link))
    }
  } finally {
    closeSync(root)
  }
  const held = undo.move()
  return {
    maps: mesh,
    counters: () => readCounters(mesh.counters, COUNTERS),
    close: () => held.dispose(),
  }
}
