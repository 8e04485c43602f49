import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SocketAddress } from '../../model/address.ts'
import { Http1Upstream } from '../http1/upstream.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { type Pool, Pools } from './pool.ts'
import { StillChannel } from './still-channel.fixture.ts'
import type { ChannelSink } from '../transport/transport.ts'

const limits = { ...DEFAULT_LIMITS, idlePerEndpoint: 2, idlePerPod: 3, idleInAll: 5, pooledIdleMs: 1000 }
/** Two clients of an application. */
const [SEVEN, EIGHT] = [7, 8].map((port): SocketAddress => ({ ip: 'c', port }))

const of = (
  pools: Pools,
  pod: string,
  endpoint = 'a:1',
  { client, told = null }: { client?: SocketAddress | undefined; told?: SocketAddress | null } = {},
): Pool => pools.of(pod, { endpoint, key: endpoint, told }, client)

function upstream(): { upstream: Http1Upstream; channel: StillChannel } {
  const channel = new StillChannel()
  return { upstream: new Http1Upstream(channel), channel }
}

test('a connection is given back to its own key alone: pod, endpoint and client', () => {
  const pools = new Pools(limits)
  const { upstream: kept } = upstream()
  of(pools, 'p').give(kept, 0)
  for (const other of [of(pools, 'q'), of(pools, 'p', 'b:1'), of(pools, 'p', 'a:1', { client: SEVEN })]) {
    assert.equal(other.take(0), null)
  }
  assert.equal(of(pools, 'p').take(0), kept)
  assert.equal(of(pools, 'p').take(0), null)
})

test('what an application takes for one client is no other’s, and ends with that', () => {
  const pools = new Pools(limits)
  const [seven, eight] = [upstream(), upstream()]
  of(pools, 'p', 'a:1', { client: SEVEN }).give(seven.upstream, 0)
  of(pools, 'p', 'a:1', { client: EIGHT }).give(eight.upstream, 0)
  assert.equal(of(pools, 'p').take(0), null)
  pools.drainClient('p', SEVEN as SocketAddress)
  assert.deepEqual([seven.channel.dead, eight.channel.dead, pools.idle], [true, false, 1])
  assert.equal(of(pools, 'p', 'a:1', { client: EIGHT }).take(0), eight.upstream)
})

test('what tells of a caller is no other’s, and ends with that', () => {
  const pools = new Pools(limits)
  const [seven, left, plain] = [upstream(), upstream(), upstream()]
  of(pools, 'p', 'a:1', { told: SEVEN as SocketAddress }).give(seven.upstream, 0)
  of(pools, 'p', 'b:1', { told: SEVEN as SocketAddress }).give(left.upstream, 0)
  of(pools, 'p', 'a:1').give(plain.upstream, 0)
  assert.equal(of(pools, 'p', 'a:1', { told: EIGHT as SocketAddress }).take(0), null)
  for (const _ of pools.drainEndpoints((endpoint) => endpoint === 'b:1'));
  assert.deepEqual([seven.channel.dead, left.channel.dead], [false, true])
  pools.drainClient('p', SEVEN as SocketAddress)
  assert.deepEqual([seven.channel.dead, plain.channel.dead, pools.idle], [true, false, 1])
})

test('what was used last is used first', () => {
  const pools = new Pools(limits)
  const [older, newer] = [upstream(), upstream()]
  of(pools, 'p').give(older.upstream, 0)
  of(pools, 'p').give(newer.upstream, 1)
  assert.equal(of(pools, 'p').take(0), newer.upstream)
})

test('an endpoint, a pod and the worker each have a bound', () => {
  const pools = new Pools(limits)
  const give = (pod: string, endpoint: string): boolean => {
    const { upstream: one, channel } = upstream()
    of(pools, pod, endpoint).give(one, 0)
    return !channel.dead
  }
  assert.deepEqual([give('p', 'a:1'), give('p', 'a:1'), give('p', 'a:1')], [true, true, false])
  assert.deepEqual([give('p', 'b:1'), give('p', 'c:1')], [true, false])
  assert.deepEqual([give('q', 'a:1'), give('q', 'a:1'), give('r', 'a:1')], [true, true, false])
  assert.equal(pools.idle, 5)
})

test('idle connections are closed in time, earlier where the server announced less', () => {
  const pools = new Pools(limits)
  const [plain, hinted] = [upstream(), upstream()]
  hinted.upstream.keepAliveSeconds = 1.5
  of(pools, 'p').give(plain.upstream, 0)
  of(pools, 'p').give(hinted.upstream, 0)
  pools.sweep(499)
  assert.deepEqual([plain.channel.dead, hinted.channel.dead], [false, false])
  pools.sweep(500)
  assert.deepEqual([plain.channel.dead, hinted.channel.dead], [false, true])
  pools.sweep(1000)
  assert.equal(plain.channel.dead, true)
  assert.equal(pools.idle, 0)
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
    of(pools, 'p').give(one, 0)
    event(channel.sink)
    assert.equal(of(pools, 'p').take(0), null)
  }
})

test('a connection that its server may be closing is not given, though nobody has looked yet', () => {
  const pools = new Pools(limits)
  const { upstream: hinted, channel } = upstream()
  hinted.keepAliveSeconds = 1.5
  of(pools, 'p').give(hinted, 0)
  assert.equal(of(pools, 'p').take(500), null)
  assert.equal(channel.dead, true)
})

test('what is kept for endpoints that have left is closed, but not what a pod’s own application is reached by', () => {
  const pools = new Pools(limits)
  const [gone, stays, inside] = [upstream(), upstream(), upstream()]
  of(pools, 'p', 'gone:1').give(gone.upstream, 0)
  of(pools, 'p', 'stays:1').give(stays.upstream, 0)
  of(pools, 'q', 'gone:1', { client: SEVEN }).give(inside.upstream, 0)
  for (const _ of pools.drainEndpoints((endpoint) => endpoint === 'gone:1'));
  assert.deepEqual([gone.channel.dead, stays.channel.dead, inside.channel.dead], [true, false, false])
  assert.equal(of(pools, 'p', 'gone:1').take(0), null)
})
