// What a decision is made of: who calls, what stands at the callee's end, and the request as it arrives there.

import type { Token } from '../authentication/request-authentication.ts'
import type { RequestFacts } from '../http/match.ts'

/** Who calls, as far as it is proved. The same object for as long as the connection lives. */
export interface Source {
  /**
   * `TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, once for each name that the caller's trust domain has: its own, and where that is
   * the mesh's, the mesh's name, its aliases and `cluster.local`. Empty: nothing is proved.
   */
  readonly principals: readonly string[]
  readonly trustDomains: readonly string[]
  readonly namespace: string | null
  /** `NAMESPACE/ACCOUNT`. */
  readonly serviceAccount: string | null
  /** Of the connection's other end. */
  readonly ip: string
}

/** A request as it arrives at its callee: after all that rules changed in it on its way. */
export interface Arriving extends RequestFacts {
  /** Of whom it comes in the end, as trusted proxies tell; the connection's other end where there is none. */
  readonly remoteIp: string
  /** Those of its tokens that were found good, in the order of the rules that they are good by. */
  readonly tokens: readonly Token[]
}

/** All that a decision may look at. */
export interface Facts {
  readonly source: Source
  /** Where the callee's application listens. */
  readonly destination: { readonly ip: string; readonly port: number }
  /** Whom the TLS asks for that the connection begins with; null: nobody, or none was looked for. */
  readonly serverName: string | null
  /** Null of a connection whose bytes are not read. */
  readonly request: Arriving | null
}
