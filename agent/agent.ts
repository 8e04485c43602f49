// Root of a node's control side: the cluster in, captures and snapshots out, and the admin endpoint over all of it.

import { join } from 'node:path'
import { pino, type Logger } from 'pino'
import { Accounting } from './node/accounting.ts'
import { AdminPort } from './node/admin-port.ts'
import { Captures } from './node/captures.ts'
import { removeInstallation } from './cni/installation.ts'
import { cniPlacesOf, NodeCni } from './node/cni.ts'
import { ClientTlsMaterials } from './node/client-tls.ts'
import { CLOCK } from './node/clock.ts'
import { type AgentConfig, listOf, pinRootOf, runDirOf, workersOf } from './config.ts'
import { gateBy } from './gate.ts'
import { LocalIdentities } from './node/identities.ts'
import { type KeySets, keySetsBy } from './node/key-sets.ts'
import { HeldFolder } from './identity/held.ts'
import { announce } from './kube/announce.ts'
import { connectKube, type KubeClient } from './kube/client.ts'
import { Cluster, type ClusterView } from './kube/cluster.ts'
import { type DaemonSetPlace, hasOtherPod, isGoing } from './kube/daemon-set.ts'
import { followSecret } from './kube/secret.ts'
import { openKernel } from './kernel/bpf.ts'
import { doubtOf, findCgroupRoot, podTrees } from './kernel/cgroup-mounts.ts'
import { findPods } from './kernel/discover.ts'
import { findKubeletCgroup } from './kernel/kubelet-cgroup.ts'
import { handOverPath } from './kernel/hand-over.ts'
import type { Kernel } from './kernel/kernel.ts'
import { identityOf } from './model/identity.ts'
import type { Problem } from './model/policy.ts'
import type { Workload } from './model/workload.ts'
import { ownVersion, stopSignal } from './own-process.ts'
import { ProblemLog } from './node/problem-log.ts'
import { questionPages } from './node/questions.ts'
import { probe, thisMachine } from './kernel/probe.ts'
import { limitsOf } from './proxy/plane/limits.ts'
import { askForCertificate } from './signing/certificates.ts'
import { Roots } from './signing/published-roots.ts'
import { StrictGrace } from './node/strict-grace.ts'
import { Succession } from './node/succession.ts'
import { removeTraces } from './node/traces.ts'
import { type AdminPages, startAdmin } from './telemetry/admin.ts'
import { snapshotPage } from './telemetry/snapshot-page.ts'
import { renderMetrics } from './telemetry/metrics.ts'
import { renderNodeSeries } from './telemetry/node-series.ts'
import { ownProcess, renderProcessSeries } from './telemetry/process-series.ts'
import { agentStatus, type PodStatus } from './telemetry/status.ts'
import { runUnable } from './unable.ts'
import { DataSide } from './node/workers.ts'

/** After so long it is said that the port of the admin endpoint is not to be had. */
const ADMIN_WAIT_MS = 10_000
/** How long the API server may take to say how it is with the DaemonSet: the kubelet waits for the end. */
const ASK_WITHIN_MS = 2_000
/** How much longer than its pod an identity is kept: others hear of the pod's end a little later. */
const IDENTITY_LINGER_MS = 30_000

/**
 * Runs the agent of one node until SIGTERM or SIGINT, or until another has taken its place. On a machine that cannot
 * capture it says why, once, and stays unready: to end would only have it started again. Throws where it is run amiss.
 */
export async function runAgent(config: AgentConfig): Promise<void> {
  const node = config.node as string // agentConfig demands it
  const name = config['agent-name'] ?? `weft-agent-${node}`
  const log = pino({ level: config['log-level'], base: { agent: name } })
  const machine = thisMachine(config['cgroup-root'] ?? findCgroupRoot())
  const ability = probe(machine)
  if (ability.able === 'yes') {
    const doubt = config['cgroup-root'] === null && config['pods-cgroup'] === null ? doubtOf(ability.cgroupRoot) : null
    if (doubt !== null) log.warn({ doubt }, 'pods may not be found')
    const client = connectKube(config.kubeconfig)
    return new Agent({ config, node, name, cgroupRoot: ability.cgroupRoot, client, log }).run()
  }
  const reason = ability.able === 'no' ? ability.needs : ability.why
  if (machine.euid !== 0) throw new Error(reason)
  await runUnable(config, { node, name, reason, log })
}

interface AgentParts {
  readonly config: AgentConfig
  readonly node: string
  readonly name: string
  readonly cgroupRoot: string
  readonly client: KubeClient
  readonly log: Logger
}

