// The real body of Kernel: eBPF programs at the root of cgroup2 and one more in each captured pod's network namespace.
import { closeSync, openSync } from 'node:fs'
import type { SocketAddress } from '../model/address.ts'
import { cookieIn } from './cookie.ts'
import type { Captured, Counters, Handles, Kernel, Listener, OpenConnection, PodSource, Tally } from './kernel.ts'
import { ENTRIES_BOUND, KernelError, ORIGINS_BOUND, TALLIES_BOUND } from './kernel.ts'
import { cookieKey, LAYOUT, POD_BYTES, readCookie } from './layout.ts'
import { native } from './native.ts'
import {
  type Ground,
  KNOWN_AS,
  NO_POD_COUNTERS,
  PodCapture,
  type PodCounters,
  podFolder,
  rehearseCapture,
} from './pod/capture.ts'
import { PodTerms } from './pod/terms.ts'
import { programsAhead, sentencesOf } from './programs/foreign.ts'
import { NodePrograms } from './programs/node.ts'
import { type Pins, pinsAt, UNPINNED } from './programs/pins.ts'

export { openSockets } from './sockets.ts'

export interface KernelOptions {
  /** The root of cgroup2 (discover.ts, findCgroupRoot). A part of the tree captures only the processes in it. */
  readonly cgroupRoot: string
  /** Where captures are pinned to outlive this agent, and looked for: a folder of its own on bpffs. Absent: nowhere. */
  readonly pinRoot?: string
  /** Directory of the cgroup of those who probe pods (the kubelet's). Absent or null: all processes of the node's namespace. */
  readonly proberCgroup?: string | null
  /** Told what a pod's connections carried, at the last, when it is released. */
  readonly onRelease?: (uid: string, tallies: readonly Tally[], open: readonly OpenConnection[]) => void
  /** Default ORIGINS_BOUND. */
  readonly originsBound?: number
  /** Default ENTRIES_BOUND. */
  readonly entriesBound?: number
  /** Default TALLIES_BOUND. */
  readonly talliesBound?: number
}

/** max_entries of `pods` in bpf/maps.h */
const PODS_MAX = 1024

/** Loads and attaches the programs, or takes them over. Needs root and Linux 6.1. Throws KernelError. */
export function openKernel(options: KernelOptions): Kernel {
  using undo = new DisposableStack()
  const home = openSync('/proc/self/ns/net', 'r')
  undo.defer(() => closeSync(home))
  const root = options.pinRoot === undefined ? UNPINNED : pinsAt(options.pinRoot)
  const pins = root.folder(`layout-${LAYOUT}`)
  const { cgroupRoot, proberCgroup = null } = options
  const programs = new NodePrograms({ cgroupRoot, node: cookieIn(home, home), proberCgroup }, pins)
  undo.defer(() => programs.close('keep'))
  const kernel = new BpfKernel(programs, { home, pins, root }, options)
  undo.move()
  return kernel
}

/** Does all that capturing a pod asks of the kernel, without a pod, and takes it away again. Throws KernelError. */
export function rehearse(cgroupRoot: string): void {
  using undo = new DisposableStack()
  const home = openSync('/proc/self/ns/net', 'r')
  undo.defer(() => closeSync(home))
  const programs = new NodePrograms({ cgroupRoot, node: cookieIn(home, home), proberCgroup: null }, UNPINNED)
  undo.defer(() => programs.close('remove'))
  rehearseCapture(programs)
}

function addTo(sum: PodCounters, counted: PodCounters): void {
  for (const name of Object.keys(counted) as (keyof PodCounters)[]) sum[name] += counted[name]
}

class BpfKernel implements Kernel {
  readonly #programs: NodePrograms
  readonly #ground: Ground
  readonly #root: Pins
  readonly #cgroupRoot: string
  readonly #onRelease: NonNullable<KernelOptions['onRelease']>
  /** Handed over by another agent and not used yet, by cookie. */
  readonly #given = new Map<string, readonly Listener[]>()
  readonly #captures = new Map<string, PodCapture>()
  /** Counts of the pods that were released. */
  readonly #past = { ...NO_POD_COUNTERS }
  #last: Counters | null = null
  #hasDropped = false

