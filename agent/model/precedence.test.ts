// Which objects are in force for a call, against the documented order said slowly (Istio: VirtualService and DestinationRule,
// "host", "exportTo", "workloadSelector").

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { draw } from './chance.ts'
import { policyFor } from './destination.ts'
import { seeded } from './request.fixture.ts'
import { hasRules, virtualServiceFor } from './route.ts'
import { pool } from './traffic-policy.fixture.ts'
import type { DestinationRule, PortPolicy } from './traffic-policy.ts'
import type { Workload } from './workload.ts'
import { dialled, flowMatch, hostOf, ROOT_NAMESPACE, to, type World, world } from './world.fixture.ts'

const NAMESPACES = ['shop', 'front', ROOT_NAMESPACE, 'other'] as const
const WEB = hostOf('web', 'shop')
const HOSTS = [WEB, '*.shop.svc.cluster.local', '*.svc.cluster.local', '*', '*.other.svc.cluster.local'] as const

const mesh = (): World =>
  world()
    .service('web', { namespace: 'shop', ports: [{ port: 80 }, { port: 81 }] })
    .pods('web-v1', { namespace: 'shop' })
    .pods('front-v1', { namespace: 'front', behind: [] })
    .pods('front-v2', { namespace: 'front', behind: [] })

const CALLERS: readonly (Workload | null)[] = [
  mesh().pod('front-v1-1', 'front'),
  mesh().pod('front-v2-1', 'front'),
  mesh().pod('web-v1-1', 'shop'),
  null,
]

/** How a host is meant by a pattern: the longer the closer; -1: not at all. */
function closeness(pattern: string): number {
  if (pattern === WEB) return Infinity
  return pattern.startsWith('*') && WEB.endsWith(pattern.slice(1)) ? pattern.length : -1
}

const isSeen = (exportTo: readonly string[], consumer: string): boolean =>
  exportTo.some((name) => name === '*' || name === consumer)

const object = {
  namespace: fc.constantFrom(...NAMESPACES),
  createdMs: fc.integer({ min: 1, max: 3 }),
  exportTo: fc.constantFrom<string[][]>(['*'], ['shop'], ['front', 'other'], []),
}

test('the VirtualService in force is the one that the documented order gives', () => {
  const wish = fc.record({
    ...object,
    hosts: fc.uniqueArray(fc.constantFrom(...HOSTS), { minLength: 1, maxLength: 2 }),
    kinds: fc.constantFrom('http', 'flows', 'both'),
  })
  let [found, none] = [0, 0]
  fc.assert(
    fc.property(
      fc.array(wish, { maxLength: 6 }),
      fc.constantFrom(...NAMESPACES),
      fc.constantFrom('http', 'flows'),
      (wishes, consumer, of) => {
        const places = mesh()
        wishes.forEach(({ kinds, ...said }, index) => {
          const http = kinds === 'flows' ? [] : [{ destinations: [to(WEB)] }]
          const tcp = kinds === 'http' ? [] : [{ matches: [flowMatch({ port: 80 })], destinations: [to(WEB)] }]
          places.virtualService({ ...said, name: `vs-${index}`, http, tcp })
        })
        const snapshot = places.snapshot()
        const order = [consumer, 'shop', ROOT_NAMESPACE]
        const rank = (namespace: string): number =>
          order.includes(namespace) ? order.indexOf(namespace) : order.length
        const [expected] = places
          .inventory()
          .virtualServices.filter((one) => hasRules(one, of) && isSeen(one.exportTo, consumer))
          .map((one) => ({ one, close: Math.max(...one.hosts.map(closeness)) }))
          .filter(({ close }) => close >= 0)
          .sort(
            (a, b) =>
              (a.close === b.close ? 0 : b.close - a.close) ||
              rank(a.one.ref.namespace) - rank(b.one.ref.namespace) ||
              a.one.createdMs - b.one.createdMs ||
              (`${a.one.ref.namespace}/${a.one.ref.name}` < `${b.one.ref.namespace}/${b.one.ref.name}` ? -1 : 1),
          )
        const actual = virtualServiceFor(snapshot, dialled(snapshot, 'web', 80, 'shop'), consumer, of)
        if (expected === undefined) none++
        else found++
        assert.deepEqual(actual?.source.ref ?? null, expected?.one.ref ?? null)
      },
    ),
    { numRuns: 800, seed: 3 },
  )
  assert.ok(found > 200 && none > 50, `${found} found, ${none} not: the property says little`)
})

/** What a rule says somewhere, marked so that it is known again. */
interface Marked {
  readonly own: boolean
  readonly at80: 'nothing' | 'other' | 'own'
}

function said({ own, at80 }: Marked, mark: number): Partial<PortPolicy> & { ports: (PortPolicy & { port: number })[] } {
  const empty = { balancing: null, pool: null, outliers: null, tls: null }
  const bounded = (maxConnections: number): PortPolicy => ({ ...empty, pool: pool({ maxConnections }) })
  const port = { port: 80, ...(at80 === 'own' ? bounded(mark + 1) : empty) }
  return { ...(own ? bounded(mark) : {}), ports: at80 === 'nothing' ? [] : [port] }
}

