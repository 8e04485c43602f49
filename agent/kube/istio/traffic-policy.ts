// How to talk to endpoints: a DestinationRule's trafficPolicy, and that of its subsets and ports.

import { ipWords } from '../../model/address.ts'
import type { ClientTls, PortPolicy, RetryBudget, TrafficPolicy, Tunnel } from '../../model/traffic-policy.ts'
import type { ObjectRef } from '../../model/workload.ts'
import type { GivenPolicy, GivenPortPolicy } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { demandDomain, durationOrNone, optional, percent, port, type Reading } from './checked.ts'
import { clientTls } from './client-tls.ts'
import { connectionPool } from './connection-pool.ts'
import { loadBalancing } from './load-balancing.ts'
import { outlierDetection } from './outlier-detection.ts'

/** What a policy is read with: the object that says it, too. */
export interface PolicyReading extends Reading {
  readonly object: ObjectRef
}

export function trafficPolicy(given: GivenPolicy, path: string, reading: PolicyReading): TrafficPolicy {
  if (given.tunnel !== undefined && given.proxyProtocol !== undefined) {
    throw new Rejected(`${path}.proxyProtocol`, 'must not stand beside tunnel')
  }
  return {
    ...portPolicy(given, path, reading),
    retryBudget: optional(given.retryBudget, `${path}.retryBudget`, retryBudget),
    proxyProtocol: given.proxyProtocol === undefined ? null : given.proxyProtocol.version === 'V2' ? 2 : 1,
    tunnel: optional(given.tunnel, `${path}.tunnel`, (one, at) => tunnel(one, at, reading)),
    ports: portLevel(given.portLevelSettings ?? [], `${path}.portLevelSettings`, reading),
  }
}

function portPolicy(given: GivenPortPolicy, path: string, reading: PolicyReading): PortPolicy {
  const by = (field: string): ClientTls['by'] => ({ object: reading.object, field })
  return {
    balancing: optional(given.loadBalancer, `${path}.loadBalancer`, (one, at) => loadBalancing(one, at, reading)),
    pool: optional(given.connectionPool, `${path}.connectionPool`, (one, at) => connectionPool(one, at, reading)),
    outliers: optional(given.outlierDetection, `${path}.outlierDetection`, outlierDetection),
    tls: optional(given.tls, `${path}.tls`, (one, at) => clientTls(one, by(at), reading)),
  }
}

/** The settings by port. The first for a port counts, and those for none that is named by number count for nothing. */
function portLevel(
  given: NonNullable<GivenPolicy['portLevelSettings']>,
  path: string,
  reading: PolicyReading,
): TrafficPolicy['ports'] {
  const ports: (PortPolicy & { readonly port: number })[] = []
  given.forEach((entry, index) => {
    const at = `${path}[${index}]`
    const policy = portPolicy(entry, at, reading)
    const number = optional(entry.port?.number, `${at}.port.number`, port)
    if (number === null) reading.report(at, 'names no port by number')
    else if (ports.some((one) => one.port === number)) reading.report(at, `an earlier entry is for port ${number}`)
    else ports.push({ port: number, ...policy })
  })
  return ports
}

/** Istio's defaults. */
const BUDGET_PERCENT = 20
const BUDGET_LEAST = 3

function retryBudget(given: NonNullable<GivenPolicy['retryBudget']>, path: string): RetryBudget {
  return {
    percent: percent(given.percent ?? BUDGET_PERCENT, `${path}.percent`),
    minConcurrency: given.minRetryConcurrency ?? BUDGET_LEAST,
    intervalMs: optional(given.budgetInterval, `${path}.budgetInterval`, durationOrNone) ?? 0,
  }
}

function tunnel(given: NonNullable<GivenPolicy['tunnel']>, path: string, { report }: Reading): Tunnel | null {
  const { protocol = '', targetHost } = given
  if (!['', 'CONNECT', 'POST'].includes(protocol)) throw new Rejected(`${path}.protocol`, 'must be CONNECT or POST')
  if (ipWords(targetHost) === null) {
    demandDomain(targetHost, `${path}.targetHost`)
    if (targetHost.startsWith('*')) throw new Rejected(`${path}.targetHost`, 'must be one host')
  }
  const target = { host: targetHost.toLowerCase(), port: port(given.targetPort, `${path}.targetPort`) }
  if (protocol !== 'POST') return { protocol: 'CONNECT', ...target }
  report(`${path}.protocol`, 'POST is not honoured: an HTTP/1 request has no body that is a connection')
  return null
}
