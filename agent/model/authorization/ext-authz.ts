// What an authorizer is asked, and what its answer means: Envoy's ext_authz filter over HTTP, as Istio sets it up for an
// envoyExtAuthzHttp provider. Pure.

import { textOf, UNCHANGEABLE } from '../http/header-changes.ts'
import type { Field, HeaderChanges } from '../policy.ts'
import type { Arriving } from './facts.ts'
import type { HttpAuthorizer } from './provider.ts'

/** What of a request goes along with a question, besides what the provider names. */
export interface AskedAbout {
  /** Names of all fields that it has as it arrives, in lower case. */
  readonly names: readonly string[]
  /** Of its body; null: there is none, or none of it goes along. */
  readonly body: { readonly length: number; readonly isPartial: boolean } | null
  /** IP address of the pod that asks, or null. */
  readonly asker: string | null
}

/** The head of a question. Names in lower case. */
export interface QuestionHead {
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly fields: readonly Field[]
}

/** What it answered: fields in the order in which they came, names in lower case, of values one character a byte. */
export interface AuthorizerAnswer {
  readonly status: number
  readonly fields: readonly Field[]
  /** Null: longer than is passed on. */
  readonly body: Uint8Array | null
}

export type Answer =
  | {
      readonly kind: 'allowed'
      /** What its answer changes in the request, and in the response. */
      readonly request: HeaderChanges | null
      readonly response: HeaderChanges | null
    }
  /** What the caller gets. */
  | { readonly kind: 'denied'; readonly status: number; readonly fields: readonly Field[]; readonly body: Uint8Array }
  /** It was not reached, did not answer in time, or answered what is no answer. */
  | { readonly kind: 'failed'; readonly why: string }
  /** Nobody can be asked about it. That is the request's doing and no failure: it is denied, also where failures are not. */
  | { readonly kind: 'unaskable'; readonly why: string }
  /** The body is longer than may be asked about: 413. */
  | { readonly kind: 'too-large' }

const PARTIAL = 'x-envoy-auth-partial-body'
/** Of an answer that lets pass: names of fields, with commas between, that the request loses. */
const TO_REMOVE = 'x-envoy-auth-headers-to-remove'

/** Goes along whatever the provider names, beside method, path, host and length. */
const ALWAYS = ['authorization']
/**
 * Never goes along: no caller may say what of its body was read, and by the time that somebody is asked its body
 * is not waited for any more.
 */
const NEVER: ReadonlySet<string> = new Set([...UNCHANGEABLE, PARTIAL, 'expect'])
/** Of a denial, whatever the provider names (status and length are told anyway). */
const ALWAYS_DENIED = ['www-authenticate', 'location']
/** Of no answer: whoever answers the caller says when that was. */
const NEVER_TOLD: ReadonlySet<string> = new Set([...UNCHANGEABLE, TO_REMOVE, 'date'])
/** What they tell of is the body. */
const OF_BODY: ReadonlySet<string> = new Set(['content-type', 'content-encoding', 'content-language'])

/** The request that asks. Like Envoy's it ends its x-forwarded-for with who asks. */
export function questionOf(
  authorizer: HttpAuthorizer,
  arriving: Arriving,
  { names, body, asker }: AskedAbout,
): QuestionHead {
  const { pathPrefix, includeRequestHeadersInCheck, includeAdditionalHeadersInCheck } = authorizer
  const wanted = [...ALWAYS, ...includeRequestHeadersInCheck]
  const fields = new Map<string, string>()
  for (const name of names) {
    const value = isAmong(name, wanted) && !NEVER.has(name) ? arriving.header(name) : undefined
    if (value !== undefined) fields.set(name, textOf(value))
  }
  for (const [name, value] of includeAdditionalHeadersInCheck) fields.set(name, value)
  const forwardedFor = fields.get('x-forwarded-for')
  if (asker !== null) fields.set('x-forwarded-for', forwardedFor === undefined ? asker : `${forwardedFor},${asker}`)
  if (body !== null) fields.set(PARTIAL, String(body.isPartial))
  fields.set('content-length', String(body?.length ?? 0))
  return {
    method: arriving.method,
    target: pathPrefix + arriving.target,
    authority: arriving.authority,
    fields: [...fields],
  }
}

/** What an answer means: 200 lets the request pass, 5xx is a failure, all else denies. */
export function meaningOf(authorizer: HttpAuthorizer, { status, fields, body }: AuthorizerAnswer): Answer {
  if (status === 200) {
    const downstream = named(fields, authorizer.headersToDownstreamOnAllow)
    return {
      kind: 'allowed',
      request: changesOf(named(fields, authorizer.headersToUpstreamOnAllow), removedBy(fields)),
      response: downstream.length === 0 ? null : { remove: [], set: [], add: downstream },
    }
  }
  if (status >= 500) return { kind: 'failed', why: `it answered ${status}` }
  const { headersToDownstreamOnDeny: wanted } = authorizer
  const told = named(fields, wanted.length === 0 ? ['*'] : [...wanted, ...ALWAYS_DENIED])
  if (body !== null) return { kind: 'denied', status, fields: told, body }
  return { kind: 'denied', status, fields: told.filter(([name]) => !OF_BODY.has(name)), body: NO_BODY }
}

const NO_BODY = new Uint8Array(0)

/** Fields of these names, but those that frame a message or that the mesh alone may say. */
function named(fields: readonly Field[], names: readonly string[]): readonly Field[] {
  return fields.flatMap(([name, value]): readonly Field[] =>
    isAmong(name, names) && !NEVER_TOLD.has(name) ? [[name, textOf(value)]] : [],
  )
}

/** What is removed stays so, whatever else the answer says of it. */
function changesOf(fields: readonly Field[], remove: readonly string[]): HeaderChanges | null {
  const set = joined(fields).filter(([name]) => !remove.includes(name))
  return set.length + remove.length === 0 ? null : { remove, set, add: [] }
}

function removedBy(fields: readonly Field[]): readonly string[] {
  const names = fields.flatMap(([name, value]) => (name === TO_REMOVE ? value.split(',') : []))
  return names.map((name) => name.trim().toLowerCase()).filter((name) => name !== '' && !UNCHANGEABLE.has(name))
}

/** One value a name: what a request gets takes the place of what it had. */
function joined(fields: readonly Field[]): readonly Field[] {
  const values = new Map<string, string>()
  for (const [name, value] of fields) {
    const before = values.get(name)
    values.set(name, before === undefined ? value : `${before},${value}`)
  }
  return [...values]
}

/** Exactly, or by a beginning (`abc*`), an end (`*abc`), or any (`*`). */
function isAmong(name: string, names: readonly string[]): boolean {
  return names.some((one) => {
    if (one.startsWith('*')) return name.endsWith(one.slice(1))
    return one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one
  })
}
