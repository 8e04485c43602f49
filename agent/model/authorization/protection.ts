// What stands before one pod's port: the policies that its callers are judged by, and whose tokens are believed there.

import { byAge } from '../host-index.ts'
import type { JwtRule, RequestAuthentication } from '../authentication/request-authentication.ts'
import type { Layered } from '../layered.ts'
import type { ServiceAt, Snapshot } from '../snapshot.ts'
import type { Workload } from '../workload.ts'
import { addressText } from '../address.ts'
import type { DecisionTable } from './decision.ts'
import type { Aim } from './policy.ts'
import { type CompiledPolicy, tableOf } from './table.ts'

/** Null parts: nothing of the kind is for the port. */
export interface Protection {
  readonly table: DecisionTable | null
  /** All rules of all objects, the oldest object first; empty: nobody looks at tokens. */
  readonly tokens: readonly JwtRule[]
}

/** What selection depends on. */
export interface Ground {
  readonly rootNamespace: string
  readonly authorizationPolicies: Layered<readonly CompiledPolicy[]>
  readonly requestAuthentications: Layered<readonly RequestAuthentication[]>
  readonly servicesByEndpoint: Layered<readonly ServiceAt[]>
}

/** What of a pod selection looks at. */
export type Selectable = Pick<Workload, 'namespace' | 'labels'>

/** Where nothing is for a port. */
const OPEN: Protection = { table: null, tokens: [] }

/** Ports of a workload behind no Service that are remembered: who calls may dial any. */
const OTHERS_MOST = 64

/** Protections of one workload. */
interface Known {
  /** Of ports behind Services. */
  readonly ports: Map<number, Protection>
  /** Of all other ports, which are alike, and some of these. Null: none was asked for yet. */
  others: Protection | null
  readonly isOther: Set<number>
}

/** Protections worked out once, for as long as the same objects are in force. */
export class Protections {
  readonly #known = new WeakMap<Workload, Known>()
  /** Pods with the very same policies share one table. */
  readonly #tables: Map<string, DecisionTable>

  constructor(tables = new Map<string, DecisionTable>()) {
    this.#tables = tables
  }

  /** These, or fresh ones where something that they were worked out from is other than it was. */
  after(before: Ground, now: Ground): Protections {
    if (before.authorizationPolicies !== now.authorizationPolicies) return new Protections()
    const isSame =
      before.rootNamespace === now.rootNamespace &&
      before.requestAuthentications === now.requestAuthentications &&
      (before.servicesByEndpoint === now.servicesByEndpoint || !hasTargets(now))
    return isSame ? this : new Protections(this.#tables)
  }

  /** What stands before `port`, at which the workload itself listens. */
  of(ground: Ground, workload: Workload, port: number): Protection {
    let known = this.#known.get(workload)
    if (known === undefined) {
      this.#known.set(workload, (known = { ports: new Map(), others: null, isOther: new Set() }))
    }
    const protection = known.ports.get(port)
    if (protection !== undefined) return protection
    if (known.others !== null && known.isOther.has(port)) return known.others
    return this.#look(ground, workload, port, known)
  }

  #look(ground: Ground, workload: Workload, port: number, known: Known): Protection {
    const behind = behindOf(ground, workload, port)
    if (behind.length > 0) {
      const protection = this.#find(ground, workload, behind)
      known.ports.set(port, protection)
      return protection
    }
    if (known.isOther.size >= OTHERS_MOST) known.isOther.clear()
    known.isOther.add(port)
    return (known.others ??= this.#find(ground, workload, behind))
  }

  #find(ground: Ground, workload: Workload, behind: readonly ServiceAt[]): Protection {
    const { authorizationPolicies, requestAuthentications, rootNamespace } = ground
    const speaking = [...new Set([rootNamespace, workload.namespace])]
    const isFor = (aim: Aim): boolean => isAimedAt(aim, workload, behind)
    const policies = speaking
      .flatMap((namespace) => authorizationPolicies.get(namespace) ?? [])
      .filter(({ source }) => isFor(source))
    const tokens = speaking
      .flatMap((namespace) => requestAuthentications.get(namespace) ?? [])
      .filter(isFor)
      .sort(byAge)
      .flatMap(({ rules }) => rules)
    if (policies.length === 0 && tokens.length === 0) return OPEN
    return { table: policies.length === 0 ? null : this.#table(policies), tokens }
  }

  #table(policies: readonly CompiledPolicy[]): DecisionTable {
    const key = policies.map(({ source: { ref } }) => `${ref.namespace}/${ref.name}`).join()
    let table = this.#tables.get(key)
    if (table === undefined) this.#tables.set(key, (table = tableOf(policies)))
    return table
  }
}

/** What stands before a port of a workload, in this snapshot. */
export function protectionOf(snapshot: Snapshot, workload: Workload, port: number): Protection {
  return snapshot.protections.of(snapshot, workload, port)
}

/**
 * Whether an object is for a pod whose port stands behind these Services. Where it is attached to Services it is for what
 * arrives at their endpoints, by whatever address that was dialled: who calls a pod directly does not get round it.
 */
export function isAimedAt({ selector, targets }: Aim, pod: Selectable, behind: readonly ServiceAt[]): boolean {
  if (targets !== null) {
    return targets.some(({ namespace, name }) => {
      return behind.some(({ service }) => service.namespace === namespace && service.name === name)
    })
  }
  if (selector === null) return true // of its own namespace, or of the mesh: nobody else's were looked through
  return Object.entries(selector).every(([name, value]) => pod.labels[name] === value)
}

function behindOf({ servicesByEndpoint }: Ground, { ips }: Workload, port: number): readonly ServiceAt[] {
  return ips.flatMap((ip) => servicesByEndpoint.get(addressText({ ip, port })) ?? [])
}

function hasTargets({ authorizationPolicies, requestAuthentications }: Ground): boolean {
  const isTargeted = (aim: Aim): boolean => aim.targets !== null
  return (
    [...authorizationPolicies.values()].some((list) => list.some(({ source }) => isTargeted(source))) ||
    [...requestAuthentications.values()].some((list) => list.some(isTargeted))
  )
}