  constructor(
    programs: NodePrograms,
    { home, pins, root }: { readonly home: number; readonly pins: Pins; readonly root: Pins },
    options: KernelOptions,
  ) {
    this.#programs = programs
    this.#root = root
    this.#cgroupRoot = options.cgroupRoot
    this.#onRelease = options.onRelease ?? (() => undefined)
    const bounds = {
      origins: options.originsBound ?? ORIGINS_BOUND,
      entries: options.entriesBound ?? ENTRIES_BOUND,
      tallies: options.talliesBound ?? TALLIES_BOUND,
    }
    this.#ground = { programs, home, pins, bounds }
  }

  get lasting(): boolean {
    return this.#ground.pins.lasting
  }

  capture(pod: PodSource): Captured {
    const capture = this.#captureOf(pod)
    try {
      return capture.bringUp(pod)
    } catch (error) {
      if (capture.blocks) this.#block(capture)
      else this.release(pod.uid)
      throw error
    }
  }

  async prove(uid: string): Promise<void> {
    const capture = this.#captures.get(uid)
    if (capture === undefined) throw new KernelError('ENOENT', `prove ${uid}`)
    await capture.prove()
  }

  loosen(uid: string): void {
    this.#captures.get(uid)?.loosen()
  }

  dropOtherLayouts(): void {
    // once: what comes later is a successor's
    const others = this.#hasDropped ? [] : this.#root.folders().filter((name) => name !== `layout-${LAYOUT}`)
    this.#hasDropped = true
    for (const name of others) this.#root.folder(name).remove()
  }

