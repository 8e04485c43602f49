// What stands before a pod: for each of its ports the policies in the order in which they are looked at, whose tokens are
// believed, and whether plaintext is taken. As a document: plain values that cross to a terminal or a script.

import { addressText } from '../address.ts'
import { isAimedAt, protectionOf } from '../authorization/protection.ts'
import { type Action, type Aim, type AuthorizationPolicy, isOfRequest, type Rule } from '../authorization/policy.ts'
import { type JwtRule, keySetOf, type RequestAuthentication } from '../authentication/request-authentication.ts'
import { lookoutOf } from '../authentication/tokens-in.ts'
import { identityOf } from '../identity.ts'
import type { PeerMode } from '../peer-authentication.ts'
import { peerDecision, type ServiceAt, type Snapshot } from '../snapshot.ts'
import type { Workload } from '../workload.ts'
import { keysWords, nameWords, placeWords, ruleWords } from './authorization-words.ts'
import { podOf, Unanswerable } from './explain.ts'

/** What is asked: before which pod, and before which of its ports; null: all that anything is known of, and any other. */
export interface AuthorizationQuestion {
  readonly namespace: string
  readonly pod: string
  readonly port: number | null
}

/** How it stands with a set of keys. */
export interface KeySetState {
  /** Keys that are had; 0: no token is good by it. */
  readonly keys: number
  /** Since when, in milliseconds since 1970; null where it was never fetched. */
  readonly fetchedMs: number | null
  /** Why they could not be had the last time, or some of them not be used; or null. */
  readonly failure: string | null
}

/** Sets of keys as the node has them now. */
export interface KeySetStates {
  /** `name` as keySetOf() has it; null: nothing is known of such a set. */
  stateOf(name: string): KeySetState | null
}

/** What only the node knows of this moment. */
export interface Standing {
  /** Null where the pod is captured; else why it is not. */
  uncapturedWhy(pod: Workload): string | null
  readonly keySets: KeySetStates
}

export interface ToldRule {
  /** Its place in the object, 0-based. */
  readonly rule: number
  readonly text: string
  /** What is other of it at this port, or null. */
  readonly note: string | null
}

export interface ToldPolicy {
  /** `NAMESPACE/NAME`. */
  readonly policy: string
  readonly action: Action
  readonly dryRun: boolean
  /** Why it is for this port. */
  readonly why: string
  /** Who is asked, for CUSTOM. */
  readonly provider: string | null
  /** Whether the mesh's settings have that provider; true where there is none to have. */
  readonly isProviderKnown: boolean
  readonly rules: readonly ToldRule[]
}

export interface ToldTokens {
  /** `NAMESPACE/NAME` of the RequestAuthentication. */
  readonly by: string
  readonly why: string
  readonly issuer: string
  /** Empty: any. */
  readonly audiences: readonly string[]
  readonly places: readonly string[]
  /** Where its keys come from, and how it stands with them; null: nothing is known. */
  readonly keys: string
  readonly state: KeySetState | null
  /** Whether a request without a token is refused. */
  readonly required: boolean
}

export interface PortAuthorizations {
  /** Null: any port that is not told of by itself. */
  readonly port: number | null
  /** Ports of Services that it stands behind. */
  readonly behind: readonly string[]
  /** Why little is enforced there, or null. */
  readonly unenforced: string | null
  readonly peerAuthentication: { readonly mode: PeerMode; readonly by: string | null }
  readonly policies: readonly ToldPolicy[]
  /** What becomes of a call that no rule matches. */
  readonly otherwise: 'allowed' | 'denied'
  /** None where what comes is carried as bytes: nobody looks for tokens there. */
  readonly tokens: readonly ToldTokens[]
}

export interface Authorizations {
  readonly node: string
  /** Version of the snapshot that was asked. */
  readonly snapshot: number
  readonly pod: string
  readonly identity: string | null
  /** Why nothing of all this is enforced: the pod is not captured. Null: it is. */
  readonly unenforced: string | null
  readonly ports: readonly PortAuthorizations[]
}

