// Root of a node's control side: the cluster in, captures and snapshots out, and the admin endpoint over all of it.

import type { Server } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino, type Logger } from 'pino'
import { Accounting } from './node/accounting.ts'
import { Captures } from './node/captures.ts'
import { ClientTlsMaterials } from './node/client-tls.ts'
import { CLOCK } from './node/clock.ts'
import { type AgentConfig, listOf, pinRootOf, runDirOf, workersOf } from './config.ts'
import { gateBy } from './gate.ts'
import { LocalIdentities } from './node/identities.ts'
import { type KeySets, keySetsBy } from './node/key-sets.ts'
import { HeldFolder } from './identity/held.ts'
import { announce } from './kube/announce.ts'
import { connectKube } from './kube/client.ts'
import { Cluster, type ClusterView } from './kube/cluster.ts'
import { followSecret } from './kube/secret.ts'
import { openKernel } from './kernel/bpf.ts'
import { findCgroupRoot, findKubeletCgroup, findPods } from './kernel/discover.ts'
import { handOverPath, isLived, offerHandOver, takeOver } from './kernel/hand-over.ts'
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
import { type AdminPages, type Gate, startAdmin } from './telemetry/admin.ts'
import { snapshotPage } from './telemetry/snapshot-page.ts'
import { renderMetrics } from './telemetry/metrics.ts'
import { renderNodeSeries } from './telemetry/node-series.ts'
import { agentStatus, type PodStatus } from './telemetry/status.ts'
import { runUnable } from './unable.ts'
import { DataSide } from './node/workers.ts'

/** How long the port of the admin endpoint is waited for while the agent before gives it up. */
const ADMIN_WAIT_MS = 10_000
const ADMIN_POLL_MS = 50
/** An agent that lives on this node and does not hand over is spoken of after so long. */
const HAND_OVER_PATIENCE_MS = 30_000
const HAND_OVER_POLL_MS = 100
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
  if (ability.able === 'yes') return new Agent({ config, node, name, cgroupRoot: ability.cgroupRoot, log }).run()
  const reason = ability.able === 'no' ? ability.needs : ability.why
  if (machine.euid !== 0) throw new Error(reason)
  await runUnable(config, { node, name, reason, log })
}

interface AgentParts {
  readonly config: AgentConfig
  readonly node: string
  readonly name: string
  readonly cgroupRoot: string
  readonly log: Logger
}

