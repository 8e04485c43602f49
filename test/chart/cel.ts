// A ValidatingAdmissionPolicy over one request, as Kubernetes documents it: does it match, and which message refuses it.

import { celEnv, parse, plan, type CelInput } from '@bufbuild/cel'
import { strings } from '@bufbuild/cel/ext'

export interface Request {
  readonly operation: 'CREATE' | 'UPDATE'
  /** Plural, or plural/subresource. */
  readonly resource: string
  readonly group?: string
  readonly user: string
  readonly extra?: Readonly<Record<string, readonly string[]>>
  readonly object: object
  readonly oldObject?: object | null
}

interface Expression {
  readonly name?: string
  readonly expression: string
}

export interface Policy {
  readonly spec: {
    readonly matchConstraints: { readonly resourceRules: readonly Rule[] }
    readonly matchConditions?: readonly Expression[]
    readonly variables?: readonly Required<Expression>[]
    readonly validations: readonly {
      readonly expression: string
      readonly message: string
      readonly messageExpression?: string
    }[]
  }
}

interface Rule {
  readonly apiGroups: readonly string[]
  readonly operations: readonly string[]
  readonly resources: readonly string[]
}

/** JSON as CEL's values: an object is a map, and what is undefined is not there. */
function celOf(value: unknown): CelInput {
  if (Array.isArray(value)) return value.map(celOf)
  if (typeof value !== 'object' || value === null) return value as CelInput
  const entries = Object.entries(value as Record<string, unknown>).filter(([, one]) => one !== undefined)
  return new Map(entries.map(([name, one]) => [name, celOf(one)]))
}

const env = celEnv({ funcs: strings })

function evaluated(expression: string, bindings: Record<string, CelInput>): CelInput {
  const result = plan(env, parse(expression))(bindings)
  if (result instanceof Error) throw new Error(`${expression}: ${result.message}`)
  return result
}

function rules({ resourceRules }: Policy['spec']['matchConstraints'], request: Request): boolean {
  const [plural = '', sub] = request.resource.split('/')
  const isMeant = (one: string): boolean => one === request.resource || (sub !== undefined && one === `${plural}/*`)
  return resourceRules.some(
    ({ apiGroups, operations, resources }) =>
      apiGroups.includes(request.group ?? '') && operations.includes(request.operation) && resources.some(isMeant),
  )
}

/** Null where the policy lets the request pass or is not about it; else the message, as the API server words it. */
export function refusal({ spec }: Policy, request: Request): string | null {
  if (!rules(spec.matchConstraints, request)) return null
  const [, subResource] = request.resource.split('/')
  const asked = {
    operation: request.operation,
    userInfo: { username: request.user, ...(request.extra === undefined ? {} : { extra: request.extra }) },
    ...(subResource === undefined ? {} : { subResource }),
  }
  const variables = new Map<string, CelInput>()
  const bindings = {
    object: celOf(request.object),
    oldObject: celOf(request.oldObject ?? null),
    request: celOf(asked),
    variables: variables as CelInput,
  }
  if (!(spec.matchConditions ?? []).every(({ expression }) => evaluated(expression, bindings) === true)) return null
  for (const { name, expression } of spec.variables ?? []) variables.set(name, evaluated(expression, bindings))
  const failed = spec.validations.find(({ expression }) => evaluated(expression, bindings) !== true)
  if (failed === undefined) return null
  if (failed.messageExpression === undefined) return failed.message
  const message = evaluated(failed.messageExpression, bindings)
  if (typeof message !== 'string') throw new Error(`${failed.messageExpression}: is no text`)
  return message
}
