// The connections now open: looked over for idleness, and judged again whenever the snapshot changes.

import { failureOf, MeshError } from '../../model/failure.ts'
import type { Snapshot } from '../../model/snapshot.ts'
import type { ConnectionLedger } from '../../telemetry/ledger.ts'
import type { Arrival, JoinedPod } from './node.ts'

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

/** What waits for a pod's answer. */
export interface Asking {
  /** uid of the pod. */
  readonly callee: string
  /** As if the pod had reset the connection: its network is gone, and no packet comes from there any more. */
  lost(cause: Error): void
}

/** A connection's place in the register. */
export class Place implements Disposable {
  readonly pod: JoinedPod
  readonly ledger: ConnectionLedger
  occupant: Occupant
  /** The request under way and whose pod it went to: it is broken off where that pod is gone. */
  asking: Asking | null = null
  readonly #leave: (place: Place) => void
  /** Breaks off the step that is waited for. */
  #breakOff: ((reason: MeshError) => void) | null = null

  constructor(arrival: Arrival, ledger: ConnectionLedger, leave: (place: Place) => void) {
    this.pod = arrival.pod
    this.ledger = ledger
    this.occupant = {
      overdue: () => null, // every step ahead of the relay has a time-out of its own
      forbidden: () => null, // and each ends in a check
      stop: (reason) => this.#breakOff?.(reason),
      drain: () => {},
    }
    this.#leave = leave
    this.pod.connections++
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
        (result) => (broken ? discard(result) : resolve(result)),
        (thrown: unknown) => reject(failureOf(thrown)),
      )
    })
  }

  [Symbol.dispose](): void {
    this.pod.connections--
    this.#leave(this)
  }
}

/** All of them. */
export class Live {
  readonly #places = new Set<Place>()

  get size(): number {
    return this.#places.size
  }

  /** Registers a connection; from here on no change of policy passes it by. */
  enter(arrival: Arrival, ledger: ConnectionLedger): Place {
    const place = new Place(arrival, ledger, (left) => {
      this.#places.delete(left)
      if (left.pod.released && left.pod.connections === 0) left.pod.sockets.close()
    })
    this.#places.add(place)
    return place
  }

  /** Ends what has been idle, or overdue, for too long. */
  sweep(nowMs: number): void {
    for (const { occupant } of this.#places) {
      const reason = occupant.overdue(nowMs)
      if (reason !== null) occupant.stop(reason)
    }
  }

  /** Judges every flow by a new snapshot, and breaks off what waits for a pod that is gone. */
  recheck(snapshot: Snapshot): void {
    for (const { occupant, asking } of this.#places) {
      if (asking !== null && !snapshot.workloadByUid.has(asking.callee)) asking.lost(new Error('its pod is gone'))
      const reason = occupant.forbidden(snapshot)
      if (reason !== null) occupant.stop(reason)
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
