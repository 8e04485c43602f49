// Why a rule of a VirtualService decides about a request, or does not: the walk of http-rules.ts, told step by step.

import { type FlowFacts, flowConditionsOf } from '../flow-match.ts'
import { firstFlow } from '../flow-route.ts'
import { delegateOf } from '../http/rules.ts'
import type { Asked } from '../http/route.ts'
import { conditionsOf } from '../http/match.ts'
import type { CompiledFlowRule, CompiledRule, CompiledVirtualService, Snapshot } from '../snapshot.ts'
import type { ObjectRef } from '../workload.ts'

/** One rule as it was looked at. */
export interface RuleTrace {
  readonly object: ObjectRef
  /** Path in the object: `spec.http[2]`. */
  readonly field: string
  readonly name: string
  /**
   * `decides`; `delegates`: it matches, and names another VirtualService, whose rules come next; `failed`: it does not match;
   * `behind`: a rule before it has decided.
   */
  readonly verdict: 'decides' | 'delegates' | 'failed' | 'behind'
  /** Of each entry of its `match` that failed: the first field that did; of what a rule delegates to: why that is nothing. */
  readonly failed: readonly { readonly field: string; readonly why: string }[]
}

/** All rules of a VirtualService in the order in which they are looked at, those that it delegates to in their place. */
export function traceRules(snapshot: Snapshot, root: CompiledVirtualService, asked: Asked): readonly RuleTrace[] {
  const traces: RuleTrace[] = []
  const walk = ({ http, source: { ref } }: CompiledVirtualService, isRoot: boolean, decided: boolean): boolean => {
    let isDecided = decided
    for (const [index, compiled] of http.entries()) {
      const place = { object: ref, field: `spec.http[${index}]`, name: compiled.rule.name }
      if (isDecided) {
        traces.push({ ...place, verdict: 'behind', failed: [] })
        continue
      }
      const failed = failuresOf(compiled, asked)
      const delegate = compiled.rule.instead?.kind === 'delegate' ? compiled.rule.instead : null
      if (failed !== null) traces.push({ ...place, verdict: 'failed', failed })
      else if (delegate === null) {
        traces.push({ ...place, verdict: 'decides', failed: [] })
        isDecided = true
      } else {
        const to = isRoot ? delegateOf(snapshot, delegate, ref.namespace) : null
        const name = `VirtualService ${delegate.namespace}/${delegate.name}`
        const why = isRoot
          ? `${name} is not there, not visible, or has hosts of its own`
          : `who is delegated to delegates no further: not to ${name}`
        traces.push({ ...place, verdict: 'delegates', failed: to === null ? [{ field: 'delegate', why }] : [] })
        if (to !== null) isDecided = walk(to, false, false)
      }
    }
    return isDecided
  }
  walk(root, true, false)
  return traces
}

/** All rules for connections of a VirtualService in the order in which they are looked at. */
export function traceFlows({ tls, tcp, source }: CompiledVirtualService, asked: FlowFacts): readonly RuleTrace[] {
  const decides = firstFlow({ tls, tcp }, asked)
  let isDecided = false
  const traceOf = (compiled: CompiledFlowRule, field: string): RuleTrace => {
    const place = { object: source.ref, field, name: '' }
    if (isDecided) return { ...place, verdict: 'behind', failed: [] }
    isDecided = compiled === decides
    if (isDecided) return { ...place, verdict: 'decides', failed: [] }
    const failed = compiled.rule.matches.map((match, index) => {
      const miss = flowConditionsOf(match).find(({ test }) => !test(asked))
      return { field: `match[${index}].${miss?.field ?? 'sniHosts'}`, why: 'does not match' }
    })
    return { ...place, verdict: 'failed', failed }
  }
  return [
    ...tls.map((compiled, index) => traceOf(compiled, `spec.tls[${index}]`)),
    ...tcp.map((compiled, index) => traceOf(compiled, `spec.tcp[${index}]`)),
  ]
}

/** Why no entry holds, the first field of each; null where one does, or there is none. */
function failuresOf({ matches }: CompiledRule, { request, caller }: Asked): RuleTrace['failed'] | null {
  const failed: { field: string; why: string }[] = []
  for (const [index, { match }] of matches.entries()) {
    const miss = conditionsOf(match).find(({ test }) => !test(request, caller))
    if (miss === undefined) return null
    failed.push({ field: `match[${index}].${miss.field}`, why: 'does not match' })
  }
  return failed.length > 0 ? failed : null
}
