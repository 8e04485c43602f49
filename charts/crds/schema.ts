// JSON schemas of the Istio kinds, structural as Kubernetes wants them, of what the package @kubernetes-models/istio knows: shape,
// names and enums stand in its types, bounds are found by asking its validators.

import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { type Asked, boundsOf } from './bounds.ts'

/** A structural schema (Kubernetes documentation, "Specifying a structural schema"). */
export interface Schema {
  type?: string
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  additionalProperties?: Schema
  enum?: string[]
  nullable?: boolean
  oneOf?: Logic[]
  allOf?: Logic[]
  'x-kubernetes-int-or-string'?: boolean
  'x-kubernetes-preserve-unknown-fields'?: boolean
  [bound: string]: unknown
}

/** What may stand beneath oneOf: which fields are there, and nothing of their shape. */
interface Logic {
  required?: string[]
  not?: Logic
  anyOf?: Logic[]
  oneOf?: Logic[]
}

/** The schema of a kind's `spec`. Throws where a type is none that a schema can say. */
export function specOf(group: string, version: string, kind: string, validate: Asked): Schema {
  const url = import.meta.resolve(`@kubernetes-models/istio/${group}/${version}/${kind}`)
  const path = new URL(url.replace(/\.js$/, '.d.ts'))
  const file = ts.createSourceFile('types.d.ts', readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  let spec: ts.TypeNode | undefined
  const visit = (node: ts.Node): void => {
    if (ts.isInterfaceDeclaration(node)) {
      const member = node.members.find((one) => one.name !== undefined && nameOf(one.name) === 'spec')
      if (member !== undefined && ts.isPropertySignature(member)) spec ??= member.type
    } else ts.forEachChild(node, visit)
  }
  visit(file)
  if (spec === undefined) throw new Error(`${group}/${version} ${kind}: its type has no spec`)
  const schema = schemaOf(spec)
  bounded(schema, [], validate)
  return schema
}

function nameOf(name: ts.PropertyName): string {
  return ts.isStringLiteral(name) || ts.isIdentifier(name) ? name.text : name.getText()
}

function schemaOf(node: ts.TypeNode): Schema {
  if (ts.isParenthesizedTypeNode(node)) return schemaOf(node.type)
  if (ts.isTypeLiteralNode(node)) return objectOf(node)
  if (ts.isIntersectionTypeNode(node)) return { ...schemaOf(node.types[0]!), ...logicOf(node) }
  if (ts.isUnionTypeNode(node)) return unionOf(node)
  if (ts.isTypeReferenceNode(node) && node.typeName.getText() === 'Array') {
    return { type: 'array', items: schemaOf(node.typeArguments![0]!) }
  }
  switch (node.kind) {
    case ts.SyntaxKind.StringKeyword:
      return { type: 'string' }
    case ts.SyntaxKind.NumberKeyword:
      return { type: 'number' }
    case ts.SyntaxKind.BooleanKeyword:
      return { type: 'boolean' }
    default:
      throw new Error(`no schema says what this type is: ${node.getText().slice(0, 100)}`)
  }
}

function objectOf(node: ts.TypeLiteralNode): Schema {
  const { members } = node
  const [first] = members
  if (first !== undefined && ts.isIndexSignatureDeclaration(first)) {
    const isOpen = first.type.kind === ts.SyntaxKind.AnyKeyword || first.type.kind === ts.SyntaxKind.UnknownKeyword
    if (isOpen) return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
    return { type: 'object', additionalProperties: schemaOf(first.type) }
  }
  const required = demandedBy(node)
  const fields = members.filter(ts.isPropertySignature)
  return {
    type: 'object',
    properties: Object.fromEntries(fields.map(({ name, type }) => [nameOf(name), schemaOf(type!)])),
    ...(required.length === 0 ? {} : { required }),
  }
}

/** Fields of an object that are not optional. */
function demandedBy({ members }: ts.TypeLiteralNode): string[] {
  const demanded = members.filter((one) => ts.isPropertySignature(one) && one.questionToken === undefined)
  return demanded.map((one) => nameOf(one.name!))
}

function unionOf({ types }: ts.UnionTypeNode): Schema {
  const kinds = new Set(types.map(({ kind }) => kind))
  if (kinds.size === 2 && kinds.has(ts.SyntaxKind.StringKeyword) && kinds.has(ts.SyntaxKind.NumberKeyword)) {
    return { 'x-kubernetes-int-or-string': true }
  }
  const texts = types.map((one) =>
    ts.isLiteralTypeNode(one) && ts.isStringLiteral(one.literal) ? one.literal.text : undefined,
  )
  if (texts.some((text) => text === undefined)) throw new Error('no schema says what this union is')
  return { type: 'string', enum: texts as string[] }
}

/**
 * Fields that exclude each other. The types say it as `T & (Exclude<T, T & (A | B)> | A | B)`, where A demands one field of T
 * and B another: at most one of those that A, B … demand.
 */
function logicOf(node: ts.IntersectionTypeNode): Pick<Schema, 'oneOf' | 'allOf'> {
  const groups = rivalsIn(node, new Set(requiredOf(node.types[0]!))).filter((group) => group.length > 1)
  const [only, ...others] = groups.map(atMostOne)
  if (only === undefined) return {}
  return others.length === 0 ? { oneOf: only } : { allOf: [only, ...others].map((oneOf) => ({ oneOf })) }
}

/** At most one of these fields. */
export function atMostOne(fields: readonly string[]): Logic[] {
  const demanded = (): Logic[] => fields.map((field) => ({ required: [field] }))
  return [{ not: { anyOf: demanded() } }, ...demanded()]
}

function rivalsIn(node: ts.TypeNode, always: ReadonlySet<string>): string[][] {
  if (ts.isParenthesizedTypeNode(node)) return rivalsIn(node.type, always)
  if (ts.isUnionTypeNode(node)) {
    const alternatives = node.types.filter((one) => !ts.isTypeReferenceNode(one))
    const fields = alternatives.flatMap((one) => requiredOf(one).filter((field) => !always.has(field)))
    return [[...new Set(fields)]]
  }
  return ts.isIntersectionTypeNode(node) ? node.types.flatMap((one) => rivalsIn(one, always)) : []
}

function requiredOf(node: ts.TypeNode): string[] {
  if (ts.isParenthesizedTypeNode(node)) return requiredOf(node.type)
  if (ts.isIntersectionTypeNode(node)) return node.types.flatMap(requiredOf)
  return ts.isTypeLiteralNode(node) ? demandedBy(node) : []
}

/** Adds to a schema, and to all within, what the validator says of values that are far off. */
function bounded(schema: Schema, path: readonly (string | number)[], validate: Asked): void {
  const { type } = schema
  if (type !== undefined && path.length > 0) Object.assign(schema, boundsOf(type, path, validate))
  for (const [name, one] of Object.entries(schema.properties ?? {})) bounded(one, [...path, name], validate)
  if (schema.items !== undefined) bounded(schema.items, [...path, 0], validate)
  if (schema.additionalProperties !== undefined) bounded(schema.additionalProperties, [...path, 'any'], validate)
}
