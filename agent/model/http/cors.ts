// Who may read answers in a browser: Istio's CorsPolicy, judged as Envoy's CORS filter does. Pure.

import type { RequestFacts } from './match.ts'
import { stringTest } from './match.ts'
import type { CorsPolicy, Field, HeaderChanges } from '../policy.ts'

/** An origin is a scheme, a host and a port (RFC 6454 §6.2): what is longer is none. */
const ORIGIN_LIMIT = 1024
const VISIBLE = /^[\x21-\x7e]+$/
/** A list of field names: what may be said again to who sent it. */
const NAMES = /^[\x20-\x7e]+$/

/** A policy with its patterns compiled. */
interface Compiled {
  readonly allows: (origin: string) => boolean
  readonly methods: string
  readonly headers: string
  readonly maxAge: readonly Field[]
  readonly credentials: readonly Field[]
  readonly exposed: readonly Field[]
}

const COMPILED = new WeakMap<CorsPolicy, Compiled>()

/** Compiled once. Throws with RE2's own words where a pattern is malformed. */
export function compileCors(policy: CorsPolicy): Compiled {
  let compiled = COMPILED.get(policy)
  if (compiled === undefined) {
    const tests = policy.origins.map((origin) => stringTest(origin))
    const isAny = tests.some((test) => test('*'))
    const { maxAgeSeconds, exposed } = policy
    compiled = {
      allows: (origin) =>
        origin.length <= ORIGIN_LIMIT && VISIBLE.test(origin) && (isAny || tests.some((test) => test(origin))),
      methods: policy.methods.join(','),
      headers: policy.headers.join(','),
      maxAge: maxAgeSeconds === null ? [] : [['access-control-max-age', String(maxAgeSeconds)]],
      credentials: policy.credentials === true ? [['access-control-allow-credentials', 'true']] : [],
      exposed: exposed.length === 0 ? [] : [['access-control-expose-headers', exposed.join(',')]],
    }
    COMPILED.set(policy, compiled)
  }
  return compiled
}

/**
 * What a policy makes of a request. `preflight`: the fields that it is answered 200 with, here and now. `changes`: of whatever
 * answer comes. Null: nothing.
 */
export type CorsVerdict =
  | { readonly kind: 'preflight'; readonly fields: readonly Field[] }
  | { readonly kind: 'changes'; readonly changes: HeaderChanges }
  | null

/** Preflights of origins that are not allowed go on, or are answered without a word of permission: as the policy says. */
export function judgeCors(policy: CorsPolicy, request: RequestFacts): CorsVerdict {
  const origin = request.header('origin')
  if (origin === undefined || origin === '') return null
  const compiled = compileCors(policy)
  const isAllowed = compiled.allows(origin)
  const asked = request.method === 'OPTIONS' ? (request.header('access-control-request-method') ?? '') : ''
  if (asked !== '') {
    if (isAllowed) return { kind: 'preflight', fields: permission(compiled, request, origin) }
    return policy.forwardsUnmatched ? null : { kind: 'preflight', fields: [] }
  }
  if (!isAllowed) return null
  const set: Field[] = [['access-control-allow-origin', origin], ...compiled.credentials, ...compiled.exposed]
  return { kind: 'changes', changes: { remove: [], set, add: [] } }
}

/** A lone `*` allows what is asked for, by its name: with credentials browsers take no `*`. */
function permission(
  { methods, headers, maxAge, credentials }: Compiled,
  request: RequestFacts,
  origin: string,
): Field[] {
  const list = (name: string, allowed: string, asked: string): Field[] => {
    const said = allowed === '*' ? (request.header(asked) ?? '') : allowed
    return NAMES.test(said) ? [[name, said]] : []
  }
  return [
    ['access-control-allow-origin', origin],
    ...credentials,
    ...list('access-control-allow-methods', methods, 'access-control-request-method'),
    ...list('access-control-allow-headers', headers, 'access-control-request-headers'),
    ...maxAge,
  ]
}
