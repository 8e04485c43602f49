import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Caller, workloadOf } from './identity.ts'
import { type Link, plainLink } from './link.ts'
import { authorize, type Cargo, type Denial, type Permit, UNASKED } from './permit.ts'
import type { Endpoint } from './service.ts'
import { canonicalName, canonicalRevision } from './workload.ts'
import { type World, world } from './world.fixture.ts'

const pod = world().pods('web-v1').pod('web-v1-1')
const caller: Caller = { kind: 'workload', workload: pod, proof: 'netns' }

function endpoint(ip: string): Endpoint {
  const place = { node: null, locality: null, readySinceMs: null }
  return { address: { ip, port: 80 }, workload: null, ready: true, serving: true, terminating: false, ...place }
}

function judged(to: Endpoint, link: Link = plainLink(to)): Permit | Denial {
  return authorize(world().snapshot(), { caller, endpoint: to, link, callee: undefined }, CARGO)
}

const CARGO: Cargo = { client: '10.244.0.9', serverName: null, request: null, consented: UNASKED }

test('a permit is for the caller and the endpoint that were judged', () => {
  const to = endpoint('10.244.0.1')
  const verdict = judged(to)
  assert.ok(!('denied' in verdict))
  assert.equal(verdict.caller, caller)
  assert.equal(verdict.endpoint, to)
})

test('a permit says by which link, and none is given for one that is refused', () => {
  const to = endpoint('10.244.0.1')
  const tls: Link = { kind: 'tls', key: 'a', identity: 'spiffe://cluster.local/ns/shop/sa/web' }
  const verdict = judged(to, tls)
  assert.ok(!('denied' in verdict) && verdict.link === tls)
  assert.deepEqual(judged(to, { kind: 'refused', key: 'a', why: 'it is not captured' }), {
    denied: 'it is not captured',
    code: 'UPSTREAM_NOT_SECURED',
    ...{ by: null, decision: null },
  })
})

test('nothing that ends inside the caller’s own namespace is permitted', () => {
  const loopback = [
    '127.0.0.1',
    '127.255.255.254',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '0.0.0.0',
    '::',
    '::ffff:0.0.0.0',
    '::ffff:0:0',
  ]
  for (const ip of loopback) {
    const verdict = judged(endpoint(ip))
    assert.ok('denied' in verdict && verdict.denied.includes(ip), ip)
  }
  fc.assert(
    fc.property(fc.ipV4(), (ip) => {
      assert.equal('denied' in judged(endpoint(ip)), /^127\.|^0\.0\.0\.0$/.test(ip))
    }),
  )
  for (const ip of ['fd00::1', '::2', '::ffff:10.0.0.1', '::ffff:a00:1', '1::'])
    assert.ok(!('denied' in judged(endpoint(ip))), ip)
})

test('what guards a pod that is not known is not known either, be it a policy or whose tokens are believed', () => {
  const way = { caller, endpoint: endpoint('10.244.0.1'), link: plainLink(endpoint('10.244.0.1')), callee: null }
  const isDenied = (of: World): boolean => 'denied' in authorize(of.snapshot(), way, CARGO)
  assert.equal(isDenied(world()), false)
  assert.equal(isDenied(world().authorizationPolicy({})), true)
  assert.equal(isDenied(world().requestAuthentication({})), true)
})

test('a workload is named only on proof', () => {
  assert.equal(workloadOf(caller), pod)
  assert.equal(workloadOf({ kind: 'unproven', why: 'made on another node' }), null)
})

test('a workload’s canonical name and revision are read from its labels in Istio’s order', () => {
  const labelled = (labels: Record<string, string>) => ({ ...pod, owner: 'web-owner', labels })
  const all = { 'service.istio.io/canonical-name': 'a', 'app.kubernetes.io/name': 'b', app: 'c' }
  assert.equal(canonicalName(labelled(all)), 'a')
  assert.equal(canonicalName(labelled({ 'app.kubernetes.io/name': 'b', app: 'c' })), 'b')
  assert.equal(canonicalName(labelled({ app: 'c' })), 'c')
  assert.equal(canonicalName(labelled({})), 'web-owner')
  const revisions = { 'service.istio.io/canonical-revision': '1', 'app.kubernetes.io/version': '2', version: '3' }
  assert.equal(canonicalRevision(labelled(revisions)), '1')
  assert.equal(canonicalRevision(labelled({ 'app.kubernetes.io/version': '2', version: '3' })), '2')
  assert.equal(canonicalRevision(labelled({ version: '3' })), '3')
  assert.equal(canonicalRevision(labelled({})), 'latest')
})
