// Listeners that the programs have not seen start, of one captured pod: those older than its capture. sock_diag tells
// them, and only user space writes them down, beside what the programs write: no word has two writers.
import { LISTENING_BYTES, PORTS_BYTES, PORTS_GROUPS, PORTS_SLOTS, intBytes } from '../layout.ts'
import { crowdedPorts, placeKey, readListening, readPlace } from '../layout.ts'
import { must, native } from '../native.ts'

/** The pod's maps: `ports` is written by the programs, `older` here. */
export interface PortMaps {
  readonly ports: number
  readonly older: number
}

/** Keeps the older listeners of one pod. */
export interface OlderListeners {
  /**
   * Reads which sockets listen and writes down those that no program saw, and no others. Where they cannot be read or
   * are too many, all the pod's ports pass for open from then on: what asks for a closed one is accepted and reset.
   * Throws KernelError where not even that could be written.
   */
  look(): void
  /** 1 where all ports pass for open. */
  crowded(): number
}

/**
 * The maps must be known to the programs already, and nothing asked of them yet (the inbound program is not attached, or
 * refuses all because the pod is pending): then no listener is missed.
 * listen() makes a socket visible to sock_diag first and calls the program second, so each one has either met the
 * program, or is told here. One that closes between the readings below counts as open until look() is called anew.
 */
export function olderListeners(netns: number, home: number, maps: PortMaps): OlderListeners {
  let gaveUp = false

  const giveUp = (): void => {
    gaveUp = true
    for (let group = 0; group < PORTS_GROUPS; group++) {
      must(native().mapPut(maps.ports, intBytes(group), crowdedPorts()), 'give up on closed ports')
    }
  }

  const look = (): void => {
    gaveUp ||= isCrowded(maps.ports)
    if (gaveUp) return
    // A long answer comes in parts, and where a socket closes between two of them another may be left out: not twice.
    const told = [native().listenersIn(netns, home), native().listenersIn(netns, home)]
    if (told.some(({ status }) => status < 0)) return giveUp()
    const places = new Set(told.flatMap(({ found }) => unseen(found, maps.ports)))
    const written = placesIn(maps.older)
    for (const place of written) if (!places.has(place)) native().mapRemove(maps.older, placeKey(place))
    for (const place of places) {
      if (written.has(place)) continue
      if (native().mapPut(maps.older, placeKey(place), intBytes(1)) < 0) return giveUp()
    }
  }
  return { look, crowded: () => (gaveUp ? 1 : 0) }
}

/** What is written there now: by us, or by an agent before us. */
function placesIn(older: number): ReadonlySet<bigint> {
  const { entries } = native().readMap(older)
  const keys = new Uint8Array(8 * entries)
  const count = must(native().mapList(older, keys, new Uint8Array(4 * entries), entries), 'read the older listeners')
  return new Set(Array.from({ length: count }, (_, index) => readPlace(keys, 8 * index)))
}

/** Whether an agent before us has given up: every group passes for open. */
function isCrowded(ports: number): boolean {
  const bytes = new Uint8Array(PORTS_BYTES)
  return Array.from({ length: PORTS_GROUPS }, (_, group) => group).every(
    (group) => native().mapGet(ports, intBytes(group), bytes) >= 0 && bytes[0] === 1,
  )
}

/** The places of sockets that are not among those the programs hold. */
function unseen(found: Uint8Array, ports: number): bigint[] {
  const held = new Map<number, ReadonlySet<bigint>>()
  const heldIn = (group: number): ReadonlySet<bigint> => {
    const known = held.get(group)
    if (known) return known
    const bytes = new Uint8Array(PORTS_BYTES)
    must(native().mapGet(ports, intBytes(group), bytes), 'read the listening ports')
    const slots = readListening(bytes.subarray(PORTS_BYTES - PORTS_SLOTS * LISTENING_BYTES))
    const sockets = new Set(slots.map(({ socket }) => socket))
    held.set(group, sockets)
    return sockets
  }
  return readListening(found)
    .filter(({ socket, place }) => !heldIn(Number(place & 0xffffn) % PORTS_GROUPS).has(socket))
    .map(({ place }) => place)
}
