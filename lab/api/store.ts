// The cluster's memory: objects by resource, namespace and name, with optimistic concurrency and a bounded watch log.
// No http, no controllers. Every object handed out is deeply frozen: change one through `modify` or `update`.
//
// What holds: (1) one counter, `resourceVersion`, grows with each write and never repeats, also across restarts;
// (2) a write that changes nothing is no write; (3) listeners hear changes in the order of the writes, before the
// outermost write returns; (4) a refused write leaves nothing behind.
import { randomUUID } from 'node:crypto'
import { Admission } from './admission/admission.ts'
import { SYSTEM_PRIORITIES } from './admission/priorities.ts'
import { DEFAULT_ROLES } from './auth/default-roles.ts'
import { Catalog } from './catalog.ts'
import { Changes } from './changes.ts'
import { ClusterAddresses } from './admit/cluster-address.ts'
import { typesOfDefinition } from './crd.ts'
import { graceOf, markDeleted, released } from './deletion.ts'
import { fieldsOf } from './fields.ts'
import { copyOf, freeze, sameJson } from './object.ts'
import { checkPreconditions, prepareCreate, prepareUpdate } from './admit/prepare.ts'
import { matches, pinned } from './selector.ts'
import { alreadyExists, expired, forbidden, notFound } from './status.ts'
import type { Attributes, Writer } from './admission/attributes.ts'
import type { ManagedFieldsEntry } from './apply/managed.ts'
import type { Change, Listener } from './changes.ts'
import type { Preconditions } from './admit/prepare.ts'
import type { KubeObject, ObjectDraft } from './object.ts'
import type { ResourceType } from './resources.ts'
import type { Selector } from './selector.ts'

export interface ListOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined
  readonly labels?: Selector | undefined
  readonly fields?: Selector | undefined
}

export interface WriteOptions {
  /** Nothing is kept; the answer is what would have been. */
  readonly dryRun?: boolean
  /** Left out: the lab's own controllers, who write in process. */
  readonly writer?: Writer | undefined
  /** Admission was asked already, for the subresource that the write came by. */
  readonly isAdmitted?: boolean
  /** Who manages which field, from one who has worked it out: server-side apply. */
  readonly managedFields?: ManagedFieldsEntry[]
}

export interface UpdateOptions extends WriteOptions {
  readonly subresource?: 'status' | undefined
}

export interface DeleteOptions extends WriteOptions {
  /** Absent: the pod's own. 0: at once. Pods with a node are only marked otherwise, and their kubelet deletes with 0. */
  readonly gracePeriodSeconds?: number | undefined
  /** Background leaves dependents to the garbage collector, which reads the finalizers the other two set. */
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined
  readonly preconditions?: Preconditions | undefined
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly object: KubeObject
}

/**
 * The seam of controllers and of the http server. `resource` is 'pods', 'deployments.apps',
 * 'endpointslices.discovery.k8s.io'; `namespace` null (or '') for cluster-scoped kinds.
 * Refusals are thrown as ApiError: a metav1.Status.
 */
export interface Store {
  readonly catalog: Catalog
  /** The counter now: a watch from here hears only what comes after. */
  readonly version: string
  get(resource: string, namespace: string | null, name: string): KubeObject | undefined
  list(resource: string, options?: ListOptions): KubeObject[]
  create(resource: string, draft: ObjectDraft, options?: WriteOptions): KubeObject
  /** Replaces. A resourceVersion in the draft is compared (409). `status` changes only with subresource 'status'. */
  update(resource: string, draft: ObjectDraft, options?: UpdateOptions): KubeObject
  /** Reads, changes a copy, writes. Undefined when the object is gone. */
  modify(
    resource: string,
    namespace: string | null,
    name: string,
    change: (object: KubeObject) => void,
    options?: UpdateOptions,
  ): KubeObject | undefined
  /** Undefined when there is none. The answer carries a deletionTimestamp when the object stays for now. */
  delete(resource: string, namespace: string | null, name: string, options?: DeleteOptions): KubeObject | undefined
  /** Asks the admission policies about a write of a subresource that the store does not know of. Throws their refusal. */
  admit(attributes: Attributes): void
  /** In process: ADDED of all present first, then each change, synchronously after the write. Returns what ends it. */
  watch(resource: string, listener: (event: WatchEvent) => void): () => void
  /** Changes after `version` (410 when no longer kept), then those to come. Returns what ends it. */
  follow(resource: string, version: number, listener: Listener): () => void
}

