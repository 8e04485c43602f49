// The cluster as a node sees it: reflectors of all that is watched, folded into one inventory at every change.

import { DEFAULT_MESH_SETTINGS, type MeshSettings } from '../model/mesh-settings.ts'
import type { DestinationRule, Problem, VirtualService } from '../model/policy.ts'
import type { Service } from '../model/service.ts'
import type { Inventory } from '../model/snapshot.ts'
import type { Workload } from '../model/workload.ts'
import type { KubeClient } from './client.ts'
import { translateDestinationRule } from './destination-rule.ts'
import { sources } from './kinds.ts'
import { translateMeshSettings } from './mesh-settings.ts'
import type { EndpointSlice, KubeService, Metadata, Pod } from './object.ts'
import { Reflector, type ReflectorLog } from './reflector.ts'
import { serviceKey, serviceProblems, sliceOwner, translateService } from './service.ts'
import { Translations } from './translations.ts'
import { translateVirtualService } from './virtual-service.ts'
import { hasEnded, localWorkload, podProblems, remoteWorkload } from './workload.ts'

export interface ClusterOptions {
  /** Name of the Kubernetes node whose pods are watched whole. */
  readonly node: string
  readonly clusterDomain: string
  /** Where the ConfigMap of mesh-wide settings is, and whose Istio objects hold mesh-wide unless it says otherwise. */
  readonly rootNamespace: string
  /** How names of RuntimeClasses begin whose pods cannot be captured; in any case of letters. */
  readonly sandboxedRuntimes: readonly string[]
  /** Changes that come within so many milliseconds become one inventory. */
  readonly settleMs: number
}

/** What the control side is told. */
export interface ClusterView {
  readonly inventory: Inventory
  /** Pods of this node that have not ended. */
  readonly localPods: readonly Workload[]
  readonly problems: readonly Problem[]
}

/** Watches the cluster and tells `onView` of every change, once all kinds were listed. */
export class Cluster {
  readonly #options: ClusterOptions
  readonly #onView: (view: ClusterView) => void
  readonly #reflectors: readonly Reflector[]
  readonly #namespaces: Reflector
  readonly #services: Reflector<KubeService>
  readonly #slices: Reflector<EndpointSlice>
  readonly #localPods: Reflector<Pod>
  readonly #pods: Reflector
  readonly #virtualServices: Translations<VirtualService>
  readonly #destinationRules: Translations<DestinationRule>
  readonly #settings: Translations<MeshSettings>
  readonly #defaults: MeshSettings
  readonly #translatedServices = new Map<string, { from: readonly unknown[]; service: Service }>()
  #version = 0
  #listed = false
  #stopped = false
  #timer: NodeJS.Timeout | null = null

  constructor(
    client: KubeClient,
    options: ClusterOptions,
    on: { view: (view: ClusterView) => void; log: ReflectorLog },
  ) {
    this.#options = options
    this.#onView = on.view
    const all = sources(client, options.node, options.rootNamespace)
    const listen = { change: () => this.#schedule(), log: on.log }
    const { clusterDomain } = options
    this.#namespaces = new Reflector(all.namespaces, client, listen)
    this.#services = new Reflector<KubeService>(all.services, client, listen)
    this.#slices = new Reflector<EndpointSlice>(all.slices, client, listen)
    this.#localPods = new Reflector<Pod>(all.localPods, client, listen)
    this.#pods = new Reflector(all.pods, client, listen)
    const virtualServices = new Reflector(all.virtualServices, client, listen)
    const destinationRules = new Reflector(all.destinationRules, client, listen)
    this.#virtualServices = new Translations(virtualServices, 'VirtualService', (object) =>
      translateVirtualService(object, clusterDomain),
    )
    this.#destinationRules = new Translations(destinationRules, 'DestinationRule', (object) =>
      translateDestinationRule(object, clusterDomain),
    )
    this.#defaults = { ...DEFAULT_MESH_SETTINGS, rootNamespace: options.rootNamespace }
    const settings = new Reflector(all.settings, client, listen)
    this.#settings = new Translations(settings, 'ConfigMap', (map) => translateMeshSettings(map, this.#defaults))
    const builtIn = [this.#namespaces, this.#services, this.#slices, this.#localPods, this.#pods, settings]
    this.#reflectors = [...builtIn, virtualServices, destinationRules] as readonly Reflector[]
  }

