// What is found of AuthorizationPolicies and RequestAuthentications: whom they are for, who could match them, whom they ask.

import { type Code, type Severity, severityOf } from './codes.ts'
import {
  absence,
  type AnalysisWorld,
  type Finding,
  type KnownPod,
  type KnownService,
  knowsPods,
  keyOf,
  labelsText,
  nameOfService,
  namespacesOf,
  podsBehind,
  podsIn,
} from './world.ts'
import { type Aim, type AuthorizationPolicy, type Condition, isOfRequest, type Rule } from '../authorization/policy.ts'
import { isAimedAt } from '../authorization/protection.ts'
import type { RequestAuthentication } from '../authentication/request-authentication.ts'
import { authenticationEnforcements, authorizationEnforcements, type Enforcement } from '../enforcement.ts'
import type { ServicePort } from '../service.ts'

/** What `cluster.local` means whatever the mesh is called: the mesh itself (Istio). */
const OWN = 'cluster.local'

export function analyseAuthorization(world: AnalysisWorld): readonly Finding[] {
  const { authorizationPolicies: policies, requestAuthentications: authentications } = world
  return [
    ...[...policies, ...authentications].flatMap((one) => analyseAim(world, one)),
    ...policies.flatMap((one) => [
      ...analyseProvider(world, one),
      ...one.rules.flatMap((rule, index) => analyseRule(world, one, { rule, index })),
      ...analyseOpaque(world, one),
    ]),
    ...authentications.flatMap((one) => analyseDemand(world, one)),
    ...analyseEnforcement(world),
  ]
}

/** Targets that are not there, and selectors that no pod meets. */
function analyseAim(world: AnalysisWorld, one: Aim): readonly Finding[] {
  const { ref, selector, targets } = one
  if (targets !== null) {
    const unknown = targets.filter((target) => serviceNamed(world, target) === null)
    return unknown.map((target) => {
      const hasOthers = world.services.some(({ service }) => service.namespace === target.namespace)
      const severity: Severity = world.from === 'cluster' || hasOthers ? 'error' : 'warning'
      const message = `Service ${keyOf(target)} ${absence(world)}`
      return { ...found('WEFT0507', one, 'spec.targetRefs', message), severity }
    })
  }
  if (selector === null || podsUnder(world, one)?.length !== 0) return []
  const where = ref.namespace === world.rootNamespace ? '' : ` in namespace ${ref.namespace}`
  const of = world.from === 'files' ? ' of the given files' : ' of the mesh'
  return [found('WEFT0506', one, 'spec.selector', `no pod${of}${where} carries ${labelsText(selector)}`)]
}

/** A provider that nobody has named: whatever is asked about is refused. */
function analyseProvider({ mesh, from }: AnalysisWorld, one: AuthorizationPolicy): readonly Finding[] {
  if (one.action !== 'CUSTOM' || mesh === null) return []
  if (mesh.authorizers.some(({ name }) => name === one.provider)) return []
  const where = from === 'cluster' ? 'the settings of the mesh have' : 'the given settings of the mesh have'
  const message = `${where} no authorizer '${one.provider}': whatever is asked about is refused`
  return [found('WEFT0501', one, 'spec.provider.name', message)]
}

interface RuleAt {
  readonly rule: Rule
  readonly index: number
}

/** Trust domains that nobody is of, and what nobody can match: rules of an ALLOW, and what else would be matched. */
function analyseRule(world: AnalysisWorld, one: AuthorizationPolicy, { rule, index }: RuleAt): readonly Finding[] {
  const path = `spec.rules[${index}]`
  const all = [...rule.from, ...rule.to, rule.when].flat()
  const strange = all.flatMap((condition) => {
    const field = `${path}.${condition.field}`
    const domains = new Set([...condition.values, ...condition.notValues].flatMap((text) => domainOf(condition, text)))
    return [...domains]
      .filter((domain) => !isKnown(world, domain))
      .map((domain) => found('WEFT0508', one, field, `trust domain ${domain} is neither the mesh’s nor an alias of it`))
  })
  if (one.action !== 'ALLOW') {
    // who is to be denied, asked about or noted is not, by each text that nothing is
    const idle = all.flatMap(({ attribute: { kind }, field, values }) => {
      return values.flatMap((value) => {
        const reason = misshapen(kind, value)
        return reason === null ? [] : [found('WEFT0504', one, `${path}.${field}`, reason)]
      })
    })
    return [...strange, ...idle]
  }
  const why = unmatched(world, rule)
  return why === null ? strange : [...strange, found('WEFT0504', one, `${path}.${why.field}`, why.reason)]
}

/** The trust domain that a value names; none where a wildcard stands for it. */
function domainOf({ attribute: { kind } }: Condition, text: string): readonly string[] {
  if (kind === 'source.trustDomain') return text.includes('*') ? [] : [text]
  if (kind !== 'source.principal') return []
  const [domain = '', ...rest] = text.split('/')
  return rest.length === 0 || domain.includes('*') || domain.endsWith(':') ? [] : [domain]
}

