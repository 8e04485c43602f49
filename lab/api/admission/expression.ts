// CEL expressions of admission policies: compiled when a policy is made, run on plain JSON. Pure.
// Source: Kubernetes documentation "Common Expression Language in Kubernetes"; the CEL language definition.
// Not there: optional fields (`?.`, `orValue`), the authorizer, and Kubernetes' own libraries but for find and findAll.
import { CelScalar, celEnv, celMethod, isCelError, listType, parse, plan } from '@bufbuild/cel'
import { strings } from '@bufbuild/cel/ext'
import { isRecord } from '../object.ts'

/** What an expression may name. */
export type Bindings = Readonly<Record<string, unknown>>

export interface Expression {
  readonly text: string
  /** The value, numbers as CEL has them. Throws ExpressionError. */
  run(bindings: Bindings): unknown
}

/** Why an expression does not compile, or what became of it as it ran. */
export class ExpressionError extends Error {}

/** Names that stand for types. */
const TYPES = [
  'bool',
  'bytes',
  'double',
  'duration',
  'int',
  'list',
  'map',
  'null_type',
  'string',
  'timestamp',
  'type',
  'uint',
]
const TYPE_PACKAGE = 'google'
/** Longest text of an expression, characters. */
export const EXPRESSION_LIMIT = 16 * 1024

const FIND = celMethod('find', CelScalar.STRING, [CelScalar.STRING], CelScalar.STRING, function (pattern) {
  return new RegExp(pattern, 'u').exec(this)?.[0] ?? ''
})
const FIND_ALL = celMethod(
  'findAll',
  CelScalar.STRING,
  [CelScalar.STRING],
  listType(CelScalar.STRING),
  function (pattern) {
    return this.match(new RegExp(pattern, 'gu')) ?? []
  },
)
const ENVIRONMENT = celEnv({ funcs: [...strings, FIND, FIND_ALL] })

/** Compiles an expression that may name `variables`, and `variables.X` for each of `composed`. Throws ExpressionError. */
export function compile(text: unknown, variables: readonly string[], composed: readonly string[] = []): Expression {
  if (typeof text !== 'string' || text.trim() === '') throw new ExpressionError('an expression is required')
  if (text.length > EXPRESSION_LIMIT) throw new ExpressionError(`longer than ${EXPRESSION_LIMIT} characters`)
  let run: ReturnType<typeof plan>
  try {
    const parsed = parse(text)
    new Walk(variables, composed).check(parsed.expr, [])
    run = plan(ENVIRONMENT, parsed)
  } catch (error) {
    if (error instanceof ExpressionError) throw error
    throw new ExpressionError(`compilation failed: ${(error as Error).message}`)
  }
  return {
    text,
    run(bindings) {
      const value = run(bindings as Parameters<typeof run>[0])
      if (isCelError(value)) throw new ExpressionError(value.message)
      return value
    },
  }
}

/** Plain JSON as CEL takes it: whole numbers are ints, and what is not there is null. */
export function toCel(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (Array.isArray(value)) return value.map(toCel)
  if (!isRecord(value)) return value ?? null
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  return new Map(members.map(([name, member]) => [name, toCel(member)]))
}

/** Looks at each name of an expression: a policy that names what nobody gives is refused, not found out when it runs. */
class Walk {
  readonly #variables: readonly string[]
  readonly #composed: readonly string[]

  constructor(variables: readonly string[], composed: readonly string[]) {
    this.#variables = variables
    this.#composed = composed
  }

  /** `node` is a cel.expr.Expr; `local` are the names that comprehensions around it bind. */
  check(node: unknown, local: readonly string[]): void {
    if (!isRecord(node)) return
    const kind: unknown = node['exprKind']
    if (!isRecord(kind) || !isRecord(kind['value'])) return
    const value = kind['value']
    if (kind['case'] === 'identExpr') return this.#name(String(value['name']), local)
    if (kind['case'] === 'selectExpr' && this.#isVariable(value, local)) return
    if (kind['case'] === 'comprehensionExpr') return this.#comprehension(value, local)
    for (const member of Object.values(value)) this.#each(member, local)
    // after what it is called on: who names the authorizer hears of that
    if (kind['case'] === 'callExpr') this.#function(String(value['function']))
  }

  #each(member: unknown, local: readonly string[]): void {
    if (Array.isArray(member)) for (const each of member) this.#each(each, local)
    else if (isRecord(member) && 'exprKind' in member) this.check(member, local)
    else if (isRecord(member)) {
      for (const inner of Object.values(member)) if (typeof inner === 'object') this.#each(inner, local)
    }
  }

  #comprehension(value: Record<string, unknown>, local: readonly string[]): void {
    this.check(value['iterRange'], local)
    this.check(value['accuInit'], local)
    const inner = [...local, String(value['iterVar']), String(value['iterVar2']), String(value['accuVar'])]
    for (const part of ['loopCondition', 'loopStep', 'result']) this.check(value[part], inner)
  }

  #isVariable({ operand, field }: Record<string, unknown>, local: readonly string[]): boolean {
    if (!this.#variables.includes('variables') || local.includes('variables')) return false
    const of: unknown = isRecord(operand) && isRecord(operand['exprKind']) ? operand['exprKind'] : undefined
    if (!isRecord(of) || of['case'] !== 'identExpr' || of['value']?.name !== 'variables') return false
    if (this.#composed.includes(String(field))) return true
    throw new ExpressionError(`compilation failed: undefined field '${String(field)}'`)
  }

  #function(name: string): void {
    // operators have names of their own, as `_&&_`
    if (!/^[a-zA-Z]/.test(name) || ENVIRONMENT.funcs.find(name) !== undefined) return
    throw new ExpressionError(`compilation failed: undeclared reference to '${name}' (in container '')`)
  }

  #name(name: string, local: readonly string[]): void {
    if (local.includes(name) || this.#variables.includes(name) || TYPES.includes(name) || name === TYPE_PACKAGE) return
    if (name === 'authorizer') throw new ExpressionError('the authorizer is not served by this API')
    throw new ExpressionError(`compilation failed: undeclared reference to '${name}' (in container '')`)
  }
}
