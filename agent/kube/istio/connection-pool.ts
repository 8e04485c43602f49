// Bounds of what is under way to a host.

import type { ConnectionPool } from '../../model/traffic-policy.ts'
import type { GivenPool } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { countOrNone, duration, durationOrNone, optional, type Reading } from './checked.ts'

export function connectionPool({ tcp = {}, http = {} }: GivenPool, path: string, { report }: Reading): ConnectionPool {
  const { tcpKeepalive: keepalive } = tcp
  if (http.h2UpgradePolicy === 'UPGRADE') {
    if (http.useClientProtocol) throw new Rejected(`${path}.http.useClientProtocol`, 'must not stand beside UPGRADE')
    report(`${path}.http.h2UpgradePolicy`, 'UPGRADE is not honoured: HTTP/2 is not spoken to endpoints')
  }
  optional(http.maxConcurrentStreams, `${path}.http.maxConcurrentStreams`, countOrNone)
  demandKeepAlive(http.http2KeepAlive, `${path}.http.http2KeepAlive`)
  const count = (given: number | undefined, name: string): number | null => {
    return optional(given, `${path}.${name}`, countOrNone)
  }
  const atKeepalive = `${path}.tcp.tcpKeepalive`
  return {
    maxConnections: count(tcp.maxConnections, 'tcp.maxConnections'),
    connectTimeoutMs: optional(tcp.connectTimeout, `${path}.tcp.connectTimeout`, duration),
    keepalive:
      keepalive === undefined
        ? null
        : {
            probes: count(keepalive.probes, 'tcp.tcpKeepalive.probes'),
            timeMs: optional(keepalive.time, `${atKeepalive}.time`, duration),
            intervalMs: optional(keepalive.interval, `${atKeepalive}.interval`, duration),
          },
    idleMs: optional(tcp.idleTimeout, `${path}.tcp.idleTimeout`, durationOrNone),
    maxDurationMs: optional(tcp.maxConnectionDuration, `${path}.tcp.maxConnectionDuration`, duration),
    maxPending: count(http.http1MaxPendingRequests, 'http.http1MaxPendingRequests'),
    maxRequests: count(http.http2MaxRequests, 'http.http2MaxRequests'),
    maxPerConnection: count(http.maxRequestsPerConnection, 'http.maxRequestsPerConnection'),
    maxRetries: count(http.maxRetries, 'http.maxRetries'),
    httpIdleMs: optional(http.idleTimeout, `${path}.http.idleTimeout`, duration),
  }
}

/** It is not honoured, but what the CRD refuses is unsound all the same. */
function demandKeepAlive(given: unknown, path: string): void {
  if (typeof given !== 'object' || given === null) return
  const { interval, timeout } = given as { readonly interval?: unknown; readonly timeout?: unknown }
  optional(interval, `${path}.interval`, duration)
  optional(timeout, `${path}.timeout`, duration)
}
