import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import type { Backends } from '../../model/backends.ts'
import { type HostPolicy, NO_POLICY } from '../../model/destination.ts'
import { afterChecks, ejectedNow, marksOf, mayEject, type Outcome, type Standing } from '../../model/balance/outlier.ts'
import type { ConnectionPool, OutlierDetection } from '../../model/traffic-policy.ts'
import { Http1Upstream } from '../http1/upstream.ts'
import { type BreakerMemory, breakerMemory, clearWorker, ejectionsIn } from './breaker-cells.ts'
import { type Breaker, Breakers } from './breakers.ts'
import { giveBack, type Queued, Ticket } from './connections.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { Pools } from './pool.ts'
import { StillChannel } from './still-channel.fixture.ts'

const OUTLIERS: OutlierDetection = {
  consecutive5xx: 5,
  consecutiveGateway: 0,
  consecutiveLocal: 5,
  splitsLocal: false,
  codes: [],
  intervalMs: 30_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 50,
  minHealthPercent: 0,
}

interface Wish extends Partial<Omit<HostPolicy, 'pool' | 'outliers'>> {
  readonly pool?: Partial<ConnectionPool>
  readonly outliers?: Partial<OutlierDetection>
  readonly endpoints?: number
}

function backends({ pool, outliers, endpoints = 2, ...wish }: Wish): Backends {
  const policy: HostPolicy = {
    ...{ ...NO_POLICY, scope: 'a.default.svc|v1|80|default/rule' },
    ...{ pool: { ...NO_POLICY.pool, ...pool }, outliers: outliers === undefined ? null : { ...OUTLIERS, ...outliers } },
    ...wish,
  }
  return {
    ...{ key: 'a', host: 'a.default.svc', subset: null, port: 80, family: 4, isUnknown: false, affinitySeconds: null },
    policy,
    endpoints: Array.from({ length: endpoints }, (_, index) => ({
      ...{ address: { ip: `10.0.0.${index + 1}`, port: 80 }, workload: null, node: null },
      ...{ ready: true, serving: true, terminating: false, locality: null, readySinceMs: null },
    })),
    groups: null,
  }
}

const nameOf = (index: number): string => `10.0.0.${index + 1}:80`

/** The workers of a node, all in this thread. */
class Node {
  nowMs = 1_000_000
  readonly memory: BreakerMemory
  readonly workers: readonly Breakers[]
  readonly told: string[] = []
  #turn = 0

  constructor(columns: number, cells: { scopes?: number; endpoints?: number } = {}) {
    this.memory = breakerMemory(columns, { scopes: 16, endpoints: 64, ...cells })
    this.workers = Array.from({ length: columns }, (_, column) => this.worker(column))
  }

  worker(column: number): Breakers {
    return new Breakers({
      memory: this.memory,
      column,
      nowMs: () => this.nowMs,
      onOverflow: (limit) => void this.told.push(`overflow ${limit}`),
      onEjection: (host, cause) => void this.told.push(`${host} ${cause}`),
    })
  }

