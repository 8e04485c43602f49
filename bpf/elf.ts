// Reads what the compiler made of the BPF programs: sections, symbols and relocations of a 64-bit little-endian ELF
// object (the System V gABI's chapters "Sections", "Symbol Table", "Relocation"), and no more of it.

export interface Section {
  readonly name: string
  readonly type: number
  readonly bytes: Buffer
  /** sh_info: of a relocation section the index of the section it speaks of. */
  readonly target: number
}

export interface ElfSymbol {
  readonly name: string
  readonly section: number
  readonly value: number
}

export interface Relocation {
  /** Byte offset of the instruction. */
  readonly offset: number
  readonly type: number
  readonly symbol: ElfSymbol
}

export interface Elf {
  readonly sections: readonly Section[]
  readonly symbols: readonly ElfSymbol[]
  /** By the index of the section they speak of. */
  readonly relocations: ReadonlyMap<number, readonly Relocation[]>
}

const SYMTAB = 2
const REL = 9

/** A NUL-terminated string of a string table. */
export function textAt(table: Buffer, offset: number): string {
  return table.toString('utf8', offset, table.indexOf(0, offset))
}

/** Throws where it is not such an object. */
export function readElf(file: Buffer): Elf {
  if (file.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') throw new Error('not a 64-bit little-endian ELF object')
  const sections = readSections(file)
  const table = sections.find(({ type }) => type === SYMTAB)
  const names = sections.find(({ name }) => name === '.strtab')
  if (!table || !names) throw new Error('an object without symbols')
  const symbols = Array.from({ length: table.bytes.length / 24 }, (_, i) => {
    const entry = table.bytes.subarray(i * 24)
    return {
      name: textAt(names.bytes, entry.readUInt32LE(0)),
      section: entry.readUInt16LE(6),
      value: Number(entry.readBigUInt64LE(8)),
    }
  })
  const relocations = new Map<number, Relocation[]>()
  for (const { type, target, bytes } of sections) {
    if (type === REL) relocations.set(target, readRelocations(bytes, symbols))
  }
  return { sections, symbols, relocations }
}

function readSections(file: Buffer): Section[] {
  const headers = Number(file.readBigUInt64LE(40))
  const [size, count, namesAt] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)]
  const bytesOf = (index: number): Buffer => {
    const header = file.subarray(headers + index * size)
    const offset = Number(header.readBigUInt64LE(24))
    return file.subarray(offset, offset + Number(header.readBigUInt64LE(32)))
  }
  const names = bytesOf(namesAt)
  return Array.from({ length: count }, (_, index) => {
    const header = file.subarray(headers + index * size)
    return {
      name: textAt(names, header.readUInt32LE(0)),
      type: header.readUInt32LE(4),
      bytes: bytesOf(index),
      target: header.readUInt32LE(44),
    }
  })
}

function readRelocations(bytes: Buffer, symbols: readonly ElfSymbol[]): Relocation[] {
  return Array.from({ length: bytes.length / 16 }, (_, i) => {
    const symbol = symbols[bytes.readUInt32LE(i * 16 + 12)]
    if (!symbol) throw new Error('a relocation without its symbol')
    return { offset: Number(bytes.readBigUInt64LE(i * 16)), type: bytes.readUInt32LE(i * 16 + 8), symbol }
  })
}
