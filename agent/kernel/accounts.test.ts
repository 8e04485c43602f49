import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { SocketAddress } from '../model/address.ts'
import { Accounts, type Flow, GONE_MS, type PodSum } from './accounts.ts'
import type { OpenConnection, Tally } from './kernel.ts'

type End = Pick<Tally, 'direction' | 'passage' | 'remote'>

const NOTHING = { opened: 0, closed: 0, sentBytes: 0, receivedBytes: 0, retransmits: 0, srttUs: 0 }
const COUNTS = Object.keys(NOTHING) as (keyof typeof NOTHING)[]
const SHOP: SocketAddress = { ip: '10.96.0.1', port: 80 }
const POD: SocketAddress = { ip: '10.0.0.7', port: 40_000 }
const [OUT, PAST, IN]: readonly [End, End, End] = [
  { direction: 'outbound', passage: 'proxy', remote: SHOP },
  { direction: 'outbound', passage: 'direct', remote: SHOP },
  { direction: 'inbound', passage: 'direct', remote: { ip: '10.96.0.1', port: 0 } },
]
const ENDS: readonly End[] = [
  OUT,
  PAST,
  IN,
  { direction: 'outbound', passage: 'direct', remote: { ip: '10.96.0.1', port: 443 } },
  { direction: 'outbound', passage: 'direct', remote: { ip: 'fd00::1', port: 80 } },
  { direction: 'inbound', passage: 'probe', remote: { ip: '10.0.0.1', port: 0 } },
  { direction: 'inbound', passage: 'proxy', remote: { ip: 'fd00::1', port: 0 } },
]

const tally = (end: End, counts: Partial<typeof NOTHING> = {}): Tally => ({ uid: 'a', ...end, ...NOTHING, ...counts })
const open = (end: End | null, sentBytes: number, receivedBytes = 0): OpenConnection => ({
  ...{ socket: 1n, local: POD, remote: SHOP, tally: end, sentBytes, receivedBytes },
})
const way = ({ direction, passage }: Pick<End, 'direction' | 'passage'>): string => `${direction} ${passage}`
const text = (end: End): string => `${way(end)} ${end.remote?.ip} ${end.remote?.port}`

/** Adds up, by a name each. */
class Sums {
  readonly of = new Map<string, typeof NOTHING>()

  add(name: string, counts: Partial<typeof NOTHING>): void {
    const sum = this.of.get(name) ?? { ...NOTHING }
    for (const count of COUNTS) sum[count] += counts[count] ?? 0
    this.of.set(name, sum)
  }
}

const SPILL = (['outbound', 'inbound'] as const).flatMap((direction) =>
  (['proxy', 'direct', 'probe'] as const).map((passage): End => ({ direction, passage, remote: null })),
)

interface Connection {
  readonly end: End
  sentBytes: number
  receivedBytes: number
}

/** What a kernel keeps of one pod's connections, and what they really carried. `room`: tallies that it has room for. */
class SimulatedPod {
  readonly truth = new Sums()
  readonly truthByEnd = new Sums()
  readonly #tallies = new Map<End, typeof NOTHING>()
  readonly #open: Connection[] = []
  readonly #room: number

  constructor(room = ENDS.length) {
    this.#room = room
  }

  dial(end: End): void {
    this.#open.push({ end, sentBytes: 0, receivedBytes: 0 })
    this.#count(end, { opened: 1 })
    this.#know(end, { opened: 1 })
  }

  carry(which: number, sentBytes: number, receivedBytes: number): void {
    const connection = this.#open[which % this.#open.length]
    if (connection === undefined) return
    connection.sentBytes += sentBytes
    connection.receivedBytes += receivedBytes
    this.#know(connection.end, { sentBytes, receivedBytes })
  }

  close(which: number, retransmits: number): void {
    const [connection] = this.#open.splice(which % this.#open.length, 1)
    if (connection === undefined) return
    const { end, sentBytes, receivedBytes } = connection
    const ended = { closed: 1, retransmits, srttUs: 40 }
    this.#count(end, { ...ended, sentBytes, receivedBytes })
    this.#know(end, ended)
  }

  tallies(): Tally[] {
    return [...this.#tallies].map(([end, counts]) => ({ uid: 'a', ...end, ...counts }))
  }

  connections(): OpenConnection[] {
    return this.#open.map(({ end, sentBytes, receivedBytes }, index) => {
      return { socket: BigInt(index), local: POD, remote: SHOP, sentBytes, receivedBytes, tally: end }
    })
  }

  /** As bpf/tally.h: what finds no room is summed under no other end, and its socket still names the one it has. */
  #count(own: End, counts: Partial<typeof NOTHING>): void {
    const hasRoom = this.#tallies.has(own) || this.#tallies.size < this.#room
    const end = hasRoom ? own : (SPILL.find((each) => way(each) === way(own)) ?? own)
    const kept = this.#tallies.get(end) ?? { ...NOTHING }
    for (const count of COUNTS) kept[count] += counts[count] ?? 0
    this.#tallies.set(end, kept)
  }

  #know(end: End, counts: Partial<typeof NOTHING>): void {
    this.truth.add(way(end), counts)
    this.truthByEnd.add(text(end), counts)
  }
}

