// The chart's definitions of kinds: what charts/crds.ts would write, structural, and the same as their owners'.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { CustomResourceDefinition } from 'kubernetes-models/apiextensions.k8s.io/v1'
import { parseAllDocuments, parse } from 'yaml'
import { Reported } from '../../agent/kube/honoured.ts'
import { definitionOf, pathOf, specSchema, templateOf, walk } from '../../charts/crds.ts'
import { KIND_ROWS } from '../../charts/crds/kinds.ts'
import { specOf, type Schema } from '../../charts/crds/schema.ts'
import { KINDS, leavesOf } from '../kube/istio-fields.ts'
import { findHelm, NO_HELM } from '../helm.ts'
import { render } from './helm.ts'

const schemas = new Map(KIND_ROWS.map((row) => [row.kind, specSchema(row)]))

for (const row of KIND_ROWS) {
  test(`the definition of ${row.kind} is what the table of kinds makes`, () => {
    assert.equal(readFileSync(pathOf(row), 'utf8'), templateOf(row), 'node charts/crds.ts writes it anew')
  })

  test(`all versions of ${row.kind} are the same`, () => {
    const [first, ...others] = row.versions.map((version) => specOf(row.group, version, row.kind, () => []))
    for (const other of others) assert.deepEqual(other, first)
  })

  test(`the schema of ${row.kind} is structural`, () => {
    walk(schemas.get(row.kind)!, '', (inner, path) => {
      assert.ok(inner.type !== undefined || inner['x-kubernetes-int-or-string'] === true, `${path} has a type`)
      const isMap = inner.additionalProperties !== undefined
      assert.ok(!(isMap && inner.properties !== undefined), `${path} is a map or an object`)
      assert.equal(inner.type === 'array', inner.items !== undefined, path)
      const known = new Set(Object.keys(inner.properties ?? {}))
      for (const name of inner.required ?? []) assert.ok(known.has(name), `${path} demands ${name}, which it has not`)
      const demanded = JSON.stringify([inner.oneOf, inner.allOf]).matchAll(/"required":\["([^"]+)"\]/g)
      for (const [, name] of demanded) assert.ok(known.has(name!), `${path} excludes ${name}, which it has not`)
      for (const word of [
        '$ref',
        'definitions',
        'const',
        'patternProperties',
        'anyOf',
        'not',
        'uniqueItems',
        'deprecated',
      ])
        assert.ok(!(word in inner), `${path} has ${word}`)
    })
  })
}

test('no field that is known, honoured or not, is pruned', () => {
  for (const [kind, shape] of Object.entries(KINDS)) {
    const paths = new Set<string>()
    walk(schemas.get(kind)!, '', (_, path) => paths.add(path))
    for (const [path, leaf] of leavesOf(shape)) {
      const plain = leaf instanceof Reported ? path : path.replace(/(\[\]|\.\*)$/, '')
      assert.ok(paths.has(path) || paths.has(plain), `${kind} ${path}`)
    }
  }
})

const owners = join(import.meta.dirname, '../../../shared/data/istio/manifests/charts/base/files/crd-all.gen.yaml')
const skip = existsSync(owners) ? false : 'the sample manifests are not at hand (../shared/data)'

/** A schema less what is said in words or in CEL, with formats that nothing checks. */
function bare(value: unknown, isFields = false): unknown {
  if (Array.isArray(value)) return value.map((one) => bare(one))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).flatMap(([name, one]) => {
    if (isFields) return [[name, bare(one)]]
    if (name === 'description' || name === 'x-kubernetes-validations') return []
    if (name === 'format' && one === 'double') return []
    if (name === 'required' || name === 'enum') return [[name, [...(one as string[])].sort()]]
    return [[name, bare(one, name === 'properties')]]
  })
  return Object.fromEntries(entries as [string, unknown][])
}

/** Where they differ, as path and both values. */
function differences(ours: Schema, theirs: Schema): string[] {
  const found = new Map<string, [unknown?, unknown?]>()
  for (const [at, schema] of [ours, theirs].entries()) {
    walk(
      bare(schema) as Schema,
      '',
      ({ properties: _fields, items: _items, additionalProperties: _values, ...own }, path) => {
        const pair = found.get(path) ?? []
        pair[at] = own
        found.set(path, pair)
      },
    )
  }
  return [...found].flatMap(([path, [mine, other]]) => {
    try {
      assert.deepEqual(mine, other)
      return []
    } catch {
      return [`${path}: ${JSON.stringify(mine)} for ${JSON.stringify(other)}`]
    }
  })
}