  /** Starts all watches; resolves when every kind was listed once. */
  async start(): Promise<void> {
    for (const reflector of this.#reflectors) void reflector.run() // never throws: it logs and tries again
    await Promise.all(this.#reflectors.map(({ synced }) => synced))
    this.#listed = true
    this.#schedule()
  }

  /** Ends all watches; no view comes after. */
  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    for (const reflector of this.#reflectors) reflector.stop()
  }

  #schedule(): void {
    if (!this.#listed || this.#stopped || this.#timer !== null) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#onView(this.#view())
    }, this.#options.settleMs)
  }

  #view(): ClusterView {
    const services = this.#serviceList()
    const localPods = this.#localWorkloads()
    const virtualServices = this.#virtualServices.read()
    const destinationRules = this.#destinationRules.read()
    const { values, problems } = this.#settings.read()
    const settings = values[0] ?? this.#defaults
    return {
      localPods,
      problems: [
        ...this.#podProblems(),
        ...[...this.#services.objects.values()].flatMap(serviceProblems),
        ...virtualServices.problems,
        ...destinationRules.problems,
        ...problems,
      ],
      inventory: {
        version: ++this.#version,
        node: this.#options.node,
        settings,
        rootNamespace: settings.rootNamespace,
        workloads: [...localPods, ...this.#remoteWorkloads(localPods, services)],
        services,
        virtualServices: virtualServices.values,
        destinationRules: destinationRules.values,
      },
    }
  }

  #localWorkloads(): Workload[] {
    const namespaces = this.#namespacesByName()
    const { sandboxedRuntimes } = this.#options
    return [...this.#localPods.objects.values()]
      .filter((pod) => !hasEnded(pod))
      .map((pod) => localWorkload(pod, namespaces.get(pod.metadata.namespace ?? ''), sandboxedRuntimes))
  }

  /** What pods of this node ask for and do not get; what is wrong with a namespace is said once. */
  #podProblems(): Problem[] {
    const namespaces = this.#namespacesByName()
    const problems = [...this.#localPods.objects.values()]
      .filter((pod) => !hasEnded(pod))
      .flatMap((pod) => podProblems(pod, namespaces.get(pod.metadata.namespace ?? '')))
    return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()]
  }

  /** Pods of other nodes, each with the addresses and the node that the EndpointSlices give it. */
  #remoteWorkloads(localPods: readonly Workload[], services: readonly Service[]): Workload[] {
    const namespaces = this.#namespacesByName()
    const local = new Set(localPods.map(({ uid }) => uid))
    const places = placesOf(services)
    return [...this.#pods.objects.values()]
      .filter(({ metadata }) => !local.has(metadata.uid) && !this.#localPods.objects.has(metadata.uid))
      .map((pod) => {
        const place = places.get(pod.metadata.uid)
        const workload = remoteWorkload(pod, namespaces.get(pod.metadata.namespace ?? ''))
        return { ...workload, ips: place === undefined ? [] : [...place.ips], node: place?.node ?? null }
      })
  }

  #namespacesByName(): Map<string, Metadata> {
    return new Map([...this.#namespaces.objects.values()].map(({ metadata }) => [metadata.name, metadata]))
  }

  /** All services; one whose objects did not change is not translated again. */
  #serviceList(): Service[] {
    const slices = new Map<string, EndpointSlice[]>()
    for (const slice of this.#slices.objects.values()) {
      const key = sliceOwner(slice)
      if (key === null) continue
      const known = slices.get(key)
      if (known === undefined) slices.set(key, [slice])
      else known.push(slice)
    }
    const before = new Map(this.#translatedServices)
    this.#translatedServices.clear()
    return [...this.#services.objects.values()].map((object) => {
      const key = serviceKey(object.metadata.namespace ?? '', object.metadata.name)
      const own = slices.get(key) ?? []
      const from = [object, ...own]
      const known = before.get(key)
      const same = known?.from.length === from.length && known.from.every((part, index) => part === from[index])
      const service = same && known ? known.service : translateService(object, own, this.#options.clusterDomain)
      this.#translatedServices.set(key, { from, service })
      return service
    })
  }
}

/** Addresses and node of each pod that stands behind a service, by the pod's uid. */
function placesOf(services: readonly Service[]): Map<string, { ips: Set<string>; node: string | null }> {
  const places = new Map<string, { ips: Set<string>; node: string | null }>()
  for (const endpoint of services.flatMap(({ ports }) => ports.flatMap(({ endpoints }) => endpoints))) {
    if (endpoint.workload === null) continue
    const place = places.get(endpoint.workload)
    if (place === undefined) places.set(endpoint.workload, { ips: new Set([endpoint.address.ip]), node: endpoint.node })
    else place.ips.add(endpoint.address.ip)
  }
  return places
}
