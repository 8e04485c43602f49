// Who is at the caller's end, and how we know.

import type { MeshSettings } from './mesh-settings.ts'
import { readSpiffeUri, type SpiffeId, spiffeUri } from './spiffe.ts'
import type { Workload } from './workload.ts'

/**
 * The caller of a connection. It is named only on proof: that the connection was made in the network namespace of a pod of
 * this node, or that who made it holds the key of a certificate that the mesh gave out. A certificate names an account and
 * no pod; `workload` is then the pod of that account at the caller's address, for books alone. Without proof there is a
 * reason, never a bare null.
 */
export type Caller =
  | { readonly kind: 'workload'; readonly workload: Workload; readonly proof: 'netns' }
  | {
      readonly kind: 'peer'
      readonly id: SpiffeId
      readonly workload: Workload | null
      readonly proof: 'tls'
      /** SHA-256 of its certificate, in lower-case hexadecimal. */
      readonly certificate: string
    }
  | { readonly kind: 'unproven'; readonly why: string }

/** The caller's workload where it is known, else null. */
export function workloadOf(caller: Caller): Workload | null {
  return caller.kind === 'unproven' ? null : caller.workload
}

/** Namespace that the caller was proved to be of, or null. */
export function namespaceOf(caller: Caller): string | null {
  switch (caller.kind) {
    case 'workload':
      return caller.workload.namespace
    case 'peer':
      return caller.id.namespace
    case 'unproven':
      return null
  }
}

/** The identity that the caller was proved to have, as a URI, or null. */
export function principalOf(caller: Caller, mesh: MeshSettings): string | null {
  switch (caller.kind) {
    case 'workload':
      return identityOf(caller.workload, mesh)
    case 'peer':
      return spiffeUri(caller.id)
    case 'unproven':
      return null
  }
}

const IDENTITIES = new WeakMap<Workload, SpiffeId & { readonly uri: string }>()

/**
 * The identity of a workload, as a URI; null where nobody knows what account it runs as. Made once, as it is asked for with
 * every request.
 */
export function identityOf(workload: Workload, { trustDomain }: Pick<MeshSettings, 'trustDomain'>): string | null {
  const { namespace, serviceAccount } = workload
  if (serviceAccount === '') return null
  let known = IDENTITIES.get(workload)
  if (known?.trustDomain !== trustDomain) {
    const id = { trustDomain, namespace, serviceAccount }
    IDENTITIES.set(workload, (known = { ...id, uri: spiffeUri(id) }))
  }
  return known.uri
}

/** Whether identities of this trust domain are the mesh's own. */
export function isOurs({ trustDomain }: SpiffeId, mesh: MeshSettings): boolean {
  return trustDomain === mesh.trustDomain || mesh.trustDomainAliases.includes(trustDomain)
}

/** The one identity of the mesh that a certificate with these URIs stands for, or null. */
export function memberOf(uris: readonly string[], mesh: MeshSettings): SpiffeId | null {
  const [uri, ...more] = uris
  const id = uri === undefined || more.length > 0 ? null : readSpiffeUri(uri)
  return id !== null && isOurs(id, mesh) ? id : null
}
