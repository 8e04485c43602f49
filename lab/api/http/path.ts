// Request paths → what they name. Pure. Source: Kubernetes API concepts "Resource URIs".
import { noSuchResource } from '../status.ts'
import type { Catalog } from '../catalog.ts'
import type { ResourceType } from '../resources.ts'

/** A collection, an object or a subresource of one. */
export interface Place {
  readonly type: ResourceType
  readonly version: string
  /** Undefined: all namespaces, or a cluster-scoped type. */
  readonly namespace: string | undefined
  readonly name: string | undefined
  readonly subresource: string | undefined
}

const SEGMENT_LIMIT = 12

/** The place that `/api/v1/…` or `/apis/GROUP/VERSION/…` names. Throws 404 when nothing is served there. */
export function placeOf(catalog: Catalog, path: string): Place {
  const segments = decoded(path)
  const [root, ...rest] = segments
  const [group, version, ...below] = root === 'api' ? ['', ...rest] : rest
  if ((root !== 'api' && root !== 'apis') || group === undefined || version === undefined) throw noSuchResource()
  const [first, second, third] = below
  const isInside = first === 'namespaces' && third !== undefined && third !== 'status' && third !== 'finalize'
  const namespace = isInside ? second : undefined
  const [plural = '', name, subresource, ...excess] = isInside ? below.slice(2) : below
  const type = catalog.at(group, version, plural)
  if (!type || excess.length > 0) throw noSuchResource()
  if (type.namespaced ? name !== undefined && namespace === undefined : namespace !== undefined) throw noSuchResource()
  return { type, version, namespace, name, subresource }
}

function decoded(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '')
  if (segments.length > SEGMENT_LIMIT) throw noSuchResource()
  try {
    return segments.map(decodeURIComponent)
  } catch {
    throw noSuchResource()
  }
}
