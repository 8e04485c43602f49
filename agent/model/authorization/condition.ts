// One condition of a policy, compiled.

import { wireOf } from '../http/header-changes.ts'
import { contains, type Network, networkOf } from '../flow-match.ts'
import type { Arriving } from './facts.ts'
import { claimTest, claimTexts, principalTest } from './claims.ts'
import type { Look } from './look.ts'
import { narrowPathTest, widePathTest } from './path-condition.ts'
import { isTemplate, templateFault } from './path-template.ts'
import { globsTest, type TextTest, textsTest } from './pattern.ts'
import { type Attribute, type Condition, isOfRequest } from './policy.ts'

/** Whether something holds of a call. */
export type Test = (look: Look) => boolean

export interface CompiledCondition {
  readonly source: Condition
  readonly test: Test
  /** Whether it says the same of all requests of one source at one destination. */
  readonly isFixed: boolean
  readonly isOfRequest: boolean
}

/**
 * Compiles a condition. `isWide` is of rules that take something away: what they look for is found in any spelling, and what
 * they exclude in one alone; for rules that give something it is the other way about. Throws with field and reason where a
 * value cannot be meant.
 */
export function compileCondition(source: Condition, isWide: boolean): CompiledCondition {
  const { attribute, values, notValues, field } = source
  try {
    const sought = values.length === 0 ? null : valuesTest(attribute, values, isWide)
    const excluded = notValues.length === 0 ? null : valuesTest(attribute, notValues, !isWide)
    return {
      source,
      test: bothTest(sought, excluded),
      isFixed: isFixed(attribute),
      isOfRequest: isOfRequest(attribute),
    }
  } catch (thrown) {
    throw new Error(`${field}: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { cause: thrown })
  }
}

function bothTest(sought: Test | null, excluded: Test | null): Test {
  if (excluded === null) return sought ?? (() => true)
  if (sought === null) return (look) => !excluded(look)
  return (look) => sought(look) && !excluded(look)
}

/** A server name is a connection's, but one source may have many connections; a remote address may be each request's own. */
function isFixed({ kind }: Attribute): boolean {
  return kind.startsWith('source.') || kind.startsWith('destination.')
}

/** Whether one of the values matches. What is missing, none does. */
function valuesTest(attribute: Attribute, values: readonly string[], isWide: boolean): Test {
  switch (attribute.kind) {
    case 'source.principal':
      return someTest(textsTest(values, isWide), (look) => look.source.principals)
    case 'source.trustDomain':
      return someTest(textsTest(values, isWide), (look) => look.source.trustDomains)
    case 'source.namespace':
      return oneTest(globsTest(values), (look) => look.source.namespace)
    case 'source.serviceAccount':
      return oneTest(textsTest(values, isWide), (look) => look.source.serviceAccount)
    case 'source.ip':
      return ipTest(values, (look) => look.source.ip)
    case 'remote.ip':
      return ipTest(values, (look) => look.request?.remoteIp ?? look.source.ip)
    case 'destination.ip':
      return ipTest(values, (look) => look.facts.destination.ip)
    case 'destination.port':
      return portTest(values)
    case 'connection.sni':
      return oneTest(textsTest(values.map(folded), isWide), (look) => look.facts.serverName)
    default:
      return requestTest(attribute, values, isWide)
  }
}

type OfRequest = Extract<Attribute, { readonly kind: `request.${string}` }>

function requestTest(attribute: OfRequest, values: readonly string[], isWide: boolean): Test {
  switch (attribute.kind) {
    case 'request.method': {
      const test = textsTest(isWide ? values.map(folded) : values, isWide)
      if (!isWide) return oneTest(test, (look) => look.request?.method ?? null)
      return ({ request }) => request !== null && test(folded(request.method))
    }
    case 'request.host': {
      const test = textsTest(values.map(folded), isWide)
      return someTest(test, (look) => (look.request === null ? [] : isWide ? look.hosts.wide : look.hosts.narrow))
    }
    case 'request.path':
      return pathTest(values, isWide)
    case 'request.header':
      return headerTest(attribute.name, textsTest(values.map(wireOf), isWide), isWide)
    case 'request.principal':
      return principalTest(values, isWide)
    case 'request.audiences':
      return claimTest(['aud'], values, isWide)
    case 'request.presenter':
      return claimTest(['azp'], values, isWide)
    case 'request.claim':
      return claimTest(attribute.path, values, isWide)
  }
}

function oneTest(test: TextTest, read: (look: Look) => string | null): Test {
  return (look) => {
    const text = read(look)
    return text !== null && test(text)
  }
}

function someTest(test: TextTest, read: (look: Look) => readonly string[]): Test {
  return (look) => {
    const texts = read(look)
    for (let i = 0; i < texts.length; i++) if (test(texts[i] as string)) return true
    return false
  }
}

function ipTest(values: readonly string[], read: (look: Look) => string): Test {
  const networks = values.map(networkOf)
  return (look) => {
    const ip = look.ip(read(look))
    if (ip === null) return false
    for (let i = 0; i < networks.length; i++) {
      const network = networks[i] as Network
      if (network.family === ip.family && contains(network, ip.words)) return true
    }
    return false
  }
}

function portTest(values: readonly string[]): Test {
  const ports = new Set(values.map(portOf))
  return (look) => ports.has(look.facts.destination.port)
}

const LARGEST_PORT = 65535

function portOf(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > LARGEST_PORT) throw new Error(`${text} is no port`)
  return Number(text)
}

function pathTest(values: readonly string[], isWide: boolean): Test {
  for (const value of values) {
    const fault = isTemplate(value) ? templateFault(value) : null
    if (fault !== null) throw new Error(`${value} cannot be meant: ${fault}`)
  }
  const test = isWide ? widePathTest(values) : narrowPathTest(values)
  return (look) => look.request !== null && test(look)
}

/** Several lines of one name are one text with commas; who adds a line to one that is denied, does not get round it. */
function headerTest(name: string, test: TextTest, isWide: boolean): Test {
  return (look) => {
    const text = look.request === null ? undefined : headerOf(look.request, name)
    if (text === undefined) return false
    return test(text) || (isWide && text.includes(',') && look.lines(text).some(test))
  }
}

/**
 * All texts by which a value without a star may be found in a request, for attributes that are looked up by such: more than
 * are, in any rule. Methods in lower case.
 */
export function textsOf(attribute: Attribute, look: Look): readonly string[] {
  const { request } = look
  if (request === null) return []
  switch (attribute.kind) {
    case 'request.method':
      return [folded(request.method)]
    case 'request.header': {
      const text = headerOf(request, attribute.name)
      return text === undefined ? [] : text.includes(',') ? [text, ...look.lines(text)] : [text]
    }
    case 'request.principal':
      return request.tokens.map(({ issuer, subject }) => `${issuer}/${subject ?? ''}`)
    case 'request.audiences':
      return claimTexts(['aud'], request.tokens)
    case 'request.presenter':
      return claimTexts(['azp'], request.tokens)
    case 'request.claim':
      return claimTexts(attribute.path, request.tokens)
    default:
      return []
  }
}

/** What HTTP/2 has as headers (RFC 9113 §8.3.1) is named as one by some policies. */
function headerOf(request: Arriving, name: string): string | undefined {
  switch (name) {
    case ':method':
      return request.method
    case ':path':
      return request.target
    case ':scheme':
      return request.scheme
    case ':authority':
      return request.authority
    default:
      return request.header(name)
  }
}

function folded(text: string): string {
  return text.toLowerCase()
}