function isKnown({ mesh }: AnalysisWorld, domain: string): boolean {
  return mesh === null || [OWN, mesh.trustDomain, ...mesh.trustDomainAliases].includes(domain)
}

/** Why nobody can match a rule: of a list that must hold no entry can, or a condition of `when` cannot. */
function unmatched(world: AnalysisWorld, { from, to, when }: Rule): { field: string; reason: string } | null {
  for (const condition of when) {
    const reason = impossible(world, condition)
    if (reason !== null) return { field: condition.field, reason }
  }
  for (const entries of [from, to]) {
    const whys = entries.map((entry) => {
      for (const condition of entry) {
        const reason = impossible(world, condition)
        if (reason !== null) return { field: condition.field, reason }
      }
      return null
    })
    const [first = null] = whys
    if (first !== null && whys.every((why) => why !== null)) return first
  }
  return null
}

const PRINCIPAL = /^[^/]+\/ns\/[^/]+\/sa\/[^/]+$/

/** Why nothing is ever as a text is, whoever calls; null: something may be. */
function misshapen(kind: Condition['attribute']['kind'], text: string): string | null {
  if (kind === 'source.principal') {
    if (text.includes('*') || PRINCIPAL.test(text)) return null
    return `nobody can match it: a principal is TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, and ${text} is none`
  }
  if (kind !== 'request.path' || text.startsWith('/') || text.startsWith('*')) return null
  return `nobody can match it: a path begins with /, and ${text} does not`
}

/** Why none of a condition's values can ever match; null where one may. */
function impossible(world: AnalysisWorld, { attribute: { kind }, values }: Condition): string | null {
  if (values.length === 0) return null
  const none = (may: (value: string) => boolean): boolean => !values.some((value) => may(value))
  const said = values.join(', ')
  switch (kind) {
    case 'source.principal':
    case 'request.path':
      return none((value) => misshapen(kind, value) === null) ? misshapen(kind, said) : null
    case 'source.namespace':
      if (world.namespaces === null || !none((value) => value.includes('*') || namespacesOf(world).has(value)))
        return null
      return `nobody can match it: namespace ${said} ${absence(world)}`
    case 'request.method':
      if (!none((value) => value.includes('*') || value !== value.toLowerCase())) return null
      return `nobody can match it: letters of a method have their case, and ${said} is not ${said.toUpperCase()}`
    default:
      return null
  }
}

/**
 * Rules that ask for requests, at ports that are declared to have none. An ALLOW matches nothing there; a DENY leaves what it
 * asks of requests out, and where it asks for nothing else denies everything.
 */
function analyseOpaque(world: AnalysisWorld, one: AuthorizationPolicy): readonly Finding[] {
  if (one.action !== 'ALLOW' && one.action !== 'DENY') return []
  const ports = portsUnder(world, one)
  const opaque = ports.filter(({ port }) => port.protocol === 'opaque')
  if (opaque.length === 0) return []
  return one.rules.flatMap((rule, index) => {
    if (!asksForRequests(rule)) return []
    const named = portsNamed(rule)
    const at = opaque.find(({ target }) => (named === null ? opaque.length === ports.length : named.has(target)))
    const any = opaque.find(({ target }) => named === null || named.has(target))
    const field = `spec.rules[${index}]`
    if (one.action === 'ALLOW') {
      if (at === undefined) return []
      return [found('WEFT0502', one, field, `it matches nothing at ${placeOf(at)}, which is declared to be no HTTP`)]
    }
    if (any === undefined || !asksForRequestsAlone(rule)) return []
    return [found('WEFT0503', one, field, `it denies everything at ${placeOf(any)}, which is declared to be no HTTP`)]
  })
}

interface PortUnder {
  readonly known: KnownService
  readonly port: ServicePort
  /** Where pods listen. */
  readonly target: number
}

function placeOf({ known, port, target }: PortUnder): string {
  return `port ${target} of pods behind ${nameOfService(known)} (its port ${port.port})`
}

/** Ports of Services with a pod behind them that an object is for. */
function portsUnder(world: AnalysisWorld, one: Aim): readonly PortUnder[] {
  const pods = new Set(podsUnder(world, one) ?? [])
  return world.services.flatMap((known) => {
    const isUnder = podsBehind(world, known)?.some((pod) => pods.has(pod)) === true && isTargeted(one, known)
    if (!isUnder) return []
    return known.service.ports.flatMap((port, index) => {
      const target = known.places[index]?.target ?? null
      return target === null ? [] : [{ known, port, target }]
    })
  })
}

function isTargeted({ targets }: Aim, { service }: KnownService): boolean {
  return targets === null || targets.some((target) => keyOf(target) === keyOf(service))
}

