// Step 2: who the caller is, by proof. An outbound connection was made in the network namespace of a pod of this node. An
// inbound one begins with the mesh's TLS, whose certificate says it; whether anything else is taken is the policy's word.

import { MeshError } from '../model/failure.ts'
import { type Caller, memberOf } from '../model/identity.ts'
import { ALPN, protocolOf, type Protocol } from '../model/protocol.ts'
import { modeOf, type Snapshot } from '../model/snapshot.ts'
import type { SpiffeId } from '../model/spiffe.ts'
import type { Workload } from '../model/workload.ts'
import type { Captured } from './capture.ts'
import { declaredFor } from './classify.ts'
import { ENDLESS, type Term } from './plane/identities.ts'
import type { Place } from './plane/live.ts'
import type { MeshNode } from './plane/node.ts'
import { listen, type Said } from './opening.ts'
import type { Secured } from './transport/tls.ts'

/** A connection whose caller is known as far as it can be. `channel` is what is read and written from here on. */
export interface Met extends Captured {
  readonly caller: Caller
  /** What the caller's node has found it to speak; null: nobody has told. */
  readonly told: Protocol | null
  /** What was read of it. */
  readonly first: Buffer | null
  /** The caller's FIN was read meanwhile. */
  readonly ended: boolean
  /** Nothing came for as long as is waited for. The mesh's TLS may still, until a byte has been passed on. */
  readonly silent: boolean
  readonly term: Term
}

const UNTOLD = { told: null, first: null, ended: false, silent: false, term: ENDLESS } as const

/** Who dialled, where it is a pod of this node; else null, and the connection itself has to tell. */
export function known(captured: Captured, node: MeshNode): Met | null {
  if (captured.direction === 'inbound') return null
  const { uid } = captured.pod.captured
  const workload = node.snapshot.workloadByUid.get(uid)
  const caller: Caller =
    workload === undefined
      ? { kind: 'unproven', why: `pod ${uid} is not known yet` }
      : { kind: 'workload', workload, proof: 'netns' }
  return { ...captured, ...UNTOLD, caller }
}

/**
 * Reads how an inbound connection begins. Throws CALLER_TLS_FAILED where TLS comes to nothing, PLAINTEXT_REFUSED where only
 * TLS is taken, and CALLER_RESET where the caller breaks off.
 */
export async function authenticate(captured: Captured, node: MeshNode, place: Place): Promise<Met> {
  const { snapshot, limits } = node
  const isHttp = declaredFor(snapshot, captured) === 'http' // then it is the caller who speaks first, whenever that is
  const silenceMs = takesOnlyTls(snapshot, captured) ? null : isHttp ? limits.idleMs : limits.sniffMs
  const said = await listen(captured.channel, { silenceMs, helloMs: limits.helloMs }, place)
  return meet(captured, node, said)
}

/** Goes on from what a caller has said first. Throws as authenticate(). */
export async function meet(captured: Captured, node: MeshNode, said: Said): Promise<Met> {
  if (said.kind === 'hello') return secure(captured, node, said.bytes)
  if (takesOnlyTls(node.snapshot, captured)) {
    const what = said.kind === 'silence' ? 'nothing, and TLS is demanded' : 'plaintext, and TLS is demanded'
    throw new MeshError('PLAINTEXT_REFUSED', `${captured.peer.ip} sent ${what} (STRICT)`)
  }
  const caller: Caller = { kind: 'unproven', why: `plaintext from ${captured.peer.ip}` }
  if (said.kind === 'silence') return { ...captured, ...UNTOLD, caller, ended: said.ended, silent: !said.ended }
  return { ...captured, ...UNTOLD, caller, first: said.bytes, ended: said.ended }
}

/** Whether nothing but the mesh's TLS is taken at what was dialled; also of a pod that nobody knows any more. */
function takesOnlyTls(snapshot: Snapshot, { pod, dialled }: Captured): boolean {
  const workload = snapshot.workloadByUid.get(pod.captured.uid)
  // one that leaves the mesh is called in plaintext by whoever has heard of it
  return workload === undefined || (workload.joined && modeOf(snapshot, workload, dialled.port) === 'STRICT')
}

/** Why this snapshot does not let an inbound connection go on in plaintext, or null. */
export function plaintextRefusal(snapshot: Snapshot, met: Met): MeshError | null {
  const isPlain = met.direction === 'inbound' && met.caller.kind === 'unproven'
  if (!isPlain || !takesOnlyTls(snapshot, met)) return null
  return new MeshError('PLAINTEXT_REFUSED', `${met.peer.ip} speaks plaintext, and TLS is demanded now (STRICT)`)
}

async function secure(captured: Captured, node: MeshNode, ahead: Buffer): Promise<Met> {
  const { snapshot, identities, limits, transport } = node
  const workload = snapshot.workloadByUid.get(captured.pod.captured.uid)
  const credentials = workload === undefined ? null : identities.ofPod(workload, snapshot.settings.mesh)
  if (credentials === null) throw new MeshError('CALLER_TLS_FAILED', 'there is no certificate for the pod dialled')
  const how = { side: 'server', credentials, alpn: ALPN, mutual: true, ahead, timeoutMs: limits.helloMs } as const
  const secured = await captured.pod.handshakes.inbound.run(transport.nowMs, () => captured.channel.secure(how))
  const { peer } = secured
  const id = peer === null ? null : memberOf(peer.uris, node.snapshot.settings.mesh)
  if (peer === null || id === null) {
    secured.channel.reset()
    throw new MeshError('CALLER_TLS_FAILED', `the caller is no member of the mesh: ${namesOf(secured)}`)
  }
  const caller: Caller = {
    kind: 'peer',
    id,
    workload: standsAt(node.snapshot, captured.peer.ip, id),
    proof: 'tls',
    certificate: peer.sha256,
  }
  node.account.cells.plain('weft_tls_handshakes_total', 'server', secured.resumed ? 'resumed' : 'full').value++
  const term = identities.term(credentials, peer.notAfter)
  const told = protocolOf(secured.alpn)
  return { ...captured, ...UNTOLD, channel: secured.channel, caller, told, term }
}

function namesOf({ peer }: Secured): string {
  return peer === null || peer.uris.length === 0 ? 'it names nobody' : peer.uris.join(', ').slice(0, NAMED_MOST)
}

/** Of a name that a record quotes. */
const NAMED_MOST = 256

/** The pod at an address, if it is one of this account: an address alone proves nothing. */
function standsAt({ workloadByIp }: Snapshot, ip: string, id: SpiffeId): Workload | null {
  const workload = workloadByIp.get(ip) ?? null
  const isOfIt = workload?.namespace === id.namespace && workload.serviceAccount === id.serviceAccount
  return isOfIt ? workload : null
}
