// meshConfig.extensionProviders: who may be asked for CUSTOM policies, and what of other providers is to be said.

import type { HttpAuthorizer } from '../model/authorization/provider.ts'
import { UNCHANGEABLE } from '../model/http/header-changes.ts'
import type { Lack } from './honoured.ts'
import { demandDomain, duration, token, uriText } from './istio/checked.ts'
import { listOf, mappingOf, numberOf, textOf, truthOf } from './mesh-values.ts'
import { Rejected } from './translate.ts'

/** Why a provider of some kind has no effect; of a kind that is not among them nothing is known. */
const KINDS: Readonly<Record<string, string>> = {
  envoyExtAuthzGrpc: 'has no effect: authorizers are asked by HTTP/1 alone, use envoyExtAuthzHttp',
  ...of(
    ['zipkin', 'lightstep', 'datadog', 'stackdriver', 'opencensus', 'skywalking', 'opentelemetry'],
    'no spans are made yet',
  ),
  ...of(['prometheus'], 'metrics are served by each agent anyway'),
  ...of(['envoyFileAccessLog'], 'accessLogFile says where records go'),
  ...of(['envoyHttpAls', 'envoyTcpAls', 'envoyOtelAls'], 'records are written to a file alone'),
  ...of(['sds'], 'certificates are the mesh’s own'),
}

function of(names: readonly string[], why: string): Readonly<Record<string, string>> {
  return Object.fromEntries(names.map((name) => [name, `has no effect: ${why}`]))
}

const HTTP = 'envoyExtAuthzHttp'
/** Istio: `timeout`, `statusOnError`. */
const TIMEOUT_MS = 600_000
const STATUS_ON_ERROR = 403
/** Bytes of a body that may go along with a question: as much is held of every request that is asked about. */
const BODY_MAX = 16 * 1024 * 1024

const FIELDS: ReadonlySet<string> = new Set([
  ...['service', 'port', 'timeout', 'pathPrefix', 'failOpen', 'statusOnError', 'includeHeadersInCheck'],
  ...['includeRequestHeadersInCheck', 'includeAdditionalHeadersInCheck', 'includeRequestBodyInCheck'],
  ...['headersToUpstreamOnAllow', 'headersToDownstreamOnAllow', 'headersToDownstreamOnDeny', 'clearRouteCache'],
])
/** Fields that list names of headers. */
const HEADERS = [
  ...['includeRequestHeadersInCheck', 'includeHeadersInCheck'],
  ...['headersToUpstreamOnAllow', 'headersToDownstreamOnAllow', 'headersToDownstreamOnDeny'],
]
/** They go along, or are told, by themselves. */
const ANYWAY: ReadonlySet<string> = new Set(['host', 'content-length'])
const BODY_FIELDS: ReadonlySet<string> = new Set(['maxRequestBytes', 'allowPartialMessage', 'packAsBytes'])

/** The authorizers among the providers. Throws Rejected where one cannot be meant, or two have one name. */
export function authorizersOf(value: unknown, path: string): readonly HttpAuthorizer[] {
  const names = new Set<string>()
  return listOf(value, path, mappingOf).flatMap((given, index) => {
    const at = `${path}[${index}]`
    const name = textOf(given['name'] ?? '', `${at}.name`)
    if (name === '') throw new Rejected(`${at}.name`, 'must not be empty')
    if (names.has(name)) throw new Rejected(`${at}.name`, `'${name}' is the name of another provider`)
    names.add(name)
    const kinds = kindsOf(given)
    if (kinds.length > 1) throw new Rejected(at, `may be one of ${kinds.join(' and ')} alone`)
    if (!kinds.includes(HTTP)) return []
    return [httpAuthorizer(name, mappingOf(given[HTTP], `${at}.${HTTP}`), `${at}.${HTTP}`)]
  })
}

/** What of the providers has no effect. They are sound. */
export function providerLacks(value: unknown, path: string): readonly Lack[] {
  return listOf(value, path, mappingOf).flatMap((given, index) => {
    const at = `${path}[${index}]`
    const kinds = kindsOf(given)
    if (kinds.length === 0) return [{ field: at, reason: 'has no effect: it does not say what provides it' }]
    return kinds.flatMap((kind) => {
      if (kind === HTTP) return authorizerLacks(mappingOf(given[HTTP], at), `${at}.${HTTP}`)
      return [{ field: `${at}.${kind}`, reason: KINDS[kind] ?? 'is no kind of provider that is known here' }]
    })
  })
}

function kindsOf(given: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.keys(given).filter((name) => name !== 'name')
}

function authorizerLacks(given: Readonly<Record<string, unknown>>, at: string): readonly Lack[] {
  const body = given['includeRequestBodyInCheck']
  const bodyAt = `${at}.includeRequestBodyInCheck`
  const inBody = body === undefined ? {} : mappingOf(body, bodyAt)
  const unknown = [
    ...Object.keys(given).flatMap((name) => (FIELDS.has(name) ? [] : [`${at}.${name}`])),
    ...Object.keys(inBody).flatMap((name) => (BODY_FIELDS.has(name) ? [] : [`${bodyAt}.${name}`])),
  ].map((field) => ({ field, reason: 'is not a field that is known here' }))
  const lacks: Lack[] = []
  if (given['clearRouteCache'] === true) {
    const reason = 'has no effect: a request that arrived is not routed again'
    lacks.push({ field: `${at}.clearRouteCache`, reason })
  }
  if (inBody['packAsBytes'] === true) {
    lacks.push({ field: `${bodyAt}.packAsBytes`, reason: 'has no effect: by HTTP a body is bytes anyway' })
  }
  const headers = HEADERS.flatMap((field) => headerLacks(given[field] ?? [], `${at}.${field}`))
  return [...unknown, ...lacks, ...headers]
}

