// Writes HTTP/1.1 heads from what was understood of those that came in. Pure: bytes into a buffer.

import { fieldLine, type HeadEdit } from '../../model/http/header-changes.ts'
import type { Field } from '../../model/policy.ts'
import { STATUS_CODES } from './status.ts'
import { CONTENT_LENGTH, FIRST_HOP, FORWARDED_PROTO, HOST, TRAILER } from './fields.ts'
import type { Framing, Head } from './head.ts'

/** Room that any head fits: one within the parser's limits, and a target and authority that a rule has rewritten. */
export const SCRATCH_BYTES = 192 * 1024
/** Longest request target or authority that a rewrite may make. */
export const REWRITE_LIMIT = 64 * 1024

/** How a request leaves. */
export interface RequestOut {
  /** Request target in origin form. */
  readonly target: string
  readonly authority: string
  readonly framing: Framing
  /** The id to add where the request came without, else null. */
  readonly requestId: string | null
  /** Value of x-forwarded-client-cert, or null for none. */
  readonly clientCert: string | null
  /** Whether `Connection: upgrade` goes along with the Upgrade field. */
  readonly upgrade: boolean
  /** What rules change; null: nothing. */
  readonly edit: HeadEdit | null
}

/** How a response leaves. */
export interface ResponseOut {
  readonly framing: Framing
  /** Value of the `Connection` field, or null for none. */
  readonly connection: 'close' | 'keep-alive' | 'upgrade' | null
  /** What rules change; null: nothing. */
  readonly edit: HeadEdit | null
}

/**
 * Writes a request head at `at`; returns where it ends. `out` has SCRATCH_BYTES from there on, and room for the lines of an
 * edit. What the mesh adds where it is missing stands there before rules change anything.
 */
export function emitRequest(head: Head, how: RequestOut, out: Buffer, at: number): number {
  let p = copy(head, head.methodFrom, head.methodTo, { out, at })
  out[p++] = 0x20
  p = put(out, how.target, p)
  p = put(out, ' HTTP/1.1\r\nhost: ', p)
  p = put(out, how.authority, p)
  p = line(out, p)
  const { edit } = how
  p = emitFields(head, how, out, p)
  if (head.first(FORWARDED_PROTO) === null && !isGone(edit, 'x-forwarded-proto')) {
    p = put(out, 'x-forwarded-proto: http\r\n', p)
  }
  if (how.requestId !== null && !isGone(edit, 'x-request-id')) {
    p = line(out, put(out, how.requestId, put(out, 'x-request-id: ', p)))
  }
  if (edit !== null) p = put(out, edit.lines, p)
  if (how.clientCert !== null) p = line(out, put(out, how.clientCert, put(out, 'x-forwarded-client-cert: ', p)))
  const wantsTrailers = head.passesTrailers
  if (wantsTrailers) p = put(out, 'te: trailers\r\n', p)
  if (how.upgrade && head.upgrade >= 0) p = emitUpgrade(head, wantsTrailers ? 'te, upgrade' : 'upgrade', out, p)
  else if (wantsTrailers) p = put(out, 'connection: te\r\n', p)
  p = emitFraming(head, how.framing, out, p)
  if (how.framing === 'none' && head.contentLength === 0) p = put(out, 'content-length: 0\r\n', p)
  return line(out, p)
}

/** Writes a response head, as emitRequest() does a request's. */
export function emitResponse(head: Head, how: ResponseOut, out: Buffer, at: number): number {
  let p = put(out, 'HTTP/1.1 ', at)
  p = decimal(out, head.status, p)
  out[p++] = 0x20
  p = line(out, copy(head, head.reasonFrom, head.reasonTo, { out, at: p }))
  p = emitFields(head, how, out, p)
  if (how.edit !== null) p = put(out, how.edit.lines, p)
  if (how.connection === 'upgrade' && head.upgrade >= 0) p = emitUpgrade(head, 'upgrade', out, p)
  else if (how.connection !== null) p = put(out, `connection: ${how.connection}\r\n`, p)
  p = emitFraming(head, how.framing, out, p)
  // a response without a body may still tell its length: to HEAD, as 304, or that there is none
  const tells = how.framing === 'none' && head.contentLength >= 0 && head.status >= 200 && head.status !== 204
  if (tells) p = put(out, `content-length: ${head.contentLength}\r\n`, p)
  return line(out, p)
}

/** Whether a response of this status may have a body (RFC 9110 §15.3.5, §15.4.5). */
export function hasBody(status: number): boolean {
  return status !== 204 && status !== 304
}

/** A response of the mesh's own. */
export interface Answer {
  readonly status: number
  readonly body: Uint8Array
  /** What it says beside: names in lower case. */
  readonly fields: readonly Field[]
  readonly close: boolean
  /** To a HEAD request: without the body. */
  readonly head: boolean
  /** What rules change; null: nothing. */
  readonly edit: HeadEdit | null
}

/** Room that the head of an answer fits. */
export function answerBytes({ fields, edit }: Answer): number {
  let length = SMALL_HEAD + (edit === null ? 0 : edit.lines.length)
  for (const [name, value] of fields) length += name.length + BYTES_A_CHARACTER * value.length + SMALL_FIELD
  return length
}

