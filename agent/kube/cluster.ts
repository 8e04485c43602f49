// The cluster as a node sees it: reflectors of all that is watched, and what each change of theirs changes in the inventory.

import type { Changes, Delta } from '../model/delta.ts'
import { type Locality, localityText, NOWHERE_KNOWN } from '../model/balance/locality.ts'
import { DEFAULT_MESH_SETTINGS } from '../model/mesh-settings.ts'
import {
  isStrictSomewhere,
  type PeerGround,
  type PeerModes,
  peerModesOf,
  peersByNamespace,
} from '../model/peer-authentication.ts'
import type { Problem, VirtualService } from '../model/policy.ts'
import type { DestinationRule } from '../model/traffic-policy.ts'
import type { Inventory } from '../model/snapshot.ts'
import type { Workload } from '../model/workload.ts'
import { AgentList } from './agent-list.ts'
import { translateAuthorizationPolicy } from './authorization-policy.ts'
import type { KubeClient } from './client.ts'
import { translateDestinationRule } from './destination-rule.ts'
import { sources } from './kinds.ts'
import { translateMeshSettings } from './mesh-settings.ts'
import { NodeList } from './node-list.ts'
import type { EndpointSlice, KubeObject, KubeService, Pod } from './object.ts'
import { translatePeerAuthentication } from './peer-authentication.ts'
import { type ObjectChange, Reflector, type ReflectorLog } from './reflector.ts'
import { translateRequestAuthentication } from './request-authentication.ts'
import { ServiceList } from './service-list.ts'
import { Translations } from './translations.ts'
import { translateVirtualService } from './virtual-service.ts'
import { WorkloadList } from './workload-list.ts'

export interface ClusterOptions {
  /** Name of the Kubernetes node whose pods are watched whole. */
  readonly node: string
  readonly clusterDomain: string
  /** Where the ConfigMap of the mesh's settings is; and of the mesh's policies, while that names no other. */
  readonly rootNamespace: string
  /** Of Weft itself, with the Service of the agents. */
  readonly namespace: string
  /** How names of RuntimeClasses begin whose pods cannot be captured; in any case of letters. */
  readonly sandboxedRuntimes: readonly string[]
  /** Changes that come within so many milliseconds become one delta. */
  readonly settleMs: number
}

/** What the control side is told. */
export interface ClusterView {
  /** What changed since the view before; with the first, everything. */
  readonly delta: Delta
  /** Pods of this node that have not ended. The same array as long as none of them changed. */
  readonly localPods: readonly Workload[]
  /** The same array as long as there is nothing else to say. */
  readonly problems: readonly Problem[]
}

/** Watches the cluster and tells `onView` of every change, once all kinds were listed. */
export class Cluster {
  readonly #options: ClusterOptions
  readonly #onView: (view: ClusterView) => void
  readonly #reflectors: readonly Reflector[]
  readonly #nodes = new NodeList()
  readonly #services: ServiceList
  readonly #workloads: WorkloadList
  readonly #agents: AgentList
  readonly #virtualServices: Translations<VirtualService>
  readonly #destinationRules: Translations<DestinationRule>
  readonly #peerAuthentications = new Translations('PeerAuthentication', translatePeerAuthentication)
  readonly #authorizationPolicies = new Translations('AuthorizationPolicy', translateAuthorizationPolicy)
  readonly #requestAuthentications = new Translations('RequestAuthentication', translateRequestAuthentication)
  readonly #meshSettings = new Translations('ConfigMap', translateMeshSettings)
  /** What the terms of this node's pods were last read by. */
  #peers: PeerGround = { byNamespace: new Map(), rootNamespace: '' }
  #problems: readonly Problem[] = []
  #problemParts: readonly (readonly Problem[])[] = []
  #localPods: readonly Workload[] | null = null
  /** Where this node is. */
  #locality: Locality = NOWHERE_KNOWN
  #version = 0
  #listed = false
  #stopped = false
  #toldAt = -Infinity
  #timer: NodeJS.Timeout | null = null
  #atOnce: NodeJS.Immediate | null = null