/** A field that excludes nothing by itself is no exclusion. */
const TRIVIAL: Record<string, Schema['oneOf']> = {
  AuthorizationPolicy: [{ not: { anyOf: [{ required: ['provider'] }] } }, { required: ['provider'] }],
}

test('names, versions, columns and fields are those of the owners', { skip }, () => {
  const theirs = parseAllDocuments(readFileSync(owners, 'utf8')).map((document) => document.toJS())
  for (const row of KIND_ROWS) {
    const definition = definitionOf(row) as any // eslint-disable-line @typescript-eslint/no-explicit-any
    const their = theirs.find((one) => one?.spec.names.kind === row.kind && one.spec.group === row.group)
    assert.deepEqual(definition.names, their.spec.names)
    assert.equal(definition.scope, their.spec.scope)
    assert.deepEqual(new Set(row.versions), new Set(their.spec.versions.map(({ name }: { name: string }) => name)))
    for (const version of their.spec.versions) {
      const own = definition.versions.find(({ name }: { name: string }) => name === version.name)
      assert.deepEqual(
        [own.served, own.storage, own.subresources],
        [version.served, version.storage, version.subresources],
      )
      const columns = (version.additionalPrinterColumns ?? own.additionalPrinterColumns).map(
        ({ name, type, jsonPath }: Record<string, string>) => ({ name, type, jsonPath }),
      )
      assert.deepEqual(own.additionalPrinterColumns, columns)
      const spec = structuredClone(version.schema.openAPIV3Schema.properties.spec)
      if (row.kind in TRIVIAL) {
        assert.deepEqual(spec.oneOf, TRIVIAL[row.kind])
        delete spec.oneOf
      }
      assert.deepEqual(differences(own.schema.openAPIV3Schema.properties.spec, spec), [], `${row.kind} ${version.name}`)
    }
  }
})

test('nothing of the owners’ words is in them', { skip }, () => {
  const text = readFileSync(owners, 'utf8')
  for (const row of KIND_ROWS) assert.ok(!text.includes(row.says))
})

test(
  'they are definitions as Kubernetes takes them, and kept',
  { skip: findHelm() === null ? NO_HELM : false },
  async () => {
    const objects = (await render()).filter(({ kind }) => kind === 'CustomResourceDefinition')
    assert.deepEqual(objects.map(({ spec }) => spec.names.kind).sort(), KIND_ROWS.map(({ kind }) => kind).sort())
    for (const object of objects) {
      new CustomResourceDefinition(object).validate()
      assert.equal(object.metadata.annotations['helm.sh/resource-policy'], 'keep')
      assert.equal(object.metadata.labels['app.kubernetes.io/part-of'], 'weft')
      assert.equal(object.metadata.name, `${object.spec.names.plural}.${object.spec.group}`)
    }
    const gone = await render({ values: { 'crds.keep': false } })
    for (const { kind, metadata } of gone)
      if (kind === 'CustomResourceDefinition') assert.equal(metadata.annotations, undefined)
  },
)

test('kinds that a lab serves are those that the chart defines, by the same names', () => {
  const lab = parseAllDocuments(readFileSync(join(import.meta.dirname, '../../lab/api/istio-crds.yaml'), 'utf8'))
  const served = lab.map((document) => parse(String(document)).spec)
  for (const row of KIND_ROWS) {
    const { names, versions } = definitionOf(row) as { names: object; versions: { name: string; storage: boolean }[] }
    const inLab = served.find((spec) => spec.names.kind === row.kind)
    assert.deepEqual(
      { ...inLab.names, categories: new Set(inLab.names.categories) },
      { ...names, categories: new Set((names as { categories: string[] }).categories) },
    )
    assert.deepEqual(
      inLab.versions.map(({ name, storage }: { name: string; storage: boolean }) => [name, storage]),
      versions.map(({ name, storage }) => [name, storage]),
    )
  }
})
