// Rules of kinds that concern a whole cluster: priority classes, disruption budgets, bindings of admission policies. Pure.
// Source: Kubernetes API reference 1.32 PriorityClass, PodDisruptionBudget, ValidatingAdmissionPolicyBinding.
import { isRecord } from '../object.ts'
import { selectorFaults } from './selector-rules.ts'
import type { KubeObject } from '../object.ts'
import type { Fault } from '../status.ts'

/** Highest value of a class that a user makes; those of the system are above. */
const HIGHEST_USER_PRIORITY = 1_000_000_000
const SYSTEM_PREFIX = 'system-'
const ACTIONS = ['Audit', 'Deny', 'Warn']

export function priorityFaults({ metadata, value }: KubeObject, previous: KubeObject | null): Fault[] {
  if (!Number.isInteger(value)) return [{ kind: 'required', field: 'value' }]
  if (previous && previous['value'] !== value) return [{ kind: 'immutable', field: 'value', shown: value }]
  const isOfSystem = metadata.name.startsWith(SYSTEM_PREFIX)
  if (isOfSystem || Number(value) <= HIGHEST_USER_PRIORITY) return []
  const text = `maximum allowed value of a user defined priority is ${HIGHEST_USER_PRIORITY}`
  return [{ kind: 'forbidden', field: 'value', text }]
}

export function budgetFaults({ spec }: KubeObject): Fault[] {
  const { minAvailable, maxUnavailable, selector } = isRecord(spec) ? spec : {}
  const faults: Fault[] = selector === undefined ? [] : selectorFaults(selector)
  if (minAvailable !== undefined && maxUnavailable !== undefined) {
    const text = 'minAvailable and maxUnavailable cannot be both set'
    faults.push({ kind: 'invalid', field: 'spec', shown: { minAvailable, maxUnavailable }, text })
  }
  for (const [name, amount] of Object.entries({ minAvailable, maxUnavailable })) {
    const isGood = amount === undefined || (Number.isInteger(amount) && amount >= 0) || /^\d+%$/.test(String(amount))
    const text = 'must be a whole number, 0 or more, or a percentage'
    if (!isGood) faults.push({ kind: 'invalid', field: `spec.${name}`, shown: amount, text })
  }
  return faults
}

export function policyBindingFaults({ spec }: KubeObject): Fault[] {
  const { policyName, validationActions, paramRef } = isRecord(spec) ? spec : {}
  const faults: Fault[] = []
  if (!policyName) faults.push({ kind: 'required', field: 'spec.policyName' })
  if (paramRef !== undefined) {
    faults.push({ kind: 'forbidden', field: 'spec.paramRef', text: 'parameters are not served by this API' })
  }
  const actions: unknown[] = Array.isArray(validationActions) ? validationActions : []
  if (actions.length === 0) faults.push({ kind: 'required', field: 'spec.validationActions' })
  for (const [at, action] of actions.entries()) {
    const field = `spec.validationActions[${at}]`
    const text = `supported values: ${ACTIONS.map((each) => JSON.stringify(each)).join(', ')}`
    if (!ACTIONS.includes(String(action))) faults.push({ kind: 'unsupported', field, shown: action, text })
    else if (actions.indexOf(action) < at) faults.push({ kind: 'duplicate', field, shown: action })
  }
  if (actions.includes('Deny') && actions.includes('Warn')) {
    const text =
      'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)'
    faults.push({ kind: 'invalid', field: 'spec.validationActions', shown: actions, text })
  }
  return faults
}
