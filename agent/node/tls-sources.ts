// Where certificates, keys and roots of TLS that rules ask for are found: files of one folder of the node, and Secrets. Each
// is followed only while somebody wants it.

import { readFileSync, statSync } from 'node:fs'
import { resolve, sep } from 'node:path'
import type { SecretListener } from '../kube/secret.ts'

/** A text, or why there is none. `isPending`: it may come any moment, and nothing is wrong yet. */
export type Found = { readonly text: string } | { readonly why: string; readonly isPending?: true }

/** A longer one is no certificate, key or set of roots. */
const FILE_BYTES_MOST = 1024 * 1024

/** Files of one folder. */
export class TlsFiles {
  readonly #folder: string
  readonly #known = new Map<string, { readonly stamp: string; readonly found: Found }>()

  constructor(folder: string) {
    this.#folder = resolve(folder)
  }

  /** The text of a file, by its path or its place in the folder, or in one `within` it; read again once it is another. */
  find(path: string, within = ''): Found {
    const folder = resolve(this.#folder, within)
    const full = resolve(folder, path)
    if (!full.startsWith(folder + sep)) return { why: `is not in ${folder} (--client-tls-root)` }
    const stamp = stampOf(full)
    const known = this.#known.get(full)
    if (known?.stamp === stamp) return known.found
    const found = read(full)
    this.#known.set(full, { stamp, found })
    return found
  }

  /** Forgets all files but these, each with the folder within. */
  keepOnly(files: readonly (readonly [path: string, within: string])[]): void {
    const full = new Set(files.map(([path, within]) => resolve(this.#folder, within, path)))
    for (const path of this.#known.keys()) if (!full.has(path)) this.#known.delete(path)
  }
}

/** What is another where the file is; links are followed, for a mounted Secret is changed by one. */
function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false, bigint: true })
  return stat === undefined ? '' : `${stat.dev} ${stat.ino} ${stat.mtimeNs} ${stat.size}`
}

function read(path: string): Found {
  try {
    const stat = statSync(path)
    if (!stat.isFile()) return { why: 'is no file' }
    if (stat.size > FILE_BYTES_MOST) return { why: `is longer than ${FILE_BYTES_MOST} bytes` }
    return { text: readFileSync(path, 'utf8') }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { why: `cannot be read: ${code ?? message}` }
  }
}

export interface SecretName {
  readonly namespace: string
  readonly name: string
}

/** Follows a Secret until it is stopped. */
export type FollowSecret = (at: SecretName, on: SecretListener) => { stop(): void }

/** What is known of a Secret. */
type Texts = { readonly texts: Readonly<Record<string, string>> | null } | { readonly lost: string | null }

/** Keys by which a certificate, its key and roots are found: those of kubernetes.io/tls, then Istio's generic ones. */
const KEYS = { certificate: ['tls.crt', 'cert'], key: ['tls.key', 'key'], roots: ['ca.crt', 'cacert'] } as const
/** Behind a Secret's name: the one with its roots, where they are kept apart. */
const ROOTS_APART = '-cacert'

/** Secrets by name, each with the one that holds its roots. */
export class TlsSecrets {
  readonly #follow: FollowSecret
  readonly #changed: () => void
  readonly #followed = new Map<string, { known: Texts; stop: () => void }>()

  /** `changed` hears whenever a text of one is another. */
  constructor(follow: FollowSecret, changed: () => void) {
    this.#follow = follow
    this.#changed = changed
  }

  /** One of the texts of a Secret that is followed. */
  find({ namespace, name }: SecretName, part: keyof typeof KEYS): Found {
    const own = this.#part(namespace, name, part)
    if (part !== 'roots') return own
    const apart = this.#part(namespace, name + ROOTS_APART, part)
    if ('text' in apart) return apart
    if ('text' in own || !('isPending' in apart)) return own
    return apart
  }

  /** Follows these, and no others. */
  keepOnly(names: Iterable<SecretName>): void {
    const wanted = new Map<string, SecretName>()
    for (const { namespace, name } of names) {
      for (const each of [name, name + ROOTS_APART]) wanted.set(`${namespace}/${each}`, { namespace, name: each })
    }
    for (const [key, followed] of this.#followed) {
      if (wanted.has(key)) continue
      followed.stop()
      this.#followed.delete(key)
    }
    for (const [key, at] of wanted) if (!this.#followed.has(key)) this.#begin(key, at)
  }

  #begin(key: string, at: SecretName): void {
    const followed: { known: Texts; stop: () => void } = { known: { lost: null }, stop: () => undefined }
    this.#followed.set(key, followed)
    const take = (known: Texts): void => {
      if (this.#followed.get(key) !== followed) return // it was stopped
      followed.known = known
      this.#changed()
    }
    const following = this.#follow(at, {
      read: (texts) => take({ texts }),
      lost: (lost) => {
        const { known } = followed
        if ('lost' in known && known.lost !== lost) take({ lost }) // what was read once stays
      },
    })
    followed.stop = () => following.stop()
  }

  #part(namespace: string, name: string, part: keyof typeof KEYS): Found {
    const what = `Secret ${namespace}/${name}`
    const known = this.#followed.get(`${namespace}/${name}`)?.known ?? { lost: null }
    if ('lost' in known) {
      if (known.lost === null) return { why: `${what} has not been read yet`, isPending: true }
      return { why: `${what} cannot be read: ${known.lost}` }
    }
    if (known.texts === null) return { why: `there is no ${what}` }
    const [first, second] = KEYS[part]
    const text = known.texts[first] ?? known.texts[second]
    return text === undefined ? { why: `${what} has no ${first}` } : { text }
  }
}
