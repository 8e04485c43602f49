// What the rules of a VirtualService make of a request: pure, given the draws of chance.

import { backendsFor, type Backends } from '../backends.ts'
import { draw, type Random, strikes } from '../chance.ts'
import { isVisible, policyFor } from '../destination.ts'
import { answerChanges, type Done, doneTo } from './actions.ts'
import {
  type Asked,
  type Forward,
  type HeadChanges,
  type HttpRoute,
  type Matched,
  NO_CHANGES,
  NOWHERE,
  type Own,
  ruleName,
} from './route.ts'
import type { HeaderChanges, HttpRule, WeightedDestination } from '../policy.ts'
import { type RetryPolicy, retryPolicyOf } from './retry.ts'
import { rewritten } from './rewrite.ts'
import type { CompiledMatch, CompiledRule, CompiledVirtualService, RuleRef, Snapshot, Vantage } from '../snapshot.ts'
import type { ObjectRef } from '../workload.ts'

/** Routes one HTTP request by the rules of a VirtualService. */
export function followRules(
  snapshot: Snapshot,
  virtualService: CompiledVirtualService,
  asked: Asked,
  { at, own, random }: { readonly at: Vantage; readonly own: Own | null; readonly random: Random },
): HttpRoute {
  const { ref } = virtualService.source
  const matched = firstMatch(snapshot, virtualService, asked)
  if (matched === null) return { kind: 'none', code: 'NO_ROUTE', why: `no rule of ${text(ref)} matches` }
  const { by, rule } = matched
  const done = doneTo(asked.request, matched, at)
  if (done.answer?.how === 'preflight') return { kind: 'answer', by, delayMs: 0, ...done.answer, changes: done.changes }
  const delay = rule.fault?.delay
  const delayMs = delay && strikes(delay.percent, random) ? delay.ms : 0
  const abort = rule.fault?.abort
  const changes = answerChanges(rule, done)
  if (abort && strikes(abort.percent, random)) {
    return { kind: 'abort', by, delayMs, status: abort.status, grpcStatus: abort.grpcStatus, changes }
  }
  if (done.answer !== null) return { kind: 'answer', by, delayMs, ...done.answer, changes }
  const destination = draw(rule.destinations, random)
  if (destination === null) return { kind: 'none', code: 'NO_ROUTE', why: `${text(ref)} gives no destination` }
  const mirrors = rule.mirrors.length === 0 ? NOWHERE : mirrorsOf(snapshot, rule, at, random)
  const found = forwardTo(
    snapshot,
    destination,
    { target: asked.request.target, matched, done },
    { at, own, delayMs, mirrors },
  )
  return found ?? { kind: 'none', code: 'NO_CLUSTER', why: unknownDestination(destination, ref) }
}

/** What a rule makes of a request that goes to one of its destinations; null where that is not known. */
export function forwardTo(
  snapshot: Snapshot,
  destination: WeightedDestination,
  { target: asked, matched, done }: { readonly target: string; readonly matched: Matched; readonly done: Done },
  drawn: Pick<Forward, 'delayMs' | 'mirrors'> & { readonly at: Vantage; readonly own: Own | null },
): Forward | null {
  const { rule, by } = matched
  const { at, own, delayMs, mirrors } = drawn
  const isOwn = own !== null && own.hosts.includes(destination.host)
  const backends = isOwn
    ? ownBackends(snapshot, own.backends, destination.subset, at)
    : backendsFor(snapshot, destination, at)
  if (backends === null) return null
  const ways = waysOf(rule, destination)
  const { target, authority } = rewritten(rule.rewrite, matched.match, asked)
  return {
    kind: 'forward',
    by,
    backends,
    delayMs,
    target,
    authority: ways.authority ?? authority,
    timeoutMs: rule.timeoutMs,
    retries: ways.retries,
    changes: changesOf(ways, done),
    mirrors,
  }
}

