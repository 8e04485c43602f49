// ConfigMap `weft` of the mesh's root namespace → MeshSettings. Its key `mesh` holds YAML with the field names of Istio's
// meshConfig; what has no effect here is said of it, field by field.

import { parseDocument } from 'yaml'
import { compileFormat } from '../model/access-format.ts'
import { DEFAULT_MESH_SETTINGS, type MeshSettings } from '../model/mesh-settings.ts'
import type { Problem } from '../model/policy.ts'
import { isTrustDomain } from '../model/spiffe.ts'
import type { KubeObject } from './object.ts'
import { refOf, Rejected, type Translation, withoutNulls } from './translate.ts'

/** Name of the ConfigMap, and its key that is read. */
export const MESH_CONFIG = 'weft'
const KEY = 'mesh'
const ROOT = `data.${KEY}`

/** v1 ConfigMap. */
interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>
  readonly binaryData?: Readonly<Record<string, string>>
}

/** One field of meshConfig. */
interface Field {
  /** Settings with the field in them. Throws Rejected where its value cannot be meant. */
  readonly take: (settings: MeshSettings, value: unknown, path: string) => MeshSettings
  /** Why it has no effect as it is set, or null. */
  readonly lack: (value: unknown) => string | null
}

const NO_PROVIDERS = 'has no effect: no provider is served yet'
const MODES = ['ALLOW_ANY', 'REGISTRY_ONLY'] as const
const ENCODINGS = ['JSON', 'TEXT'] as const
/** RFC 1123 label, as namespaces are named. */
const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/** A field that is not among them is not known. Whoever gives one an effect takes its `lack` away. */
const FIELDS: ReadonlyMap<string, Field> = new Map<string, Field>([
  [
    'outboundTrafficPolicy.mode',
    {
      take: (settings, value, path) => ({ ...settings, outboundTrafficPolicy: oneOf(MODES, value, path) }),
      lack: () => null,
    },
  ],
  [
    'rootNamespace',
    { take: (settings, value, path) => ({ ...settings, rootNamespace: namespace(value, path) }), lack: () => null },
  ],
  [
    'accessLogFile',
    {
      take: (settings, value, path) => withLog(settings, { file: textOf(value, path) }),
      lack: () => null,
    },
  ],
  [
    'accessLogEncoding',
    {
      take: (settings, value, path) => withLog(settings, { encoding: oneOf(ENCODINGS, value, path) }),
      lack: () => null,
    },
  ],
  [
    'accessLogFormat',
    {
      take: (settings, value, path) => withLog(settings, { format: textOf(value, path) || null }),
      lack: () => null,
    },
  ],
  [
    'enableTracing',
    {
      take: (settings, value, path) => ({ ...settings, enableTracing: truthOf(value, path) }),
      lack: (value) => (value === true ? 'has no effect: no spans are made yet' : null),
    },
  ],
  [
    'trustDomain',
    {
      take: (settings, value, path) => ({ ...settings, trustDomain: trustDomain(value, path) }),
      lack: () => null,
    },
  ],
  [
    'trustDomainAliases',
    {
      take: (settings, value, path) => ({ ...settings, trustDomainAliases: listOf(value, path, trustDomain) }),
      lack: () => null,
    },
  ],
  [
    'extensionProviders',
    {
      take: (settings, value, path) => checked(settings, listOf(value, path, mappingOf)),
      lack: (value) => (isEmpty(value) ? null : NO_PROVIDERS),
    },
  ],
  [
    'defaultProviders',
    {
      take: (settings, value, path) => checked(settings, mappingOf(value, path)),
      lack: (value) => (isEmpty(value) ? null : NO_PROVIDERS),
    },
  ],
])

/** Mappings whose fields are fields of FIELDS. */
const NESTED: ReadonlySet<string> = new Set(['outboundTrafficPolicy'])

