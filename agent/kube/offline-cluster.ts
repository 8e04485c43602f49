// Everything of a cluster that weft analyze looks at, read once.

import type { Finding } from '../model/analysis/world.ts'
import { type KubeClient, KubeError } from './client.ts'
import { sources } from './kinds.ts'
import type { KubeObject } from './object.ts'
import type { GivenObject, Manifest } from './offline-files.ts'
import { isUnread, MESH_GROUPS } from './offline.ts'

export interface ClusterRead {
  readonly manifests: readonly Manifest[]
  /** Kinds that may not be listed and that the mesh does not read anyway. */
  readonly findings: readonly Finding[]
}

/** A collection, and what the objects in it are: items of a list do not say it. */
interface Kind {
  readonly path: string
  readonly query?: Record<string, string>
  readonly metadataOnly: boolean
  readonly apiVersion: string
  readonly kind: string
}

/** Reads all of it. Throws KubeError where the cluster does not answer, or does not let a kind be listed that is needed. */
export async function readCluster(client: KubeClient, rootNamespace: string): Promise<ClusterRead> {
  const needed = await Promise.all((await neededKinds(client, rootNamespace)).map((kind) => listed(client, kind)))
  const others = await Promise.all(MESH_GROUPS.map((group) => ofGroup(client, group)))
  return {
    manifests: [...needed.flat(), ...others.flatMap(({ manifests }) => manifests)],
    findings: others.flatMap(({ findings }) => findings),
  }
}

async function neededKinds(client: KubeClient, rootNamespace: string): Promise<readonly Kind[]> {
  const from = sources(client, '', rootNamespace)
  const all = [
    { source: from.namespaces, kind: 'Namespace', apiVersion: 'v1' },
    { source: from.services, kind: 'Service', apiVersion: 'v1' },
    { source: from.slices, kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1' },
    { source: from.pods, kind: 'Pod', apiVersion: 'v1' },
    { source: from.meshSettings, kind: 'ConfigMap', apiVersion: 'v1' },
    { source: from.virtualServices, kind: 'VirtualService', apiVersion: 'networking.istio.io/v1' },
    { source: from.destinationRules, kind: 'DestinationRule', apiVersion: 'networking.istio.io/v1' },
    { source: from.peerAuthentications, kind: 'PeerAuthentication', apiVersion: 'security.istio.io/v1' },
    { source: from.authorizationPolicies, kind: 'AuthorizationPolicy', apiVersion: 'security.istio.io/v1' },
    { source: from.requestAuthentications, kind: 'RequestAuthentication', apiVersion: 'security.istio.io/v1' },
  ]
  const found = await Promise.all(
    all.map(async ({ source, kind, apiVersion }): Promise<Kind | null> => {
      const path = await source.path()
      return path === null ? null : { path, query: source.query, metadataOnly: source.metadataOnly, kind, apiVersion }
    }),
  )
  return found.filter((kind) => kind !== null)
}

async function listed(
  client: KubeClient,
  { path, query = {}, metadataOnly, ...is }: Kind,
): Promise<readonly Manifest[]> {
  const { items } = await client.list(path, query, metadataOnly)
  return items.map((object: KubeObject): Manifest => ({ object: { ...object, ...is }, source: null }))
}

interface Discovered {
  readonly name: string
  readonly kind: string
  readonly namespaced: boolean
}

/** The objects of a group that the mesh does not read: that they are there is all that is asked. */
async function ofGroup(client: KubeClient, group: string): Promise<ClusterRead> {
  const served = await found<{ versions: readonly { version: string }[] }>(client, `/apis/${group}`)
  const kinds = new Map<string, Kind>()
  for (const { version } of served?.versions ?? []) {
    const path = `/apis/${group}/${version}`
    const known = await found<{ resources: readonly Discovered[] }>(client, path)
    for (const { name, kind, namespaced } of known?.resources ?? []) {
      const is = { apiVersion: `${group}/${version}`, kind }
      const isLooked = namespaced && !name.includes('/') && !kinds.has(kind)
      if (isLooked && isUnread(is as GivenObject))
        kinds.set(kind, { path: `${path}/${name}`, metadataOnly: true, ...is })
    }
  }
  const read = await Promise.all([...kinds.values()].map((kind) => listedIfMay(client, kind)))
  return { manifests: read.flatMap((one) => one.manifests), findings: read.flatMap((one) => one.findings) }
}

async function listedIfMay(client: KubeClient, kind: Kind): Promise<ClusterRead> {
  try {
    return { manifests: await listed(client, kind), findings: [] }
  } catch (error) {
    if (!(error instanceof KubeError) || (error.status !== 401 && error.status !== 403)) throw error
    const object = { kind: kind.kind, namespace: '', name: '*' }
    return {
      manifests: [],
      findings: [{ code: 'WEFT0110', severity: 'info', object, field: '', message: error.message }],
    }
  }
}

/** A discovery document, or null where there is none. */
async function found<T>(client: KubeClient, path: string): Promise<T | null> {
  try {
    return (await client.get(path)) as T
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return null
    throw error
  }
}