  /** The breaker of one worker after the other. */
  next(of: Backends): Breaker {
    return (this.workers[this.#turn++ % this.workers.length] as Breakers).of(of) as Breaker
  }

  /** What all workers see, who must agree. */
  ejected(of: Backends): string[] {
    const seen = this.workers.map((worker) => [...(worker.ejected(of) ?? [])].sort())
    for (const one of seen) assert.deepEqual(one, seen[0])
    return seen[0] as string[]
  }

  tick(ms: number): void {
    this.nowMs += ms
    for (const worker of this.workers) worker.tick()
  }
}

/** A test with one worker and with four: the figures are the same. */
function forAnyWorkers(name: string, body: (node: Node) => void | Promise<void>): void {
  for (const columns of [1, 4])
    test(`${name} (${columns} workers)`, { timeout: 10_000 }, async () => body(new Node(columns)))
}

const connection = (): Http1Upstream => new Http1Upstream(new StillChannel())

function ticketOf(got: Ticket | Queued | null): Ticket {
  assert.ok(got instanceof Ticket)
  return got
}

function queuedOf(got: Ticket | Queued | null): Queued {
  assert.ok(got !== null && !(got instanceof Ticket))
  return got
}

test('more workers than can be told apart have no memory', () => {
  assert.equal(breakerMemory(31, { scopes: 1, endpoints: 1 }).columns, 31)
  assert.throws(() => breakerMemory(32), /^RangeError: 32 workers/)
})

test('what no rule bounds has no breaker', () => {
  const node = new Node(1)
  assert.equal(node.workers[0]!.of(backends({ scope: '', pool: { maxRequests: 1 } })), null)
  const unbounded = backends({})
  assert.equal(node.workers[0]!.of(unbounded), null)
  assert.equal(node.workers[0]!.ejected(unbounded), null)
  assert.equal(node.workers[0]!.size, 0)
})

forAnyWorkers('so many requests may be under way, and retries of their own', (node) => {
  const to = backends({ pool: { maxRequests: 3, maxRetries: 2 } })
  const held = [0, 1, 2].map(() => node.next(to))
  assert.deepEqual(
    held.map(({ requests }) => requests.enter()),
    [true, true, true],
  )
  assert.deepEqual([node.next(to).requests.enter(), node.next(to).requests.enter()], [false, false])
  held[1]!.requests.leave()
  assert.deepEqual([node.next(to).requests.enter(), node.next(to).requests.enter()], [true, false])
  const entered = [0, 1, 2, 3].map(() => node.next(to).retries.enter())
  assert.deepEqual(entered, [true, true, false, false])
  assert.deepEqual(node.told, [
    ...Array<string>(3).fill('overflow requests'),
    ...Array<string>(2).fill('overflow retries'),
  ])
})

forAnyWorkers('a retry budget is a share of requests under way and waiting, in the place of maxRetries', (node) => {
  const to = backends({
    pool: { maxRetries: 1, maxConnections: 100 },
    retryBudget: { percent: 20, minConcurrency: 3, intervalMs: 0 },
  })
  const retries = (): number => {
    const entered: Breaker[] = []
    for (let breaker = node.next(to); breaker.retries.enter(); breaker = node.next(to)) entered.push(breaker)
    for (const { retries: gate } of entered) gate.leave()
    return entered.length
  }
  assert.equal(retries(), 3)
  for (let i = 0; i < 20; i++) node.next(to).requests.enter()
  assert.equal(retries(), 4)
  for (let i = 0; i < 5; i++) ticketOf(node.next(to).connections!.acquire('pool'))
  assert.equal(retries(), 5)
})

forAnyWorkers('over an interval it is a share of those that began in it', (node) => {
  const to = backends({ retryBudget: { percent: 50, minConcurrency: 0, intervalMs: 10_000 } })
  const may = (): boolean => {
    const breaker = node.next(to)
    const isFree = breaker.retries.enter()
    if (isFree) breaker.retries.leave()
    return isFree
  }
  assert.equal(may(), false)
  for (let i = 0; i < 2; i++) {
    const breaker = node.next(to)
    breaker.requests.enter()
    breaker.requests.leave()
  }
  assert.equal(may(), true)
  node.nowMs += 9000
  assert.equal(may(), true)
  node.nowMs += 1000
  assert.equal(may(), false)
  for (let i = 0; i < 2; i++) {
    assert.equal(may(), false) // half of one is none, also where a word of before is used again
    const breaker = node.next(to)
    breaker.requests.enter()
    breaker.requests.leave()
  }
  assert.equal(may(), true)
})

forAnyWorkers('of requests without a connection so many may wait, those that dial among them', (node) => {
  const to = backends({ pool: { maxConnections: 1, maxPending: 2 } })
  const first = ticketOf(node.next(to).connections!.acquire('pool'))
  const second = queuedOf(node.next(to).connections!.acquire('pool'))
  assert.equal(node.next(to).connections!.acquire('pool'), null)
  first.settled() // it has its connection, and waits no longer
  queuedOf(node.next(to).connections!.acquire('pool'))
  assert.equal(node.next(to).connections!.acquire('pool'), null)
  second.cancel()
  queuedOf(node.next(to).connections!.acquire('pool'))
  assert.deepEqual(node.told, ['overflow pending', 'overflow pending'])
})

forAnyWorkers('a TCP flow does not wait for a place', (node) => {
  const to = backends({ pool: { maxConnections: 2 } })
  const flows = [0, 1, 2].map(() => node.next(to).connections!.take())
  assert.deepEqual(
    flows.map((flow) => flow !== null),
    [true, true, false],
  )
  flows[0]!.release()
  flows[0]!.release() // once
  assert.deepEqual(
    [0, 1].map(() => node.next(to).connections!.take() !== null),
    [true, false],
  )
  assert.deepEqual(node.told, ['overflow connections', 'overflow connections'])
})

forAnyWorkers('who waits longest on the node is first, whichever worker it waits with', async (node) => {
  const to = backends({ pool: { maxConnections: 1 } })
  let held = ticketOf(node.next(to).connections!.acquire('pool'))
  const order: number[] = []
  const waits = [0, 1, 2, 3, 4, 5].map((index) => {
    const queued = queuedOf(node.next(to).connections!.acquire(`pool ${index}`))
    return queued.granted.then(({ ticket, kept }) => {
      assert.equal(kept, null)
      order.push(index)
      return ticket
    })
  })
  for (const wait of waits) {
    held.release()
    held = await wait
  }
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5])
})

