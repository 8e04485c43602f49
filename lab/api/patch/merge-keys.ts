// Which lists of the built-in kinds a strategic merge patch merges, and by which member of their items. Pure data.
// Source: the patchMergeKey and patchStrategy of each field in the Kubernetes API reference 1.32.

/** 'values': a set of plain values. Absent: the list is one value, replaced whole. */
export type ListStrategy = { readonly by: string } | 'values' | undefined

const BY_FIELD: Readonly<Record<string, string>> = {
  containers: 'name',
  initContainers: 'name',
  ephemeralContainers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
  volumeDevices: 'devicePath',
  imagePullSecrets: 'name',
  hostAliases: 'ip',
  resourceClaims: 'name',
  schedulingGates: 'name',
  topologySpreadConstraints: 'topologyKey',
  conditions: 'type',
  ownerReferences: 'uid',
  podIPs: 'ip',
  hostIPs: 'ip',
}

const BY_KIND: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Service: { 'spec.ports': 'port' },
  Node: { 'spec.taints': 'key', 'status.addresses': 'type' },
  ServiceAccount: { secrets: 'name' },
}

const VALUES: readonly string[] = ['metadata.finalizers', 'spec.podCIDRs']
const CONTAINERS = /(^|\.)(containers|initContainers|ephemeralContainers)\.ports$/
// Free-form maps: a ConfigMap key called `env` is no list of variables.
const FREE = /^(data|binaryData|stringData|metadata\.(labels|annotations))\./

/** The strategy of the list at `path` (member names joined by dots, list items left out) in an object of `kind`. */
export function listStrategy(kind: string, path: string): ListStrategy {
  if (VALUES.includes(path)) return 'values'
  if (FREE.test(path)) return undefined
  if (CONTAINERS.test(path)) return { by: 'containerPort' }
  const field = path.slice(path.lastIndexOf('.') + 1)
  const by = BY_KIND[kind]?.[path] ?? BY_FIELD[field]
  return by === undefined ? undefined : { by }
}
