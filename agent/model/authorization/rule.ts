// One rule of a policy, compiled: its whole test, and as much of it as is known of a connection before its first request.

import type { Decision, MatchedRule } from './decision.ts'
import { type CompiledCondition, compileCondition } from './condition.ts'
import type { Look } from './look.ts'
import type { Action, Rule } from './policy.ts'

/** Whether a rule matches, by what is fixed of a connection: it cannot, it depends on the request, it does whatever comes. */
export const NEVER = 0
export const PERHAPS = 1
export const ALWAYS = 2
export type Outlook = typeof NEVER | typeof PERHAPS | typeof ALWAYS

type Entry = readonly CompiledCondition[]

export class CompiledRule {
  /** What is told of it where it matches. */
  readonly matched: MatchedRule
  /** What comes of it, where it is the one that decides and nothing else is to be told: made once. */
  readonly decision: Decision
  readonly from: readonly Entry[]
  readonly to: readonly Entry[]
  readonly when: Entry
  readonly #isGiving: boolean
  readonly #isOfRequest: boolean

  /** Throws where a condition cannot be meant. */
  constructor({ from, to, when }: Rule, action: Action, matched: MatchedRule) {
    this.#isGiving = action === 'ALLOW'
    const compiled = (conditions: Rule['when']): Entry => {
      return conditions.map((condition) => compileCondition(condition, !this.#isGiving))
    }
    this.matched = matched
    this.decision = {
      denied: action === 'DENY' ? { by: matched } : null,
      allowedBy: action === 'ALLOW' ? matched : null,
      audited: [],
      dryRun: null,
    }
    this.from = from.map(compiled)
    this.to = to.map(compiled)
    this.when = compiled(when)
    this.#isOfRequest = [...this.from, ...this.to, this.when].flat().some((one) => one.isOfRequest)
  }

  /** Whether it matches a request. */
  isMet(look: Look): boolean {
    return areMet(this.when, look) && isOneMet(this.from, look) && isOneMet(this.to, look)
  }

  /**
   * Whether it matches a connection whose bytes are not read. What gives something does not, where it asks for a request at
   * all; of what takes something away whatever is asked of requests is left out, which leaves more that it matches (Istio).
   */
  isMetOpaque(look: Look): boolean {
    if (this.#isGiving && this.#isOfRequest) return false
    const ofConnection = (entry: Entry): Entry => entry.filter((one) => !one.isOfRequest)
    return (
      areMet(ofConnection(this.when), look) &&
      isOneMet(this.from.map(ofConnection), look) &&
      isOneMet(this.to.map(ofConnection), look)
    )
  }

  /** What can be said of it for all requests of the source and destination that are looked at. */
  outlook(look: Look): Outlook {
    const when = outlookOf(this.when, look)
    if (when === NEVER) return NEVER
    const from = bestOutlook(this.from, look)
    if (from === NEVER) return NEVER
    return Math.min(when, from, bestOutlook(this.to, look)) as Outlook
  }
}

function areMet(entry: Entry, look: Look): boolean {
  for (let i = 0; i < entry.length; i++) if (!(entry[i] as CompiledCondition).test(look)) return false
  return true
}

function isOneMet(entries: readonly Entry[], look: Look): boolean {
  if (entries.length === 0) return true
  for (let i = 0; i < entries.length; i++) if (areMet(entries[i] as Entry, look)) return true
  return false
}

function outlookOf(entry: Entry, look: Look): Outlook {
  let outlook: Outlook = ALWAYS
  for (const { isFixed, test } of entry) {
    if (!isFixed) outlook = PERHAPS
    else if (!test(look)) return NEVER
  }
  return outlook
}

function bestOutlook(entries: readonly Entry[], look: Look): Outlook {
  if (entries.length === 0) return ALWAYS
  let best: Outlook = NEVER
  for (const entry of entries) {
    const outlook = outlookOf(entry, look)
    if (outlook === ALWAYS) return ALWAYS
    if (outlook > best) best = outlook
  }
  return best
}
