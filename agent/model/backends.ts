// The endpoints that a destination stands for: pure, from the snapshot.

import { addressText, familyOf, type IpFamily, type SocketAddress } from './address.ts'
import { type HostPolicy, NO_POLICY, policyFor } from './destination.ts'
import { type Group, groupsOf } from './balance/placement.ts'
import type { Destination } from './policy.ts'
import type { Endpoint, Service } from './service.ts'
import { serving } from './serving.ts'
import { memoized, type Snapshot, type Vantage, workloadAt } from './snapshot.ts'

/** The endpoints that may serve, and how to choose among them. */
export interface Backends {
  /** Names the set across snapshots: the balancer's turn is counted by it. */
  readonly key: string
  /** Fully qualified service host, or the dialled IP where no service stands there. */
  readonly host: string
  readonly subset: string | null
  /** Port of the service (not of the endpoint). */
  readonly port: number
  /** Of the endpoints, all of them. */
  readonly family: IpFamily
  readonly endpoints: readonly Endpoint[]
  /** The endpoints by where they are, or null where all are alike to the caller. */
  readonly groups: readonly Group[] | null
  /** The address that was dialled, of which the mesh knows nothing: passed through as it is. */
  readonly isUnknown: boolean
  /** How long a client keeps its endpoint, in seconds, or null: as the Service says where no policy says more. */
  readonly affinitySeconds: number | null
  readonly policy: HostPolicy
}

/**
 * The endpoints a destination names, those of the dialled family alone, or null where its host, port or subset is not
 * known. Worked out once a snapshot for each destination object.
 */
export function backendsFor(snapshot: Snapshot, destination: Destination, at: Vantage): Backends | null {
  const { subset } = destination
  const { family } = at
  const wanted = destination.port ?? at.dialledPort
  const backends = memoized(snapshot, destination, at, (): Backends | null => {
    const service = serviceNamed(snapshot, destination.host)
    if (service === null) return null
    const { host } = service
    const port =
      service.ports.find((candidate) => candidate.port === wanted) ??
      (destination.port === null && service.ports.length === 1 ? service.ports[0] : undefined)
    if (port === undefined) return null
    const { chosen, policy } = policyFor(snapshot, { host, subset, port: port.port }, at)
    if (subset !== null && chosen === null) return null
    const labels = chosen?.labels ?? {}
    const onlyNode = service.localOnly && !at.external ? snapshot.settings.node : null
    const endpoints = serving(service, port, { family, onlyNode }).filter((one) => carries(snapshot, one, labels))
    return {
      key: `${host}|${subset ?? ''}|${port.port}|${family}`,
      host,
      subset,
      port: port.port,
      family,
      isUnknown: false,
      affinitySeconds: policy.isBalanced || subset !== null ? null : service.affinitySeconds,
      policy,
      endpoints,
      groups: groupsOf(endpoints, service, policy, {
        ...{ caller: at.caller, node: snapshot.settings.node, locality: snapshot.settings.locality },
        workloadOf: (endpoint) => workloadAt(snapshot, endpoint),
      }),
    }
  })
  return backends === null || at.dialled === undefined ? backends : passedThrough(backends, at.dialled)
}

const PASSED = new WeakMap<Backends, Map<string, Backends>>()

/** Addresses that are remembered of a set. A Service has but a few; beyond, each is made anew. */
const PASSED_MOST = 16

/** Where the policy says PASSTHROUGH, the address that was dialled is the one endpoint, whoever is there. */
export function passedThrough(backends: Backends, dialled: SocketAddress): Backends {
  const { balancing } = backends.policy
  if (balancing.simple !== 'PASSTHROUGH' || balancing.hash !== null) return backends
  let known = PASSED.get(backends)
  if (known === undefined) PASSED.set(backends, (known = new Map<string, Backends>()))
  const name = addressText(dialled)
  const before = known.get(name)
  if (before !== undefined) return before
  const { endpoints } = direct(dialled, null)
  const own = backends.endpoints.filter(({ address }) => addressText(address) === name)
  const passed = { ...backends, endpoints: own.length > 0 ? own : endpoints, groups: null }
  if (known.size < PASSED_MOST) known.set(name, passed)
  return passed
}

/** Aliases (ExternalName) that are followed from one to the next. */
const ALIASES_MAX = 4

/** The Service of a host; of an ExternalName one the Service that it names, null where that is a host outside. */
function serviceNamed(snapshot: Snapshot, host: string): Service | null {
  let service = snapshot.serviceByHost.get(host)
  for (let i = 0; i < ALIASES_MAX && service !== undefined && service.externalName !== null; i++) {
    service = snapshot.serviceByHost.get(service.externalName)
  }
  return service === undefined || service.externalName !== null ? null : service
}

function carries(snapshot: Snapshot, endpoint: Endpoint, labels: Readonly<Record<string, string>>): boolean {
  const wanted = Object.entries(labels)
  if (wanted.length === 0) return true
  const workload = workloadAt(snapshot, endpoint)
  return workload !== null && wanted.every(([name, value]) => workload.labels[name] === value)
}

const ALWAYS = { ready: true, serving: true, terminating: false } as const

/** Exactly this address, whoever is there. */
export function direct(address: SocketAddress, workload: string | null): Backends {
  return {
    key: `${address.ip}||${address.port}`,
    host: address.ip,
    subset: null,
    port: address.port,
    family: familyOf(address.ip),
    isUnknown: workload === null,
    affinitySeconds: null,
    policy: NO_POLICY,
    endpoints: [{ address, workload, ...ALWAYS, node: null, locality: null, readySinceMs: null }],
    groups: null,
  }
}
