// How an endpoint is reached: by the mesh's TLS, by TLS that a DestinationRule asks for, in plaintext, or not at all. From
// the snapshot alone: what a handshake brings never changes it.

import { isOwnTls, materialOf, namesWanted, type OwnTls, serverNameOf } from './client-tls.ts'
import { identityOf } from './identity.ts'
import { type PeerMode, saysStrict } from './peer-authentication.ts'
import type { ClientTls } from './traffic-policy.ts'
import { type Endpoint, nameOf } from './service.ts'
import { modeOf, type Snapshot, workloadAt } from './snapshot.ts'
import { readSpiffeUri } from './spiffe.ts'
import type { Workload } from './workload.ts'

/** What two connections to one endpoint must have in common for one to stand in for the other. */
interface Keyed {
  /** Names endpoint and link together. */
  readonly key: string
}

/** TLS to the server's own, as a rule asks for it. */
export interface Originated extends Keyed {
  readonly kind: 'originated'
  /** Names the certificate and the roots (client-tls.ts). */
  readonly material: string
  /** Whom the server is asked for; null: nobody by name. */
  readonly serverName: string | null
  /** The names of which the server's certificate must have one; null: any certificate is taken. */
  readonly names: readonly string[] | null
}

export type Link =
  | (Keyed & { readonly kind: 'plain' })
  /** By TLS to whoever shows `identity`, or what it is by an alias of the trust domain. */
  | (Keyed & { readonly kind: 'tls'; readonly identity: string })
  | Originated
  | (Keyed & { readonly kind: 'refused'; readonly why: string })

/** How a policy wants a host's endpoints reached; `tls` is null where none says. */
export interface Wish {
  readonly host: string
  readonly policy: { readonly tls: ClientTls | null }
}

interface Wished {
  readonly host: string
  readonly tls: ClientTls
}

/** Links worked out once a snapshot: they are asked for with every request. */
class Links {
  readonly #unsaid = new WeakMap<Snapshot, WeakMap<Endpoint, Link>>()
  readonly #wished = new WeakMap<Snapshot, WeakMap<ClientTls, Map<string, WeakMap<Endpoint, Link>>>>()

  /** The link where no policy says anything. */
  unsaid(snapshot: Snapshot, endpoint: Endpoint, work: () => Link): Link {
    let links = this.#unsaid.get(snapshot)
    if (links === undefined) this.#unsaid.set(snapshot, (links = new WeakMap()))
    return known(links, endpoint, work)
  }

  /** The link by a wish. There are no more hosts than the snapshot has, and they go with it. */
  wished(snapshot: Snapshot, endpoint: Endpoint, { tls, host }: Wished, work: () => Link): Link {
    let byTls = this.#wished.get(snapshot)
    if (byTls === undefined) this.#wished.set(snapshot, (byTls = new WeakMap()))
    let byHost = byTls.get(tls)
    if (byHost === undefined) byTls.set(tls, (byHost = new Map<string, WeakMap<Endpoint, Link>>()))
    let links = byHost.get(host)
    if (links === undefined) byHost.set(host, (links = new WeakMap()))
    return known(links, endpoint, work)
  }
}

function known(links: WeakMap<Endpoint, Link>, endpoint: Endpoint, work: () => Link): Link {
  let link = links.get(endpoint)
  if (link === undefined) links.set(endpoint, (link = work()))
  return link
}

const PLAIN = new WeakMap<Endpoint, Link>()
const FAR = new Links()
const NEAR = new Links()

/** The link to an endpoint that is not captured on this node. */
export function linkTo(snapshot: Snapshot, endpoint: Endpoint, wish: Wish): Link {
  const { host } = wish
  const { tls } = wish.policy
  if (tls === null) return FAR.unsaid(snapshot, endpoint, () => unsaid(snapshot, endpoint))
  return FAR.wished(snapshot, endpoint, { host, tls }, () => wished(snapshot, endpoint, { host, tls }))
}

/**
 * The link to an application of this very node: where no network lies between, the mesh's TLS has nothing to secure. What
 * the application itself speaks is another matter.
 */
export function linkNear(snapshot: Snapshot, endpoint: Endpoint, { host, policy: { tls } }: Wish): Link {
  if (tls === null || tls.mode === 'DISABLE') return plainLink(endpoint)
  return NEAR.wished(snapshot, endpoint, { host, tls }, () => {
    if (isOwnTls(tls)) return originated(endpoint, tls, host)
    const callee = workloadAt(snapshot, endpoint)
    const why = callee === null ? null : misnamed(tls, callee, identityOf(callee, snapshot.settings.mesh))
    return why === null ? plainLink(endpoint) : { kind: 'refused', key: nameOf(endpoint), why }
  })
}

/** In plaintext, whatever a policy says: what arrived at a pod goes to its application as it is. */
export function plainLink(endpoint: Endpoint): Link {
  return known(PLAIN, endpoint, () => ({ kind: 'plain', key: nameOf(endpoint) }))
}

function unsaid(snapshot: Snapshot, endpoint: Endpoint): Link {
  const key = nameOf(endpoint)
  const stranger = unknownPod(snapshot, endpoint)
  if (stranger !== null) return { kind: 'refused', key, why: stranger }
  const member = memberAt(snapshot, endpoint)
  if (member === null) return { kind: 'plain', key }
  const { callee, identity, mode } = member
  // whose agent is lost goes on in plaintext, where that is taken; where it is not, nothing but TLS is of use
  const takesTls = mode === 'STRICT' || (mode === 'PERMISSIVE' && callee.agentReady)
  if (identity !== null && takesTls) return secured(endpoint, identity)
  if (mode !== 'STRICT' || !callee.joined) return { kind: 'plain', key }
  return { kind: 'refused', key, why: `${nameIn(callee)} is under STRICT, and no agent says that it takes TLS` }
}

