// Istio's PeerAuthentication, as the mesh's own.

import { PeerAuthentication as Schema } from '@kubernetes-models/istio/security.istio.io/v1/PeerAuthentication'
import type { PeerAuthentication } from '../model/peer-authentication.ts'
import type { Problem } from '../model/policy.ts'
import { parsePort } from '../model/terms.ts'
import { type Shape, unhonoured } from './honoured.ts'
import type { PeerAuthenticationSpec } from './istio.ts'
import type { KubeObject } from './object.ts'
import { asWished, attempt, createdMs, demandValid, refOf, type Translation, withoutNulls } from './translate.ts'

const HONOURED: Shape = {
  selector: { matchLabels: true },
  mtls: { mode: true },
  portLevelMtls: { '*': { mode: true } },
}

/**
 * Translates a PeerAuthentication of any served version (their schemas are one). What of it cannot be meant is named, and
 * the rest is in force: a slip in one port must not open all others.
 */
export function translatePeerAuthentication(given: KubeObject): Translation<PeerAuthentication> {
  const ref = refOf('PeerAuthentication', given)
  return attempt(ref, () => {
    const object = withoutNulls(given)
    demandValid(new Schema(asWished(object)))
    const spec = (object.spec ?? {}) as PeerAuthenticationSpec
    const labels = spec.selector?.matchLabels ?? {}
    const selector = Object.keys(labels).length === 0 ? null : labels // no label to carry: all of the namespace
    const { ports, lacks } = portsOf(spec, selector !== null)
    const problems = unhonoured(spec, HONOURED, 'spec').map((lack) => ({ object: ref, ...lack }))
    return {
      rejected: false,
      problems: [...problems, ...lacks.map((lack) => ({ object: ref, ...lack }))],
      value: { ref, createdMs: createdMs(object), selector, mode: spec.mtls?.mode ?? 'UNSET', ports },
    }
  })
}

/** What is said of single ports, and what of that counts for nothing. */
function portsOf(
  { portLevelMtls = {} }: PeerAuthenticationSpec,
  hasSelector: boolean,
): { readonly ports: PeerAuthentication['ports']; readonly lacks: readonly Omit<Problem, 'object'>[] } {
  const entries = Object.entries(portLevelMtls)
  if (!hasSelector && entries.length > 0) {
    return { ports: [], lacks: [{ field: 'spec.portLevelMtls', reason: 'is honoured beside a selector alone' }] }
  }
  const ports = entries.flatMap(([text, { mode = 'UNSET' }]) => {
    const port = parsePort(text)
    return port === null ? [] : [{ port, mode }]
  })
  const lacks = entries
    .filter(([text]) => parsePort(text) === null)
    .map(([text]) => ({ field: `spec.portLevelMtls.${text}`, reason: 'is not a port from 1 to 65535' }))
  return { ports, lacks }
}
