// All rules of one action for a pod's port, in the order in which they count. What depends on the connection alone is judged
// once a source; what is left of it, by the index.

import { textsOf } from './condition.ts'
import type { Source } from './facts.ts'
import type { Look } from './look.ts'
import { ALWAYS, type CompiledRule, NEVER, PERHAPS } from './rule.ts'
import { indexOf, type Numbers, type RuleIndex, type TextIndex } from './rule-index.ts'
import type { Attribute } from './policy.ts'

/** For how many identities, addresses and ports together it is kept what their connections may hope for. */
const STANDINGS_MOST = 512
/** For how many destinations a source, by the source itself. */
const PLACES_MOST = 16

/** What a source may hope for at a destination. */
interface Standing {
  /** An outlook a rule. */
  readonly outlooks: Uint8Array
  /** Rules that no index finds and that may match, up to the first that does in any case. */
  readonly open: Numbers
}

/** Behind all rules. */
const END = Number.MAX_SAFE_INTEGER

export class RuleSet {
  readonly rules: readonly CompiledRule[]
  readonly #index: RuleIndex
  readonly #looksAt: { readonly sourceIp: boolean; readonly port: boolean; readonly ip: boolean }
  readonly #bySource = new WeakMap<Source, Map<string | number, Standing>>()
  /** Sources of one identity are alike, but for their address where a rule looks at that. */
  readonly #byIdentity = new Map<string, Standing>()

  constructor(rules: readonly CompiledRule[]) {
    this.rules = rules
    this.#index = indexOf(rules)
    const kinds = new Set<Attribute['kind']>()
    for (const { from, to, when } of rules) {
      for (const { source } of [...from, ...to, when].flat()) kinds.add(source.attribute.kind)
    }
    this.#looksAt = {
      sourceIp: kinds.has('source.ip'),
      port: kinds.has('destination.port'),
      ip: kinds.has('destination.ip'),
    }
  }

  /** The first rule that matches a request, or null. */
  first(look: Look): CompiledRule | null {
    const { outlooks, open } = this.#standing(look)
    const { paths, hosts, texts } = this.#index
    let best = this.#earliest(open, outlooks, look, END)
    if (paths !== null) {
      best = this.#earliestAt(look.folded, outlooks, look, best)
      const others = look.foldedOthers
      for (let i = 0; i < others.length; i++) best = this.#earliestAt(others[i] as string, outlooks, look, best)
    }
    if (hosts !== null) {
      for (const host of look.hosts.wide) {
        const numbers = hosts.get(host)
        if (numbers !== undefined) best = this.#earliest(numbers, outlooks, look, best)
      }
    }
    for (let i = 0; i < texts.length; i++) {
      const { attribute, byText } = texts[i] as TextIndex
      for (const text of textsOf(attribute, look)) {
        const numbers = byText.get(text)
        if (numbers !== undefined) best = this.#earliest(numbers, outlooks, look, best)
      }
    }
    return best === END ? null : (this.rules[best] as CompiledRule)
  }

  /** All rules that match a request, in their order. */
  all(look: Look): CompiledRule[] {
    const { outlooks } = this.#standing(look)
    return this.rules.filter((rule, number) => {
      return outlooks[number] === ALWAYS || (outlooks[number] === PERHAPS && rule.isMet(look))
    })
  }

  /** The first, or all, that match a connection whose bytes are not read. */
  firstOpaque(look: Look): CompiledRule | null {
    const { outlooks } = this.#standing(look)
    return this.rules.find((rule, number) => outlooks[number] !== NEVER && rule.isMetOpaque(look)) ?? null
  }

  allOpaque(look: Look): CompiledRule[] {
    const { outlooks } = this.#standing(look)
    return this.rules.filter((rule, number) => outlooks[number] !== NEVER && rule.isMetOpaque(look))
  }

  /** The first that is found at a reading of the path and matches, if it comes before `best`. */
  #earliestAt(path: string, outlooks: Uint8Array, look: Look, best: number): number {
    const paths = this.#index.paths as NonNullable<RuleIndex['paths']>
    let found = this.#earliest(paths.exact(path), outlooks, look, best)
    for (let prefix = paths.longest(path); prefix !== null; prefix = prefix.shorter) {
      found = this.#earliest(prefix.numbers, outlooks, look, found)
    }
    return found
  }

  #earliest(numbers: Numbers, outlooks: Uint8Array, look: Look, best: number): number {
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i] as number
      if (number >= best) return best
      const outlook = outlooks[number]
      if (outlook === NEVER) continue
      if (outlook === ALWAYS || (this.rules[number] as CompiledRule).isMet(look)) return number
    }
    return best
  }

  #standing(look: Look): Standing {
    const { destination } = look.facts
    const { ip, port } = this.#looksAt
    const place = ip ? `${destination.ip} ${destination.port}` : port ? destination.port : 0
    let places = this.#bySource.get(look.source)
    if (places === undefined) this.#bySource.set(look.source, (places = new Map<string | number, Standing>()))
    let standing = places.get(place)
    if (standing !== undefined) return standing
    if (places.size >= PLACES_MOST) places.clear()
    places.set(place, (standing = this.#ofIdentity(look, place)))
    return standing
  }

  #ofIdentity(look: Look, place: string | number): Standing {
    const { principals, trustDomains, namespace, ip } = look.source
    const key = [place, this.#looksAt.sourceIp ? ip : '', namespace ?? '', ...trustDomains, '', ...principals].join(
      '\n',
    )
    let standing = this.#byIdentity.get(key)
    if (standing !== undefined) return standing
    if (this.#byIdentity.size >= STANDINGS_MOST) this.#byIdentity.clear()
    this.#byIdentity.set(key, (standing = this.#judged(look)))
    return standing
  }

  #judged(look: Look): Standing {
    const outlooks = Uint8Array.from(this.rules, (rule) => rule.outlook(look))
    const open: number[] = []
    for (const number of this.#index.others) {
      if (outlooks[number] === NEVER) continue
      open.push(number)
      if (outlooks[number] === ALWAYS) break
    }
    return { outlooks, open }
  }
}
