// The request target and authority that a rule sends instead of those that came.

import { RE2JS } from 're2js'
import { pathOf } from './match.ts'
import type { RequestMatch, Rewrite } from '../policy.ts'

/** Null keeps what came. */
export interface Rewritten {
  readonly target: string | null
  readonly authority: string | null
}

const AS_IT_IS: Rewritten = { target: null, authority: null }

/**
 * Istio's rewrite: the prefix that matched is replaced, where none did the whole path; the query stays. What comes of it is a
 * path again, whatever the rule says: without a slash before it, what a caller sent could become another form of target. `*`
 * and what CONNECT names are no paths.
 */
export function rewritten(rewrite: Rewrite | null, match: RequestMatch | null, target: string): Rewritten {
  if (rewrite === null) return AS_IT_IS
  const { authority, uri, regex } = rewrite
  if (!target.startsWith('/')) return { target: null, authority }
  const path = pathOf(target)
  const query = target.slice(path.length)
  if (regex === null && uri === null) return { target: null, authority }
  const made = regex !== null ? replacedAll(regex, path) : withPrefix(uri ?? '', match, path)
  return { target: `${made.startsWith('/') ? '' : '/'}${made}${query}`, authority }
}

/** A path whose matched prefix is replaced; without a uri match every path matches as the prefix `/`. */
export function withPrefix(by: string, match: RequestMatch | null, path: string): string {
  const uri = match?.uri ?? null
  const replaced = uri === null || uri.kind === 'present' ? 1 : uri.kind === 'prefix' ? uri.value.length : path.length
  return by + path.slice(replaced)
}

/** A regex rewrite made ready: the regex, and what stands in place of each match, groups by number. */
interface Substitution {
  readonly regex: RE2JS
  readonly by: readonly (string | number)[]
}

type Regex = NonNullable<Rewrite['regex']>

const COMPILED = new WeakMap<Regex, Substitution>()

/**
 * Made ready once: `\1` in the replacement is the first group, `\0` all that matched, `\\` a backslash (Envoy
 * RegexMatchAndSubstitute). Throws with RE2's own words where the regex is malformed, and where a group is not there.
 */
export function substitutionOf(rewrite: Regex): Substitution {
  let compiled = COMPILED.get(rewrite)
  if (compiled === undefined) {
    compiled = { regex: RE2JS.compile(rewrite.match), by: templateOf(rewrite.by) }
    const groups = compiled.regex.groupCount()
    const missing = compiled.by.find((part) => typeof part === 'number' && part > groups)
    if (missing !== undefined) throw new Error(`the regex has no group ${missing}`)
    COMPILED.set(rewrite, compiled)
  }
  return compiled
}

function templateOf(by: string): (string | number)[] {
  return [...by.matchAll(/\\(\d)|\\\\|\\|[^\\]+/g)].map(([whole, group]) => {
    if (group !== undefined) return Number(group)
    return whole.startsWith('\\') ? '\\' : whole
  })
}

function replacedAll(rewrite: Regex, path: string): string {
  const { regex, by } = substitutionOf(rewrite)
  const matcher = regex.matcher(path)
  let made = ''
  let at = 0
  while (matcher.find()) {
    made += path.slice(at, matcher.start())
    for (const part of by) made += typeof part === 'number' ? (matcher.group(part) ?? '') : part
    at = matcher.end()
  }
  return at === 0 && made === '' ? path : made + path.slice(at)
}