test(
  'who has just given a place back does not take it from one who waits with another worker',
  { timeout: 10_000 },
  async () => {
    const node = new Node(2)
    const to = backends({ pool: { maxConnections: 1 } })
    const [one, other] = node.workers.map((worker) => worker.of(to)!.connections!)
    const held = ticketOf(one!.acquire('a'))
    const first = queuedOf(other!.acquire('b'))
    held.release()
    const second = queuedOf(one!.acquire('a'))
    ;(await first.granted).ticket.release()
    await second.granted
  },
)

forAnyWorkers('an idle connection keeps its place only while nobody waits, with whatever worker', async (node) => {
  const to = backends({ pool: { maxConnections: 1 } })
  const pools = new Pools(DEFAULT_LIMITS)
  const pool = pools.of('p', { endpoint: nameOf(0), key: 'k', told: null }, undefined)
  const kept = connection()
  kept.ticket = ticketOf(node.next(to).connections!.acquire(pool.name))
  pool.give(kept, 0)
  assert.equal(pool.size, 1)
  const got = node.next(to).connections!.acquire('elsewhere') // of one worker it is at once, of others as they are woken
  const ticket = got instanceof Ticket ? got : (await queuedOf(got).granted).ticket
  assert.deepEqual([pool.size, kept.reusable], [0, false])
  const late = connection()
  late.ticket = ticket
  const waits = queuedOf(node.next(to).connections!.acquire('somewhere'))
  pool.give(late, 0)
  assert.deepEqual([pool.size, late.reusable], [0, false])
  ;(await waits.granted).ticket.release()
})

test(
  'a connection goes to the one who waits for it in its very pool, and is no longer pending',
  { timeout: 10_000 },
  async () => {
    const node = new Node(2)
    const to = backends({ pool: { maxConnections: 1, maxPending: 1 } })
    const { connections } = node.workers[0]!.of(to)!
    const pools = new Pools(DEFAULT_LIMITS)
    const pool = pools.of('p', { endpoint: nameOf(0), key: 'k', told: null }, undefined)
    const upstream = connection()
    const ticket = ticketOf(connections!.acquire(pool.name))
    ticket.settled()
    upstream.ticket = ticket
    const queued = queuedOf(connections!.acquire(pool.name))
    pool.give(upstream, 0)
    const granted = await queued.granted
    assert.equal(granted.kept, upstream)
    assert.deepEqual([pool.size, upstream.reusable], [0, true])
    queuedOf(connections!.acquire(pool.name)).cancel() // one may wait again
    giveBack(granted)
    assert.equal(upstream.reusable, false)
    ticketOf(connections!.acquire(pool.name))
  },
)

test('connections of a bounded scope are pooled apart from others', () => {
  const node = new Node(1)
  const bounded = node.next(backends({ pool: { maxConnections: 1 } }))
  const other = node.next(backends({ scope: 'other', pool: { maxConnections: 1 } }))
  const free = node.next(backends({ scope: 'free', pool: { maxRequests: 1 } }))
  assert.equal(free.connections, null)
  assert.equal(free.poolKey('k'), 'k')
  assert.equal(new Set([bounded.poolKey('k'), other.poolKey('k'), 'k']).size, 3)
})

