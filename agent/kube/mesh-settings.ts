// The ConfigMap `weft`: mesh-wide settings under the key `mesh`, in YAML, with the field names of Istio's meshConfig.

import { parseDocument } from 'yaml'
import {
  type AccessLogSettings,
  DEFAULT_MESH_SETTINGS,
  type MeshSettings,
  type OutboundTrafficPolicy,
} from '../model/mesh-settings.ts'
import type { Problem } from '../model/policy.ts'
import { type Shape, unhonoured } from './honoured.ts'
import type { ConfigMap } from './object.ts'
import { refOf, Rejected, type Translation } from './translate.ts'

/** Name of the ConfigMap, in the namespace that `--root-namespace` names. */
export const SETTINGS_NAME = 'weft'
/** The key that is read, as in Istio's own ConfigMap. */
const KEY = 'mesh'
const ROOT = `data.${KEY}`

type Given = Readonly<Record<string, unknown>>

const HONOURED = {
  rootNamespace: true,
  outboundTrafficPolicy: { mode: true },
  accessLogFile: true,
  accessLogEncoding: true,
  accessLogFormat: true,
} as const
/** Understood, checked, and without effect yet: said where it differs from the default. */
const INERT = ['trustDomain', 'trustDomainAliases', 'enableTracing', 'extensionProviders', 'defaultProviders'] as const

const MODES: readonly OutboundTrafficPolicy[] = ['ALLOW_ANY', 'REGISTRY_ONLY']
const ENCODINGS: readonly AccessLogSettings['encoding'][] = ['JSON', 'TEXT']
/** RFC 1123 label, as namespaces are named; trust domains are dotted sequences of such (SPIFFE ID §2.1). */
const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/

/** Translates the ConfigMap; what it does not say is as `defaults` has it. Throws Rejected at the first unsound field. */
export function translateMeshSettings(map: ConfigMap, defaults: MeshSettings): Translation<MeshSettings> {
  const given = parsed(map.data?.[KEY] ?? '')
  const value = {
    trustDomain: text(given, 'trustDomain', TRUST_DOMAIN) ?? defaults.trustDomain,
    trustDomainAliases: texts(given, 'trustDomainAliases') ?? defaults.trustDomainAliases,
    rootNamespace: text(given, 'rootNamespace', NAMESPACE) ?? defaults.rootNamespace,
    outboundTrafficPolicy:
      choice(object(given, 'outboundTrafficPolicy'), 'outboundTrafficPolicy.mode', MODES) ??
      defaults.outboundTrafficPolicy,
    accessLog: {
      file: text(given, 'accessLogFile') ?? defaults.accessLog.file,
      encoding: choice(given, 'accessLogEncoding', ENCODINGS) ?? defaults.accessLog.encoding,
      format: text(given, 'accessLogFormat') ?? defaults.accessLog.format,
    },
    enableTracing: typed(given, 'enableTracing', 'boolean', 'true or false') ?? defaults.enableTracing,
  }
  list(given, 'extensionProviders')
  object(given, 'defaultProviders')
  return { value, rejected: false, problems: problemsOf(map, given) }
}

function problemsOf(map: ConfigMap, given: Given): Problem[] {
  const ref = refOf('ConfigMap', map)
  const inert = INERT.filter((field) => isMeant(field, given[field]))
  const strange = Object.keys(map.data ?? {}).filter((key) => key !== KEY)
  const known: Shape = { ...HONOURED, ...Object.fromEntries(INERT.map((field) => [field, true as const])) }
  return [
    ...strange.map((key) => ({ object: ref, field: `data.${key}`, reason: `only the key ${KEY} is read` })),
    ...inert.map((field) => ({ object: ref, field: `${ROOT}.${field}`, reason: 'this field is not honoured' })),
    ...unhonoured(given, known, ROOT).map((field) => ({ object: ref, field, reason: 'this field is not known' })),
  ]
}

/** Whether a field says anything but what holds without it. */
function isMeant(field: (typeof INERT)[number], value: unknown): boolean {
  if (value === undefined || value === null) return false
  if (typeof value === 'object') return Object.keys(value).length > 0
  return value !== DEFAULT_MESH_SETTINGS[field as 'trustDomain' | 'enableTracing']
}

/** One YAML document that is a mapping, or nothing at all. Aliases are bounded by the parser (100). */
function parsed(source: string): Given {
  const document = parseDocument(source, { stringKeys: true })
  const [error] = document.errors
  if (error !== undefined) throw new Rejected(ROOT, `is not YAML: ${error.message.split('\n')[0]}`)
  const value: unknown = toPlain(document)
  if (value === null || value === undefined) return {}
  if (!isObject(value)) throw new Rejected(ROOT, 'must be a mapping')
  return value
}

function toPlain(document: { toJS(): unknown }): unknown {
  try {
    return document.toJS()
  } catch (error) {
    throw new Rejected(ROOT, `is not YAML: ${(error as Error).message}`)
  }
}

/** The field that a dotted path ends in; null and absent are one. Throws Rejected where it is of another type. */
function typed<T extends 'string' | 'boolean'>(
  given: Given,
  path: string,
  type: T,
  wanted: string,
): (T extends 'string' ? string : boolean) | undefined {
  const value = given[path.slice(path.lastIndexOf('.') + 1)] ?? undefined
  if (value !== undefined && typeof value !== type) throw new Rejected(`${ROOT}.${path}`, `must be ${wanted}`)
  return value as (T extends 'string' ? string : boolean) | undefined
}

function text(given: Given, path: string, form?: RegExp): string | undefined {
  const value = typed(given, path, 'string', 'a string')
  if (value !== undefined && form?.test(value) === false) throw new Rejected(`${ROOT}.${path}`, `must match ${form}`)
  return value
}

function choice<T extends string>(given: Given, path: string, choices: readonly T[]): T | undefined {
  const value = typed(given, path, 'string', 'a string')
  const found = choices.find((one) => one === value)
  if (value !== undefined && found === undefined) {
    throw new Rejected(`${ROOT}.${path}`, `must be one of ${choices.join(', ')}`)
  }
  return found
}

function list(given: Given, path: string): readonly unknown[] | undefined {
  const value = given[path] ?? undefined
  if (value !== undefined && !Array.isArray(value)) throw new Rejected(`${ROOT}.${path}`, 'must be a list')
  return value
}

function texts(given: Given, path: string): readonly string[] | undefined {
  const entries = list(given, path)
  const bad = entries?.findIndex((entry) => typeof entry !== 'string' || !TRUST_DOMAIN.test(entry)) ?? -1
  if (bad >= 0) throw new Rejected(`${ROOT}.${path}[${bad}]`, 'must be a trust domain')
  return entries as readonly string[] | undefined
}

function object(given: Given, path: string): Given {
  const value = given[path] ?? {}
  if (!isObject(value)) throw new Rejected(`${ROOT}.${path}`, 'must be a mapping')
  return value
}

function isObject(value: unknown): value is Given {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
