// Faults that a rule injects.

import type { Fault } from '../../model/policy.ts'
import type { GivenFault, GivenPercent } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { duration, percent, type Reading } from './checked.ts'

/** gRPC's statuses by number (grpc.io, "Status codes and their use in gRPC"). */
const GRPC_STATUSES = [
  ...['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS'],
  ...['PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED'],
  ...['INTERNAL', 'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'],
]

/** A request that waits holds what its caller has sent. */
const DELAY_MOST_MS = 60 * 60 * 1000

/** Percentages that are not given are 0 (Istio: no request is touched). */
export function fault({ delay, abort }: GivenFault, path: string, reading: Reading): Fault {
  if (delay === undefined && abort === undefined) throw new Rejected(path, 'must say delay or abort')
  return {
    delay: delay === undefined ? null : delayOf(delay, `${path}.delay`, reading),
    abort: abort === undefined ? null : abortOf(abort, `${path}.abort`),
  }
}

function delayOf(given: NonNullable<GivenFault['delay']>, path: string, { report }: Reading): Fault['delay'] {
  if (given.exponentialDelay !== undefined)
    throw new Rejected(`${path}.exponentialDelay`, 'only fixedDelay is honoured')
  if (given.fixedDelay === undefined) throw new Rejected(`${path}.fixedDelay`, 'is required')
  const whole = percent(given.percent ?? 0, `${path}.percent`)
  const exact = given.percentage === undefined ? null : faultPercent(given.percentage, `${path}.percentage`)
  const ms = duration(given.fixedDelay, `${path}.fixedDelay`)
  if (ms > DELAY_MOST_MS) report(`${path}.fixedDelay`, 'an hour is the longest that is waited')
  return { percent: exact ?? whole, ms: Math.min(ms, DELAY_MOST_MS) }
}

function abortOf(given: NonNullable<GivenFault['abort']>, path: string): Fault['abort'] {
  if (given.http2Error !== undefined)
    throw new Rejected(`${path}.http2Error`, 'only httpStatus and grpcStatus are honoured')
  const share = faultPercent(given.percentage ?? {}, `${path}.percentage`)
  if (given.grpcStatus !== undefined) {
    return { percent: share, status: 200, grpcStatus: grpcStatus(given.grpcStatus, `${path}.grpcStatus`) }
  }
  if (given.httpStatus === undefined) throw new Rejected(path, 'must say httpStatus or grpcStatus')
  if (given.httpStatus < 200 || given.httpStatus > 599) {
    throw new Rejected(`${path}.httpStatus`, 'must be from 200 to 599')
  }
  return { percent: share, status: given.httpStatus, grpcStatus: null }
}

/** A status by its name, or by its number. */
function grpcStatus(text: string, path: string): number {
  const status = /^\d{1,2}$/.test(text) ? Number(text) : GRPC_STATUSES.indexOf(text)
  if (status >= 0 && status < GRPC_STATUSES.length) return status
  throw new Rejected(path, `'${text}' is no status of gRPC, such as UNAVAILABLE`)
}

/** One in a million is the least share that there is (Envoy FractionalPercent). */
const LEAST_PERCENT = 0.0001

function faultPercent({ value = 0 }: GivenPercent, path: string): number {
  if (value > 0 && value < LEAST_PERCENT) throw new Rejected(`${path}.value`, `must be 0, or ${LEAST_PERCENT} to 100`)
  return percent(value, `${path}.value`)
}
