// All services with their endpoints, kept up to date object by object; and where the endpoints say that each pod is.

import { isDeepStrictEqual } from 'node:util'
import type { Changes } from '../model/delta.ts'
import type { Locality } from '../model/balance/locality.ts'
import type { Problem } from '../model/policy.ts'
import { type Endpoint, nameOf, type Service, type ServicePort } from '../model/service.ts'
import type { EndpointSlice, KubeService } from './object.ts'
import type { ObjectChange } from './reflector.ts'
import {
  NO_PLACES,
  type PlaceOf,
  serviceHost,
  serviceKey,
  serviceProblems,
  sliceOwner,
  translateService,
} from './service.ts'
import { attempt, refOf } from './translate.ts'

/** Addresses and node of a pod, as the endpoints of one service have them. */
interface Place {
  readonly host: string
  readonly ips: readonly string[]
  readonly node: string | null
}

/** What became of services since it was asked last. */
export interface ServiceChanges {
  readonly changes: Changes<Service>
  /** uids of pods whose addresses or node may be others now. */
  readonly moved: ReadonlySet<string>
}

export class ServiceList {
  readonly #clusterDomain: string
  /** Services and slices by the key they meet by. */
  readonly #objects = new Map<string, KubeService>()
  readonly #slices = new Map<string, Map<string, EndpointSlice>>()
  readonly #dirty = new Set<string>()
  readonly #values = new Map<string, Service>()
  readonly #places = new Map<string, readonly Place[]>()
  readonly #problemsOf = new Map<string, readonly Problem[]>()
  readonly #placeOf: PlaceOf
  readonly #nowMs: () => number
  #problems: readonly Problem[] = []
  /** Whether what is there now has been told once: what becomes ready from now on is new. */
  #isTold = false

  /** `placeOf` tells where nodes are; nodesMoved() is told of another answer. `nowMs` is milliseconds since 1970. */
  constructor(clusterDomain: string, placeOf: PlaceOf = NO_PLACES, nowMs: () => number = () => Date.now()) {
    this.#clusterDomain = clusterDomain
    this.#placeOf = placeOf
    this.#nowMs = nowMs
  }

  get values(): IterableIterator<Service> {
    return this.#values.values()
  }

  /** The same array as long as there is nothing else to say. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  takeServices(changes: readonly ObjectChange<KubeService>[]): void {
    for (const { before, after } of changes) {
      if (before !== null && this.#objects.get(keyOf(before)) === before) this.#objects.delete(keyOf(before))
      if (after !== null) this.#objects.set(keyOf(after), after)
      for (const object of [before, after]) if (object !== null) this.#dirty.add(keyOf(object))
    }
  }

  takeSlices(changes: readonly ObjectChange<EndpointSlice>[]): void {
    for (const { before, after } of changes) {
      const [was, is] = [before && sliceOwner(before), after && sliceOwner(after)]
      if (before !== null && was !== null) this.#slices.get(was)?.delete(before.metadata.uid)
      if (after !== null && is !== null) {
        const own = this.#slices.get(is) ?? new Map<string, EndpointSlice>()
        this.#slices.set(is, own.set(after.metadata.uid, after))
      }
      for (const key of [was, is]) {
        if (key === null) continue
        if (this.#slices.get(key)?.size === 0) this.#slices.delete(key)
        this.#dirty.add(key)
      }
    }
  }

  /** These nodes are elsewhere now. */
  nodesMoved(nodes: ReadonlySet<string>): void {
    if (nodes.size === 0) return
    for (const { namespace, name, ports } of this.#values.values()) {
      const isOn = ports.some(({ endpoints }) => endpoints.some(({ node }) => nodes.has(node ?? '')))
      if (isOn) this.#dirty.add(serviceKey(namespace, name))
    }
  }

  /** Where the endpoints say that a node is, or null where they say nothing. */
  localityOf(node: string): Locality | null {
    for (const { ports } of this.#values.values()) {
      for (const { endpoints } of ports) {
        const found = endpoints.find((endpoint) => endpoint.node === node && endpoint.locality !== null)
        if (found !== undefined) return found.locality
      }
    }
    return null
  }