export interface StoreSettings {
  readonly now?: () => Date
  readonly uid?: () => string
  /** Changes kept a resource. */
  readonly logLimit?: number
  /** Listeners a resource. */
  readonly listenerLimit?: number
  /** Gets what a listener throws; the default lets the process die of it, outside of the write. */
  readonly report?: (error: unknown) => void
}

export const DEFAULT_LOG_LIMIT = 10_000
export const DEFAULT_LISTENER_LIMIT = 2_000
const SYSTEM_NAMESPACES = ['default', 'kube-node-lease', 'kube-public', 'kube-system']
const DEFINITIONS = 'customresourcedefinitions.apiextensions.k8s.io'

interface Shelf {
  readonly objects: Map<string, KubeObject>
  readonly changes: Changes
}

/** A new cluster memory with the system namespaces and roles in it. */
export function createStore(settings: StoreSettings = {}): Store {
  const store = new MemoryStore(settings)
  for (const name of SYSTEM_NAMESPACES) store.create('namespaces', { metadata: { name } })
  for (const [resource, draft] of [...DEFAULT_ROLES, ...SYSTEM_PRIORITIES]) store.create(resource, draft)
  return store
}

class MemoryStore implements Store {
  readonly catalog = new Catalog()
  readonly #shelves = new Map<string, Shelf>()
  readonly #addresses = new ClusterAddresses()
  readonly #admission: Admission
  readonly #settings: Required<StoreSettings>
  #version: number
  #unannounced: { changes: Changes; change: Change }[] = []
  #announcing = false

