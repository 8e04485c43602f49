// Step 3: what was dialled, and which protocol is spoken there: what the port declares, else what the first bytes say.

import { MeshError } from '../model/failure.ts'
import { declaredProtocol, type DeclaredProtocol, type Protocol, sniff, startsHttp2 } from '../model/protocol.ts'
import { resolve, resolvePod, type ServiceAt, type Snapshot, type Target } from '../model/snapshot.ts'
import type { Captured } from './capture.ts'
import type { MeshNode } from './plane/node.ts'
import type { Channel } from './transport/transport.ts'

/** A connection with everything that decides how it is carried. */
export interface Call extends Captured {
  readonly target: Target
  /** The service dialled, or the one that the dialled workload stands behind. */
  readonly service: ServiceAt | null
  readonly protocol: Protocol
  /** Bytes read to tell the protocol. */
  readonly first: Buffer | null
  /** The caller's FIN was read meanwhile. */
  readonly ended: boolean
}

interface Peeked {
  readonly protocol: Protocol
  readonly outcome: string
  readonly first: Buffer | null
  readonly ended: boolean
}

/** Throws CALLER_RESET where the caller breaks off. */
export async function classify(captured: Captured, node: MeshNode): Promise<Call> {
  const { dialled, direction } = captured
  const target = direction === 'inbound' ? resolvePod(node.snapshot, dialled) : resolve(node.snapshot, dialled)
  const service = serviceOf(target)
  const declared = declaredAt(service, captured)
  const { outcome, ...seen } = declared === 'sniff' ? await peek(captured.channel, node.limits) : declaredAs(declared)
  node.account.cells.plain('weft_protocol_outcomes_total', outcome).value++
  return { ...captured, target, service, ...seen }
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

function declaredAs(protocol: Protocol): Peeked {
  return { protocol, outcome: `declared_${protocol}`, first: null, ended: false }
}

/** Reads until the protocol shows. Silence is opaque: the callee may be the one that speaks first. */
function peek(channel: Channel, limits: { readonly sniffMs: number; readonly sniffBytes: number }): Promise<Peeked> {
  let first = Buffer.alloc(0)
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
        if (verdict !== 'undecided') settle(verdict, `sniffed_${startsHttp2(first) ? 'http2' : verdict}`, false)
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
