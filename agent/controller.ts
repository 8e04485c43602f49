// Root of the cluster-wide part: a small Deployment whose replicas all watch and judge; the one that leads writes what
// is to be said of each policy object, and signs certificates. It is on no data path: while none runs, conditions grow old,
// and nobody gets a certificate who has none.

import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { pino, type Logger } from 'pino'
import type { ControllerConfig } from './config.ts'
import { gateBy } from './gate.ts'
import { connectKube } from './kube/client.ts'
import { Leadership } from './kube/lease.ts'
import { type Judged, Policies } from './kube/policies.ts'
import { Reporter } from './kube/report.ts'
import { isWarning, statementsOf } from './model/verdict.ts'
import { stopSignal } from './own-process.ts'
import { Signing } from './signing/signing.ts'
import { type AdminPages, startAdmin } from './telemetry/admin.ts'
import { type ControllerFacts, renderControllerSeries } from './telemetry/controller-series.ts'
import { ownProcess, renderProcessSeries } from './telemetry/process-series.ts'

/** Runs a replica of the controller until SIGTERM or SIGINT, then lets its lease go. Throws where it is run amiss. */
export async function runController(config: ControllerConfig): Promise<void> {
  const stopped = stopSignal()
  const identity = config.identity ?? `${hostname()}_${randomUUID()}`
  const log = pino({ level: config['log-level'], base: { controller: identity } })
  const controller = new Controller(config, identity, log)
  // replicas are alike: a role is for all of them
  const gate = gateBy(config.kubeconfig, { resource: 'controllers', name: null })
  const admin = await startAdmin(controller.pages(), gate, {
    address: config['admin-address'],
    port: config['admin-port'],
  })
  controller.start()
  log.info({ version: process.version }, 'controller started')
  await stopped
  log.info('controller stopping')
  await controller.stop()
  admin.close()
  admin.closeAllConnections()
}

class Controller {
  readonly #identity: string
  readonly #leadership: Leadership
  readonly #reporter: Reporter
  readonly #policies: Policies
  readonly #signing: Signing
  #judged: readonly Judged[] | null = null

  constructor(config: ControllerConfig, identity: string, log: Logger) {
    this.#identity = identity
    const client = connectKube(config.kubeconfig)
    const terms = {
      namespace: config.namespace,
      name: config['lease-name'],
      identity,
      durationMs: config['lease-seconds'] * 1000,
      renewMs: config['renew-seconds'] * 1000,
      retryMs: config['retry-ms'],
    }
    this.#leadership = new Leadership(client, terms, {
      change: (leads) => {
        log.info({ leads, holder: this.#leadership.holder() }, leads ? 'leading' : 'following')
        this.#reporter.lead(leads)
        this.#signing.lead(leads)
      },
      log,
    })
    const report = {
      writesPerSecond: config['writes-per-second'],
      repeatMs: config['repeat-minutes'] * 60_000,
      instance: identity,
      lease: this.#leadership,
    }
    this.#reporter = new Reporter(client, report, log)
    const options = {
      clusterDomain: config['cluster-domain'],
      rootNamespace: config['root-namespace'],
      settleMs: config['settle-ms'],
    }
    const judged = (all: readonly Judged[]): void => {
      this.#judged = all
      this.#reporter.want(all)
    }
    this.#policies = new Policies(client, options, { judged, log })
    const signing = {
      namespace: config.namespace,
      agentAccount: config['agent-account'],
      certificateSeconds: config['certificate-seconds'],
      settleMs: config['root-settle-seconds'] * 1000,
      trustDomain: () => this.#policies.meshSettings.trustDomain,
      lease: this.#leadership,
    }
    this.#signing = new Signing(client, signing, log)
  }

  start(): void {
    this.#reporter.start()
    // never rejects: reflectors log and try again. Who cannot read the cluster must not keep others from leading
    void this.#policies.start().then(() => this.#leadership.start())
  }

  /** Resolves when no write is on its way and the lease is let go: in this order, or another would write beside it. */
  async stop(): Promise<void> {
    this.#policies.stop()
    await Promise.all([this.#reporter.stop(), this.#signing.stop()])
    await this.#leadership.stop()
  }

  pages(): AdminPages {
    return {
      unready: () => (this.#judged === null ? 'waiting for the first list of the cluster' : null),
      metrics: async () =>
        [await renderControllerSeries(this.#facts()), await renderProcessSeries(ownProcess())].join('\n'),
      status: () =>
        Promise.resolve({
          identity: this.#identity,
          leads: this.#leadership.leads(),
          holder: this.#leadership.holder(),
          ...this.#reporter.counts(),
          signing: this.#signing.status(),
        }),
      snapshot: () => JSON.stringify((this.#judged ?? []).map(({ verdict }) => verdict)),
    }
  }

  #facts(): ControllerFacts {
    const { statuses, events, failures, pending } = this.#reporter.counts()
    const byLabels = new Map<string, { kind: string; condition: string; count: number }>()
    for (const { verdict } of this.#judged ?? []) {
      const { kind } = verdict.object
      for (const { type: condition } of statementsOf(verdict).filter(isWarning)) {
        const known = byLabels.get(`${kind} ${condition}`) ?? { kind, condition, count: 0 }
        known.count++
        byLabels.set(`${kind} ${condition}`, known)
      }
    }
    return {
      leads: this.#leadership.leads(),
      writes: { statuses, events },
      failures,
      pending,
      warnings: [...byLabels.values()],
      signing: this.#signingFacts(),
    }
  }

  #signingFacts(): ControllerFacts['signing'] {
    const { authority, ...counts } = this.#signing.status()
    const ends = authority?.inForce?.notAfter
    return { ...counts, notAfterSeconds: ends === undefined ? null : Date.parse(ends) / 1000 }
  }
}
