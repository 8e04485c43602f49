// What policies said of requests and connections, as series and as parts of their records.

import type { Decision, MatchedRule } from '../model/authorization/decision.ts'
import { ruleText, verdictText } from '../model/authorization/words.ts'
import type { FailureCode, MeshError } from '../model/failure.ts'
import { type Cell, GONE_MS } from './cells.ts'
import type { OutcomeFields } from './record.ts'
import type { Counters, Sample } from './series.ts'

/** Policies with series of their own; those that come later share one whose labels say `other`. */
export const POLICIES_LIMIT = 2000

/** Label `reason` of weft_authz_denied_total. */
const REASONS: Partial<Record<FailureCode, string>> = {
  UNAUTHENTICATED: 'token',
  AUTHORIZER_DENIED: 'authorizer',
  AUTHORIZER_FAILED: 'authorizer_failed',
  BODY_TOO_LARGE: 'authorizer_failed',
}

/** What was judged, and what came of it. */
export interface Judged {
  readonly failure: MeshError | null
  readonly decision: Decision | null
}

type PolicySeries = 'weft_authz_denied_total' | 'weft_authz_dry_run_total' | 'weft_authz_audited_total'

/** What one policy did. */
interface Deeds {
  readonly policy: Named
  /** By series, and the label that follows its name. */
  readonly cells: Map<string, Cell & { readonly name: PolicySeries; readonly more: readonly string[] }>
  goneSinceMs: number | null
}

type Named = Pick<MatchedRule['policy'], 'namespace' | 'name'>

/** Stands for what no rule said, and for policies beyond the bound. */
const NO_POLICY: Named = { namespace: '', name: '' }
const OTHERS: Named = { namespace: 'other', name: 'other' }

/** Counts by policy. */
export class Judgements {
  readonly #deeds = new Map<string, Deeds>()

  count({ failure, decision }: Judged): void {
    if (failure !== null) this.#denied(failure)
    if (decision === null || isPlain(decision)) return
    for (const { policy } of decision.audited) this.#add('weft_authz_audited_total', policy)
    const { dryRun } = decision
    if (dryRun === null) return
    const by = dryRun.denied === null ? dryRun.allowedBy : dryRun.denied.by
    this.#add('weft_authz_dry_run_total', by?.policy ?? NO_POLICY, dryRun.denied === null ? 'allowed' : 'denied')
  }

  /** Everything as plain data. Series of policies that are gone (`isThere` says no) are let go after GONE_MS. */
  dump(nowMs: number, isThere: (policy: Named) => boolean): Counters {
    const out: Sample[] = []
    for (const [key, deeds] of this.#deeds) {
      const { policy, cells, goneSinceMs } = deeds
      const stays = policy === NO_POLICY || policy === OTHERS || isThere(policy)
      if (stays) deeds.goneSinceMs = null
      else if (goneSinceMs === null) deeds.goneSinceMs = nowMs
      else if (nowMs - goneSinceMs > GONE_MS) {
        this.#deeds.delete(key)
        continue
      }
      for (const { name, more, value } of cells.values()) {
        out.push({ name, labels: [policy.namespace, policy.name, ...more], value })
      }
    }
    return out
  }

  #denied({ code, by }: MeshError): void {
    const reason = code === 'DENIED' ? (by === null ? 'no_rule' : 'rule') : REASONS[code]
    if (reason !== undefined) this.#add('weft_authz_denied_total', by?.policy ?? NO_POLICY, reason)
  }

  #add(name: PolicySeries, policy: Named, ...more: string[]): void {
    const { cells } = this.#deedsOf(policy)
    const key = `${name} ${more.join(' ')}`
    let cell = cells.get(key)
    if (cell === undefined) cells.set(key, (cell = { name, more, value: 0 }))
    cell.value++
  }

  #deedsOf(policy: Named): Deeds {
    const key = `${policy.namespace}/${policy.name}`
    const known = this.#deeds.get(key)
    if (known !== undefined) return known
    const { namespace, name } = policy
    const isShared = policy === NO_POLICY || policy === OTHERS
    if (!isShared && this.#deeds.size >= POLICIES_LIMIT) return this.#deedsOf(OTHERS)
    const deeds: Deeds = { policy: isShared ? policy : { namespace, name }, cells: new Map(), goneSinceMs: null }
    this.#deeds.set(key, deeds)
    return deeds
  }
}

/** Whether there is nothing to tell of it beyond that it allows. */
export function isPlain({ audited, dryRun }: Decision): boolean {
  return audited.length === 0 && dryRun === null
}

/** What records say of it, where there is something to say. */
export function judgementFields({ failure, decision }: Judged): Partial<OutcomeFields> {
  const by = failure?.by ?? null
  return {
    ...(by === null ? {} : { weft_policy: `${by.policy.namespace}/${by.policy.name}`, weft_rule: by.rule }),
    ...(decision === null || decision.audited.length === 0 ? {} : { weft_audited: decision.audited.map(ruleText) }),
    ...(decision === null || decision.dryRun === null ? {} : { weft_dry_run: verdictText(decision.dryRun) }),
  }
}
