// Which requests a rule is for.

import type { NamedMatch, RequestMatch } from '../../model/policy.ts'
import type { GivenHttpMatch, GivenMatch } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { dnsLabel, filledMatch, labels, matchedPort, optional, stringMatch, token } from './checked.ts'

export function requestMatch(match: GivenHttpMatch, path: string): RequestMatch {
  return {
    name: match.name ?? '',
    uri: optional(match.uri, `${path}.uri`, stringMatch),
    ignoreUriCase: match.ignoreUriCase ?? false,
    scheme: optional(match.scheme, `${path}.scheme`, filledMatch),
    method: optional(match.method, `${path}.method`, filledMatch),
    authority: optional(match.authority, `${path}.authority`, filledMatch),
    headers: namedMatches(match.headers, `${path}.headers`, headerMatch),
    withoutHeaders: namedMatches(match.withoutHeaders, `${path}.withoutHeaders`, (name, wish, at) => {
      // no RE2, but Istio has it stand for any value
      return headerMatch(name, wish.regex === '*' ? {} : wish, at)
    }),
    queryParams: namedMatches(match.queryParams, `${path}.queryParams`, (name, wish, at) => {
      if (name === '') throw new Rejected(at, 'must have a name')
      return { name, match: filledMatch(wish, at) }
    }),
    port: matchedPort(match.port, `${path}.port`),
    sourceLabels: labels(match.sourceLabels, `${path}.sourceLabels`),
    sourceNamespace: match.sourceNamespace ? dnsLabel(match.sourceNamespace, `${path}.sourceNamespace`) : null,
  }
}

function headerMatch(name: string, wish: GivenMatch, path: string): NamedMatch {
  return { name: token(name, path).toLowerCase(), match: filledMatch(wish, path) }
}

function namedMatches(
  given: Readonly<Record<string, GivenMatch>> | undefined,
  path: string,
  read: (name: string, wish: GivenMatch, path: string) => NamedMatch,
): NamedMatch[] {
  return Object.entries(given ?? {}).map(([name, wish]) => read(name, wish, `${path}.${name}`))
}
