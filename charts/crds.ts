// Writes the chart's definitions of kinds (charts/weft/templates/definition-*.yaml) of the table of kinds; `--check` says whether
// they are as they would be written.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { KIND_ROWS, NULLABLE, type KindRow } from './crds/kinds.ts'
import { atMostOne, specOf, type Schema } from './crds/schema.ts'

const TEMPLATES = join(import.meta.dirname, 'weft/templates')

/** The schema of a kind's spec: the package's, and what is newer than the package. */
export function specSchema(row: KindRow): Schema {
  const made = MADE.get(row)
  if (made !== undefined) return made
  const schema = specOf(row.group, row.versions[0]!, row.kind, row.judge)
  walk(schema, '', (inner, path) => {
    if (NULLABLE.test(path)) inner.nullable = true
    for (const field of row.newer.filter(({ within }) => within.test(path))) add(inner, field, `${row.kind} ${path}`)
  })
  MADE.set(row, schema)
  return schema
}

/** A second each to make: the validators are asked about every field. */
const MADE = new Map<KindRow, Schema>()

/** Visits a schema and all within, an object before its fields. Paths are as docs/istio-fields.md writes them. */
export function walk(schema: Schema, path: string, visit: (inner: Schema, path: string) => void): void {
  visit(schema, path)
  for (const [name, one] of Object.entries(schema.properties ?? {}))
    walk(one, path === '' ? name : `${path}.${name}`, visit)
  if (schema.items !== undefined) walk(schema.items, `${path}[]`, visit)
  if (schema.additionalProperties !== undefined) walk(schema.additionalProperties, `${path}.*`, visit)
}

/** Throws where the package has come to know the field. */
function add(object: Schema, { name, schema, isRival }: KindRow['newer'][number], where: string): void {
  if (object.properties === undefined || name in object.properties) {
    throw new Error(`${where}: ${name} is newer no more, or no field of an object: see the table of kinds`)
  }
  object.properties[name] = JSON.parse(JSON.stringify(schema)) as Schema // a copy that shares nothing
  if (isRival !== true) return
  const rivals = object.oneOf?.slice(1).flatMap(({ required }) => required ?? []) ?? []
  object.oneOf = atMostOne([...rivals, name])
}

/** The definition of a kind, less labels and annotations. */
export function definitionOf(row: KindRow): Record<string, unknown> {
  const { group, kind, plural, shortName, versions, columns, says } = row
  const openAPIV3Schema = {
    description: says,
    type: 'object',
    properties: {
      spec: specSchema(row),
      // What writers of statuses say is theirs.
      status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    },
  }
  return {
    group,
    names: {
      categories: ['istio-io', group.replaceAll('.', '-')],
      ...{ kind, listKind: `${kind}List`, plural },
      ...{ shortNames: [shortName], singular: kind.toLowerCase() },
    },
    scope: 'Namespaced',
    versions: versions.map((name, at) => ({
      ...{ name, served: true, storage: at === 0 },
      additionalPrinterColumns: columns.map((column) => ({
        name: column.name,
        type: column.name === 'Age' ? 'date' : 'string',
        jsonPath: column.path,
      })),
      subresources: { status: {} },
      schema: { openAPIV3Schema },
    })),
  }
}

/** The template of a kind. Throws where the definition holds what helm would take for its own. */
export function templateOf(row: KindRow): string {
  // the versions are the same: one is written out, the others are aliases of its parts
  const spec = stringify({ spec: definitionOf(row) }, { lineWidth: 0, indentSeq: false })
  if (spec.includes('{{')) throw new Error(`${row.kind}: its definition holds {{`)
  return `{{- /* Written by charts/crds.ts: node charts/crds.ts */}}
{{- if .Values.crds.istio.${familyOf(row)} }}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: ${row.plural}.${row.group}
  labels: {{- include "weft.labels" . | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    # Every object of the kind would go with it.
    helm.sh/resource-policy: keep
  {{- end }}
${spec}{{- end }}
`
}

/** As the value under crds.istio has it: networking, security. */
export const familyOf = ({ group }: KindRow): string => group.split('.')[0] ?? ''
export const pathOf = ({ plural }: KindRow): string => join(TEMPLATES, `definition-${plural}.yaml`)

if (import.meta.main) {
  for (const row of KIND_ROWS) {
    const [path, wanted] = [pathOf(row), templateOf(row)]
    if (!process.argv.includes('--check')) writeFileSync(path, wanted)
    else if (readFileSync(path, 'utf8') !== wanted) {
      console.error(`${path} is not of the table of kinds: node charts/crds.ts`)
      process.exitCode = 1
    }
  }
}
