// Finds the rules that may match a request by what they demand of its path or host, without looking at the others. It only
// spares work: whoever is found is tested in full.

import { wireOf } from '../http/header-changes.ts'
import type { CompiledCondition } from './condition.ts'
import { pathKeysOf } from './path-condition.ts'
import { type Pattern, patternOf } from './pattern.ts'
import type { Attribute, Condition } from './policy.ts'
import type { CompiledRule } from './rule.ts'

/** Numbers of rules, the least first. */
export type Numbers = readonly number[]

export const NONE: Numbers = []

/** Rules by the texts that they demand of one attribute. */
export interface TextIndex {
  readonly attribute: Attribute
  readonly byText: ReadonlyMap<string, Numbers>
}

/** Rules in an order, those apart that are found by path, by host, by another attribute, or not at all but one by one. */
export interface RuleIndex {
  readonly paths: PathIndex | null
  readonly hosts: ReadonlyMap<string, Numbers> | null
  readonly texts: readonly TextIndex[]
  readonly others: Numbers
}

export function indexOf(rules: readonly CompiledRule[]): RuleIndex {
  const paths = new Map<string, number[]>()
  const prefixes = new Map<string, number[]>()
  const hosts = new Map<string, number[]>()
  const texts = new Map<string, { readonly attribute: Attribute; readonly byText: Map<string, number[]> }>()
  const others: number[] = []
  rules.forEach((rule, number) => {
    const keys = pathKeys(rule)
    if (keys !== null) {
      for (const { kind, text } of keys) put(kind === 'exact' ? paths : prefixes, text, number)
      return
    }
    const names = exactTexts(demandsOf(rule, 'request.host'))
    if (names !== null) {
      for (const name of names) put(hosts, name.toLowerCase(), number)
      return
    }
    const found = textKeys(rule)
    if (found === null) {
      others.push(number)
      return
    }
    const name = nameOf(found.attribute)
    const index = texts.get(name) ?? { attribute: found.attribute, byText: new Map<string, number[]>() }
    texts.set(name, index)
    for (const text of found.texts) put(index.byText, text, number)
  })
  return {
    paths: paths.size + prefixes.size === 0 ? null : new PathIndex(paths, prefixes),
    hosts: hosts.size === 0 ? null : hosts,
    texts: [...texts.values()],
    others,
  }
}

function pathKeys(rule: CompiledRule): readonly Pattern[] | null {
  const keys: Pattern[] = []
  for (const value of demandsOf(rule, 'request.path')?.flatMap(({ values }) => values) ?? [null]) {
    const found = value === null ? null : pathKeysOf(value)
    if (found === null) return null
    keys.push(...found)
  }
  return keys
}

/** The most telling first. */
const TELLING = [
  'request.header',
  'request.principal',
  'request.claim',
  'request.audiences',
  'request.presenter',
  'request.method',
] as const

function textKeys(rule: CompiledRule): { readonly attribute: Attribute; readonly texts: readonly string[] } | null {
  for (const kind of TELLING) {
    const demands = demandsOf(rule, kind)
    const attribute = demands?.[0]?.attribute
    const texts = exactTexts(demands)
    if (attribute === undefined || texts === null) continue
    // an issuer alone is taken apart in another way than whole texts are looked up
    if (kind === 'request.principal' && !texts.every((text) => text.includes('/'))) continue
    return { attribute, texts: texts.map((text) => lookedUp(kind, text)) }
  }
  return null
}

/** A value as textsOf() has it. */
function lookedUp(kind: (typeof TELLING)[number], value: string): string {
  return kind === 'request.method' ? value.toLowerCase() : kind === 'request.header' ? wireOf(value) : value
}

/** The values of some conditions, where none has a star; null where one has, or there is none. */
function exactTexts(demands: readonly Condition[] | null): readonly string[] | null {
  const values = demands?.flatMap((demand) => demand.values) ?? []
  return values.length > 0 && values.every((value) => patternOf(value).kind === 'exact') ? values : null
}

/** Conditions with values of which one at least is met whichever way a rule matches; null: it may match without. */
function demandsOf({ from, to, when }: CompiledRule, kind: Attribute['kind']): readonly Condition[] | null {
  for (const entries of [[when], to, from]) {
    const found = entries.map((entry) => demandIn(entry, kind))
    const demands = found.filter((one) => one !== null)
    const isOne = demands.every(({ attribute }) => nameOf(attribute) === nameOf((demands[0] as Condition).attribute))
    if (isOne && demands.length > 0 && demands.length === found.length) return demands
  }
  return null
}

/** The same for one attribute, header and claim included. */
function nameOf(attribute: Attribute): string {
  return JSON.stringify(attribute)
}

function demandIn(entry: readonly CompiledCondition[], kind: Attribute['kind']): Condition | null {
  return entry.find(({ source }) => source.attribute.kind === kind && source.values.length > 0)?.source ?? null
}

function put(lists: Map<string, number[]>, key: string, number: number): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [number])
  else if (list.at(-1) !== number) list.push(number)
}

/** A beginning of paths, and the longest one that is a beginning of it. */
interface Prefix {
  readonly text: string
  readonly numbers: Numbers
  readonly shorter: Prefix | null
}

export class PathIndex {
  readonly #exact: ReadonlyMap<string, Numbers>
  /** In the order of their text. */
  readonly #prefixes: readonly Prefix[]

  constructor(exact: ReadonlyMap<string, Numbers>, prefixes: ReadonlyMap<string, Numbers>) {
    this.#exact = exact
    const sorted: Prefix[] = []
    for (const text of [...prefixes.keys()].sort(byLetters)) {
      let shorter = sorted.at(-1) ?? null
      while (shorter !== null && !text.startsWith(shorter.text)) shorter = shorter.shorter
      sorted.push({ text, numbers: prefixes.get(text) ?? NONE, shorter })
    }
    this.#prefixes = sorted
  }

  /** Those that look for this very path. */
  exact(path: string): Numbers {
    return this.#exact.get(path) ?? NONE
  }

  /**
   * The longest beginning of a path that some look for; `shorter` leads to all others. Whatever begins a path is not behind
   * it in the order of texts, and begins all that is between the two: so it is the last one there, or a beginning of that.
   */
  longest(path: string): Prefix | null {
    let low = 0
    let high = this.#prefixes.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#prefixes[middle] as Prefix).text <= path) low = middle + 1
      else high = middle
    }
    let found = low === 0 ? null : (this.#prefixes[low - 1] as Prefix)
    while (found !== null && !path.startsWith(found.text)) found = found.shorter
    return found
  }
}

function byLetters(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
