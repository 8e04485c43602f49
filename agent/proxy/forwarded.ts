// What an application is told of who calls it: x-forwarded-client-cert, as Envoy writes it. What came under that name is
// never passed on.

import { type Caller, principalOf } from '../model/identity.ts'
import type { MeshSettings } from '../model/mesh-settings.ts'

interface Written {
  readonly by: string | null
  readonly text: string | null
}

/** A caller is one object for as long as its connection lives, and mostly calls one callee. */
const WRITTEN = new WeakMap<Caller, Written>()

/**
 * The value for a request of `caller` to the application of `by`: whose certificate it showed, where it is of another node.
 * Null where nothing is proved of it.
 */
export function forwardedFor(caller: Caller, by: string | null, mesh: MeshSettings): string | null {
  if (caller.kind === 'unproven') return null
  let written = WRITTEN.get(caller)
  if (written?.by !== by) WRITTEN.set(caller, (written = { by, text: textOf(caller, by, mesh) }))
  return written.text
}

function textOf(caller: Caller, by: string | null, mesh: MeshSettings): string | null {
  const uri = principalOf(caller, mesh)
  if (uri === null) return null
  const hash = caller.kind === 'peer' ? `Hash=${caller.certificate};Subject="";` : ''
  return `${by === null ? '' : `By=${by};`}${hash}URI=${uri}`
}
