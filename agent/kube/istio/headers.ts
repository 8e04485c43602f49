// Header fields that a rule changes.

import { CHANGES_LIMIT } from '../../model/http/header-changes.ts'
import type { Field, HeaderChanges, HeaderRules } from '../../model/policy.ts'
import type { GivenHeaderChanges, GivenHeaders } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { token, uriText } from './checked.ts'

/** Those of one connection (RFC 9110 §7.6.1), and those that say where a message ends: they are the proxy's own. */
const OF_THE_CONNECTION = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['content-length', 'http2-settings'],
])

/** What `headers` of a rule or destination says; null where it changes nothing. */
export function headerRules(given: GivenHeaders, path: string): HeaderRules | null {
  const request = changes(given.request, `${path}.request`, true)
  const response = changes(given.response, `${path}.response`, false)
  return request === null && response === null ? null : { request, response }
}

/** The authority that a rule's `headers.request` sets, or null. */
export function authoritySet(rules: HeaderRules | null): string | null {
  return rules?.request?.set.find(([name]) => name === 'host')?.[1] ?? null
}

function changes(given: GivenHeaderChanges | undefined, path: string, isRequest: boolean): HeaderChanges | null {
  const set = fields(given?.set, `${path}.set`, isRequest)
  const add = fields(given?.add, `${path}.add`, isRequest)
  const remove = (given?.remove ?? []).map((name, index) => fieldName(name, `${path}.remove[${index}]`, false))
  // a request has one authority: to add it is to set it (as Istio)
  const hosts = [...set, ...add].filter(([name]) => name === 'host')
  if (hosts.length > 1) throw new Rejected(`${path}.add`, 'names the authority beside set')
  demandRoom([...set, ...add], path)
  const others = (all: readonly Field[]): Field[] => all.filter(([name]) => name !== 'host')
  if (set.length + add.length + remove.length === 0) return null
  return { remove, set: [...others(set), ...hosts], add: others(add) }
}

/** What is added to each head must leave room for the head itself. */
function demandRoom(changes: readonly Field[], path: string): void {
  const characters = changes.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (characters > CHANGES_LIMIT) throw new Rejected(path, `must have ${CHANGES_LIMIT} characters in all at most`)
}

function fields(given: Readonly<Record<string, string>> | undefined, path: string, isRequest: boolean): Field[] {
  const found = Object.entries(given ?? {}).map(([written, text]): Field => {
    const name = fieldName(written, `${path}.${written}`, isRequest)
    const value = fieldValue(text, `${path}.${written}`)
    return [name, name === 'host' ? authority(value, `${path}.${written}`) : value]
  })
  const names = new Set<string>()
  for (const [name] of found) {
    if (names.has(name)) throw new Rejected(path, `names ${name} twice`)
    names.add(name)
  }
  return found
}

function authority(text: string, path: string): string {
  if (text === '') throw new Rejected(path, 'must name an authority')
  return uriText(text, path)
}

/** A field's name in lower case; `mayBeHost`: the authority of a request, by its name in HTTP/1 or in HTTP/2. */
function fieldName(written: string, path: string, mayBeHost: boolean): string {
  const lower = written.toLowerCase()
  const name = lower === ':authority' ? 'host' : lower
  if (name === 'host') {
    if (mayBeHost) return name
    throw new Rejected(path, 'the authority can be set in requests alone, and never removed')
  }
  if (name.startsWith(':')) throw new Rejected(path, 'what begins with a colon is no header field')
  if (OF_THE_CONNECTION.has(name)) throw new Rejected(path, 'this field belongs to the connection, not to the message')
  return token(name, path)
}

/** A value as it is sent. Envoy has operators between percent signs, and `%%` for one percent sign. */
function fieldValue(text: string, path: string): string {
  if (!/^[\t\x20-\x7e]*$/.test(text)) throw new Rejected(path, 'may hold ASCII without control characters alone')
  const signs = text.replaceAll('%%', '')
  if (/%[^%]*%/.test(signs)) throw new Rejected(path, 'operators of Envoy, as in %HOSTNAME%, are not honoured')
  if (signs.includes('%')) throw new Rejected(path, 'has a single percent sign: one is written %%')
  return text.replaceAll('%%', '%').trim()
}
