// The agent of a machine that cannot capture pods.

import type { Logger } from 'pino'
import type { AgentConfig } from './config.ts'
import { gateBy } from './gate.ts'
import { ownVersion, stopSignal } from './own-process.ts'
import { type AdminPages, startAdmin } from './telemetry/admin.ts'
import { agentStatus } from './telemetry/status.ts'

/** Answers that it is not ready, and why, until it is told to stop. */
export async function runUnable(
  config: AgentConfig,
  { node, name, reason, log }: { node: string; name: string; reason: string; log: Logger },
): Promise<void> {
  const facts = { node, agent: name, version: ownVersion(), pods: [], unready: reason, lacks: [] }
  const pages: AdminPages = {
    unready: () => reason,
    metrics: () => Promise.resolve(''),
    status: () => Promise.resolve(agentStatus(facts)),
    snapshot: () => '{}',
  }
  const gate = gateBy(config.kubeconfig, { resource: 'agents', name: node })
  const stopped = stopSignal()
  const admin = await startAdmin(pages, gate, { address: config['admin-address'], port: config['admin-port'] })
  log.error({ reason }, 'this machine cannot capture pods')
  await stopped
  admin.close()
  admin.closeAllConnections()
}
