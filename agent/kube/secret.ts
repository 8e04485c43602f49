// One Secret, followed by its name. Nothing else of its namespace is read, and what it holds is told to nobody but the asker.

import type { KubeClient } from './client.ts'
import { builtIn } from './kinds.ts'
import { Reflector } from './reflector.ts'

/** What hears of a Secret. */
export interface SecretListener {
  /** Its texts by key, each time they are others; null: there is no such Secret. */
  readonly read: (texts: Readonly<Record<string, string>> | null) => void
  /** It cannot be read, for now. */
  readonly lost: (reason: string) => void
}

/** Follows a Secret until it is stopped. */
export function followSecret(
  client: KubeClient,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  on: SecretListener,
): { stop(): void } {
  const query = { fieldSelector: `metadata.name=${name}` }
  const source = builtIn(`secret ${namespace}/${name}`, `/api/v1/namespaces/${namespace}/secrets`, { query })
  const reflector = new Reflector(source, client, {
    change: (changes) => {
      const last = changes.at(-1)
      if (last !== undefined) on.read(last.after === null ? null : textsOf(last.after))
    },
    log: { warn: (fields) => on.lost(String((fields as { readonly reason?: string }).reason)) },
  })
  let isStopped = false
  void reflector.synced.then(() => {
    if (!isStopped && reflector.objects.size === 0) on.read(null) // a list that is empty is no change
  })
  void reflector.run() // never rejects: it tells and tries again
  return {
    stop: () => {
      isStopped = true
      reflector.stop()
    },
  }
}

function textsOf(secret: object): Readonly<Record<string, string>> {
  const { data = {} } = secret as { readonly data?: Readonly<Record<string, string>> }
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text, 'base64').toString()]))
}