test('a rule that lets more connections be wakes those who wait', { timeout: 10_000 }, async () => {
  const node = new Node(2)
  const [one] = node.workers as [Breakers]
  ticketOf(one.of(backends({ pool: { maxConnections: 1 } }))!.connections!.acquire('a'))
  const queued = queuedOf(one.of(backends({ pool: { maxConnections: 1 } }))!.connections!.acquire('b'))
  one.of(backends({ pool: { maxConnections: 2 } }))
  one.tick()
  assert.equal((await queued.granted).kept, null)
})

forAnyWorkers('five failures eject exactly the one that failed, for 30 seconds', (node) => {
  const to = backends({ outliers: {} })
  for (let i = 0; i < 12; i++) node.next(to).result(nameOf(1), 200)
  for (let i = 0; i < 4; i++) node.next(to).result(nameOf(0), 500)
  node.next(to).result(nameOf(0), 200) // in a row
  for (let i = 0; i < 4; i++) node.next(to).result(nameOf(0), 503)
  assert.deepEqual(node.ejected(to), [])
  node.next(to).result(nameOf(0), 'failed')
  assert.deepEqual(node.ejected(to), [nameOf(0)])
  for (const worker of node.workers) assert.equal(worker.ejected(to), worker.ejected(to)) // one object
  for (let i = 0; i < 5; i++) node.next(to).result(nameOf(1), 500) // half of two is one
  assert.deepEqual(node.ejected(to), [nameOf(0)])
  assert.deepEqual(node.told, ['a.default.svc any', 'overflow ejections'])
  const found = ejectionsIn(node.memory, { nowMs: node.nowMs, wallMs: 5_000_000 })
  const { scope } = to.policy
  assert.deepEqual(found, [{ scope, endpoint: nameOf(0), untilMs: 5_030_000, times: 1 }])
  node.tick(29_999)
  assert.deepEqual(node.ejected(to), [nameOf(0)])
  node.tick(1)
  assert.deepEqual(node.ejected(to), [])
  assert.deepEqual(ejectionsIn(node.memory, { nowMs: node.nowMs, wallMs: 0 }), [])
  for (let i = 0; i < 5; i++) node.next(to).result(nameOf(0), 500)
  node.tick(30_000)
  assert.deepEqual(node.ejected(to), [nameOf(0)]) // twice as long now
  node.tick(30_000)
  assert.deepEqual(node.ejected(to), [])
})

forAnyWorkers('a limit that is lowered, or new, counts what failed in a row before', (node) => {
  const off = backends({ outliers: { consecutive5xx: 0, consecutiveGateway: 9 } })
  for (let i = 0; i < 8; i++) node.next(off).result(nameOf(0), 503)
  assert.deepEqual(node.ejected(off), [])
  const on = backends({ outliers: { consecutive5xx: 5, consecutiveGateway: 0 } })
  node.next(on).result(nameOf(0), 503)
  assert.deepEqual(node.ejected(on), [nameOf(0)])
})

test('a request by an older snapshot has not the last word on bounds and ejections', { timeout: 10_000 }, async () => {
  const node = new Node(1)
  const [one] = node.workers as [Breakers]
  const older = backends({ pool: { maxConnections: 1 } })
  const newer = backends({ pool: { maxConnections: 2 }, outliers: {} })
  for (let i = 0; i < 5; i++) one.of(newer)!.result(nameOf(0), 500)
  const late = one.of(older)! // after a delay, say
  ticketOf(late.connections!.acquire('a'))
  ticketOf(one.of(newer)!.connections!.acquire('a'))
  node.tick(30_000)
  assert.deepEqual(node.ejected(newer), [])
})

forAnyWorkers('with 10 % of two endpoints none is ejected', (node) => {
  const to = backends({ outliers: { maxEjectionPercent: 10 } })
  for (let i = 0; i < 10; i++) node.next(to).result(nameOf(0), 500)
  assert.deepEqual(node.ejected(to), [])
  assert.deepEqual(node.told, ['overflow ejections', 'overflow ejections'])
})

