import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nothing } from '../../model/build.ts'
import { MeshError } from '../../model/failure.ts'
import type { Snapshot } from '../../model/snapshot.ts'
import type { ConnectionLedger } from '../../telemetry/ledger.ts'
import { Counts, sharedCounts } from './counts.ts'
import { Handshakes } from './handshakes.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { Live, type Occupant, type Place } from './live.ts'
import { UNBOUNDED } from '../transport/budget.ts'
import type { Arrival, JoinedPod } from './node.ts'

const MANY = 100_000

function podAt(row: number | null): JoinedPod {
  const captured = { uid: 'web', ips: [], cookie: '7', netns: -1, listeners: [] }
  const sockets = { captured, accept: assert.fail as never, socket: () => -1, close: () => undefined }
  const limit = new Handshakes(DEFAULT_LIMITS)
  const handshakes = { inbound: limit, outbound: limit }
  const counts = { connections: 0, nodeConnections: 0, row }
  return {
    captured,
    sockets,
    acceptors: [],
    budget: UNBOUNDED,
    handshakes,
    ...counts,
    released: false,
    isHeldOff: false,
  }
}

const arrivalAt = (pod: JoinedPod): Arrival => ({ fd: -1, channel: {} as never, direction: 'outbound', pod })
const LEDGER = {} as ConnectionLedger // not looked at

/** A connection that remembers which versions it was judged by, and what it was stopped for. */
class Judged implements Occupant {
  readonly by: number[] = []
  stopped: string | null = null
  readonly #forbids: number

  constructor(place: Place, forbids = -1) {
    this.#forbids = forbids
    place.occupant = this
  }

  overdue(): null {
    return null
  }

  forbidden({ version }: Snapshot): MeshError | null {
    this.by.push(version)
    if (version === 13) throw new Error('cannot say')
    return version === this.#forbids ? new MeshError('DENIED', `by version ${version}`) : null
  }

  stop(reason: MeshError): void {
    this.stopped = reason.code
  }

  drain(): void {}
}

async function until(isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn++) {
    assert.ok(turn < 10_000)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

test('every live connection is judged by the newest snapshot in the end, a slice at a time', async () => {
  const live = new Live()
  const pod = podAt(null)
  const enter = (forbids?: number) => new Judged(live.enter(arrivalAt(pod), LEDGER), forbids)
  const all = Array.from({ length: MANY }, (_, index) => enter(index === MANY - 1 ? 2 : undefined))
  let inForce: Snapshot = { ...nothing(), version: 1 }
  const judge = (version: number): void => {
    inForce = { ...nothing(), version }
    live.recheck(() => inForce)
  }
  judge(1)
  assert.ok(all.filter(({ by }) => by.length > 0).length < MANY, 'the first slice judged them all')
  judge(2) // while the first round is under way
  const late = enter()
  await until(() => all.every(({ by }) => by.at(-1) === 2))
  assert.equal(all.at(-1)?.stopped, 'DENIED')
  assert.deepEqual(
    [all[0]?.by, all.at(-1)?.by.includes(1), late.by.every((version) => version === 2)],
    [[1, 2], false, true],
  )
})

test('a snapshot that comes at every turn keeps none from being judged', async () => {
  const live = new Live()
  const pod = podAt(null)
  const all = Array.from({ length: MANY }, () => new Judged(live.enter(arrivalAt(pod), LEDGER)))
  let inForce: Snapshot = { ...nothing(), version: 100 }
  for (let turn = 0; all.some(({ by }) => by.length === 0); turn++) {
    assert.ok(turn < 10_000)
    inForce = { ...nothing(), version: 100 + turn }
    live.recheck(() => inForce)
    await new Promise((resolve) => setImmediate(resolve))
  }
})

test('a connection that cannot be judged is stopped, and the others are judged', () => {
  const live = new Live()
  const pod = podAt(null)
  const [one, other] = [0, 1].map(() => new Judged(live.enter(arrivalAt(pod), LEDGER)))
  live.recheck(() => ({ ...nothing(), version: 13 }))
  assert.deepEqual([one?.stopped, other?.stopped], ['MESH_BUG', 'MESH_BUG'])
})

test('connections of a pod are counted together by all workers, and taken back as they leave', () => {
  const shared = sharedCounts(2)
  const workers = [0, 1].map((column) => ({ live: new Live(new Counts(shared, column)), pod: podAt(5) }))
  const places = [0, 1, 0, 1].map((index) => {
    const { live, pod } = workers[index]!
    return { place: live.enter(arrivalAt(pod), LEDGER), told: pod.nodeConnections }
  })
  assert.deepEqual(
    places.map(({ told }) => told),
    [1, 2, 3, 4],
  )
  assert.deepEqual(
    workers.map(({ pod }) => pod.connections),
    [2, 2],
  )
  for (const { place } of places) place[Symbol.dispose]()
  assert.equal(new Counts(shared, 0).total(5), 0)
})
