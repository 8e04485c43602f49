// Keys of token issuers, on the control side: which sets rules want, what was found of them, and what workers are told of it.
//
//   RequestAuthentications ─▶ sets wanted ─▶ inline or fetched ─▶ told to the data side; what is amiss, as problems

import { discoveryOf, keysByConfiguration, type PublicKey, readKeySet } from '../model/authentication/key-set.ts'
import { type JwtRule, keySetOf, type RequestAuthentication } from '../model/authentication/request-authentication.ts'
import { type Changes, KEYS } from '../model/delta.ts'
import type { AgentConfig } from '../config.ts'
import type { KeySetState } from '../model/explain/authorizations.ts'
import type { Problem } from '../model/policy.ts'
import type { Service } from '../model/service.ts'
import type { ObjectRef } from '../model/workload.ts'
import { faultIn } from '../proxy/plane/key-sets.ts'
import type { Counters } from '../telemetry/series.ts'
import { fetcher, type FetchText } from './key-fetch.ts'
import type { DataSide } from './workers.ts'

/** Times in milliseconds. */
export interface KeySetTimes {
  /** How often a set that was had is fetched again. */
  readonly refreshMs: number
  /** How long after a fetch a token that does not fit brings about no other. */
  readonly askMs: number
  /** How long the last set that was had counts, while a newer one cannot be had. */
  readonly keepMs: number
}

export interface KeySetsOptions extends KeySetTimes {
  readonly data: Pick<DataSide, 'trust' | 'distrust'>
  readonly fetch: FetchText
  /** Hears that there is something else to say. */
  readonly changed: () => void
  readonly clock: { readonly nowMs: () => number; readonly after: (ms: number, work: () => void) => () => void }
  /** From 0 to 1. */
  readonly random: () => number
}

/** Sets at once; rules that want one beyond are told so, and no token is good by them. */
const SETS_MOST = 256
/** How long one is kept that no rule wants any more: workers may still decide by the snapshot before. */
const LINGER_MS = 30_000
/** Between fetches that fail, twice as long each time. */
const RETRY_FIRST_MS = 1000
const RETRY_LAST_MS = 5 * 60_000
/** Share of a wait that chance adds or takes away: nodes that began together do not stay so. */
const JITTER = 0.1

/** A rule that wants a set, and where it stands. */
interface User {
  readonly rule: JwtRule
  readonly object: ObjectRef
  /** `spec.jwtRules[0].jwksUri`. */
  readonly field: string
}

interface Wanted {
  readonly name: string
  users: readonly User[]
  /** What was told last, as text: another text is told again. */
  told: string | null
  /** Keys that count. */
  keys: number
  /** When they were had; null: there are none. */
  hadMs: number | null
  /** Fetches in a row that failed. */
  failures: number
  begunMs: number | null
  isUnderWay: boolean
  /** Why they were not had the last time, or null. */
  failure: string | null
  /** What is amiss, for those who want it. */
  faults: readonly string[]
  /** Ends the wait for the next fetch, or for its end. */
  cancel: () => void
}

export class KeySets {
  readonly #options: KeySetsOptions
  readonly #rules = new Map<string, readonly User[]>()
  readonly #wanted = new Map<string, Wanted>()
  readonly #fetches = { new: 0, same: 0, failed: 0 }
  #surplus: readonly User[] = []
  #problems: readonly Problem[] = []
  #isStopped = false

  constructor(options: KeySetsOptions) {
    this.#options = options
  }

  /** What cannot be had or used, and who wants it. The same array as long as there is nothing else to say. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  /** How it stands with a set; null: nothing is known of it. */
  stateOf(name: string): KeySetState | null {
    const wanted = this.#wanted.get(name)
    if (wanted === undefined) return null
    const { keys, hadMs, failure } = wanted
    return { keys, fetchedMs: isInline(wanted) ? null : hadMs, failure }
  }

