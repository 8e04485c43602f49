// What a caller's connection is told of where it came in, and who serves the requests that it brings.

import type { PathNormalization } from '../../model/mesh-settings.ts'
import type { MeshError } from '../../model/failure.ts'
import type { Exchange } from '../exchange.ts'
import type { HeadLimits } from './scan.ts'

/** Who serves a connection's requests. Called amid an event of the channel: neither may throw. */
export interface Requests {
  /** Serves a request to its end, and then has Http1Caller.next() read another. */
  serve(exchange: Exchange): void
  /**
   * No other request comes. `reason`: BAD_REQUEST, HEAD_TOO_LARGE and the like, which have been answered; CALLER_RESET where
   * it broke off within a head; null where the caller is done.
   */
  finished(reason: MeshError | null): void
}

/** Where the connection came in, for what requests must be told. */
export interface CallerOptions {
  /** Port the caller dialled. */
  readonly port: number
  /** Authority of a request that names none, as HTTP/1.0 may. */
  readonly authority: string
  /** Makes a request id. */
  requestId(): string
  readonly limits: HeadLimits
  /** What of a path is made plain before anything looks at it. */
  readonly pathNormalization: PathNormalization
  /** Whether the node is draining: then each response is a connection's last. */
  readonly lastResponse: boolean
}
