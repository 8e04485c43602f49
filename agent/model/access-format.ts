// Access log formats (MeshConfig accessLogEncoding, accessLogFormat), compiled from Envoy's command operators
// (envoyproxy.io, "Access logging: command operators"). Pure: a plan, or the reason why there is none.

/** One command of a format. */
export interface Command {
  readonly operator: Operator
  /** Header names in order of preference, lower case, for REQ and RESP. */
  readonly names: readonly string[]
  /** strftime-like layout of START_TIME, null for ISO 8601. */
  readonly layout: string | null
  /** Characters of the value at most, or null. */
  readonly limit: number | null
}

/** Text as it is, or a command. */
export type Piece = string | Command

/** A JSON object of formats, as users nest them. */
export interface FieldPlan {
  readonly [name: string]: readonly Piece[] | FieldPlan
}

export type Format =
  | { readonly kind: 'default' }
  | { readonly kind: 'text'; readonly pieces: readonly Piece[] }
  | { readonly kind: 'json'; readonly fields: FieldPlan }

const OPERATORS = [
  ...['START_TIME', 'REQ', 'RESP', 'PROTOCOL', 'RESPONSE_CODE', 'RESPONSE_FLAGS', 'RESPONSE_CODE_DETAILS'],
  ...['CONNECTION_TERMINATION_DETAILS', 'UPSTREAM_TRANSPORT_FAILURE_REASON', 'BYTES_RECEIVED', 'BYTES_SENT'],
  ...['DURATION', 'UPSTREAM_HOST', 'UPSTREAM_CLUSTER', 'UPSTREAM_CLUSTER_RAW', 'UPSTREAM_LOCAL_ADDRESS'],
  ...['DOWNSTREAM_LOCAL_ADDRESS', 'DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT', 'DOWNSTREAM_REMOTE_ADDRESS'],
  ...['DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT', 'DOWNSTREAM_DIRECT_REMOTE_ADDRESS'],
  ...['DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT', 'REQUESTED_SERVER_NAME', 'ROUTE_NAME'],
] as const
export type Operator = (typeof OPERATORS)[number]

/** Istio's default text format. */
const DEFAULT_TEXT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% ' +
  '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ' +
  '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% ' +
  '%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%'

/** Bytes of a format, levels of a JSON one, and time layouts as far as they are known. */
const LENGTH_MAX = 16 * 1024
const DEPTH_MAX = 8
const TIME_LAYOUT = /^(?:[^%]|%(?:[YmdHMSsFTzZ%]|[1-9]?f))*$/
const HEADER = /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/

/**
 * Compiles a format; null and '' are Istio's own of the encoding. Throws an Error that names the operator, or what else
 * cannot be done.
 */
export function compileFormat(encoding: 'JSON' | 'TEXT', format: string | null): Format {
  const text = format ?? ''
  if (text.length > LENGTH_MAX) throw new Error(`a format is at most ${LENGTH_MAX} characters`)
  if (encoding === 'TEXT')
    return { kind: 'text', pieces: piecesOf(text.trimEnd() === '' ? DEFAULT_TEXT : text.trimEnd()) }
  if (text.trim() === '') return { kind: 'default' }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw new Error(`the format is not JSON: ${(error as Error).message}`, { cause: error })
  }
  return { kind: 'json', fields: fieldsOf(parsed, 0) }
}

/** The headers that commands of a kind ask for, those the record has anyway included. */
export function headersOf(format: Format, operator: 'REQ' | 'RESP'): ReadonlySet<string> {
  const names = new Set<string>()
  const look = (pieces: readonly Piece[]): void => {
    for (const piece of pieces) {
      if (typeof piece !== 'string' && piece.operator === operator) for (const name of piece.names) names.add(name)
    }
  }
  const lookInto = (fields: FieldPlan): void => {
    for (const each of Object.values(fields))
      if (isPieces(each)) look(each)
      else lookInto(each)
  }
  if (format.kind === 'text') look(format.pieces)
  if (format.kind === 'json') lookInto(format.fields)
  return names
}

export function isPieces(plan: readonly Piece[] | FieldPlan): plan is readonly Piece[] {
  return Array.isArray(plan)
}

function fieldsOf(value: unknown, depth: number): FieldPlan {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error('the format is no JSON object')
  if (depth > DEPTH_MAX) throw new Error(`the format is nested deeper than ${DEPTH_MAX} levels`)
  const fields = Object.create(null) as Record<string, readonly Piece[] | FieldPlan>
  for (const [name, each] of Object.entries(value)) {
    fields[name] = typeof each === 'string' ? piecesOf(each) : fieldsOf(each, depth + 1)
  }
  return fields
}

function piecesOf(text: string): Piece[] {
  const pieces: Piece[] = []
  let at = 0
  while (at < text.length) {
    const percent = text.indexOf('%', at)
    if (percent < 0) break
    if (percent > at) pieces.push(text.slice(at, percent))
    if (text[percent + 1] === '%') {
      pieces.push('%')
      at = percent + 2
      continue
    }
    const { command, end } = commandAt(text, percent)
    pieces.push(command)
    at = end
  }
  if (at < text.length) pieces.push(text.slice(at))
  return pieces
}

/** A command from its first % on: NAME, (ARGUMENT), :LIMIT. */
function commandAt(text: string, from: number): { readonly command: Command; readonly end: number } {
  const name = /^[A-Z0-9_]+/.exec(text.slice(from + 1))?.[0] ?? ''
  let at = from + 1 + name.length
  let argument: string | null = null
  if (text[at] === '(') {
    const close = text.indexOf(')', at)
    if (close < 0) throw new Error(`%${name}( has no end`)
    argument = text.slice(at + 1, close)
    at = close + 1
  }
  const limit = /^:(\d{1,6})/.exec(text.slice(at))
  at += limit?.[0].length ?? 0
  if (text[at] !== '%') throw new Error(`%${name || text.slice(from + 1, from + 20)} is no whole command`)
  return { command: commandOf(name, argument, limit === null ? null : Number(limit[1])), end: at + 1 }
}

function commandOf(name: string, argument: string | null, limit: number | null): Command {
  const operator = OPERATORS.find((each) => each === name)
  if (operator === undefined) throw new Error(`%${name}% is not supported`)
  if (operator === 'REQ' || operator === 'RESP') {
    const names = (argument ?? '').toLowerCase().split('?')
    if (names.length > 2 || !names.every((each) => HEADER.test(each))) {
      throw new Error(`%${name}(${argument ?? ''})% names no header`)
    }
    return { operator, names, layout: null, limit }
  }
  if (argument !== null && operator !== 'START_TIME') throw new Error(`%${name}% takes no argument`)
  if (argument !== null && !TIME_LAYOUT.test(argument)) {
    throw new Error(`%START_TIME(${argument})% has a conversion that is not supported`)
  }
  return { operator, names: [], layout: argument, limit }
}