/** The very endpoint that was dialled, as a policy for a subset has it. */
export function ownBackends(snapshot: Snapshot, own: Backends, subset: string | null, at: Vantage): Backends {
  const { host, port, isUnknown } = own
  return isUnknown
    ? { ...own, subset }
    : { ...own, subset, policy: policyFor(snapshot, { host, subset, port }, at).policy }
}

/**
 * The first rule that matches. A rule that delegates goes on in the rules of another VirtualService, and where none of
 * these matches with those behind it: as if they stood in its place (Istio merges them so).
 */
export function firstMatch(snapshot: Snapshot, { http, source }: CompiledVirtualService, asked: Asked): Matched | null {
  // by index: an iterator a rule and an object a step are most of what a request would leave to the collector here
  for (let i = 0; i < http.length; i++) {
    const compiled = http[i] as CompiledRule
    const entry = matchOf(compiled, asked)
    if (entry === undefined) continue
    const { rule } = compiled
    const { by } = entry ?? compiled
    const match = entry === null ? null : entry.match
    if (rule.instead?.kind !== 'delegate') return { rule, by, match }
    const delegated = delegateOf(snapshot, rule.instead, source.ref.namespace)
    const inner = delegated === null ? null : firstOf(delegated.http, asked)
    if (inner !== null) return inherited({ rule, by, match }, inner)
  }
  return null
}

/** The first rule that matches of a VirtualService that others delegate to: it delegates no further. */
function firstOf(http: readonly CompiledRule[], asked: Asked): Matched | null {
  for (const compiled of http) {
    const entry = matchOf(compiled, asked)
    const { rule } = compiled
    if (entry === undefined || rule.instead?.kind === 'delegate') continue
    return { rule, by: (entry ?? compiled).by, match: entry === null ? null : entry.match }
  }
  return null
}

/** The entry that matches, null for a rule without entries, undefined where none does. */
function matchOf({ matches }: CompiledRule, { request, caller }: Asked): CompiledMatch | null | undefined {
  if (matches.length === 0) return null
  for (let k = 0; k < matches.length; k++) {
    const entry = matches[k] as CompiledMatch
    if (entry.test(request, caller)) return entry
  }
  return undefined
}

/** The VirtualService that a rule of this namespace delegates to, where it is there and may be seen. */
export function delegateOf(
  snapshot: Snapshot,
  to: { readonly namespace: string; readonly name: string },
  from: string,
): CompiledVirtualService | null {
  const found = snapshot.sources.virtualServices.get(`${to.namespace}/${to.name}`)
  if (found === undefined || found.source.hosts.length > 0 || !isVisible(found.source.exportTo, from)) return null
  return found
}

const INHERITED = new WeakMap<HttpRule, WeakMap<HttpRule, HttpRule>>()

/** A delegate's rule with what it leaves unsaid from the rule that delegates (Istio merges root and delegate so). */
function inherited(root: Matched, inner: Matched): Matched {
  const { rule, match } = inner
  let merged = INHERITED.get(root.rule)
  if (merged === undefined) INHERITED.set(root.rule, (merged = new WeakMap()))
  let both = merged.get(rule)
  if (both === undefined) {
    both = {
      ...rule,
      rewrite: rule.rewrite ?? root.rule.rewrite,
      fault: rule.fault ?? root.rule.fault,
      timeoutMs: rule.timeoutMs ?? root.rule.timeoutMs,
      retries: rule.retries ?? root.rule.retries,
      mirrors: rule.mirrors.length > 0 ? rule.mirrors : root.rule.mirrors,
      cors: rule.cors ?? root.rule.cors,
      headers: mergedHeaders(root.rule.headers, rule.headers),
    }
    merged.set(rule, both)
  }
  const own = match?.uri == null && root.match?.uri != null ? root.match : match
  return { rule: both, by: joinedName(root, inner), match: own }
}

const JOINED = new WeakMap<RuleRef, WeakMap<RuleRef, RuleRef>>()