/** Throws Rejected where the text is no YAML, or a field holds what cannot be meant. */
export function translateMeshSettings(object: KubeObject): Translation<MeshSettings> {
  const ref = refOf('ConfigMap', object)
  const { data = {}, binaryData = {} } = object as ConfigMap
  const strange = [
    ...Object.keys(data).flatMap((key) => (key === KEY ? [] : [`data.${key}`])),
    ...Object.keys(binaryData).map((key) => `binaryData.${key}`),
  ]
  const problems: Problem[] = strange.map((field) => ({ object: ref, field, reason: 'is not a key that is read' }))
  let settings = DEFAULT_MESH_SETTINGS
  const given = fieldsOf(data[KEY] ?? '')
  for (const [name, value] of given) {
    const path = `${ROOT}.${name}`
    const field = FIELDS.get(name)
    if (field !== undefined) settings = field.take(settings, value, path)
    const reason = field === undefined ? 'is not a field that is known here' : field.lack(value)
    if (reason !== null) problems.push({ object: ref, field: path, reason })
  }
  return { value: withLogChecked(settings, given.has('accessLogEncoding')), rejected: false, problems }
}

/** All fields of the text by their dotted paths. What is null is absent. */
function fieldsOf(text: string): ReadonlyMap<string, unknown> {
  const fields = new Map<string, unknown>()
  for (const [name, value] of Object.entries(mappingOf(withoutNulls(parsed(text) ?? {}), ROOT))) {
    if (NESTED.has(name)) {
      const inner = Object.entries(mappingOf(value, `${ROOT}.${name}`))
      for (const [own, one] of inner) fields.set(`${name}.${own}`, one)
    } else fields.set(name.includes('.') ? `"${name}"` : name, value) // a dot within a name leads nowhere
  }
  return fields
}

/** One YAML document. Throws Rejected, also where its aliases unfold to too much. */
function parsed(text: string): unknown {
  try {
    const document = parseDocument(text, { stringKeys: true })
    const [error] = document.errors
    if (error !== undefined) throw error
    return document.toJS() as unknown
  } catch (error) {
    throw new Rejected(ROOT, `is no YAML: ${(error as Error).message.split('\n', 1)[0] ?? ''}`)
  }
}

/** The settings as they are: all that is wanted of the field is that it is sound. */
function checked(settings: MeshSettings, _sound: unknown): MeshSettings {
  return settings
}

function withLog(settings: MeshSettings, said: Partial<MeshSettings['accessLog']>): MeshSettings {
  return { ...settings, accessLog: { ...settings.accessLog, ...said } }
}

/** A format without an encoding is text, as it is with Istio. Throws Rejected where a format cannot be followed. */
function withLogChecked(given: MeshSettings, saysEncoding: boolean): MeshSettings {
  const settings = given.accessLog.format === null || saysEncoding ? given : withLog(given, { encoding: 'TEXT' })
  const { encoding, format } = settings.accessLog
  try {
    compileFormat(encoding, format)
  } catch (error) {
    throw new Rejected(`${ROOT}.accessLogFormat`, (error as Error).message)
  }
  return settings
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isEmpty(value: unknown): boolean {
  return Object.keys(value as object).length === 0
}

function mappingOf(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (isMapping(value)) return value
  throw new Rejected(path, 'must be a mapping of fields')
}

function listOf<T>(value: unknown, path: string, entryOf: (entry: unknown, path: string) => T): readonly T[] {
  if (!Array.isArray(value)) throw new Rejected(path, 'must be a list')
  return value.map((entry, index) => entryOf(entry, `${path}[${index}]`))
}

function textOf(value: unknown, path: string): string {
  if (typeof value === 'string') return value
  throw new Rejected(path, 'must be text')
}

function truthOf(value: unknown, path: string): boolean {
  if (typeof value === 'boolean') return value
  throw new Rejected(path, 'must be true or false')
}

function trustDomain(value: unknown, path: string): string {
  const name = textOf(value, path)
  if (isTrustDomain(name)) return name
  throw new Rejected(path, 'must be a trust domain: lower-case letters, digits, dots, dashes and underscores')
}

function namespace(value: unknown, path: string): string | null {
  const name = textOf(value, path)
  if (name === '') return null
  if (NAMESPACE.test(name)) return name
  throw new Rejected(path, 'must be the name of a namespace')
}

function oneOf<T extends string>(choices: readonly T[], value: unknown, path: string): T {
  const found = choices.find((choice) => choice === value)
  if (found !== undefined) return found
  throw new Rejected(path, `must be ${choices.join(' or ')}`)
}
