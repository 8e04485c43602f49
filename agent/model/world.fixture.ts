// A small mesh for tests, built by name: services, the pods behind them, the policies over them. Every address, uid and
// date follows from the order of the calls, so that a test reads the same twice.

import type { RequestAuthentication } from './authentication/request-authentication.ts'
import type { AuthorizationPolicy } from './authorization/policy.ts'
import type { FlowMatch, HttpRule, RequestMatch, VirtualService, WeightedDestination } from './policy.ts'
import type { DestinationRule, PortPolicy, Subset, TrafficPolicy, Balancer, LoadBalancing } from './traffic-policy.ts'
import { familyOf } from './address.ts'
import { type Locality, NOWHERE_KNOWN, parseLocality } from './balance/locality.ts'
import { DEFAULT_MESH_SETTINGS, type MeshSettings } from './mesh-settings.ts'
import type { GivenMode, PeerAuthentication } from './peer-authentication.ts'
import type { DeclaredProtocol } from './protocol.ts'
import type { Endpoint, Service } from './service.ts'
import { compile, type Inventory, resolve, type Snapshot, type Target } from './snapshot.ts'
import { PLAIN_TERMS } from './terms.ts'
import {
  authorizationPolicyOf,
  type AuthorizationPolicyWish,
  requestAuthenticationOf,
  type RequestAuthenticationWish,
} from './security.fixture.ts'
import type { Workload } from './workload.ts'

export const ROOT_NAMESPACE = 'istio-system'

/** `targetPort` is where the pods listen, by default the port itself. */
export interface PortWish {
  readonly port: number
  readonly name?: string
  readonly protocol?: DeclaredProtocol
  readonly targetPort?: number
}

/** Without `ports` a service has one: 80, http, pods at 8080. */
export type ServiceWish = Partial<Omit<Service, 'host' | 'name' | 'ports'>> & { readonly ports?: readonly PortWish[] }

/**
 * Pods stand behind the services named in `behind`; without it, behind those of their own name's first part. Each stands
 * there with its addresses of the families that the service is dialled by.
 */
export type PodsWish = Partial<Omit<Workload, 'uid' | 'name'>> &
  Partial<Pick<Endpoint, 'ready' | 'serving' | 'terminating' | 'readySinceMs'>> & {
    readonly count?: number
    readonly behind?: readonly string[]
  }

/** Hosts may be short names of the object's own namespace. Without `createdMs` each is younger than the one before. */
export interface VirtualServiceWish extends Partial<Pick<VirtualService, 'exportTo' | 'createdMs' | 'tls' | 'tcp'>> {
  readonly name?: string
  readonly namespace?: string
  readonly hosts: readonly string[]
  readonly http?: readonly Partial<HttpRule>[]
}

/** What is not said is null, of ports too. `simple` is short for a balancing that says no more. */
export interface PolicyWish extends Partial<Omit<TrafficPolicy, 'ports'>> {
  readonly simple?: Balancer
  readonly ports?: readonly (Partial<PortPolicy> & { readonly port: number; readonly simple?: Balancer })[]
}

export interface SubsetWish extends Partial<Omit<Subset, 'policy'>> {
  readonly name: string
  readonly policy?: PolicyWish | null
}

export interface DestinationRuleWish extends Partial<Pick<DestinationRule, 'exportTo' | 'createdMs' | 'callers'>> {
  readonly name?: string
  readonly namespace?: string
  readonly host: string
  readonly policy?: PolicyWish
  readonly subsets?: readonly SubsetWish[]
}

/** Without a selector for all of its namespace; `ports` by number. */
export interface PeerAuthenticationWish extends Partial<Omit<PeerAuthentication, 'ref' | 'ports'>> {
  readonly name?: string
  readonly namespace?: string
  readonly ports?: Readonly<Record<number, GivenMode>>
}

/** Starts an empty mesh. */
export function world(): World {
  return new World()
}

