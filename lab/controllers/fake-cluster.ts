// For tests: the controllers over a real store, with a clock that only moves when told and nodes that start pods at once.
import { createStore, type Store } from '../api/store.ts'
import { timestamp } from '../api/object.ts'
import { as, type Deployment, type EndpointSlice, type Pod, type ReplicaSet } from './world/kinds.ts'
import { isFinished, withCondition } from './workloads/pods.ts'
import type { Clock } from './world/queue.ts'
import { startControllers } from './start.ts'

const START_MS = Date.UTC(2030, 0, 1)
/** Turns after which a cluster that has not settled is taken to spin. */
const TURN_LIMIT = 20_000

/** Time stands still but for `advance`; `run` does everything that is due. */
export class FakeClock implements Clock {
  #now = START_MS
  readonly #soon: (() => void)[] = []
  readonly #timers = new Set<{ at: number; deed: () => void }>()

  readonly now = () => this.#now
  readonly soon = (deed: () => void) => void this.#soon.push(deed)
  readonly after = (ms: number, deed: () => void) => {
    const timer = { at: this.#now + ms, deed }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  run(): void {
    for (let turn = 0; this.#soon.length > 0; turn++) {
      if (turn > TURN_LIMIT) throw new Error('the controllers do not settle')
      this.#soon.shift()!()
    }
  }

  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      this.run()
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)
      if (!next) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.deed()
    }
    this.#now = end
    this.run()
  }
}

export class FakeCluster {
  readonly clock = new FakeClock()
  readonly store: Store
  readonly warnings: string[] = []
  /** Pods whose name begins with one of these never become ready. */
  readonly unhealthy = new Set<string>()
  readonly #controllers: { stop: () => void }
  #address = 0

  /** `nodes` ready nodes; with `kubelet` false nobody starts or ends their pods. */
  constructor(nodes = 2, kubelet = true) {
    this.store = createStore({ now: () => new Date(this.clock.now()) })
    for (let number = 1; number <= nodes; number++) this.addNode(`node-${number}`)
    if (kubelet) this.store.watch('pods', ({ type, object }) => type !== 'DELETED' && this.#keep(as<Pod>(object)))
    this.#controllers = startControllers({
      store: this.store,
      clock: this.clock,
      log: { warn: (message) => void this.warnings.push(message) },
    })
    this.settle()
  }

  settle(): void {
    this.clock.run()
  }

  stop(): void {
    this.#controllers.stop()
  }

  addNode(name: string, labels: Record<string, string> = {}): void {
    this.store.create('nodes', {
      metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    })
  }

  apply(resource: string, kind: string, draft: { metadata: object; [field: string]: unknown }): void {
    this.store.create(resource, { kind, ...draft, metadata: { namespace: 'default', ...draft.metadata } })
    this.settle()
  }

  /** A Deployment of one container, its labels `app: NAME`. */
  deploy(name: string, spec: Record<string, unknown> = {}): void {
    this.apply('deployments.apps', 'Deployment', {
      metadata: { name },
      spec: { selector: { matchLabels: { app: name } }, template: templateOf(name, 'v1'), ...spec },
    })
  }

  change(resource: string, name: string, change: (spec: Record<string, unknown>) => void): void {
    this.store.modify(resource, 'default', name, (object) => change(object.spec as Record<string, unknown>))
    this.settle()
  }

  pods(app?: string): Pod[] {
    const all = this.store.list('pods', { namespace: 'default' }).map((pod) => as<Pod>(pod))
    return app === undefined ? all : all.filter(({ metadata }) => metadata.labels?.['app'] === app)
  }

  replicaSets(): ReplicaSet[] {
    return this.store.list('replicasets.apps').map((set) => as<ReplicaSet>(set))
  }

  slices(): EndpointSlice[] {
    return this.store.list('endpointslices.discovery.k8s.io').map((slice) => as<EndpointSlice>(slice))
  }

  deployment(name: string): Deployment {
    return as<Deployment>(this.store.get('deployments.apps', 'default', name)!)
  }

  setReady(name: string, ready: boolean, phase = 'Running'): void {
    const time = timestamp(new Date(this.clock.now()))
    this.store.modify(
      'pods',
      'default',
      name,
      (object) => {
        const pod = as<Pod>(object)
        const podIP = pod.status?.podIP ?? this.#newAddress()
        const condition = { type: 'Ready', status: ready ? ('True' as const) : ('False' as const) }
        const conditions = withCondition(pod.status?.conditions, condition, time)
        object.status = { ...pod.status, phase, podIP, podIPs: [{ ip: podIP }], conditions }
      },
      { subresource: 'status' },
    )
  }

  #newAddress(): string {
    this.#address++
    return `10.244.${this.#address >> 8}.${this.#address & 255}`
  }

  /** As a kubelet that needs no time: a pod bound to a node runs, one being deleted goes. */
  #keep(pod: Pod): void {
    const { namespace = '', name, deletionTimestamp, labels } = pod.metadata
    if (!pod.spec.nodeName || namespace !== 'default') return
    this.clock.soon(() => {
      if (deletionTimestamp) this.store.delete('pods', namespace, name, { gracePeriodSeconds: 0 })
      else if (!pod.status?.podIP && !isFinished(pod))
        this.setReady(name, !this.unhealthy.has(labels?.['version'] ?? ''))
    })
  }
}

export function templateOf(app: string, version: string, spec: Record<string, unknown> = {}) {
  return {
    metadata: { labels: { app, version } },
    spec: { containers: [{ name: app, image: `example/${app}:${version}` }], ...spec },
  }
}
