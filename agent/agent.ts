// Root of a node's control side: the cluster in, captures and snapshots out, and the admin endpoint over all of it.

import { readFileSync } from 'node:fs'
import { pino, type Logger } from 'pino'
import { Captures } from './captures.ts'
import { type AgentConfig, listOf } from './config.ts'
import { announce } from './kube/announce.ts'
import { connectKube } from './kube/client.ts'
import { Cluster, type ClusterView } from './kube/cluster.ts'
import { openKernel } from './kernel/bpf.ts'
import { findCgroupRoot, findPods } from './kernel/discover.ts'
import { probe, thisMachine } from './kernel/probe.ts'
import { startAdmin } from './telemetry/admin.ts'
import { renderMetrics } from './telemetry/metrics.ts'
import { renderNodeSeries } from './telemetry/node-series.ts'
import { agentStatus } from './telemetry/status.ts'
import { DataSide } from './workers.ts'

/** Runs the agent of one node until SIGTERM or SIGINT. Throws, with one sentence, where the machine cannot carry it. */
export async function runAgent(config: AgentConfig): Promise<void> {
  const node = config.node as string // agentConfig demands it
  const name = config['agent-name'] ?? `weft-agent-${node}`
  const log = pino({ level: config['log-level'], base: { agent: name } })
  const ability = probe(thisMachine(config['cgroup-root'] ?? findCgroupRoot()))
  if (ability.able !== 'yes') throw new Error(ability.able === 'no' ? ability.needs : ability.why)
  const { cgroupRoot } = ability
  const client = connectKube(config.kubeconfig)
  const kernel = openKernel({ cgroupRoot })
  const data = new DataSide({ type: 'start', handles: kernel.handles(), accessLog: config['access-log'] }, log)
  const captures = new Captures({
    kernel,
    data,
    find: (uids) => findPods(uids, config['pods-cgroup'] ?? cgroupRoot),
    retryMs: config['retry-capture-ms'],
    agentName: name,
    announce: (workload, agent) => announce(client, workload, agent),
    log,
  })
  const state: { view: ClusterView | null } = { view: null }
  const cluster = new Cluster(
    client,
    {
      node,
      clusterDomain: config['cluster-domain'],
      rootNamespace: config['root-namespace'],
      sandboxedRuntimes: listOf(config['sandboxed-runtimes']),
      settleMs: config['settle-ms'],
    },
    {
      log,
      view: (view) => {
        reportProblems(log, state.view, view)
        state.view = view
        data.setInventory(view.inventory)
        captures.want(view.localPods)
      },
    },
  )
  const admin = await startAdmin(
    {
      unready: () => unready(state.view, data),
      metrics: async () => {
        const counters = await data.scrape()
        const facts = {
          snapshotVersion: data.appliedVersion,
          capturedPods: kernel.captured().size,
          uncaptured: captures.uncaptured(),
          kernel: { ...kernel.counters() },
          problems: state.view?.problems ?? [],
        }
        const carried = counters === null ? '' : await renderMetrics([counters])
        return `${carried}\n${await renderNodeSeries(facts)}`
      },
      status: async () => {
        const lacks = (await data.scrape()) === null ? ['the data side does not answer'] : []
        const facts = { node, agent: name, version: ownVersion(), pods: captures.standings() }
        return agentStatus({ ...facts, unready: unready(state.view, data), lacks })
      },
      snapshot: () => JSON.stringify({ ...state.view?.inventory, problems: state.view?.problems ?? [] }),
    },
    { address: config['admin-address'], port: config['admin-port'] },
  )
  const stopped = stopSignal()
  void cluster.start() // never rejects: reflectors log and try again
  log.info({ node, version: process.version }, 'agent started')
  await stopped
  log.info('agent stopping')
  cluster.stop()
  await captures.stop()
  await data.stop(config['drain-seconds'] * 1000)
  kernel.close()
  admin.close()
  admin.closeAllConnections()
}

/** The version of this very Weft: package.json lies at the same place beside the sources and beside the build. */
function ownVersion(): string {
  return (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version
}

/** What the agent waits for before it serves, or null. */
function unready(view: ClusterView | null, data: DataSide): string | null {
  if (view === null) return 'waiting for the first list of the cluster'
  return data.appliedVersion === 0 ? 'waiting for the first snapshot' : null
}

/** Logs the problems that were not there in the view before. */
function reportProblems(log: Logger, before: ClusterView | null, now: ClusterView): void {
  const textOf = ({ object, field, reason }: ClusterView['problems'][number]): string =>
    `${object.kind} ${object.namespace}/${object.name} ${field}: ${reason}`
  const known = new Set(before?.problems.map(textOf))
  for (const problem of now.problems) if (!known.has(textOf(problem))) log.warn({ ...problem }, 'policy not honoured')
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
}
