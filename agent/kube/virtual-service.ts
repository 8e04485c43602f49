// Istio's VirtualService, as the mesh's own.

import { VirtualService as Schema } from '@kubernetes-models/istio/networking.istio.io/v1/VirtualService'
import { stringTest } from '../model/match.ts'
import type {
  Fault,
  HttpRule,
  NamedMatch,
  RequestMatch,
  StringMatch,
  VirtualService,
  WeightedDestination,
} from '../model/policy.ts'
import { parseDuration } from './duration.ts'
import { type Shape, unhonoured } from './honoured.ts'
import type { GivenFault, GivenHttpMatch, GivenHttpRule, GivenMatch, VirtualServiceSpec } from './istio.ts'
import type { KubeObject } from './object.ts'
import {
  asWished,
  attempt,
  createdMs,
  demandValid,
  refOf,
  Rejected,
  resolveExportTo,
  resolveHost,
  type Translation,
  withoutNulls,
} from './translate.ts'

const HONOURED: Shape = {
  hosts: true,
  gateways: true,
  exportTo: true,
  http: [
    {
      name: true,
      match: [
        {
          name: true,
          uri: true,
          ignoreUriCase: true,
          scheme: true,
          method: true,
          authority: true,
          headers: true,
          withoutHeaders: true,
          queryParams: true,
          port: true,
          sourceLabels: true,
          sourceNamespace: true,
          gateways: true,
        },
      ],
      route: [{ destination: true, weight: true }],
      rewrite: { uri: true, authority: true },
      fault: {
        delay: { fixedDelay: true, percent: true, percentage: true },
        abort: { httpStatus: true, percentage: true },
      },
      timeout: true,
    },
  ],
}

/** Actions that take the place of forwarding: a rule with one cannot be in force without it. */
const OTHER_ACTIONS = ['redirect', 'directResponse', 'delegate'] as const
/** The gateway name that stands for traffic between workloads. */
const MESH_GATEWAY = 'mesh'

/**
 * Translates a VirtualService of any served version (their schemas are one). Not in force, with a reason: what the
 * schema refuses, a regex RE2 refuses, a rule whose action is not forwarding. One without the gateway `mesh`, or
 * without http rules, is no VirtualService for traffic inside the mesh.
 */
export function translateVirtualService(given: KubeObject, clusterDomain: string): Translation<VirtualService> {
  const ref = refOf('VirtualService', given)
  return attempt(ref, () => {
    const object = withoutNulls(given)
    demandValid(new Schema(asWished(object)))
    const spec = (object.spec ?? {}) as VirtualServiceSpec
    const problems = unhonoured(spec, HONOURED, 'spec').map((field) => notHonoured(field))
    const gateways = spec.gateways?.length ? spec.gateways : [MESH_GATEWAY]
    const others = gateways.filter((name) => name !== MESH_GATEWAY)
    if (others.length > 0) problems.push({ field: 'spec.gateways', reason: 'gateways other than mesh are not served' })
    const isForMesh = gateways.includes(MESH_GATEWAY) && (spec.http ?? []).length > 0
    if (isForMesh && !spec.hosts?.length) throw new Rejected('spec.hosts', 'names no host')
    const resolve = (host: string): string => resolveHost(host, ref.namespace, clusterDomain)
    return {
      rejected: false,
      problems: problems.map((problem) => ({ object: ref, ...problem })),
      value: isForMesh
        ? {
            ref,
            createdMs: createdMs(object),
            hosts: (spec.hosts ?? []).map(resolve),
            exportTo: resolveExportTo(spec.exportTo, ref.namespace),
            http: (spec.http ?? []).flatMap((http, index) => httpRule(http, `spec.http[${index}]`, resolve)),
          }
        : null,
    }
  })
}

function notHonoured(field: string): { field: string; reason: string } {
  return { field, reason: 'this field is not honoured' }
}

/** One rule, or none where it is not for mesh traffic. */
function httpRule(http: GivenHttpRule, path: string, resolve: (host: string) => string): HttpRule[] {
  const action = OTHER_ACTIONS.find((name) => http[name] !== undefined)
  if (action !== undefined) throw new Rejected(`${path}.${action}`, 'this action is not honoured')
  const entries = (http.match ?? []).map((match, index) => ({ match, path: `${path}.match[${index}]` }))
  const forMesh = entries.filter(({ match }) => !match.gateways?.length || match.gateways.includes(MESH_GATEWAY))
  if (entries.length > 0 && forMesh.length === 0) return []
  return [
    {
      name: http.name ?? '',
      matches: forMesh.map(({ match, path: at }) => requestMatch(match, at)),
      destinations: destinations(http, path, resolve),
      rewrite: http.rewrite ? { uri: http.rewrite.uri || null, authority: http.rewrite.authority || null } : null,
      fault: http.fault ? fault(http.fault, `${path}.fault`) : null,
      timeoutMs: timeout(http.timeout, `${path}.timeout`),
    },
  ]
}