forAnyWorkers('gateway errors and failures of the connection have counts of their own', (node) => {
  const gateway = backends({ scope: 'g', outliers: { consecutive5xx: 0, consecutiveGateway: 2 } })
  for (const status of [503, 500, 504, 500]) node.next(gateway).result(nameOf(0), status)
  assert.deepEqual(node.ejected(gateway), [])
  for (const status of [502, 504]) node.next(gateway).result(nameOf(0), status)
  assert.deepEqual(node.ejected(gateway), [nameOf(0)])
  const local = backends({ scope: 'l', outliers: { consecutive5xx: 2, consecutiveLocal: 3, splitsLocal: true } })
  for (const how of ['failed', 'failed', 'connected', 'failed', 'failed'] as const) {
    node.next(local).result(nameOf(0), how)
  }
  node.next(local).result(nameOf(0), 500)
  assert.deepEqual(node.ejected(local), [])
  node.next(local).result(nameOf(0), 'failed')
  assert.deepEqual(node.ejected(local), [nameOf(0)])
  assert.deepEqual(node.told, ['a.default.svc gateway', 'a.default.svc local'])
})

forAnyWorkers('who comes back begins anew: what failed while it was away does not count', (node) => {
  const to = backends({ outliers: {} })
  for (let i = 0; i < 9; i++) node.next(to).result(nameOf(0), 500)
  assert.deepEqual(node.ejected(to), [nameOf(0)])
  node.tick(30_000)
  for (let i = 0; i < 4; i++) node.next(to).result(nameOf(0), 500)
  assert.deepEqual(node.ejected(to), [])
  node.next(to).result(nameOf(0), 500)
  assert.deepEqual(node.ejected(to), [nameOf(0)])
})

test('a later snapshot sees who is ejected, and another scope does not', () => {
  const node = new Node(2)
  for (let i = 0; i < 5; i++) node.next(backends({ outliers: {} })).result(nameOf(0), 500)
  assert.deepEqual(node.ejected(backends({ outliers: {} })), [nameOf(0)])
  assert.deepEqual(node.ejected(backends({ outliers: {}, scope: 'other' })), [])
  assert.deepEqual(node.ejected(backends({ outliers: {}, endpoints: 0 })), [])
})

test('a worker that ended gives back its counts, its places and its turn', { timeout: 10_000 }, async () => {
  const node = new Node(2)
  const to = backends({ pool: { maxConnections: 1, maxRequests: 1, maxRetries: 1 }, outliers: {} })
  const [dead, alive] = node.workers.map((worker) => worker.of(to)!) as [Breaker, Breaker]
  dead.requests.enter()
  dead.retries.enter()
  for (let i = 0; i < 5; i++) dead.result(nameOf(0), 500)
  ticketOf(dead.connections!.acquire('a'))
  queuedOf(dead.connections!.acquire('b'))
  assert.deepEqual(node.ejected(to), [nameOf(0)])
  const queued = queuedOf(alive.connections!.acquire('c'))
  clearWorker(node.memory, 0)
  const { ticket } = await queued.granted
  assert.deepEqual([alive.requests.enter(), alive.requests.enter()], [true, false])
  assert.equal(alive.retries.enter(), true)
  assert.deepEqual([...alive.ejected()!], [nameOf(0)])
  ticket.release()
  const again = node.worker(0).of(to)!
  ticketOf(again.connections!.acquire('a'))
  assert.equal(again.requests.enter(), false)
})

test('where there is no room a worker counts for itself, and with the others as soon as there is', () => {
  const node = new Node(2, { scopes: 1 })
  const [one, other] = node.workers as [Breakers, Breakers]
  const full = backends({ scope: 'first', pool: { maxRequests: 1 } })
  one.of(full)
  const to = backends({ scope: 'second', pool: { maxRequests: 1 }, outliers: {} })
  assert.equal(one.of(to)!.requests.enter(), true)
  assert.equal(one.of(to)!.requests.enter(), false)
  assert.equal(other.of(to)!.requests.enter(), true) // for itself
  assert.ok(one.exhausted > 0)
  for (let i = 0; i < 5; i++) one.of(to)!.result(nameOf(0), 500)
  assert.deepEqual([...one.ejected(to)!], [nameOf(0)])
  assert.equal(other.ejected(to), null)
  one.of(to)!.requests.leave()
  other.of(to)!.requests.leave()
  for (let i = 0; i < 8; i++) {
    other.of(to)!.ejected()
    node.tick(60_001) // the first is not used any more
  }
  assert.equal(other.of(to)!.requests.enter(), true)
  assert.equal(one.of(to)!.requests.enter(), false)
})

