// One ValidatingAdmissionPolicy, compiled, and its judgement of a write. Pure.
// Source: Kubernetes documentation "Validating Admission Policy".
import { isRecord } from '../object.ts'
import { groupVersion } from '../resources.ts'
import { ExpressionError, compile, toCel } from './expression.ts'
import type { Attributes } from './attributes.ts'
import type { Bindings, Expression } from './expression.ts'
import type { KubeObject } from '../object.ts'
import type { Fault } from '../status.ts'

const NAMES = ['object', 'oldObject', 'request', 'namespaceObject']
const COMPOSED = [...NAMES, 'variables']

interface Validation {
  readonly test: Expression
  readonly message: string | undefined
  readonly messageExpression: Expression | undefined
  readonly reason: string
}

export interface Policy {
  readonly name: string
  readonly constraints: unknown
  /** What an expression that fails means. */
  readonly isFailClosed: boolean
  readonly conditions: readonly Expression[]
  readonly variables: readonly { readonly name: string; readonly value: Expression }[]
  readonly validations: readonly Validation[]
}

/** What a policy has against a write. */
export interface Denial {
  readonly message: string
  readonly reason: string
}

/** A policy and what is wrong with it: expressions that do not compile, what this API does not serve. */
export function readPolicy({ metadata, spec }: KubeObject): { policy: Policy; faults: Fault[] } {
  const faults: Fault[] = []
  const composed: string[] = []
  const given = isRecord(spec) ? spec : {}
  const expression = (text: unknown, field: string, names: readonly string[]): Expression => {
    try {
      return compile(text, names, composed)
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error
      if (text === undefined || text === '') faults.push({ kind: 'required', field })
      else faults.push({ kind: 'invalid', field, shown: text, text: error.message })
      return NEVER
    }
  }
  if (given['paramKind'] !== undefined) {
    faults.push({ kind: 'forbidden', field: 'spec.paramKind', text: 'parameters are not served by this API' })
  }
  const conditions = listOf(given['matchConditions']).map((each, at) =>
    expression(each['expression'], `spec.matchConditions[${at}].expression`, NAMES),
  )
  const variables = listOf(given['variables']).map((each, at) => {
    const value = expression(each['expression'], `spec.variables[${at}].expression`, COMPOSED)
    const name = String(each['name'] ?? '')
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      const text = 'name is not a valid CEL identifier'
      faults.push({ kind: 'invalid', field: `spec.variables[${at}].name`, shown: name, text })
    }
    composed.push(name)
    return { name, value }
  })
  const validations = listOf(given['validations']).map((each, at): Validation => {
    const field = `spec.validations[${at}]`
    const { message, messageExpression, reason } = each
    return {
      test: expression(each['expression'], `${field}.expression`, COMPOSED),
      message: typeof message === 'string' && message !== '' ? message : undefined,
      messageExpression: messageExpression
        ? expression(messageExpression, `${field}.messageExpression`, COMPOSED)
        : undefined,
      reason: typeof reason === 'string' && reason !== '' ? reason : 'Invalid',
    }
  })
  if (listOf(given['matchConstraints']?.resourceRules).length === 0) {
    faults.push({ kind: 'required', field: 'spec.matchConstraints.resourceRules' })
  }
  if (validations.length === 0 && listOf(given['auditAnnotations']).length === 0) {
    faults.push({
      kind: 'required',
      field: 'spec.validations',
      text: 'validations or auditAnnotations must be contain at least one item',
    })
  }
  const isFailClosed = given['failurePolicy'] !== 'Ignore'
  const name = metadata.name
  return {
    policy: { name, constraints: given['matchConstraints'], isFailClosed, conditions, variables, validations },
    faults,
  }
}

const NEVER: Expression = { text: '', run: () => true }

/** What the policy has against the write: nothing where it is content, or where its conditions leave the write out. */
export function judge(policy: Policy, bindings: Bindings): Denial[] {
  const failed = (what: Expression, error: unknown): Denial[] => {
    if (!(error instanceof ExpressionError)) throw error
    const message = `expression '${what.text}' resulted in error: ${error.message}`
    return policy.isFailClosed ? [{ message, reason: 'Invalid' }] : []
  }
  // one condition that says no outweighs those that fail
  let doubt: Denial[] | undefined
  for (const condition of policy.conditions) {
    try {
      if (condition.run(bindings) !== true) return []
    } catch (error) {
      doubt ??= failed(condition, error)
    }
  }
  if (doubt !== undefined) return doubt
  const all = { ...bindings, variables: composedOf(policy, bindings) }
  return policy.validations.flatMap(({ test, ...validation }) => {
    try {
      if (test.run(all) === true) return []
    } catch (error) {
      return failed(test, error)
    }
    return [{ message: messageOf(test, validation, all), reason: validation.reason }]
  })
}

function messageOf(test: Expression, { message, messageExpression }: Omit<Validation, 'test'>, all: Bindings): string {
  const plain = message ?? `failed expression: ${test.text.trim()}`
  try {
    const told = messageExpression?.run(all)
    return typeof told === 'string' && told.trim() !== '' && !told.includes('\n') ? told : plain
  } catch {
    return plain
  }
}

/** Each sees those before it. One that fails is not there: it concerns only who asks. */
function composedOf({ variables }: Policy, bindings: Bindings): unknown {
  const known = new Map<string, unknown>()
  for (const { name, value } of variables) {
    try {
      known.set(name, value.run({ ...bindings, variables: new Map(known) }))
    } catch {
      continue
    }
  }
  return known
}

/** What the expressions of every policy see of a write. */
export function bindingsOf(attributes: Attributes, namespace: KubeObject | undefined, uid: string): Bindings {
  const { object, oldObject } = attributes
  return {
    object: toCel(object),
    oldObject: toCel(oldObject),
    namespaceObject: toCel(namespace),
    request: toCel(requestOf(attributes, uid)),
  }
}

/** As an AdmissionRequest: what is empty is left out, but for dryRun. */
function requestOf(attributes: Attributes, uid: string): Record<string, unknown> {
  const { operation, type, version, subresource, namespace, name, object, oldObject, writer, dryRun } = attributes
  const { apiVersion = groupVersion(type.group, version), kind = type.kind } = object ?? oldObject ?? {}
  const at = apiVersion.lastIndexOf('/')
  const gvk = { group: at < 0 ? '' : apiVersion.slice(0, at), version: apiVersion.slice(at + 1), kind }
  const resource = { group: type.group, version, resource: type.plural }
  const below = subresource === undefined ? {} : { subResource: subresource, requestSubResource: subresource }
  const { username, uid: userId, groups, extra } = writer.user
  return {
    ...{ uid, kind: gvk, requestKind: gvk, resource, requestResource: resource, ...below },
    ...(name === '' ? {} : { name }),
    ...(namespace === undefined ? {} : { namespace }),
    operation,
    userInfo: { username, ...(userId === undefined ? {} : { uid: userId }), groups, ...(extra ? { extra } : {}) },
    dryRun,
  }
}

function listOf(value: unknown): Record<string, any>[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}