/** Headers that are named, and neither go along nor go on. A star that would cover them is meant for others. */
function headerLacks(value: unknown, at: string): readonly Lack[] {
  return headerPatterns(value, at).flatMap((name, index) => {
    if (!UNCHANGEABLE.has(name) || ANYWAY.has(name)) return []
    return [{ field: `${at}[${index}]`, reason: `has no effect: ${name} is its connection’s own, or the mesh’s` }]
  })
}

/** Istio EnvoyExternalAuthorizationHttpProvider. */
function httpAuthorizer(name: string, given: Readonly<Record<string, unknown>>, at: string): HttpAuthorizer {
  const read = <T>(field: string, check: (value: unknown, path: string) => T, absent: T): T => {
    const value = given[field]
    return value === undefined ? absent : check(value, `${at}.${field}`)
  }
  const required = <T>(field: string, check: (value: unknown, path: string) => T): T => {
    if (given[field] === undefined) throw new Rejected(`${at}.${field}`, 'is required')
    return check(given[field], `${at}.${field}`)
  }
  read('clearRouteCache', truthOf, false)
  return {
    name,
    host: required('service', hostOf),
    port: required('port', (value, path) => numberOf(value, path, [1, 0xffff])),
    timeoutMs: read('timeout', duration, TIMEOUT_MS),
    pathPrefix: read('pathPrefix', prefixOf, ''),
    failOpen: read('failOpen', truthOf, false),
    statusOnError: read('statusOnError', statusOf, STATUS_ON_ERROR),
    includeRequestHeadersInCheck: [
      ...read('includeRequestHeadersInCheck', headerPatterns, []),
      ...read('includeHeadersInCheck', headerPatterns, []), // its older name
    ],
    includeAdditionalHeadersInCheck: read('includeAdditionalHeadersInCheck', headersOf, []),
    body: read('includeRequestBodyInCheck', bodyOf, null),
    headersToUpstreamOnAllow: read('headersToUpstreamOnAllow', headerPatterns, []),
    headersToDownstreamOnAllow: read('headersToDownstreamOnAllow', headerPatterns, []),
    headersToDownstreamOnDeny: read('headersToDownstreamOnDeny', headerPatterns, []),
  }
}

/** `[NAMESPACE/]HOST`. A full name of a host tells its namespace, too. */
function hostOf(value: unknown, path: string): string {
  const text = textOf(value, path)
  const parts = text.split('/')
  const host = (parts.at(-1) ?? '').toLowerCase()
  if (parts.length > 2 || parts.some((part) => part === ''))
    throw new Rejected(path, `'${text}' must be [NAMESPACE/]HOST`)
  demandDomain(host, path)
  if (host.startsWith('*')) throw new Rejected(path, 'must be one host')
  if (!host.includes('.'))
    throw new Rejected(path, `'${host}' must be the full name of a host, as in authz.shop.svc.cluster.local`)
  return host.endsWith('.') ? host.slice(0, -1) : host
}

function prefixOf(value: unknown, path: string): string {
  const text = uriText(textOf(value, path), path)
  if (text !== '' && !text.startsWith('/')) throw new Rejected(path, 'must begin with /')
  return text
}

/** A status is text to Istio, an empty one none; whoever writes the bare number means it. */
function statusOf(value: unknown, path: string): number {
  if (value === '') return STATUS_ON_ERROR
  const status = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value
  return numberOf(status, path, [200, 599])
}

/** Names in lower case; one may end or begin with a star (Istio). */
function headerPatterns(value: unknown, path: string): readonly string[] {
  return listOf(value, path, (entry, at) => {
    const name = token(textOf(entry, at), at).toLowerCase()
    const inner = name.startsWith('*') ? name.slice(1) : name.endsWith('*') ? name.slice(0, -1) : name
    if (inner.includes('*')) throw new Rejected(at, `'${name}' may have one star, at its beginning or its end`)
    return name
  })
}

function headersOf(value: unknown, path: string): readonly (readonly [name: string, value: string])[] {
  return Object.entries(mappingOf(value, path)).map(([written, text]) => {
    const at = `${path}.${written}`
    const name = token(written, at).toLowerCase()
    if (UNCHANGEABLE.has(name)) throw new Rejected(at, `${name} is a header that no rule may change`)
    const given = textOf(text, at)
    if (!/^[\t\x20-\x7e]*$/.test(given)) throw new Rejected(at, 'may hold ASCII without control characters alone')
    return [name, given.trim()] as const
  })
}

function bodyOf(value: unknown, path: string): HttpAuthorizer['body'] {
  const { maxRequestBytes, allowPartialMessage = false, packAsBytes = false } = mappingOf(value, path)
  truthOf(packAsBytes, `${path}.packAsBytes`)
  return {
    maxBytes: numberOf(maxRequestBytes, `${path}.maxRequestBytes`, [1, BODY_MAX]),
    allowPartial: truthOf(allowPartialMessage, `${path}.allowPartialMessage`),
  }
}
