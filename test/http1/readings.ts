// A stream of bytes as each of the two readers takes it: the product's parser, in pieces, and the slow reference, whole.

import { isDeepStrictEqual } from 'node:util'
import { Body } from '../../agent/proxy/http1/body.ts'
import { Head } from '../../agent/proxy/http1/head.ts'
import { HEAD_LIMITS, type HeadLimits, type Parsed } from '../../agent/proxy/http1/scan.ts'
import { addressed } from '../../agent/proxy/http1/target.ts'
import { framingOf, readBody } from './body-grammar.ts'
import { type Field, readHead, readTarget, type Understood } from './grammar.ts'

/** Authority of a request that names none. */
export const DIALLED = '10.96.0.1:80'

/** A stream to be read: requests, or the responses to requests of a method. */
export interface Stream {
  readonly kind: 'request' | 'response'
  /** Method of the request that a response answers. */
  readonly method: string
  readonly text: string
  readonly limits?: HeadLimits
}

/** What a stream's first message says. */
export interface Reading {
  readonly verdict: string
  readonly head?: Understood
  readonly persistent?: boolean
  readonly addressed?: { readonly target: string; readonly authority: string } | null
  readonly framing?: string
  readonly body?: {
    readonly verdict: string
    readonly payload: string
    readonly length: number
    readonly trailers: readonly Field[]
  }
}

/** As the reference reads it. */
export function slowReading({ kind, method, text, limits = HEAD_LIMITS }: Stream): Reading {
  const head = readHead(kind, text, limits)
  if (typeof head === 'string') return { verdict: head }
  const framing = framingOf(head, kind === 'request' ? null : method)
  return {
    verdict: 'done',
    head,
    persistent: keeps(head),
    addressed: kind === 'request' ? readTarget(head, DIALLED) : null,
    framing,
    body: readBody(framing, head.contentLength, text.slice(head.length)),
  }
}

/** RFC 9112 §9.3; and what 204 must not have will hardly be read alike by both ends. */
function keeps({ minor, keepAlive, close, status, contentLength, chunked }: Understood): boolean {
  if (status === 204 && (contentLength > 0 || chunked)) return false
  return minor === 0 ? keepAlive && !close : !close
}

/** The parser's own values for what was read, for those who go on from there. */
export interface Parser {
  readonly head: Head
  readonly body: Body
}

/** As the product reads it, in pieces that end at `cuts` (ascending), each in a buffer of its own. */
export function fastReading(stream: Stream, cuts: readonly number[], parser: Parser = newParser(stream)): Reading {
  const { text, kind, method } = stream
  const { head, body } = parser
  const whole = Buffer.from(text, 'latin1')
  const ends = [...cuts.filter((cut) => cut > 0 && cut < whole.length), whole.length]
  let parsed: Parsed = 'more'
  let at = 0
  for (; at < ends.length && parsed === 'more'; at++) {
    const offset = at % 3
    const bytes = Buffer.concat([Buffer.alloc(offset, '#'), whole.subarray(0, ends[at])])
    parsed = head.parse(bytes, offset, bytes.length)
  }
  if (parsed !== 'done') return { verdict: parsed }
  const framing = kind === 'request' ? head.requestFraming() : head.responseFraming(method)
  const pieces = [head.length, ...ends.slice(at - 1)]
  return {
    verdict: parsed,
    head: understood(head),
    persistent: head.persistent,
    addressed: kind === 'request' ? addressOf(head) : null,
    framing,
    body: readPieces({ whole, pieces, body, framing, length: head.contentLength }),
  }
}

export function newParser({ kind, limits }: Stream): Parser {
  return { head: new Head(kind, limits), body: new Body() }
}

function addressOf(head: Head): { target: string; authority: string } | null {
  const host = head.host < 0 ? null : head.value(head.host)
  const method = head.text(head.methodFrom, head.methodTo)
  const place = addressed(method, head.text(head.targetFrom, head.targetTo), host, DIALLED)
  return typeof place === 'string' ? null : place
}

function readPieces(run: {
  readonly whole: Buffer
  readonly pieces: readonly number[]
  readonly body: Body
  readonly framing: ReturnType<Head['requestFraming']>
  readonly length: number
}): Reading['body'] {
  const { whole, pieces, body, framing, length } = run
  const payload: string[] = []
  const sink = {
    payload: (bytes: Buffer, from: number, to: number) => payload.push(bytes.toString('latin1', from, to)),
  }
  body.begin(framing, length)
  let consumed = 0
  let broken = false
  for (let i = 1; i < pieces.length && !body.done && !broken; i++) {
    const bytes = Buffer.from(whole.subarray(pieces[i - 1], pieces[i]))
    const end = body.feed(bytes, 0, bytes.length, sink)
    broken = end < 0
    consumed += end
  }
  return {
    verdict: broken ? 'bad' : body.done ? 'done' : 'more',
    payload: payload.join(''),
    length: body.done && !broken ? consumed : 0,
    trailers: body.done ? fieldsIn(body.trailers?.toString('latin1') ?? '') : [],
  }
}

/** Fields of lines as they leave: `name: value` CRLF. */
function fieldsIn(lines: string): Field[] {
  return lines
    .split('\r\n')
    .slice(0, -1)
    .map((line): Field => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)])
}

function understood(head: Head): Understood {
  const fields = Array.from({ length: head.count }, (_, i): Field => {
    return [head.text(head.spans[4 * i] ?? 0, head.spans[4 * i + 1] ?? 0), head.value(i)]
  })
  const isOwn = (i: number): boolean => [1, 2].includes(head.kinds[i] ?? 0) // Host and Content-Length
  return {
    length: head.length,
    method: head.kind === 'request' ? head.text(head.methodFrom, head.methodTo) : '',
    target: head.kind === 'request' ? head.text(head.targetFrom, head.targetTo) : '',
    status: head.status,
    reason: head.text(head.reasonFrom, head.reasonTo),
    minor: head.minor,
    fields,
    contentLength: head.contentLength,
    chunked: head.chunked,
    close: head.close,
    keepAlive: head.keepAlive,
    upgrade: head.upgrade < 0 ? null : head.value(head.upgrade),
    wantsTrailers: head.wantsTrailers,
    endToEnd: fields.filter((_, i) => (head.kinds[i] ?? 0) < 16 && !isOwn(i)),
  }
}

/** Null where both readers agree, whatever the split; else what each of them says. */
export function disagreement(stream: Stream, splits: readonly (readonly number[])[]): string | null {
  const expected = slowReading(stream)
  for (const cuts of [[], ...splits]) {
    const got = fastReading(stream, cuts)
    if (isDeepStrictEqual(got, expected)) continue
    return `in pieces that end at ${JSON.stringify(cuts)}\n fast ${JSON.stringify(got)}\n slow ${JSON.stringify(expected)}`
  }
  return null
}