/** No port of anything: what is for it is for all ports of which nothing particular is said. */
const ANY_OTHER = 0

const EXCLUDED =
  'the pod excludes the port from capture (weft.dev/exclude-inbound-ports): none but captured pods of its own node are judged'

/** Tells what stands before a pod. Throws Unanswerable, with one sentence, where the node cannot know. */
export function authorizationsOf(
  snapshot: Snapshot,
  { namespace, pod: name, port }: AuthorizationQuestion,
  standing: Standing,
): Authorizations {
  const pod = podOf(snapshot, { namespace, pod: name })
  const { node, mesh } = snapshot.settings
  if (pod.node !== null && pod.node !== node) {
    throw new Unanswerable(`pod ${namespace}/${name} is on node ${pod.node}: its agent knows`)
  }
  const behind = behindOf(snapshot, pod)
  const told = port === null ? portsOf(snapshot, pod, behind) : [port]
  return {
    node,
    snapshot: snapshot.version,
    pod: nameWords({ ...pod, kind: 'Pod' }),
    identity: identityOf(pod, mesh),
    unenforced: standing.uncapturedWhy(pod),
    ports: told.map((each) => before(snapshot, pod, { port: each, behind: behind.get(each) ?? [] }, standing)),
  }
}

/** The Services that each port of a pod stands behind. */
function behindOf({ serviceByHost }: Snapshot, pod: Workload): ReadonlyMap<number, readonly ServiceAt[]> {
  const own = new Set(pod.ips)
  const found = new Map<number, ServiceAt[]>()
  for (const service of serviceByHost.values()) {
    for (const port of service.ports) {
      for (const at of new Set(port.endpoints.flatMap(({ address }) => (own.has(address.ip) ? [address.port] : [])))) {
        found.set(at, [...(found.get(at) ?? []), { service, port }])
      }
    }
  }
  return found
}

/** Ports of which something particular is said, in order, and any other. */
function portsOf(snapshot: Snapshot, pod: Workload, behind: ReadonlyMap<number, unknown>): readonly number[] {
  peerDecision(snapshot, pod, ANY_OTHER) // works the modes out
  const { ports } = snapshot.peerModes.get(pod) ?? {}
  const named = new Set([...behind.keys(), ...(ports?.keys() ?? []), ...pod.terms.excludeInboundPorts])
  return [...[...named].sort((one, other) => one - other), ANY_OTHER]
}

interface Place {
  readonly port: number
  readonly behind: readonly ServiceAt[]
}

function before(snapshot: Snapshot, pod: Workload, place: Place, { keySets }: Standing): PortAuthorizations {
  const { port, behind } = place
  const { table, tokens } = protectionOf(snapshot, pod, port)
  const { mode, by } = peerDecision(snapshot, pod, port)
  const isExcluded = pod.terms.excludeInboundPorts.includes(port)
  const policies = table?.policies ?? []
  // what a pod is sent goes by what the first of its Services declares
  const isOpaque = snapshotOpaque(snapshot, pod, port)
  return {
    port: port === ANY_OTHER ? null : port,
    behind: behind.map(({ service, port: at }) => {
      return `port ${at.port} (${at.protocol}) of Service ${service.namespace}/${service.name}`
    }),
    unenforced: isExcluded ? EXCLUDED : null,
    peerAuthentication: { mode, by: by === null ? null : nameWords(by) },
    policies: policies.map((policy) => toldPolicy(snapshot, policy, { behind, isOpaque })),
    otherwise: policies.some(({ action, dryRun }) => action === 'ALLOW' && !dryRun) ? 'denied' : 'allowed',
    tokens: (isOpaque ? [] : tokens).map((rule) => toldTokens(snapshot, rule, { pod, behind, keySets })),
  }
}