  constructor(
    client: KubeClient,
    options: ClusterOptions,
    on: { view: (view: ClusterView) => void; log: ReflectorLog },
  ) {
    this.#options = options
    this.#onView = on.view
    const { clusterDomain, sandboxedRuntimes } = options
    this.#services = new ServiceList(clusterDomain, (node, zone) => this.#nodes.localityOf(node, zone))
    this.#agents = new AgentList(options.namespace)
    this.#virtualServices = new Translations('VirtualService', (object) =>
      translateVirtualService(object, clusterDomain),
    )
    this.#destinationRules = new Translations('DestinationRule', (object) =>
      translateDestinationRule(object, clusterDomain),
    )
    const all = sources(client, options.node, options.rootNamespace)
    /** A reflector whose changes go to `take`. */
    const watched = <T extends KubeObject = KubeObject>(
      source: keyof typeof all,
      take: (changes: readonly ObjectChange<T>[]) => void,
      when: 'settled' | 'at once' = 'settled',
    ): Reflector<T> => {
      const change = (changes: readonly ObjectChange<T>[]): void => {
        take(changes)
        this.#schedule(when)
      }
      return new Reflector<T>(all[source], client, { change, log: on.log })
    }
    const localPods = watched<Pod>('localPods', (changes) => this.#workloads.takePods(changes))
    const pods = watched('pods', (changes) => this.#workloads.takePods(changes))
    const services = this.#services
    const isStrict = ({ metadata: { namespace = '', labels = {} } }: Pod): boolean =>
      isStrictSomewhere(peerModesOf({ namespace, labels }, this.#peers))
    this.#workloads = new WorkloadList({
      ...{ local: localPods, all: pods, services, sandboxedRuntimes, isStrict },
      isReady: (agent) => this.#agents.isReady(agent),
    })
    this.#reflectors = [
      watched('namespaces', (changes) => this.#workloads.takeNamespaces(changes)),
      watched('nodes', (changes) => services.nodesMoved(this.#nodes.take(changes))),
      watched<KubeService>('services', (changes) => services.takeServices(changes)),
      watched<EndpointSlice>('slices', (changes) => this.#takeSlices(changes), 'at once'),
      localPods,
      pods,
      watched('meshSettings', (changes) => this.#meshSettings.take(changes)),
      watched('virtualServices', (changes) => this.#virtualServices.take(changes)),
      watched('destinationRules', (changes) => this.#destinationRules.take(changes)),
      watched('peerAuthentications', (changes) => this.#peerAuthentications.take(changes)),
      watched('authorizationPolicies', (changes) => this.#authorizationPolicies.take(changes)),
      watched('requestAuthentications', (changes) => this.#requestAuthentications.take(changes)),
    ] as readonly Reflector[]
  }

  #takeSlices(changes: readonly ObjectChange<EndpointSlice>[]): void {
    this.#services.takeSlices(changes)
    this.#workloads.agentsMoved(this.#agents.take(changes))
  }

  /** Starts all watches; resolves when every kind was listed once. */
  async start(): Promise<void> {
    for (const reflector of this.#reflectors) void reflector.run() // never throws: it logs and tries again
    await Promise.all(this.#reflectors.map(({ synced }) => synced))
    this.#listed = true
    this.#schedule('settled')
  }

  /** Ends all watches; no view comes after. */
  stop(): void {
    this.#stopped = true
    this.#unschedule()
    for (const reflector of this.#reflectors) reflector.stop()
  }

  /** Everything, as of the last view. Costs a walk over all of it. */
  inventory(): Inventory {
    return {
      version: this.#version,
      ...this.#settings(),
      workloads: [...this.#workloads.values],
      services: [...this.#services.values],
      virtualServices: [...this.#virtualServices.values],
      destinationRules: [...this.#destinationRules.values],
      peerAuthentications: [...this.#peerAuthentications.values],
      authorizationPolicies: [...this.#authorizationPolicies.values],
      requestAuthentications: [...this.#requestAuthentications.values],
    }
  }

  /** What a pod takes at each of its ports, by the policies as of now. */
  peerModesOf(pod: Workload): PeerModes {
    return peerModesOf(pod, this.#peers)
  }

  /** Namespaces whose pods are fail-closed unless they say otherwise, as of now. */
  closedNamespaces(): ReadonlySet<string> {
    return this.#workloads.closedNamespaces()
  }

  #settings(): Delta['settings'] {
    const [mesh = DEFAULT_MESH_SETTINGS] = this.#meshSettings.values
    const { rootNamespace, node } = this.#options
    return { rootNamespace: mesh.rootNamespace ?? rootNamespace, mesh, node, locality: this.#locality }
  }

  /**
   * An endpoint that comes or goes after a while of quiet is told at once: connections wait for it. What people write is
   * waited for: they write several objects that belong together.
   */
  #schedule(when: 'settled' | 'at once'): void {
    if (!this.#listed || this.#stopped || this.#timer !== null) return
    const { settleMs } = this.#options
    const sinceMs = performance.now() - this.#toldAt
    if (when === 'at once' && sinceMs >= settleMs) {
      this.#atOnce ??= setImmediate(() => this.#tell()) // with all that the same bytes brought
      return
    }
    const waitMs = when === 'at once' ? settleMs - sinceMs : settleMs
    this.#timer = setTimeout(() => this.#tell(), waitMs)
  }

  #unschedule(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#atOnce !== null) clearImmediate(this.#atOnce)
    this.#timer = this.#atOnce = null
  }

  #tell(): void {
    this.#unschedule()
    this.#toldAt = performance.now()
    const { changes: services, moved } = this.#services.flush()
    this.#workloads.move(moved)
    const meshSettings = this.#meshSettings.flush()
    const peerAuthentications = this.#peerAuthentications.flush()
    this.#readPeers(peerAuthentications)
    const workloads = this.#workloads.flush()
    const pieces = {
      ...{ workloads, services, peerAuthentications },
      virtualServices: this.#virtualServices.flush(),
      destinationRules: this.#destinationRules.flush(),
      authorizationPolicies: this.#authorizationPolicies.flush(),
      requestAuthentications: this.#requestAuthentications.flush(),
    }
    const lists: readonly Changes<unknown>[] = [...Object.values(pieces), meshSettings]
    const isElsewhere = this.#readLocality()
    const isOther = this.#readProblems() || isElsewhere || this.#workloads.local !== this.#localPods
    if (!isOther && this.#version > 0 && lists.every(isEmpty)) return
    this.#localPods = this.#workloads.local
    const from = this.#version++
    this.#onView({
      delta: { from, version: this.#version, settings: this.#settings(), ...pieces },
      localPods: this.#localPods,
      problems: this.#problems,
    })
  }

  /** Reads the terms of this node's pods anew where a policy, or whose policies are the mesh's, is another. */
  #readPeers(changes: Changes<unknown>): void {
    const { rootNamespace } = this.#settings()
    if (isEmpty(changes) && rootNamespace === this.#peers.rootNamespace) return
    this.#peers = { byNamespace: peersByNamespace(this.#peerAuthentications.values), rootNamespace }
    this.#workloads.readTermsAnew()
  }

  /** Whether this node is elsewhere than before: where its labels say, else where its own endpoints do. */
  #readLocality(): boolean {
    const { node } = this.#options
    const now = this.#nodes.localityOf(node, '') ?? this.#services.localityOf(node) ?? NOWHERE_KNOWN
    if (localityText(now) === localityText(this.#locality)) return false
    this.#locality = now
    return true
  }

  /** Whether there is something else to say than before. */
  #readProblems(): boolean {
    const routing = [this.#virtualServices, this.#destinationRules]
    const guarding = [this.#peerAuthentications, this.#authorizationPolicies, this.#requestAuthentications]
    const lists = [this.#workloads, this.#services, ...routing, ...guarding, this.#meshSettings]
    const parts = lists.map(({ problems }) => problems)
    if (parts.every((part, index) => part === this.#problemParts[index])) return false
    this.#problemParts = parts
    this.#problems = parts.flat()
    return true
  }
}

function isEmpty({ set, gone }: Changes<unknown>): boolean {
  return set.length === 0 && gone.length === 0
}
