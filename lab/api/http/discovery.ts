// What the server serves, in the three forms clients ask for it. Pure.
// Source: Kubernetes documentation "The Kubernetes API: Discovery API" (aggregated and unaggregated).
import { CERTIFICATE_REQUESTS } from '../admit/certificate-rules.ts'
import { byPriority } from '../crd.ts'
import { groupVersion } from '../resources.ts'
import type { Catalog } from '../catalog.ts'
import type { ResourceType } from '../resources.ts'

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
const CREATE_VERBS = ['create']
const CHANGE_VERBS = ['get', 'patch', 'update']

interface Subresource {
  readonly name: string
  readonly kind: string
  readonly group: string
  readonly version: string
  readonly verbs: readonly string[]
}

function subresourcesOf(type: ResourceType, version: string): Subresource[] {
  const { group, kind } = type
  const found: Subresource[] = []
  if (type.status) found.push({ name: 'status', kind, group, version, verbs: CHANGE_VERBS })
  if (type.scale) found.push({ name: 'scale', kind: 'Scale', group: 'autoscaling', version: 'v1', verbs: CHANGE_VERBS })
  if (type.key === 'nodes') {
    found.push({ name: 'proxy', kind: 'NodeProxyOptions', group: '', version: 'v1', verbs: ['get'] })
  }
  if (type.key === CERTIFICATE_REQUESTS) found.push({ name: 'approval', kind, group, version, verbs: CHANGE_VERBS })
  if (type.key === 'serviceaccounts') {
    found.push({
      name: 'token',
      kind: 'TokenRequest',
      group: 'authentication.k8s.io',
      version: 'v1',
      verbs: CREATE_VERBS,
    })
  }
  if (type.key === 'pods') {
    found.push({ name: 'binding', kind: 'Binding', group: '', version: 'v1', verbs: CREATE_VERBS })
    found.push({ name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: CREATE_VERBS })
    found.push({ name: 'log', kind: 'Pod', group: '', version: 'v1', verbs: ['get'] })
    const forward = { kind: 'PodPortForwardOptions', group: '', version: 'v1', verbs: ['create', 'get'] }
    found.push({ name: 'portforward', ...forward })
  }
  return found
}

/** Groups and their versions, the core group ('') first, preferred version first. */
export function groupsOf(catalog: Catalog): Map<string, string[]> {
  const groups = new Map<string, string[]>()
  for (const { group, versions } of catalog.all()) {
    const known = groups.get(group) ?? []
    groups.set(group, [...new Set([...known, ...versions.map(({ name }) => name)])])
  }
  for (const versions of groups.values()) versions.sort((a, b) => byPriority({ name: a }, { name: b }))
  return groups
}

function typesAt(catalog: Catalog, group: string, version: string): ResourceType[] {
  return catalog
    .all()
    .filter((type) => type.group === group && type.versions.some(({ name }) => name === version))
    .sort((a, b) => (a.plural < b.plural ? -1 : 1))
}

/** `/api/v1` and `/apis/G/V`; undefined when no such version is served. */
export function resourceList(catalog: Catalog, group: string, version: string): unknown {
  const types = typesAt(catalog, group, version)
  if (types.length === 0) return undefined
  const resources = types.flatMap((type) => [resourceOf(type), ...subresourceRows(type, version)])
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: groupVersion(group, version), resources }
}

function verbsOf({ createOnly }: ResourceType): readonly string[] {
  return createOnly ? CREATE_VERBS : VERBS
}

function resourceOf(type: ResourceType): unknown {
  const { plural, singular, namespaced, kind, shortNames, categories } = type
  return { name: plural, singularName: singular, namespaced, kind, verbs: verbsOf(type), shortNames, categories }
}

function subresourceRows(type: ResourceType, version: string): unknown[] {
  return subresourcesOf(type, version).map(({ name, kind, group, version: of, verbs }) => ({
    name: `${type.plural}/${name}`,
    singularName: '',
    namespaced: type.namespaced,
    kind,
    verbs,
    ...(group === type.group ? {} : { group, version: of }),
  }))
}

/** `/api`. */
export function coreVersions(): unknown {
  return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }
}

/** `/apis`. */
export function groupList(catalog: Catalog): unknown {
  const names = [...groupsOf(catalog).keys()].filter((name) => name !== '')
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: names.map((name) => groupOf(catalog, name)) }
}

/** `/apis/G`; undefined when the group is not served. */
export function group(catalog: Catalog, name: string): unknown {
  const found = name === '' ? undefined : groupOf(catalog, name)
  return found === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...found }
}

function groupOf(catalog: Catalog, name: string): Record<string, unknown> | undefined {
  const versions = groupsOf(catalog)
    .get(name)
    ?.map((version) => ({ groupVersion: `${name}/${version}`, version }))
  return versions && { name, versions, preferredVersion: versions[0] }
}

/** `/api` (`isCore`) or `/apis` as one document of everything. */
export function aggregated(catalog: Catalog, apiVersion: 'v2' | 'v2beta1', isCore: boolean): unknown {
  const groups = [...groupsOf(catalog)].filter(([name]) => (name === '') === isCore)
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${apiVersion}`,
    metadata: {},
    items: groups.map(([name, versions]) => ({
      metadata: { name },
      versions: versions.map((version) => ({
        version,
        freshness: 'Current',
        resources: typesAt(catalog, name, version).map((type) => aggregatedResource(type, version)),
      })),
    })),
  }
}

function aggregatedResource(type: ResourceType, version: string): unknown {
  return {
    resource: type.plural,
    responseKind: { group: type.group, version, kind: type.kind },
    scope: type.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: type.singular,
    verbs: verbsOf(type),
    shortNames: type.shortNames,
    categories: type.categories,
    subresources: subresourcesOf(type, version).map(({ name, kind, group: of, version: at, verbs }) => ({
      subresource: name,
      responseKind: { group: of, version: at, kind },
      verbs,
    })),
  }
}
