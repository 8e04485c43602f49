// One node with one worker thread, and with four: on the real kernel, by the same figures.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { probe } from '../../agent/kernel/probe.ts'
import { wholeOf } from '../../agent/model/delta.ts'
import { world } from '../../agent/model/world.fixture.ts'
import type { Counters } from '../../agent/proxy/plane/feed.ts'
import { DataSide } from '../../agent/node/workers.ts'
import { type BpfWorld, bpfWorld, type NetnsPod } from '../kernel/world.ts'

const ability = probe()
const APP = { ip: '10.96.0.1', port: 80 }
const LIMIT = 20

/** A captured pod `web` that dials an application of another pod, which sends back what it gets. */
class Node implements AsyncDisposable {
  readonly machine: BpfWorld
  readonly data: DataSide
  readonly web: NetnsPod
  readonly logged: string[] = []
  readonly #open = new Set<Socket>()

  constructor(cgroupRoot: string, workers: number, limits: { readonly podConnections?: number } = {}) {
    this.machine = bpfWorld(cgroupRoot, 93)
    const [app, web] = [this.machine.pod(), this.machine.pod()]
    this.machine.serve(app, 8080, (socket) => socket.pipe(socket))
    const shop = world()
      .service('app', { ports: [{ port: 80, protocol: 'opaque', targetPort: 8080 }] })
      .pods('app-v1', { ips: [app.ip] })
      .pods('web', { ips: [web.ip], behind: [] })
    this.web = { ...web, uid: shop.pod('web-1').uid }
    const log = { error: (fields: object) => void this.logged.push(JSON.stringify(fields)) }
    const start = { handles: this.machine.kernel.handles(), accessLog: false, limits }
    this.data = new DataSide({ start, workers, log })
    const inventory = shop.inventory(1)
    this.data.change(wholeOf(inventory), () => inventory)
    this.data.capture(this.machine.kernel.capture(this.web))
  }

  /** Waits until every worker carries. */
  async ready(): Promise<this> {
    await this.data.whenApplied()
    while ((await this.data.scrape()).silent > 0) await sleep(20)
    await sleep(100)
    return this
  }

  /** Whether a dial of the application comes through; the connection stays open. */
  async comesThrough(): Promise<boolean> {
    const socket = await this.machine.dial(this.web, APP).catch(() => null) // the reset may overtake the answer
    if (socket === null) return false
    this.#open.add(socket)
    return new Promise((resolve) => {
      socket.once('data', () => resolve(true))
      socket.once('close', () => {
        this.#open.delete(socket)
        resolve(false)
      })
      socket.write('x')
    })
  }

  closeOne(): void {
    for (const socket of this.#open) {
      socket.destroy()
      return
    }
  }

  /** Connections that each worker accepted so far. */
  async accepted(): Promise<number[]> {
    const [, ...counters] = (await this.data.scrape()).counters
    return counters.slice(0, -1).map(connectionsOf) // the last are what the control side counts itself
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    await this.data.stop(0)
    await this.machine.close()
  }
}

function connectionsOf(counters: Counters): number {
  return counters
    .filter(({ name }) => name === 'weft_proxy_connections_total')
    .reduce((sum, sample) => sum + ('value' in sample ? sample.value : 0), 0)
}

for (const workers of [1, 4]) {
  test(
    `a pod has ${LIMIT} connections at most, whichever of ${workers} workers has them`,
    { timeout: 60_000 },
    async (t) => {
      if (ability.able !== 'yes') return t.skip(ability.able === 'no' ? ability.needs : ability.why)
      await using node = await new Node(ability.cgroupRoot, workers, { podConnections: LIMIT }).ready()
      const through = await Promise.all(Array.from({ length: LIMIT + 10 }, () => node.comesThrough()))
      assert.equal(through.filter(Boolean).length, LIMIT)
      assert.equal(await node.comesThrough(), false)
      node.closeOne()
      let isFree = false
      for (let tries = 0; !isFree && tries < 100; tries++) {
        isFree = await node.comesThrough()
        await sleep(10)
      }
      assert.ok(isFree)
      assert.equal(await node.comesThrough(), false)
      assert.deepEqual(node.logged, [])
    },
  )
}

test('four workers share the connections of one pod', { timeout: 60_000 }, async (t) => {
  if (ability.able !== 'yes') return t.skip(ability.able === 'no' ? ability.needs : ability.why)
  await using node = await new Node(ability.cgroupRoot, 4).ready()
  for (let round = 0; round < 10; round++) {
    const through = await Promise.all(Array.from({ length: 40 }, () => node.comesThrough()))
    assert.ok(through.every(Boolean))
  }
  const accepted = await node.accepted()
  assert.equal(
    accepted.reduce((sum, count) => sum + count, 0),
    400,
  )
  assert.ok(Math.min(...accepted) >= 40, `of 400: ${accepted.join()}`)
})
