// Tells what each policy of a table made of a call, for whoever asks why. It asks what the table asks, one by one.

import type { ObjectRef } from '../workload.ts'
import type { CompiledCondition } from './condition.ts'
import type { DecisionTable } from './decision.ts'
import type { Facts } from './facts.ts'
import { Look } from './look.ts'
import type { Action } from './policy.ts'
import type { CompiledRule } from './rule.ts'
import { compilePolicy } from './table.ts'

/** What became of one rule. */
export interface RuleLook {
  /** Its place in the object, 0-based. */
  readonly rule: number
  /** The first field that did not hold (`from[0].source.principals`); null: it matches. */
  readonly failed: string | null
}

/** What one policy made of a call. */
export interface PolicyTrace {
  readonly policy: ObjectRef
  readonly action: Action
  readonly dryRun: boolean
  /** The first of its rules that matches, by its place in the object; null: none does. */
  readonly matched: number | null
  /** All up to that one. */
  readonly rules: readonly RuleLook[]
}

/** What each policy makes of a call, in the order in which they are looked at, whether or not one before it decided. */
export function traceOf(table: DecisionTable, facts: Facts): readonly PolicyTrace[] {
  const look = new Look()
  look.at(facts)
  return table.policies.map((source) => {
    const rules: RuleLook[] = []
    for (const rule of compilePolicy(source).rules) {
      const isMet = facts.request === null ? rule.isMetOpaque(look) : rule.isMet(look)
      rules.push({ rule: rule.matched.rule, failed: isMet ? null : failureOf(rule, source.action, look) })
      if (isMet) break
    }
    const matched = rules.find(({ failed }) => failed === null)?.rule ?? null
    return { policy: source.ref, action: source.action, dryRun: source.dryRun, matched, rules }
  })
}

/** Of a list of which one entry must hold, the last field of the entry that came farthest is named: it was the nearest miss. */
function failureOf({ from, to, when }: CompiledRule, action: Action, look: Look): string {
  const isOpaque = look.request === null
  if (isOpaque && action === 'ALLOW') {
    const asking = [...from, ...to, when].flat().find((one) => one.isOfRequest)
    if (asking !== undefined) return asking.source.field
  }
  const isMet = (one: CompiledCondition): boolean => (isOpaque && one.isOfRequest) || one.test(look)
  for (const entries of [from, to, [when]]) {
    const misses = entries.map((entry) => entry.findIndex((one) => !isMet(one)))
    if (misses.length === 0 || misses.includes(-1)) continue
    const farthest = Math.max(...misses)
    const entry = entries[misses.indexOf(farthest)]
    return entry?.[farthest]?.source.field ?? ''
  }
  return ''
}
