// Step 3: what was dialled, and which protocol is spoken there: what the port declares, else what the first bytes say.

import { protectionOf } from '../model/authorization/protection.ts'
import { MeshError } from '../model/failure.ts'
import { looksAtServerName } from '../model/flow-route.ts'
import { workloadOf } from '../model/identity.ts'
import { declaredProtocol, type DeclaredProtocol, declaresTls, type Protocol } from '../model/protocol.ts'
import { resolve, resolvePod, type ServiceAt, type Snapshot, type Target } from '../model/snapshot.ts'
import type { Met } from './authenticate.ts'
import type { Captured } from './capture.ts'
import { type Found, headerJudge, peek, type Peeked, saidJudge, sniffJudge } from './peek.ts'
import type { MeshNode } from './plane/node.ts'

/** A connection with everything that decides how it is carried. */
export interface Call extends Met {
  readonly target: Target
  /** The service dialled, or the one that the dialled workload stands behind. */
  readonly service: ServiceAt | null
  readonly protocol: Protocol
  /** Whom the TLS that it begins with asks for; null: nobody, or it has not begun so. */
  readonly serverName: string | null
}

/** Throws CALLER_RESET where the caller breaks off. */
export async function classify(met: Met, node: MeshNode): Promise<Call> {
  const target = targetOf(node.snapshot, met)
  const service = serviceOf(target)
  const { outcome, hello, ...seen } = await peekedAt(met, { target, service }, node)
  node.account.cells.plain('weft_protocol_outcomes_total', outcome).value++
  if (hello !== null) node.account.cells.plain('weft_server_names_total', hello).value++
  return { ...met, target, service, ...seen }
}

/** What the port declares, else what the caller's node has told, else what the first bytes say. */
function peekedAt(
  met: Met,
  { target, service }: Pick<Call, 'target' | 'service'>,
  node: MeshNode,
): Promise<Peeked> | Peeked {
  const { snapshot, limits } = node
  const { told } = met
  const declared = declaredAt(service, met)
  if (declared === 'http') {
    const mayBegin = told === 'opaque' // then a header for the application may stand ahead of its HTTP
    return mayBegin ? peek(met, headerJudge, limits.helloMs) : unread(met, 'http', 'declared_http')
  }
  if (declared === 'sniff') {
    return told === null ? peek(met, sniffJudge(limits.sniffBytes), limits.sniffMs) : unread(met, told, `told_${told}`)
  }
  const doRulesAsk = met.direction === 'outbound' && (namesTls(service) || rulesAskName(snapshot, target, met))
  if (!doRulesAsk && !doPoliciesAsk(node, met, service)) return unread(met, 'opaque', 'declared_opaque')
  return peek(met, saidJudge('opaque', 'declared_opaque'), limits.sniffMs)
}

/** By what was read already: nothing more is. */
function unread(met: Met, protocol: Protocol, outcome: string): Peeked {
  const { first, ended } = met
  const found = saidJudge(protocol, outcome)(first, true) as Found // never null: no more is waited for
  return { ...found, first, ended }
}

function namesTls(service: ServiceAt | null): boolean {
  return service !== null && declaresTls({ number: service.port.port, name: service.port.name, appProtocol: null })
}

function rulesAskName(snapshot: Snapshot, target: Target, { caller, dialled }: Met): boolean {
  return looksAtServerName(snapshot, target, { caller: workloadOf(caller), port: dialled.port })
}

/** Whether an authorization policy that is judged here looks at it: for the pod dialled, or for one of this node behind the service. */
function doPoliciesAsk(
  { snapshot, pods }: MeshNode,
  { direction, pod, dialled }: Met,
  service: ServiceAt | null,
): boolean {
  const { workloadByUid } = snapshot
  const asks = (uid: string, port: number): boolean => {
    const workload = workloadByUid.get(uid)
    return workload !== undefined && protectionOf(snapshot, workload, port).table?.looksAtServerName === true
  }
  if (snapshot.authorizationPolicies.size === 0) return false
  if (direction === 'inbound') return asks(pod.captured.uid, dialled.port)
  const here = service?.port.endpoints.filter(({ workload }) => workload !== null && pods.has(workload)) ?? []
  return here.some(({ workload, address }) => asks(workload ?? '', address.port))
}

/** What the port that was dialled declares, in this snapshot. */
export function declaredFor(snapshot: Snapshot, captured: Captured): DeclaredProtocol {
  return declaredAt(serviceOf(targetOf(snapshot, captured)), captured)
}

function targetOf(snapshot: Snapshot, { dialled, direction }: Captured): Target {
  return direction === 'inbound' ? resolvePod(snapshot, dialled) : resolve(snapshot, dialled)
}

/** What was dialled, as a later snapshot has it. Throws NO_CLUSTER where the service or its port is gone. */
export function current(world: Snapshot, target: Target & { kind: 'service' }): Target & { kind: 'service' } {
  const service = world.serviceByHost.get(target.service.host)
  const port = service?.ports.find((candidate) => candidate.port === target.port.port)
  if (service === undefined || port === undefined) throw new MeshError('NO_CLUSTER', `${target.service.host} is gone`)
  return { ...target, service, port }
}

function serviceOf(target: Target): ServiceAt | null {
  switch (target.kind) {
    case 'service':
      return { service: target.service, port: target.port }
    case 'workload':
    case 'unknown':
      return target.behind
  }
}

function declaredAt(service: ServiceAt | null, { dialled }: Captured): DeclaredProtocol {
  return service?.port.protocol ?? declaredProtocol({ number: dialled.port, name: '', appProtocol: null })
}
