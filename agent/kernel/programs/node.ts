// The BPF objects that an agent has once: programs at the root of cgroup2 and the maps of all pods. Taken over where an
// earlier agent has pinned them: its maps are used on, its links get the programs of this one, and no connect passes by
// meanwhile.
import { closeSync, openSync, realpathSync, statSync } from 'node:fs'
import { relative } from 'node:path'
import { FLAG, COUNTERS, cookieKey, intBytes, podValue, proberValue } from '../layout.ts'
import { must, native } from '../native.ts'
import { readCounters } from './counters.ts'
import { type Fds, loadPrograms, type ProgramKind, provideMaps } from './load.ts'
import { MESH } from './objects.ts'
import type { Pins } from './pins.ts'

/** enum bpf_attach_type of linux/bpf.h, by hook */
export const ATTACH = {
  handshake: 3,
  connect4: 10,
  connect6: 11,
  getpeer4: 29,
  getpeer6: 30,
  getsock4: 31,
  getsock6: 32,
  skLookup: 36,
} as const

/** enum bpf_prog_type of linux/bpf.h */
const [SOCK_OPS, SOCK_ADDR] = [13, 18]

/** In the order in which they are attached: who is turned must find all else there. */
const HOOKS = ['handshake', 'getpeer4', 'getpeer6', 'getsock4', 'getsock6', 'connect4', 'connect6'] as const

type Hook = (typeof HOOKS)[number]

/** Who probes, where it is not a cgroup: every process of the node's namespace, or none. */
const ANYBODY = { cgroup: 0n, level: 0 }
const NOBODY = { cgroup: 2n ** 64n - 1n, level: 0 }

const programOf = (hook: Hook): string => `weft_${hook}`

function kindOf(name: string): ProgramKind {
  const hook = HOOKS.find((each) => programOf(each) === name) ?? 'handshake'
  return { type: hook === 'handshake' ? SOCK_OPS : SOCK_ADDR, attachType: ATTACH[hook] }
}

/** Where an agent's programs are attached. */
export interface Site {
  /** The root of cgroup2. */
  readonly cgroupRoot: string
  /** Cookie of the agent's own network namespace: the node's. */
  readonly node: string
  /** Directory of the cgroup whose processes probe pods; null: every process of the node's namespace may. */
  readonly proberCgroup: string | null
}

/** The objects of one agent. */
export class NodePrograms {
  readonly maps: Fds
  readonly #site: Site
  readonly #pins: Pins
  readonly #programs: Fds
  readonly #links = new Map<Hook, number>()
  #closed = false

  /** Loads the programs and attaches them, or takes over what is pinned. Throws KernelError. */
  constructor(site: Site, pins: Pins) {
    this.#site = site
    this.#pins = pins
    this.maps = provideMaps(MESH, pins)
    try {
      this.#programs = loadPrograms(MESH, this.maps, kindOf)
    } catch (error) {
      for (const fd of this.maps.values()) native().closeFd(fd)
      throw error
    }
    try {
      this.#tellOfNode()
      for (const hook of HOOKS) this.#links.set(hook, this.#takeOver(hook) ?? this.#attach(hook))
    } catch (error) {
      this.close('keep')
      throw error
    }
  }

  /** fd of a map of bpf/. */
  map(name: string): number {
    const fd = this.maps.get(name)
    if (fd === undefined) throw new Error(`no map ${name}`)
    return fd
  }

  counters(): Record<(typeof COUNTERS)[number], number> {
    return readCounters(this.map('counters'), COUNTERS)
  }