export class World {
  readonly #services = new Map<string, Service & { readonly targetPorts: readonly number[] }>()
  readonly #workloads: Workload[] = []
  readonly #virtualServices: VirtualService[] = []
  readonly #destinationRules: DestinationRule[] = []
  readonly #peerAuthentications: PeerAuthentication[] = []
  readonly #authorizationPolicies: AuthorizationPolicy[] = []
  readonly #requestAuthentications: RequestAuthentication[] = []
  readonly #places = new Map<string, Locality>()
  #clockMs = 1_700_000_000_000
  #mesh = DEFAULT_MESH_SETTINGS

  /** Adds a Service at 10.96.0.1, .2, … A name already there is replaced, less its endpoints. */
  service(name: string, wish: ServiceWish = {}): this {
    const { ports = [{ port: 80, name: 'http', protocol: 'http', targetPort: 8080 }], ...rest } = wish
    const namespace = wish.namespace ?? 'default'
    const headless = wish.headless ?? false
    this.#services.set(`${namespace}/${name}`, {
      host: hostOf(name, namespace),
      name,
      addresses: headless ? [] : [ipIn('10.96', this.#services.size + 1)],
      externalAddresses: [],
      publishNotReady: false,
      affinitySeconds: null,
      localOnly: false,
      distribution: null,
      externalName: null,
      ...rest,
      namespace,
      headless,
      ports: ports.map(({ port, name: portName = '', protocol = 'sniff' }) => ({
        name: portName,
        port,
        protocol,
        endpoints: [],
      })),
      targetPorts: ports.map(({ port, targetPort = port }) => targetPort),
    })
    return this
  }

  /** Adds pods `<name>-1`, `<name>-2`, … at 10.244.0.1, .2, … with `app` and `version` from `reviews-v2`. */
  pods(name: string, wish: PodsWish = {}): this {
    const { count = 1, behind, ready = true, terminating = false, serving = ready, readySinceMs = null, ...rest } = wish
    const namespace = wish.namespace ?? 'default'
    const [app = name, version = 'v1'] = name.split('-')
    for (let index = 1; index <= count; index++) {
      const workload: Workload = {
        uid: `uid-${namespace}-${name}-${index}`,
        name: `${name}-${index}`,
        node: 'node-1',
        ips: [ipIn('10.244', this.#workloads.length + 1)],
        labels: { app, version },
        serviceAccount: 'default',
        owner: name,
        hostNetwork: false,
        unfit: null,
        terms: PLAIN_TERMS,
        joined: true,
        captured: null,
        agentReady: true,
        placedBy: 'spec',
        announcedAccount: null,
        terminating,
        ...rest,
        namespace,
      }
      this.#workloads.push(workload)
      for (const service of behind ?? [app])
        this.#stand(workload, service, { ready, serving, terminating, readySinceMs })
    }
    return this
  }

  /** Ends a pod of namespace default: it terminates, no longer ready but serving; or it is gone with its endpoints. */
  end(name: string, how: 'terminates' | 'gone'): this {
    const pod = this.pod(name)
    const isGone = how === 'gone'
    this.#workloads.splice(this.#workloads.indexOf(pod), 1, ...(isGone ? [] : [{ ...pod, terminating: true }]))
    const change = (endpoint: Endpoint): Endpoint[] => {
      if (endpoint.workload !== pod.uid) return [endpoint]
      return isGone ? [] : [{ ...endpoint, ready: false, terminating: true }]
    }
    for (const [key, service] of this.#services) {
      const ports = service.ports.map((port) => ({ ...port, endpoints: port.endpoints.flatMap(change) }))
      this.#services.set(key, { ...service, ports })
    }
    return this
  }

  /** Adds an endpoint that no pod stands for: a Service without selector. */
  external(service: string, address: Endpoint['address'], namespace = 'default'): this {
    const state = { ready: true, serving: true, terminating: false }
    const endpoint = { address, workload: null, ...state, node: null, locality: null, readySinceMs: null }
    this.#append(`${namespace}/${service}`, () => endpoint)
    return this
  }

  virtualService(wish: VirtualServiceWish): this {
    const namespace = wish.namespace ?? 'default'
    this.#virtualServices.push({
      ref: { kind: 'VirtualService', namespace, name: wish.name ?? `vs-${this.#virtualServices.length + 1}` },
      createdMs: wish.createdMs ?? (this.#clockMs += 1000),
      hosts: wish.hosts.map((host) => qualified(host, namespace)),
      exportTo: wish.exportTo ?? ['*'],
      http: (wish.http ?? []).map(rule),
      tls: wish.tls ?? [],
      tcp: wish.tcp ?? [],
    })
    return this
  }

  destinationRule(wish: DestinationRuleWish): this {
    const namespace = wish.namespace ?? 'default'
    this.#destinationRules.push({
      ref: { kind: 'DestinationRule', namespace, name: wish.name ?? `dr-${this.#destinationRules.length + 1}` },
      createdMs: wish.createdMs ?? (this.#clockMs += 1000),
      host: qualified(wish.host, namespace),
      exportTo: wish.exportTo ?? ['*'],
      callers: wish.callers ?? null,
      policy: policyOf(wish.policy),
      subsets: (wish.subsets ?? []).map(({ name, labels = { version: name }, policy }) => {
        return { name, labels, policy: policyOf(policy) }
      }),
    })
    return this
  }

