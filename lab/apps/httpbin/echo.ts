// What httpbin tells a client about its own request.
import type { Call } from '../http-app.ts'

/** go-httpbin shows each value as a list; the older Python one shows a plain string. */
const AS_LISTS = process.env['HTTPBIN_VALUES'] === 'lists'

type Pairs = Record<string, string[]>

export interface Echo {
  readonly args: unknown
  readonly headers: unknown
  readonly method: string
  readonly origin: string
  readonly url: string
  readonly data?: string
  readonly files?: unknown
  readonly form?: unknown
  readonly json?: unknown
}

export function echo(call: Call, how: 'brief' | 'whole'): Echo {
  const brief = {
    args: one(pairs(call.query)),
    headers: one(shownHeaders(call)),
    method: call.method,
    origin: address(call),
    url: `http://${call.headers.host ?? 'localhost'}${call.request.url ?? '/'}`,
  }
  return how === 'brief' ? brief : { ...brief, ...shownBody(call) }
}

/** The peer's address as the socket has it: what a request looks like to an application behind the mesh. */
export function address(call: Call): string {
  return (call.request.socket.remoteAddress ?? '').replace(/^::ffff:/, '')
}

export function pairs(query: URLSearchParams): Pairs {
  const all: Pairs = {}
  for (const [name, value] of query) all[name] = [...(all[name] ?? []), value]
  return all
}

/** Values in the shape that the stood-in image gives them. */
export function one(all: Pairs): Record<string, string | string[]> {
  if (AS_LISTS) return all
  return Object.fromEntries(
    Object.entries(all).map(([name, values]) => [name, values.length > 1 ? values : values[0]!]),
  )
}

function shownHeaders(call: Call): Pairs {
  const shown: Pairs = {}
  for (const [name, values] of Object.entries(call.request.headersDistinct)) {
    const title = name.replace(/(^|-)([a-z])/g, (_, dash: string, first: string) => dash + first.toUpperCase())
    shown[title] = values ?? []
  }
  return shown
}

function shownBody(call: Call) {
  const body = call.body.toString()
  const type = call.headers['content-type'] ?? ''
  if (type.startsWith('application/x-www-form-urlencoded')) {
    return { data: '', files: {}, form: one(pairs(new URLSearchParams(body))), json: null }
  }
  return { data: body, files: {}, form: {}, json: parsed(body) }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return null
  }
}