function snapshotOpaque({ servicesByEndpoint }: Snapshot, { ips }: Workload, port: number): boolean {
  const [ip] = ips
  return ip !== undefined && servicesByEndpoint.get(addressText({ ip, port }))?.[0]?.port.protocol === 'opaque'
}

interface At {
  readonly behind: readonly ServiceAt[]
  /** Whether what comes there is carried as bytes, for so its port is declared. */
  readonly isOpaque: boolean
}

function toldPolicy(snapshot: Snapshot, policy: AuthorizationPolicy, { behind, isOpaque }: At): ToldPolicy {
  const { ref, action, dryRun, rules, provider } = policy
  const isCustom = action === 'CUSTOM'
  return {
    ...{ policy: nameWords(ref), action, dryRun, why: whyOf(snapshot, policy, behind) },
    provider: isCustom ? provider : null,
    isProviderKnown: !isCustom || snapshot.settings.mesh.authorizers.some(({ name }) => name === provider),
    rules: rules.map((rule, index) => {
      const note = isOpaque && asksForRequest(rule) ? OPAQUE_NOTES[action] : null
      return { rule: index, text: ruleWords(rule), note }
    }),
  }
}

const UNREAD = 'what comes here is carried as bytes'
const OPAQUE_NOTES: Readonly<Record<Action, string>> = {
  ALLOW: `${UNREAD}: it never matches`,
  DENY: `${UNREAD}: what it asks of requests counts as met`,
  AUDIT: `${UNREAD}: what it asks of requests counts as met`,
  CUSTOM: `${UNREAD}: nobody can be asked, and what it matches is denied`,
}

function asksForRequest({ from, to, when }: Rule): boolean {
  return [...from, ...to, when].flat().some(({ attribute }) => isOfRequest(attribute))
}

/** Why an object is for a port that stands behind these Services. */
function whyOf({ rootNamespace }: Snapshot, { ref, selector, targets }: Aim, behind: readonly ServiceAt[]): string {
  if (targets !== null) {
    const met = targets.filter(({ namespace, name }) => {
      return behind.some(({ service }) => service.namespace === namespace && service.name === name)
    })
    return met.map(({ namespace, name }) => `for Service ${namespace}/${name}`).join(', ')
  }
  const isOfRoot = ref.namespace === rootNamespace
  if (selector === null) return isOfRoot ? 'for the whole mesh' : `for namespace ${ref.namespace}`
  const labels = Object.entries(selector).map(([name, value]) => `${name}=${value}`)
  return `for pods with ${labels.length === 0 ? 'any labels' : labels.join(', ')}${isOfRoot ? ' of any namespace' : ''}`
}

interface Around {
  readonly pod: Workload
  readonly behind: readonly ServiceAt[]
  readonly keySets: KeySetStates
}

function toldTokens(snapshot: Snapshot, rule: JwtRule, { pod, behind, keySets }: Around): ToldTokens {
  const { issuer, audiences, required } = rule
  const object = objectOf(snapshot, rule, { pod, behind })
  return {
    by: object === null ? '' : nameWords(object.ref),
    why: object === null ? '' : whyOf(snapshot, object, behind),
    ...{ issuer, audiences, required, places: lookoutOf([rule]).places.map(placeWords) },
    keys: keysWords(rule),
    state: keySets.stateOf(keySetOf(rule)),
  }
}

/** The object that a rule stands in. */
function objectOf(
  { requestAuthentications, rootNamespace }: Snapshot,
  rule: JwtRule,
  { pod, behind }: Pick<Around, 'pod' | 'behind'>,
): RequestAuthentication | null {
  const speaking = [rootNamespace, pod.namespace].flatMap((namespace) => requestAuthentications.get(namespace) ?? [])
  return speaking.find((one) => one.rules.includes(rule) && isAimedAt(one, pod, behind)) ?? null
}
