// Paths with operators: `{*}` stands for one segment, `{**}` for any number of them (Istio's paths; Envoy's URI templates).

/** A template in its parts: `literals` stand around its operators, each `{*}` but the last one where `isOpen`. */
export interface PathTemplate {
  readonly literals: readonly string[]
  readonly isOpen: boolean
}

export function isTemplate(value: string): boolean {
  return value.includes('{*}') || value.includes('{**}')
}

/** pchar, which `{`, `}` and `*` are not counted among here (RFC 3986 §3.3). */
const LITERAL = /^[A-Za-z0-9\-._~%!$&'()+,;:@=]+$/

/** Why a template, or what has braces like one, cannot be meant; null: it can. */
export function templateFault(value: string): string | null {
  if (!value.startsWith('/')) return 'a path template begins with /'
  const segments = value.replace(/^\/+|\/+$/g, '').split('/')
  let isOpen = false
  for (const segment of segments) {
    const isOperator = segment === '{*}' || segment === '{**}'
    if (isOperator && isOpen) return 'nothing but letters stands behind {**}'
    if (segment === '{**}') isOpen = true
    if (isOperator || LITERAL.test(segment)) continue
    if (isTemplate(segment)) return `${segment} has more than an operator in it`
    if (/[{}]/.test(segment)) return `${segment} is no operator: braces stand in {*} and {**} alone`
    return segment === '' ? 'there is nothing between two slashes' : `${segment} has signs that no path has`
  }
  return null
}

/** Takes a template apart that has no fault. */
export function templateOf(value: string): PathTemplate {
  return { literals: value.split(/\{\*\*?\}/), isOpen: value.includes('{**}') }
}

/**
 * Whether a path is one of the template's. A segment is one letter at least; what `{**}` stands for may be nothing. Of what
 * ends with `{**}/` Istio's page says that it covers `/foo/bar/baz.txt`, Envoy's code that it does not: `isWide` takes the
 * page's word, else the path must end with that slash.
 */
export function isOfTemplate(path: string, { literals, isOpen }: PathTemplate, isWide: boolean): boolean {
  const first = literals[0] as string
  if (!path.startsWith(first)) return false
  let at = first.length
  const closed = isOpen ? literals.length - 2 : literals.length - 1
  for (let operator = 1; operator <= closed; operator++) {
    const slash = path.indexOf('/', at)
    const end = slash < 0 ? path.length : slash
    const literal = literals[operator] as string
    if (end === at || !path.startsWith(literal, end)) return false
    at = end + literal.length
  }
  if (!isOpen) return at === path.length
  const last = literals.at(-1) as string
  if (isWide && last === '/') return path.indexOf('/', at) >= 0
  return path.length - at >= last.length && path.endsWith(last)
}
