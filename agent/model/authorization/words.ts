// How a rule, and what comes of a decision, is named in one line: in records, and in what commands tell.

import type { Decision, MatchedRule } from './decision.ts'

/** `NAMESPACE/NAME[RULE]`. */
export function ruleText({ policy, rule }: MatchedRule): string {
  return `${policy.namespace}/${policy.name}[${rule}]`
}

/** `denied by shop/a[0]`, `denied: no rule matches`, `allowed by shop/b[2]`, `allowed`. */
export function verdictText({ denied, allowedBy }: Pick<Decision, 'denied' | 'allowedBy'>): string {
  if (denied !== null) return denied.by === null ? 'denied: no rule matches' : `denied by ${ruleText(denied.by)}`
  return allowedBy === null ? 'allowed' : `allowed by ${ruleText(allowedBy)}`
}
