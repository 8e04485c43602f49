// What is wrong with a LabelSelector. Pure. Source: meta/v1 LabelSelector.
import { isRecord } from '../object.ts'
import { labelFaults } from './metadata-rules.ts'
import type { Fault } from '../status.ts'

const OPERATORS = { In: true, NotIn: true, Exists: false, DoesNotExist: false } as const

/** What is wrong with a LabelSelector. Controllers hold every pod against it, so none may be stored that does not parse. */
export function selectorFaults(selector: unknown, field = 'spec.selector'): Fault[] {
  if (!isRecord(selector)) return [{ kind: 'required', field }]
  const faults = labelFaults(selector['matchLabels'] ?? undefined, `${field}.matchLabels`)
  const matchExpressions: unknown = selector['matchExpressions'] ?? []
  if (!Array.isArray(matchExpressions)) {
    return [
      ...faults,
      { kind: 'invalid', field: `${field}.matchExpressions`, shown: matchExpressions, text: 'must be a list' },
    ]
  }
  for (const [at, each] of matchExpressions.entries()) {
    const path = `${field}.matchExpressions[${at}]`
    const { key, operator, values } = isRecord(each) ? each : {}
    if (typeof key !== 'string') faults.push({ kind: 'required', field: `${path}.key` })
    if (!Object.hasOwn(OPERATORS, String(operator))) {
      faults.push({
        kind: 'invalid',
        field: `${path}.operator`,
        shown: operator,
        text: 'not a valid selector operator',
      })
    } else if (OPERATORS[operator as keyof typeof OPERATORS] && !(Array.isArray(values) && values.length > 0)) {
      faults.push({
        kind: 'required',
        field: `${path}.values`,
        text: "must be specified when `operator` is 'In' or 'NotIn'",
      })
    }
  }
  return faults
}
