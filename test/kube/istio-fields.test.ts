// No field of the Istio kinds that are read is forgotten: each stands in the tables of agent/kube/istio.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import ts from 'typescript'
import { parseAllDocuments } from 'yaml'
import { Reported } from '../../agent/kube/honoured.ts'
import { KINDS, leavesOf, page, PAGE } from './istio-fields.ts'

type Kind = keyof typeof KINDS

/** Fields that CRDs newer than the schemas of the package have. */
const NEWER: Record<Kind, readonly RegExp[]> = {
  VirtualService: [/^http\[\]\.redirect\.prefixRewrite$/],
  DestinationRule: [
    /\.connectionPool\.http\.http2KeepAlive$/,
    /\.loadBalancer\.(backendUtilization|zoneAwareLbSetting)$/,
    /\.outlierDetection\.outlierDetectionHttpErrorCodes$/,
    /\.retryBudget\.budgetInterval$/,
  ],
  AuthorizationPolicy: [/\.source\.(trustDomains|notTrustDomains)$/],
  RequestAuthentication: [/\.presence$/],
}

/** Groups of the kinds, and how many fields each has at the least. */
const KNOWN: Record<Kind, readonly [group: string, fields: number]> = {
  VirtualService: ['networking', 100],
  DestinationRule: ['networking', 100],
  AuthorizationPolicy: ['security', 30],
  RequestAuthentication: ['security', 20],
}

/** A type of the package as the paths of its fields; a list or map of plain values is a field itself. */
function fieldsOfType(node: ts.Node, path: string, found: Set<string>): void {
  if (ts.isTypeLiteralNode(node)) {
    for (const member of node.members) {
      if (ts.isPropertySignature(member) && member.type !== undefined && ts.isStringLiteral(member.name)) {
        fieldsOfType(member.type, path === '' ? member.name.text : `${path}.${member.name.text}`, found)
      } else if (ts.isIndexSignatureDeclaration(member)) fieldsOfType(member.type, `${path}.*`, found)
    }
  } else if (ts.isTypeReferenceNode(node) && node.typeName.getText() === 'Array') {
    fieldsOfType(node.typeArguments![0]!, `${path}[]`, found)
  } else if (ts.isUnionTypeNode(node) || ts.isIntersectionTypeNode(node)) {
    for (const one of node.types) fieldsOfType(one, path, found)
  } else if (ts.isParenthesizedTypeNode(node)) fieldsOfType(node.type, path, found)
  else if (ts.isTypeReferenceNode(node)) node.typeArguments?.forEach((one) => fieldsOfType(one, path, found))
  else found.add(plain(path))
}

function plain(path: string): string {
  return path.replace(/(\[\]|\.\*)$/, '')
}

/** What the package's types know of a kind's spec. */
function packaged(kind: Kind): ReadonlySet<string> {
  const url = import.meta.resolve(`@kubernetes-models/istio/${KNOWN[kind][0]}.istio.io/v1/${kind}`)
  const path = new URL(url.replace(/\.js$/, '.d.ts'))
  const file = ts.createSourceFile('types.d.ts', readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const found = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (ts.isPropertySignature(node) && node.name.getText() === '"spec"') fieldsOfType(node.type!, '', found)
    else if (!ts.isTypeLiteralNode(node)) ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

interface Schema {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema
  readonly items?: Schema
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string }[]
}

function fieldsOfSchema(schema: Schema, path: string, found: Set<string>): void {
  const inner = Object.entries(schema.properties ?? {})
  for (const [name, one] of inner) fieldsOfSchema(one, path === '' ? name : `${path}.${name}`, found)
  if (schema.items !== undefined) fieldsOfSchema(schema.items, `${path}[]`, found)
  else if (schema.additionalProperties !== undefined) fieldsOfSchema(schema.additionalProperties, `${path}.*`, found)
  else if (inner.length === 0) found.add(plain(path))
}

/** Fields that the table of a kind lacks, and those it names that are no fields. */
function differences(kind: Kind, fields: ReadonlySet<string>): { lacking: string[]; surplus: string[] } {
  const leaves = new Map(leavesOf(KINDS[kind]))
  const reported = [...leaves].flatMap(([path, leaf]) => (leaf instanceof Reported ? [path] : []))
  const isUnder = (field: string, path: string): boolean => field === path || /^[.[]/.test(field.slice(path.length))
  const covers = (path: string, field: string): boolean => field.startsWith(path) && isUnder(field, path)
  return {
    lacking: [...fields].filter((field) => !leaves.has(field) && !reported.some((path) => covers(path, field))),
    surplus: [...leaves].flatMap(([path, leaf]) => {
      const isField = leaf instanceof Reported ? [...fields].some((field) => covers(path, field)) : fields.has(path)
      return isField ? [] : [path]
    }),
  }
}

for (const kind of Object.keys(KINDS) as Kind[]) {
  test(`the table of ${kind} has every field of the schema, and no other but newer ones`, () => {
    const fields = packaged(kind)
    assert.ok(fields.size > KNOWN[kind][1], `${fields.size} fields`)
    const { lacking, surplus } = differences(kind, fields)
    assert.deepEqual(lacking, [])
    assert.deepEqual(
      surplus.filter((path) => !NEWER[kind].some((newer) => newer.test(path))),
      [],
    )
    for (const newer of NEWER[kind])
      assert.ok(
        surplus.some((path) => newer.test(path)),
        `${String(newer)} is newer no more`,
      )
  })
}

test('a field that no table has is found, and one that a table has in vain', () => {
  const { lacking, surplus } = differences('VirtualService', new Set(['hosts', 'http[].name', 'http[].fresh']))
  assert.deepEqual(lacking, ['http[].fresh'])
  assert.ok(surplus.includes('gateways') && !surplus.includes('hosts'))
})

test('every reason and remark is a sentence of its own', () => {
  for (const [path, leaf] of Object.values(KINDS).flatMap((shape) => leavesOf(shape))) {
    const text = leaf === true ? 'none' : leaf instanceof Reported ? leaf.reason : leaf.remark
    assert.ok(text.length > 3 && !text.includes('|'), path)
  }
})

test('docs/istio-fields.md is what the tables say', async () => {
  assert.equal(readFileSync(PAGE, 'utf8'), await page(), 'node test/kube/istio-fields.ts writes it anew')
})

const crds = join(import.meta.dirname, '../../../shared/data/istio/manifests/charts/base/files/crd-all.gen.yaml')
const skip = existsSync(crds) ? false : 'the sample manifests are not at hand (../shared/data)'

test('the tables have the fields of the newest CRDs, and no other', { skip }, () => {
  for (const document of parseAllDocuments(readFileSync(crds, 'utf8'))) {
    const crd = document.toJS()
    const kind = Object.keys(KINDS).find((one) => one === crd?.spec.names.kind) as Kind | undefined
    if (kind === undefined) continue
    for (const version of crd.spec.versions) {
      const fields = new Set<string>()
      fieldsOfSchema(version.schema.openAPIV3Schema.properties.spec, '', fields)
      assert.deepEqual(differences(kind, fields), { lacking: [], surplus: [] }, `${kind} ${version.name}`)
    }
  }
})
