// The BPF objects that this process holds, and what became of those that it held. Others on the machine are not looked at.
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'

type Kind = 'prog' | 'map' | 'link'
export type Objects = Readonly<Record<Kind, readonly number[]>>

interface Shown {
  readonly id: number
  readonly name?: string
  readonly map_ids?: readonly number[]
}

function bpftool(...args: string[]): unknown {
  return JSON.parse(execFileSync('bpftool', ['-j', ...args], { encoding: 'utf8', maxBuffer: 32 << 20 }))
}

function show(kind: Kind): readonly Shown[] {
  return bpftool(kind, 'show') as readonly Shown[]
}

/** Ids of what this process holds by fd, and of the maps that its programs hold (.rodata has no fd). */
export function objects(): Objects {
  const ids = { prog: new Set<number>(), map: new Set<number>(), link: new Set<number>() }
  for (const fd of readdirSync('/proc/self/fdinfo')) {
    let text = ''
    try {
      text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')
    } catch {
      continue // the fd of the listing itself
    }
    const link = /^link_id:\s*(\d+)$/m.exec(text)
    const prog = /^prog_id:\s*(\d+)$/m.exec(text)
    const map = /^map_id:\s*(\d+)$/m.exec(text)
    if (link) ids.link.add(Number(link[1]))
    if (prog) ids.prog.add(Number(prog[1]))
    if (map) ids.map.add(Number(map[1]))
  }
  if (ids.prog.size > 0) {
    for (const prog of show('prog')) if (ids.prog.has(prog.id)) for (const id of prog.map_ids ?? []) ids.map.add(id)
  }
  return { prog: [...ids.prog], map: [...ids.map], link: [...ids.link] }
}

/** How many of these still exist in the kernel. */
export function alive(which: Objects): number {
  const kinds = ['prog', 'map', 'link'] as const
  return kinds.reduce((sum, kind) => sum + show(kind).filter(({ id }) => which[kind].includes(id)).length, 0)
}

/** Listening sockets that the programs or user space keep of all captured pods of this process, and open groups. */
export function listeners(): { seen: number; older: number; crowded: number } {
  const held = objects().map
  const dump = (name: string): { value: string[] }[] =>
    show('map')
      .filter((map) => held.includes(map.id) && map.name === name)
      .flatMap(({ id }) => bpftool('map', 'dump', 'id', `${id}`) as { value: string[] }[])
  const words = dump('ports').map(({ value }) => {
    const bytes = Uint8Array.from(value, Number)
    return [...new BigUint64Array(bytes.buffer)]
  })
  const seen = words.reduce((sum, [, ...slots]) => sum + slots.filter((word, i) => i % 2 === 0 && word > 0n).length, 0)
  return { seen, older: dump('older').length, crowded: words.filter(([crowded]) => crowded! > 0n).length }
}

/** The tables of handshakes that this process holds, and the entries in all of them. */
export function handshakes(): { tables: number; entries: number } {
  const held = objects().map
  const tables = show('map').filter(({ id, name }) => held.includes(id) && /^(turned|arrivals)$/.test(name ?? ''))
  const entries = tables.map(({ id }) => (bpftool('map', 'dump', 'id', `${id}`) as unknown[]).length)
  return { tables: tables.length, entries: entries.reduce((sum, count) => sum + count, 0) }
}
