// ConfigMap `weft` of the mesh's root namespace → MeshSettings. Its key `mesh` holds YAML with the field names of Istio's
// meshConfig; what has no effect here is said of it, field by field.

import { parseDocument } from 'yaml'
import { compileFormat } from '../model/access-format.ts'
import { DEFAULT_MESH_SETTINGS, type MeshSettings, PATH_NORMALIZATIONS } from '../model/mesh-settings.ts'
import type { Problem } from '../model/policy.ts'
import { isTrustDomain } from '../model/spiffe.ts'
import { authorizersOf, providerLacks } from './extension-providers.ts'
import type { Lack } from './honoured.ts'
import { listOf, mappingOf, numberOf, oneOf, textOf, truthOf } from './mesh-values.ts'
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
  /** What of it has no effect as it is set; not there: all of it has. */
  readonly lacks?: (value: unknown, path: string) => readonly Lack[]
}

const MODES = ['ALLOW_ANY', 'REGISTRY_ONLY'] as const
const ENCODINGS = ['JSON', 'TEXT'] as const
/** RFC 1123 label, as namespaces are named. */
const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
/** Of a field that is a uint32. */
const UINT32_MAX = 2 ** 32 - 1

/** A field that is not among them is not known. Whoever gives one an effect takes its `lacks` away. */
const FIELDS: ReadonlyMap<string, Field> = new Map<string, Field>(
  Object.entries({
    'outboundTrafficPolicy.mode': {
      take: (settings, value, path) => ({ ...settings, outboundTrafficPolicy: oneOf(MODES, value, path) }),
    },
    rootNamespace: {
      take: (settings, value, path) => ({ ...settings, rootNamespace: namespace(value, path) }),
    },
    accessLogFile: {
      take: (settings, value, path) => withLog(settings, { file: textOf(value, path) }),
    },
    accessLogEncoding: {
      take: (settings, value, path) => withLog(settings, { encoding: oneOf(ENCODINGS, value, path) }),
    },
    accessLogFormat: {
      take: (settings, value, path) => withLog(settings, { format: textOf(value, path) || null }),
    },
    enableTracing: {
      take: (settings, value, path) => ({ ...settings, enableTracing: truthOf(value, path) }),
      lacks: (value, field) => (value === true ? [{ field, reason: 'has no effect: no spans are made yet' }] : []),
    },
    trustDomain: {
      take: (settings, value, path) => ({ ...settings, trustDomain: trustDomain(value, path) }),
    },
    trustDomainAliases: {
      take: (settings, value, path) => ({ ...settings, trustDomainAliases: listOf(value, path, trustDomain) }),
    },
    'pathNormalization.normalization': {
      take: (settings, value, path) => {
        const given = oneOf(['DEFAULT', ...PATH_NORMALIZATIONS] as const, value, path)
        return { ...settings, pathNormalization: given === 'DEFAULT' ? 'BASE' : given }
      },
    },
    'defaultConfig.gatewayTopology.numTrustedProxies': {
      take: (settings, value, path) => ({ ...settings, trustedProxies: numberOf(value, path, [0, UINT32_MAX]) }),
    },
    extensionProviders: {
      take: (settings, value, path) => ({ ...settings, authorizers: authorizersOf(value, path) }),
      lacks: providerLacks,
    },
    defaultProviders: {
      take: (settings, value, path) => {
        mappingOf(value, path)
        return settings
      },
      lacks: (value, field) => {
        return isEmpty(value) ? [] : [{ field, reason: 'has no effect: no provider is served by default yet' }]
      },
    },
  } satisfies Record<string, Field>),
)

/** Mappings whose fields are fields of FIELDS, or again such mappings. */
const NESTED: ReadonlySet<string> = new Set([
  ...['outboundTrafficPolicy', 'pathNormalization', 'defaultConfig', 'defaultConfig.gatewayTopology'],
])

const UNKNOWN = 'is not a field that is known here'

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
    const lacks = field === undefined ? [{ field: path, reason: UNKNOWN }] : (field.lacks?.(value, path) ?? [])
    problems.push(...lacks.map((lack) => ({ object: ref, ...lack })))
  }
  return { value: withLogChecked(settings, given.has('accessLogEncoding')), rejected: false, problems }
}

/** All fields of the text by their dotted paths. What is null is absent. */
function fieldsOf(text: string): ReadonlyMap<string, unknown> {
  const fields = new Map<string, unknown>()
  const add = (given: unknown, path: string, prefix: string): void => {
    for (const [own, value] of Object.entries(mappingOf(given, path))) {
      const name = prefix + (own.includes('.') ? `"${own}"` : own) // a dot within a name leads nowhere
      if (NESTED.has(name)) add(value, `${ROOT}.${name}`, `${name}.`)
      else fields.set(name, value)
    }
  }
  add(withoutNulls(parsed(text) ?? {}), ROOT, '')
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

function isEmpty(value: unknown): boolean {
  return Object.keys(value as object).length === 0
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
