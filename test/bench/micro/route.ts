// What the decision about a request costs, by the size of the mesh: services, each with a VirtualService of several rules of
// which the last matches. Prints microseconds a decision, the median of many rounds.

import { request, seeded } from '../../../agent/model/request.fixture.ts'
import { routeHttp } from '../../../agent/model/route.ts'
import { dialled, match, to, world } from '../../../agent/model/world.fixture.ts'
import { median } from '../work.ts'

const ROUNDS = 40
const DECISIONS = 20_000
const RULES = 10
const FLAG = { name: 'flag', match: { kind: 'exact', value: 'on' } } as const

for (const services of [10, 1000]) {
  const mesh = world()
  for (let service = 0; service < services; service++) {
    const name = `s${service}`
    mesh.service(name).pods(name, { count: 10 })
    mesh.virtualService({
      hosts: [name],
      http: Array.from({ length: RULES }, (_, rule) => ({
        name: `rule-${rule}`,
        matches: [match({ uri: { kind: 'prefix', value: `/r${rule}/` }, headers: rule % 2 === 0 ? [] : [FLAG] })],
        destinations: [to(name, { weight: 90 }), to(name, { weight: 10 })],
      })),
    })
  }
  const caller = mesh.pods('load', { behind: [] }).pod('load-1')
  const snapshot = mesh.snapshot()
  const random = seeded(7)
  const targets = Array.from({ length: services }, (_, index) => dialled(snapshot, `s${index}`))
  const asked = { request: request({ target: `/r${RULES - 1}/x?y=z`, headers: { flag: 'on' } }), caller }
  const rounds: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now()
    for (let i = 0; i < DECISIONS; i++) {
      const route = routeHttp(snapshot, targets[i % services] as (typeof targets)[number], asked, random)
      if (route.kind !== 'forward') throw new Error(`no route: ${route.kind}`)
    }
    rounds.push(((performance.now() - began) * 1e3) / DECISIONS)
  }
  process.stdout.write(`${services} services of ${RULES} rules: ${median(rounds).toFixed(3)} µs a decision\n`)
}
