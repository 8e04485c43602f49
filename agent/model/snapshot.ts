// What the node knows of the mesh at one moment: plain values in (Inventory), indexed once (Snapshot), never changed.

import { addressText, familyOf, type IpFamily, type SocketAddress } from './address.ts'
import { requestTest, type RequestTest } from './match.ts'
import type { MeshSettings } from './mesh-settings.ts'
import type { DestinationRule, HttpRule, RequestMatch, VirtualService } from './policy.ts'
import type { Endpoint, Service, ServicePort } from './service.ts'
import type { Workload } from './workload.ts'

/** Everything that was read from the cluster, as plain data: this is what crosses to a worker. */
export interface Inventory {
  /** Grows by one with every change; a log line or response is explained by the version in force. */
  readonly version: number
  /** Kubernetes node it was read for; empty where none is known yet. */
  readonly node: string
  readonly settings: MeshSettings
  /** Namespace whose Istio objects hold for the whole mesh. */
  readonly rootNamespace: string
  readonly workloads: readonly Workload[]
  readonly services: readonly Service[]
  readonly virtualServices: readonly VirtualService[]
  readonly destinationRules: readonly DestinationRule[]
}

/** One port of one service: what an address belongs to. */
export interface ServiceAt {
  readonly service: Service
  readonly port: ServicePort
}

/** A rule with its `match` entries compiled; none means every request. */
export interface CompiledRule {
  readonly rule: HttpRule
  readonly matches: readonly { readonly match: RequestMatch; readonly test: RequestTest }[]
}

export interface CompiledVirtualService {
  readonly source: VirtualService
  readonly http: readonly CompiledRule[]
}

/** Policies by host: exact ones in a map, wildcards longest first. */
export interface HostIndex<T> {
  readonly exact: ReadonlyMap<string, readonly T[]>
  readonly wildcards: readonly { readonly suffix: string; readonly entries: readonly T[] }[]
}

/** An inventory, indexed for the data path. */
export interface Snapshot {
  readonly version: number
  readonly node: string
  readonly settings: MeshSettings
  readonly rootNamespace: string
  readonly inventory: Inventory
  readonly workloadByUid: ReadonlyMap<string, Workload>
  /** hostNetwork pods are left out: their address is the node's. */
  readonly workloadByIp: ReadonlyMap<string, Workload>
  readonly serviceByHost: ReadonlyMap<string, Service>
  /** By `ip:port` of a ClusterIP or external IP. */
  readonly serviceByAddress: ReadonlyMap<string, ServiceAt>
  /** By `ip:port` of an endpoint: the services it stands behind, in order of host. */
  readonly servicesByEndpoint: ReadonlyMap<string, readonly ServiceAt[]>
  readonly virtualServices: HostIndex<CompiledVirtualService>
  readonly destinationRules: HostIndex<DestinationRule>
  /** What was already worked out from this snapshot alone; lives and dies with it. */
  readonly memo: Map<string, unknown>
}

/** What an original destination is. */
export type Target =
  | {
      readonly kind: 'service'
      readonly service: Service
      readonly port: ServicePort
      /** Dialled by an address other than a ClusterIP. */
      readonly external: boolean
      /** Of the address that was dialled: only endpoints of this family serve, as with kube-proxy. */
      readonly family: IpFamily
    }
  | {
      readonly kind: 'workload'
      readonly workload: Workload
      readonly address: SocketAddress
      /** The service it stands behind at this port, or null. */
      readonly behind: ServiceAt | null
    }
  | {
      readonly kind: 'unknown'
      readonly address: SocketAddress
      /** The service that has it for an endpoint, though no pod is known there; or null. */
      readonly behind: ServiceAt | null
    }

/** Indexes an inventory. Throws only where the inventory itself is unsound (a malformed regex that translation let pass). */
export function compile(inventory: Inventory): Snapshot {
  const workloads = inventory.workloads
  return {
    version: inventory.version,
    node: inventory.node,
    settings: inventory.settings,
    rootNamespace: inventory.rootNamespace,
    inventory,
    workloadByUid: new Map(workloads.map((workload) => [workload.uid, workload])),
    workloadByIp: new Map(
      workloads.flatMap((workload) => (workload.hostNetwork ? [] : workload.ips.map((ip) => [ip, workload] as const))),
    ),
    serviceByHost: new Map(inventory.services.map((service) => [service.host, service])),
    serviceByAddress: indexServices(inventory.services),
    servicesByEndpoint: indexEndpoints(inventory.services),
    virtualServices: indexHosts(
      inventory.virtualServices.map(compileVirtualService),
      (compiled) => compiled.source.hosts,
      (compiled) => compiled.source,
    ),
    destinationRules: indexHosts(
      inventory.destinationRules,
      (rule) => [rule.host],
      (rule) => rule,
    ),
    memo: new Map(),
  }
}

