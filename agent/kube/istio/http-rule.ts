// Rules for HTTP requests.

import type { HttpRule, Mirror } from '../../model/policy.ts'
import type { GivenHttpRule } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { durationOrNone, optional, percent, type Reading } from './checked.ts'
import { corsPolicy } from './cors.ts'
import { destination, destinations, entriesForMesh } from './destinations.ts'
import { fault } from './fault.ts'
import { authoritySet, headerRules } from './headers.ts'
import { requestMatch } from './http-match.ts'
import { delegate, directResponse, redirect, rewrite } from './instead.ts'
import { retries } from './retries.ts'

/** The rules that are for traffic inside the mesh. `isDelegate`: others delegate to them, and they to nobody. */
export function httpRules(rules: readonly GivenHttpRule[], reading: Reading, isDelegate: boolean): HttpRule[] {
  return rules.flatMap((http, index) => {
    const path = `spec.http[${index}]`
    const entries = entriesForMesh(http.match, path)
    if (entries === null) return []
    demandOneAction(http, path, isDelegate)
    const matches = entries.map(({ match, path: at }) => requestMatch(match, at))
    return [{ ...httpRule(http, path, reading), matches }]
  })
}

function httpRule(http: GivenHttpRule, path: string, reading: Reading): Omit<HttpRule, 'matches'> {
  const instead = insteadOf(http, path, reading)
  const headers = optional(http.headers, `${path}.headers`, headerRules)
  const rewritten = optional(http.rewrite, `${path}.rewrite`, rewrite)
  if (rewritten?.authority && authoritySet(headers) !== null) {
    throw new Rejected(`${path}.headers.request`, 'names the authority beside rewrite')
  }
  if (instead !== null && instead.kind !== 'delegate') reportIdle(http, path, reading)
  return {
    name: http.name ?? '',
    instead,
    destinations: instead === null ? destinations(http.route, `${path}.route`, reading) : [],
    rewrite: rewritten,
    fault: optional(http.fault, `${path}.fault`, (given, at) => fault(given, at, reading)),
    timeoutMs: optional(http.timeout, `${path}.timeout`, durationOrNone),
    retries: optional(http.retries, `${path}.retries`, (given, at) => retries(given, at, reading)),
    mirrors: mirrors(http, path, reading),
    cors: optional(http.corsPolicy, `${path}.corsPolicy`, (given, at) => corsPolicy(given, at, reading)),
    headers,
  }
}

/** What must not stand beside an action (Istio). Faults and rewrites are of requests that are forwarded. */
const EXCLUDED = {
  redirect: ['directResponse', 'delegate', 'route', 'fault', 'rewrite'],
  directResponse: ['redirect', 'delegate', 'route', 'fault', 'rewrite'],
  delegate: ['redirect', 'directResponse', 'route'],
} as const

function demandOneAction(http: GivenHttpRule, path: string, isDelegate: boolean): void {
  const isGiven = (name: keyof GivenHttpRule): boolean => {
    return name === 'route' ? (http.route?.length ?? 0) > 0 : http[name] !== undefined
  }
  if (isDelegate && isGiven('delegate')) {
    throw new Rejected(`${path}.delegate`, 'a VirtualService without hosts delegates no further')
  }
  for (const action of ['redirect', 'directResponse', 'delegate'] as const) {
    if (!isGiven(action)) continue
    const other = EXCLUDED[action].find(isGiven)
    if (other !== undefined) throw new Rejected(`${path}.${other}`, `must not stand beside ${action}`)
  }
  if (isGiven('mirror') && (http.mirrors?.length ?? 0) > 0) {
    throw new Rejected(`${path}.mirror`, 'must not stand beside mirrors')
  }
}

function insteadOf(http: GivenHttpRule, path: string, reading: Reading): HttpRule['instead'] {
  if (http.redirect !== undefined) return redirect(http.redirect, `${path}.redirect`)
  if (http.directResponse !== undefined) return directResponse(http.directResponse, `${path}.directResponse`)
  if (http.delegate !== undefined) return delegate(http.delegate, `${path}.delegate`, reading)
  return null
}

/** Tells what does nothing in a rule that answers by itself. */
function reportIdle(http: GivenHttpRule, path: string, { report }: Reading): void {
  const idle = ['timeout', 'retries', 'mirror', 'mirrors'] as const
  for (const name of idle) {
    if (http[name] !== undefined) report(`${path}.${name}`, 'has no effect in a rule that does not forward')
  }
  if (http.headers?.request !== undefined) {
    report(`${path}.headers.request`, 'has no effect in a rule that does not forward')
  }
}

/** Without a percentage every request is copied; of the older names of it the newest counts (Istio). */
function mirrors(http: GivenHttpRule, path: string, reading: Reading): Mirror[] {
  const many = (http.mirrors ?? []).map((one, index): Mirror => {
    const at = `${path}.mirrors[${index}]`
    return {
      destination: destination(one.destination, `${at}.destination`, reading),
      percent: one.percentage === undefined ? 100 : percent(one.percentage.value ?? 0, `${at}.percentage.value`),
    }
  })
  const [share, ...idle] = mirrorPercents(http, path)
  for (const { at } of idle) reading.report(at, 'has no effect beside a newer field for the same')
  if (http.mirror !== undefined) {
    return [...many, { destination: destination(http.mirror, `${path}.mirror`, reading), percent: share?.value ?? 100 }]
  }
  if (share !== undefined) reading.report(share.at, 'has no effect without mirror')
  return many
}

/** The percentages of `mirror` that are given, the one that counts first. */
function mirrorPercents(http: GivenHttpRule, path: string): { readonly at: string; readonly value: number }[] {
  const exact = http.mirrorPercentage === undefined ? undefined : (http.mirrorPercentage.value ?? 0)
  const given = { mirrorPercentage: exact, mirrorPercent: http.mirrorPercent, mirror_percent: http.mirror_percent }
  return Object.entries(given).flatMap(([name, value]) => {
    const at = `${path}.${name}`
    return value === undefined ? [] : [{ at, value: percent(value, name === 'mirrorPercentage' ? `${at}.value` : at) }]
  })
}