test('what is not used for minutes is given back, but not what is counted or ejected', () => {
  const node = new Node(2)
  const held = backends({ scope: 'held', pool: { maxRequests: 1 } })
  const gone = backends({ scope: 'gone', pool: { maxRequests: 1 } })
  const [one, other] = node.workers as [Breakers, Breakers]
  one.of(held)!.requests.enter()
  const stale = one.of(gone)!
  for (let i = 0; i < 8; i++) node.tick(60_001)
  assert.equal(one.size, 1)
  assert.equal(other.of(held)!.requests.enter(), false)
  one.of(held)!.requests.leave()
  assert.equal(other.of(held)!.requests.enter(), true)
  assert.equal(stale.requests.enter(), true) // it claims anew
  assert.equal(other.of(gone)!.requests.enter(), false)
})

test('an endpoint that fails now and then keeps its record as long as it matters', () => {
  const node = new Node(1, { endpoints: 4 })
  const to = backends({ outliers: { maxEjectionPercent: 100, intervalMs: 600_000, baseEjectionMs: 600_000 } })
  const [one] = node.workers as [Breakers]
  for (let i = 0; i < 5; i++) one.of(to)!.result(nameOf(0), 500)
  one.of(to)!.result(nameOf(1), 200)
  for (let i = 0; i < 9; i++) {
    one.of(to)!.result(nameOf(1), 'connected')
    node.tick(60_001)
  }
  assert.deepEqual(node.ejected(to), [nameOf(0)])
})

/** What a set of breakers should do, without memory to share: one worker, and a queue that is one. */
class PlainOutliers {
  readonly #rules: OutlierDetection
  readonly #size: number
  readonly #phaseMs: number
  readonly #streaks = new Map<string, number>()
  readonly #standings = new Map<string, { standing: Standing; checkedMs: number }>()

  constructor(rules: OutlierDetection, size: number, phaseMs: number) {
    this.#rules = rules
    this.#size = size
    this.#phaseMs = phaseMs
  }

