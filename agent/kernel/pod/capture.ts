// One captured pod on the control side: its maps, its inbound program, its listeners and its lines in the maps of all
// pods. Everything is brought up by one walk that can be made again at any time: each part looks at what is there and
// mends it. A capture that an earlier agent left pinned is thereby taken over, and a damaged one repaired.
import type { Captured, Counters, Listener, OpenConnection, PodSource, Tally } from '../kernel.ts'
import { KernelError } from '../kernel.ts'
import { cookieIn } from '../cookie.ts'
import { familyOf, type SocketAddress } from '../../model/address.ts'
import { FLAG, INBOUND_COUNTERS, POD_BYTES, cookieKey, intBytes, podValue, readInt } from '../layout.ts'
import { must, native, NO_MARK } from '../native.ts'
import { readCounters } from '../programs/counters.ts'
import { type Fds, loadPrograms, provideMaps } from '../programs/load.ts'
import { ATTACH, type NodePrograms } from '../programs/node.ts'
import { INBOUND } from '../programs/objects.ts'
import { type Pins, UNPINNED } from '../programs/pins.ts'
import { type Place, readListeningPorts, readLocalEnds, readOpen, resetConnections } from './connections.ts'
import { Listening } from './listening.ts'
import { type OlderListeners, olderListeners } from './older.ts'
import { provable, proveInbound, proveOutbound } from './prove.ts'
import { keepSpill, readTallies } from './tallies.ts'
import { PodTerms } from './terms.ts'

/** What capturing needs of the agent. */
export interface Ground {
  readonly programs: NodePrograms
  /** fd of the agent's own network namespace */
  readonly home: number
  /** The folder of the agent's pins. */
  readonly pins: Pins
  readonly bounds: { readonly origins: number; readonly entries: number; readonly tallies: number }
}

/** enum bpf_prog_type of linux/bpf.h: BPF_PROG_TYPE_SK_LOOKUP */
const INBOUND_KIND = { type: 30, attachType: ATTACH.skLookup }

/** Which map of the pod is known to the programs of all pods under its cookie, by their map of maps. */
export const KNOWN_AS = { origins: 'turned', entries: 'arrivals', listening: 'ports', tallies: 'sums' } as const

/** The pod's folder of pins. */
export const podFolder = (cookie: string): string => `pod-${cookie}`

/** A namespace that cannot bind the pod's address is not this pod's, whatever led here. */
function proveAddress(pod: PodSource, netns: number, home: number): void {
  const ip = pod.ips.find((each) => familyOf(each) === 4) ?? pod.ips[0] ?? ''
  const fd = must(native().socketIn(netns, home, familyOf(ip), -1, NO_MARK), 'make a socket in the pod')
  try {
    must(native().bindSocket(fd, ip, 0), `find ${ip} in the network namespace of ${pod.uid}`)
  } finally {
    native().closeFd(fd)
  }
}

/** Makes a pod's maps, program and lines, without a pod, and takes them away again. Throws KernelError. */
export function rehearseCapture(programs: NodePrograms): void {
  using undo = new DisposableStack()
  const nobody = cookieKey('0')
  const maps = provideMaps(INBOUND, UNPINNED, {}, programs.maps)
  for (const fd of maps.values()) undo.defer(() => native().closeFd(fd))
  const all = new Map([...programs.maps, ...maps])
  for (const fd of loadPrograms(INBOUND, all, () => INBOUND_KIND).values()) undo.defer(() => native().closeFd(fd))
  for (const [outer, inner] of Object.entries(KNOWN_AS)) {
    must(native().mapPut(programs.map(outer), nobody, intBytes(maps.get(inner) ?? -1)), `keep a pod in ${outer}`)
    undo.defer(() => native().mapRemove(programs.map(outer), nobody))
  }
}

/** A pod that is captured, or is to be. */
export class PodCapture {
  readonly cookie: string
  readonly #ground: Ground
  readonly #netns: number
  readonly #pins: Pins
  readonly #maps: Fds
  readonly #terms: PodTerms
  readonly #listening: Listening
  readonly #older: OlderListeners
  #source: PodSource
  #link = -1
  #program = -1
  /** What #tell() says beside the terms. */
  readonly #flags = { pending: false, leaving: false, proved: false, deaf: false }
  #isRetired = false
  #captured: Captured | null = null

