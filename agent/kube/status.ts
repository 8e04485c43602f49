// Writes Weft's conditions into the status of an object, and leaves what others wrote there.
//
// A merge patch replaces a list whole, so it names the resourceVersion whose list it was made from: where another wrote
// meanwhile the API refuses, and the list is made anew. Server-side apply would not do: Istio's CRDs declare `conditions`
// an atomic list, which has one owner.

import { conditionsOf, conditionsWith } from '../model/condition.ts'
import type { Statement } from '../model/verdict.ts'
import { type KubeClient, KubeError } from './client.ts'
import type { KubeObject } from './object.ts'

/** How often a list is made anew because another writer was faster. */
const TRIES = 4

/**
 * `written`: the object as it stands then. `same`: nothing was to be written. `gone`: there is no such object any more, or
 * it has changed since it was judged. `no status`: the kind has no status subresource.
 */
export type Written =
  { readonly kind: 'written'; readonly object: KubeObject } | { readonly kind: 'same' | 'gone' | 'no status' }

export interface Write {
  readonly object: KubeObject
  readonly path: string
  readonly statements: readonly Statement[]
}

/** Asked before each request, which may take so long in milliseconds. Throws where none may be made any more. */
export type Permission = () => number

/** Brings the conditions of an object up to date. Throws KubeError, and what `may` throws. */
export async function writeConditions(client: KubeClient, write: Write, may: Permission): Promise<Written> {
  const { path, statements } = write
  const { uid, generation = 0 } = write.object.metadata
  let object = write.object
  for (let tries = 0; ; tries++) {
    const writing = { generation, now: rfc3339() }
    const conditions = conditionsWith(conditionsOf(object.status), statements, writing)
    if (conditions === null) return { kind: 'same' }
    const { resourceVersion } = object.metadata
    try {
      const body = { metadata: { uid, resourceVersion }, status: { conditions } }
      return { kind: 'written', object: (await client.patch(`${path}/status`, body, may())) as KubeObject }
    } catch (error) {
      const status = error instanceof KubeError ? error.status : 0
      if (status !== 409 && status !== 404 && status !== 405) throw error
      if (status === 409 && tries + 1 === TRIES) throw error
      const standing = await read(client, path, may())
      const isGone =
        standing === null || standing.metadata.uid !== uid || (standing.metadata.generation ?? 0) !== generation
      if (isGone) return { kind: 'gone' }
      if (status !== 409) return { kind: 'no status' } // the object is there, its /status is not
      object = standing
    }
  }
}

async function read(client: KubeClient, path: string, withinMs: number): Promise<KubeObject | null> {
  try {
    return (await client.get(path, withinMs)) as KubeObject
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return null
    throw error
  }
}

/** The time of day as a metav1.Time: whole seconds. */
function rfc3339(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z')
}