test('what DestinationRules say together is what the documented order gives', () => {
  const marked = fc.option(
    fc.record({ own: fc.boolean(), at80: fc.constantFrom<Marked['at80'][]>('nothing', 'other', 'own') }),
  )
  const wish = fc.record({
    ...object,
    host: fc.constantFrom(...HOSTS),
    callers: fc.constantFrom<(Readonly<Record<string, string>> | null)[]>(null, null, { version: 'v1' }, {}),
    policy: marked,
    subsets: fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b'), marked), { selector: ([name]) => name, maxLength: 2 }),
  })
  let bounded = 0
  fc.assert(
    fc.property(
      fc.array(wish, { maxLength: 6 }),
      fc.constantFrom(...CALLERS),
      fc.constantFrom(null, 'a', 'b'),
      fc.constantFrom(80, 81),
      (wishes, caller, subset, port) => {
        const places = mesh()
        wishes.forEach(({ policy, subsets, ...rest }, index) => {
          places.destinationRule({
            ...{ ...rest, name: `dr-${index}` },
            ...(policy && { policy: said(policy, 100 * index + 10) }),
            subsets: subsets.map(([name, one], at) => ({
              ...{ name, labels: { rule: String(index) } },
              policy: one && said(one, 100 * index + 20 + 10 * at),
            })),
          })
        })
        const consumer = caller?.namespace ?? 'shop'
        const { chosen, policy } = policyFor(places.snapshot(), { host: WEB, subset, port }, { consumer, caller })
        const expected = slowly(places.inventory().destinationRules, { caller, consumer, subset, port })
        if (expected.most !== null) bounded++
        assert.deepEqual([chosen?.labels ?? null, policy.pool.maxConnections], [expected.labels, expected.most])
      },
    ),
    { numRuns: 1500, seed: 4 },
  )
  assert.ok(bounded > 200, `${bounded} bounded: the property says little`)
})

function slowly(
  all: readonly DestinationRule[],
  asked: { caller: Workload | null; consumer: string; subset: string | null; port: number },
): { labels: Readonly<Record<string, string>> | null; most: number | null } {
  const { caller, consumer } = asked
  const counts = (rule: DestinationRule): boolean => {
    if (closeness(rule.host) < 0 || !isSeen(rule.exportTo, consumer)) return false
    if (rule.callers === null) return true
    if (caller?.namespace !== rule.ref.namespace) return false
    return Object.entries(rule.callers).every(([name, value]) => caller.labels[name] === value)
  }
  for (const namespace of [consumer, 'shop', ROOT_NAMESPACE]) {
    const own = all.filter((rule) => rule.ref.namespace === namespace && counts(rule))
    if (own.length === 0) continue
    const closest = Math.max(...own.map(({ host }) => closeness(host)))
    const rules = own
      .filter(({ host }) => closeness(host) === closest)
      .sort(
        (a, b) =>
          Number(a.callers === null) - Number(b.callers === null) ||
          a.createdMs - b.createdMs ||
          (a.ref.name < b.ref.name ? -1 : 1),
      )
    const chosen = rules.flatMap(({ subsets }) => subsets).find(({ name }) => name === asked.subset)
    const levels = [chosen?.policy ?? null, rules.find(({ policy }) => policy !== null)?.policy ?? null]
    for (const level of levels) {
      const atPort = level?.ports.find(({ port }) => port === asked.port)
      const here = atPort ?? (level?.pool == null ? null : level)
      if (here !== null) return { labels: chosen?.labels ?? null, most: here.pool?.maxConnections ?? null }
    }
    return { labels: chosen?.labels ?? null, most: null }
  }
  return { labels: null, most: null }
}

test('whatever weights a rule has, each destination gets its share in the end', () => {
  const weights = fc.array(fc.oneof(fc.constant(0), fc.nat(100), fc.nat(1_000_000)), { minLength: 2, maxLength: 6 })
  const draws = 4000
  fc.assert(
    fc.property(weights, fc.nat(), (given, seed) => {
      const total = given.reduce((sum, weight) => sum + weight, 0)
      fc.pre(total > 0)
      const all = given.map((weight, index) => ({ weight, index }))
      const counts = given.map(() => 0)
      const random = seeded(seed)
      for (let i = 0; i < draws; i++) counts[draw(all, random)!.index]!++
      given.forEach((weight, index) => {
        const share = weight / total
        const most = 5 * Math.sqrt(draws * share * (1 - share)) + 1 // hardly once in a million
        assert.ok(Math.abs(counts[index]! - draws * share) <= most, `${given.join(':')} gave ${counts.join(':')}`)
      })
    }),
    { numRuns: 60, seed: 8 },
  )
})
