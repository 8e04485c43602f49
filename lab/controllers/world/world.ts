// What every controller stands on: the store, its indexed views, the clock, events. Made once, shared by all.
import { timestamp } from '../../api/object.ts'
import type { Store } from '../../api/store.ts'
import { Events } from './events.ts'
import type {
  DaemonSet,
  Deployment,
  EndpointSlice,
  Job,
  Lease,
  Node,
  Pod,
  ReplicaSet,
  Service,
  StatefulSet,
  Stored,
} from './kinds.ts'
import { WorkQueue, type Clock, type Log, type QueueSettings } from './queue.ts'
import { View, type Index } from './view.ts'

export const SLICES = 'endpointslices.discovery.k8s.io'

export class World {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly events: Events
  readonly pods: View<Pod>
  /** Pods by the name of their node. */
  readonly podsOnNode: Index<Pod>
  readonly deployments: View<Deployment>
  readonly replicaSets: View<ReplicaSet>
  readonly statefulSets: View<StatefulSet>
  readonly daemonSets: View<DaemonSet>
  readonly jobs: View<Job>
  readonly services: View<Service>
  readonly slices: View<EndpointSlice>
  readonly nodes: View<Node>
  readonly leases: View<Lease>
  readonly namespaces: View<Stored>
  readonly #views: View<Stored>[] = []
  readonly #queues: WorkQueue[] = []

  constructor(store: Store, clock: Clock, log: Log) {
    this.store = store
    this.clock = clock
    this.log = log
    this.events = new Events(store, clock)
    this.pods = this.view('pods')
    this.podsOnNode = this.pods.index(({ spec }) => (spec.nodeName ? [spec.nodeName] : []))
    this.deployments = this.view('deployments.apps')
    this.replicaSets = this.view('replicasets.apps')
    this.statefulSets = this.view('statefulsets.apps')
    this.daemonSets = this.view('daemonsets.apps')
    this.jobs = this.view('jobs.batch')
    this.services = this.view('services')
    this.slices = this.view(SLICES)
    this.nodes = this.view('nodes')
    this.leases = this.view('leases.coordination.k8s.io')
    this.namespaces = this.view('namespaces')
  }

  /** The view of a resource, one for all who ask. */
  view<T extends Stored>(resource: string): View<T> {
    const known = this.#views.find((view) => view.resource === resource)
    if (known) return known as unknown as View<T>
    const view = new View<T>(this.store, resource)
    this.#views.push(view as unknown as View<Stored>)
    return view
  }

  queue(name: string, reconcile: QueueSettings['reconcile']): WorkQueue {
    const queue = new WorkQueue({ name, clock: this.clock, log: this.log, reconcile })
    this.#queues.push(queue)
    return queue
  }

  /** Now, as metav1.Time. */
  time(): string {
    return timestamp(new Date(this.clock.now()))
  }

  /** Replaces the status of an object, if it is still there. */
  writeStatus(resource: string, { metadata }: Stored, status: object): void {
    this.store.modify(
      resource,
      metadata.namespace ?? null,
      metadata.name,
      (object) => {
        if (object.metadata.uid === metadata.uid) object.status = status
      },
      { subresource: 'status' },
    )
  }

  stop(): void {
    for (const queue of this.#queues) queue.stop()
    for (const view of this.#views) view.stop()
    this.events.stop()
  }
}
