import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostOf, world } from '../model/world.fixture.ts'
import { Cells } from './cells.ts'
import { type Going, SharedCourses, type Traveller } from './courses.ts'
import { Edges } from './edges.ts'

const shop = world().service('app').pods('app-v1').pods('web', { behind: [], count: 2 })
const NOWHERE: Going = { reached: null, backends: null, rule: null, service: null, isKept: false }

function shared() {
  const edges = new Edges(new Cells())
  const service = shop.snapshot().serviceByHost.get(hostOf('app')) ?? null
  assert.ok(service !== null)
  const inbound: Traveller = {
    ...{ direction: 'inbound', pod: shop.pod('app-v1-1'), caller: shop.pod('web-1') },
    ...{ principal: 'spiffe://cluster.local/ns/default/sa/web', isSecured: true, service },
  }
  return { edges, inbound, courses: new SharedCourses(edges) }
}

test('connections share their ways where they agree in all that a way is made of, and only there', () => {
  const { inbound, courses } = shared()
  const first = courses.of(inbound)
  assert.equal(courses.of({ ...inbound }), first)
  assert.equal(first.of({ ...NOWHERE }, 'http'), first.of(NOWHERE, 'http'))
  assert.notEqual(first.of(NOWHERE, 'tcp'), first.of(NOWHERE, 'http'))
  const others: Partial<Traveller>[] = [
    { direction: 'outbound' },
    { pod: shop.pod('web-2') },
    { caller: shop.pod('web-2') },
    { principal: null },
    { isSecured: false },
    { service: null },
  ]
  for (const other of others) assert.notEqual(courses.of({ ...inbound, ...other }), first, JSON.stringify(other))
})

test('ways to what is no service are a connection’s own: there are as many as addresses', () => {
  const { inbound, courses } = shared()
  const outbound: Traveller = { ...inbound, direction: 'outbound', service: null }
  assert.notEqual(courses.of(outbound), courses.of(outbound))
})

test('what edges were let go of is looked up anew, by connections that are open too', () => {
  const { edges, inbound, courses } = shared()
  const first = courses.of(inbound)
  const way = first.of(NOWHERE, 'http')
  edges.forget()
  assert.notEqual(courses.of(inbound), first)
  assert.notEqual(first.of(NOWHERE, 'http'), way)
})

test('many callers of a pod share a bounded number of them', () => {
  const { inbound, courses } = shared()
  const first = courses.of(inbound)
  const last = Array.from({ length: 1000 }, (_, count) => courses.of({ ...inbound, principal: String(count) })).at(-1)
  assert.equal(courses.of({ ...inbound, principal: '999' }), last)
  assert.notEqual(courses.of(inbound), first)
})
