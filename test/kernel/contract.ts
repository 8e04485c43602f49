// What every body of Kernel and Sockets promises: one table of cases, run on each.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Acceptor, Captured, PodSockets } from '../../agent/kernel/kernel.ts'
import { KernelError } from '../../agent/kernel/kernel.ts'
import { listenerOf } from '../../agent/kernel/sockets.ts'
import { native } from '../../agent/kernel/native.ts'
import { addressText } from '../../agent/model/address.ts'
import { connect } from './world.ts'
import type { World } from './world.ts'

/** What came to a pod's listeners. */
class Arrivals {
  readonly fds: number[] = []
  readonly faults: unknown[] = []
  readonly acceptor: Acceptor
  #seen = Promise.withResolvers<void>()

  constructor(pod: PodSockets, direction: 'outbound' | 'inbound', onAccept?: (fd: number) => void) {
    this.acceptor = pod.accept(direction, {
      onAccept: (fd) => {
        onAccept?.(fd)
        this.fds.push(fd)
        this.#seen.resolve()
        this.#seen = Promise.withResolvers()
      },
      onFault: (error) => {
        this.faults.push(error)
        this.#seen.resolve()
        this.#seen = Promise.withResolvers()
      },
    })
  }

  async until(count: number): Promise<void> {
    const late = sleep(10_000, 'late', { ref: false })
    while (this.fds.length + this.faults.length < count) {
      assert.notEqual(
        await Promise.race([this.#seen.promise, late]),
        'late',
        `only ${this.fds.length} of ${count} came`,
      )
    }
  }
}

/** Waits for the end of a connection, whatever it ends by. */
const closing = (socket: net.Socket): Promise<void> =>
  new Promise((resolve) => void socket.on('error', () => undefined).once('close', () => resolve()))

function captureAndHold(world: World): { captured: Captured; pod: PodSockets; source: ReturnType<World['pod']> } {
  const source = world.pod()
  const captured = world.kernel.capture(source)
  return { captured, source, pod: world.sockets.hold(captured) }
}

export const CONTRACT: readonly { readonly states: string; readonly run: (world: World) => Promise<void> }[] = [
  {
    states: 'a socket has the patience that it was given, and what is no socket any more is passed over',
    run: async (world) => {
      const { pod } = captureAndHold(world)
      const fd = pod.socket({ family: 4 })
      world.sockets.setUserTimeout(fd, 1234)
      assert.equal(native().userTimeout(fd), 1234)
      native().closeFd(fd)
      world.sockets.setUserTimeout(fd, 1)
    },
  },
  {
    states: 'an outbound connection tells where it was going, each its own destination',
    run: async (world) => {
      const { pod, source } = captureAndHold(world)
      const out = new Arrivals(pod, 'outbound')
      const wanted = Array.from({ length: 50 }, (_, i) => ({ ip: `10.9.${i}.1`, port: 1000 + i }))
      const clients = await Promise.all(wanted.map((to) => world.dial(source, to)))
      await out.until(50)
      clients.forEach((client, index) => client.write(`${index}`))
      const told = await Promise.all(
        out.fds.map(async (fd) => {
          const origin = world.sockets.origin(fd)
          assert.ok(origin)
          const accepted = new net.Socket({ fd })
          const [said] = (await once(accepted, 'data')) as [Buffer]
          assert.deepEqual(origin, wanted[Number(said)]) // its application says which it is
          accepted.destroy()
          return addressText(origin)
        }),
      )
      assert.deepEqual(told.sort(), wanted.map(addressText).sort())
      assert.equal(world.kernel.counters().handed, 50)
      assert.equal(world.kernel.counters().missing, 0)
      for (const client of clients) client.destroy()
      pod.close()
    },
  },
  {
    states: 'an inbound connection has its original destination as local address and no origin',
    run: async (world) => {
      const { pod, source } = captureAndHold(world)
      const incoming = new Arrivals(pod, 'inbound')
      world.serve(source, 8123, () => assert.fail('an application was reached past the proxy'))
      const client = await world.reach({ ip: source.ip, port: 8123 })
      await incoming.until(1)
      const fd = incoming.fds[0]!
      assert.deepEqual(world.sockets.ends(fd).local, { ip: source.ip, port: 8123 })
      assert.equal(world.sockets.ends(fd).remote.port, client.localPort)
      assert.equal(world.sockets.origin(fd), null)
      assert.equal(world.kernel.counters().steered, 1)
      client.destroy()
      world.sockets.close(fd)
      pod.close()
    },
  },
  {
    states: 'a socket of the pod reaches an application of a captured callee directly and carries bytes both ways',
    run: async (world) => {
      const caller = captureAndHold(world)
      const callee = captureAndHold(world)
      const wrong = new Arrivals(callee.pod, 'inbound')
      world.serve(callee.source, 8080, (socket) => socket.pipe(socket))
      const fd = caller.pod.socket({ family: 4, callee: callee.captured.cookie })
      const upstream = await connect(fd, { ip: callee.source.ip, port: 8080 })
      upstream.end('there and back')
      const [back] = (await once(upstream, 'data')) as [Buffer]
      assert.equal(back.toString(), 'there and back')
      assert.equal(upstream.remoteAddress, callee.source.ip)
      assert.equal(upstream.localAddress, caller.source.ip)
      assert.equal(wrong.fds.length, 0)
      assert.equal(world.kernel.counters().captured, 0)
      caller.pod.close()
      callee.pod.close()
    },
  },
  {
    states: 'after the release connections go their own way and open ones live on',
    run: async (world) => {
      const { pod, source } = captureAndHold(world)
      const other = world.pod()
      world.serve(other, 8080, (socket) => socket.end('the application itself'))
      const out = new Arrivals(pod, 'outbound')
      const open = await world.dial(source, { ip: '10.9.9.9', port: 99 })
      await out.until(1)
      const accepted = new net.Socket({ fd: out.fds[0]! })
      world.kernel.release(source.uid)
      pod.close()
      accepted.write('still here')
      const [chunk] = (await once(open, 'data')) as [Buffer]
      assert.equal(chunk.toString(), 'still here')
      const direct = await world.dial(source, { ip: other.ip, port: 8080 })
      const [answer] = (await once(direct, 'data')) as [Buffer]
      assert.equal(answer.toString(), 'the application itself')
      assert.equal(world.kernel.counters().captured, 1)
      for (const socket of [open, accepted, direct]) socket.destroy()
    },
  },
  {
    states: 'a connection that waits to be accepted while the pod is released is not lost',
    run: async (world) => {
      const { pod, source } = captureAndHold(world)
      const out = new Arrivals(pod, 'outbound')
      out.acceptor.pause()
      const client = await world.dial(source, { ip: '10.9.9.9', port: 99 })
      world.kernel.release(source.uid)
      assert.equal(out.fds.length, 0)
      pod.close()
      assert.equal(out.fds.length, 1)
      assert.deepEqual(world.sockets.origin(out.fds[0]!), { ip: '10.9.9.9', port: 99 })
      world.sockets.close(out.fds[0]!)
      client.destroy()
    },
  },
  {
    states: 'capturing twice gives the same, releasing twice and an unknown pod are no errors',
    run: async (world) => {
      const source = world.pod()
      const first = world.kernel.capture(source)
      assert.deepEqual(world.kernel.capture(source), first)
      assert.equal(world.kernel.captured().size, 1)
      world.kernel.release(source.uid)
      world.kernel.release(source.uid)
      world.kernel.release('never seen')
      assert.equal(world.kernel.captured().size, 0)
      assert.notEqual(listenerOf(world.kernel.capture(source), 'outbound').fd, -1)
    },
  },
  {
    states: 'a pod that was released can no longer be held',
    run: async (world) => {
      const source = world.pod()
      const captured = world.kernel.capture(source)
      world.kernel.release(source.uid)
      assert.throws(
        () => world.sockets.hold(captured),
        (error) => error instanceof KernelError,
      )
    },
  },
  {
    states: 'what onAccept throws costs that one connection and no other of its batch',
    run: async (world) => {
      const { pod, source } = captureAndHold(world)
      let calls = 0
      const out = new Arrivals(pod, 'outbound', () => {
        if (++calls === 2) throw new Error('the second goes wrong')
      })
      out.acceptor.pause()
      const clients = await Promise.all([1, 2, 3, 4].map((port) => world.dial(source, { ip: '10.9.9.9', port })))
      const ended = Promise.race(clients.map((client) => once(client, 'close')))
      for (const client of clients) client.on('error', () => undefined).resume()
      out.acceptor.resume()
      await out.until(4)
      assert.equal(out.fds.length, 3)
      assert.match(String(out.faults[0]), /the second goes wrong/)
      await ended
      for (const fd of out.fds) world.sockets.close(fd)
      for (const client of clients) client.destroy()
      pod.close()
    },
  },
  {
    states: 'a paused acceptor takes nothing until it is resumed, and may be closed twice',
    run: async (world) => {
      const { pod, source } = captureAndHold(world)
      const out = new Arrivals(pod, 'outbound')
      out.acceptor.pause()
      out.acceptor.pause()
      const client = await world.dial(source, { ip: '10.9.9.9', port: 99 })
      await sleep(50)
      assert.equal(out.fds.length, 0)
      out.acceptor.resume()
      out.acceptor.resume()
      await out.until(1)
      out.acceptor.close()
      out.acceptor.close()
      pod.close()
      pod.close()
      assert.throws(() => pod.socket({ family: 4 }), KernelError)
      world.sockets.close(out.fds[0]!)
      client.destroy()
    },
  },
  {
    states: 'a connection older than the capture is told with both its ends, and can be reset',
    run: async (world) => {
      const source = world.pod()
      const { promise: accepted, resolve } = Promise.withResolvers<net.Socket>()
      world.serve(source, 8080, resolve)
      const client = await world.reach({ ip: source.ip, port: 8080 })
      const from = { ip: client.localAddress, port: client.localPort }
      const served = await accepted
      world.kernel.capture(source)
      const [older, ...others] = world.kernel.connections(source.uid)
      assert.ok(older)
      assert.deepEqual(others, [])
      assert.deepEqual([older.local, older.remote, older.tally], [{ ip: source.ip, port: 8080 }, from, null])
      assert.deepEqual(world.kernel.localEnds(source.uid), [older.local])
      assert.ok(world.kernel.listeningPorts(source.uid).has(8080))
      assert.equal(world.kernel.reset(source.uid, [older.socket + 1000n]), 0, 'another’s name')
      const closed = Promise.all([client, served].map(closing))
      assert.equal(world.kernel.reset(source.uid, [older.socket]), 1)
      await closed
      assert.equal(world.kernel.reset(source.uid, [older.socket]), 0, 'ended meanwhile')
      assert.deepEqual(world.kernel.connections(source.uid), [])
    },
  },
  {
    states: 'closing the kernel releases every pod and may be done twice',
    run: async (world) => {
      captureAndHold(world).pod.close()
      captureAndHold(world).pod.close()
      world.kernel.close('remove')
      world.kernel.close('remove')
      assert.equal(world.kernel.captured().size, 0)
      assert.equal(world.kernel.counters().captured, 0)
    },
  },
]
