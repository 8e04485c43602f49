// Objects as meta.k8s.io Tables and PartialObjectMetadata. Pure. Source: Kubernetes API concepts "Receiving resources
// as Tables"; apiextensions.k8s.io CustomResourceColumnDefinition for the columns of custom types.
import { AGE, COLUMNS, NAME } from './columns.ts'
import { ageOf } from './duration.ts'
import { plainText, valuesAt } from './json-path.ts'
import { present } from './view.ts'
import type { KubeObject } from '../object.ts'
import type { PrinterColumn, ResourceType } from '../resources.ts'
import type { Cell, Column } from './columns.ts'

export interface TableOrder {
  readonly type: ResourceType
  readonly version: string
  /** `meta.k8s.io/v1` or `/v1beta1`. */
  readonly apiVersion: string
  /** `?includeObject=`: what each row carries besides its cells. */
  readonly include: 'None' | 'Metadata' | 'Object'
  /** Milliseconds since the epoch, for ages. */
  readonly now: number
}

/** A Table with a row for each object. `metadata` is that of the list. */
export function tableOf(order: TableOrder, objects: readonly KubeObject[], metadata: Record<string, unknown>): unknown {
  const columns = columnsOf(order.type, order.version)
  return {
    kind: 'Table',
    apiVersion: order.apiVersion,
    metadata,
    columnDefinitions: columns.map(({ name, type, format = '', priority = 0, description = name }) => ({
      name,
      type,
      format,
      description,
      priority,
    })),
    rows: objects.map((object) => ({
      cells: columns.map((column) => column.cell(object, order.now)),
      object: carried(order, object),
    })),
  }
}

function carried(order: TableOrder, object: KubeObject): unknown {
  if (order.include === 'None') return undefined
  return order.include === 'Object' ? present(order.type, order.version, object) : partial(object, order.apiVersion)
}

/** The object's metadata alone. */
export function partial({ metadata }: KubeObject, apiVersion: string): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion, metadata }
}

function columnsOf(type: ResourceType, version: string): readonly Column[] {
  const own = COLUMNS[type.viewOf ?? type.key]
  if (own && !type.custom) return own
  const custom = type.versions.find(({ name }) => name === version)?.columns ?? []
  return custom.length === 0 ? [NAME, AGE] : [NAME, ...custom.map(customColumn)]
}

const TYPES: readonly string[] = ['string', 'integer', 'date', 'number', 'boolean']

function customColumn({ name, type, jsonPath, format, priority = 0, description }: PrinterColumn): Column {
  return {
    name,
    type: (TYPES.includes(type) ? type : 'string') as Column['type'],
    priority,
    ...(format === undefined ? {} : { format }),
    ...(description === undefined ? {} : { description }),
    cell: (object, now) => customCell(type, valuesAt(object, jsonPath), now),
  }
}

function customCell(type: string, values: readonly unknown[], now: number): Cell {
  const [first] = values
  if (first === undefined || first === null) return null
  switch (type) {
    case 'date':
      return ageOf(first, now)
    case 'integer':
    case 'number':
      return typeof first === 'number' ? first : null
    case 'boolean':
      return typeof first === 'boolean' ? first : null
    default:
      return values.map(plainText).join(' ')
  }
}
