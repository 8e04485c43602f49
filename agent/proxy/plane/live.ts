// The connections now open: looked over for idleness, and judged again whenever the snapshot changes.

import { failureOf, MeshError } from '../../model/failure.ts'
import type { Snapshot } from '../../model/snapshot.ts'
import type { ConnectionLedger } from '../../telemetry/ledger.ts'
import type { Counts } from './counts.ts'
import type { Arrival, JoinedPod } from './node.ts'
import { inSlices } from './slices.ts'

/** What a live connection is now doing, and how it is ended. */
export interface Occupant {
  /** Why it must end at this time, or null. `nowMs` is the transport's coarse clock. */
  overdue(nowMs: number): MeshError | null
  /** Why this snapshot does not allow it, or null. */
  forbidden(snapshot: Snapshot): MeshError | null
  /** Ends it now. */
  stop(reason: MeshError): void
  /** Ends it where nothing is lost by that: asked again and again. `nowMs` is up to a tick ahead of the coarse clock. */
  drain(nowMs: number): void
}

/** A request that waits for its answer. */
export interface Waiting {
  /** Whether who should answer is gone, as this snapshot has it. */
  isGone(snapshot: Snapshot): boolean
  /** Gives up waiting, as if the connection had been reset: unless the answer has begun. */
  lose(): void
}

/** What a step ahead of the relay says of itself. */
const UNHURRIED: Omit<Occupant, 'stop'> = {
  overdue: () => null, // each of them has a time-out of its own
  forbidden: () => null, // and ends in a check
  drain: () => {},
}

/** A connection's place in the register. */
export class Place implements Disposable {
  readonly pod: JoinedPod
  readonly ledger: ConnectionLedger
  occupant: Occupant
  /**
   * Of an HTTP connection: what its request waits for. A pod that ends takes its network with it, and the reset that would
   * tell so is lost then; without a word the request would wait for as long as its caller has patience.
   */
  waiting: Waiting | null = null
  readonly #live: Live
  /** Breaks off the step that is waited for. */
  #breakOff: ((reason: MeshError) => void) | null = null

  constructor(arrival: Arrival, ledger: ConnectionLedger, live: Live) {
    this.pod = arrival.pod
    this.ledger = ledger
    this.occupant = { ...UNHURRIED, stop: (reason) => this.#breakOff?.(reason) }
    this.#live = live
  }

  /**
   * Waits for a step of the corridor ahead of the relay. Throws what the connection is stopped for meanwhile; a result
   * that comes too late goes to `discard`.
   */
  until<T>(step: Promise<T>, discard: (late: T) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      let broken = false
      this.#breakOff = (reason) => {
        broken = true
        reject(reason)
      }
      step.then(
        (result) => {
          if (broken) {
            discard(result)
            return
          }
          this.#breakOff = null // which would keep the step for as long as the connection stays
          resolve(result)
        },
        (thrown: unknown) => reject(failureOf(thrown)),
      )
    })
  }

  [Symbol.dispose](): void {
    this.#live.leave(this)
  }
}

/** Connections looked at between two looks at the clock. */
const STEP = 32

/** All of them. */
export class Live {
  readonly #places = new Set<Place>()
  readonly #counts: Counts | null
  #isJudging = false
  #isStale = false
  #isSweeping = false

  /** `counts`: where all workers count the connections of a pod together. */
  constructor(counts: Counts | null = null) {
    this.#counts = counts
  }

  get size(): number {
    return this.#places.size
  }

  /** Registers a connection; from here on no change of policy passes it by. */
  enter(arrival: Arrival, ledger: ConnectionLedger): Place {
    const { pod } = arrival
    const { row } = pod
    const counts = row === null ? null : this.#counts
    const place = new Place(arrival, ledger, this)
    pod.connections++
    pod.nodeConnections = row === null || counts === null ? pod.connections : counts.enter(row)
    this.#places.add(place)
    return place
  }

  /** From the place: its connection is over. */
  leave(place: Place): void {
    const { pod } = place
    this.#places.delete(place)
    pod.connections--
    if (pod.row !== null) this.#counts?.leave(pod.row)
    if (pod.released && pod.connections === 0) pod.sockets.close()
  }

  /** Ends what has been idle, or overdue, for too long. */
  sweep(nowMs: number): void {
    if (this.#isSweeping) return
    this.#isSweeping = true
    void inSlices(this.#each(({ occupant }) => occupant.overdue(nowMs))).finally(() => (this.#isSweeping = false))
  }

  /**
   * Judges every flow by the snapshot in force, in slices. One that is put in force meanwhile is taken at once for those
   * not yet judged, and then all are judged again: each is judged by the newest in the end. A connection that enters
   * meanwhile is judged by its own walk.
   */
  recheck(inForce: () => Snapshot): void {
    this.#isStale = true
    if (this.#isJudging) return
    this.#isJudging = true
    void inSlices(this.#judgeAll(inForce)).finally(() => (this.#isJudging = false))
  }

  *#judgeAll(inForce: () => Snapshot): Generator<void> {
    while (this.#isStale) {
      this.#isStale = false
      yield* this.#each(({ occupant, waiting }) => {
        const snapshot = inForce()
        if (waiting?.isGone(snapshot) === true) waiting.lose()
        return occupant.forbidden(snapshot)
      })
    }
  }

  /** Stops those for which there is a reason. One that cannot be judged is stopped too. */
  *#each(reasonOf: (place: Place) => MeshError | null): Generator<void> {
    let seen = 0
    for (const place of this.#places) {
      try {
        const reason = reasonOf(place)
        if (reason !== null) place.occupant.stop(reason)
      } catch (thrown) {
        place.occupant.stop(failureOf(thrown))
      }
      if (++seen % STEP === 0) yield
    }
  }

  /** Brings the series of long flows up to date. */
  settle(): void {
    for (const { ledger } of this.#places) ledger.settle()
  }

  /** Ends what nothing is lost by. */
  drain(nowMs: number): void {
    for (const { occupant } of this.#places) occupant.drain(nowMs)
  }

  /** Ends what a pod left open when it ended: nobody is there any more, and each fd keeps its network namespace. */
  stopPod(pod: JoinedPod): void {
    const reason = new MeshError('SHUTDOWN', 'its pod is gone')
    for (const place of this.#places) if (place.pod === pod) place.occupant.stop(reason)
  }

  /** Ends all that is still open. */
  stop(): void {
    for (const { occupant } of this.#places) occupant.stop(new MeshError('SHUTDOWN', 'the agent stops'))
  }
}
