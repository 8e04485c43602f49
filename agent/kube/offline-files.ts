// Manifests as they stand in files: YAML or JSON, several documents, lists; each object knows where it was written.

import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type ParsedNode,
} from 'yaml'
import type { KubeObject } from './object.ts'

/** An object that was given, and where it stands; null: it is the cluster's. */
export interface Manifest {
  readonly object: GivenObject
  readonly source: Source | null
}

/** An object that says what it is. */
export type GivenObject = KubeObject & { readonly apiVersion: string; readonly kind: string }

/** A place in a file. */
export interface Source {
  readonly file: string
  /** Line, from 1, of a field (`spec.http[0].route`), or of what of its path is there. */
  readonly lineOf: (field: string) => number
}

/** What of a file cannot be read. */
export interface Unreadable {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly reason: string
}

export interface Manifests {
  readonly manifests: readonly Manifest[]
  readonly unreadable: readonly Unreadable[]
}

/** A file's name, for people, and what is in it. */
export interface Text {
  readonly file: string
  readonly text: string
}

const ENDINGS: readonly string[] = ['.yaml', '.yml', '.json']
/** What all files together may have. */
const FILES_MOST = 10_000
const BYTES_MOST = 64 * 1024 * 1024
/** How standard input is asked for, and called. */
const STANDARD_INPUT = '-'

/**
 * Reads what is named: files; folders, of which the YAML and JSON files at any depth but hidden ones are read, in order of
 * their names; `-` for standard input. Throws where one is not there, or where it is too much.
 */
export async function readTexts(paths: readonly string[], input: AsyncIterable<Uint8Array>): Promise<readonly Text[]> {
  const texts: Text[] = []
  let bytes = 0
  const take = (file: string, read: Buffer): void => {
    bytes += read.length
    if (texts.length === FILES_MOST) throw new Error(`${paths.join(', ')}: more than ${FILES_MOST} files`)
    if (bytes > BYTES_MOST) throw new Error(`${file}: all files together have more than ${BYTES_MOST} bytes`)
    texts.push({ file, text: read.toString('utf8') })
  }
  for (const path of paths) {
    if (path === STANDARD_INPUT) take('standard input', await readAll(input))
    else for (const file of await filesOf(path)) take(file, await readSome(file))
  }
  return texts
}