/** Status line, date and what tells of the body; a colon, blank and line end; a character in UTF-8. */
const SMALL_HEAD = 512
const SMALL_FIELD = 4
const BYTES_A_CHARACTER = 3

/** Writes the head of an answer at `at`; returns where it ends. `out` has answerBytes() from there on. */
export function emitAnswer(answer: Answer, out: Buffer, at: number): number {
  const { status, body, fields, edit } = answer
  let p = put(out, `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`, at)
  if (hasBody(status)) {
    p = put(out, `content-length: ${body.length}\r\n`, p)
    const isUnsaid = body.length > 0 && !fields.some(([name]) => name === 'content-type')
    if (isUnsaid && !isGone(edit, 'content-type')) p = put(out, 'content-type: text/plain\r\n', p)
  }
  const isDated = fields.some(([name]) => name === 'date')
  if (!isDated && !isGone(edit, 'date')) p = put(out, `date: ${new Date().toUTCString()}\r\n`, p)
  for (const [name, value] of fields) if (!isGone(edit, name)) p = put(out, fieldLine(name, value), p)
  if (edit !== null) p = put(out, edit.lines, p)
  if (answer.close) p = put(out, 'connection: close\r\n', p)
  return line(out, p)
}

/** Writes the line ahead of a chunk of `length` bytes at `at`; returns where it ends. */
export function emitChunkSize(length: number, out: Buffer, at: number): number {
  return line(out, put(out, length.toString(16), at))
}

/**
 * All fields but those that steer the connection or the framing, and those that a rule takes away, as they came; neighbours
 * are copied in one go.
 */
function emitFields(
  head: Head,
  { framing, edit }: Pick<ResponseOut, 'framing' | 'edit'>,
  out: Buffer,
  at: number,
): number {
  const { spans, kinds, count } = head
  const trails = framing === 'chunked' && head.chunked // what is announced behind the body gets through
  let p = at
  let from = -1
  let to = -1
  for (let index = 0; index < count; index++) {
    const kind = kinds[index] as number
    if ((kind >= FIRST_HOP && !(trails && kind === TRAILER)) || kind === HOST || kind === CONTENT_LENGTH) continue
    if (edit !== null && isTaken(head, index, edit)) continue
    const start = spans[4 * index] as number
    const plain = (spans[4 * index + 2] as number) === (spans[4 * index + 1] as number) + 2
    if (plain && from >= 0 && start === to + 2) {
      to = spans[4 * index + 3] as number
      continue
    }
    if (from >= 0) p = line(out, copy(head, from, to, { out, at: p }))
    from = plain ? start : -1
    to = spans[4 * index + 3] as number
    if (!plain) p = emitField(head, index, out, p)
  }
  return from < 0 ? p : line(out, copy(head, from, to, { out, at: p }))
}

function isTaken(head: Head, index: number, { gone }: HeadEdit): boolean {
  for (const name of gone) if (head.isNamed(index, name)) return true
  return false
}

function isGone(edit: HeadEdit | null, name: string): boolean {
  return edit !== null && edit.gone.has(name)
}

/** One field, `name: value`, whatever blanks it came with. */
function emitField(head: Head, index: number, out: Buffer, at: number): number {
  const { spans } = head
  let p = copy(head, spans[4 * index] as number, spans[4 * index + 1] as number, { out, at })
  out[p++] = 0x3a
  out[p++] = 0x20
  p = copy(head, spans[4 * index + 2] as number, spans[4 * index + 3] as number, { out, at: p })
  return line(out, p)
}

function emitUpgrade(head: Head, connection: string, out: Buffer, at: number): number {
  return emitField(head, head.upgrade, out, put(out, `connection: ${connection}\r\n`, at))
}

function emitFraming(head: Head, framing: Framing, out: Buffer, at: number): number {
  if (framing === 'length') return line(out, decimal(out, head.contentLength, put(out, 'content-length: ', at)))
  return framing === 'chunked' ? put(out, 'transfer-encoding: chunked\r\n', at) : at
}

const INT32_MAX = 0x7fffffff
const SHORT = 48 // up to here a loop is quicker than the call of a native copy

function copy(head: Head, from: number, to: number, into: { readonly out: Buffer; readonly at: number }): number {
  const { bytes, base } = head
  const { out, at } = into
  const length = to - from
  if (length > SHORT) bytes.copy(out, at, base + from, base + to)
  else for (let i = 0; i < length; i++) out[at + i] = bytes[base + from + i] as number
  return at + length
}

/** Writes a text of Latin-1 characters; returns where it ends. */
function put(out: Buffer, text: string, at: number): number {
  if (text.length > SHORT) return at + out.write(text, at, 'latin1')
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i)
  return at + text.length
}

/** Writes a whole number from 0 on; returns where it ends. */
function decimal(out: Buffer, value: number, at: number): number {
  if (value > INT32_MAX) return put(out, String(value), at)
  let end = at + 1
  for (let bound = 10; value >= bound; bound *= 10) end++
  for (let rest = value | 0, p = end - 1; p >= at; p--) {
    const tens = (rest / 10) | 0
    out[p] = 0x30 + rest - 10 * tens
    rest = tens
  }
  return end
}

function line(out: Buffer, at: number): number {
  out[at] = 0x0d
  out[at + 1] = 0x0a
  return at + 2
}