function requestMatch(match: GivenHttpMatch, path: string): RequestMatch {
  return {
    name: match.name ?? '',
    uri: stringMatch(match.uri, `${path}.uri`),
    ignoreUriCase: match.ignoreUriCase ?? false,
    scheme: stringMatch(match.scheme, `${path}.scheme`),
    method: stringMatch(match.method, `${path}.method`),
    authority: stringMatch(match.authority, `${path}.authority`),
    headers: namedMatches(match.headers, `${path}.headers`, (name) => name.toLowerCase()),
    withoutHeaders: namedMatches(match.withoutHeaders, `${path}.withoutHeaders`, (name) => name.toLowerCase()),
    queryParams: namedMatches(match.queryParams, `${path}.queryParams`, (name) => name),
    port: match.port ?? null,
    sourceLabels: match.sourceLabels ?? {},
    sourceNamespace: match.sourceNamespace || null,
  }
}

/** A string match, compiled once here so that a regex RE2 refuses is refused with its field's name. */
function stringMatch(given: GivenMatch | undefined, path: string): StringMatch | null {
  if (given === undefined) return null
  const match = kindOf(given)
  try {
    stringTest(match)
  } catch (error) {
    throw new Rejected(`${path}.regex`, error instanceof Error ? error.message : String(error))
  }
  return match
}

function kindOf(given: GivenMatch): StringMatch {
  if (given.exact !== undefined) return { kind: 'exact', value: given.exact }
  if (given.prefix !== undefined) return { kind: 'prefix', value: given.prefix }
  if (given.regex !== undefined) return { kind: 'regex', value: given.regex }
  return { kind: 'present' } // `{}`: the header must be there, whatever it says
}

function namedMatches(
  given: Readonly<Record<string, GivenMatch>> | undefined,
  path: string,
  nameOf: (name: string) => string,
): NamedMatch[] {
  return Object.entries(given ?? {}).map(([name, match]) => ({
    name: nameOf(name),
    match: stringMatch(match, `${path}.${name}`) ?? { kind: 'present' },
  }))
}

/** Weights that are not given are 0; several destinations need one that is not, or nothing could be sent (as Istio). */
function destinations(http: GivenHttpRule, path: string, resolve: (host: string) => string): WeightedDestination[] {
  const given = http.route ?? []
  if (given.length === 0) throw new Rejected(`${path}.route`, 'a rule needs a route')
  const negative = given.findIndex(({ weight = 0 }) => weight < 0)
  if (negative >= 0) throw new Rejected(`${path}.route[${negative}].weight`, 'must not be negative')
  const isNone = given.every(({ weight = 0 }) => weight === 0)
  if (given.length > 1 && isNone) throw new Rejected(`${path}.route`, 'the weights of several destinations are all 0')
  return given.map(({ destination, weight }) => ({
    host: resolve(destination.host),
    subset: destination.subset || null,
    port: destination.port?.number ?? null,
    weight: weight ?? 0,
  }))
}

/** Percentages that are not given are 0 (Istio: no request is touched). */
function fault({ delay, abort }: GivenFault, path: string): Fault {
  if (delay && delay.fixedDelay === undefined) throw new Rejected(`${path}.delay`, 'only fixedDelay is honoured')
  if (abort && abort.httpStatus === undefined) throw new Rejected(`${path}.abort`, 'only httpStatus is honoured')
  const delayMs = delay ? duration(delay.fixedDelay ?? '', `${path}.delay.fixedDelay`) : 0
  return {
    delay: delay ? { percent: percent(delay, `${path}.delay`), ms: delayMs } : null,
    abort: abort ? { percent: percent(abort, `${path}.abort`), status: httpStatus(abort.httpStatus ?? 0, path) } : null,
  }
}

function percent(given: { percentage?: { value?: number }; percent?: number }, path: string): number {
  const value = given.percentage ? (given.percentage.value ?? 0) : (given.percent ?? 0)
  if (value >= 0 && value <= 100) return value
  throw new Rejected(`${path}.${given.percentage ? 'percentage' : 'percent'}`, 'must be 0 to 100')
}

function httpStatus(status: number, path: string): number {
  if (status < 200 || status > 599) throw new Rejected(`${path}.abort.httpStatus`, 'must be from 200 to 599')
  return status
}

/** `0s` means no limit, as in Istio. */
function timeout(text: string | undefined, path: string): number | null {
  if (text === undefined) return null
  return duration(text, path) || null
}

function duration(text: string, path: string): number {
  const ms = parseDuration(text)
  if (ms === null) throw new Rejected(path, `'${text}' is not a duration such as 500ms or 7s`)
  return ms
}
