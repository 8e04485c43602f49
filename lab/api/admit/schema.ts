// Structural schemas of custom kinds: unknown fields are pruned, defaults filled in, values validated. Pure.
// Source: Kubernetes documentation "Extend the Kubernetes API with CustomResourceDefinitions": pruning, defaulting, validation.
// Not looked at: rules in CEL (x-kubernetes-validations), `format`, `multipleOf`, `uniqueItems`.
import { copyOf, isRecord, sameJson } from '../object.ts'
import type { Fault } from '../status.ts'

type Schema = Readonly<Record<string, any>>

const ALWAYS = ['apiVersion', 'kind', 'metadata']

/** Removes what the schema does not know, in place. Gives the paths of what was removed. */
export function prune(schema: unknown, object: Record<string, any>): string[] {
  const pruned: string[] = []
  if (isRecord(schema)) pruneIn(schema, object, { path: '', isResource: true, pruned })
  return pruned
}

interface Pruning {
  readonly path: string
  readonly isResource: boolean
  readonly pruned: string[]
}

function pruneIn(schema: Schema, value: unknown, { path, isResource, pruned }: Pruning): void {
  if (Array.isArray(value)) {
    const { items } = schema
    if (!isRecord(items)) return
    for (const [at, item] of value.entries()) pruneIn(items, item, below(items, `${path}[${at}]`, pruned))
  }
  if (!isRecord(value)) return
  const { properties, additionalProperties } = schema
  for (const [name, member] of Object.entries(value)) {
    const where = path === '' ? name : `${path}.${name}`
    const own = isRecord(properties) && Object.hasOwn(properties, name) ? properties[name] : undefined
    if (isResource && ALWAYS.includes(name)) continue
    if (isRecord(own)) pruneIn(own, member, below(own, where, pruned))
    else if (isRecord(additionalProperties))
      pruneIn(additionalProperties, member, below(additionalProperties, where, pruned))
    else if (schema['x-kubernetes-preserve-unknown-fields'] !== true && additionalProperties !== true) {
      delete value[name]
      pruned.push(where)
    }
  }
}

function below(schema: Schema, path: string, pruned: string[]): Pruning {
  return { path, isResource: schema['x-kubernetes-embedded-resource'] === true, pruned }
}

/** Fills in the defaults that a schema has, in place. */
export function fillDefaults(schema: unknown, value: unknown): void {
  if (!isRecord(schema)) return
  const { properties, additionalProperties, items } = schema
  if (Array.isArray(value)) for (const item of value) fillDefaults(items, item)
  if (!isRecord(value)) return
  for (const [name, own] of Object.entries(isRecord(properties) ? properties : {})) {
    if (!isRecord(own)) continue
    const isAbsent = value[name] === undefined || (value[name] === null && own['nullable'] !== true)
    if (isAbsent && own['default'] !== undefined) value[name] = copyOf(own['default'])
    fillDefaults(own, value[name])
  }
  if (!isRecord(additionalProperties)) return
  for (const [name, member] of Object.entries(value)) {
    if (!isRecord(properties) || !Object.hasOwn(properties, name)) fillDefaults(additionalProperties, member)
  }
}

/** What of a custom object breaks its schema. */
export function schemaFaults(schema: unknown, object: Readonly<Record<string, any>>): Fault[] {
  if (!isRecord(schema)) return []
  const { apiVersion: _version, kind: _kind, metadata: _metadata, ...content } = object
  const required: unknown = schema['required']
  const lacking = Array.isArray(required) ? required.filter((name) => !ALWAYS.includes(String(name))) : []
  return faultsIn({ ...schema, required: lacking }, content, '')
}

function faultsIn(schema: Schema, value: unknown, path: string): Fault[] {
  if (value === null && schema['nullable'] === true) return []
  const type = typeFault(schema, value, path)
  if (type) return [type]
  return [
    ...valueFaults(schema, value, path),
    ...combinedFaults(schema, value, path),
    ...innerFaults(schema, value, path),
  ]
}

function innerFaults(schema: Schema, value: unknown, path: string): Fault[] {
  const { properties, additionalProperties, items, required } = schema
  if (Array.isArray(value)) {
    return isRecord(items) ? value.flatMap((item, at) => faultsIn(items, item, `${path}[${at}]`)) : []
  }
  if (!isRecord(value)) return []
  const join = (name: string): string => (path === '' ? name : `${path}.${name}`)
  const faults: Fault[] = []
  for (const name of Array.isArray(required) ? required : []) {
    if (value[name] === undefined) faults.push({ kind: 'required', field: join(String(name)) })
  }
  for (const [name, member] of Object.entries(value)) {
    const own = isRecord(properties) && Object.hasOwn(properties, name) ? properties[name] : additionalProperties
    if (isRecord(own)) faults.push(...faultsIn(own, member, join(name)))
  }
  return faults
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value === 'number' && Number.isInteger(value) ? 'integer' : typeof value
}