  /**
   * Mends what somebody has detached, unpinned or deleted. Returns what was, or is, not as it should be, a sentence each. A
   * link with another's program is left alone: an agent that takes our place has put it there.
   */
  look(): readonly string[] {
    const lost = HOOKS.filter((hook) => !this.#isAttached(hook))
    for (const hook of lost) {
      const link = this.#links.get(hook)
      if (link !== undefined) native().closeFd(link)
      this.#links.delete(hook)
      this.#links.set(hook, this.#takeOver(hook) ?? this.#attach(hook))
    }
    const pinned = [...this.maps, ...[...this.#links].map(([hook, fd]) => [linkName(hook), fd] as const)]
    const isKept = pinned.every(([name, fd]) => this.#pins.keep(name, fd))
    return [
      ...(isKept ? [] : ['captures cannot be pinned: they would not outlive this agent']),
      ...this.#tellOfNode(),
      ...lost.map((hook) => `the program at ${hook} had been detached by somebody: attached again`),
    ]
  }

  /** Ids of our programs, by hook. */
  idOf(hook: Hook): number {
    return native().programId(this.#programs.get(programOf(hook)) ?? -1)
  }

  /** `keep`: what is pinned stays and works on. Idempotent. */
  close(how: 'keep' | 'remove'): void {
    if (this.#closed) return
    this.#closed = true
    if (how === 'remove') for (const hook of HOOKS) this.#pins.unpin(linkName(hook))
    for (const fd of [...this.#links.values(), ...this.#programs.values(), ...this.maps.values()]) native().closeFd(fd)
    if (how === 'remove') this.#pins.remove()
  }

  /** The node's line, and who probes: a cgroup that was made anew has another id. Returns what is not there. */
  #tellOfNode(): readonly string[] {
    const { node, proberCgroup } = this.#site
    const nobody = { shown4: null, shown6: null, outbound4: 0, outbound6: 0, inbound4: 0, inbound6: 0 }
    const value = podValue({ ...nobody, cookie: node, flags: FLAG.node })
    must(native().mapPut(this.map('pods'), cookieKey(node), value), 'tell the programs which namespace is the node’s')
    const prober = proberCgroup === null ? ANYBODY : this.#proberAt(proberCgroup)
    const bytes = proberValue((prober ?? NOBODY).cgroup, (prober ?? NOBODY).level)
    must(native().mapPut(this.map('prober'), intBytes(0), bytes), 'tell the programs who probes')
    return prober === null ? [`there is no cgroup at ${proberCgroup}: no connection counts as a probe`] : []
  }

  /** Id of a cgroup and how far below the root it is; null where there is none below the root. */
  #proberAt(folder: string): { readonly cgroup: bigint; readonly level: number } | null {
    try {
      const below = relative(realpathSync(this.#site.cgroupRoot), realpathSync(folder)).split('/')
      if (below[0] === '..') return null
      return { cgroup: statSync(folder, { bigint: true }).ino, level: below.filter((part) => part !== '').length }
    } catch {
      return null
    }
  }

  /** The pinned link with this agent's program, or null where there is none that is attached at this root. */
  #takeOver(hook: Hook): number | null {
    const link = this.#pins.open(linkName(hook))
    if (link === null) return null
    const isHere = native().readLink(link).place === this.#place()
    if (isHere && native().replaceProgram(link, this.#programs.get(programOf(hook)) ?? -1) >= 0) return link
    native().closeFd(link)
    this.#pins.unpin(linkName(hook))
    return null
  }

  #attach(hook: Hook): number {
    const { cgroupRoot } = this.#site
    const root = openSync(cgroupRoot, 'r')
    try {
      const program = this.#programs.get(programOf(hook)) ?? -1
      const link = must(native().attach(program, root, ATTACH[hook]), `attach ${hook} at ${cgroupRoot}`)
      this.#pins.keep(linkName(hook), link)
      return link
    } finally {
      closeSync(root)
    }
  }

  #isAttached(hook: Hook): boolean {
    const { status, place } = native().readLink(this.#links.get(hook) ?? -1)
    return status >= 0 && place === this.#place()
  }

  /** Id of the cgroup, which is the inode of its directory. */
  #place(): string {
    return statSync(this.#site.cgroupRoot, { bigint: true }).ino.toString()
  }
}

const linkName = (hook: Hook): string => `link_${hook}`
