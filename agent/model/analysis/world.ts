// What an analysis looks at, and what it finds: plain values, whether a cluster was read or files alone.

import type { Code, Severity } from './codes.ts'
import type { RequestAuthentication } from '../authentication/request-authentication.ts'
import type { AuthorizationPolicy } from '../authorization/policy.ts'
import type { MeshSettings } from '../mesh-settings.ts'
import type { FlowRule, HttpRule, Problem, VirtualService } from '../policy.ts'
import type { PeerAuthentication } from '../peer-authentication.ts'
import type { Service, ServicePort } from '../service.ts'
import type { DestinationRule } from '../traffic-policy.ts'
import type { ObjectRef } from '../workload.ts'

/** One thing that an author would want to know of an object. */
export interface Finding {
  readonly code: Code
  readonly severity: Severity
  readonly object: ObjectRef
  /** Path of the field, as in `spec.http[0].route[1]`; empty when the whole object is meant. */
  readonly field: string
  /** One sentence, without a full stop. */
  readonly message: string
}

/** A finding of one object, before it has one. Without a severity the first that its code has. */
export type Found = Omit<Finding, 'object' | 'severity'> & { readonly severity?: Severity }

/** A Service with what only its author's words tell. */
export interface KnownService {
  readonly service: Service
  /** Labels of the pods behind it; null: none are selected, its endpoints are given by hand or it names another host. */
  readonly selector: Readonly<Record<string, string>> | null
  /** Of each of the service's ports, in their order: its path, and where pods listen; null where that goes by a name. */
  readonly places: readonly { readonly field: string; readonly target: number | null }[]
  /** Ports that are not TCP: the path of each, its number and protocol. */
  readonly otherPorts: readonly { readonly field: string; readonly port: number; readonly protocol: string }[]
}

/** A pod that runs, or that a template of a given workload would make. */
export interface KnownPod {
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** Whether it is in the mesh; null where its namespace was not given. */
  readonly joined: boolean | null
  /** The agent that announced to have captured it, or null. */
  readonly captured: string | null
}

/** Where a rule of the model stands in its object: rules and entries that are for gateways alone are no part of the model. */
export interface RulePlace {
  readonly path: string
  readonly matches: readonly string[]
  readonly mirrors: readonly string[]
}

export interface Places {
  readonly http: readonly RulePlace[]
  readonly tls: readonly RulePlace[]
  readonly tcp: readonly RulePlace[]
}

/** One rule of a VirtualService, of whichever list. */
export type RuleAt = { readonly place: RulePlace } & (
  { readonly list: 'http'; readonly rule: HttpRule } | { readonly list: 'tls' | 'tcp'; readonly rule: FlowRule }
)

/** Everything that was read. */
export interface AnalysisWorld {
  /** `cluster`: what is not there does not exist; `files`: it may be elsewhere. */
  readonly from: 'cluster' | 'files'
  readonly clusterDomain: string
  readonly rootNamespace: string
  /** All that there are; null where that is not known. */
  readonly namespaces: readonly string[] | null
  readonly services: readonly KnownService[]
  readonly pods: readonly KnownPod[]
  readonly virtualServices: readonly VirtualService[]
  readonly destinationRules: readonly DestinationRule[]
  readonly peerAuthentications: readonly PeerAuthentication[]
  readonly authorizationPolicies: readonly AuthorizationPolicy[]
  readonly requestAuthentications: readonly RequestAuthentication[]
  /** Null where they are not known: files without them. */
  readonly mesh: MeshSettings | null
  /** By `keyOf` of a VirtualService; those of the model's own order where one is not there. */
  readonly places: ReadonlyMap<string, Places>
  /** Why objects are not in force. */
  readonly rejected: readonly Problem[]
  /** Fields that are not honoured. */
  readonly unhonoured: readonly Problem[]
  /** Objects of kinds that the mesh does not read; `guards`: of those that keep somebody out. */
  readonly unread: readonly { readonly object: ObjectRef; readonly guards: boolean }[]
}

/** `namespace/name`. */
export const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  `${namespace}/${name}`

/** `Kind namespace/name`, as objects are named in a sentence. */
export const nameOf = ({ kind, namespace, name }: ObjectRef): string =>
  `${kind} ${namespace === '' ? name : `${namespace}/${name}`}`

/** How a Service is named in a sentence. */
export const nameOfService = ({ service }: KnownService): string => `Service ${service.namespace}/${service.name}`

/** What an analysis looks up again and again, worked out once a world. */
interface Index {
  readonly services: ReadonlyMap<string, KnownService>
  readonly podsByNamespace: ReadonlyMap<string, readonly KnownPod[]>
  readonly virtualServices: ReadonlyMap<string, VirtualService>
  readonly namespaces: ReadonlySet<string>
  readonly exactRules: ReadonlyMap<string, readonly DestinationRule[]>
  readonly wildRules: readonly DestinationRule[]
  readonly behind: Map<KnownService, readonly KnownPod[]>
}

const INDICES = new WeakMap<AnalysisWorld, Index>()