  retire(): void {
    for (const capture of this.#captures.values()) capture.retire()
  }

  deafen(): void {
    for (const capture of this.#captures.values()) capture.deafen()
  }

  release(uid: string): void {
    const capture = this.#captures.get(uid)
    if (!capture) return
    this.#captures.delete(uid)
    try {
      addTo(this.#past, capture.counters())
      this.#onRelease(uid, capture.tallies(), capture.connections())
    } catch {
      // a pod whose last counts cannot be read is left all the same
    }
    capture.takeDown()
  }

  captured(): ReadonlyMap<string, Captured> {
    const whole = [...this.#captures].flatMap(([uid, { captured }]) =>
      captured === null ? [] : [[uid, captured] as const],
    )
    return new Map(whole)
  }

  held(): readonly string[] {
    return [...this.#captures.keys()]
  }

  inherited(): readonly string[] {
    const own = new Set([...this.#captures.values()].map(({ cookie }) => podFolder(cookie)))
    return this.#ground.pins
      .folders()
      .filter((name) => !own.has(name))
      .map((name) => name.slice(podFolder('').length))
  }

  cookieOf(netns: number): string {
    return cookieIn(netns, this.#ground.home)
  }

  disinherit(cookie: string): void {
    this.#closeGiven(cookie)
    native().mapRemove(this.#programs.map('pods'), cookieKey(cookie))
    const pins = this.#ground.pins.folder(podFolder(cookie))
    pins.unpin('link')
    new PodTerms(this.#programs, cookie).remove()
    for (const map of Object.keys(KNOWN_AS)) native().mapRemove(this.#programs.map(map), cookieKey(cookie))
    pins.remove()
  }

  look(): readonly string[] {
    const lacks = this.#programs.look()
    for (const cookie of this.inherited()) if (!this.#lives(cookie)) this.disinherit(cookie)
    this.#forgetStrangers()
    // listeners of pods that nobody wants any more would keep their namespaces
    for (const cookie of this.#given.keys()) this.#closeGiven(cookie)
    return [...lacks, ...sentencesOf(programsAhead(this.#programs, this.#cgroupRoot))]
  }

  counters(): Counters {
    if (this.#last) return { ...this.#last }
    const ofPods = { ...this.#past }
    for (const capture of this.#captures.values()) addTo(ofPods, capture.counters())
    const ofNode = this.#programs.counters()
    const sum = (name: 'crowded' | 'lost' | 'opened' | 'excluded'): number => ofNode[name] + ofPods[name]
    const [crowded, lost, opened, excluded] = [sum('crowded'), sum('lost'), sum('opened'), sum('excluded')]
    return { ...ofNode, ...ofPods, crowded, lost, opened, excluded }
  }

  tallies(uid: string): readonly Tally[] {
    return this.#captures.get(uid)?.tallies() ?? []
  }

  connections(uid: string): readonly OpenConnection[] {
    return this.#captures.get(uid)?.connections() ?? []
  }

  listeningPorts(uid: string): ReadonlySet<number> {
    return this.#captures.get(uid)?.listeningPorts() ?? new Set()
  }

  localEnds(uid: string): readonly SocketAddress[] {
    return this.#captures.get(uid)?.localEnds() ?? []
  }

  reset(uid: string, sockets: readonly bigint[]): number {
    return this.#captures.get(uid)?.reset(sockets) ?? 0
  }

  handles(): Handles {
    const [own, accepted] = [this.#programs.map('own'), this.#programs.map('accepted')]
    return { body: 'bpf', own, accepted, home: this.#ground.home }
  }

  adopt(listeners: ReadonlyMap<string, readonly Listener[]>): void {
    for (const [cookie, each] of listeners) {
      this.#closeGiven(cookie)
      this.#given.set(cookie, each)
    }
  }

  close(how: 'keep' | 'remove'): void {
    if (this.#last) return
    if (how === 'remove') {
      for (const uid of [...this.#captures.keys()]) this.release(uid)
      for (const cookie of this.inherited()) this.disinherit(cookie)
    }
    this.#last = this.counters()
    for (const capture of this.#captures.values()) this.#letGo(capture)
    this.#captures.clear()
    for (const cookie of this.#given.keys()) this.#closeGiven(cookie)
    this.#programs.close(how)
    if (how === 'remove') this.#root.remove()
    closeSync(this.#ground.home)
  }

  /** A pod whose sandbox was made anew has a new namespace under its old uid. */
  #captureOf(pod: PodSource): PodCapture {
    const known = this.#captures.get(pod.uid)
    const cookie = this.cookieOf(pod.netns)
    if (known?.cookie === cookie) return known
    if (known) this.release(pod.uid)
    const capture = new PodCapture(pod, this.#ground, this.#given.get(cookie) ?? [])
    this.#given.delete(cookie)
    this.#captures.set(pod.uid, capture)
    return capture
  }

  /** Best effort: what cannot be refused now is tried again with the next capture(). */
  #block(capture: PodCapture): void {
    try {
      capture.block()
    } catch {
      // the error that led here is the one to tell
    }
  }

  #closeGiven(cookie: string): void {
    for (const { fd } of this.#given.get(cookie) ?? []) native().closeFd(fd)
    this.#given.delete(cookie)
  }

  /** What does not last must go in order. */
  #letGo(capture: PodCapture): void {
    if (this.lasting) capture.letGo()
    else capture.takeDown()
  }

  #lives(cookie: string): boolean {
    const link = this.#ground.pins.folder(podFolder(cookie)).open('link')
    if (link === null) return false // half a capture
    const { status, place } = native().readLink(link)
    native().closeFd(link)
    return status >= 0 && place !== '0'
  }

  /** Lines of pods that nobody has captured: an agent died while it released. */
  #forgetStrangers(): void {
    const keys = new Uint8Array(PODS_MAX * 8)
    const values = new Uint8Array(PODS_MAX * POD_BYTES)
    const count = native().mapList(this.#programs.map('pods'), keys, values, PODS_MAX)
    const known = new Set([...this.#captures.values()].map(({ cookie }) => cookie))
    for (const cookie of this.inherited()) known.add(cookie)
    known.add(cookieIn(this.#ground.home, this.#ground.home))
    for (let i = 0; i < count; i++) {
      const cookie = readCookie(keys, i * 8)
      if (!known.has(cookie)) native().mapRemove(this.#programs.map('pods'), cookieKey(cookie))
    }
  }
}
