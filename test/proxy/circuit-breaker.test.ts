// A circuit breaker by the figures that users write, on the real kernel: with one worker thread and with four it opens at
// the same point, for all pods of the node together.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { probe } from '../../agent/kernel/probe.ts'
import { wholeOf } from '../../agent/model/delta.ts'
import type { OutlierDetection } from '../../agent/model/traffic-policy.ts'
import { pool } from '../../agent/model/traffic-policy.fixture.ts'
import { type PolicyWish, world } from '../../agent/model/world.fixture.ts'
import { DataSide } from '../../agent/node/workers.ts'
import { type BpfWorld, bpfWorld, type NetnsPod } from '../kernel/world.ts'
import { readUntil } from './mesh.ts'

const ability = probe()
const APP = { ip: '10.96.0.1', port: 80 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'
const TRIES = 500

/** Answers each request as the test says, now or later. */
type Answering = (answer: (status: number) => void) => void

interface Answer {
  readonly status: number
  /** Which application gave it; '' for the mesh. */
  readonly by: string
}

/** Two captured pods that ask an application of two more, over which a rule stands. */
class Node implements AsyncDisposable {
  readonly machine: BpfWorld
  readonly data: DataSide
  readonly callers: readonly NetnsPod[]
  /** How the first and the second application answer. */
  readonly answering: Answering[] = []
  readonly #open = new Set<Socket>()

  constructor(cgroupRoot: string, workers: number, policy: PolicyWish) {
    this.machine = bpfWorld(cgroupRoot, 94)
    const [one, two, ...callers] = [0, 1, 2, 3].map(() => this.machine.pod()) as [NetnsPod, NetnsPod, ...NetnsPod[]]
    for (const [index, app] of [one, two].entries()) {
      this.answering.push((answer) => answer(200))
      this.machine.serve(app, 8080, (socket) => this.#serve(socket, index))
    }
    const shop = world()
      .service('app')
      .pods('app-v1', { ips: [one.ip] })
      .pods('app-v2', { ips: [two.ip] })
      .destinationRule({ host: 'app', policy })
    this.callers = callers.map((pod, index) => {
      shop.pods(`caller-${index}`, { ips: [pod.ip], behind: [] })
      return { ...pod, uid: shop.pod(`caller-${index}-1`).uid }
    })
    const log = { error: () => {} }
    const start = { handles: this.machine.kernel.handles(), accessLog: false }
    this.data = new DataSide({ start, workers, log })
    const inventory = shop.inventory(1)
    this.data.change(wholeOf(inventory), () => inventory)
    for (const caller of this.callers) this.data.capture(this.machine.kernel.capture(caller))
  }

  /** Waits until every worker carries. */
  async ready(): Promise<this> {
    await this.data.whenApplied()
    while ((await this.data.scrape()).silent > 0) await sleep(20)
    await sleep(100)
    return this
  }

  /** One request on a connection of its own, from one caller or the other. */
  async ask(from = 0): Promise<Answer> {
    const socket = await this.machine.dial(this.callers[from % this.callers.length] as NetnsPod, APP)
    this.#open.add(socket)
    socket.write(GET)
    const text = await readUntil(socket, (got) => got.includes('\r\n\r\n'))
    socket.destroy()
    this.#open.delete(socket)
    return { status: Number(text.split(' ', 2)[1]), by: /x-by: (\w+)/.exec(text)?.[1] ?? '' }
  }

  asks(count: number): Promise<Answer>[] {
    return Array.from({ length: count }, (_, index) => this.ask(index))
  }

  #serve(socket: Socket, index: number): void {
    let ahead = ''
    socket.on('data', (bytes: Buffer) => {
      ahead += bytes.toString('latin1')
      if (!ahead.endsWith('\r\n\r\n')) return
      ahead = ''
      this.answering[index]?.((status) => {
        socket.write(`HTTP/1.1 ${status} X\r\nx-by: app${index}\r\ncontent-length: 0\r\n\r\n`)
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    await this.data.stop(0)
    await this.machine.close()
  }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < TRIES; i++) {
    if (await holds()) return
    await sleep(10)
  }
  throw new Error(`${what} did not come about`)
}

for (const workers of [1, 4]) {
  const options = { timeout: 60_000 }
  test(`of 250 requests 100 are served, 100 wait and 50 are 503: ${workers} workers`, options, async (t) => {
    if (ability.able !== 'yes') return t.skip(ability.able === 'no' ? ability.needs : ability.why)
    const limits = pool({ maxConnections: 100, maxPending: 100, maxRequests: 1000 })
    await using node = await new Node(ability.cgroupRoot, workers, { pool: limits }).ready()
    const held: (() => void)[] = []
    for (const index of [0, 1]) node.answering[index] = (answer) => void held.push(() => answer(200))
    const refused: Answer[] = []
    const noted = (one: Promise<Answer>): Promise<Answer> =>
      one.then((answer) => {
        if (answer.status === 503) refused.push(answer)
        return answer
      })
    // one after the other: whose connection is being made counts as waiting, too
    const all: Promise<Answer>[] = []
    while (all.length < 100) {
      all.push(noted(node.ask(all.length)))
      await until('it is served', () => held.length === all.length)
    }
    all.push(...node.asks(150).map(noted))
    await until('who may not wait is told', () => refused.length >= 50)
    await sleep(200)
    assert.deepEqual([held.length, refused.length], [100, 50])
    let served = 0
    const drain = setInterval(() => {
      for (const answer of held.splice(0)) {
        served++
        answer()
      }
    }, 5)
    const answers = await Promise.all(all)
    clearInterval(drain)
    assert.equal(answers.filter(({ status }) => status === 200).length, 200)
    assert.equal(served, 200)
    node.answering.fill((answer) => answer(200))
    const later = await Promise.all(node.asks(100))
    assert.ok(
      later.every(({ status }) => status === 200),
      'and all is well again',
    )
  })

  test(
    `who fails five times in a row is asked by nobody, then again, then for longer: ${workers} workers`,
    options,
    async (t) => {
      if (ability.able !== 'yes') return t.skip(ability.able === 'no' ? ability.needs : ability.why)
      const outliers: OutlierDetection = {
        ...{ consecutive5xx: 5, consecutiveGateway: 0, consecutiveLocal: 5, splitsLocal: false, codes: [] },
        ...{ intervalMs: 500, baseEjectionMs: 1000, maxEjectionPercent: 50, minHealthPercent: 0 },
      }
      await using node = await new Node(ability.cgroupRoot, workers, { outliers }).ready()
      node.answering[1] = (answer) => answer(500)
      /** Asks until it is ejected: how many failed by then. */
      const failures = async (): Promise<number> => {
        let failed = 0
        for (let index = 0; node.data.ejectedNow().length === 0; index++) {
          if ((await node.ask(index)).status === 500) failed++
          assert.ok(failed <= 5, 'no request more than the five')
        }
        return failed
      }
      assert.equal(await failures(), 5)
      const [first] = node.data.ejectedNow()
      const others = await Promise.all(node.asks(40))
      assert.deepEqual([...new Set(others.map(({ by }) => by))], ['app0'], 'neither pod asks it')
      assert.equal(first?.times, 1)
      await until('it is asked again', () => node.data.ejectedNow().length === 0)
      assert.equal(await failures(), 5)
      const [second] = node.data.ejectedNow()
      assert.equal(second?.times, 2)
      const lastsMs = ({ untilMs }: { untilMs: number }): number => untilMs - Date.now()
      assert.ok(second !== undefined && lastsMs(second) > 1200, `twice as long: ${second && lastsMs(second)} ms`)
      node.answering[1] = (answer) => answer(200)
      await until('it is asked again', () => node.data.ejectedNow().length === 0)
      const healed = await Promise.all(node.asks(40))
      assert.ok(healed.every(({ status }) => status === 200))
      assert.equal(new Set(healed.map(({ by }) => by)).size, 2)
    },
  )
}