  get ejected(): string[] {
    return [...this.#standings]
      .filter(([, { standing }]) => standing.ejected)
      .map(([name]) => name)
      .sort()
  }

  result(name: string, outcome: Outcome, nowMs: number): void {
    const marks = marksOf(this.#rules, outcome)
    for (const streak of ['gateway', 'any', 'local'] as const) {
      const key = `${streak} ${name}`
      if (marks[streak] === 'success') this.#streaks.delete(key)
      if (marks[streak] !== 'failure') continue
      const count = (this.#streaks.get(key) ?? 0) + 1
      this.#streaks.set(key, count)
      const limits = { any: 'consecutive5xx', gateway: 'consecutiveGateway', local: 'consecutiveLocal' } as const
      if (count !== this.#rules[limits[streak]]) continue
      const before = this.#standings.get(name)?.standing ?? { ejected: false, times: 0, atMs: 0 }
      if (before.ejected) continue
      this.#streaks.delete(key)
      if (!mayEject(this.#rules, this.ejected.length, this.#size)) continue
      const { intervalMs } = this.#rules
      const checkedMs = this.#phaseMs + Math.floor((nowMs - this.#phaseMs) / intervalMs) * intervalMs
      this.#standings.set(name, { standing: ejectedNow(this.#rules, before, nowMs), checkedMs })
    }
  }

  tick(nowMs: number): void {
    for (const [name, { standing, checkedMs }] of this.#standings) {
      const after = afterChecks(this.#rules, standing, checkedMs, nowMs)
      this.#standings.set(name, after)
      if (!standing.ejected || after.standing.ejected) continue
      for (const streak of ['any', 'gateway', 'local']) this.#streaks.delete(`${streak} ${name}`)
    }
  }
}

test('whichever worker hears of it, ejections are as if there were one', () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ worker: fc.nat(3), endpoint: fc.nat(3), outcome: outcomes() }) },
    { weight: 1, arbitrary: fc.record({ worker: fc.nat(3), ms: fc.integer({ min: 1, max: 70_000 }) }) },
  )
  const rules = fc.record({
    ...{ consecutive5xx: fc.nat(4), consecutiveGateway: fc.nat(3), consecutiveLocal: fc.integer({ min: 1, max: 3 }) },
    ...{ splitsLocal: fc.boolean(), codes: fc.constantFrom([], [404, 503]) },
    ...{ intervalMs: fc.constantFrom(1000, 10_000, 45_000), maxEjectionPercent: fc.constantFrom(10, 25, 50, 100) },
  })
  fc.assert(
    fc.property(rules, fc.array(step, { maxLength: 120 }), (wish, steps) => {
      const node = new Node(4)
      const to = backends({ outliers: wish, endpoints: 4 })
      const plain = new PlainOutliers(to.policy.outliers!, 4, node.nowMs)
      node.ejected(to) // it is in use from here on
      for (const one of steps) {
        const worker = node.workers[one.worker]!
        if ('ms' in one) {
          node.nowMs += one.ms
          worker.tick()
          plain.tick(node.nowMs)
        } else {
          worker.of(to)!.result(nameOf(one.endpoint), one.outcome)
          plain.result(nameOf(one.endpoint), one.outcome, node.nowMs)
        }
        assert.deepEqual(node.ejected(to), plain.ejected)
      }
    }),
    { numRuns: 60 },
  )
})

function outcomes(): fc.Arbitrary<Outcome> {
  return fc.constantFrom<Outcome>(200, 404, 500, 500, 503, 503, 504, 'failed', 'failed', 'connected', 'carried')
}

test('connections are never more than may be, and nobody waits while one is free', { timeout: 60_000 }, async () => {
  interface Step {
    readonly worker: number
    readonly what: string
    readonly pick: number
  }
  const step: fc.Arbitrary<Step> = fc.record({
    worker: fc.nat(2),
    what: fc.constantFrom('acquire', 'acquire', 'acquire', 'release', 'rest', 'rest', 'cancel', 'end'),
    pick: fc.nat(20),
  })
  const run = async (max: number, steps: readonly Step[]): Promise<void> => {
    const node = new Node(3)
    const to = backends({ pool: { maxConnections: max } })
    const workers = [...node.workers]
    const pools = workers.map(() => new Pools(DEFAULT_LIMITS))
    const poolOf = (worker: number, key: string) =>
      pools[worker]!.of('p', { endpoint: nameOf(0), key, told: null }, undefined)
    interface Held {
      readonly worker: number
      readonly key: string
      readonly upstream: Http1Upstream
    }
    let held: Held[] = []
    let idle: Held[] = []
    const waiting: { worker: number; key: string; queued: Queued; order: number }[] = []
    let arrivals = 0
    const hold = (
      worker: number,
      key: string,
      { ticket, kept }: { ticket: Ticket; kept: Http1Upstream | null },
    ): void => {
      const upstream = kept ?? connection()
      ticket.settled()
      upstream.ticket = ticket
      held.push({ worker, key, upstream })
    }
    const counts = () => {
      idle = idle.filter(({ upstream }) => upstream.reusable)
      return { open: held.length + idle.length, waits: waiting.length }
    }
    const settled = async (): Promise<void> => {
      for (let i = 0; ; i++) {
        const { open, waits } = counts()
        assert.ok(open <= max, `${open} of ${max}`)
        if (waits === 0 || (open >= max && idle.length === 0)) return
        assert.ok(i < 2000, `${waits} wait, ${open} of ${max} are open, ${idle.length} of them idle`)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    for (const { worker, what, pick } of steps) {
      const key = `k${pick % 2}`
      if (what === 'acquire') {
        const pool = poolOf(worker, key)
        const kept = pool.take(0)
        if (kept !== null) {
          idle = idle.filter(({ upstream }) => upstream !== kept)
          held.push({ worker, key, upstream: kept })
          continue
        }
        const got = workers[worker]!.of(to)!.connections!.acquire(pool.name)
        if (got instanceof Ticket) hold(worker, key, { ticket: got, kept: null })
        else {
          const entry = { worker, key, queued: queuedOf(got), order: arrivals++ }
          waiting.push(entry)
          void entry.queued.granted.then((granted) => {
            if (!waiting.includes(entry)) return // its worker has ended
            assert.equal(Math.min(...waiting.map(({ order }) => order)), entry.order, 'first come, first served')
            waiting.splice(waiting.indexOf(entry), 1)
            hold(worker, key, granted)
          })
        }
      } else if (what === 'cancel' && waiting.length > 0) {
        const [entry] = waiting.splice(pick % waiting.length, 1)
        entry!.queued.cancel()
      } else if (what === 'end' && pick < 4) {
        for (const one of [...held, ...idle]) if (one.worker === worker) one.upstream.ticket = null
        held = held.filter((one) => one.worker !== worker)
        idle = idle.filter((one) => one.worker !== worker)
        for (const entry of waiting.filter((one) => one.worker === worker)) waiting.splice(waiting.indexOf(entry), 1)
        workers[worker]!.close()
        clearWorker(node.memory, worker)
        workers[worker] = node.worker(worker)
        pools[worker] = new Pools(DEFAULT_LIMITS)
      } else if (held.length > 0 && (what === 'release' || what === 'rest')) {
        const [one] = held.splice(pick % held.length, 1) as [Held]
        if (what === 'release') one.upstream.close()
        else {
          const pool = poolOf(one.worker, one.key)
          pool.give(one.upstream, 0)
          if (pool.size > 0) idle.push(one)
        }
      }
      await settled()
    }
    for (const entry of waiting.splice(0)) entry.queued.cancel()
    for (const { upstream } of [...held, ...idle]) upstream.close()
    const flows = Array.from({ length: max + 1 }, () => node.next(to).connections!.take())
    if (steps.every(({ what }) => what !== 'end')) assert.equal(flows.filter((flow) => flow !== null).length, max)
    for (const worker of workers) worker.close()
  }
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 40 }), run), {
    numRuns: 60,
  })
})

