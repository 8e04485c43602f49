// The data side as it runs: a worker thread on the real kernel, pods in network namespaces, fed with plain values.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { Worker } from 'node:worker_threads'
import { probe } from '../../agent/kernel/probe.ts'
import type { Handles, PodSource } from '../../agent/kernel/kernel.ts'
import { between, pieces, wholeOf } from '../../agent/model/delta.ts'
import type { Inventory } from '../../agent/model/snapshot.ts'
import { to, rule, world } from '../../agent/model/world.fixture.ts'
import { breakerMemory } from '../../agent/proxy/plane/breaker-cells.ts'
import { sharedCounts } from '../../agent/proxy/plane/counts.ts'
import type { Counters, FromWorker, ToWorker } from '../../agent/proxy/plane/feed.ts'
import { renderMetrics } from '../../agent/telemetry/metrics.ts'
import { bpfWorld } from '../kernel/world.ts'
import { ask, drainSocket, outboundOf } from './mesh.ts'

const ability = probe()
const APP = { ip: '10.96.0.1', port: 80 }
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'

/** A worker thread and what it said. */
class DataSide {
  readonly worker = new Worker(new URL('../../agent/worker.ts', import.meta.url))
  readonly said: FromWorker[] = []

  constructor() {
    this.worker.on('message', (message: FromWorker) => this.said.push(message))
  }

  tell(message: ToWorker): void {
    this.worker.postMessage(message)
  }

  /** Tells all of an inventory, piece by piece; returns once it is answered. */
  async whole(inventory: Inventory): Promise<FromWorker> {
    for (const piece of pieces(wholeOf(inventory))) {
      this.tell({ type: 'piece', piece, rows: [] })
      if (!piece.last) await this.hears('next')
    }
    return this.hears('applied')
  }

  start(handles: Handles): void {
    this.tell({
      type: 'start',
      handles,
      accessLog: false,
      counts: sharedCounts(1),
      breakers: breakerMemory(1),
      column: 0,
    })
  }

  async hears<T extends FromWorker['type']>(type: T): Promise<FromWorker & { type: T }> {
    for (let i = 0; i < 1000; i++) {
      const found = this.said.find((message): message is FromWorker & { type: T } => message.type === type)
      if (found !== undefined) {
        this.said.splice(this.said.indexOf(found), 1)
        return found
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error(`no ${type}; it said ${JSON.stringify(this.said.filter(({ type }) => type !== 'heartbeat'))}`)
  }

  async counters(): Promise<Counters> {
    this.tell({ type: 'scrape', id: 1 })
    return (await this.hears('counters')).counters
  }
}

/** An application that answers every request with the address it sees as its client. */
function answering(socket: Socket): void {
  socket.on('data', () => {
    const seen = socket.remoteAddress ?? ''
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${seen.length}\r\n\r\n${seen}`)
  })
}

function skipped(t: TestContext): boolean {
  if (ability.able === 'yes') return false
  t.skip(ability.able === 'no' ? ability.needs : ability.why)
  return true
}

test('a worker thread carries captured pods by what it is told', { timeout: 60_000 }, async (t) => {
  if (skipped(t) || ability.able !== 'yes') return
  const machine = bpfWorld(ability.cgroupRoot, 91)
  const side = new DataSide()
  try {
    const [app, web] = [machine.pod(), machine.pod()]
    const shop = world()
      .service('app')
      .pods('app-v1', { ips: [app.ip] })
      .pods('web', { ips: [web.ip], behind: [] })
    const source = (pod: PodSource, name: string): PodSource => ({ ...pod, uid: shop.pod(name).uid })
    machine.serve(app, 8080, answering)
    side.start(machine.kernel.handles())
    await side.hears('ready')
    assert.deepEqual(await side.whole(shop.inventory(7)), { type: 'applied', version: 7 })
    const captured = machine.kernel.capture(source(app, 'app-v1-1'))
    side.tell({ type: 'capture', pod: captured, row: null })
    side.tell({ type: 'capture', pod: machine.kernel.capture(source(web, 'web-1')), row: null })

    await t.test('on one node, the application sees the caller, and both reporters count', async () => {
      const socket = await machine.dial(web, APP)
      assert.equal((await ask(socket, GET)).body, web.ip)
      const text = await renderMetrics([await side.counters()])
      assert.match(text, /^istio_requests_total\{reporter="source",source_workload="web",.*response_code="200".*\} 1$/m)
      assert.match(text, /^istio_requests_total\{reporter="destination",.*destination_workload="app-v1".*\} 1$/m)
      socket.destroy()
    })

    await t.test('from elsewhere, the application sees whoever dialled', async () => {
      const socket = await machine.reach({ ip: app.ip, port: 8080 })
      assert.equal((await ask(socket, GET)).body, '169.254.1.1')
      socket.destroy()
    })

    await t.test('a rule that changes holds for the next request of a held connection', async () => {
      const socket = await machine.dial(web, APP)
      assert.equal((await ask(socket, GET)).status, 200)
      const fault = { delay: null, abort: { percent: 100, status: 418, grpcStatus: null } }
      const before = shop.inventory(7)
      shop.virtualService({ hosts: ['app'], http: [rule({ fault, destinations: [to('app')] })] })
      const delta = between(before, shop.inventory(8))
      for (const piece of pieces(delta)) side.tell({ type: 'piece', piece, rows: [] })
      assert.equal((await side.hears('applied')).version, 8)
      assert.equal((await ask(socket, GET)).status, 418)
      socket.destroy()
    })

    await t.test('a delta upon a version that is not in force is refused, and the one before stays', async () => {
      const [piece] = pieces(between(shop.inventory(3), world().inventory(9)))
      assert.ok(piece)
      side.tell({ type: 'piece', piece, rows: [] })
      assert.equal((await side.hears('rejected')).version, 9)
      const socket = await machine.dial(web, APP)
      assert.equal((await ask(socket, GET)).status, 418)
      socket.destroy()
    })

    await t.test('a dial of the proxy itself is refused', async () => {
      const outcome = await machine.dial(web, { ip: '127.0.0.1', port: outboundOf(captured).port }).then(
        async (socket) => (await drainSocket(socket)).how,
        () => 'refused',
      )
      assert.notEqual(outcome, 'end')
    })

    await t.test('it says that it lives, and ends when told', async () => {
      await side.hears('heartbeat')
      const exit = once(side.worker, 'exit')
      side.tell({ type: 'stop', graceMs: 100 })
      assert.deepEqual(await exit, [0])
    })
    assert.deepEqual(
      side.said.filter(({ type }) => type === 'fault'),
      [],
    )
  } finally {
    await side.worker.terminate()
    await machine.close()
  }
})

test('a worker that is ended from outside leaves no fd open', { timeout: 60_000 }, async (t) => {
  if (skipped(t) || ability.able !== 'yes') return
  const machine = bpfWorld(ability.cgroupRoot, 92)
  try {
    const pods = [machine.pod(), machine.pod()].map((pod) => machine.kernel.capture(pod))
    const before = readdirSync('/proc/self/fd').length
    for (let round = 0; round < 3; round++) {
      const side = new DataSide()
      side.start(machine.kernel.handles())
      for (const pod of pods) side.tell({ type: 'capture', pod, row: null })
      await side.whole(world().inventory(1)) // what was said before it has been done: the pods are held
      assert.ok(readdirSync('/proc/self/fd').length >= before + 3 * pods.length)
      await side.worker.terminate()
    }
    const left = readdirSync('/proc/self/fd').length
    assert.ok(left <= before, `${before} before, ${left} after`)
  } finally {
    await machine.close()
  }
})
