// OpenAPI, as far as kubectl reads it: that writes take dryRun and fieldValidation, and the schemas of custom types for
// `kubectl explain`. Kinds without a schema here are validated by the server alone. Pure.
// Source: Kubernetes documentation "OpenAPI V2", "OpenAPI V3"; googleapis/gnostic openapiv2/OpenAPIv2.proto (numbers).
import { groupVersion } from '../resources.ts'
import { groupsOf } from './discovery.ts'
import { field, message } from './protobuf-write.ts'
import type { Catalog } from '../catalog.ts'
import type { ResourceType } from '../resources.ts'

const TITLE = 'Kubernetes API of a Weft lab'
const PARAMETERS = ['dryRun', 'fieldManager', 'fieldValidation']
const EXTENSION = 'x-kubernetes-group-version-kind'
const PATCHES = ['application/json-patch+json', 'application/merge-patch+json', 'application/apply-patch+yaml']

interface PatchedPath {
  readonly path: string
  readonly gvk: { readonly group: string; readonly version: string; readonly kind: string }
}

function patchedPaths(types: readonly ResourceType[]): PatchedPath[] {
  const patched = types.filter(({ createOnly }) => !createOnly)
  return patched.flatMap((type) =>
    type.versions.map(({ name: version }) => {
      const root = type.group === '' ? `/api/${version}` : `/apis/${type.group}/${version}`
      const inside = type.namespaced ? '/namespaces/{namespace}' : ''
      const gvk = { group: type.group, version, kind: type.kind }
      return { path: `${root}${inside}/${type.plural}/{name}`, gvk }
    }),
  )
}

/** `/openapi/v2` as JSON. */
export function swagger(catalog: Catalog, version: string): unknown {
  const paths = patchedPaths(catalog.all()).map(({ path, gvk }) => [path, { patch: swaggerPatch(gvk) }])
  return { swagger: '2.0', info: { title: TITLE, version }, paths: Object.fromEntries(paths), definitions: {} }
}

function swaggerPatch(gvk: PatchedPath['gvk']): unknown {
  const parameters = PARAMETERS.map((name) => ({ name, in: 'query', type: 'string' }))
  return { consumes: PATCHES, parameters, responses: { 200: { description: 'OK' } }, [EXTENSION]: gvk }
}

/** `/openapi/v2` as the protocol buffers document that kubectl asks for. */
export function swaggerProtobuf(catalog: Catalog, version: string): Buffer {
  const paths = patchedPaths(catalog.all()).map(({ path, gvk }) => {
    const pathItem = field(8, patchProtobuf(gvk)) // PathItem.patch
    return field(2, message(field(1, path), field(2, pathItem))) // Paths.path: NamedPathItem{name, value}
  })
  const info = message(field(1, TITLE), field(2, version))
  return message(field(1, '2.0'), field(2, info), field(8, message(...paths)), field(9, message())) // Document
}

function patchProtobuf(gvk: PatchedPath['gvk']): Buffer {
  const parameters = PARAMETERS.map((name) => {
    const query = message(field(2, 'query'), field(4, name), field(6, 'string')) // QueryParameterSubSchema
    return field(8, field(1, field(2, field(3, query)))) // Operation.parameters: item, non-body, query
  })
  const responses = field(9, field(1, message(field(1, '200'), field(2, field(1, field(1, 'OK'))))))
  const extension = message(field(1, EXTENSION), field(2, field(2, JSON.stringify(gvk)))) // NamedAny{name, Any.yaml}
  const consumes = PATCHES.map((media) => field(7, media))
  return message(...consumes, ...parameters, responses, field(13, extension)) // Operation
}

/** `/openapi/v3`: where the document of each group and version is. */
export function openApiRoots(catalog: Catalog): unknown {
  const paths: Record<string, unknown> = {}
  for (const [group, versions] of groupsOf(catalog)) {
    for (const version of versions) {
      const root = group === '' ? `api/${version}` : `apis/${group}/${version}`
      paths[root] = { serverRelativeURL: `/openapi/v3/${root}` }
    }
  }
  return { paths }
}

/** `/openapi/v3/apis/G/V`; undefined when nothing is served there. */
export function openApi(catalog: Catalog, group: string, version: string, release: string): unknown {
  const types = catalog
    .all()
    .filter((type) => type.group === group && type.versions.some(({ name }) => name === version))
  if (types.length === 0) return undefined
  const paths = patchedPaths(types).filter(({ gvk }) => gvk.version === version)
  const parameters = PARAMETERS.map((name) => ({ name, in: 'query', schema: { type: 'string' } }))
  const content = Object.fromEntries(PATCHES.map((media) => [media, { schema: { type: 'object' } }]))
  return {
    openapi: '3.0.0',
    info: { title: TITLE, version: release },
    paths: Object.fromEntries(
      paths.map(({ path, gvk }) => [
        path,
        {
          patch: { parameters, requestBody: { content }, responses: { 200: { description: 'OK' } }, ...actionOf(gvk) },
        },
      ]),
    ),
    components: { schemas: Object.fromEntries(types.map((type) => schemaOf(type, version))) },
  }
}

function actionOf(gvk: PatchedPath['gvk']): Record<string, unknown> {
  return { 'x-kubernetes-action': 'patch', [EXTENSION]: gvk }
}

function schemaOf(type: ResourceType, version: string): [string, unknown] {
  const { schema } = type.versions.find(({ name }) => name === version) ?? {}
  const gvk = { group: type.group, version, kind: type.kind }
  const text = `${type.kind} of ${groupVersion(type.group, version)}.`
  const own = { type: 'object', description: text, ...(schema as Record<string, unknown> | undefined) }
  return [`${type.group || 'core'}.${version}.${type.kind}`, { ...own, [EXTENSION]: [gvk] }]
}
