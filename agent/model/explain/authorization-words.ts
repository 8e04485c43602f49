// Policies and rules for tokens in words, each in one readable line.

import type { Attribute, Condition, Rule } from '../authorization/policy.ts'
import type { JwtRule } from '../authentication/request-authentication.ts'
import type { Place } from '../authentication/tokens-in.ts'
import type { ObjectRef } from '../workload.ts'

/** What conditions are called where they stand in `from` or `to`. */
const NOUNS: Partial<Record<Attribute['kind'], string>> = {
  'source.principal': 'principals',
  'source.namespace': 'namespaces',
  'source.serviceAccount': 'service accounts',
  'source.ip': 'addresses',
  'remote.ip': 'remote addresses',
  'request.principal': 'request principals',
  'request.method': 'methods',
  'request.host': 'hosts',
  'request.path': 'paths',
  'destination.port': 'ports',
}

/** A rule in one line: `from principals a, b or namespaces c; to GET, POST /x/*; when request.headers[x-a] 1 but not 2`. */
export function ruleWords({ from, to, when }: Rule): string {
  const sections = [
    ...(from.length === 0 ? [] : [`from ${from.map((entry) => entryWords(entry, 'anybody')).join(' or ')}`]),
    ...(to.length === 0 ? [] : [`to ${to.map((entry) => entryWords(entry, 'anything')).join(' or ')}`]),
    ...(when.length === 0
      ? []
      : [`when ${when.map((one) => `${keyOf(one.attribute)} ${valueWords(one)}`).join(' and ')}`]),
  ]
  return sections.length === 0 ? 'everything' : sections.join('; ')
}

function entryWords(entry: readonly Condition[], nothing: string): string {
  if (entry.length === 0) return nothing
  const methods = bare(entry, 'request.method')
  const paths = bare(entry, 'request.path')
  const plain = [methods, paths].filter((one) => one !== undefined)
  const others = entry.filter((one) => !plain.includes(one))
  // what everybody reads without being told what it is
  const call = plain.map(({ values }) => values.join(', ')).join(' ')
  const words = others.map((one) => `${NOUNS[one.attribute.kind] ?? keyOf(one.attribute)} ${valueWords(one)}`)
  return [...(call === '' ? [] : [call]), ...words].join(' and ')
}

/** Of methods and paths that say what is meant, and nothing of what is not. */
function bare(entry: readonly Condition[], kind: Attribute['kind']): Condition | undefined {
  return entry.find(({ attribute, notValues }) => attribute.kind === kind && notValues.length === 0)
}

function valueWords({ values, notValues }: Condition): string {
  if (notValues.length === 0) return values.join(', ')
  const not = `not ${notValues.join(', ')}`
  return values.length === 0 ? not : `${values.join(', ')} but ${not}`
}

/** The key of a condition as `when` names it (Istio Condition). */
function keyOf(attribute: Attribute): string {
  switch (attribute.kind) {
    case 'request.header':
      return `request.headers[${attribute.name}]`
    case 'request.claim':
      return `request.auth.claims${attribute.path.map((part) => `[${part}]`).join('')}`
    case 'request.principal':
      return 'request.auth.principal'
    case 'request.audiences':
      return 'request.auth.audiences'
    case 'request.presenter':
      return 'request.auth.presenter'
    default:
      return attribute.kind
  }
}

/** `header authorization (Bearer …)`, `parameter access_token`, `cookie session`. */
export function placeWords({ kind, name, prefix }: Pick<Place, 'kind' | 'name' | 'prefix'>): string {
  return `${kind} ${name}${prefix === '' ? '' : ` (${prefix.trimEnd()} …)`}`
}

/** Where keys come from. */
export function keysWords({ keys }: JwtRule): string {
  switch (keys.kind) {
    case 'inline':
      return 'the object itself'
    case 'uri':
      return keys.uri.replace(/^([a-z]+:\/\/)[^/?#]*@/i, '$1…@') // who asks need not know by what name and word
    case 'discovered':
      return `the configuration of ${keys.issuer}`
  }
}

/** A URL less the name and the word that it is asked by (RFC 3986 §3.2.1): they are not for whoever reads of it. */
export function withoutUser(url: string): string {
  return url.replace(/^([a-z]+:\/\/)[^/?#]*@/i, '$1…@')
}

export function nameWords({ namespace, name }: ObjectRef): string {
  return `${namespace}/${name}`
}
