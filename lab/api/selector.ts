// Label and field selectors: text or LabelSelector → requirements → yes or no. Pure.
// Source: Kubernetes documentation "Labels and Selectors"; k8s.io/apimachinery labels.Parse, fields.ParseSelector.
import { badRequest } from './status.ts'

export interface Requirement {
  readonly key: string
  readonly operator: 'in' | 'notin' | 'exists' | 'absent' | 'above' | 'below'
  readonly values: readonly string[]
}

/** All requirements must hold; the empty selector takes everything. */
export type Selector = readonly Requirement[]

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>
  readonly matchExpressions?: readonly { key: string; operator: string; values?: readonly string[] }[]
}

/** True when `values` (labels, or fields by path) meet every requirement. */
export function matches(selector: Selector, values: Readonly<Record<string, string>> | undefined): boolean {
  return selector.every((requirement) => meets(requirement, values ?? {}))
}

function meets({ key, operator, values }: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined
  switch (operator) {
    case 'in':
      return value !== undefined && values.includes(value)
    case 'notin':
      return value === undefined || !values.includes(value)
    case 'exists':
      return value !== undefined
    case 'absent':
      return value === undefined
    case 'above':
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) > Number(values[0])
    case 'below':
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) < Number(values[0])
  }
}

/** Every given label equal: `spec.selector` of a Service. */
export function equalTo(labels: Readonly<Record<string, string>>): Selector {
  return Object.entries(labels).map(([key, value]) => ({ key, operator: 'in', values: [value] }))
}

const EXPRESSIONS: Readonly<Record<string, Requirement['operator']>> = {
  In: 'in',
  NotIn: 'notin',
  Exists: 'exists',
  DoesNotExist: 'absent',
}

/** `spec.selector` of a workload (metav1.LabelSelector). Throws 400 on an unknown operator. */
export function selectorOf(selector: LabelSelector): Selector {
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values }) => {
    const known = EXPRESSIONS[operator]
    if (!known) throw badRequest(`"${operator}" is not a valid label selector operator`)
    return { key, operator: known, values: values ?? [] }
  })
  return [...equalTo(selector.matchLabels ?? {}), ...expressions]
}

const KEY = '(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?'
const VALUE = '(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?'
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`)
const EQUALS = new RegExp(`^(${KEY})\\s*(==|=|!=)\\s*(${VALUE})$`)
const ORDER = new RegExp(`^(${KEY})\\s*([<>])\\s*(-?\\d+)$`)
const AMONG = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`)

/** `?labelSelector=`: `a=b,c!=d,e in (f,g),h,!i`. Throws 400 on anything else. */
export function parseLabelSelector(text: string): Selector {
  return splitOutsideParentheses(text).map((part) => {
    const requirement = parseRequirement(part)
    if (!requirement) throw badRequest(`unable to parse requirement: ${JSON.stringify(part)}`)
    return requirement
  })
}

function parseRequirement(part: string): Requirement | undefined {
  const exists = EXISTS.exec(part)
  if (exists) return { key: exists[2]!, operator: exists[1] ? 'absent' : 'exists', values: [] }
  const equals = EQUALS.exec(part)
  if (equals) return { key: equals[1]!, operator: equals[2] === '!=' ? 'notin' : 'in', values: [equals[3]!] }
  const order = ORDER.exec(part)
  if (order) return { key: order[1]!, operator: order[2] === '>' ? 'above' : 'below', values: [order[3]!] }
  const among = AMONG.exec(part)
  if (!among) return undefined
  const values = among[3]!.split(',').map((value) => value.trim())
  return { key: among[1]!, operator: among[2] as 'in' | 'notin', values }
}

function splitOutsideParentheses(text: string): string[] {
  const parts: string[] = []
  let depth = 0
  let from = 0
  for (let at = 0; at <= text.length; at++) {
    const char = text[at]
    if (char === '(') depth++
    else if (char === ')') depth--
    else if (char === undefined || (char === ',' && depth === 0)) {
      parts.push(text.slice(from, at).trim())
      from = at + 1
    }
  }
  return parts.filter((part, at) => part !== '' || parts.length > 1 || at > 0)
}

/** `?fieldSelector=`: `path=value,path!=value`; `\` escapes `,`, `=` and itself. Throws 400 on anything else. */
export function parseFieldSelector(text: string): Selector {
  const terms = text.match(/(?:\\.|[^,\\])+/gs) ?? []
  return terms.map((term) => {
    const match = /^([A-Za-z0-9.[\]/_-]+)(==|=|!=)((?:\\[,=\\]|[^,=\\])*)$/s.exec(term.trim())
    if (!match) throw badRequest(`invalid field selector: ${JSON.stringify(text)}`)
    const value = match[3]!.replace(/\\([,=\\])/g, '$1')
    return { key: match[1]!, operator: match[2] === '!=' ? 'notin' : 'in', values: [value] }
  })
}

/** The one value a selector pins `key` to, if it does: lets a store look up instead of scan. */
export function pinned(selector: Selector, key: string): string | undefined {
  const requirement = selector.find((each) => each.key === key && each.operator === 'in' && each.values.length === 1)
  return requirement?.values[0]
}