  constructor(settings: StoreSettings) {
    this.#settings = {
      now: settings.now ?? (() => new Date()),
      uid: settings.uid ?? randomUUID,
      logLimit: settings.logLimit ?? DEFAULT_LOG_LIMIT,
      listenerLimit: settings.listenerLimit ?? DEFAULT_LISTENER_LIMIT,
      report: settings.report ?? ((error) => queueMicrotask(() => raise(error))),
    }
    this.#admission = new Admission(this, this.#settings)
    // The clock, so that versions of an earlier life of this server are all too old to watch from.
    this.#version = this.#settings.now().getTime()
  }

  get version(): string {
    return String(this.#version)
  }

  get(resource: string, namespace: string | null, name: string): KubeObject | undefined {
    return this.#shelf(this.catalog.require(resource)).objects.get(placeOf(namespace, name))
  }

  list(resource: string, options: ListOptions = {}): KubeObject[] {
    const { namespace, labels = [], fields = [] } = options
    const { objects } = this.#shelf(this.catalog.require(resource))
    const name = pinned(fields, 'metadata.name')
    const one = name !== undefined && namespace !== undefined ? objects.get(placeOf(namespace, name)) : undefined
    const candidates = name !== undefined && namespace !== undefined ? (one ? [one] : []) : [...objects.values()]
    return candidates
      .filter((object) => namespace === undefined || (object.metadata.namespace ?? '') === namespace)
      .filter((object) => matches(labels, object.metadata.labels))
      .filter((object) => fields.length === 0 || matches(fields, fieldsOf(resource, object)))
      .sort(byPlace)
  }

  create(resource: string, draft: ObjectDraft, options: WriteOptions = {}): KubeObject {
    const type = this.catalog.require(resource)
    const object = prepareCreate(type, this.#admission.mutate(type, draft), {
      now: this.#settings.now(),
      uid: this.#settings.uid(),
      isTaken: (namespace, name) => this.#shelf(type).objects.has(placeOf(namespace, name)),
    })
    const { namespace, name } = object.metadata
    if (namespace !== undefined) this.#requireOpenNamespace(type, namespace, name)
    if (this.#shelf(type).objects.has(placeOf(namespace, name))) throw alreadyExists(type, name)
    if (resource === 'services') this.#addresses.assign(object, undefined)
    if (options.managedFields) object.metadata.managedFields = options.managedFields
    this.#admission.validate(type, { object, oldObject: null, version: draft.apiVersion }, options)
    if (options.dryRun) return freeze(object)
    return this.#commit(type, 'ADDED', object, null)
  }

  update(resource: string, draft: ObjectDraft, options: UpdateOptions = {}): KubeObject {
    const type = this.catalog.require(resource)
    const { namespace, name = '' } = draft.metadata
    const current = this.#shelf(type).objects.get(placeOf(type.namespaced ? namespace : null, name))
    if (!current) throw notFound(type, name)
    checkPreconditions(type, current, draft.metadata)
    const object = prepareUpdate(type, current, draft, options.subresource)
    if (resource === 'services') this.#addresses.assign(object, current)
    this.#admission.manage(type, { object, oldObject: current, version: draft.apiVersion }, draft, options)
    this.#admission.validate(type, { object, oldObject: current, version: draft.apiVersion }, options)
    if (sameJson(object, current)) return current
    if (options.dryRun) return freeze(object)
    if (released(object)) return this.#remove(type, current, object)
    const kept = this.#commit(type, 'MODIFIED', object, current)
    if (resource === 'namespaces') this.#finishNamespace(name)
    return kept
  }

  // eslint-disable-next-line max-params -- three of the five say which object
  modify(
    resource: string,
    namespace: string | null,
    name: string,
    change: (object: KubeObject) => void,
    options: UpdateOptions = {},
  ): KubeObject | undefined {
    const current = this.get(resource, namespace, name)
    if (!current) return undefined
    const object = copyOf(current)
    change(object)
    return this.update(resource, object, options)
  }

  delete(
    resource: string,
    namespace: string | null,
    name: string,
    options: DeleteOptions = {},
  ): KubeObject | undefined {
    const type = this.catalog.require(resource)
    const current = this.get(resource, namespace, name)
    if (!current) return undefined
    checkPreconditions(type, current, options.preconditions ?? {}, 'Precondition failed')
    this.#admission.validate(type, { object: null, oldObject: current }, options)
    const graceSeconds = graceOf(type, current, options.gracePeriodSeconds)
    const marked = markDeleted(type, current, { now: this.#settings.now(), graceSeconds, ...options })
    if (released(marked)) return options.dryRun ? current : this.#remove(type, current, current)
    if (options.dryRun || sameJson(marked, current)) return freeze(marked)
    const kept = this.#commit(type, 'MODIFIED', marked, current)
    if (resource === 'namespaces') this.#empty(name)
    return kept
  }

  admit(attributes: Attributes): void {
    this.#admission.policies.admit(attributes)
  }

  watch(resource: string, listener: (event: WatchEvent) => void): () => void {
    const start = this.#version
    const present = this.list(resource)
    const stop = this.follow(resource, start, ({ type, object }) => listener({ type, object }))
    for (const object of present) listener({ type: 'ADDED', object })
    return stop
  }

  follow(resource: string, version: number, listener: Listener): () => void {
    const { changes } = this.#shelf(this.catalog.require(resource))
    if (version > this.#version) throw expired(`resource version ${version} is not of this server`)
    const missed = changes.since(version)
    // A change can be written and not yet announced while a listener runs: each is passed on once, by its version.
    let reached = this.#version
    const stop = changes.listen((change) => {
      if (change.version <= reached) return
      reached = change.version
      listener(change)
    })
    for (const change of missed) listener(change)
    return stop
  }

  #shelf(type: ResourceType): Shelf {
    let shelf = this.#shelves.get(type.key)
    if (!shelf) {
      const { logLimit: limit, listenerLimit } = this.#settings
      shelf = { objects: new Map(), changes: new Changes({ limit, listenerLimit, since: this.#version }) }
      this.#shelves.set(type.key, shelf)
    }
    return shelf
  }

  #requireOpenNamespace(type: ResourceType, namespace: string, name: string): void {
    const types = this.catalog.require('namespaces')
    const found = this.#shelf(types).objects.get(placeOf(null, namespace))
    if (!found) throw notFound(types, namespace)
    if (found.metadata.deletionTimestamp === undefined) return
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`
    throw forbidden(type, name, why)
  }

  #commit(type: ResourceType, kind: Change['type'], draft: KubeObject, previous: KubeObject | null): KubeObject {
    const shelf = this.#shelf(type)
    const version = ++this.#version
    const place = placeOf(draft.metadata.namespace, draft.metadata.name)
    const object = freeze({ ...draft, metadata: { ...draft.metadata, resourceVersion: String(version) } })
    if (kind === 'DELETED') shelf.objects.delete(place)
    else shelf.objects.set(place, object)
    const change: Change = { type: kind, object, previous, version }
    shelf.changes.append(change)
    this.#unannounced.push({ changes: shelf.changes, change })
    this.#settle(type, change)
    this.#announce()
    return object
  }

  #remove(type: ResourceType, current: KubeObject, last: KubeObject): KubeObject {
    if (type.key === DEFINITIONS) this.#emptyDefinition(current)
    const removed = this.#commit(type, 'DELETED', last, current)
    const { namespace } = current.metadata
    if (namespace !== undefined) this.#finishNamespace(namespace)
    return removed
  }

  /** What must be true before anybody hears of the change. */
  #settle(type: ResourceType, { type: kind, object, previous }: Change): void {
    if (type.key === 'services') this.#addresses.record(object, kind === 'DELETED' ? object : previous, kind)
    if (type.key !== DEFINITIONS) return
    for (const custom of typesOfDefinition(object)) {
      if (kind === 'DELETED') this.catalog.withdraw(custom.key)
      else this.catalog.serve(custom)
    }
  }

  #announce(): void {
    if (this.#announcing) return
    this.#announcing = true
    try {
      for (let next = this.#unannounced.shift(); next; next = this.#unannounced.shift()) {
        next.changes.announce(next.change, this.#settings.report)
      }
    } finally {
      this.#announcing = false
    }
  }

  #emptyDefinition(definition: KubeObject): void {
    for (const custom of typesOfDefinition(definition)) {
      for (const object of this.#shelf(custom).objects.values()) this.#remove(custom, object, object)
    }
  }

  #empty(namespace: string): void {
    for (const type of this.catalog.all()) {
      if (!type.namespaced || type.viewOf !== undefined) continue
      for (const { metadata } of this.list(type.key, { namespace })) {
        // whoever was allowed to delete the namespace was allowed to delete what is in it
        this.delete(type.key, namespace, metadata.name, { isAdmitted: true })
      }
    }
    this.#finishNamespace(namespace)
  }

  /** A namespace under deletion goes with the last object in it. */
  #finishNamespace(name: string): void {
    const type = this.catalog.require('namespaces')
    const namespace = this.#shelf(type).objects.get(placeOf(null, name))
    if (namespace?.metadata.deletionTimestamp === undefined || namespace.metadata.finalizers?.length) return
    const isFull = this.catalog.all().some((each) => each.namespaced && this.#holds(each, name))
    if (!isFull) this.#remove(type, namespace, namespace)
  }

  #holds(type: ResourceType, namespace: string): boolean {
    for (const { metadata } of this.#shelf(type).objects.values()) if (metadata.namespace === namespace) return true
    return false
  }
}

function raise(error: unknown): never {
  throw error
}

function placeOf(namespace: string | null | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`
}

function byPlace(left: KubeObject, right: KubeObject): number {
  const a = placeOf(left.metadata.namespace, left.metadata.name)
  const b = placeOf(right.metadata.namespace, right.metadata.name)
  return a < b ? -1 : a > b ? 1 : 0
}