test(
  'threads share the places, wake each other, and one that dies leaves none taken',
  { timeout: 60_000 },
  async () => {
    const memory = breakerMemory(3, { scopes: 4, endpoints: 16 })
    const to = backends({ pool: { maxConnections: 2 } })
    const counted = new SharedArrayBuffer(8)
    const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    const { memory, column, to, counted, dies } = workerData
    Promise.all([import(${JSON.stringify(new URL('./breakers.ts', import.meta.url).href)}),
      import(${JSON.stringify(new URL('./connections.ts', import.meta.url).href)})]).then(async ([{ Breakers }, { Ticket }]) => {
      const breakers = new Breakers({ memory, column, onOverflow() {}, onEjection() {} })
      const alive = setInterval(() => {}, 1000) // a wait does not keep a thread
      const open = new Int32Array(counted)
      const one = async () => {
        const got = breakers.of(to).connections.acquire('pool')
        const ticket = got instanceof Ticket ? got : (await got.granted).ticket
        const now = Atomics.add(open, 0, 1) + 1
        if (now > 2) Atomics.store(open, 1, now)
        if (dies) return new Promise(() => parentPort.postMessage('holds'))
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 3))
        Atomics.sub(open, 0, 1)
        ticket.release()
      }
      await Promise.all(Array.from({ length: dies ? 2 : 40 }, one))
      parentPort.postMessage('through')
      clearInterval(alive)
    })`
    const start = (column: number, dies: boolean): Worker =>
      new Worker(code, { eval: true, workerData: { memory, column, to, counted, dies } })
    const doomed = start(2, true)
    await once(doomed, 'message')
    const others = [0, 1].map((column) => start(column, false))
    const through = others.map((worker) => once(worker, 'message'))
    await sleep(200)
    const open = new Int32Array(counted)
    await doomed.terminate()
    Atomics.store(open, 0, 0)
    clearWorker(memory, 2)
    assert.deepEqual(await Promise.all(through), [['through'], ['through']])
    assert.deepEqual([...open], [0, 0])
  },
)
