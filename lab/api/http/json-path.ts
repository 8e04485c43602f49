// The JSONPath of printer columns: `.spec.hosts`, `.metadata.labels['a.b']`, `.status.conditions[?(@.type=="Ready")].status`.
// Pure. Source: Kubernetes documentation "JSONPath Support", apiextensions.k8s.io CustomResourceColumnDefinition.
import { isRecord } from '../object.ts'

const TOKEN =
  /\.([A-Za-z0-9_$-](?:\\.|[A-Za-z0-9_$-])*)|\.?\[(?:'([^']*)'|"([^"]*)"|(-?\d+)|(\*)|\?\(@\.([A-Za-z0-9_.-]+)\s*(==|!=)\s*(?:"([^"]*)"|'([^']*)'|([^)\s]+))\))\]|(\.\*)/gy

/** Every value at `path` in `document`; none when the path does not parse or leads nowhere. */
export function valuesAt(document: unknown, path: string): unknown[] {
  let values: unknown[] = [document]
  let at = 0
  const text = path.startsWith('.') || path.startsWith('[') ? path : `.${path}`
  while (at < text.length) {
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    if (!match) return []
    at = TOKEN.lastIndex
    values = values.flatMap((value) => step(value, match))
  }
  return values
}

function step(value: unknown, match: RegExpExecArray): unknown[] {
  const [, member, single, double, index, star, field, operator, ...rest] = match
  const name = member?.replace(/\\(.)/g, '$1') ?? single ?? double
  if (name !== undefined) return isRecord(value) && Object.hasOwn(value, name) ? [value[name]] : []
  if (index !== undefined) return Array.isArray(value) ? value.slice(Number(index)).slice(0, 1) : []
  if (field !== undefined && Array.isArray(value)) {
    const wanted = rest[0] ?? rest[1] ?? rest[2] ?? ''
    return value.filter((item) => (plainText(valuesAt(item, field)[0]) === wanted) === (operator === '=='))
  }
  if (star === undefined && rest[3] === undefined) return []
  return Array.isArray(value) ? value : isRecord(value) ? Object.values(value) : []
}

/** A value as a cell shows it: text as it is, lists and objects as JSON, nothing as ''. */
export function plainText(value: unknown): string {
  if (value === undefined || value === null) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}
