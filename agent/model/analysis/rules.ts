// What is found of the rules of a VirtualService as such: those that are never reached, weights, times, callers.

import { coversFlow, coversRequest } from './cover.ts'
import { severityOf } from './codes.ts'
import {
  type AnalysisWorld,
  carries,
  type Finding,
  type Found,
  labelsText,
  matchPath,
  type RuleAt,
  rulesOf,
} from './world.ts'
import type { FlowMatch, HttpRule, RequestMatch, WeightedDestination } from '../policy.ts'
import { retryPolicyOf } from '../http/retry.ts'

/** Rules that cannot do what they say. */
export function analyseRules(world: AnalysisWorld): readonly Finding[] {
  return world.virtualServices.flatMap((virtualService) => {
    const rules = rulesOf(world, virtualService)
    const found = [
      ...unreached(rules),
      ...rules.flatMap((at) => [
        ...ofWeights(at.rule.destinations, at.place.path),
        ...(at.list === 'http' ? ofTimes(at.rule, at.place.path) : []),
        ...ofCallers(world, at),
      ]),
    ]
    return found.map((one): Finding => ({ severity: severityOf(one.code), ...one, object: virtualService.ref }))
  })
}

/** One entry of a rule's match; of a rule without any, one that takes all. */
type Entry = { readonly path: string } & (
  { readonly list: 'http'; readonly match: RequestMatch } | { readonly list: 'tls' | 'tcp'; readonly match: FlowMatch }
)

/** Entries that one is compared with: beyond them nothing is told. */
const COMPARED = 1000

const ANY_REQUEST: RequestMatch = {
  name: '',
  uri: null,
  ignoreUriCase: false,
  scheme: null,
  method: null,
  authority: null,
  headers: [],
  withoutHeaders: [],
  queryParams: [],
  port: null,
  sourceLabels: {},
  sourceNamespace: null,
}
const ANY_FLOW: FlowMatch = {
  serverNames: null,
  destinationSubnets: [],
  sourceSubnets: [],
  port: null,
  sourceLabels: {},
  sourceNamespace: null,
}

/** Rules, and entries of them, before which others have taken all that they match. */
function unreached(rules: readonly RuleAt[]): readonly Found[] {
  const before: Record<RuleAt['list'], { readonly entry: Entry; readonly path: string }[]> = {
    http: [],
    tls: [],
    tcp: [],
  }
  return rules.flatMap((at) => {
    const { path } = at.place
    const known = before[at.list]
    const entries = entriesOf(at)
    const taken = entries.map((entry) => known.find((earlier) => covers(earlier.entry, entry))?.path ?? null)
    // a rule that delegates lets pass what none of the delegate's rules takes
    const isLast = at.list !== 'http' || at.rule.instead?.kind !== 'delegate'
    if (isLast) known.push(...entries.map((entry) => ({ entry, path })).slice(0, COMPARED - known.length))
    if (entries.length > 0 && !taken.includes(null)) {
      const by = [...new Set(taken)].join(', ')
      return [{ code: 'WEFT0212' as const, field: path, message: `is never reached: ${by} takes all that it matches` }]
    }
    return entries.flatMap((entry, index): Found[] => {
      const earlier = entries.slice(0, Math.min(index, COMPARED)).find((one) => covers(one, entry))
      const by = taken[index] ?? earlier?.path ?? null
      if (by === null) return []
      return [{ code: 'WEFT0213', field: entry.path, message: `never decides: ${by} takes all that it matches` }]
    })
  })
}

function entriesOf({ list, rule, place }: RuleAt): readonly Entry[] {
  if (list === 'http') {
    if (rule.matches.length === 0) return [{ list, match: ANY_REQUEST, path: place.path }]
    return rule.matches.map((match, index) => ({ list, match, path: matchPath(place, index) }))
  }
  if (rule.matches.length === 0) return [{ list, match: ANY_FLOW, path: place.path }]
  return rule.matches.map((match, index) => ({ list, match, path: matchPath(place, index) }))
}

function covers(outer: Entry, inner: Entry): boolean {
  if (outer.list === 'http') return inner.list === 'http' && coversRequest(outer.match, inner.match)
  return inner.list === outer.list && coversFlow(outer.match, inner.match)
}

/** A lone destination gets all, whatever its weight. */
function ofWeights(destinations: readonly WeightedDestination[], path: string): readonly Found[] {
  if (destinations.length < 2) return []
  const total = destinations.reduce((sum, { weight }) => sum + weight, 0)
  const found = destinations.flatMap(({ weight }, index): Found[] => {
    if (weight !== 0) return []
    return [{ code: 'WEFT0218', field: `${path}.route[${index}].weight`, message: 'is 0: nothing is sent there' }]
  })
  if (total === 100) return found
  const message = `the weights add up to ${total}, not to 100: each is a share of ${total}`
  return [...found, { code: 'WEFT0217', field: `${path}.route`, message }]
}

function ofTimes({ timeoutMs, retries }: HttpRule, path: string): readonly Found[] {
  const { attempts, perTryMs } = retryPolicyOf(retries)
  if (timeoutMs === null || timeoutMs === 0 || perTryMs === null) return []
  if (perTryMs > timeoutMs) {
    const message = `${perTryMs} ms for one try, but ${timeoutMs} ms for the whole request`
    return [{ code: 'WEFT0221', field: `${path}.retries.perTryTimeout`, message }]
  }
  const allMs = (attempts + 1) * perTryMs
  if (allMs <= timeoutMs) return []
  const message = `${attempts + 1} tries may take ${allMs} ms, and the request is over after ${timeoutMs} ms`
  return [{ code: 'WEFT0222', field: `${path}.timeout`, message }]
}

/** Callers that do not exist. Files do not tell who else there is. */
function ofCallers(world: AnalysisWorld, { rule, place }: RuleAt): readonly Found[] {
  if (world.from === 'files') return []
  return rule.matches.flatMap(({ sourceLabels, sourceNamespace }, index): Found[] => {
    if (Object.keys(sourceLabels).length === 0) return []
    const isThere = world.pods.some(({ namespace, labels }) => {
      return (sourceNamespace === null || namespace === sourceNamespace) && carries(labels, sourceLabels)
    })
    if (isThere) return []
    const where = sourceNamespace === null ? '' : ` of namespace ${sourceNamespace}`
    const message = `no workload${where} carries ${labelsText(sourceLabels)}`
    return [{ code: 'WEFT0220', field: `${matchPath(place, index)}.sourceLabels`, message }]
  })
}
