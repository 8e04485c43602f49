// Reads manifests and applies them through the API as kubectl does: create, or patch by what was applied last.
import { readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseAllDocuments } from 'yaml'
import { type Api, ApiError } from '../node/api.ts'
import { Refusal } from './machine.ts'

export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly [field: string]: unknown
}

/** kubectl's own record of what was applied, so that a later `kubectl apply` goes on from it. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration'
/** A kind that a manifest before it defines may take this long to be served. */
const KIND_WAIT_MS = 5_000
const KIND_POLL_MS = 100

/** Reads all objects of files and folders (their .yaml, .yml and .json, by name). Throws a Refusal naming the file. */
export async function readManifests(paths: readonly string[]): Promise<Manifest[]> {
  const found: Manifest[] = []
  for (const path of paths) {
    for (const file of await filesOf(path)) found.push(...parseManifests(await readFile(file, 'utf8'), file))
  }
  return found.toSorted((a, b) => rank(a) - rank(b))
}

/** What others need to exist goes first; the rest keeps its order. */
const rank = ({ kind }: Manifest): number => (kind === 'Namespace' ? 0 : kind === 'CustomResourceDefinition' ? 1 : 2)

async function filesOf(path: string): Promise<string[]> {
  const found = await stat(path).catch(() => {
    throw new Refusal(`there is no file ${path}`)
  })
  if (!found.isDirectory()) return [path]
  const names = await readdir(path)
  return names
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .toSorted()
    .map((name) => join(path, name))
}

/** The objects of one text of YAML documents; lists are taken apart. Throws a Refusal naming `file` and what is wrong. */
export function parseManifests(text: string, file: string): Manifest[] {
  const found: Manifest[] = []
  for (const document of parseAllDocuments(text)) {
    const [error] = document.errors
    if (error) throw new Refusal(`${file}: ${error.message}`)
    const value: unknown = document.toJS()
    if (value !== null) found.push(...objectsIn(value, file))
  }
  return found
}

function objectsIn(value: unknown, file: string): Manifest[] {
  const object = value as Partial<Manifest> & { items?: unknown[] }
  if (typeof object !== 'object' || typeof object.apiVersion !== 'string' || typeof object.kind !== 'string') {
    throw new Refusal(`${file}: an object without apiVersion and kind`)
  }
  if (object.kind.endsWith('List') && Array.isArray(object.items)) {
    return object.items.flatMap((item) => objectsIn(item, file))
  }
  if (typeof object.metadata?.name !== 'string') throw new Refusal(`${file}: ${object.kind} without metadata.name`)
  return [object as Manifest]
}

interface Kind {
  readonly path: string
  readonly namespaced: boolean
}

/** Applies objects one after the other. `tell` hears `kind/name` and what became of it. Throws a Refusal with the server's words. */
export async function applyManifests(
  api: Api,
  manifests: readonly Manifest[],
  tell: (object: string, outcome: 'created' | 'configured') => void,
): Promise<void> {
  const kinds = new Map<string, Kind>()
  for (const manifest of manifests) {
    const label = `${manifest.kind.toLowerCase()}/${manifest.metadata.name}`
    try {
      tell(label, await applyOne(api, manifest, await kindOf(api, manifest, kinds)))
    } catch (error) {
      throw new Refusal(`${label}: ${(error as Error).message}`, { cause: error })
    }
  }
}

async function kindOf(api: Api, { apiVersion, kind }: Manifest, known: Map<string, Kind>): Promise<Kind> {
  const key = `${apiVersion}/${kind}`
  const deadline = Date.now() + KIND_WAIT_MS
  for (;;) {
    const found = known.get(key)
    if (found) return found
    const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
    const served = await resourcesOf(api, group)
    for (const { name, kind: own, namespaced } of served) {
      if (!name.includes('/')) known.set(`${apiVersion}/${own}`, { path: `${group}|${name}`, namespaced })
    }
    if (known.has(key)) continue
    if (Date.now() > deadline) throw new Error(`no kind "${kind}" in version "${apiVersion}"`)
    await sleep(KIND_POLL_MS)
  }
}

async function resourcesOf(api: Api, group: string): Promise<{ name: string; kind: string; namespaced: boolean }[]> {
  try {
    return (await api.get<{ resources: { name: string; kind: string; namespaced: boolean }[] }>(group)).resources
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return []
    throw error
  }
}

async function applyOne(api: Api, manifest: Manifest, kind: Kind): Promise<'created' | 'configured'> {
  const [group = '', plural = ''] = kind.path.split('|')
  const namespace = manifest.metadata.namespace ?? 'default'
  const collection = kind.namespaced ? `${group}/namespaces/${namespace}/${plural}` : `${group}/${plural}`
  const annotations = { ...manifest.metadata.annotations, [LAST_APPLIED]: `${JSON.stringify(manifest)}\n` }
  const wanted = { ...manifest, metadata: { ...manifest.metadata, annotations } }
  try {
    await api.create(collection, wanted)
    return 'created'
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 409)) throw error
  }
  const path = `${collection}/${manifest.metadata.name}`
  const current = await api.get<Manifest>(path)
  const last = JSON.parse(current.metadata.annotations?.[LAST_APPLIED] ?? '{}') as Json
  await api.patch(path, mergePatch(last, wanted as Json))
  return 'configured'
}

type Json = { readonly [key: string]: unknown }
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A merge patch (RFC 7386) that sets all of `wanted` and removes what `last` had beyond it. Pure. */
export function mergePatch(last: Json, wanted: Json): Json {
  const patch: Record<string, unknown> = { ...wanted }
  for (const [key, before] of Object.entries(last)) {
    const now = wanted[key]
    if (!Object.hasOwn(wanted, key)) patch[key] = null
    else if (isObject(before) && isObject(now)) patch[key] = mergePatch(before, now)
  }
  return patch
}