/** What stands at an address: a service by its own address, else a workload by pod IP, else nothing we know. */
export function resolve(snapshot: Snapshot, address: SocketAddress): Target {
  const at = snapshot.serviceByAddress.get(addressText(address))
  if (at === undefined) return resolvePod(snapshot, address)
  const { service, port } = at
  const external = service.externalAddresses.includes(address.ip)
  return { kind: 'service', service, port, external, family: familyOf(address.ip) }
}

/** What stands at an address that is a pod's own, whichever service claims it as an external IP. */
export function resolvePod(snapshot: Snapshot, address: SocketAddress): Exclude<Target, { kind: 'service' }> {
  const workload = snapshot.workloadByIp.get(address.ip)
  const behind = snapshot.servicesByEndpoint.get(addressText(address))?.[0] ?? null
  return workload === undefined ? { kind: 'unknown', address, behind } : { kind: 'workload', workload, address, behind }
}

/** The workload behind an endpoint, or null where none is known. */
export function workloadAt(snapshot: Snapshot, endpoint: Endpoint): Workload | null {
  if (endpoint.workload !== null) return snapshot.workloadByUid.get(endpoint.workload) ?? null
  return snapshot.workloadByIp.get(endpoint.address.ip) ?? null
}

/** All entries for a host, the exact ones first, then those of each wildcard that covers it, the longest first. */
export function entriesFor<T>(index: HostIndex<T>, host: string): readonly (readonly T[])[] {
  const exact = index.exact.get(host)
  const covering = index.wildcards.filter(({ suffix }) => host.endsWith(suffix)).map(({ entries }) => entries)
  return exact === undefined ? covering : [exact, ...covering]
}

/** Computes `key` once a snapshot. The key names the function and all its arguments. */
export function memoized<T>(snapshot: Snapshot, key: string, work: () => T): T {
  const known = snapshot.memo.get(key)
  if (known !== undefined) return known as T
  const value = work()
  snapshot.memo.set(key, value)
  return value
}

function compileVirtualService(source: VirtualService): CompiledVirtualService {
  return { source, http: source.http.map(compileRule) }
}

function compileRule(rule: HttpRule): CompiledRule {
  return { rule, matches: rule.matches.map((match) => ({ match, test: requestTest(match) })) }
}

function indexServices(services: readonly Service[]): Map<string, ServiceAt> {
  const index = new Map<string, ServiceAt>()
  for (const service of services) {
    for (const ip of service.addresses) {
      const isExternal = service.externalAddresses.includes(ip)
      for (const port of service.ports) {
        const key = addressText({ ip, port: port.port })
        // nobody takes another's ClusterIP by naming it as an external one
        if (!isExternal || !index.has(key)) index.set(key, { service, port })
      }
    }
  }
  return index
}

function indexEndpoints(services: readonly Service[]): Map<string, ServiceAt[]> {
  const index = new Map<string, ServiceAt[]>()
  const ordered = [...services].sort((a, b) => (a.host < b.host ? -1 : 1))
  for (const service of ordered) {
    for (const port of service.ports) {
      for (const endpoint of port.endpoints) {
        const key = addressText(endpoint.address)
        const known = index.get(key)
        if (known === undefined) index.set(key, [{ service, port }])
        else known.push({ service, port })
      }
    }
  }
  return index
}

interface Dated {
  readonly createdMs: number
  readonly ref: { readonly namespace: string; readonly name: string }
}

/** Oldest first, then by namespace and name, so that every node agrees on a tie. */
function byAge(a: Dated, b: Dated): number {
  if (a.createdMs !== b.createdMs) return a.createdMs - b.createdMs
  const left = `${a.ref.namespace}/${a.ref.name}`
  const right = `${b.ref.namespace}/${b.ref.name}`
  return left < right ? -1 : left > right ? 1 : 0
}

function indexHosts<T>(
  entries: readonly T[],
  hostsOf: (entry: T) => readonly string[],
  datedOf: (entry: T) => Dated,
): HostIndex<T> {
  const exact = new Map<string, T[]>()
  const wild = new Map<string, T[]>()
  for (const entry of [...entries].sort((a, b) => byAge(datedOf(a), datedOf(b)))) {
    for (const host of hostsOf(entry)) {
      const [map, key] = host.startsWith('*') ? [wild, host.slice(1)] : [exact, host]
      const known = map.get(key)
      if (known === undefined) map.set(key, [entry])
      else known.push(entry)
    }
  }
  const wildcards = [...wild].map(([suffix, list]) => ({ suffix, entries: list }))
  return { exact, wildcards: wildcards.sort((a, b) => b.suffix.length - a.suffix.length) }
}
