// What a decision about a request costs, by how many policies there are: none, one, many of which one is for the pod, and
// many that all are, told apart by principal, by path, by the beginning of one, by host or by header. Prints nanoseconds a decision, the
// median of many rounds, and how much that is above one policy.

import { fileURLToPath } from 'node:url'
import { call, ruleOf, WEB, where } from '../../../agent/model/authorization/authorization.fixture.ts'
import { protectionOf } from '../../../agent/model/authorization/protection.ts'
import type { Rule } from '../../../agent/model/authorization/policy.ts'
import { type World, world } from '../../../agent/model/world.fixture.ts'
import { median } from '../work.ts'

/** How much is measured. */
export interface Effort {
  readonly rounds: number
  readonly decisions: number
  readonly policies: number
}

/** Median nanoseconds a decision, by situation. */
export type Costs = Readonly<Record<Situation, number>>

const PORT = 8080
const MINE = { selector: { app: 'web' } }
const OTHERS = { selector: { app: 'other' } }

const byPrincipal = (name: string): Rule => {
  return ruleOf({ from: [where('source.principal', [`cluster.local/ns/shop/sa/${name}`])] })
}
const byPath = (path: string): Rule => {
  return ruleOf({ from: [where('source.principal', ['*/sa/web'])], to: [where('request.path', [path])] })
}
const byHeader = (value: string): Rule => ruleOf({ when: [where({ kind: 'request.header', name: 'x-user' }, [value])] })
const byHost = (host: string): Rule => ruleOf({ to: [where('request.host', [host])] })

/** Policies of a world, the one that matches the youngest, so that none is spared for its sake. */
const SITUATIONS = {
  'no policy': (mesh) => mesh,
  'one policy': (mesh) => mesh.authorizationPolicy({ ...MINE, rules: [byPrincipal('web')] }),
  'many, one of them for the pod': (mesh, many) => {
    for (let i = 1; i < many; i++) mesh.authorizationPolicy({ ...OTHERS, rules: [byPrincipal(`a${i}`)] })
    return mesh.authorizationPolicy({ ...MINE, rules: [byPrincipal('web')] })
  },
  'many, by principal': (mesh, many) => {
    for (let i = 1; i < many; i++) mesh.authorizationPolicy({ ...MINE, rules: [byPrincipal(`a${i}`)] })
    return mesh.authorizationPolicy({ ...MINE, rules: [byPrincipal('web')] })
  },
  'many, by path': (mesh, many) => {
    for (let i = 1; i < many; i++) mesh.authorizationPolicy({ ...MINE, rules: [byPath(`/api/v1/${i}`)] })
    return mesh.authorizationPolicy({ ...MINE, rules: [byPath('/api/v1/products')] })
  },
  'many, by beginning of a path': (mesh, many) => {
    for (let i = 1; i < many; i++) mesh.authorizationPolicy({ ...MINE, rules: [byPath(`/api/v1/${i}/*`)] })
    return mesh.authorizationPolicy({ ...MINE, rules: [byPath('/api/v1/prod*')] })
  },
  'many, by host': (mesh, many) => {
    for (let i = 1; i < many; i++) mesh.authorizationPolicy({ ...MINE, rules: [byHost(`h${i}.example`)] })
    return mesh.authorizationPolicy({ ...MINE, rules: [byHost('reviews')] })
  },
  'many, by header': (mesh, many) => {
    for (let i = 1; i < many; i++) mesh.authorizationPolicy({ ...MINE, rules: [byHeader(`u${i}`)] })
    return mesh.authorizationPolicy({ ...MINE, rules: [byHeader('ann')] })
  },
  'many that deny, by path, and one that allows': (mesh, many) => {
    for (let i = 1; i < many; i++) mesh.authorizationPolicy({ ...MINE, action: 'DENY', rules: [byPath(`/admin/${i}`)] })
    return mesh.authorizationPolicy({ ...MINE, rules: [byPrincipal('web')] })
  },
} as const satisfies Record<string, (mesh: World, many: number) => World>

export type Situation = keyof typeof SITUATIONS

/** Measures all situations. Throws where a decision is not that the request is allowed. */
export function measure(effort: Effort): Costs {
  const costs = Object.entries(SITUATIONS).map(([name, fill]) => [name, costOf(fill, effort)])
  return Object.fromEntries(costs) as Costs
}

function costOf(fill: (mesh: World, many: number) => World, { rounds, decisions, policies }: Effort): number {
  const mesh = fill(world().pods('web-v1', { behind: [] }).pods('other-v1', { behind: [] }), policies)
  const snapshot = mesh.snapshot()
  const callee = mesh.pod('web-v1-1')
  // some targets, so that nothing is known of one text alone
  const calls = Array.from({ length: 16 }, (_, at) => ({
    ...call({ headers: { 'x-user': 'ann' }, target: `/api/v1/products${at % 2 === 0 ? '' : `?page=${at}`}` }),
    source: WEB,
  }))
  const took: number[] = []
  for (let round = 0; round < rounds; round++) {
    const began = performance.now()
    for (let i = 0; i < decisions; i++) {
      const { table } = protectionOf(snapshot, callee, PORT)
      const decision = table?.decide(calls[i & 15] as (typeof calls)[number])
      if (decision !== undefined && decision.denied !== null) throw new Error('what is allowed was denied')
    }
    took.push(((performance.now() - began) * 1e6) / decisions)
  }
  return median(took)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const effort = { rounds: 40, decisions: 20_000, policies: 1000 }
  const costs = measure(effort)
  process.stdout.write(`many: ${effort.policies}\n`)
  for (const [name, ns] of Object.entries(costs)) {
    const more = ns - costs['one policy']
    process.stdout.write(
      `${name}: ${ns.toFixed(0)} ns a decision, ${more < 0 ? '−' : '+'}${Math.abs(more).toFixed(0)} ns\n`,
    )
  }
}