function indexOf(world: AnalysisWorld): Index {
  let index = INDICES.get(world)
  if (index === undefined) {
    const { services, pods, virtualServices, destinationRules } = world
    const guards = [...world.peerAuthentications, ...world.authorizationPolicies, ...world.requestAuthentications]
    const objects = [...virtualServices, ...destinationRules, ...guards]
    const named = [...pods.map(({ namespace }) => namespace), ...objects.map(({ ref }) => ref.namespace)]
    index = {
      services: new Map(services.map((known) => [known.service.host, known])),
      podsByNamespace: Map.groupBy(pods, ({ namespace }) => namespace),
      virtualServices: new Map(virtualServices.map((one) => [keyOf(one.ref), one])),
      namespaces: new Set([
        ...(world.namespaces ?? []),
        ...services.map(({ service }) => service.namespace),
        ...named,
        world.rootNamespace,
      ]),
      exactRules: Map.groupBy(
        destinationRules.filter(({ host }) => !host.startsWith('*')),
        ({ host }) => host,
      ),
      wildRules: destinationRules.filter(({ host }) => host.startsWith('*')),
      behind: new Map(),
    }
    INDICES.set(world, index)
  }
  return index
}

/** The Service of a host. */
export function serviceAt(world: AnalysisWorld, host: string): KnownService | null {
  return indexOf(world).services.get(host) ?? null
}

/** All Services that a host speaks of: one, or those that a wildcard covers. */
export function servicesOf(world: AnalysisWorld, host: string): readonly KnownService[] {
  if (!host.startsWith('*')) return [serviceAt(world, host)].filter((one) => one !== null)
  return world.services.filter(({ service }) => service.host.endsWith(host.slice(1)))
}

/** A VirtualService by namespace and name. */
export function virtualServiceNamed(
  world: AnalysisWorld,
  at: { readonly namespace: string; readonly name: string },
): VirtualService | null {
  return indexOf(world).virtualServices.get(keyOf(at)) ?? null
}

/** Every namespace that something of the world is in. */
export function namespacesOf(world: AnalysisWorld): ReadonlySet<string> {
  return indexOf(world).namespaces
}

/** DestinationRules that speak of a host, by its name or by a wildcard. */
export function rulesFor(world: AnalysisWorld, host: string): readonly DestinationRule[] {
  const { exactRules, wildRules } = indexOf(world)
  return [...(exactRules.get(host) ?? []), ...wildRules.filter((rule) => host.endsWith(rule.host.slice(1)))]
}

/** The pods that a Service selects; null where that is not known. */
export function podsBehind(world: AnalysisWorld, known: KnownService): readonly KnownPod[] | null {
  const { selector, service } = known
  if (selector === null || !knowsPods(world, service.namespace)) return null
  const { behind } = indexOf(world)
  let pods = behind.get(known)
  if (pods === undefined) {
    pods = podsIn(world, service.namespace).filter(({ labels }) => carries(labels, selector))
    behind.set(known, pods)
  }
  return pods
}

/** The pods of a namespace. */
export function podsIn(world: AnalysisWorld, namespace: string): readonly KnownPod[] {
  return indexOf(world).podsByNamespace.get(namespace) ?? []
}

/** Whether the pods of a namespace are known: files with no workload of it say nothing of its pods. */
export function knowsPods(world: AnalysisWorld, namespace: string): boolean {
  return world.from === 'cluster' || podsIn(world, namespace).length > 0
}

/** Whether a set of labels has all that are wanted. */
export function carries(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value)
}

/** Labels as a selector is written: `app=front, version=v2`. */
export function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(', ')
}

/** Where the rules of a VirtualService stand. */
export function placesOf(world: AnalysisWorld, { ref, http, tls, tcp }: VirtualService): Places {
  const known = world.places.get(keyOf(ref))
  if (known !== undefined) return known
  const natural = (list: string, rules: readonly { readonly matches: readonly unknown[] }[]): RulePlace[] =>
    rules.map(({ matches }, index) => {
      const path = `spec.${list}[${index}]`
      return { path, matches: matches.map((_, at) => `${path}.match[${at}]`), mirrors: [] }
    })
  return { http: natural('http', http), tls: natural('tls', tls), tcp: natural('tcp', tcp) }
}

/** All rules of a VirtualService, each with its place. */
export function rulesOf(world: AnalysisWorld, virtualService: VirtualService): readonly RuleAt[] {
  const places = placesOf(world, virtualService)
  const { http, tls, tcp } = virtualService
  const flows = (list: 'tls' | 'tcp', rules: readonly FlowRule[]): RuleAt[] =>
    rules.map((rule, index) => ({ list, rule, place: places[list][index] ?? NOWHERE }))
  return [
    ...http.map((rule, index): RuleAt => ({ list: 'http', rule, place: places.http[index] ?? NOWHERE })),
    ...flows('tls', tls),
    ...flows('tcp', tcp),
  ]
}

const NOWHERE: RulePlace = { path: 'spec', matches: [], mirrors: [] }

/** Where an entry of a rule's match stands. */
export function matchPath({ path, matches }: RulePlace, index: number): string {
  return matches[index] ?? `${path}.match[${index}]`
}

/** Where a mirror of a rule stands. */
export function mirrorPath({ path, mirrors }: RulePlace, index: number): string {
  return mirrors[index] ?? `${path}.mirrors[${index}].destination`
}

/** How it is said that something is nowhere to be found: `does not exist`, or of files that they do not have it. */
export function absence({ from }: AnalysisWorld): string {
  return from === 'cluster' ? 'does not exist' : 'is not in the given files'
}

/** The one port that a number means at a Service. */
export function portOf({ service }: KnownService, port: number): ServicePort | null {
  return service.ports.find((one) => one.port === port) ?? null
}

/** Numbers in a sentence: `80, 8080`; `none` where there are none. */
export function portsText({ service }: KnownService): string {
  return service.ports.length === 0 ? 'none' : service.ports.map(({ port }) => port).join(', ')
}