/** The delegate's object, by both names: those of the rules and those of the entries that matched (as Istio). */
function joinedName(root: Matched, inner: Matched): RuleRef {
  const names = [root.rule.name, root.match?.name ?? '']
  if (names.every((name) => name === '')) return inner.by
  let known = JOINED.get(root.by)
  if (known === undefined) JOINED.set(root.by, (known = new WeakMap()))
  let by = known.get(inner.by)
  if (by === undefined) {
    const [rule = '', match = ''] = [inner.rule.name, inner.match?.name ?? ''].map((name, index) => {
      return [names[index] ?? '', name].filter((each) => each !== '').join('-')
    })
    known.set(inner.by, (by = { object: inner.by.object, rule: ruleName(rule, match) }))
  }
  return by
}

function mergedHeaders(root: HttpRule['headers'], own: HttpRule['headers']): HttpRule['headers'] {
  if (root === null || own === null) return own ?? root
  return { request: mergedChanges(root.request, own.request), response: mergedChanges(root.response, own.response) }
}

/** Where both set a field, the delegate's word counts. */
function mergedChanges(root: HeaderChanges | null, own: HeaderChanges | null): HeaderChanges | null {
  if (root === null || own === null) return own ?? root
  const said = new Set(own.set.map(([name]) => name))
  return {
    remove: [...new Set([...root.remove, ...own.remove])],
    set: [...root.set.filter(([name]) => !said.has(name)), ...own.set],
    add: [...root.add, ...own.add],
  }
}

/** What is the same for all requests that a rule sends to one of its destinations. */
interface Ways {
  readonly changes: HeadChanges
  readonly retries: RetryPolicy
  /** As headers.request.set says of Host, or null. */
  readonly authority: string | null
}

const WAYS = new WeakMap<HttpRule, WeakMap<WeightedDestination, Ways>>()

function waysOf(rule: HttpRule, destination: WeightedDestination): Ways {
  let known = WAYS.get(rule)
  if (known === undefined) WAYS.set(rule, (known = new WeakMap()))
  let ways = known.get(destination)
  if (ways === undefined) {
    const request = [destination.headers?.request ?? null, rule.headers?.request ?? null].filter((one) => one !== null)
    const response = [destination.headers?.response ?? null, rule.headers?.response ?? null].filter(
      (one) => one !== null,
    )
    const hosts = request.flatMap(({ set }) => set.filter(([name]) => name === 'host'))
    const isChanged = request.length + response.length > 0
    ways = {
      changes: isChanged ? { request: request.map(withoutHost), response } : NO_CHANGES,
      retries: retryPolicyOf(rule.retries),
      authority: hosts.at(-1)?.[1] ?? null,
    }
    known.set(destination, ways)
  }
  return ways
}

/** Host is no field like others: it is the authority that the request leaves with. */
function withoutHost(changes: HeaderChanges): HeaderChanges {
  return { ...changes, set: changes.set.filter(([name]) => name !== 'host') }
}

function changesOf({ changes }: Ways, done: Done): HeadChanges {
  if (done.changes === NO_CHANGES) return changes
  return { request: changes.request, response: [...changes.response, ...done.changes.response] }
}

/** The mirrors that chance has this request copied to. One that is not known gets nothing: weft analyze tells of it. */
function mirrorsOf(snapshot: Snapshot, rule: HttpRule, at: Vantage, random: Random): readonly Backends[] {
  return rule.mirrors.flatMap(({ destination, percent }) => {
    const backends = strikes(percent, random) ? backendsFor(snapshot, destination, at) : null
    return backends === null ? [] : [backends]
  })
}

function text(ref: ObjectRef): string {
  return `${ref.kind} ${ref.namespace}/${ref.name}`
}

/** What a rule fails by whose destination is not known. */
export function unknownDestination({ host, subset, port }: WeightedDestination, ref: ObjectRef): string {
  const where = `${host}${port === null ? '' : `:${port}`}${subset === null ? '' : ` subset ${subset}`}`
  return `${text(ref)} sends to ${where}, which is not known`
}