  /** The series of fetches. */
  counters(): Counters {
    return Object.entries(this.#fetches)
      .filter(([, value]) => value > 0)
      .map(([result, value]) => ({ name: 'weft_jwks_fetches_total', labels: [result], value }))
  }

  /** Takes what changed of the objects; with `isWhole` they are all there are. */
  take({ set, gone }: Changes<RequestAuthentication>, isWhole: boolean): void {
    if (!isWhole && set.length === 0 && gone.length === 0) return
    if (isWhole) this.#rules.clear()
    for (const key of gone) this.#rules.delete(key)
    for (const one of set) this.#rules.set(KEYS.requestAuthentications(one), usersIn(one))
    this.#want()
  }

  /** A token did not fit the set, or there is none: it is fetched, unless it was a moment ago. */
  ask(name: string): void {
    const wanted = this.#wanted.get(name)
    if (wanted === undefined || wanted.users.length === 0 || wanted.isUnderWay || isInline(wanted)) return
    const { clock, askMs } = this.#options
    if (wanted.begunMs !== null && clock.nowMs() - wanted.begunMs < askMs) return
    this.#begin(wanted)
  }

  /** Fetches nothing any more. */
  stop(): void {
    this.#isStopped = true
    for (const { cancel } of this.#wanted.values()) cancel()
  }

  #want(): void {
    const users = new Map<string, User[]>()
    for (const user of [...this.#rules.values()].flat()) {
      const name = keySetOf(user.rule)
      const known = users.get(name)
      if (known === undefined) users.set(name, [user])
      else known.push(user)
    }
    const surplus: User[] = []
    const served = servedOf(users)
    for (const [name, list] of users) {
      if (served.has(name)) continue
      surplus.push(...list)
      users.delete(name)
    }
    for (const [name, wanted] of this.#wanted) {
      const now = users.get(name) ?? []
      users.delete(name)
      const had = wanted.users.length
      wanted.users = now
      if (now.length === 0 && had > 0) this.#linger(wanted)
      else if (now.length > 0 && had === 0) {
        wanted.cancel()
        this.#begin(wanted)
      }
    }
    for (const [name, list] of users) {
      if (this.#wanted.size >= SETS_MOST) surplus.push(...list)
      else this.#begin(fresh(name, list, this.#wanted))
    }
    this.#surplus = surplus
    this.#say()
  }

  /** Nobody wants it any more: it goes after a while, and makes room. */
  #linger(wanted: Wanted): void {
    wanted.cancel()
    wanted.cancel = this.#options.clock.after(LINGER_MS, () => {
      this.#wanted.delete(wanted.name)
      this.#options.data.distrust(wanted.name)
      if (this.#surplus.length > 0) this.#want()
    })
  }

  #begin(wanted: Wanted): void {
    if (this.#isStopped || wanted.isUnderWay) return
    wanted.cancel()
    wanted.isUnderWay = true
    wanted.begunMs = this.#options.clock.nowMs()
    void this.#find(wanted).then((found) => {
      wanted.isUnderWay = false
      if (this.#isStopped || this.#wanted.get(wanted.name) !== wanted) return
      if (found instanceof Error) this.#failed(wanted, found)
      else this.#had(wanted, found)
      this.#say()
    })
  }

