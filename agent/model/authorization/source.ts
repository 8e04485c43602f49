// Who calls, in all the ways in which policies may name it.

import { canonicalIp } from '../address.ts'
import { type Caller, isOurs } from '../identity.ts'
import type { MeshSettings } from '../mesh-settings.ts'
import type { SpiffeId } from '../spiffe.ts'
import type { Source } from './facts.ts'

/** What `cluster.local` means in a policy, whatever the mesh is called: the mesh itself (Istio). */
const OWN = 'cluster.local'

/** From how many addresses a caller is remembered to call. */
const IPS_MOST = 8

interface Known {
  readonly mesh: MeshSettings
  readonly byIp: Map<string, Source>
}

const SOURCES = new WeakMap<Caller, Known>()

/** The caller as policies see it, at the connection's other end `ip`. The same object as long as nothing is other than it was. */
export function sourceOf(caller: Caller, mesh: MeshSettings, ip: string): Source {
  let known = SOURCES.get(caller)
  if (known?.mesh !== mesh) SOURCES.set(caller, (known = { mesh, byIp: new Map() }))
  let source = known.byIp.get(ip)
  if (source !== undefined) return source
  if (known.byIp.size >= IPS_MOST) known.byIp.clear()
  known.byIp.set(ip, (source = worked(caller, mesh, canonicalIp(ip) ?? ip)))
  return source
}

function worked(caller: Caller, mesh: MeshSettings, ip: string): Source {
  const id = proved(caller, mesh)
  if (id === null) return { principals: [], trustDomains: [], namespace: null, serviceAccount: null, ip }
  const { namespace, serviceAccount, trustDomain } = id
  const others = isOurs(id, mesh) ? [mesh.trustDomain, ...mesh.trustDomainAliases, OWN] : []
  const trustDomains = [...new Set([trustDomain, ...others])]
  // whoever is known to be of a namespace, and not by which account, has no principal
  if (serviceAccount === '') return { principals: [], trustDomains, namespace, serviceAccount: null, ip }
  const principals = trustDomains.map((domain) => `${domain}/ns/${namespace}/sa/${serviceAccount}`)
  return { principals, trustDomains, namespace, serviceAccount: `${namespace}/${serviceAccount}`, ip }
}

function proved(caller: Caller, { trustDomain }: MeshSettings): SpiffeId | null {
  switch (caller.kind) {
    case 'workload':
      return { trustDomain, namespace: caller.workload.namespace, serviceAccount: caller.workload.serviceAccount }
    case 'peer':
      return caller.id
    case 'unproven':
      return null
  }
}