  /** Addresses and node that the endpoints give a pod. */
  placeOf(uid: string): { readonly ips: readonly string[]; readonly node: string | null } {
    const places = this.#places.get(uid) ?? []
    const [first] = places
    if (first === undefined) return { ips: [], node: null }
    return { ips: places.length === 1 ? first.ips : [...new Set(places.flatMap(({ ips }) => ips))], node: first.node }
  }

  flush(): ServiceChanges {
    const set: Service[] = []
    const gone: string[] = []
    const moved = new Set<string>()
    let isTold = false
    for (const key of this.#dirty) {
      const [namespace = '', name = ''] = key.split('/')
      const host = serviceHost(name, namespace, this.#clusterDomain)
      const before = this.#values.get(host)
      const known = this.#problemsOf.get(key)
      const now = this.#fresh(key, before)
      isTold ||= !isDeepStrictEqual(known, this.#problemsOf.get(key))
      if (now === before) continue
      this.#move(host, before, now, moved)
      if (now === undefined) {
        this.#values.delete(host)
        gone.push(host)
      } else {
        this.#values.set(host, now)
        set.push(now)
      }
    }
    this.#dirty.clear()
    this.#isTold = true
    if (isTold) this.#problems = [...this.#problemsOf.values()].flat()
    return { changes: { set, gone }, moved }
  }

  /** The service as it is now: the very one before where it is the same, or cannot be read. */
  #fresh(key: string, before: Service | undefined): Service | undefined {
    const object = this.#objects.get(key)
    this.#problemsOf.delete(key)
    if (object === undefined) return undefined
    const slices = [...(this.#slices.get(key)?.values() ?? [])]
    const { value, problems } = attempt(refOf('Service', object), () => ({
      value: this.#dated(translateService(object, slices, this.#clusterDomain, this.#placeOf), before),
      rejected: false,
      problems: serviceProblems(object),
    }))
    if (problems.length > 0) this.#problemsOf.set(key, problems)
    return value === null || isDeepStrictEqual(value, before) ? before : value
  }

  /** An endpoint that is ready has been so since it was first seen so. */
  #dated(now: Service, before: Service | undefined): Service {
    const sinceMs = this.#isTold ? this.#nowMs() : null
    const ports = now.ports.map((port, index): ServicePort => {
      const at = before?.ports[index]
      const known = new Map((at?.name === port.name ? at.endpoints : []).map((one) => [nameOf(one), one]))
      return {
        ...port,
        endpoints: port.endpoints.map((endpoint): Endpoint => {
          if (!endpoint.ready) return endpoint
          const was = known.get(nameOf(endpoint))
          return { ...endpoint, readySinceMs: was?.ready === true ? was.readySinceMs : sinceMs }
        }),
      }
    })
    return { ...now, ports }
  }

  #move(host: string, before: Service | undefined, now: Service | undefined, moved: Set<string>): void {
    const [old, fresh] = [placesIn(before), placesIn(now)]
    for (const uid of new Set([...old.keys(), ...fresh.keys()])) {
      const [was, is] = [old.get(uid), fresh.get(uid)]
      if (was !== undefined && is !== undefined && isSame(was, is)) continue
      const others = (this.#places.get(uid) ?? []).filter((place) => place.host !== host)
      const places = is === undefined ? others : [...others, is]
      if (places.length === 0) this.#places.delete(uid)
      else this.#places.set(uid, places)
      moved.add(uid)
    }
  }
}

function keyOf({ metadata }: KubeService): string {
  return serviceKey(metadata.namespace ?? '', metadata.name)
}

function isSame(a: Place, b: Place): boolean {
  return a.node === b.node && a.ips.length === b.ips.length && a.ips.every((ip, index) => ip === b.ips[index])
}

/** Where a service's endpoints say that pods are, by uid. */
function placesIn(service: Service | undefined): Map<string, Place> {
  const places = new Map<string, Place>()
  if (service === undefined) return places
  const { host } = service
  for (const { endpoints } of service.ports) {
    for (const { workload, address, node } of endpoints) {
      if (workload === null) continue
      const known = places.get(workload)
      if (known === undefined) places.set(workload, { host, ips: [address.ip], node })
      else if (!known.ips.includes(address.ip)) places.set(workload, { ...known, ips: [...known.ips, address.ip] })
    }
  }
  return places
}
