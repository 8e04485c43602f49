// Whether the tokens of a request are good: where they stand, whose keys they were signed with, and what is kept of it.
//
//     read → issuer → time and audience → keys → signature
//
// A signature that was verified is not verified again while its key is in the set; all else is judged anew at each use.

import { compactVerify } from 'jose'
import { faultInClaims, isSpokenOf } from '../model/authentication/claims.ts'
import {
  type Good,
  type Lacking,
  lackingOf,
  refused,
  withoutTokens,
  withTokens,
} from '../model/authentication/judged.ts'
import type { JwtRule } from '../model/authentication/request-authentication.ts'
import { FAULTS, type Fault, readToken, type Unverified } from '../model/authentication/token.ts'
import type { Authenticated, Unauthenticated } from '../model/authentication/token-findings.ts'
import {
  type Found,
  type Lookout,
  lookoutOf,
  type Ranked,
  TOKENS_MOST,
  tokensIn,
} from '../model/authentication/tokens-in.ts'
import type { RequestFacts } from '../model/http/match.ts'
import { type HeldSet, type Key, type KeySet, KeySets } from './plane/key-sets.ts'
import { Turns } from './tokens-turns.ts'
import { VerifiedTokens } from './tokens-verified.ts'

export interface TokenLimits {
  /** Characters of a token. */
  readonly tokenBytes: number
  /** Tokens that are known to be good, and bytes that they take. */
  readonly tokenCacheEntries: number
  readonly tokenCacheBytes: number
  /** How long an issuer whose keys do not fit a token is not asked again for newer ones. */
  readonly keysAskMs: number
}

export interface TokensOptions {
  readonly limits: TokenLimits
  /** Milliseconds since 1970. */
  readonly nowMs: () => number
  /** Hears that a set does not have the key of a token, or cannot be had: there may be a newer one. */
  readonly onStale: (keySet: string) => void
}

/** Signatures verified at once: the threads that do it are few, and others' too. */
const AT_ONCE = 16
/** Requests that wait for that, or for the first word of their keys; more are refused at once. */
const WAITING = 1000
const WAIT_MS = 1000
/** Keys tried where a token does not say which it is by. */
const KEYS_TRIED = 16

/** What was found of one token: by which rule it is good, or why it is not. */
type Finding = Good | Fault

/** A token, and what the first rule has against it that cannot be content with it; null: none is known yet. */
interface Judged {
  readonly found: Found
  readonly token: Unverified
  readonly fault: Fault | null
}

/** What tokens are judged by, and what was found of them. One a worker. */
export class Tokens {
  readonly #limits: TokenLimits
  readonly #nowMs: () => number
  readonly #onStale: (keySet: string) => void
  readonly #keySets = new KeySets()
  readonly #verified: VerifiedTokens
  readonly #turns = new Turns({ atOnce: AT_ONCE, waiting: WAITING, waitMs: WAIT_MS })
  /** Under way, by set and text. */
  readonly #underWay = new Map<HeldSet, Map<string, Promise<Key | Fault>>>()
  #waiting = 0

  constructor({ limits, nowMs, onStale }: TokensOptions) {
    this.#limits = limits
    this.#nowMs = nowMs
    this.#onStale = onStale
    this.#verified = new VerifiedTokens(limits)
  }

  /** What is kept of good tokens. */
  get kept(): { readonly size: number; readonly bytes: number } {
    return this.#verified
  }

  /** Judges all tokens of a request by the rules for its callee. At once where nothing new has to be verified. Never rejects. */
  judge(
    rules: readonly JwtRule[],
    request: RequestFacts,
  ): Authenticated | Unauthenticated | Promise<Authenticated | Unauthenticated> {
    const lookout = lookoutOf(rules)
    const found = tokensIn(lookout, request)
    if (found.length === 0) {
      return lookout.required.length > 0 ? refused(FAULTS.missing, request) : withoutTokens(lookout)
    }
    if (found.length > TOKENS_MOST) return refused(FAULTS.tooMany, request)
    const findings: (Finding | Promise<Finding>)[] = []
    for (const one of found) {
      const finding = this.#judgeOne(one)
      if (typeof finding === 'string') return refused(finding, request)
      findings.push(finding)
    }
    const good = findings.filter((finding): finding is Good => !(finding instanceof Promise))
    if (good.length === found.length) return this.#complete(lookout, good, request)
    return Promise.all(findings.map((finding) => Promise.resolve(finding))).then((late) => {
      const fault = late.find((finding) => typeof finding === 'string')
      return fault === undefined ? this.#complete(lookout, late as Good[], request) : refused(fault, request)
    })
  }

