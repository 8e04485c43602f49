// Step 3: what was dialled, and which protocol is spoken there: what the port declares, else what the first bytes say.

import { MeshError } from '../model/failure.ts'
import { declaredProtocol, type DeclaredProtocol, type Protocol, sniff, startsHttp2 } from '../model/protocol.ts'
import { resolve, resolvePod, type ServiceAt, type Snapshot, type Target } from '../model/snapshot.ts'
import type { Met } from './authenticate.ts'
import type { Captured } from './capture.ts'
import type { MeshNode } from './plane/node.ts'
import type { Channel } from './transport/transport.ts'

/** A connection with everything that decides how it is carried. */
export interface Call extends Met {
  readonly target: Target
  /** The service dialled, or the one that the dialled workload stands behind. */
  readonly service: ServiceAt | null
  readonly protocol: Protocol
}

interface Peeked {
  readonly protocol: Protocol
  readonly outcome: string
  readonly first: Buffer | null
  readonly ended: boolean
}

/** Throws CALLER_RESET where the caller breaks off. */
export async function classify(met: Met, node: MeshNode): Promise<Call> {
  const target = targetOf(node.snapshot, met)
  const service = serviceOf(target)
  const declared = declaredAt(service, met)
  const { outcome, ...seen } =
    declared === 'sniff' ? await sniffed(met, node.limits) : asSaid(met, declared, 'declared')
  node.account.cells.plain('weft_protocol_outcomes_total', outcome).value++
  return { ...met, target, service, ...seen }
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

function asSaid({ first, ended }: Met, protocol: Protocol, by: 'declared' | 'told'): Peeked {
  return { protocol, outcome: `${by}_${protocol}`, first, ended }
}

interface SniffLimits {
  readonly sniffMs: number
  readonly sniffBytes: number
}

/** What is spoken where no port declares it: as the caller's node has told, else by the first bytes. */
function sniffed(met: Met, limits: SniffLimits): Promise<Peeked> | Peeked {
  const { told, first, silent, ended } = met
  if (told !== null) return asSaid(met, told, 'told')
  const verdict = first === null ? 'undecided' : sniff(first.subarray(0, limits.sniffBytes))
  if (first !== null && verdict !== 'undecided') {
    return { protocol: verdict, outcome: outcomeOf(first, verdict), first, ended }
  }
  const isOver = silent || ended || (first !== null && first.length >= limits.sniffBytes)
  if (isOver) return { protocol: 'opaque', outcome: first === null ? 'silent' : 'undecided', first, ended }
  return peek(met.channel, limits, first ?? Buffer.alloc(0))
}

function outcomeOf(first: Buffer, verdict: Protocol): string {
  return `sniffed_${startsHttp2(first) ? 'http2' : verdict}`
}

/** Reads on until the protocol shows. Silence is opaque: the callee may be the one that speaks first. */
function peek(channel: Channel, limits: SniffLimits, ahead: Buffer): Promise<Peeked> {
  let first = ahead
  return new Promise((resolve, reject) => {
    const settle = (protocol: Protocol, outcome: string, ended: boolean): void => {
      clearTimeout(timer)
      channel.hold()
      resolve({ protocol, outcome, first: first.length === 0 ? null : first, ended })
    }
    const timer = setTimeout(() => settle('opaque', first.length === 0 ? 'silent' : 'undecided', false), limits.sniffMs)
    const gone = (cause?: unknown): void => {
      clearTimeout(timer)
      reject(new MeshError('CALLER_RESET', 'the caller broke off before it said anything', cause))
    }
    channel.sink = {
      bytes: (arena, from, to) => {
        first = Buffer.concat([first, arena.subarray(from, to)])
        const verdict = sniff(first.subarray(0, limits.sniffBytes))
        if (verdict !== 'undecided') settle(verdict, outcomeOf(first, verdict), false)
        else if (first.length >= limits.sniffBytes) settle('opaque', 'undecided', false)
      },
      end: () => settle('opaque', first.length === 0 ? 'silent' : 'undecided', true),
      drained: () => {},
      closed: gone,
      lost: gone,
    }
    channel.resume()
  })
}