class Agent {
  readonly #parts: AgentParts
  readonly #kernel: Kernel
  readonly #data: DataSide
  readonly #captures: Captures
  readonly #identities: LocalIdentities
  readonly #roots: Roots
  readonly #grace: StrictGrace
  readonly #clientTls: ClientTlsMaterials
  readonly #keySets: KeySets
  readonly #accounting: Accounting
  readonly #cluster: Cluster
  readonly #handOverPath: string
  readonly #problemLog: ProblemLog
  readonly #questions = questionPages({
    inventory: () => this.#cluster.inventory(),
    ejectedNow: () => this.#data.ejectedNow(),
    isCapturedHere: (uid) => this.#kernel.captured().has(uid),
    standings: () => this.#captures.standings(),
    keySetOf: (name) => this.#keySets.stateOf(name),
  })
  readonly #gate: Gate
  #view: ClusterView | null = null
  /** It can carry and secure what its pods do: it has been so once. */
  #isAble = false

  constructor(parts: AgentParts) {
    const { config, node, name, cgroupRoot, log } = parts
    this.#parts = parts
    this.#handOverPath = handOverPath(runDirOf(config))
    this.#problemLog = new ProblemLog(log)
    this.#gate = gateBy(config.kubeconfig, { resource: 'agents', name: node })
    const client = connectKube(config.kubeconfig)
    this.#kernel = openKernel({
      cgroupRoot,
      pinRoot: pinRootOf(config),
      proberCgroup: config['prober-cgroup'] ?? findKubeletCgroup(cgroupRoot),
      onRelease: (...last) => this.#accounting.close(...last),
    })
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
    const services = () => this.#cluster.inventory().services
    this.#keySets = keySetsBy(config, { data: this.#data, services, changed: () => this.#logProblems(), clock: CLOCK })
    this.#captures = new Captures({
      kernel: this.#kernel,
      data: this.#data,
      find: (uids) => findPods(uids, config['pods-cgroup'] ?? cgroupRoot),
      retryMs: config['retry-capture-ms'],
      leaveMs: config['leave-seconds'] * 1000,
      lackOf: (pod) => this.#identities.lackOf(pod),
      securityOf: (pod) => this.#securityOf(pod),
      older: (uid) => this.#accounting.older(uid),
      agentName: name,
      announce: (workload, agent) => announce(client, workload, agent),
      log,
    })
    const options = {
      node,
      clusterDomain: config['cluster-domain'],
      rootNamespace: config['root-namespace'],
      namespace: config.namespace,
      sandboxedRuntimes: listOf(config['sandboxed-runtimes']),
      settleMs: config['settle-ms'],
    }
    this.#cluster = new Cluster(client, options, { log, view: (view) => this.#take(view) })
  }

  async run(): Promise<void> {
    const { node, log } = this.#parts
    const stopped = stopSignal()
    const isSuccessor = isLived(this.#handOverPath)
    const early = isSuccessor ? null : await this.#startAdmin()
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
    const isFree = begun === 'able' && (await this.#takeOver(ended))
    // captures have not begun: whatever is in force is another's
    if (!isFree) return this.#stop(early, 'unbegun')
    const admin = early ?? (await this.#startAdmin(ADMIN_WAIT_MS))
    this.#captures.start()
    const { promise: taken, resolve } = Promise.withResolvers<'taken'>()
    const offer = this.#kernel.lasting ? this.#offerHandOver(() => resolve('taken')) : null
    const why = await Promise.race([ended, taken])
    offer?.close()
    await this.#stop(admin, why)
  }

  /**
   * Takes the listeners of the agent before, and waits until it has let go: two that capture would be one too many. Returns
   * false where this one was told to stop first.
   */
  async #takeOver(ended: Promise<unknown>): Promise<boolean> {
    let isOver = false
    void ended.then(() => (isOver = true))
    const askedMs = performance.now()
    let isLogged = false
    while (!isOver && this.#kernel.lasting && isLived(this.#handOverPath)) {
      try {
        const given = takeOver(this.#handOverPath)
        if (given !== null) this.#kernel.adopt(given)
      } catch (error) {
        this.#parts.log.warn({ reason: (error as Error).message }, 'the agent before cannot be asked')
      }
      if (!isLogged && performance.now() - askedMs > HAND_OVER_PATIENCE_MS) {
        isLogged = true
        this.#parts.log.warn('an agent lives on this node and does not hand over: waiting for its end')
      }
      await sleep(HAND_OVER_POLL_MS)
    }
    return !isOver
  }

  /** Null where it cannot be offered: the next agent then opens listeners of its own. */
  #offerHandOver(onTaken: () => void): ReturnType<typeof offerHandOver> | null {
    try {
      return offerHandOver(this.#handOverPath, () => this.#kernel.captured().values(), onTaken)
    } catch (error) {
      this.#parts.log.warn({ reason: (error as Error).message }, 'no hand-over to a next agent')
      return null
    }
  }

  /** `taken`: another agent carries on, with our listeners. `unbegun`: nothing is captured yet by this one. */
  async #stop(admin: Server | null, why: 'told' | 'taken' | 'unbegun'): Promise<void> {
    const { config, log } = this.#parts
    const how = why !== 'told' || (config['on-stop'] === 'keep' && this.#kernel.lasting) ? 'keep' : 'release'
    log.info({ captures: how, why }, 'agent stopping')
    const closeAdmin = (): void => {
      admin?.close()
      admin?.closeAllConnections()
    }
    if (why === 'taken') {
      this.#kernel.retire()
      closeAdmin() // its port is waited for
    }
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
    this.#kernel.close(how === 'keep' || (this.#kernel.lasting && isLived(this.#handOverPath)) ? 'keep' : 'remove')
    closeAdmin()
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

  /** Listens; a port that is taken is waited for so long. Throws where it cannot. */
  async #startAdmin(waitMs = 0): Promise<Server> {
    const { config } = this.#parts
    const deadline = performance.now() + waitMs
    for (;;) {
      try {
        return await startAdmin(this.#pages(), this.#gate, {
          address: config['admin-address'],
          port: config['admin-port'],
        })
      } catch (error) {
        const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
        if (!isTaken || performance.now() > deadline) throw error
        await sleep(ADMIN_POLL_MS)
      }
    }
  }

  #pages(): AdminPages {
    const { node, name } = this.#parts
    return {
      unready: () => this.#unready(),
      metrics: () => this.#metrics(),
      status: async () => {
        const { silent: count } = await this.#data.scrape()
        const silent = count === 0 ? [] : [`${count} of ${workersOf(this.#parts.config)} workers do not answer`]
        const facts = { node, agent: name, version: ownVersion(), pods: this.#captures.standings() }
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
    }
    const carried = await renderMetrics([...counters, this.#keySets.counters()])
    return `${carried}\n${await renderNodeSeries(facts)}`
  }

  /** What the agent serves without. */
  #lacks(): readonly string[] {
    const closed = this.#captures.standings().filter(({ onLoss }) => onLoss === 'closed').length
    const trouble = this.#roots.trouble()
    const untrusted =
      trouble === null || this.#roots.pem() === null
        ? []
        : [`the roots that are published cannot be used, the last ones stay: ${trouble}`]
    const lacks = [...this.#captures.lacks, ...this.#grace.lacks, ...untrusted]
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