function asksForRequests({ from, to, when }: Rule): boolean {
  const isAsking = (entry: readonly Condition[]): boolean => entry.some(({ attribute }) => isOfRequest(attribute))
  return isAsking(when) || [from, to].some((entries) => entries.length > 0 && entries.every(isAsking))
}

/** Whether some way to match it asks for nothing of the connection. */
function asksForRequestsAlone({ from, to, when }: Rule): boolean {
  const isAlone = (entry: readonly Condition[]): boolean => entry.every(({ attribute }) => isOfRequest(attribute))
  return isAlone(when) && [from, to].every((entries) => entries.length === 0 || entries.some(isAlone))
}

/** The ports that a rule names; null where it is for all. */
function portsNamed({ to, when }: Rule): ReadonlySet<number> | null {
  const ports = (entry: readonly Condition[]): readonly string[] | null => {
    return (
      entry.find(({ attribute, values }) => attribute.kind === 'destination.port' && values.length > 0)?.values ?? null
    )
  }
  const said = [ports(when), ...to.map(ports)]
  if (said.every((list) => list === null)) return null
  return new Set(said.flatMap((list) => list ?? []).map(Number))
}

/** Tokens that are looked at, and that nobody has to have: who comes without one passes. */
function analyseDemand(world: AnalysisWorld, one: RequestAuthentication): readonly Finding[] {
  if (one.rules.length === 0 || one.rules.some(({ required }) => required)) return []
  const demanding = world.authorizationPolicies.filter((policy) => !policy.dryRun && looksAtTokens(policy))
  const pods = podsUnder(world, one)
  const near = [one.ref.namespace, world.rootNamespace]
  const isDemanded =
    pods === null
      ? demanding.some(({ ref }) => near.includes(ref.namespace))
      : pods.every((pod) => demanding.some((policy) => podsUnder(world, policy)?.includes(pod) ?? false))
  if (isDemanded) return []
  const message = 'no AuthorizationPolicy looks at tokens where it is for: a request without one passes'
  return [found('WEFT0505', one, '', message)]
}

const OF_TOKENS: ReadonlySet<string> = new Set([
  ...['request.principal', 'request.audiences', 'request.presenter', 'request.claim'],
])

function looksAtTokens({ action, rules }: AuthorizationPolicy): boolean {
  if (action !== 'ALLOW' && action !== 'DENY') return false
  const conditions = rules.flatMap(({ from, to, when }) => [...from, ...to, when].flat())
  return conditions.some(({ attribute }) => OF_TOKENS.has(attribute.kind))
}

/** The pods of the mesh that an object is for; null where that is not known. */
function podsUnder(world: AnalysisWorld, aim: Aim): readonly KnownPod[] | null {
  const { namespace } = aim.ref
  if (aim.targets !== null) {
    const behind = aim.targets.map((target) => {
      const known = serviceNamed(world, target)
      return known === null ? null : podsBehind(world, known)
    })
    return behind.includes(null) ? null : [...new Set(behind.flatMap((pods) => pods ?? []))]
  }
  const isForMesh = namespace === world.rootNamespace
  if (isForMesh ? world.from === 'files' : !knowsPods(world, namespace)) return null
  const near = isForMesh ? world.pods : podsIn(world, namespace)
  return near.filter((pod) => pod.joined !== false && isAimedAt(aim, pod, []))
}

function serviceNamed(
  world: AnalysisWorld,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): KnownService | null {
  return world.services.find(({ service }) => service.namespace === namespace && service.name === name) ?? null
}

/** Pods that an object is for, and that nobody guards. What files would make is captured once it runs. */
function analyseEnforcement(world: AnalysisWorld): readonly Finding[] {
  if (world.from === 'files') return []
  const pods = world.pods.filter(({ joined }) => joined === true)
  const ground = { pods, rootNamespace: world.rootNamespace }
  return [
    ...unkept(world.authorizationPolicies, authorizationEnforcements(world.authorizationPolicies, ground)),
    ...unkept(world.requestAuthentications, authenticationEnforcements(world.requestAuthentications, ground)),
  ]
}

function unkept(all: readonly Aim[], kept: ReadonlyMap<string, Enforcement>): readonly Finding[] {
  return all.flatMap((one) => {
    const { pods = 0, uncaptured = 0, named = [] } = kept.get(keyOf(one.ref)) ?? {}
    if (uncaptured === 0) return []
    const more = uncaptured > named.length ? ` and ${uncaptured - named.length} more` : ''
    const message = `${uncaptured} of ${pods} pods under it take whatever comes, not being captured: ${named.join(', ')}${more}`
    return [found('WEFT0509', one, '', message)]
  })
}

function found(code: Code, { ref }: Aim, field: string, message: string): Finding {
  return { code, severity: severityOf(code), object: ref, field, message }
}