type Step = (pod: SimulatedPod) => void

const which = fc.nat({ max: 9 })
const bytes = fc.nat({ max: 2 ** 31 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constantFrom(...ENDS).map(
    (end): Step =>
      (pod) =>
        pod.dial(end),
  ),
  fc.tuple(which, bytes, bytes).map(
    ([at, sent, received]): Step =>
      (pod) =>
        pod.carry(at, sent, received),
  ),
  fc.tuple(which, fc.nat({ max: 3 })).map(
    ([at, retransmits]): Step =>
      (pod) =>
        pod.close(at, retransmits),
  ),
)
/** What happens before a reading, and what between its two halves. */
const reading = fc.record({ before: fc.array(step, { maxLength: 8 }), between: fc.array(step, { maxLength: 4 }) })
const readings = fc.array(reading, { maxLength: 12 })

const sumsByWay = (sums: readonly PodSum[]): Map<string, typeof NOTHING> =>
  new Map(sums.map(({ uid: _, direction, passage, ...counts }) => [way({ direction, passage }), counts]))

/** Makes one reading, with what happens between its halves. */
function read(accounts: Accounts, pod: SimulatedPod, between: readonly Step[] = []): Flow[] {
  const tallies = pod.tallies()
  for (const each of between) each(pod)
  return accounts.read('a', tallies, pod.connections())
}

test('no sum ever falls or tells too much, and in the end each is what was carried, to the byte', () => {
  fc.assert(
    fc.property(readings, (all) => {
      const [accounts, pod] = [new Accounts(), new SimulatedPod()]
      let known = new Map<string, typeof NOTHING>()
      for (const { before, between } of all) {
        for (const each of before) each(pod)
        read(accounts, pod, between)
        const now = sumsByWay(accounts.sums(0))
        for (const name of [...known.keys(), ...now.keys()]) {
          for (const count of COUNTS) {
            const [was, is] = [known.get(name)?.[count] ?? 0, now.get(name)?.[count] ?? 0]
            assert.ok(is >= was, `${name} ${count} fell from ${was} to ${is}`)
            const truth = pod.truth.of.get(name)?.[count] ?? 0
            assert.ok(is <= truth, `${name} ${count} is ${is} and not yet ${truth}`)
          }
        }
        known = now
      }
      read(accounts, pod)
      assert.deepEqual(sumsByWay(accounts.sums(0)), pod.truth.of)
    }),
  )
})

test('what found no room is summed whole once it has closed, and never twice', () => {
  fc.assert(
    fc.property(readings, fc.nat({ max: 3 }), (all, room) => {
      const [accounts, pod] = [new Accounts(), new SimulatedPod(room)]
      for (const { before, between } of all) {
        for (const each of before) each(pod)
        read(accounts, pod, between)
      }
      for (let left = pod.connections().length; left > 0; left--) pod.close(0, 0)
      read(accounts, pod)
      assert.deepEqual(sumsByWay(accounts.sums(0)), pod.truth.of)
    }),
  )
})

test('what went past the proxy is told once, to the byte, by its other end, and nothing else is', () => {
  fc.assert(
    fc.property(readings, (all) => {
      const [accounts, pod, told] = [new Accounts(), new SimulatedPod(), new Sums()]
      const take = (flows: readonly Flow[]): void => {
        for (const { uid, direction, remote, ...counts } of flows) {
          assert.equal(uid, 'a')
          told.add(text({ direction, passage: 'direct', remote }), counts)
        }
      }
      for (const { before, between } of all) {
        for (const each of before) each(pod)
        take(read(accounts, pod, between))
      }
      take(read(accounts, pod))
      const direct = [...pod.truthByEnd.of].filter(([name]) => name.includes(' direct '))
      const expected = direct.map(([name, counts]) => [name, { ...counts, retransmits: 0, srttUs: 0 }] as const)
      assert.deepEqual(told.of, new Map(expected))
    }),
  )
})

test('a connection that closes between the two halves of a reading shows as a pause, then whole', () => {
  const [accounts, pod] = [new Accounts(), new SimulatedPod()]
  pod.dial(PAST)
  pod.carry(0, 100, 10)
  const first = { uid: 'a', direction: 'outbound', remote: SHOP, opened: 1, closed: 0 } as const
  assert.deepEqual(read(accounts, pod), [{ ...first, sentBytes: 100, receivedBytes: 10 }])
  pod.carry(0, 7, 0)
  const paused = read(accounts, pod, [(each) => each.close(0, 0)])
  assert.deepEqual(paused, [])
  const last = { ...first, opened: 0, closed: 1 }
  assert.deepEqual(read(accounts, pod), [{ ...last, sentBytes: 7, receivedBytes: 0 }])
})

test('a direct flow is told once, and one through the proxy not at all', () => {
  const accounts = new Accounts()
  const tallies = [tally(PAST, { opened: 2, closed: 1, sentBytes: 5 }), tally(OUT, { opened: 1, sentBytes: 9 })]
  const flow = { uid: 'a', direction: 'outbound', remote: SHOP, opened: 2, closed: 1, sentBytes: 6, receivedBytes: 2 }
  assert.deepEqual(accounts.read('a', tallies, [open(PAST, 1, 2)]), [flow])
  assert.deepEqual(accounts.read('a', tallies, [open(PAST, 1, 2)]), [])
  assert.deepEqual(accounts.read('a', tallies, [open(PAST, 4, 2)]), [
    { ...flow, opened: 0, closed: 0, sentBytes: 3, receivedBytes: 0 },
  ])
})

test('who dialled and whom was dialled are told apart, and so are the ports that were dialled', () => {
  const accounts = new Accounts()
  const other: End = { ...PAST, remote: { ...SHOP, port: 443 } }
  const flows = accounts.read(
    'a',
    [tally(PAST, { opened: 1 }), tally(IN, { opened: 2 }), tally(other)],
    [open(other, 3)],
  )
  assert.deepEqual(
    flows.map(({ direction, remote, opened, sentBytes }) => [direction, remote?.port, opened, sentBytes]),
    [
      ['outbound', 80, 1, 0],
      ['inbound', 0, 2, 0],
      ['outbound', 443, 0, 3],
    ],
  )
})

test('tallies that are read alike are added', () => {
  const accounts = new Accounts()
  const spilled: End = { ...OUT, remote: null }
  accounts.read('a', [tally(spilled, { opened: 2 }), tally(spilled, { opened: 3 })], [])
  assert.equal(accounts.sums(0)[0]?.opened, 5)
})

test('two pods have sums of their own', () => {
  const accounts = new Accounts()
  accounts.read('a', [tally(OUT, { opened: 1 })], [])
  accounts.read('b', [tally(OUT, { opened: 5 })], [])
  assert.deepEqual(
    accounts.sums(0).map(({ uid, opened }) => [uid, opened]),
    [
      ['a', 1],
      ['b', 5],
    ],
  )
})

test('connections older than the capture are counted as of the last reading, and summed nowhere', () => {
  const accounts = new Accounts()
  assert.equal(accounts.older('a'), 0)
  const known = [tally(OUT, { opened: 1 })]
  assert.deepEqual(accounts.read('a', known, [open(null, 5), open(null, 6), open(OUT, 7)]), [])
  assert.equal(accounts.older('a'), 2)
  assert.deepEqual(
    accounts.sums(0).map(({ passage, sentBytes }) => [passage, sentBytes]),
    [['proxy', 7]],
  )
  accounts.read('a', known, [open(null, 5)])
  assert.equal(accounts.older('a'), 1)
  accounts.gone('a', 0)
  assert.equal(accounts.older('a'), 0)
})

test('the sums of a pod that is gone are told for five minutes', () => {
  const accounts = new Accounts()
  accounts.read('a', [tally(OUT, { opened: 3 })], [])
  accounts.read('b', [tally(OUT, { opened: 4 })], [])
  accounts.gone('a', 1000)
  accounts.gone('stranger', 1000)
  const uids = (nowMs: number): string[] => accounts.sums(nowMs).map(({ uid }) => uid)
  assert.equal(GONE_MS, 5 * 60 * 1000)
  assert.deepEqual(uids(1000), ['a', 'b'])
  assert.equal(accounts.sums(1000 + GONE_MS)[0]?.opened, 3)
  assert.deepEqual(uids(1001 + GONE_MS), ['b'])
  assert.deepEqual(uids(1000), ['b'])
})

test('a pod that is captured anew counts from nothing, as its kernel does, and is not gone any more', () => {
  const accounts = new Accounts()
  accounts.read('a', [tally(PAST, { opened: 3, sentBytes: 100 })], [])
  accounts.gone('a', 0)
  const flows = accounts.read('a', [tally(PAST, { opened: 1, sentBytes: 40 })], [])
  assert.deepEqual(
    flows.map(({ opened, sentBytes }) => [opened, sentBytes]),
    [[1, 40]],
  )
  assert.deepEqual(
    accounts.sums(2 * GONE_MS).map(({ opened, sentBytes }) => [opened, sentBytes]),
    [[1, 40]],
  )
})
