// What a rule does to a request beside forwarding it: answers in place of any upstream, and who may read answers.

import { judgeCors } from './cors.ts'
import { type HeadChanges, type HttpRoute, type Matched, NO_CHANGES } from './route.ts'
import type { RequestFacts } from './match.ts'
import type { Field, HttpRule } from '../policy.ts'
import { locationOf } from './redirect.ts'
import type { Vantage } from '../snapshot.ts'

/** An answer given here, or null; and what is added to whatever answer there will be. */
export interface Done {
  readonly answer: Pick<HttpRoute & { kind: 'answer' }, 'how' | 'status' | 'fields' | 'body'> | null
  readonly changes: HeadChanges
}

const NOTHING: Done = { answer: null, changes: NO_CHANGES }
const NO_FIELDS: readonly Field[] = []
/** Of an answered preflight: nobody asked the application. */
const PREFLIGHT_STATUS = 200

/** What a rule does to a request in place of forwarding it, and beside. Browsers read redirects and direct responses, too. */
export function doneTo(request: RequestFacts, { rule, match }: Matched, at: Pick<Vantage, 'dialledPort'>): Done {
  const { instead, cors } = rule
  if (instead === null && cors === null) return NOTHING
  const verdict = cors === null ? null : judgeCors(cors, request)
  if (verdict?.kind === 'preflight') {
    const answer = { how: 'preflight', status: PREFLIGHT_STATUS, fields: verdict.fields, body: null } as const
    return { answer, changes: NO_CHANGES }
  }
  const changes = verdict === null ? NO_CHANGES : { request: [], response: [verdict.changes] }
  switch (instead?.kind) {
    case 'redirect': {
      const location: Field = ['location', locationOf(instead, { request, match }, at.dialledPort)]
      return { answer: { how: 'redirect', status: instead.code, fields: [location], body: null }, changes }
    }
    case 'answer':
      return { answer: { how: 'answer', status: instead.status, fields: NO_FIELDS, body: instead.body }, changes }
    case 'delegate': // what is reached through it has taken its place
    case undefined:
      return { answer: null, changes }
  }
}

const OF_RULES = new WeakMap<HttpRule, HeadChanges>()

/**
 * What is changed in an answer that is given here: as the rule's `headers.response` says, and then for browsers (Envoy's local
 * replies pass by both). What destinations say has no part in it, for none was chosen.
 */
export function answerChanges(rule: HttpRule, { changes }: Done): HeadChanges {
  const own = rule.headers?.response ?? null
  if (own === null) return changes
  if (changes !== NO_CHANGES) return { request: [], response: [own, ...changes.response] }
  let known = OF_RULES.get(rule)
  if (known === undefined) OF_RULES.set(rule, (known = { request: [], response: [own] }))
  return known
}
