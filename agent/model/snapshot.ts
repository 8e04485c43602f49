// What the node knows of the mesh at one moment: plain values in (Inventory), indexed once (Snapshot), never changed.

import { addressText, familyOf, type IpFamily, type SocketAddress } from './address.ts'
import { compileWhole, type Refusal } from './build.ts'
import type { RequestAuthentication } from './authentication/request-authentication.ts'
import type { AuthorizationPolicy } from './authorization/policy.ts'
import type { Protections } from './authorization/protection.ts'
import type { CompiledPolicy } from './authorization/table.ts'
import type { Claims } from './claims.ts'
import type { Consumer } from './destination.ts'
import type { Settings } from './delta.ts'
import type { HostIndex } from './host-index.ts'
import type { Layered } from './layered.ts'
import { type Locality, ownPlaceOf } from './balance/locality.ts'
import type { RequestTest } from './http/match.ts'
import type { MeshSettings } from './mesh-settings.ts'
import {
  effectiveMode,
  type PeerAuthentication,
  type PeerDecision,
  type PeerMode,
  type PeerModes,
  peerModesOf,
} from './peer-authentication.ts'
import type { FlowTest } from './flow-match.ts'
import type { FlowRule, HttpRule, RequestMatch, VirtualService } from './policy.ts'
import type { DestinationRule } from './traffic-policy.ts'
import { type Endpoint, nameOf, type Service, type ServicePort } from './service.ts'
import type { ObjectRef, Workload } from './workload.ts'

/** Everything that was read from the cluster, as plain data. What crosses to a worker are its changes (delta.ts). */
export interface Inventory {
  /** Grows by one with every change; a log line or response is explained by the version in force. */
  readonly version: number
  /** Namespace whose Istio objects hold for the whole mesh. */
  readonly rootNamespace: string
  readonly mesh: MeshSettings
  /** Name of the Kubernetes node it is for. */
  readonly node: string
  /** Where that node is. */
  readonly locality: Locality
  readonly workloads: readonly Workload[]
  readonly services: readonly Service[]
  readonly virtualServices: readonly VirtualService[]
  readonly destinationRules: readonly DestinationRule[]
  readonly peerAuthentications: readonly PeerAuthentication[]
  readonly authorizationPolicies: readonly AuthorizationPolicy[]
  readonly requestAuthentications: readonly RequestAuthentication[]
}

/** One port of one service: what an address belongs to. */
export interface ServiceAt {
  readonly service: Service
  readonly port: ServicePort
}

/** A port of a service at one of its own addresses. */
export interface DialledAt extends ServiceAt {
  /** By an address that is no ClusterIP. */
  readonly external: boolean
}

/** The rule that decided, or null where plain load balancing did. */
export interface RuleRef {
  readonly object: ObjectRef
  readonly rule: string
}

/** A rule with its `match` entries compiled; none means every request. */
export interface CompiledRule {
  readonly rule: HttpRule
  /** What records and metrics call it. */
  readonly by: RuleRef
  readonly matches: readonly CompiledMatch[]
}

export interface CompiledMatch {
  readonly match: RequestMatch
  /** What records call the rule where this entry matched. */
  readonly by: RuleRef
  readonly test: RequestTest
}

/** A rule for flows, with a test for each entry of its `match`; none means every connection. */
export interface CompiledFlowRule {
  readonly rule: FlowRule
  /** What records call it: where it stands, as in `tcp[0]`. */
  readonly by: RuleRef
  readonly tests: readonly FlowTest[]
}

export interface CompiledVirtualService {
  readonly source: VirtualService
  readonly http: readonly CompiledRule[]
  readonly tls: readonly CompiledFlowRule[]
  readonly tcp: readonly CompiledFlowRule[]
}

/** An inventory, indexed for the data path. Never changed: the next one shares with it what is the same (build.ts). */
export interface Snapshot {
  readonly version: number
  readonly rootNamespace: string
  readonly settings: Settings
  readonly workloadByUid: Layered<Workload>
  /** hostNetwork pods are left out: their address is the node's. Of several that claim one, the least uid. */
  readonly workloadByIp: Layered<Workload>
  readonly serviceByHost: Layered<Service>
  /** By `ip:port`. Of several that claim one, whose ClusterIP it is, else the first by host. */
  readonly serviceByAddress: Layered<DialledAt>
  /** Services that name another host (ExternalName), by `name.namespace`. */
  readonly aliases: Layered<Service>
  /** By `ip:port` of an endpoint: the services it stands behind, in order of host. */
  readonly servicesByEndpoint: Layered<readonly ServiceAt[]>
  readonly virtualServices: HostIndex<CompiledVirtualService>
  readonly destinationRules: HostIndex<DestinationRule>
  /** By namespace, the oldest first; so are the two that follow. */
  readonly peerAuthentications: Layered<readonly PeerAuthentication[]>
  readonly authorizationPolicies: Layered<readonly CompiledPolicy[]>
  readonly requestAuthentications: Layered<readonly RequestAuthentication[]>
  /** What the next snapshot is built from beside the above: nobody decides by it. */
  readonly sources: {
    readonly ips: Claims<Workload>
    readonly addresses: Claims<DialledAt>
    /** By namespace and name. */
    readonly virtualServices: Layered<CompiledVirtualService>
    readonly destinationRules: Layered<DestinationRule>
  }
  /** What was already worked out from this snapshot alone; lives and dies with it. */
  readonly memo: Map<object, { readonly seen: Vantage; readonly variant: string; readonly value: unknown }[]>
  /** Labels of callers that DestinationRules look at. The same array as long as they are the same. */
  readonly callerLabels: readonly string[]
  /** What workloads take, worked out once; passed on to the next snapshot while the policies are the same. */
  readonly peerModes: WeakMap<Workload, PeerModes>
  /** By what calls of workloads are judged, worked out once; passed on likewise. */
  readonly protections: Protections
}