  #had(wanted: Wanted, { jwks, keys, dropped }: Usable): void {
    const { clock, refreshMs } = this.#options
    wanted.hadMs = clock.nowMs()
    wanted.failures = 0
    wanted.failure = null
    wanted.keys = keys
    wanted.faults = dropped
    const isNew = this.#tell(wanted, { name: wanted.name, jwks })
    if (isInline(wanted)) return
    this.#fetches[isNew ? 'new' : 'same']++
    this.#next(wanted, refreshMs)
  }

  /** The last set that was had counts on, for so long. */
  #failed(wanted: Wanted, { message }: Error): void {
    const { clock, keepMs } = this.#options
    const isKept = wanted.hadMs !== null && clock.nowMs() - wanted.hadMs < keepMs
    wanted.failure = message
    wanted.faults = [isKept ? `${message}; the keys that were had last count` : message]
    if (!isKept) {
      wanted.hadMs = null
      wanted.keys = 0
      this.#tell(wanted, { name: wanted.name, failure: message })
    }
    if (isInline(wanted)) return
    this.#fetches.failed++
    this.#next(wanted, Math.min(RETRY_FIRST_MS * 2 ** Math.min(wanted.failures++, 20), RETRY_LAST_MS))
  }

  #next(wanted: Wanted, waitMs: number): void {
    if (wanted.users.length === 0) return // it lingers
    const { clock, random } = this.#options
    wanted.cancel = clock.after(waitMs * (1 - JITTER + 2 * JITTER * random()), () => this.#begin(wanted))
  }

  /** Whether it is something else than was told last. */
  #tell(wanted: Wanted, keySet: Parameters<DataSide['trust']>[0]): boolean {
    const text = JSON.stringify(keySet)
    if (wanted.told === text) return false
    wanted.told = text
    this.#options.data.trust(keySet)
    return true
  }

  async #find({ users, failures }: Wanted): Promise<Usable | Error> {
    const [user] = users
    if (user === undefined) return new Error('nobody wants it')
    const { keys } = user.rule
    const timeoutMs = Math.max(...users.map(({ rule }) => rule.timeoutMs))
    const fetch = (url: string): Promise<string> => this.#options.fetch(url, timeoutMs, failures > 0)
    try {
      if (keys.kind === 'inline') return await usable(keys.jwks, true)
      const uri = keys.kind === 'uri' ? keys.uri : await discovered(keys.issuer, fetch)
      return await usable(await fetch(uri), false)
    } catch (error) {
      return error as Error
    }
  }

  #say(): void {
    const amiss = [...this.#wanted.values()].flatMap(({ users, faults }) => {
      return faults.flatMap((reason) => users.map(({ object, field }) => ({ object, field, reason })))
    })
    const reason = `there are more than ${SETS_MOST} sets of keys`
    const problems = [...amiss, ...this.#surplus.map(({ object, field }) => ({ object, field, reason }))]
    if (JSON.stringify(problems) === JSON.stringify(this.#problems)) return
    this.#problems = problems
    this.#options.changed()
  }
}

/** Where the keys are by the issuer's own configuration. Rejects with the reason where it does not say. */
async function discovered(issuer: string, fetch: (url: string) => Promise<string>): Promise<string> {
  const from = discoveryOf(issuer)
  if (from === null) throw new Error('neither jwks nor jwksUri is given, and the issuer is no URL that could tell')
  const uri = keysByConfiguration(await fetch(from), issuer)
  if (uri instanceof Error) throw uri
  if (from.startsWith('https:') && !uri.startsWith('https:')) throw new Error('its jwks_uri is not https, and it is')
  return uri
}

/** A set that workers can use, and why some of its keys are not in it. */
interface Usable {
  readonly jwks: string
  /** How many there are in it. */
  readonly keys: number
  readonly dropped: readonly string[]
}

async function usable(text: string, mayBeSecret: boolean): Promise<Usable | Error> {
  const read = readKeySet(text, mayBeSecret)
  if (read instanceof Error) return read
  const keys: PublicKey[] = []
  const dropped = [...read.dropped]
  for (const key of read.keys) {
    const fault = await faultIn(key)
    if (fault === null) keys.push(key)
    else dropped.push(`key ${JSON.stringify(key.kid?.slice(0, 64) ?? key.kty)}: ${fault}`)
  }
  if (keys.length === 0) return new Error(['none of its keys can be used', ...dropped].join('; '))
  return { jwks: JSON.stringify({ keys }), keys: keys.length, dropped }
}

/**
 * Names of the sets that are served, where there are more than there may be: of each namespace its first, of each its
 * second, and so on. Who writes many takes nobody's from another namespace.
 */
function servedOf(users: ReadonlyMap<string, readonly User[]>): ReadonlySet<string> {
  const names = [...users.keys()]
  if (names.length <= SETS_MOST) return new Set(names)
  const counts = new Map<string, number>()
  const turns = new Map<string, number>()
  for (const [name, list] of users) {
    for (const namespace of new Set(list.map(({ object }) => object.namespace))) {
      const count = counts.get(namespace) ?? 0
      counts.set(namespace, count + 1)
      turns.set(name, Math.min(turns.get(name) ?? count, count))
    }
  }
  return new Set(names.sort((a, b) => (turns.get(a) ?? 0) - (turns.get(b) ?? 0)).slice(0, SETS_MOST))
}

function fresh(name: string, users: readonly User[], among: Map<string, Wanted>): Wanted {
  const wanted: Wanted = {
    ...{
      name,
      users,
      told: null,
      keys: 0,
      hadMs: null,
      failures: 0,
      failure: null,
      begunMs: null,
      isUnderWay: false,
      faults: [],
    },
    cancel: () => {},
  }
  among.set(name, wanted)
  return wanted
}

function usersIn({ ref, rules }: RequestAuthentication): readonly User[] {
  return rules.map((rule, index) => {
    return { rule, object: ref, field: `spec.jwtRules[${index}].${FIELDS[rule.keys.kind]}` }
  })
}

const FIELDS: Readonly<Record<JwtRule['keys']['kind'], string>> = {
  inline: 'jwks',
  uri: 'jwksUri',
  discovered: 'issuer',
}

function isInline({ users }: Wanted): boolean {
  return users[0]?.rule.keys.kind === 'inline'
}

/** What the settings do not say. */
export interface KeySetsOf extends Pick<KeySetsOptions, 'data' | 'changed' | 'clock'> {
  /** All that the mesh knows, as of now. */
  readonly services: () => readonly Service[]
}

/** As the settings have it. */
export function keySetsBy(config: AgentConfig, { services, ...rest }: KeySetsOf): KeySets {
  const fetch = fetcher({
    bytesMost: config['jwks-kb'] * 1024,
    asksNode: config['jwks-from-node'],
    known: (host, isLost) => clusterIpOf(host, services(), isLost),
  })
  return new KeySets({
    ...{ ...rest, fetch, random: Math.random },
    refreshMs: config['jwks-refresh-seconds'] * 1000,
    askMs: config['jwks-ask-seconds'] * 1000,
    keepMs: config['jwks-keep-seconds'] * 1000,
  })
}

/**
 * Where a Service is dialled, by each of the names that its namespace is in: agents need not ask the cluster's DNS. By
 * `NAME.NAMESPACE` only if `isLost`: it may be the name of a host out there, and nobody's Service takes its place.
 */
export function clusterIpOf(host: string, services: readonly Service[], isLost: boolean): string | null {
  const asked = host.toLowerCase().replace(/\.$/, '')
  const found = services.find((service) => {
    const short = `${service.name}.${service.namespace}`
    return asked === service.host || asked === `${short}.svc` || (isLost && asked === short)
  })
  return found?.addresses.find((address) => !found.externalAddresses.includes(address)) ?? null
}
