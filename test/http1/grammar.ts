// Heads of HTTP/1.x messages as RFC 9112 writes them down, read slowly: one rule of the grammar a function, on strings. Says
// what agent/proxy/http1 must say, and shares no line with it.

import { attempt, Input, Verdict } from './input.ts'

const TCHAR = /[!#$%&'*+\-.^_`|~0-9A-Za-z]/
const FIELD_CHARACTER = /[\t\x20-\x7e\x80-\xff]/
const TARGET_CHARACTER = /[\x21\x22\x24-\x7e\x80-\xff]/ // no blank, no control, no fragment
const DIGIT = /[0-9]/
const BLANK = /[ \t]/

/** Names that end at the next hop, whatever Connection says (RFC 9110 §7.6.1). */
const HOP_BY_HOP = ['connection', 'proxy-connection', 'keep-alive', 'te', 'transfer-encoding', 'upgrade']

export interface Limits {
  readonly headBytes: number
  readonly headFields: number
}

export type Field = readonly [name: string, value: string]

/** A head as it is to be understood. */
export interface Understood {
  readonly length: number
  readonly method: string
  readonly target: string
  readonly status: number
  readonly reason: string
  readonly minor: number
  readonly fields: readonly Field[]
  readonly contentLength: number
  readonly chunked: boolean
  readonly close: boolean
  readonly keepAlive: boolean
  readonly upgrade: string | null
  readonly wantsTrailers: boolean
  /** Fields that may go on, less host, content-length and trailer. */
  readonly endToEnd: readonly Field[]
}

/** Reads a head from the start of a text: what it says, or why it says nothing. */
export function readHead(kind: 'request' | 'response', text: string, limits: Limits): Understood | string {
  const input = new Input(text.slice(0, limits.headBytes))
  const place = { inTarget: false }
  const read = attempt(() => head(input, kind, limits, place))
  if (read !== 'more' || text.length < limits.headBytes) return read
  return place.inTarget ? 'long' : 'large'
}

function head(
  input: Input,
  kind: 'request' | 'response',
  { headFields }: Limits,
  place: { inTarget: boolean },
): Understood {
  const start = kind === 'request' ? requestLine(input, place) : statusLine(input)
  const fields: Field[] = []
  while (input.peek() !== '\r') {
    if (!TCHAR.test(input.peek())) throw new Verdict('bad')
    if (fields.length === headFields) throw new Verdict('large')
    fields.push(fieldLine(input, fields))
  }
  input.literal('\r\n')
  return meaning({ ...start, fields, length: input.at }, kind, headFields)
}

function requestLine(input: Input, place: { inTarget: boolean }) {
  if (input.peek() === '\r') input.literal('\r\n') // one empty line may come ahead
  const method = input.one(TCHAR) + input.many(TCHAR)
  input.literal(' ')
  place.inTarget = true
  const target = input.many(TARGET_CHARACTER)
  if (input.peek() === ' ' && target === '') throw new Verdict('bad')
  input.literal(' ')
  place.inTarget = false
  const { major, minor } = version(input)
  input.literal('\r')
  if (major !== 1) throw new Verdict('version')
  input.literal('\n')
  return { method, target, minor, status: 0, reason: '' }
}

function statusLine(input: Input) {
  const { major, minor } = version(input)
  input.literal(' ')
  if (major !== 1) throw new Verdict('bad')
  const status = Number(input.one(DIGIT) + input.one(DIGIT) + input.one(DIGIT))
  if (input.peek() !== '\r') input.literal(' ')
  const reason = input.many(FIELD_CHARACTER)
  input.literal('\r\n')
  return { method: '', target: '', minor, status, reason }
}

function version(input: Input): { major: number; minor: number } {
  input.literal('HTTP/')
  const major = Number(input.one(DIGIT))
  input.literal('.')
  return { major, minor: Math.min(1, Number(input.one(DIGIT))) }
}

function fieldLine(input: Input, before: readonly Field[]): Field {
  const name = input.many(TCHAR)
  input.literal(':')
  const value = input.many(FIELD_CHARACTER).replace(/^[ \t]+|[ \t]+$/g, '')
  input.literal('\r')
  if (isNamed('content-length')([name])) {
    if (!/^[0-9]{1,15}$/.test(value) || before.some(isNamed('content-length'))) throw new Verdict('bad')
  }
  if (isNamed('transfer-encoding')([name])) {
    const [last, ...ahead] = members(value).reverse()
    if (last !== 'chunked' || ahead.includes('chunked') || ahead.includes('')) throw new Verdict('bad')
  }
  input.literal('\n')
  return [name, value]
}

type Parts = Pick<Understood, 'method' | 'target' | 'status' | 'reason' | 'minor' | 'fields' | 'length'>

function meaning(parts: Parts, kind: 'request' | 'response', headFields: number): Understood {
  const { fields, minor, status } = parts
  const all = (name: string): string[] => fields.filter(isNamed(name)).map(([, value]) => value)
  const [encodings, lengths, hosts] = [all('transfer-encoding'), all('content-length'), all('host')]
  if (encodings.length > 0 && (lengths.length > 0 || minor === 0 || encodings.length > 1)) throw new Verdict('bad')
  if (encodings.some((value) => members(value).length > 1)) throw new Verdict('unknown')
  if (kind === 'request' && (hosts.length > 1 || (hosts.length === 0 && minor > 0))) throw new Verdict('bad')
  if (kind === 'response' && (status < 100 || status > 599)) throw new Verdict('bad')
  const options = all('connection').flatMap((value) => value.match(new RegExp(`${TCHAR.source}+`, 'g')) ?? [])
  if (options.length > headFields) throw new Verdict('large')
  const named = options.map((option) => option.toLowerCase())
  const kept = ([name]: Field): boolean =>
    ![...HOP_BY_HOP, ...named, 'host', 'content-length', 'trailer'].includes(name.toLowerCase())
  return {
    ...parts,
    contentLength: lengths.length > 0 ? Number(lengths[0]) : -1,
    chunked: encodings.length > 0,
    close: named.includes('close'),
    keepAlive: named.includes('keep-alive'),
    upgrade: named.includes('upgrade') ? (all('upgrade').at(-1) ?? null) : null,
    wantsTrailers: all('te').flatMap(members).includes('trailers'),
    endToEnd: fields.filter(kept),
  }
}

function isNamed(wanted: string): (field: readonly [string, ...string[]]) => boolean {
  return ([name]) => name.toLowerCase() === wanted
}

function members(list: string): string[] {
  return list
    .split(',')
    .map((member) => member.replace(new RegExp(`^${BLANK.source}+|${BLANK.source}+$`, 'g'), '').toLowerCase())
}

const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]+)(?::([0-9]{0,5}))?$/

/** Whom a request addresses (RFC 9112 §3.2, §3.3), or null where that cannot be said. */
export function readTarget(
  { method, target, fields }: Understood,
  dialled: string,
): { target: string; authority: string } | null {
  const host = fields.find(isNamed('host'))?.[1]
  if (host !== undefined && !isAuthority(host)) return null
  if (/^\//.test(target)) return { target, authority: host ?? dialled }
  if (target === '*') return method === 'OPTIONS' ? { target, authority: host ?? dialled } : null
  const [, authority = '', path = ''] = /^http:\/\/([^/?]*)(.*)$/is.exec(target) ?? []
  if (!isAuthority(authority)) return null
  if (path === '') return { target: method === 'OPTIONS' ? '*' : '/', authority }
  return { target: path.replace(/^\?/, '/?'), authority }
}

function isAuthority(text: string): boolean {
  const found = AUTHORITY.exec(text)
  return found !== null && Number(found[1] ?? 0) <= 65535
}