  /** All tokens are good; what is left is that each rule which demands one has its own. */
  #complete(
    lookout: Lookout,
    good: readonly Good[],
    request: RequestFacts,
  ): Authenticated | Unauthenticated | Promise<Authenticated | Unauthenticated> {
    const lacking = lackingOf(lookout, good)
    if (lacking.length === 0) return withTokens(lookout, good, request)
    if (lacking.some(({ among }) => among.length === 0)) return refused(FAULTS.missing, request)
    return Promise.all(lacking.map((one) => this.#supply(one))).then((found) => {
      const fault = found.find((finding) => typeof finding === 'string')
      return fault === undefined
        ? withTokens(lookout, [...good, ...(found as Good[])], request)
        : refused(fault, request)
    })
  }

  /** The first token that is good by this rule as well, or why the first is not. */
  async #supply({ by, among }: Lacking): Promise<Finding> {
    let fault: Fault | null = null
    for (const { found } of among) {
      const finding = await this.#judgeOne(found, [by])
      if (typeof finding !== 'string') return finding
      fault ??= finding
    }
    return fault ?? FAULTS.missing
  }

  /** From now on a set of keys is this. */
  set(told: KeySet): void {
    this.#keySets.set(told)
  }

  /** No rule asks for it any more. */
  forget(name: string): void {
    this.#keySets.forget(name)
  }

  /** A token is good where one rule that looks at its place says so. */
  #judgeOne(found: Found, rules = found.place.rules): Finding | Promise<Finding> {
    const { text } = found
    const known = this.#verified.get(text)
    const token = known?.token ?? readToken(text, this.#limits.tokenBytes)
    if (typeof token === 'string') return token
    let fault: Fault | null = null
    const open: Ranked[] = []
    for (const by of rules) {
      if (!isSpokenOf(token, by.rule)) continue
      const amiss = faultInClaims(token, by.rule, this.#nowMs())
      if (amiss !== null) fault ??= amiss
      else if (known !== undefined && this.#keySets.get(by.keySet)?.keys?.includes(known.key)) {
        return { found, by, token }
      } else open.push(by)
    }
    if (open.length === 0) return fault ?? FAULTS.issuer
    return this.#judgeBy(open, { found, token, fault })
  }

  /** One rule after another; at once as far as that goes. */
  #judgeBy(rules: readonly Ranked[], { found, token, fault: first }: Judged): Finding | Promise<Finding> {
    let fault = first
    for (const [index, by] of rules.entries()) {
      const verdict = this.#verify(by, found.text, token)
      if (verdict instanceof Promise) return this.#judgeLate(rules.slice(index), verdict, { found, token, fault })
      fault ??= verdict
    }
    return fault ?? FAULTS.signature
  }

  async #judgeLate(
    rules: readonly Ranked[],
    first: Promise<Fault | null>,
    { found, token, fault }: Judged,
  ): Promise<Finding> {
    let why = fault
    for (const [index, by] of rules.entries()) {
      const verdict = await (index === 0 ? first : this.#verify(by, found.text, token))
      if (verdict === null) return { found, by, token }
      why ??= verdict
    }
    return why ?? FAULTS.signature
  }

  /** What is wrong with its signature by the keys of a rule, or null. */
  #verify(by: Ranked, text: string, token: Unverified): Fault | Promise<Fault | null> {
    const held = this.#keySets.get(by.keySet)
    if (held !== undefined) return this.#verifyWith(held, by.keySet, text, token)
    const heard = this.#waiting < WAITING ? this.#keySets.expect(by.keySet, by.rule.timeoutMs) : null
    return heard === null ? FAULTS.noKeys : this.#verifyLate(heard, by.keySet, text, token)
  }

  async #verifyLate(heard: Promise<void>, keySet: string, text: string, token: Unverified): Promise<Fault | null> {
    this.#waiting++
    await heard
    this.#waiting--
    const held = this.#keySets.get(keySet)
    return held === undefined ? FAULTS.noKeys : this.#verifyWith(held, keySet, text, token)
  }

  #verifyWith(held: HeldSet, keySet: string, text: string, token: Unverified): Fault | Promise<Fault | null> {
    const { keys } = held
    if (keys === null) return this.#stale(held, keySet, FAULTS.noKeys)
    const fitting = keys.filter((key) => key.mayVerify(token))
    if (fitting.length === 0) return this.#stale(held, keySet, FAULTS.noKey)
    return this.#underWayOr(held, text, () => this.#try(fitting, text, token)).then((verdict) => {
      if (typeof verdict !== 'string') return null
      const isNamed = token.keyId !== null && fitting.some(({ id }) => id !== null)
      return verdict !== FAULTS.signature || isNamed ? verdict : this.#stale(held, keySet, verdict)
    })
  }

  /** Several requests with one token wait for one verification. */
  #underWayOr(held: HeldSet, text: string, begin: () => Promise<Key | Fault>): Promise<Key | Fault> {
    const ofSet = this.#underWay.get(held) ?? new Map<string, Promise<Key | Fault>>()
    this.#underWay.set(held, ofSet)
    const known = ofSet.get(text)
    if (known !== undefined) return known
    const begun = begin().finally(() => {
      ofSet.delete(text)
      if (ofSet.size === 0) this.#underWay.delete(held)
    })
    ofSet.set(text, begun)
    return begun
  }

  /** The key that has signed it. */
  async #try(keys: readonly Key[], text: string, token: Unverified): Promise<Key | Fault> {
    const found = await this.#turns.take(async () => {
      for (const key of keys.slice(0, KEYS_TRIED)) if (await isSignedBy(key, text, token.algorithm)) return key
      return FAULTS.signature
    })
    if (found === null) return FAULTS.busy
    if (typeof found !== 'string') this.#verified.put(text, { token, key: found })
    return found
  }

  /** Newer keys may fit; they are asked for, and nobody waits for them. */
  #stale(held: HeldSet, keySet: string, fault: Fault): Fault {
    const nowMs = performance.now()
    if (held.askedMs === null || nowMs - held.askedMs >= this.#limits.keysAskMs) {
      held.askedMs = nowMs
      this.#onStale(keySet)
    }
    return fault
  }
}

/** Whatever keeps a signature from being verified, it is not a good one. */
async function isSignedBy(key: Key, text: string, algorithm: string): Promise<boolean> {
  try {
    await compactVerify(text, await key.ready(algorithm), { algorithms: [algorithm] })
    return true
  } catch {
    return false
  }
}