  /**
   * Holds the pod's namespace and its maps; nothing is turned yet. Throws KernelError; EHOST where the pod shares the
   * agent's namespace.
   */
  constructor(source: PodSource, ground: Ground, given: readonly Listener[]) {
    using undo = new DisposableStack()
    const { programs, home, bounds } = ground
    this.#source = source
    this.#ground = ground
    this.#netns = must(native().duplicate(source.netns), 'hold the network namespace')
    undo.defer(() => native().closeFd(this.#netns))
    this.cookie = cookieIn(this.#netns, home)
    if (this.cookie === cookieIn(home, home)) {
      throw new KernelError('EHOST', `capture ${source.uid}: it has the node's network`)
    }
    proveAddress(source, this.#netns, home)
    this.#pins = ground.pins.folder(podFolder(this.cookie))
    const isNew = !ground.pins.folders().includes(podFolder(this.cookie))
    const entries = { turned: bounds.origins, arrivals: bounds.entries, sums: bounds.tallies }
    this.#maps = provideMaps(INBOUND, this.#pins, entries, programs.maps)
    undo.defer(() => {
      for (const fd of this.#maps.values()) native().closeFd(fd)
    })
    this.#terms = new PodTerms(programs, this.cookie, isNew)
    const [own, listeners] = [programs.map('own'), this.#map('listeners')]
    this.#listening = new Listening({ netns: this.#netns, home, own, listeners }, given)
    this.#older = olderListeners(this.#netns, home, { ports: this.#map('ports'), older: this.#map('older') })
    undo.move()
  }

  /** Null while it was never brought up whole. */
  get captured(): Captured | null {
    return this.#captured
  }

  /** Whether new connections are refused until it is brought up. */
  get blocks(): boolean {
    return this.#source.terms.onLoss === 'closed'
  }

  /**
   * Brings everything up in an order in which each part finds what it needs, or looks at it again. Throws KernelError:
   * then take it down, unless it blocks.
   */
  bringUp(source: PodSource): Captured {
    this.#source = source
    this.#flags.leaving = this.#flags.deaf = false
    this.#keepPins()
    // of a fail-closed pod nothing passes from here on; what an earlier agent has in force stays until it is replaced
    if (this.blocks && !this.#isGated()) this.block()
    this.#terms.write(source.terms, source.ips)
    this.#makeKnown()
    // after the programs know the set, and before anyone asks it: see there
    this.#older.look()
    this.#steer()
    this.#listening.look(source.ips)
    // last: from here on connects are turned, and everything they will meet is there
    this.#flags.pending = false
    this.#tell()
    return this.#retold()
  }

  /** From now on new connections of the pod are refused, both ways, until it is brought up. Throws KernelError. */
  block(): void {
    this.#captured = null
    this.#flags.pending = true
    this.#tell()
    this.#steer()
  }

  /** Another agent has the pod: nothing is told to the programs any more. */
  retire(): void {
    this.#isRetired = true
  }

  /** Sees that both directions come to the data side. Rejects with KernelError. */
  async prove(): Promise<void> {
    const { home } = this.#ground
    const pod = this.#captured
    if (pod === null) throw new KernelError('ENOENT', `prove ${this.#source.uid}`)
    const { ips, terms } = this.#source
    await Promise.all(provable(ips, terms).map((family) => proveOutbound(pod, home, family)))
    const dialled = ([4, 6] as const).flatMap((family) => ips.find((ip) => familyOf(ip) === family) ?? [])
    this.#gate(true)
    try {
      await Promise.all(dialled.map((ip) => proveInbound(pod, home, ip)))
    } finally {
      this.#gate(false)
    }
  }

  /** Lets the inbound port be dialled from outside, or no longer. A pod that was let go meanwhile is left alone. */
  #gate(isOpen: boolean): void {
    this.#flags.proved = isOpen
    if (this.#captured !== null) this.#tell()
  }

  loosen(): void {
    if (this.#flags.leaving) return
    this.#flags.leaving = true
    this.#tell()
  }

  deafen(): void {
    this.#flags.deaf = true
    this.#tell()
  }

  counters(): Record<(typeof INBOUND_COUNTERS)[number] | 'crowded', number> {
    return { ...readCounters(this.#map('steering'), INBOUND_COUNTERS), crowded: this.#older.crowded() }
  }

  tallies(): Tally[] {
    return readTallies(this.#map('sums'), this.#source.uid)
  }

  connections(): OpenConnection[] {
    return readOpen(this.#place, this.#ground.programs)
  }

  listeningPorts(): ReadonlySet<number> {
    return readListeningPorts(this.#place)
  }

  localEnds(): SocketAddress[] {
    return readLocalEnds(this.#place, this.#ground.programs)
  }

  reset(sockets: readonly bigint[]): number {
    return resetConnections(this.#place, sockets)
  }

  /** Takes everything down, in the reverse order. Open connections go on. */
  takeDown(): void {
    const { programs } = this.#ground
    const key = cookieKey(this.cookie)
    native().mapRemove(programs.map('pods'), key)
    this.#pins.unpin('link')
    if (this.#link >= 0) native().closeFd(this.#link)
    this.#link = -1
    for (const map of Object.keys(KNOWN_AS)) native().mapRemove(programs.map(map), key)
    this.#terms.remove()
    this.letGo()
    try {
      this.#pins.remove()
    } catch {
      // Kernel.look() drops what is pinned of a pod that nobody has
    }
  }

  /** Closes every fd; what is pinned works on. */
  letGo(): void {
    this.#captured = null
    this.#listening.close()
    for (const fd of [this.#link, this.#program]) if (fd >= 0) native().closeFd(fd)
    this.#link = this.#program = -1
    for (const fd of this.#maps.values()) native().closeFd(fd)
    native().closeFd(this.#netns)
  }

  get #place(): Place {
    return { netns: this.#netns, home: this.#ground.home }
  }

  #map(name: string): number {
    const fd = this.#maps.get(name)
    if (fd === undefined) throw new Error(`no map ${name}`)
    return fd
  }

  #keepPins(): void {
    for (const [name, fd] of this.#maps) this.#pins.keep(name, fd)
    if (this.#link >= 0) this.#pins.keep('link', this.#link)
  }

  /** The programs of all pods find this one's maps by its cookie. Writing waits for RCU, so only what differs is written. */
  #makeKnown(): void {
    const key = cookieKey(this.cookie)
    const there = new Uint8Array(4)
    keepSpill(this.#map('sums'))
    for (const [outer, inner] of Object.entries(KNOWN_AS)) {
      const [map, own] = [this.#ground.programs.map(outer), this.#map(inner)]
      const isKnown = native().mapGet(map, key, there) >= 0 && readInt(there) === native().readMap(own).id
      if (!isKnown) must(native().mapPut(map, key, intBytes(own)), `keep the pod in ${outer}`)
    }
  }

  /** Attaches the inbound program, or gives its link this agent's. */
  #steer(): void {
    if (this.#program < 0) {
      const maps = new Map([...this.#ground.programs.maps, ...this.#maps])
      this.#program = loadPrograms(INBOUND, maps, () => INBOUND_KIND).get('weft_inbound') ?? -1
    }
    const program = this.#program
    if (this.#link < 0) this.#link = this.#pins.open('link') ?? -1
    if (this.#link >= 0) {
      const state = native().readLink(this.#link)
      const isAlive = state.status >= 0 && state.place !== '0'
      if (isAlive && state.program === native().programId(program)) return
      if (isAlive && native().replaceProgram(this.#link, program) >= 0) return
      native().closeFd(this.#link)
      this.#pins.unpin('link')
      this.#link = -1
    }
    this.#link = must(native().attach(program, this.#netns, ATTACH.skLookup), 'attach the inbound program')
    this.#pins.keep('link', this.#link)
  }

  /** Whether an earlier agent, or this one, has the pod in force. */
  #isGated(): boolean {
    const there = new Uint8Array(POD_BYTES)
    return native().mapGet(this.#ground.programs.map('pods'), cookieKey(this.cookie), there) >= 0
  }

  /** Says to the programs what they are to do with the pod. The inbound one first: connects are turned last. */
  #tell(): void {
    if (this.#isRetired) return
    const { ips, terms } = this.#source
    const first = (family: 4 | 6): string | null => ips.find((ip) => familyOf(ip) === family) ?? null
    const port = this.#listening.port.bind(this.#listening)
    const flags = {
      ...this.#flags,
      closed: terms.onLoss === 'closed',
      ports: terms.excludeOutboundPorts.length + terms.excludeInboundPorts.length > 0,
      blocks: terms.excludeOutboundCidrs.length > 0,
    }
    const value = podValue({
      ...{ cookie: this.cookie, flags: flagsOf(flags), shown4: first(4), shown6: first(6) },
      ...{ outbound4: port('outbound', 4), outbound6: port('outbound', 6) },
      ...{ inbound4: port('inbound', 4), inbound6: port('inbound', 6) },
    })
    put(this.#map('gate'), intBytes(0), value)
    put(this.#ground.programs.map('pods'), cookieKey(this.cookie), value)
  }

  /** The same object as before where the data side need not be told anew. */
  #retold(): Captured {
    const { uid, ips } = this.#source
    const now = { uid, ips, cookie: this.cookie, netns: this.#netns, listeners: this.#listening.all }
    const before = this.#captured
    if (before === null || JSON.stringify(before) !== JSON.stringify(now)) this.#captured = now
    return this.#captured as Captured
  }
}

const flagsOf = (set: Partial<Record<keyof typeof FLAG, boolean>>): number =>
  Object.entries(FLAG).reduce((sum, [name, flag]) => sum | (set[name as keyof typeof FLAG] ? flag : 0), 0)

function put(map: number, key: Uint8Array, value: Uint8Array): void {
  const there = new Uint8Array(value.length)
  if (native().mapGet(map, key, there) >= 0 && Buffer.compare(there, value) === 0) return
  must(native().mapPut(map, key, value), 'keep the pod')
}

/** Sums of the counters that a pod has of its own. */
export type PodCounters = ReturnType<PodCapture['counters']>

export const NO_POD_COUNTERS: PodCounters = {
  ...{ steered: 0, let: 0, dropped: 0, closed: 0, lost: 0, opened: 0, excluded: 0, crowded: 0 },
} satisfies Partial<Counters>