async function filesOf(path: string): Promise<readonly string[]> {
  const found = await stat(path).catch(() => null)
  if (found === null) throw new Error(`${path}: there is no such file or folder`)
  if (!found.isDirectory()) return [path]
  const files: string[] = []
  for (const entry of (await readdir(path, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue
    if (entry.isDirectory()) files.push(...(await filesOf(join(path, entry.name))))
    else if (ENDINGS.includes(extname(entry.name).toLowerCase())) files.push(join(path, entry.name))
    if (files.length > FILES_MOST) throw new Error(`${path}: has more than ${FILES_MOST} files`)
  }
  return files
}

/** A file, but none of a size that it cannot have. */
async function readSome(file: string): Promise<Buffer> {
  const { size } = await stat(file)
  if (size > BYTES_MOST) throw new Error(`${file}: has more than ${BYTES_MOST} bytes`)
  return readFile(file)
}

async function readAll(input: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of input) {
    bytes += chunk.length
    if (bytes > BYTES_MOST) throw new Error(`standard input: has more than ${BYTES_MOST} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Kinds that are of no namespace, of those that are looked at. */
const CLUSTER_WIDE: ReadonlySet<string> = new Set(['Namespace', 'GatewayClass'])

/** The objects of a text. Those that name no namespace are of `namespace`; empty documents are passed over. */
export function parseManifests({ file, text }: Text, namespace: string): Manifests {
  const lines = new LineCounter()
  const manifests: Manifest[] = []
  const unreadable: Unreadable[] = []
  for (const document of [...parseAllDocuments(text, { lineCounter: lines })] as Document.Parsed[]) {
    const [error] = document.errors
    if (error !== undefined) {
      const line = error.linePos?.[0].line ?? 1
      unreadable.push({ file, line, reason: error.message.split('\n', 1)[0] ?? '' })
      continue
    }
    const root = document.contents
    if (root === null || (isScalar(root) && root.value === null)) continue
    for (const node of objectsIn(root)) {
      const lineOf = (field: string): number => lines.linePos(offsetOf(document, node, field)).line
      const given = objectOf(document, node, namespace)
      if (typeof given === 'string') unreadable.push({ file, line: lineOf(''), reason: given })
      else manifests.push({ object: given, source: { file, lineOf } })
    }
  }
  return { manifests, unreadable }
}

/** The object itself, or the items of a list. */
function objectsIn(root: ParsedNode): readonly ParsedNode[] {
  if (!isMap(root)) return [root]
  const kind: unknown = root.get('kind')
  const items: unknown = root.get('items', true)
  return typeof kind === 'string' && kind.endsWith('List') && isSeq(items) ? (items.items as ParsedNode[]) : [root]
}

/** An object with what every object of a cluster has, or why it is none. */
function objectOf(document: Document.Parsed, node: ParsedNode, namespace: string): GivenObject | string {
  let value: unknown
  try {
    value = node.toJS(document)
  } catch (error) {
    return error instanceof Error ? error.message : String(error) // aliases that unfold to too much
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'is no object'
  const { apiVersion, kind, metadata } = value as Partial<Record<string, unknown>>
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return 'says no apiVersion or no kind'
  const given = (typeof metadata === 'object' ? metadata : null) as Partial<Record<string, unknown>> | null
  const name = given?.['name'] ?? given?.['generateName']
  if (typeof name !== 'string' || name === '') return `${kind} without metadata.name`
  const own = given?.['namespace'] ?? namespace
  if (typeof own !== 'string') return `${kind} ${name}: metadata.namespace is no text`
  const place = CLUSTER_WIDE.has(kind) ? {} : { namespace: own }
  const { labels, annotations } = given ?? {}
  const texts = { labels: textsOf(labels), annotations: textsOf(annotations) }
  const uid = `${kind}/${CLUSTER_WIDE.has(kind) ? '' : own}/${name}`
  return { ...value, apiVersion, kind, metadata: { ...given, ...texts, name, ...place, uid, resourceVersion: '' } }
}

/** Labels and annotations; what is no text counts as the API server would read it in YAML: not at all. */
function textsOf(given: unknown): Readonly<Record<string, string>> {
  if (typeof given !== 'object' || given === null) return {}
  const texts = Object.entries(given).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return Object.fromEntries(texts)
}

/** Where a field begins; where it is not there, what of its path is. */
function offsetOf(document: Document.Parsed, root: ParsedNode, field: string): number {
  const steps = field.split(/[.[\]]/).filter((step) => step !== '')
  let node: Node | null = root
  let offset = root.range[0]
  for (let at = 0; at < steps.length && node !== null;) {
    const next: Step | null = stepInto(node, steps.slice(at))
    if (next === null) break
    offset = next.offset
    at += next.steps
    node = isAlias(next.node) ? (next.node.resolve(document) ?? null) : next.node
  }
  return offset
}

interface Step {
  readonly offset: number
  readonly node: Node | null
  /** So many steps of the path it is: a key may have dots in it. */
  readonly steps: number
}

function stepInto(node: Node, steps: readonly string[]): Step | null {
  if (isSeq(node)) {
    const item = node.items[Number(steps[0])] as Node | undefined
    return item?.range ? { offset: item.range[0], node: item, steps: 1 } : null
  }
  if (!isMap(node)) return null
  for (let count = 1; count <= steps.length; count++) {
    const name = steps.slice(0, count).join('.')
    const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === name)
    const key = pair?.key as Node | undefined
    if (pair && key?.range) return { offset: key.range[0], node: pair.value as Node | null, steps: count }
  }
  return null
}
