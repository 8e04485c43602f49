// Which lists and maps of a kind are merged field by field and which are one value, as server-side apply has it. Pure.
// Source: Kubernetes documentation "Server-Side Apply: merge strategy"; listType, mapType of the API reference 1.32.
import { isRecord } from '../object.ts'
import { listStrategy } from '../patch/merge-keys.ts'
import type { ResourceType } from '../resources.ts'

/** How the items of a list are known: by members of theirs, as values of a set, or not at all. */
export type ListShape = { readonly by: readonly string[] } | 'set' | 'atomic'

/** The shape of one kind. A path is its member names, list items left out. */
export interface Shape {
  list(path: readonly string[]): ListShape
  isAtomicMap(path: readonly string[]): boolean
}

/** Members that a key may leave out, and what they are then. */
export const KEY_DEFAULTS: Readonly<Record<string, unknown>> = { protocol: 'TCP' }

// Where the key of server-side apply has more members than that of a strategic merge patch.
const WIDER: Readonly<Record<string, readonly string[]>> = {
  containerPort: ['containerPort', 'protocol'],
  port: ['port', 'protocol'],
  topologyKey: ['topologyKey', 'whenUnsatisfiable'],
}
const ATOMIC_MAPS: readonly string[] = [
  ...['selector', 'nodeSelector', 'podSelector', 'namespaceSelector', 'objectSelector', 'labelSelector'],
  ...['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef', 'secretRef', 'roleRef', 'targetRef'],
]
const METADATA: Readonly<Record<string, ListShape>> = { finalizers: 'set', ownerReferences: { by: ['uid'] } }
const POLICY_LISTS = ['matchConditions', 'variables']

/** The shape of the objects of `type` under `version`: by its schema for custom kinds, by a table for built-in ones. */
export function shapeOf(type: ResourceType, version: string): Shape {
  const schema = type.versions.find(({ name }) => name === version)?.schema
  return type.custom ? shapeOfSchema(schema) : shapeOfKind(type.kind)
}

function shapeOfKind(kind: string): Shape {
  return {
    list(path) {
      const [name = ''] = path.slice(-1)
      if (kind.startsWith('ValidatingAdmissionPolicy') && POLICY_LISTS.includes(name)) return { by: ['name'] }
      const strategy = listStrategy(kind, path.join('.'))
      if (strategy === undefined) return 'atomic'
      if (strategy === 'values') return 'set'
      return { by: WIDER[strategy.by] ?? [strategy.by] }
    },
    isAtomicMap: (path) => ATOMIC_MAPS.includes(path.at(-1) ?? ''),
  }
}

function shapeOfSchema(schema: unknown): Shape {
  return {
    list(path) {
      if (path[0] === 'metadata') return METADATA[path[1] ?? ''] ?? 'atomic'
      const found = schemaAt(schema, path)
      const keys: unknown = found?.['x-kubernetes-list-map-keys']
      const listType: unknown = found?.['x-kubernetes-list-type']
      if (listType === 'map' && Array.isArray(keys)) return { by: keys.map(String) }
      return listType === 'set' ? 'set' : 'atomic'
    },
    isAtomicMap: (path) => schemaAt(schema, path)?.['x-kubernetes-map-type'] === 'atomic',
  }
}

function schemaAt(schema: unknown, path: readonly string[]): Record<string, any> | undefined {
  let at: unknown = schema
  for (const name of path) {
    while (isRecord(at) && isRecord(at['items'])) at = at['items']
    if (!isRecord(at)) return undefined
    at =
      isRecord(at['properties']) && Object.hasOwn(at['properties'], name)
        ? at['properties'][name]
        : at['additionalProperties']
  }
  return isRecord(at) ? at : undefined
}
