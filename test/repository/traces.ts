// What Weft leaves on a machine while it runs: namespaces, links, cgroups, BPF programs, pins, processes.
import { execFileSync } from 'node:child_process'
import { globSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Kind of trace → one line for each that is there now. */
export type Traces = Readonly<Record<string, readonly string[]>>

const repository = new URL('../..', import.meta.url).pathname

export function tracesNow(): Traces {
  return {
    'network namespaces': lines('ip', ['netns', 'list']).filter((line) => line.startsWith('weft-')),
    'network links': lines('ip', ['-o', 'link']).filter((line) => /^\d+: (weft|wl-)/.test(line)),
    cgroups: globSync(`${cgroupMount()}/weft-*`),
    'BPF programs': bpfPrograms(),
    'pinned objects': globSync('/sys/fs/bpf/weft*'),
    'mounts and run folders': [...mounts(), ...globSync('/run/weft*')],
    processes: processes(),
  }
}

/** What is in `after` and was not in `before`. */
export function newTraces(before: Traces, after: Traces): Traces {
  const fresh = Object.entries(after).map(([kind, found]) => {
    const known = new Set(before[kind])
    return [kind, found.filter((each) => !known.has(each))] as const
  })
  return Object.fromEntries(fresh.filter(([, found]) => found.length > 0))
}

const lines = (command: string, args: string[]): string[] =>
  execFileSync(command, args, { encoding: 'utf8' }).split('\n')

/** File systems of BPF objects that were mounted for a lab or a test. */
function mounts(): string[] {
  const all = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  return all.filter((line) => / bpf /.test(line) && line.includes('weft'))
}

function cgroupMount(): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  return mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2')?.[1] ?? '/sys/fs/cgroup'
}

function bpfPrograms(): string[] {
  const programs: unknown = JSON.parse(execFileSync('bpftool', ['-j', 'prog', 'show'], { encoding: 'utf8' }))
  const named = (Array.isArray(programs) ? programs : []) as { id: number; name?: string }[]
  return named.filter(({ name }) => name?.startsWith('weft')).map(({ id, name }) => `${id} ${name}`)
}

/** Programs of this checkout, run by its own Node: agents, lab processes, applications. Not the setup that runs us. */
function processes(): string[] {
  const found = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => ({ pid, line: commandLine(pid) }))
    .filter(({ line }) => /(agent|lab)\/[a-z0-9/-]+\.(ts|js)( |$)/.test(line))
  return found.filter(({ pid }) => executable(pid).startsWith(repository)).map(({ pid, line }) => `${pid} ${line}`)
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return '' // it has ended meanwhile
  }
}

function executable(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return ''
  }
}