class Agent {
  readonly #parts: AgentParts
  readonly #kernel: Kernel
  readonly #data: DataSide
  readonly #captures: Captures
  readonly #cni: NodeCni
  readonly #identities: LocalIdentities
  readonly #roots: Roots
  readonly #grace: StrictGrace
  readonly #clientTls: ClientTlsMaterials
  readonly #keySets: KeySets
  readonly #accounting: Accounting
  readonly #cluster: Cluster
  readonly #succession: Succession
  readonly #problemLog: ProblemLog
  readonly #questions = questionPages({
    inventory: () => this.#cluster.inventory(),
    ejectedNow: () => this.#data.ejectedNow(),
    isCapturedHere: (uid) => this.#kernel.captured().has(uid),
    standings: () => this.#captures.standings(),
    keySetOf: (name) => this.#keySets.stateOf(name),
  })
  readonly #admin: AdminPort
  #view: ClusterView | null = null
  /** It can carry and secure what its pods do: it has been so once. */
  #isAble = false

  constructor(parts: AgentParts) {
    const { config, node, name, cgroupRoot, client, log } = parts
    this.#parts = parts
    this.#problemLog = new ProblemLog(log)
    const gate = gateBy(config.kubeconfig, { resource: 'agents', name: node })
    const listen = { address: config['admin-address'], port: config['admin-port'] }
    this.#admin = new AdminPort(() => startAdmin(this.#pages(), gate, listen))
    this.#kernel = openKernel({
      cgroupRoot,
      pinRoot: pinRootOf(config),
      proberCgroup: config['prober-cgroup'] ?? findKubeletCgroup(cgroupRoot),
      onRelease: (...last) => this.#accounting.close(...last),
    })
    this.#succession = new Succession({ kernel: this.#kernel, path: handOverPath(runDirOf(config)), log })
    this.#data = new DataSide({
      start: {
        handles: this.#kernel.handles(),
        transport: config.transport === 'node' ? 'node' : 'native',
        accessLog: config['access-log'],
        limits: limitsOf(config),
      },
      workers: workersOf(config),
      log,
      onStaleKeys: (name) => this.#keySets.ask(name),
    })
    this.#grace = new StrictGrace({
      kernel: this.#kernel,
      graceMs: config['strict-grace-seconds'] * 1000,
      modesOf: (pod) => this.#cluster.peerModesOf(pod),
      nowMs: () => performance.now(),
      log,
    })
    const everyMs = config['account-seconds'] * 1000
    this.#accounting = new Accounting({ data: this.#data, everyMs, grace: this.#grace, log })
    this.#accounting.watch(this.#kernel)
    this.#identities = new LocalIdentities({
      data: this.#data,
      ask: (requestPem) =>
        askForCertificate(client, requestPem, {
          late: (name) => log.warn({ request: name }, 'nobody has signed yet: is a controller running?'),
        }),
      folder: new HeldFolder(join(runDirOf(config), 'identities')),
      lingerMs: config['leave-seconds'] * 1000 + IDENTITY_LINGER_MS,
      clock: CLOCK,
      random: Math.random,
      changed: () => this.#captures.look(),
      log,
    })
    this.#roots = new Roots(client, config.namespace, { change: (pem) => this.#identities.believe(pem), log })
    this.#clientTls = new ClientTlsMaterials({
      data: this.#data,
      folder: config['client-tls-root'],
      follow: (at, on) => followSecret(client, at, on),
      changed: () => this.#logProblems(),
      nowMs: () => performance.now(),
    })
    const trees = config['pods-cgroup'] === null ? podTrees(cgroupRoot) : [config['pods-cgroup']]
    const services = () => this.#cluster.inventory().services
    this.#keySets = keySetsBy(config, { data: this.#data, services, changed: () => this.#logProblems(), clock: CLOCK })
    this.#cni = new NodeCni({ config, closedNamespaces: () => this.#view && this.#cluster.closedNamespaces(), log })
    this.#captures = new Captures({
      kernel: this.#kernel,
      data: this.#data,
      find: (uids) => findPods(uids, trees),
      ...{ retryMs: config['retry-capture-ms'], leaveMs: config['leave-seconds'] * 1000 },
      lackOf: (pod) => this.#identities.lackOf(pod),
      securityOf: (pod) => this.#securityOf(pod),
      older: (uid) => this.#accounting.older(uid),
      ...{ agentName: name, fromStart: this.#cni.fromStart },
      announce: (workload, agent) => announce(client, workload, agent),
      log,
    })
    this.#cluster = new Cluster(client, clusterOptions(node, config), { log, view: (view) => this.#take(view) })
  }

  async run(): Promise<void> {
    const { node, log } = this.#parts
    const stopped = stopSignal()
    const isSuccessor = this.#succession.hasOther
    if (!isSuccessor) await this.#admin.open()
    void this.#roots.start() // never rejects, as the next: reflectors log and try again
    void this.#cluster.start()
    this.#clientTls.start()
    log.info({ node, version: process.version, isSuccessor }, 'agent started')
    let isTold = false
    const ended = stopped.then(() => {
      isTold = true
      return 'told' as const
    })
    // only who could carry connections, and secure them, takes them from the agent before
    const able = this.#data.whenApplied().then(() => this.#identities.settle(() => isTold))
    const begun = await Promise.race([ended, able.then(() => 'able' as const)])
    this.#isAble = begun === 'able'
    const isFree = begun === 'able' && (await this.#succession.takeOver(ended))
    // captures have not begun: whatever is in force is another's
    if (!isFree) return this.#stop('unbegun')
    // nothing that was taken over waits for the port, which the one before gives up with all else
    void this.#admin.openAtLast(ADMIN_WAIT_MS, (reason) => log.error({ reason }, 'no admin endpoint'))
    this.#captures.start()
    this.#cni.start(this.#captures)
    const why = await this.#succession.hold(ended, () => this.#isNextThere())
    await this.#stop(why)
    if (why === 'taken' && this.#parts.config['when-replaced'] === 'stay') await this.#succession.idle(ended)
  }

  /** `taken`: another agent carries on, with our listeners. `unbegun`: nothing is captured yet by this one. */
  async #stop(why: 'told' | 'taken' | 'unbegun'): Promise<void> {
    const { config, log } = this.#parts
    const isLast = why !== 'taken' && (await this.#isLast())
    const isKept = !isLast && (why !== 'told' || (config['on-stop'] === 'keep' && this.#kernel.lasting))
    const how = isKept ? 'keep' : 'release'
    log.info({ captures: how, why, isLast }, 'agent stopping')
    if (why === 'taken') {
      this.#kernel.retire()
      this.#admin.close()
    }
    this.#cni.stop()
    // first: pods that start meanwhile would be refused
    if (isLast && config.cni) this.#tidy('CNI plug-in', () => removeInstallation(cniPlacesOf(config)))
    this.#cluster.stop()
    this.#roots.stop()
    this.#identities.stop()
    this.#clientTls.stop()
    this.#keySets.stop()
    await this.#captures.stop(how)
    if (why === 'told' && how === 'keep') this.#kernel.deafen()
    await this.#data.stop(config['drain-seconds'] * 1000)
    this.#accounting.stop()
    // one that has come meanwhile has taken over what there is
    const hasNext = this.#kernel.lasting && this.#succession.hasOther
    this.#tidy('captures', () => this.#kernel.close(how === 'keep' || hasNext ? 'keep' : 'remove'))
    this.#admin.close()
    if (isLast && !hasNext) this.#tidy('traces', () => removeTraces(config))
  }

  /** What cannot be removed stays, and is told: connections are to end in order all the same. */
  #tidy(what: string, remove: () => void): void {
    try {
      remove()
    } catch (error) {
      this.#parts.log.error({ what, reason: (error as Error).message }, 'left on the node: it cannot be removed')
    }
  }

  /** Whether no agent will come after this one: the DaemonSet that it belongs to goes. Where nobody can say, one will. */
  async #isLast(): Promise<boolean> {
    const isGone = await this.#askOfDaemonSet((client, at) => isGoing(client, at, ASK_WITHIN_MS))
    return isGone && !this.#succession.hasOther // in this order: what this agent offered is closed by the next turn
  }

  /** Whether the agent that is to take this one's place is there already, ready or not. */
  #isNextThere(): Promise<boolean> {
    const { node, name } = this.#parts
    return this.#askOfDaemonSet((client, at) => hasOtherPod(client, { ...at, node, pod: name }, ASK_WITHIN_MS))
  }

  /** What the API says of the DaemonSet that this agent belongs to. No where it belongs to none, or nobody can say. */
  async #askOfDaemonSet(ask: (client: KubeClient, at: DaemonSetPlace) => Promise<boolean>): Promise<boolean> {
    const { config, client, log } = this.#parts
    if (config.daemonset === null) return false
    try {
      return await ask(client, { namespace: config.namespace, name: config.daemonset })
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'cannot ask for the DaemonSet: captures are kept')
      return false
    }
  }

  #take(view: ClusterView): void {
    const before = this.#view
    this.#view = view
    this.#clientTls.take(view.delta.destinationRules, view.delta.from === 0) // ahead of the rules that will go by it
    this.#keySets.take(view.delta.requestAuthentications, view.delta.from === 0)
    this.#data.change(view.delta, () => this.#cluster.inventory())
    if (view.problems !== before?.problems) this.#logProblems()
    const { mesh } = view.delta.settings
    if (view.localPods === before?.localPods && mesh === before.delta.settings.mesh) return
    this.#identities.want(view.localPods, mesh)
    this.#accounting.know(view.localPods)
    this.#grace.know(view.localPods)
    this.#captures.want(view.localPods)
  }

  #logProblems(): void {
    this.#problemLog.take(this.#problems())
  }

  #problems(): readonly Problem[] {
    return [...(this.#view?.problems ?? []), ...this.#clientTls.problems, ...this.#keySets.problems]
  }

  #pages(): AdminPages {
    const { node, name } = this.#parts
    return {
      unready: () => this.#unready(),
      metrics: () => this.#metrics(),
      status: async () => {
        const { silent: count } = await this.#data.scrape()
        const silent = count === 0 ? [] : [`${count} of ${workersOf(this.#parts.config)} workers do not answer`]
        const { startWindow } = this.#cni
        const facts = { node, agent: name, version: ownVersion(), startWindow, pods: this.#captures.standings() }
        return agentStatus({ ...facts, unready: this.#unready(), lacks: [...silent, ...this.#lacks()] })
      },
      snapshot: () => snapshotPage(this.#cluster.inventory(), this.#problems()),
      ...this.#questions,
    }
  }

  async #metrics(): Promise<string> {
    const { counters } = await this.#data.scrape()
    const facts = {
      snapshotVersion: this.#data.appliedVersion,
      capturedPods: this.#kernel.captured().size,
      uncaptured: this.#captures.uncaptured(),
      kernel: { ...this.#kernel.counters() },
      problems: this.#problems(),
      traffic: this.#accounting.traffic(),
      older: this.#accounting.olderByPod(),
      olderClosed: this.#grace.closed,
      certificates: this.#identities.standings(),
      lacks: this.#lacks(),
      cni: this.#cni.requests(),
    }
    const carried = await renderMetrics([...counters, this.#keySets.counters()])
    return [carried, await renderNodeSeries(facts), await renderProcessSeries(ownProcess())].join('\n')
  }

  /** What the agent serves without. */
  #lacks(): readonly string[] {
    const closed = this.#captures.standings().filter(({ onLoss }) => onLoss === 'closed').length
    const trouble = this.#roots.trouble()
    const untrusted =
      trouble === null || this.#roots.pem() === null
        ? []
        : [`the roots that are published cannot be used, the last ones stay: ${trouble}`]
    const lacks = [...this.#captures.lacks, ...this.#cni.lacks, ...this.#grace.lacks, ...untrusted]
    if (this.#kernel.lasting || closed === 0) return lacks
    return [`${closed} fail-closed pods would go direct without this agent: there is no bpffs at --pin-root`, ...lacks]
  }

  /** What the agent waits for before it serves, or null. */
  #unready(): string | null {
    if (this.#view === null) return 'waiting for the first list of the cluster'
    if (this.#data.appliedVersion === 0) return 'waiting for the first snapshot'
    // pods that come later wait for themselves alone
    if (!this.#isAble) return this.#identities.unsettled()
    return this.#captures.hasBegun ? null : 'bringing captures in line'
  }

  #securityOf(pod: Workload): Pick<PodStatus, 'modes' | 'certificate'> {
    const { others, ports } = this.#cluster.peerModesOf(pod)
    const standing = this.#identities.standingOf(pod)
    const notAfterMs = standing?.notAfterMs ?? null
    const mesh = this.#view?.delta.settings.mesh
    return {
      modes: {
        others: others.mode,
        ports: Object.fromEntries([...ports].map(([port, { mode }]) => [String(port), mode])),
      },
      certificate: {
        identity: mesh === undefined ? null : identityOf(pod, mesh),
        notAfter: notAfterMs === null ? null : new Date(notAfterMs).toISOString(),
        failure: standing?.failure ?? null,
      },
    }
  }
}

function clusterOptions(node: string, config: AgentConfig): ConstructorParameters<typeof Cluster>[1] {
  return {
    node,
    clusterDomain: config['cluster-domain'],
    rootNamespace: config['root-namespace'],
    namespace: config.namespace,
    sandboxedRuntimes: listOf(config['sandboxed-runtimes']),
    settleMs: config['settle-ms'],
  }
}
