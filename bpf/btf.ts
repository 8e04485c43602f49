// Reads BTF (Documentation/bpf/btf.rst of the kernel): how maps are declared, and the tables of .BTF.ext that the kernel
// is given with a program.
import type { MapShape } from '../agent/kernel/programs/load.ts'
import { textAt } from './elf.ts'

interface Member {
  readonly name: string
  readonly type: number
}

interface Type {
  readonly kind: number
  readonly name: string
  /** Size, or the type it refers to. */
  readonly size: number
  readonly members: readonly Member[]
  /** Of an array. */
  readonly length: number
  /** Of a DATASEC: its variables. */
  readonly variables: readonly { readonly type: number; readonly offset: number }[]
}

const [INT, PTR, ARRAY, STRUCT, UNION, ENUM] = [1, 2, 3, 4, 5, 6]
const [TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC_PROTO, VAR, DATASEC] = [8, 9, 10, 11, 13, 14, 15]
const [DECL_TAG, ENUM64] = [17, 19]

/** All types, by id; 0 is void. */
function readTypes(btf: Buffer): Type[] {
  const headerBytes = btf.readUInt32LE(4)
  const names = btf.subarray(headerBytes + btf.readUInt32LE(16))
  const types: Type[] = [{ kind: 0, name: '', size: 0, members: [], length: 0, variables: [] }]
  const end = headerBytes + btf.readUInt32LE(12)
  for (let at = headerBytes + btf.readUInt32LE(8); at < end;) {
    const word = btf.readUInt32LE(at + 4)
    const [kind, count] = [(word >> 24) & 0x1f, word & 0xffff]
    const rest = btf.subarray(at + 12)
    const entry = (size: number): readonly Buffer[] =>
      Array.from({ length: count }, (_, i) => rest.subarray(i * size, (i + 1) * size))
    const isRecord = kind === STRUCT || kind === UNION
    types.push({
      kind,
      name: textAt(names, btf.readUInt32LE(at)),
      size: btf.readUInt32LE(at + 8),
      members: isRecord
        ? entry(12).map((member) => ({ name: textAt(names, member.readUInt32LE(0)), type: member.readUInt32LE(4) }))
        : [],
      length: kind === ARRAY ? rest.readUInt32LE(8) : 0,
      variables:
        kind === DATASEC ? entry(12).map((each) => ({ type: each.readUInt32LE(0), offset: each.readUInt32LE(4) })) : [],
    })
    // an array's element type stands where others have none
    if (kind === ARRAY) types[types.length - 1] = { ...(types.at(-1) as Type), size: rest.readUInt32LE(0) }
    at += 12 + bytesAfter(kind, count)
  }
  return types
}

function bytesAfter(kind: number, count: number): number {
  switch (kind) {
    case INT:
    case VAR:
    case DECL_TAG:
      return 4
    case ARRAY:
      return 12
    case STRUCT:
    case UNION:
    case DATASEC:
    case ENUM64:
      return 12 * count
    case ENUM:
    case FUNC_PROTO:
      return 8 * count
    default:
      return 0
  }
}

/** The maps of `.maps`, by name. */
export function declaredMaps(btf: Buffer): ReadonlyMap<string, MapShape> {
  const types = readTypes(btf)
  const at = (id: number): Type => {
    const type = types[id]
    if (!type) throw new Error(`no type ${id} in BTF`)
    return type
  }
  const plain = (id: number): number =>
    [TYPEDEF, VOLATILE, CONST, RESTRICT].includes(at(id).kind) ? plain(at(id).size) : id
  const bytesOf = (id: number): number => {
    const type = at(plain(id))
    if (type.kind === ARRAY) return type.length * bytesOf(type.size)
    return type.kind === PTR ? 8 : type.size
  }
  /** `__uint(name, n)` is a pointer to an array of n. */
  const number = (member: Member | undefined): number => (member ? at(at(member.type).size).length : 0)
  const declared = (id: number): MapShape => {
    const member = (name: string): Member | undefined => at(plain(id)).members.find((each) => each.name === name)
    const pointee = (name: string): number => {
      const found = member(name)
      return found ? at(found.type).size : 0
    }
    const [keyType, valueType] = [pointee('key'), pointee('value')]
    // `__array(values, struct …)` is an array of pointers
    const values = member('values')
    const inner = values ? declared(at(plain(at(plain(values.type)).size)).size) : null
    return {
      type: number(member('type')),
      keyBytes: keyType ? bytesOf(keyType) : number(member('key_size')),
      valueBytes: inner ? 4 : valueType ? bytesOf(valueType) : number(member('value_size')),
      entries: number(member('max_entries')),
      flags: number(member('map_flags')),
      keyType,
      valueType,
      inner,
    }
  }
  const section = types.find(({ kind, name }) => kind === DATASEC && name === '.maps')
  return new Map((section?.variables ?? []).map(({ type }) => [at(type).name, declared(at(type).size)]))
}

/** Records of one table of .BTF.ext for one section, each `bytes` long; the first word is a byte offset. */
function records(ext: Buffer, header: number, names: Buffer, section: string): Buffer[] {
  const start = ext.readUInt32LE(4) + ext.readUInt32LE(header)
  const end = start + ext.readUInt32LE(header + 4)
  if (start === end) return []
  const size = ext.readUInt32LE(start)
  for (let at = start + 4; at < end;) {
    const count = ext.readUInt32LE(at + 4)
    const rows = Array.from({ length: count }, (_, i) => ext.subarray(at + 8 + i * size, at + 8 + (i + 1) * size))
    if (textAt(names, ext.readUInt32LE(at)) === section) return rows
    at += 8 + count * size
  }
  return []
}

/** What the kernel is given with the program of a section: bpf_func_info and bpf_core_relo records. */
export function extOf(btf: Buffer, ext: Buffer, section: string): { functions: Buffer; fields: Buffer } {
  const names = btf.subarray(btf.readUInt32LE(4) + btf.readUInt32LE(16))
  const functions = records(ext, 8, names, section).map((record) => {
    const own = Buffer.from(record)
    own.writeUInt32LE(own.readUInt32LE(0) / 8, 0) // the kernel counts instructions there, and bytes below
    return own
  })
  const fields = ext.readUInt32LE(4) > 24 ? records(ext, 24, names, section) : []
  return { functions: Buffer.concat(functions), fields: Buffer.concat(fields) }
}
