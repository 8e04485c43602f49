// Which collections are watched, and where the cluster serves them.

import { type KubeClient, KubeError } from './client.ts'
import { MESH_CONFIG } from './mesh-settings.ts'
import { bareNode } from './node-list.ts'
import type { ReflectorSource } from './reflector.ts'

/** Istio's group of routes and destinations, its versions that are understood, the newest first. */
export const NETWORKING = { group: 'networking.istio.io', versions: ['v1', 'v1beta1', 'v1alpha3'] } as const
/** Istio's group of who may talk to whom. */
export const SECURITY = { group: 'security.istio.io', versions: ['v1', 'v1beta1'] } as const

/** A collection that every cluster serves. */
export function builtIn(name: string, path: string, more: Partial<ReflectorSource> = {}): ReflectorSource {
  return { name, path: () => Promise.resolve(path), query: {}, metadataOnly: false, ...more }
}

/** The one ConfigMap with the settings of the mesh. */
export function meshSettings(rootNamespace: string): ReflectorSource {
  const query = { fieldSelector: `metadata.name=${MESH_CONFIG}` }
  return builtIn('mesh settings', `/api/v1/namespaces/${rootNamespace}/configmaps`, { query })
}

/** A custom resource, at the newest version that the cluster serves and we understand; null while it serves none. */
export function custom(
  client: KubeClient,
  name: string,
  at: { readonly group: string; readonly versions: readonly string[] },
): ReflectorSource {
  const path = async (): Promise<string | null> => {
    const served = await ask<{ versions: readonly { version: string }[] }>(client, `/apis/${at.group}`)
    if (served === null) return null
    const versions = at.versions.filter((wanted) => served.versions.some(({ version }) => version === wanted))
    for (const version of versions) {
      const path = `/apis/${at.group}/${version}`
      const kinds = await ask<{ resources: readonly { name: string }[] }>(client, path)
      if (kinds?.resources.some((resource) => resource.name === name)) return `${path}/${name}`
    }
    return null
  }
  return { name, path, query: {}, metadataOnly: false }
}

/** A discovery document, or null where there is none. */
async function ask<T>(client: KubeClient, path: string): Promise<T | null> {
  try {
    return (await client.get(path)) as T
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return null
    throw error
  }
}

const LIVING = 'status.phase!=Succeeded,status.phase!=Failed'

/** Everything a node watches. Pods of other nodes as metadata only. */
export function sources(client: KubeClient, node: string, rootNamespace: string) {
  return {
    namespaces: builtIn('namespaces', '/api/v1/namespaces', { metadataOnly: true }),
    // for their labels alone: without them no endpoint is near or far
    nodes: builtIn('nodes', '/api/v1/nodes', { metadataOnly: true, isOptional: true, keep: bareNode }),
    services: builtIn('services', '/api/v1/services'),
    slices: builtIn('endpointslices', '/apis/discovery.k8s.io/v1/endpointslices'),
    localPods: builtIn('local pods', '/api/v1/pods', { query: { fieldSelector: `spec.nodeName=${node}` } }),
    // without those that have ended: their addresses are others' by now, and metadata does not tell
    pods: builtIn('pods', '/api/v1/pods', { metadataOnly: true, query: { fieldSelector: LIVING } }),
    meshSettings: meshSettings(rootNamespace),
    virtualServices: custom(client, 'virtualservices', NETWORKING),
    destinationRules: custom(client, 'destinationrules', NETWORKING),
    peerAuthentications: custom(client, 'peerauthentications', SECURITY),
    authorizationPolicies: custom(client, 'authorizationpolicies', SECURITY),
    requestAuthentications: custom(client, 'requestauthentications', SECURITY),
  }
}
