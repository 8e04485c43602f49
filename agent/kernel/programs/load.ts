// Brings the compiled BPF programs into the kernel. Ours and not a generated loader, because it must be able to use maps
// that are there already: those which an earlier agent has pinned.
import { KernelError } from '../kernel.ts'
import { errorName, must, native } from '../native.ts'
import type { Pins } from './pins.ts'

/** A map as its declaration in bpf/ says. */
export interface MapShape {
  readonly type: number
  readonly keyBytes: number
  readonly valueBytes: number
  readonly entries: number
  readonly flags: number
  /** Ids in the object's BTF. */
  readonly keyType: number
  readonly valueType: number
  /** Of what a map of maps holds. */
  readonly inner: MapShape | null
}

/** What bpf/build.ts makes of some source files. Bytes are in base64. */
export interface BpfObject {
  readonly btf: string
  readonly maps: readonly (MapShape & { readonly name: string })[]
  readonly programs: readonly {
    readonly name: string
    readonly code: string
    readonly functions: string
    readonly fields: string
    /** Which instructions load which map. */
    readonly maps: readonly { readonly at: number; readonly map: string }[]
  }[]
}

/** fds by name. */
export type Fds = ReadonlyMap<string, number>

/** BPF_MAP_TYPE_SK_STORAGE: the one kind that the kernel makes only with its types. */
const SK_STORAGE = 24
/** Where the instruction that loads a map says that its number is an fd: BPF_PSEUDO_MAP_FD as source register. */
const PSEUDO_MAP_FD = 1 << 4
/** Lines of the verifier's log that a message repeats. */
const LOG_LINES = 6

/** Loads an object's types. Who gets the fd closes it. */
export function loadTypes(object: BpfObject): number {
  return must(native().loadBtf(Buffer.from(object.btf, 'base64')), 'load the types of the BPF programs')
}

/** Makes a map. `entries` in place of what its declaration says. Who gets the fd closes it. */
function makeMap(name: string, shape: MapShape, btf: number, entries = shape.entries): number {
  const inner = shape.inner === null ? -1 : makeMap(name, shape.inner, -1)
  try {
    const isTyped = shape.type === SK_STORAGE
    const wish = { ...shape, name, entries, inner, btf: isTyped ? btf : -1 }
    return must(native().createMap(wish), `make the map ${name}`)
  } finally {
    if (inner >= 0) native().closeFd(inner)
  }
}

/** A pinned map, or null where there is none that could be used: its number of entries may differ. */
function openPinned(pins: Pins, name: string, shape: MapShape): number | null {
  const fd = pins.open(name)
  if (fd === null) return null
  const { type, keyBytes, valueBytes } = native().readMap(fd)
  if (type === shape.type && keyBytes === shape.keyBytes && valueBytes === shape.valueBytes) return fd
  native().closeFd(fd)
  pins.unpin(name)
  return null
}

/** Opens the maps of an object that are pinned, and makes and pins those that are not. `entries` by name. */
export function provideMaps(
  object: BpfObject,
  pins: Pins,
  entries: Readonly<Record<string, number>> = {},
  shared: Fds = new Map(),
): Map<string, number> {
  const fds = new Map<string, number>()
  using undo = new DisposableStack()
  const btf = loadTypes(object)
  undo.defer(() => native().closeFd(btf))
  try {
    for (const { name, ...shape } of object.maps) {
      if (shared.has(name)) continue
      const pinned = openPinned(pins, name, shape)
      fds.set(name, pinned ?? makeMap(name, shape, btf, entries[name]))
      if (pinned === null) pins.pin(name, fds.get(name) as number)
    }
  } catch (error) {
    for (const fd of fds.values()) native().closeFd(fd)
    throw error
  }
  return fds
}

/** What kind a program is: enum bpf_prog_type and enum bpf_attach_type of linux/bpf.h. */
export interface ProgramKind {
  readonly type: number
  readonly attachType: number
}

/** Loads the programs of an object over its maps. Who gets the fds closes them. Throws KernelError with the verifier's words. */
export function loadPrograms(object: BpfObject, maps: Fds, kindOf: (name: string) => ProgramKind): Map<string, number> {
  const fds = new Map<string, number>()
  const btf = loadTypes(object)
  try {
    for (const program of object.programs) {
      const code = Buffer.from(program.code, 'base64')
      for (const { at, map } of program.maps) loadMapAt(code, at, maps.get(map) ?? -1)
      const [functions, fields] = [Buffer.from(program.functions, 'base64'), Buffer.from(program.fields, 'base64')]
      const wish = { name: program.name, ...kindOf(program.name), code, functions, fields, btf }
      const { status, log } = native().loadProgram(wish)
      if (status < 0) throw new KernelError(errorName(status), `load ${program.name}${lastLines(log)}`)
      fds.set(program.name, status)
    }
  } catch (error) {
    for (const fd of fds.values()) native().closeFd(fd)
    throw error
  } finally {
    native().closeFd(btf)
  }
  return fds
}

/** Completes BPF_LD_IMM64 (linux/bpf.h: struct bpf_insn, eight bytes, registers in the second, the number in the last four). */
function loadMapAt(code: Buffer, at: number, fd: number): void {
  code[8 * at + 1] = ((code[8 * at + 1] ?? 0) & 0x0f) | PSEUDO_MAP_FD
  code.writeInt32LE(fd, 8 * at + 4)
}

function lastLines(log: string): string {
  const lines = log.trim().split('\n').slice(-LOG_LINES)
  return log.trim() === '' ? '' : ` (${lines.join(' | ')})`
}