/** Why an endpoint is not reached whose pod is not known (yet): it may be one that takes TLS alone. Null: it may. */
function unknownPod(snapshot: Snapshot, endpoint: Endpoint): string | null {
  const { workload } = endpoint
  if (workload === null || snapshot.workloadByUid.get(workload) !== undefined) return null
  const key = nameOf(endpoint)
  const namespace = snapshot.servicesByEndpoint.get(key)?.[0]?.service.namespace
  const { peerAuthentications, rootNamespace } = snapshot
  const speak = [rootNamespace, ...(namespace === undefined ? [] : [namespace])]
  const isStrict = speak.some((each) => peerAuthentications.get(each)?.some(saysStrict) === true)
  return isStrict ? `the pod at ${key} is not known yet, and may be under STRICT` : null
}

interface Member {
  readonly callee: Workload
  /** Whose certificate it shows; null: nobody says that it takes the mesh's TLS. */
  readonly identity: string | null
  readonly mode: PeerMode
}

/** The pod behind an endpoint whose proxy stands, or is to stand, before that very port; null: none does. */
function memberAt(snapshot: Snapshot, endpoint: Endpoint): Member | null {
  const callee = workloadAt(snapshot, endpoint)
  const { port } = endpoint.address
  if (callee === null || callee.terms.excludeInboundPorts.includes(port)) return null
  const identity = callee.captured === null ? null : identityOf(callee, snapshot.settings.mesh)
  return { callee, identity, mode: modeOf(snapshot, callee, port) }
}

function wished(snapshot: Snapshot, endpoint: Endpoint, { host, tls }: Wished): Link {
  const key = nameOf(endpoint)
  const refused = (why: string): Link => ({ kind: 'refused', key, why: `${wishText(tls)}, and ${why}` })
  const member = memberAt(snapshot, endpoint)
  const stranger = unknownPod(snapshot, endpoint)
  if (stranger !== null) return refused(stranger)
  if (tls.mode === 'ISTIO_MUTUAL') {
    if (member === null) return refused(`nobody knows of a pod at ${key}`)
    // one that takes plaintext alone (DISABLE) understands the mesh's TLS all the same
    const { callee, identity } = member
    if (identity === null) return refused(`no agent says that ${nameIn(callee)} takes TLS of the mesh`)
    const why = misnamed(tls, callee, identity)
    return why === null ? secured(endpoint, identity) : { kind: 'refused', key, why }
  }
  if (member?.mode === 'STRICT' && (member.callee.joined || member.callee.captured !== null)) {
    return refused(`${nameIn(member.callee)} is under STRICT: it takes the mesh's own TLS alone`)
  }
  if (!isOwnTls(tls)) return { kind: 'plain', key }
  if (member !== null && member.callee.captured !== null && takesHttpAlone(snapshot, key)) {
    return refused(
      `the Service port of ${nameIn(member.callee)} at ${key} declares HTTP: its node refuses an application's TLS`,
    )
  }
  return originated(endpoint, tls, host)
}

/** Whether a captured pod's node takes what arrives there for HTTP, unread. */
function takesHttpAlone({ servicesByEndpoint }: Snapshot, endpoint: string): boolean {
  return servicesByEndpoint.get(endpoint)?.[0]?.port.protocol === 'http'
}

function secured(endpoint: Endpoint, identity: string): Link {
  return { kind: 'tls', identity, key: `${nameOf(endpoint)} ${identity}` }
}

function originated(endpoint: Endpoint, tls: OwnTls, host: string): Link {
  const by = { material: materialOf(tls), serverName: serverNameOf(tls, host), names: namesWanted(tls, host) }
  // the key has all that the handshake went by: connections by other settings are never taken for it
  return { kind: 'originated', ...by, key: `${nameOf(endpoint)} ${JSON.stringify(by)}` }
}

/** Why a callee of the mesh is none that the rule's subjectAltNames name, or null. */
function misnamed(tls: ClientTls, callee: Workload, identity: string | null): string | null {
  const { subjectAltNames } = tls
  if (subjectAltNames.length === 0 || (identity !== null && subjectAltNames.includes(identity))) return null
  return `${wishText(tls)}, and ${nameIn(callee)} (${identity ?? 'of no known account'}) is none of its subjectAltNames`
}

function wishText({ by: { object }, mode }: ClientTls): string {
  return `${object.kind} ${object.namespace}/${object.name} asks for ${mode}`
}

function nameIn({ namespace, name }: Workload): string {
  return `pod ${namespace}/${name}`
}

/** Whether a certificate with these URIs is that of `identity`, in the mesh's trust domain or an alias of it. */
export function shows(snapshot: Snapshot, uris: readonly string[], identity: string): boolean {
  const [uri, ...more] = uris
  if (uri === undefined || more.length > 0) return false
  if (uri === identity) return true
  const [shown, wanted] = [readSpiffeUri(uri), readSpiffeUri(identity)]
  return (
    shown !== null &&
    snapshot.settings.mesh.trustDomainAliases.includes(shown.trustDomain) &&
    shown.namespace === wanted?.namespace &&
    shown.serviceAccount === wanted.serviceAccount
  )
}
