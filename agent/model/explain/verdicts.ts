// What the policies of the pods that a call may come to would say of it there: judged as it arrives, by the very function
// that judges it on the way. No signature is verified and nobody is asked: that is told.

import { familyOf } from '../address.ts'
import type { Arriving, Facts } from '../authorization/facts.ts'
import { type Protection, protectionOf } from '../authorization/protection.ts'
import { traceOf } from '../authorization/trace.ts'
import type { Action } from '../authorization/policy.ts'
import { ruleText, verdictText } from '../authorization/words.ts'
import { changedField, remoteIpOf } from '../http/arrival.ts'
import type { RequestFacts } from '../http/match.ts'
import type { Forward } from '../http/route.ts'
import type { Caller } from '../identity.ts'
import type { Link } from '../link.ts'
import { authorize, type Cargo, factsOf, UNASKED, type Way } from '../permit.ts'
import type { Endpoint } from '../service.ts'
import { type Snapshot, workloadAt } from '../snapshot.ts'
import type { Workload } from '../workload.ts'
import { nameWords } from './authorization-words.ts'
import type { Explained } from './explain.ts'
import { lookAtTokens, type TokenLook } from './token-look.ts'

/** What one policy makes of the call, whether or not one before it decides. */
export interface PolicyLook {
  /** `NAMESPACE/NAME`. */
  readonly policy: string
  readonly action: Action
  readonly dryRun: boolean
  /** The first of its rules that matches, 0-based; null: none does. */
  readonly matched: number | null
  /** Of the rules before that one: the first field that did not hold. */
  readonly failed: readonly { readonly rule: number; readonly field: string }[]
}

/** What is said at pods that are all of one mind. */
export interface ExplainedVerdict {
  /** `NAMESPACE/NAME`. */
  readonly pods: readonly string[]
  readonly port: number
  /** `unguarded`: nothing is enforced there, though policies are for it. */
  readonly verdict: 'allowed' | 'denied' | 'unguarded'
  readonly why: string
  /** Who would be asked before: what they would say is not known here. */
  readonly asks: readonly { readonly provider: string; readonly by: string; readonly isKnown: boolean }[]
  readonly tokens: TokenLook | null
  readonly audited: readonly string[]
  /** What policies in dry run would say, or null where there are none. */
  readonly dryRun: string | null
  readonly policies: readonly PolicyLook[]
}

/** How an endpoint would be reached. */
export interface Reached {
  readonly endpoint: Endpoint
  readonly link: Link
  /** The callee is captured on this very node. */
  readonly isNear: boolean
}

/** Pods of one destination that are judged. */
export const CALLEES_MOST = 64

/** What is asked about. */
export interface Call extends Pick<Explained, 'caller' | 'request' | 'carriage' | 'serverName'> {
  /** Whether the caller is captured: else nobody vouches for it, wherever it goes. */
  readonly isCaptured: boolean
  /** Milliseconds since 1970: by then tokens are valid, or not. */
  readonly nowMs: number
}

/** What is said at each pod that policies are for; those of one mind together. `unjudged`: pods beyond what is looked at. */
export function verdictsOf(
  snapshot: Snapshot,
  call: Call,
  forward: Forward,
  reached: readonly Reached[],
): { readonly verdicts: readonly ExplainedVerdict[]; readonly unjudged: number } {
  const guarded = reached.flatMap((one): Guarded[] => {
    const callee = workloadAt(snapshot, one.endpoint)
    if (callee === null || one.link.kind === 'refused') return []
    const protection = protectionOf(snapshot, callee, one.endpoint.address.port)
    return protection.table === null && protection.tokens.length === 0 ? [] : [{ ...one, callee, protection }]
  })
  const byMind = new Map<string, ExplainedVerdict>()
  for (const one of guarded.slice(0, CALLEES_MOST)) {
    const said = verdictAt(snapshot, call, forward, one)
    const mind = JSON.stringify(said)
    const pods = [...(byMind.get(mind)?.pods ?? []), nameWords({ ...one.callee, kind: 'Pod' })]
    byMind.set(mind, { pods, ...said })
  }
  return { verdicts: [...byMind.values()], unjudged: Math.max(0, guarded.length - CALLEES_MOST) }
}

interface Guarded extends Reached {
  readonly callee: Workload
  readonly protection: Protection
}

