// The roots of the mesh, as a ConfigMap tells them: the controller writes it, agents follow it.

import { readRoots } from '../identity/roots.ts'
import type { KubeClient } from '../kube/client.ts'
import { builtIn } from '../kube/kinds.ts'
import type { KubeObject } from '../kube/object.ts'
import { type ObjectChange, Reflector, type ReflectorLog, type ReflectorSource } from '../kube/reflector.ts'

/** Name of the ConfigMap, and its key: PEM, the root by which is signed now first. */
export const ROOTS = 'weft-roots'
export const ROOTS_KEY = 'roots.pem'
/** Fingerprint of the root in it that agents may not all have yet. */
export const SETTLING = 'weft.dev/settling-root'

/** v1 ConfigMap. */
export interface RootsMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>
}

export const configMapsPath = (namespace: string): string => `/api/v1/namespaces/${namespace}/configmaps`

/** The one ConfigMap. */
export function rootsSource(namespace: string, more: Partial<ReflectorSource> = {}): ReflectorSource {
  return builtIn('roots', configMapsPath(namespace), { query: { fieldSelector: `metadata.name=${ROOTS}` }, ...more })
}

/** Follows the roots of the mesh. What cannot be read, and a ConfigMap that goes, leaves the last good ones in force. */
export class Roots {
  readonly #reflector: Reflector<RootsMap>
  readonly #on: { readonly change: (pem: string) => void; readonly log: ReflectorLog }
  #pem: string | null = null
  #trouble: string | null = null

  /** `on.change` hears of each text that is in force from now on. */
  constructor(
    client: KubeClient,
    namespace: string,
    on: { readonly change: (pem: string) => void; readonly log: ReflectorLog },
  ) {
    this.#on = on
    const change = (changes: readonly ObjectChange<RootsMap>[]): void => this.#take(changes.at(-1)?.after ?? null)
    this.#reflector = new Reflector(rootsSource(namespace), client, { change, log: on.log })
  }

  /** Resolves when the ConfigMap was looked for once; it may come later. */
  async start(): Promise<void> {
    void this.#reflector.run() // never throws: it logs and tries again
    await this.#reflector.synced
  }

  stop(): void {
    this.#reflector.stop()
  }

  /** The roots in force, or null where there never were any. */
  pem(): string | null {
    return this.#pem
  }

  /** Why the roots in force are not those of the ConfigMap as it stands, or null. */
  trouble(): string | null {
    return this.#trouble
  }

  #take(map: RootsMap | null): void {
    this.#trouble = this.#read(map)
    if (this.#trouble !== null)
      this.#on.log.warn({ reason: this.#trouble, kept: this.#pem !== null }, 'no roots to take')
  }

  /** Takes the roots over. Gives the reason where it cannot. */
  #read(map: RootsMap | null): string | null {
    if (map === null) return `ConfigMap ${ROOTS} is gone`
    const pem = map.data?.[ROOTS_KEY] ?? ''
    try {
      if (readRoots(pem).length === 0) return `ConfigMap ${ROOTS}: data["${ROOTS_KEY}"] holds no root`
    } catch (error) {
      return `ConfigMap ${ROOTS}: data["${ROOTS_KEY}"] ${(error as Error).message}`
    }
    if (pem === this.#pem) return null
    this.#pem = pem
    this.#on.change(pem)
    return null
  }
}
