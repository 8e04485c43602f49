// Puts the policies for one pod's port together. CUSTOM policies come first, and others say what comes of them; what a DENY
// matches is refused; where there is an ALLOW, what none matches is refused too; an AUDIT only notes. Of several that match
// the oldest is named.

import { byAge } from '../host-index.ts'
import type { Consultation, Decision, DecisionTable, MatchedRule } from './decision.ts'
import type { Facts } from './facts.ts'
import { Look } from './look.ts'
import type { Action, AuthorizationPolicy } from './policy.ts'
import { CompiledRule } from './rule.ts'
import { RuleSet } from './rule-set.ts'

/** A policy whose conditions are compiled, once a snapshot: as many tables share it as there are pods that it is for. */
export interface CompiledPolicy {
  readonly source: AuthorizationPolicy
  readonly rules: readonly CompiledRule[]
}

/** Compiles the conditions of a policy. Throws where one cannot be meant, with its field and the reason. */
export function compilePolicy(source: AuthorizationPolicy): CompiledPolicy {
  const { action, ref, rules } = source
  return { source, rules: rules.map((rule, index) => new CompiledRule(rule, action, { policy: ref, rule: index })) }
}

/** The table of these policies. `policies` are all that are for one pod's port, in any order. */
export function tableOf(policies: readonly CompiledPolicy[]): DecisionTable {
  return new Table(policies)
}

type Outcome = Pick<Decision, 'denied' | 'allowedBy'>

const PASSED: Decision = { denied: null, allowedBy: null, audited: [], dryRun: null }
const UNMATCHED: Decision = { ...PASSED, denied: { by: null } }
const NOBODY: readonly Consultation[] = []

/** One for all tables of a thread: a decision is made at a stretch, and makes no other. */
const LOOK = new Look()

/** DENY and ALLOW policies, either in force or in dry run. */
class Verdicts {
  readonly #deny: RuleSet
  readonly #allow: RuleSet
  readonly #hasAllow: boolean

  constructor(policies: readonly CompiledPolicy[]) {
    const allowing = policies.filter(({ source }) => source.action === 'ALLOW')
    this.#deny = rulesOf(policies.filter(({ source }) => source.action === 'DENY'))
    this.#allow = rulesOf(allowing)
    this.#hasAllow = allowing.length > 0
  }

  of(look: Look): Decision {
    const isOpaque = look.request === null
    if (this.#deny.rules.length > 0) {
      const denying = isOpaque ? this.#deny.firstOpaque(look) : this.#deny.first(look)
      if (denying !== null) return denying.decision
    }
    if (!this.#hasAllow) return PASSED
    const allowing = isOpaque ? this.#allow.firstOpaque(look) : this.#allow.first(look)
    return allowing === null ? UNMATCHED : allowing.decision
  }
}

class Table implements DecisionTable {
  readonly policies: readonly AuthorizationPolicy[]
  readonly consults: boolean
  readonly looksAtServerName: boolean
  readonly #custom: RuleSet
  readonly #audit: RuleSet
  readonly #inForce: Verdicts
  /** Null: no policy is in dry run. */
  readonly #inDryRun: Verdicts | null
  readonly #providers = new Map<CompiledRule, string>()

  constructor(policies: readonly CompiledPolicy[]) {
    const sorted = [...policies].sort((a, b) => inOrder(a.source, b.source))
    const live = sorted.filter(({ source }) => !source.dryRun)
    const custom = live.filter(({ source }) => source.action === 'CUSTOM')
    const tried = sorted.filter(({ source }) => isTried(source))
    for (const { source, rules } of custom) for (const rule of rules) this.#providers.set(rule, source.provider)
    this.policies = sorted.map(({ source }) => source)
    this.consults = custom.length > 0
    this.looksAtServerName = sorted.some(({ rules }) => rules.some(looksAtServerName))
    this.#custom = rulesOf(custom)
    this.#audit = rulesOf(live.filter(({ source }) => source.action === 'AUDIT'))
    this.#inForce = new Verdicts(live)
    this.#inDryRun = tried.length === 0 ? null : new Verdicts(tried)
  }

  consultations(facts: Facts): readonly Consultation[] {
    if (this.#custom.rules.length === 0) return NOBODY
    return looking(facts, (look) => {
      const asked = new Map<string, MatchedRule>()
      for (const rule of look.request === null ? this.#custom.allOpaque(look) : this.#custom.all(look)) {
        const provider = this.#providers.get(rule) ?? ''
        if (!asked.has(provider)) asked.set(provider, rule.matched)
      }
      return asked.size === 0 ? NOBODY : [...asked].map(([provider, by]) => ({ provider, by }))
    })
  }

  decide(facts: Facts): Decision {
    LOOK.at(facts)
    try {
      const decision = this.#inForce.of(LOOK)
      if (this.#audit.rules.length === 0 && this.#inDryRun === null) return decision
      const audited = this.#audited(LOOK)
      const dryRun = this.#inDryRun === null ? null : outcomeOf(this.#inDryRun.of(LOOK))
      return audited.length === 0 && dryRun === null ? decision : { ...decision, audited, dryRun }
    } finally {
      LOOK.away()
    }
  }

  /** The first rule of each AUDIT policy that matches. */
  #audited(look: Look): readonly MatchedRule[] {
    if (this.#audit.rules.length === 0) return PASSED.audited
    const matching = look.request === null ? this.#audit.allOpaque(look) : this.#audit.all(look)
    const matched = matching.map((rule) => rule.matched)
    return matched.filter(({ policy }, at) => policy !== matched[at - 1]?.policy)
  }
}

function looking<T>(facts: Facts, see: (look: Look) => T): T {
  LOOK.at(facts)
  try {
    return see(LOOK)
  } finally {
    LOOK.away()
  }
}

function outcomeOf({ denied, allowedBy }: Decision): Outcome {
  return { denied, allowedBy }
}

function rulesOf(policies: readonly CompiledPolicy[]): RuleSet {
  return new RuleSet(policies.flatMap(({ rules }) => rules))
}

const ORDER: readonly Action[] = ['CUSTOM', 'DENY', 'ALLOW', 'AUDIT']

/** As they are looked at: by action, then the oldest first; those in dry run behind all others. */
function inOrder(a: AuthorizationPolicy, b: AuthorizationPolicy): number {
  return Number(a.dryRun) - Number(b.dryRun) || ORDER.indexOf(a.action) - ORDER.indexOf(b.action) || byAge(a, b)
}

/** In dry run there is nothing to tell of whom would be asked, or what would be noted. */
function isTried({ action, dryRun }: AuthorizationPolicy): boolean {
  return dryRun && (action === 'DENY' || action === 'ALLOW')
}

function looksAtServerName({ from, to, when }: CompiledRule): boolean {
  return [...from, ...to, when].flat().some(({ source }) => source.attribute.kind === 'connection.sni')
}