function typeFault(schema: Schema, value: unknown, path: string): Fault | undefined {
  const wanted: unknown = schema['type']
  const is = typeOf(value)
  if (schema['x-kubernetes-int-or-string'] === true) {
    return is === 'integer' || is === 'string' ? undefined : wrongType(path, 'integer,string', is)
  }
  if (typeof wanted !== 'string' || wanted === '' || wanted === is) return undefined
  return wanted === 'number' && is === 'integer' ? undefined : wrongType(path, wanted, is)
}

function wrongType(path: string, wanted: string, is: string): Fault {
  return {
    kind: 'invalid',
    field: path,
    shown: is,
    text: `${path} in body must be of type ${wanted}: ${JSON.stringify(is)}`,
  }
}

/** [keyword, does the value keep it, how a broken one is told]. */
const LIMITS: readonly (readonly [
  string,
  (value: any, limit: any, schema: Schema) => boolean,
  (limit: any) => string,
])[] = [
  [
    'minimum',
    (v, limit, s) => typeof v !== 'number' || (s['exclusiveMinimum'] ? v > limit : v >= limit),
    (limit) => `should be greater than or equal to ${limit}`,
  ],
  [
    'maximum',
    (v, limit, s) => typeof v !== 'number' || (s['exclusiveMaximum'] ? v < limit : v <= limit),
    (limit) => `should be less than or equal to ${limit}`,
  ],
  [
    'minLength',
    (v, limit) => typeof v !== 'string' || [...v].length >= limit,
    (limit) => `should be at least ${limit} chars long`,
  ],
  [
    'maxLength',
    (v, limit) => typeof v !== 'string' || [...v].length <= limit,
    (limit) => `should be at most ${limit} chars long`,
  ],
  ['minItems', (v, limit) => !Array.isArray(v) || v.length >= limit, (limit) => `should have at least ${limit} items`],
  ['maxItems', (v, limit) => !Array.isArray(v) || v.length <= limit, (limit) => `should have at most ${limit} items`],
  [
    'minProperties',
    (v, limit) => !isRecord(v) || Object.keys(v).length >= limit,
    (limit) => `should have at least ${limit} properties`,
  ],
  [
    'maxProperties',
    (v, limit) => !isRecord(v) || Object.keys(v).length <= limit,
    (limit) => `should have at most ${limit} properties`,
  ],
  ['pattern', (v, limit) => typeof v !== 'string' || isMatch(v, limit), (limit) => `should match '${limit}'`],
]

// A pattern that no regular expression of ours can be made of forbids nothing.
function isMatch(value: string, pattern: string): boolean {
  try {
    return new RegExp(pattern).test(value)
  } catch {
    return true
  }
}

function valueFaults(schema: Schema, value: unknown, path: string): Fault[] {
  const faults: Fault[] = []
  const options: unknown = schema['enum']
  if (Array.isArray(options) && !options.some((option) => sameJson(option, value))) {
    const text = `supported values: ${options.map((option) => JSON.stringify(option)).join(', ')}`
    faults.push({ kind: 'unsupported', field: path, shown: value, text })
  }
  for (const [keyword, keeps, told] of LIMITS) {
    const limit: unknown = schema[keyword]
    if (limit === undefined || keeps(value, limit, schema)) continue
    faults.push({ kind: 'invalid', field: path, shown: value, text: `${path} in body ${told(limit)}` })
  }
  return faults
}

function combinedFaults(schema: Schema, value: unknown, path: string): Fault[] {
  const good = (list: unknown): number =>
    (list as Schema[]).filter((each) => faultsIn(each, value, path).length === 0).length
  const wrong = (text: string): Fault => ({ kind: 'invalid', field: path, shown: value, text: `"${path}" ${text}` })
  const { allOf, anyOf, oneOf, not } = schema
  const faults: Fault[] = []
  if (Array.isArray(allOf)) faults.push(...allOf.flatMap((each: Schema) => faultsIn(each, value, path)))
  if (Array.isArray(anyOf) && good(anyOf) === 0) faults.push(wrong('must validate at least one schema (anyOf)'))
  if (Array.isArray(oneOf) && good(oneOf) !== 1) faults.push(wrong('must validate one and only one schema (oneOf)'))
  if (isRecord(not) && faultsIn(not, value, path).length === 0) faults.push(wrong('must not validate the schema (not)'))
  return faults
}
