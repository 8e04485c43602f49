// ConfigMap `weft` of the mesh's root namespace → MeshSettings. Its key `mesh` holds YAML with the field names of Istio's
// meshConfig; what has no effect here is said of it, field by field.

import { parseDocument } from 'yaml'
import { DEFAULT_MESH_SETTINGS, type MeshSettings } from '../model/mesh-settings.ts'
import type { Problem } from '../model/policy.ts'
import type { KubeObject } from './object.ts'
import { refOf, Rejected, type Translation } from './translate.ts'

/** Name of the ConfigMap, and of its key. */
export const MESH_CONFIG = 'weft'
const KEY = 'mesh'

const STANDARD_OUTPUT = '/dev/stdout'
const NO_EFFECT = 'is understood and has no effect in this version'

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>
}

/** A field's part of the settings, or why it has none. Throws Rejected where its value cannot be meant. */
type Reading = (value: unknown, field: string) => Partial<MeshSettings> | string

const READINGS: Readonly<Record<string, Reading>> = {
  outboundTrafficPolicy: (value, field) => {
    const mode = objectOf(value, field)['mode'] ?? 'ALLOW_ANY'
    if (mode === 'ALLOW_ANY' || mode === 'REGISTRY_ONLY') return { outboundTrafficPolicy: mode }
    throw new Rejected(`${field}.mode`, 'must be ALLOW_ANY or REGISTRY_ONLY')
  },
  accessLogFile: (value, field) => {
    const file = textOf(value, field)
    if (file === '' || file === STANDARD_OUTPUT) return { accessLog: file !== '' }
    return `records go to ${STANDARD_OUTPUT} alone`
  },
  accessLogEncoding: (value, field) => (textOf(value, field) === 'JSON' ? {} : 'records are JSON'),
  accessLogFormat: (value, field) => (textOf(value, field) === '' ? {} : NO_EFFECT),
  rootNamespace: (value, field) => {
    textOf(value, field)
    return 'is the setting --root-namespace of agents and controller'
  },
  enableTracing: (value) => (value === false ? {} : NO_EFFECT),
  trustDomain: () => NO_EFFECT,
  trustDomainAliases: () => NO_EFFECT,
  extensionProviders: () => NO_EFFECT,
  defaultProviders: () => NO_EFFECT,
}

/** Throws Rejected where the text is no YAML, or a field holds what cannot be meant. */
export function translateMeshSettings(object: KubeObject): Translation<MeshSettings> {
  const ref = refOf('ConfigMap', object)
  const problems: Problem[] = []
  let settings = DEFAULT_MESH_SETTINGS
  const { [KEY]: text = '', ...others } = (object as ConfigMap).data ?? {}
  for (const key of Object.keys(others))
    problems.push({ object: ref, field: `data.${key}`, reason: 'is not a key of it' })
  for (const [name, value] of Object.entries(fieldsOf(text))) {
    const field = `data.${KEY}.${name}`
    const reading = READINGS[name]
    const read = reading === undefined ? 'is not a field that is known here' : reading(value, field)
    if (typeof read === 'string') problems.push({ object: ref, field, reason: read })
    else settings = { ...settings, ...read }
  }
  return { value: settings, rejected: false, problems }
}

function fieldsOf(text: string): Record<string, unknown> {
  const document = parseDocument(text)
  const [error] = document.errors
  if (error !== undefined) throw new Rejected(`data.${KEY}`, `is no YAML: ${error.message.split('\n', 1)[0] ?? ''}`)
  const value = document.toJS() as unknown
  return value === null ? {} : objectOf(value, `data.${KEY}`)
}

function objectOf(value: unknown, field: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new Rejected(field, 'must be a mapping of fields')
}

function textOf(value: unknown, field: string): string {
  if (typeof value === 'string') return value
  throw new Rejected(field, 'must be text')
}
