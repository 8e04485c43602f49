// Bodies of HTTP/1.1 messages as RFC 9112 §6 and §7 write them down, read slowly: one rule of the grammar a function.

import type { Field, Understood } from './grammar.ts'
import { attempt, Input, Verdict } from './input.ts'

const TCHAR = /[!#$%&'*+\-.^_`|~0-9A-Za-z]/
const FIELD_CHARACTER = /[\t\x20-\x7e\x80-\xff]/
const HEX = /[0-9A-Fa-f]/
const BLANK = /[ \t]/

const SIZE_DIGITS = 12
const EXTENSION_BYTES = 1024
const TRAILER_BYTES = 8192
const TRAILER_FIELDS = 100

export type Framing = 'none' | 'length' | 'chunked' | 'close'

export interface Read {
  readonly verdict: string
  /** Of what is there, also where the rest is missing or broken. */
  readonly payload: string
  /** Characters of the body, where it is complete. */
  readonly length: number
  /** Fields that may go on behind it. */
  readonly trailers: readonly Field[]
}

/** What follows the head of a request, or of the response to a request of `method` (RFC 9112 §6.3). */
export function framingOf(head: Understood, method: string | null): Framing {
  const { status, chunked, contentLength } = head
  if (method === 'HEAD' || (method !== null && (status < 200 || status === 204 || status === 304))) return 'none'
  if (chunked) return 'chunked'
  if (contentLength > 0) return 'length'
  return method === null || contentLength === 0 ? 'none' : 'close'
}

/** Reads a body from the start of a text. */
export function readBody(framing: Framing, length: number, text: string): Read {
  if (framing === 'none') return { verdict: 'done', payload: '', length: 0, trailers: [] }
  if (framing === 'close') return { verdict: 'more', payload: text, length: 0, trailers: [] }
  if (framing === 'length') {
    const verdict = text.length < length ? 'more' : 'done'
    return { verdict, payload: text.slice(0, length), length: verdict === 'done' ? length : 0, trailers: [] }
  }
  const input = new Input(text)
  const payload: string[] = []
  const read = attempt(() => chunks(input, payload))
  const done = typeof read !== 'string'
  return {
    verdict: done ? 'done' : read,
    payload: payload.join(''),
    length: done ? input.at : 0,
    trailers: done ? read.filter(([name]) => mayTrail(name.toLowerCase())) : [],
  }
}

function chunks(input: Input, payload: string[]): Field[] {
  for (;;) {
    const size = chunkSize(input)
    if (input.peek() !== '\r') extensions(input)
    input.literal('\r')
    input.end = Infinity
    input.literal('\n')
    if (size === 0) return trailers(input)
    const data = input.text.slice(input.at, input.at + size)
    payload.push(data)
    input.at += data.length
    if (data.length < size) throw new Verdict('more')
    input.literal('\r\n')
  }
}

function chunkSize(input: Input): number {
  let digits = input.one(HEX)
  while (HEX.test(input.peek())) {
    digits += input.one(HEX)
    if (digits.length > SIZE_DIGITS) throw new Verdict('bad')
  }
  return Number.parseInt(digits, 16)
}

/** *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ) */
function extensions(input: Input): void {
  input.end = input.at + 1 + EXTENSION_BYTES
  do {
    input.many(BLANK)
    input.literal(';')
    input.many(BLANK)
    input.one(TCHAR)
    input.many(TCHAR)
    const gap = input.many(BLANK)
    if (input.peek() === '=') {
      input.literal('=')
      input.many(BLANK)
      extensionValue(input)
    } else if (gap !== '' && input.peek() !== ';') throw new Verdict('bad')
  } while (input.peek() !== '\r')
}

function extensionValue(input: Input): void {
  if (input.peek() !== '"') {
    input.one(TCHAR)
    input.many(TCHAR)
    return
  }
  input.literal('"')
  while (input.peek() !== '"') {
    if (input.peek() === '\\') input.literal('\\')
    input.one(FIELD_CHARACTER)
  }
  input.literal('"')
}

function trailers(input: Input): Field[] {
  input.end = input.at + TRAILER_BYTES
  const fields: Field[] = []
  while (input.peek() !== '\r') {
    const name = input.one(TCHAR) + (fields.length === TRAILER_FIELDS ? refuse() : input.many(TCHAR))
    input.literal(':')
    const value = input.many(FIELD_CHARACTER).replace(/^[ \t]+|[ \t]+$/g, '')
    input.literal('\r\n')
    fields.push([name, value])
  }
  input.literal('\r\n')
  return fields
}

function refuse(): never {
  throw new Verdict('bad')
}

const FRAMING = ['transfer-encoding', 'content-length', 'trailer', 'connection', 'keep-alive', 'proxy-connection', 'te']
const ROUTING = ['host', 'upgrade', 'forwarded', 'via', 'x-real-ip', 'x-request-id']
const WHO = ['authorization', 'proxy-authorization', 'www-authenticate', 'proxy-authenticate', 'cookie', 'set-cookie']
const CONTROLS = ['cache-control', 'expect', 'max-forwards', 'pragma', 'range', 'if-match', 'if-none-match', 'if-range']
const DATES = ['if-modified-since', 'if-unmodified-since', 'age', 'date', 'expires', 'retry-after', 'warning']
const CONTENT = ['location', 'vary', 'content-encoding', 'content-type', 'content-range']
const NEVER = [FRAMING, ROUTING, WHO, CONTROLS, DATES, CONTENT].flat()

/** RFC 9110 §6.5.1, and what a proxy says about its caller. */
function mayTrail(name: string): boolean {
  return !NEVER.includes(name) && !/^x-(forwarded|envoy)-/.test(name)
}