/** What an original destination is. */
export type Target =
  | {
      readonly kind: 'service'
      readonly service: Service
      readonly port: ServicePort
      /** The address that was dialled. */
      readonly address: SocketAddress
      /** Dialled by an address that is no ClusterIP. */
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

/** Indexes an inventory at once. An object that cannot be compiled is left out, and told to `refused`. */
export function compile(inventory: Inventory, refused: (refusal: Refusal) => void = () => {}): Snapshot {
  return compileWhole(inventory, refused)
}

/** What stands at an address: a service by its own address, else a workload by pod IP, else nothing we know. */
export function resolve(snapshot: Snapshot, address: SocketAddress): Target {
  const at = snapshot.serviceByAddress.get(addressText(address))
  if (at === undefined) return resolvePod(snapshot, address)
  const { service, port, external } = at
  return { kind: 'service', service, port, address, external, family: familyOf(address.ip) }
}

/** What stands at an address that is a pod's own, whichever service claims it as an external IP. */
export function resolvePod(snapshot: Snapshot, address: SocketAddress): Exclude<Target, { kind: 'service' }> {
  const workload = snapshot.workloadByIp.get(address.ip)
  const behind = snapshot.servicesByEndpoint.get(addressText(address))?.[0] ?? null
  return workload === undefined ? { kind: 'unknown', address, behind } : { kind: 'workload', workload, address, behind }
}

/** Whether the pod or endpoint at this address is about to go: whoever is connected to it had better leave. */
export function isTerminating(snapshot: Snapshot, address: SocketAddress): boolean {
  if (snapshot.workloadByIp.get(address.ip)?.terminating === true) return true
  const name = addressText(address)
  const behind = snapshot.servicesByEndpoint.get(name) ?? []
  return behind.some(({ port }) => port.endpoints.some((one) => one.terminating && nameOf(one) === name))
}

/** The workload behind an endpoint, or null where none is known. */
export function workloadAt(snapshot: Snapshot, endpoint: Endpoint): Workload | null {
  if (endpoint.workload !== null) return snapshot.workloadByUid.get(endpoint.workload) ?? null
  return snapshot.workloadByIp.get(endpoint.address.ip) ?? null
}

/** Whether a workload takes plaintext at a port that it listens at, and which object says so. */
export function peerDecision(snapshot: Snapshot, workload: Workload, port: number): PeerDecision {
  let modes = snapshot.peerModes.get(workload)
  if (modes === undefined) {
    const { peerAuthentications: byNamespace, rootNamespace } = snapshot
    snapshot.peerModes.set(workload, (modes = peerModesOf(workload, { byNamespace, rootNamespace })))
  }
  return effectiveMode(modes, port)
}

/** Whether a workload takes plaintext at a port that it listens at. */
export function modeOf(snapshot: Snapshot, workload: Workload, port: number): PeerMode {
  return peerDecision(snapshot, workload, port).mode
}

/** From where something of the snapshot is looked at. */
export interface Vantage extends Consumer {
  /** Port that was dialled. */
  readonly dialledPort: number
  readonly family: IpFamily
  /** By an address that is no ClusterIP: internalTrafficPolicy does not speak of it. */
  readonly external: boolean
  /** The address that was dialled: where a policy says PASSTHROUGH it is gone to. */
  readonly dialled?: SocketAddress
}

/**
 * Works out once a snapshot what `of`, an object of it, is as seen from `at`. Not by a text for a key: making one and
 * looking it up costs more than all else that a route needs.
 */
export function memoized<T>(snapshot: Snapshot, of: object, at: Vantage, work: () => T): T {
  let known = snapshot.memo.get(of)
  if (known === undefined) snapshot.memo.set(of, (known = []))
  const variant = variantOf(snapshot, at.caller)
  for (let i = 0; i < known.length; i++) {
    const { seen, variant: ofSeen, value } = known[i] as (typeof known)[number]
    const isWay = seen.dialledPort === at.dialledPort && seen.family === at.family && seen.external === at.external
    if (isWay && seen.consumer === at.consumer && ofSeen === variant) return value as T
  }
  const value = work()
  if (known.length < SEEN_MOST) known.push({ seen: at, variant, value })
  return value
}

/** Ways to look at one object that are remembered: a caller may dial any port of what the mesh does not know. */
const SEEN_MOST = 1024

/** Callers of one namespace are alike to all policies where these labels of theirs are, and the one that says where they are. */
function variantOf({ callerLabels }: Snapshot, caller: Workload | null): string {
  if (caller === null) return NOBODY
  const place = ownPlaceOf(caller)
  if (callerLabels.length === 0) return place ?? ''
  let variants = VARIANTS.get(callerLabels)
  if (variants === undefined) VARIANTS.set(callerLabels, (variants = new WeakMap()))
  let variant = variants.get(caller)
  if (variant === undefined) {
    variant = JSON.stringify([place, ...callerLabels.map((name) => caller.labels[name] ?? null)])
    variants.set(caller, variant)
  }
  return variant
}

/** No text of a label: who is not known is selected by no rule, not even by one that selects all of a namespace. */
const NOBODY = '?'

const VARIANTS = new WeakMap<readonly string[], WeakMap<Workload, string>>()