function verdictAt(snapshot: Snapshot, call: Call, forward: Forward, to: Guarded): Omit<ExplainedVerdict, 'pods'> {
  const { endpoint, callee, protection } = to
  const { port } = endpoint.address
  const { table, tokens } = protection
  const comes = cargoOf(snapshot, call, forward, to)
  const seen = comes.request === null || tokens.length === 0 ? null : lookAtTokens(tokens, comes.request, call.nowMs)
  const cargo = seen === null ? comes : { ...comes, request: seen.request }
  const way: Way = { caller: callerSeen(snapshot, call, to), endpoint, link: to.link, callee }
  const facts = factsOf(snapshot, way, cargo)
  const asked = table?.consultations(facts) ?? []
  const refused = seen?.look.refused ?? null
  const told = {
    port,
    asks: asked.map(({ provider, by }) => ({ provider, by: ruleText(by), isKnown: isKnown(snapshot, provider) })),
    tokens: seen?.look ?? null,
    policies: table === null ? [] : looks(table, facts),
  }
  const unguarded = unguardedWhy(call, to)
  if (unguarded !== null) return { ...told, verdict: 'unguarded', why: unguarded, audited: [], dryRun: null }
  const consented = cargo.request === null ? UNASKED : new Set(asked.map(({ provider }) => provider))
  const verdict = authorize(snapshot, way, { ...cargo, consented })
  const { audited = [], dryRun = null } = verdict.decision ?? {}
  const said = { ...told, audited: audited.map(ruleText), dryRun: dryRun === null ? null : verdictText(dryRun) }
  const lost = cargo.request === null ? undefined : asked.find(({ provider }) => !isKnown(snapshot, provider))
  if (refused !== null) return { ...said, verdict: 'denied', why: `${refused.status}: ${refused.reason}` }
  if (lost !== undefined) return { ...said, verdict: 'denied', why: `there is no provider ${lost.provider}` }
  if ('denied' in verdict) return { ...said, verdict: 'denied', why: verdict.denied }
  const by = verdict.decision?.allowedBy ?? null
  const why = by === null ? 'nothing denies it, and nobody has to allow it' : `${ruleText(by)} allows it`
  return { ...said, verdict: 'allowed', why }
}

/** Why nothing is enforced before the callee's port, or null. Of two that are captured here the one walk judges every port. */
function unguardedWhy({ isCaptured }: Call, { callee, endpoint, isNear }: Guarded): string | null {
  if (isNear && isCaptured) return null
  if (callee.terms.excludeInboundPorts.includes(endpoint.address.port)) return 'its port is excluded from capture'
  if (isNear) return null
  if (callee.captured === null) return 'it is not captured'
  return callee.agentReady ? null : 'the agent of its node is not ready'
}

function isKnown({ settings }: Snapshot, provider: string): boolean {
  return settings.mesh.authorizers.some(({ name }) => name === provider)
}

/** Who calls, as far as the callee's node can tell: by the network namespace here, by a certificate from elsewhere. */
function callerSeen({ settings }: Snapshot, { caller, isCaptured }: Call, { isNear, link }: Guarded): Caller {
  if (!isCaptured) return { kind: 'unproven', why: 'it is not captured' }
  if (isNear) return { kind: 'workload', workload: caller, proof: 'netns' }
  if (link.kind !== 'tls') return { kind: 'unproven', why: 'it comes without TLS of the mesh' }
  const { namespace, serviceAccount } = caller
  const id = { trustDomain: settings.mesh.trustDomain, namespace, serviceAccount }
  return { kind: 'peer', id, workload: caller, proof: 'tls', certificate: '' }
}

function cargoOf(snapshot: Snapshot, call: Call, forward: Forward, { endpoint, link, isNear }: Guarded): Cargo {
  const { caller, request, carriage, serverName } = call
  const family = familyOf(endpoint.address.ip)
  const client = caller.ips.find((ip) => familyOf(ip) === family) ?? caller.ips[0] ?? ''
  const { trustedProxies } = snapshot.settings.mesh
  // whoever is sent TLS of an application by another node cannot read in it
  if (!isNear && link.kind === 'originated') {
    return { client, serverName: link.serverName, request: null, consented: UNASKED }
  }
  const arriving =
    carriage === 'flows' ? null : arrivingOf(request, forward, { port: endpoint.address.port, client, trustedProxies })
  return { client, serverName, request: arriving, consented: UNASKED }
}

interface Arrives {
  readonly port: number
  readonly client: string
  readonly trustedProxies: number
}

/** Stands for the request id that the mesh adds where there is none. */
const SOME_ID = '00000000-0000-4000-8000-000000000000'

/** The request as it arrives, with what its rule changes. Of who calls it says nothing in headers here. */
function arrivingOf(came: RequestFacts, { target, authority, changes }: Forward, at: Arrives): Arriving {
  const { port, client, trustedProxies } = at
  const arrives = { method: came.method, scheme: came.scheme, target: target ?? came.target }
  const host = authority ?? came.authority
  const added = (name: string): string | undefined => {
    if (name === 'x-request-id') return SOME_ID
    return name === 'x-forwarded-proto' ? came.scheme : undefined
  }
  const header = (name: string): string | undefined => {
    if (name === 'host') return host
    if (name === 'x-forwarded-client-cert') return undefined
    return changedField(name, came.header(name) ?? added(name), changes.request)
  }
  const remoteIp = remoteIpOf(header('x-forwarded-for'), client, trustedProxies)
  return { ...arrives, authority: host, port, header, remoteIp, tokens: [] }
}

function looks(table: NonNullable<Protection['table']>, facts: Facts): readonly PolicyLook[] {
  return traceOf(table, facts).map(({ policy, action, dryRun, matched, rules }) => ({
    ...{ policy: nameWords(policy), action, dryRun, matched },
    failed: rules.flatMap(({ rule, failed }) => (failed === null ? [] : [{ rule, field: failed }])),
  }))
}