  authorizationPolicy(wish: AuthorizationPolicyWish): this {
    this.#authorizationPolicies.push(authorizationPolicyOf(wish, this.#authorizationPolicies.length))
    return this
  }

  requestAuthentication(wish: RequestAuthenticationWish): this {
    this.#requestAuthentications.push(requestAuthenticationOf(wish, this.#requestAuthentications.length))
    return this
  }

  peerAuthentication(wish: PeerAuthenticationWish): this {
    const { namespace = 'default', name = `pa-${this.#peerAuthentications.length + 1}`, ports = {} } = wish
    this.#peerAuthentications.push({
      ref: { kind: 'PeerAuthentication', namespace, name },
      createdMs: wish.createdMs ?? (this.#clockMs += 1000),
      selector: wish.selector ?? null,
      mode: wish.mode ?? 'UNSET',
      ports: Object.entries(ports).map(([port, mode]) => ({ port: Number(port), mode })),
    })
    return this
  }

  /** Says where a node is: `region/zone/subzone`. Of pods that are added afterwards. */
  node(name: string, locality: string): this {
    this.#places.set(name, parseLocality(locality))
    return this
  }

  /** Settings of the whole mesh. */
  settings(mesh: Partial<MeshSettings>): this {
    this.#mesh = { ...DEFAULT_MESH_SETTINGS, ...mesh }
    return this
  }

  /** The workload of a pod by its name (`reviews-v1-1`). Throws where there is none. */
  pod(name: string, namespace = 'default'): Workload {
    const found = this.#workloads.find((workload) => workload.name === name && workload.namespace === namespace)
    if (found === undefined) throw new Error(`this world has no pod ${namespace}/${name}`)
    return found
  }

  inventory(version = 1): Inventory {
    return {
      version,
      rootNamespace: ROOT_NAMESPACE,
      mesh: this.#mesh,
      node: 'node-1',
      locality: this.#places.get('node-1') ?? NOWHERE_KNOWN,
      workloads: [...this.#workloads],
      services: [...this.#services.values()].map(({ targetPorts: _, ...service }) => service),
      virtualServices: [...this.#virtualServices],
      destinationRules: [...this.#destinationRules],
      peerAuthentications: [...this.#peerAuthentications],
      authorizationPolicies: [...this.#authorizationPolicies],
      requestAuthentications: [...this.#requestAuthentications],
    }
  }

  snapshot(version = 1): Snapshot {
    return compile(this.inventory(version))
  }

  #stand(
    workload: Workload,
    service: string,
    state: Pick<Endpoint, 'ready' | 'serving' | 'terminating' | 'readySinceMs'>,
  ): void {
    const { node } = workload
    const locality = this.#places.get(node ?? '') ?? null
    const key = `${workload.namespace}/${service}`
    const { addresses = [], headless = false } = this.#services.get(key) ?? {}
    const families = new Set(addresses.map(familyOf))
    for (const ip of workload.ips) {
      if (!headless && !families.has(familyOf(ip))) continue
      this.#append(key, (port) => ({ address: { ip, port }, workload: workload.uid, node, locality, ...state }))
    }
  }

  #append(key: string, endpoint: (targetPort: number) => Endpoint): void {
    const service = this.#services.get(key)
    if (service === undefined) return // pods may stand behind nothing
    const ports = service.ports.map((port, index) => {
      return { ...port, endpoints: [...port.endpoints, endpoint(service.targetPorts[index] ?? port.port)] }
    })
    this.#services.set(key, { ...service, ports })
  }
}

/** What a caller reaches who dials a service by its first address. Throws where the service is not there. */
export function dialled(snapshot: Snapshot, name: string, port = 80, namespace = 'default'): ServiceTarget {
  const service = snapshot.serviceByHost.get(hostOf(name, namespace))
  const target = resolve(snapshot, { ip: service?.addresses[0] ?? '', port })
  if (target.kind !== 'service') throw new Error(`no service is dialled at ${namespace}/${name}:${port}`)
  return target
}

export type ServiceTarget = Target & { readonly kind: 'service' }

export function hostOf(name: string, namespace = 'default'): string {
  return `${name}.${namespace}.svc.cluster.local`
}

/** A destination by service name; a fully qualified host passes as it is. */
export function to(host: string, wish: Partial<WeightedDestination> = {}): WeightedDestination {
  return { subset: null, port: null, weight: 0, headers: null, ...wish, host: qualified(host, 'default') }
}

/** A rule of a VirtualService; what is not said is absent. */
export function rule(wish: Partial<HttpRule>): HttpRule {
  return {
    name: '',
    matches: [],
    instead: null,
    destinations: [],
    rewrite: null,
    fault: null,
    timeoutMs: null,
    retries: null,
    mirrors: [],
    cors: null,
    headers: null,
    ...wish,
  }
}

/** One entry of a rule's `match`; what is not said is absent. */
export function match(wish: Partial<RequestMatch>): RequestMatch {
  return {
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
    ...wish,
  }
}

/** One entry of the `match` of a rule for flows; what is not said is absent. */
export function flowMatch(wish: Partial<FlowMatch>): FlowMatch {
  return {
    serverNames: null,
    destinationSubnets: [],
    sourceSubnets: [],
    port: null,
    sourceLabels: {},
    sourceNamespace: null,
    ...wish,
  }
}

function policyOf(wish: PolicyWish | null | undefined): TrafficPolicy | null {
  if (wish === undefined || wish === null) return null
  const { simple, ports = [], ...said } = wish
  return { ...UNSAID_TOP, ...said, ...balancingOf(simple), ports: ports.map((port) => portPolicyOf(port)) }
}

function portPolicyOf(wish: NonNullable<PolicyWish['ports']>[number]): TrafficPolicy['ports'][number] {
  const { simple, ...said } = wish
  return { ...UNSAID, ...said, ...balancingOf(simple) }
}

/** A balancing of which only the name is said. */
export function balancingOf(simple: Balancer | undefined): { balancing?: LoadBalancing } {
  return simple === undefined ? {} : { balancing: { simple, hash: null, locality: null, warmup: null } }
}

const UNSAID: PortPolicy = { balancing: null, pool: null, outliers: null, tls: null }
const UNSAID_TOP = { ...UNSAID, retryBudget: null, proxyProtocol: null, tunnel: null }

function qualified(host: string, namespace: string): string {
  return host.includes('.') || host.startsWith('*') ? host : hostOf(host, namespace)
}

function ipIn(network: string, index: number): string {
  return `${network}.${Math.floor(index / 256)}.${index % 256}`
}
