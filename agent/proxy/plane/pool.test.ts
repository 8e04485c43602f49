import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Http1Upstream } from '../http1/upstream.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { poolKey, Pools } from './pool.ts'
import { UNBOUNDED } from '../transport/budget.ts'
import type { Channel, ChannelSink } from '../transport/transport.ts'

/** A channel to nowhere that remembers whether it was closed. */
class StillChannel implements Channel {
  sink!: ChannelSink
  readonly backlog = 0
  readonly blocked = false
  readonly still = false
  readonly budget = UNBOUNDED
  readonly activeAt = 0
  readonly ends = null
  dead = false
  write(): void {}
  forget(): void {}
  hold(): void {}
  resume(): void {}
  shutdown(): void {}
  reset(): void {
    this.dead = true
  }
  close(): void {
    this.dead = true
  }
}

const limits = { ...DEFAULT_LIMITS, idlePerEndpoint: 2, idlePerPod: 3, idleInAll: 5, pooledIdleMs: 1000 }
const key = (pod: string, endpoint = 'a:1', client?: number) =>
  poolKey(pod, endpoint, client === undefined ? undefined : { ip: 'c', port: client })

function upstream(): { upstream: Http1Upstream; channel: StillChannel } {
  const channel = new StillChannel()
  return { upstream: new Http1Upstream(channel), channel }
}

test('a connection is given back to its own key alone: pod, endpoint and client', () => {
  const pools = new Pools(limits)
  const { upstream: kept } = upstream()
  pools.give(key('p', 'a:1', 7), kept, 0)
  for (const other of [key('q', 'a:1', 7), key('p', 'b:1', 7), key('p', 'a:1', 8), key('p', 'a:1')]) {
    assert.equal(pools.take(other, 0), null)
  }
  assert.equal(pools.take(key('p', 'a:1', 7), 0), kept)
  assert.equal(pools.take(key('p', 'a:1', 7), 0), null)
})

test('what was used last is used first', () => {
  const pools = new Pools(limits)
  const [older, newer] = [upstream(), upstream()]
  pools.give(key('p'), older.upstream, 0)
  pools.give(key('p'), newer.upstream, 1)
  assert.equal(pools.take(key('p'), 0), newer.upstream)
})

test('an endpoint, a pod and the worker each have a bound', () => {
  const pools = new Pools(limits)
  const give = (pod: string, endpoint: string): boolean => {
    const { upstream: one, channel } = upstream()
    pools.give(key(pod, endpoint), one, 0)
    return !channel.dead
  }
  assert.deepEqual([give('p', 'a:1'), give('p', 'a:1'), give('p', 'a:1')], [true, true, false])
  assert.deepEqual([give('p', 'b:1'), give('p', 'c:1')], [true, false])
  assert.deepEqual([give('q', 'a:1'), give('q', 'a:1'), give('r', 'a:1')], [true, true, false])
  assert.equal(pools.size, 5)
})

test('idle connections are closed in time, earlier where the server announced less', () => {
  const pools = new Pools(limits)
  const [plain, hinted] = [upstream(), upstream()]
  hinted.upstream.keepAliveSeconds = 1.5
  pools.give(key('p'), plain.upstream, 0)
  pools.give(key('p'), hinted.upstream, 0)
  pools.sweep(499)
  assert.deepEqual([plain.channel.dead, hinted.channel.dead], [false, false])
  pools.sweep(500)
  assert.deepEqual([plain.channel.dead, hinted.channel.dead], [false, true])
  pools.sweep(1000)
  assert.equal(plain.channel.dead, true)
  assert.equal(pools.size, 0)
})

test('a connection that ends, or speaks unasked, leaves its pool', () => {
  const pools = new Pools(limits)
  const events: ((sink: ChannelSink) => void)[] = [
    (sink) => sink.end(),
    (sink) => sink.lost(new Error('reset')),
    (sink) => sink.closed(),
    (sink) => sink.bytes(Buffer.from('x'), 0, 1),
  ]
  for (const event of events) {
    const { upstream: one, channel } = upstream()
    pools.give(key('p'), one, 0)
    event(channel.sink)
    assert.equal(pools.take(key('p'), 0), null)
  }
})

test('a connection that its server may be closing is not given, though nobody has looked yet', () => {
  const pools = new Pools(limits)
  const { upstream: hinted, channel } = upstream()
  hinted.keepAliveSeconds = 1.5
  pools.give(key('p'), hinted, 0)
  assert.equal(pools.take(key('p'), 500), null)
  assert.equal(channel.dead, true)
})

test('what is kept for endpoints that have left is closed, but not what a pod’s own application is reached by', () => {
  const pools = new Pools(limits)
  const [gone, stays, inside] = [upstream(), upstream(), upstream()]
  pools.give(key('p', 'gone:1'), gone.upstream, 0)
  pools.give(key('p', 'stays:1'), stays.upstream, 0)
  pools.give(key('q', 'gone:1', 7), inside.upstream, 0)
  for (const _ of pools.drainEndpoints((endpoint) => endpoint === 'gone:1'));
  assert.deepEqual([gone.channel.dead, stays.channel.dead, inside.channel.dead], [true, false, false])
  assert.equal(pools.take(key('p', 'gone:1'), 0), null)
})
