// Which of our programs stands in for a published image, as lab/images.yaml says.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

/** What a container of this image runs. As with Kubernetes, the container's own command and args take the place of these. */
export interface StandIn {
  /** The image's entrypoint; may be empty, then `args` is the whole command. */
  readonly command: readonly string[]
  /** The image's arguments, used when the container names neither command nor args. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

interface Entry {
  readonly match: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** What a placeholder at the beginning of a word stands for. */
const FOLDERS: Readonly<Record<string, string>> = {
  '<APPS>': fileURLToPath(new URL('.', import.meta.url)).replace(/\/$/, ''),
  '<PROJECT>': fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, ''),
}
const FILE = fileURLToPath(new URL('../images.yaml', import.meta.url))

let known: readonly Entry[] | null = null

/** The stand-in for an image reference, with absolute paths; null where lab/images.yaml has none. Pure but for one read. */
export function resolveImage(image: string): StandIn | null {
  known ??= entriesOf(readFileSync(FILE, 'utf8'))
  const name = imageName(image)
  const entry = known.find(({ match }) => matches(match, name))
  if (!entry) return null
  return { command: absolute(entry.command ?? []), args: absolute(entry.args ?? []), env: entry.env ?? {} }
}

/** `docker.io/istio/tcp-echo-server:1.3@sha256:…` → `istio/tcp-echo-server`: no registry, tag or digest. */
export function imageName(image: string): string {
  const [undigested = ''] = image.split('@', 1)
  const parts = undigested.split('/')
  const first = parts[0] ?? ''
  // Docker's rule: the first part is a registry if it looks like a host, and there is more than one part.
  if (parts.length > 1 && (first.includes('.') || first.includes(':') || first === 'localhost')) parts.shift()
  const last = parts.pop() ?? ''
  return [...parts, last.replace(/:.*$/, '')].join('/')
}

function matches(match: string, name: string): boolean {
  return match.startsWith('*/') ? `/${name}`.endsWith(match.slice(1)) : name === match
}

function entriesOf(text: string): readonly Entry[] {
  const entries = (parse(text) as { images?: unknown } | null)?.images
  if (!Array.isArray(entries)) throw new Error(`${FILE}: no list of images`)
  for (const entry of entries as Partial<Entry>[]) {
    if (typeof entry.match !== 'string' || !(entry.command ?? entry.args)) {
      throw new Error(`${FILE}: each image needs match, and command or args`)
    }
  }
  return entries as Entry[]
}

function absolute(words: readonly string[]): string[] {
  return words.map((word, at) => (at === 0 && word === 'node' ? process.execPath : placed(word)))
}

/** A program of the project, under the name that it has where this runs: TypeScript in a clone, JavaScript in a build. */
function placed(word: string): string {
  const [mark, folder] = Object.entries(FOLDERS).find(([each]) => word.startsWith(each)) ?? []
  if (mark === undefined || folder === undefined) return word
  const path = word.replace(mark, folder)
  return import.meta.url.endsWith('.ts') ? path : path.replace(/\.ts$/, '.js')
}
