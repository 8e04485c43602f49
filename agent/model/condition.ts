// Status conditions as they stand in an object and as they should: Weft's own are brought up to date, others' are left.
// Pure. Source: metav1.Condition; Istio's IstioCondition has the same fields.

import { CONDITION_TYPES, isWorthSaying, type Statement } from './verdict.ts'

/** A condition of an object's status, whoever wrote it, with whatever fields it has. */
export interface Condition {
  readonly type?: unknown
  readonly status?: unknown
  readonly reason?: unknown
  readonly message?: unknown
  readonly observedGeneration?: unknown
  readonly lastTransitionTime?: unknown
}

/** The moment of writing: which generation was judged, and the time of day in RFC 3339. */
export interface Writing {
  readonly generation: number
  readonly now: string
}

/** The conditions of a status, in order; none where there is no list of them. */
export function conditionsOf(status: unknown): readonly Condition[] {
  const list = (status as { conditions?: unknown } | null | undefined)?.conditions
  if (!Array.isArray(list)) return []
  return list.filter((entry) => typeof entry === 'object' && entry !== null) as Condition[]
}

/**
 * The whole list as it should stand, or null where it does already. Others' conditions keep their place and content. What
 * is no warning is written of `Accepted` and `Enforced` always, of the others only where an earlier warning stands to be
 * taken back; what is `Absent` is taken away.
 */
export function conditionsWith(
  standing: readonly Condition[],
  statements: readonly Statement[],
  writing: Writing,
): readonly Condition[] | null {
  const own = new Map(statements.map((statement) => [statement.type as unknown, statement]))
  const seen = new Set<unknown>()
  let isChanged = false
  const kept = standing.flatMap((condition): Condition[] => {
    const statement = own.get(condition.type)
    if (statement === undefined) return [condition]
    const isTwice = seen.has(condition.type)
    seen.add(condition.type)
    const next = isTwice || statement.status === 'Absent' ? [] : [updated(condition, statement, writing)]
    if (next[0] !== condition) isChanged = true
    return next
  })
  const missing = CONDITION_TYPES.flatMap((type) => {
    const statement = own.get(type)
    const isDue = statement !== undefined && !seen.has(type) && isWorthSaying(statement)
    return isDue ? [{ ...conditionOf(statement, writing), lastTransitionTime: writing.now }] : []
  })
  return isChanged || missing.length > 0 ? [...kept, ...missing] : null
}

/** The very same condition where it says what it should; the time of transition moves with the status alone. */
function updated(condition: Condition, statement: Statement, writing: Writing): Condition {
  const { status, reason, message } = statement
  const isSaid =
    condition.status === status &&
    condition.reason === reason &&
    condition.message === message &&
    Number(condition.observedGeneration) === writing.generation
  if (isSaid) return condition
  const isTransition = condition.status !== status || typeof condition.lastTransitionTime !== 'string'
  const lastTransitionTime = isTransition ? writing.now : condition.lastTransitionTime
  return { ...conditionOf(statement, writing), lastTransitionTime }
}

function conditionOf({ type, status, reason, message }: Statement, { generation }: Writing): Condition {
  return { type, status, reason, message, observedGeneration: generation }
}
