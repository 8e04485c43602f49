// Step 7, its second half: TLS on a connection that was made. The mesh's own, or what a DestinationRule asks for. Whoever is
// not meant gets no byte.

import { certifies } from '../model/client-tls.ts'
import { MeshError } from '../model/failure.ts'
import { type Originated, shows } from '../model/link.ts'
import type { Term } from './plane/identities.ts'
import type { Material } from './plane/materials.ts'
import type { JoinedPod, MeshNode } from './plane/node.ts'
import type { ClientTls, Credentials, Secured } from './transport/tls.ts'
import type { Channel } from './transport/transport.ts'

/** A connection to an endpoint, and how long it is good for. */
export interface Reaching {
  readonly channel: Channel
  readonly term: Term
}

/** A connection that was just made, and the pod that asked for it. */
export interface Fresh {
  readonly channel: Channel
  readonly node: MeshNode
  readonly pod: JoinedPod
  /** How long a handshake may take. */
  readonly timeoutMs: number
}

interface Member {
  readonly credentials: Credentials
  readonly alpn: string
  /** `ip:port` */
  readonly endpoint: string
  /** Whose certificate is demanded. */
  readonly identity: string
}

/** Throws UPSTREAM_TLS_FAILED where the other end is not that very member of the mesh. */
export async function secure(fresh: Fresh, { credentials, alpn, endpoint, identity }: Member): Promise<Reaching> {
  const { node } = fresh
  const session = `${identity} ${endpoint}` // tickets are read by the node that gave them
  const secured = await shaken(fresh, { credentials, alpn: [alpn], serverName: null, session })
  const { peer } = secured
  if (peer === null || !shows(node.snapshot, peer.uris, identity) || secured.alpn !== alpn) {
    const shown = peer?.uris.join(', ').slice(0, SHOWN_MOST) ?? 'nobody'
    throw refused(secured, `${identity} was expected, and ${shown} answered`)
  }
  count(node, 'client', secured)
  return { channel: secured.channel, term: node.identities.term(credentials, peer.notAfter) }
}

interface Outsider {
  readonly material: Material
  readonly link: Originated
  readonly alpn: readonly string[]
}

/** The chain is verified as the rule has it; here the names are. Throws UPSTREAM_TLS_FAILED where none is one that is meant. */
export async function originate(fresh: Fresh, { material, link, alpn }: Outsider): Promise<Reaching> {
  const { node } = fresh
  const { serverName, names, key } = link
  const { credentials } = material
  const secured = await shaken(fresh, { credentials, alpn, serverName, session: key }) // it names all that it was made by
  const { peer } = secured
  if (names !== null && (peer === null || !certifies(peer, names))) {
    const shown = peer === null ? '' : [...peer.dnsNames, ...peer.ips, ...peer.uris].join(', ').slice(0, SHOWN_MOST)
    throw refused(
      secured,
      `the certificate is for ${shown || 'nobody'}, and none of these was expected: ${names.join(', ')}`,
    )
  }
  count(node, 'originated', secured)
  return { channel: secured.channel, term: node.materials.term(material, peer?.notAfter ?? Infinity) }
}

/** A handshake within what a pod may ask for; the channel is gone where there is none. */
async function shaken(
  { channel, node, pod, timeoutMs }: Fresh,
  how: Omit<ClientTls, 'side' | 'timeoutMs'>,
): Promise<Secured> {
  try {
    const asked = { ...how, side: 'client', timeoutMs } as const
    return await pod.handshakes.outbound.run(node.transport.nowMs, () => channel.secure(asked))
  } catch (thrown) {
    channel.reset()
    throw thrown
  }
}

/** Gives the connection up. */
function refused({ channel }: Secured, why: string): MeshError {
  channel.reset()
  return new MeshError('UPSTREAM_TLS_FAILED', why.slice(0, WHY_MOST))
}

function count(node: MeshNode, side: 'client' | 'originated', { resumed }: Secured): void {
  node.account.cells.plain('weft_tls_handshakes_total', side, resumed ? 'resumed' : 'full').value++
}

/** Of the names that a record quotes, and of the whole sentence. */
const SHOWN_MOST = 256
const WHY_MOST = 1024
