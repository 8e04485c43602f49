// Makes a snapshot of the one before and a delta. The work is a generator: each yield is a moment at which it may pause,
// some ten microseconds after the one before, so that connections go on meanwhile.

import { DEFAULT_MESH_SETTINGS } from './mesh-settings.ts'
import { addressText } from './address.ts'
import { ClaimsEdit, insertedByName, noClaims } from './claims.ts'
import { compileCors } from './http/cors.ts'
import { callerLabelsOf } from './destination.ts'
import type { RequestAuthentication } from './authentication/request-authentication.ts'
import type { AuthorizationPolicy } from './authorization/policy.ts'
import { Protections } from './authorization/protection.ts'
import { type CompiledPolicy, compilePolicy } from './authorization/table.ts'
import { type Changes, type Delta, KEYS, type Settings, settingsOf, wholeOf } from './delta.ts'
import { byAge, HostEdit, noHosts } from './host-index.ts'
import { type Edit, Layered } from './layered.ts'
import { flowTest } from './flow-match.ts'
import { NOWHERE_KNOWN } from './balance/locality.ts'
import { requestTest } from './http/match.ts'
import { ruleName } from './http/route.ts'
import type { PeerAuthentication } from './peer-authentication.ts'
import type { FlowRule, HttpRule, VirtualService } from './policy.ts'
import type { DestinationRule } from './traffic-policy.ts'
import { substitutionOf } from './http/rewrite.ts'
import type { Service } from './service.ts'
import type { CompiledFlowRule, CompiledRule, CompiledVirtualService } from './snapshot.ts'
import type { DialledAt, Inventory, ServiceAt, Snapshot } from './snapshot.ts'
import type { ObjectRef, Workload } from './workload.ts'

/** An object that cannot be in force, and why. The last good one of its name stays. */
export interface Refusal {
  readonly object: ObjectRef
  readonly why: string
}

/** Objects, endpoints or hosts worked through between two pauses. */
const STEP = 16

const UNKNOWN: Settings = { rootNamespace: '', mesh: DEFAULT_MESH_SETTINGS, node: '', locality: NOWHERE_KNOWN }

/** Before the first inventory nothing is known; destinations are then gone to as they were dialled. */
export function nothing(settings: Settings = UNKNOWN): Snapshot {
  return {
    version: 0,
    rootNamespace: settings.rootNamespace,
    settings,
    workloadByUid: Layered.empty(),
    workloadByIp: Layered.empty(),
    serviceByHost: Layered.empty(),
    serviceByAddress: Layered.empty(),
    aliases: Layered.empty(),
    servicesByEndpoint: Layered.empty(),
    virtualServices: noHosts(),
    destinationRules: noHosts(),
    peerAuthentications: Layered.empty(),
    authorizationPolicies: Layered.empty(),
    requestAuthentications: Layered.empty(),
    sources: {
      ips: noClaims(),
      addresses: noClaims(),
      virtualServices: Layered.empty(),
      destinationRules: Layered.empty(),
    },
    memo: new Map(),
    callerLabels: [],
    peerModes: new WeakMap(),
    protections: new Protections(),
  }
}

/** Runs a build to its end without a pause. */
export function drained<T>(work: Generator<void, T>): T {
  for (;;) {
    const step = work.next()
    if (step.done === true) return step.value
  }
}

/** Indexes an inventory at once. What cannot be compiled of it is left out, and told to `refused`. */
export function compileWhole(inventory: Inventory, refused: (refusal: Refusal) => void): Snapshot {
  const before = nothing(settingsOf(inventory))
  const draft = new Draft(before, before, refused)
  drained(draft.add(wholeOf(inventory)))
  return drained(draft.done(inventory.version))
}

/** A snapshot under construction. */
export class Draft {
  readonly #before: Snapshot
  readonly #lastGood: Snapshot
  readonly #refused: (refusal: Refusal) => void
  readonly #workloads: Edit<Workload>
  readonly #ips: ClaimsEdit<Workload>
  readonly #services: Edit<Service>
  readonly #addresses: ClaimsEdit<DialledAt>
  readonly #aliases: Edit<Service>
  readonly #endpoints: Edit<readonly ServiceAt[]>
  readonly #virtualServices: Edit<CompiledVirtualService>
  readonly #virtualServiceHosts: HostEdit<CompiledVirtualService>
  readonly #destinationRules: Edit<DestinationRule>
  readonly #destinationRuleHosts: HostEdit<DestinationRule>
  readonly #peerAuthentications: Edit<readonly PeerAuthentication[]>
  readonly #authorizationPolicies: Edit<readonly CompiledPolicy[]>
  readonly #requestAuthentications: Edit<readonly RequestAuthentication[]>
  #settings: Settings
  #steps = 0

  /** Upon `before`, which stays as it is. An object that cannot be compiled keeps the form it has in `lastGood`. */
  constructor(before: Snapshot, lastGood: Snapshot, refused: (refusal: Refusal) => void) {
    this.#before = before
    this.#lastGood = lastGood
    this.#refused = refused
    this.#settings = before.settings
    this.#workloads = before.workloadByUid.edit()
    this.#ips = new ClaimsEdit(before.sources.ips, claimOf)
    this.#services = before.serviceByHost.edit()
    this.#addresses = new ClaimsEdit(before.sources.addresses, rankOf)
    this.#aliases = before.aliases.edit()
    this.#endpoints = before.servicesByEndpoint.edit()
    this.#virtualServices = before.sources.virtualServices.edit()
    this.#virtualServiceHosts = new HostEdit(before.virtualServices, {
      hosts: ({ source }) => source.hosts,
      source: ({ source }) => source,
    })
    this.#destinationRules = before.sources.destinationRules.edit()
    this.#destinationRuleHosts = new HostEdit(before.destinationRules, {
      hosts: ({ host }) => [host],
      source: (rule) => rule,
    })
    this.#peerAuthentications = before.peerAuthentications.edit()
    this.#authorizationPolicies = before.authorizationPolicies.edit()
    this.#requestAuthentications = before.requestAuthentications.edit()
  }

  /** Takes one piece of a delta. */
  *add(piece: Omit<Delta, 'from' | 'version'>): Generator<void> {
    const { settings, workloads, services, virtualServices, destinationRules } = piece
    const { peerAuthentications, authorizationPolicies, requestAuthentications } = piece
    this.#settings = settings
    for (const uid of workloads.gone) yield* this.#workload(uid, null)
    for (const workload of workloads.set) yield* this.#workload(workload.uid, workload)
    for (const host of services.gone) yield* this.#service(host, null)
    for (const service of services.set) yield* this.#service(service.host, service)
    for (const key of virtualServices.gone) this.#putVirtualService(key, null)
    for (const source of virtualServices.set) yield* this.#virtualService(source)
    for (const key of destinationRules.gone) yield* this.#destinationRule(key, null)
    for (const rule of destinationRules.set) yield* this.#destinationRule(KEYS.destinationRules(rule), rule)
    yield* this.#byNamespace(this.#peerAuthentications, peerAuthentications, (one) => one)
    yield* this.#authorization(authorizationPolicies)
    yield* this.#byNamespace(this.#requestAuthentications, requestAuthentications, (one) => one)
  }

  /** The snapshot. The draft is used up. */
  *done(version: number): Generator<void, Snapshot> {
    const ips = yield* this.#ips.done()
    const addresses = yield* this.#addresses.done()
    const peerAuthentications = yield* this.#peerAuthentications.done()
    const { rootNamespace } = this.#settings
    const destinationRules = yield* this.#destinationRules.done()
    const areRulesSame = destinationRules === this.#before.sources.destinationRules
    const arePeersSame =
      peerAuthentications === this.#before.peerAuthentications && rootNamespace === this.#before.rootNamespace
    const authorizationPolicies = yield* this.#authorizationPolicies.done()
    const requestAuthentications = yield* this.#requestAuthentications.done()
    const servicesByEndpoint = yield* this.#endpoints.done()
    const ground = { rootNamespace, authorizationPolicies, requestAuthentications, servicesByEndpoint }
    return {
      version,
      rootNamespace,
      settings: this.#settings,
      workloadByUid: yield* this.#workloads.done(),
      workloadByIp: ips.owner,
      serviceByHost: yield* this.#services.done(),
      serviceByAddress: addresses.owner,
      aliases: yield* this.#aliases.done(),
      servicesByEndpoint,
      virtualServices: yield* this.#virtualServiceHosts.done(),
      destinationRules: yield* this.#destinationRuleHosts.done(),
      peerAuthentications,
      authorizationPolicies,
      requestAuthentications,
      sources: {
        ips,
        addresses,
        virtualServices: yield* this.#virtualServices.done(),
        destinationRules,
      },
      memo: new Map(),
      callerLabels: areRulesSame ? this.#before.callerLabels : callerLabelsOf(destinationRules.values()),
      peerModes: arePeersSame ? this.#before.peerModes : new WeakMap(),
      protections: this.#before.protections.after(this.#before, ground),
    }
  }

  *#workload(uid: string, now: Workload | null): Generator<void> {
    const before = this.#workloads.get(uid)
    for (const ip of before === undefined ? [] : ipsOf(before)) this.#ips.withdraw(ip, claimOf(before as Workload))
    put(this.#workloads, uid, now)
    for (const ip of now === null ? [] : ipsOf(now)) this.#ips.claim(ip, now as Workload)
    yield* this.#step()
  }

  *#service(host: string, now: Service | null): Generator<void> {
    const before = this.#services.get(host)
    if (before !== undefined && before.externalName !== null) this.#aliases.delete(aliasKey(before))
    for (const at of before === undefined ? [] : placesOf(before)) {
      for (const [key, dialled] of dialledAt(at)) this.#addresses.withdraw(key, rankOf(dialled))
      for (const key of endpointKeys(at)) {
        this.#putEndpoint(
          key,
          (this.#endpoints.get(key) ?? []).filter(({ service }) => service.host !== host),
        )
        yield* this.#step()
      }
    }
    put(this.#services, host, now)
    if (now !== null && now.externalName !== null) this.#aliases.set(aliasKey(now), now)
    for (const at of now === null ? [] : placesOf(now)) {
      for (const [key, dialled] of dialledAt(at)) this.#addresses.claim(key, dialled)
      for (const key of endpointKeys(at)) {
        this.#putEndpoint(key, insertedByName(this.#endpoints.get(key) ?? [], at, hostOf))
        yield* this.#step()
      }
    }
    yield* this.#step()
  }

  #putEndpoint(key: string, behind: readonly ServiceAt[]): void {
    put(this.#endpoints, key, behind.length === 0 ? null : behind)
  }

  *#virtualService(source: VirtualService): Generator<void> {
    const key = KEYS.virtualServices(source)
    try {
      this.#putVirtualService(key, yield* compileVirtualService(source))
    } catch (thrown) {
      this.#putVirtualService(
        key,
        this.#virtualServices.get(key) ?? this.#lastGood.sources.virtualServices.get(key) ?? null,
      )
      this.#refused({ object: source.ref, why: thrown instanceof Error ? thrown.message : String(thrown) })
    }
  }

  #putVirtualService(key: string, now: CompiledVirtualService | null): void {
    const before = this.#virtualServices.get(key)
    if (before !== undefined) this.#virtualServiceHosts.remove(before)
    put(this.#virtualServices, key, now)
    if (now !== null) this.#virtualServiceHosts.add(now)
  }

  *#destinationRule(key: string, now: DestinationRule | null): Generator<void> {
    const before = this.#destinationRules.get(key)
    if (before !== undefined) this.#destinationRuleHosts.remove(before)
    put(this.#destinationRules, key, now)
    if (now !== null) this.#destinationRuleHosts.add(now)
    yield* this.#step()
  }

  /** One that cannot be compiled keeps its last good form. */
  *#authorization({ set, gone }: Changes<AuthorizationPolicy>): Generator<void> {
    const compiled: CompiledPolicy[] = []
    for (const source of set) {
      try {
        compiled.push(compilePolicy(source))
      } catch (thrown) {
        const { namespace, name } = source.ref
        const last = this.#lastGood.authorizationPolicies.get(namespace)?.find((one) => one.source.ref.name === name)
        if (last !== undefined) compiled.push(last)
        this.#refused({ object: source.ref, why: thrown instanceof Error ? thrown.message : String(thrown) })
      }
      yield* this.#step()
    }
    yield* this.#byNamespace(this.#authorizationPolicies, { set: compiled, gone }, ({ source }) => source)
  }

  /** Puts objects into lists by namespace, each the oldest first. */
  *#byNamespace<T>(
    index: Edit<readonly T[]>,
    { set, gone }: Changes<T>,
    sourceOf: (one: T) => { readonly ref: ObjectRef; readonly createdMs: number },
  ): Generator<void> {
    const without = (namespace: string, name: string): readonly T[] =>
      (index.get(namespace) ?? []).filter((one) => sourceOf(one).ref.name !== name)
    for (const key of gone) {
      const [namespace = '', name = ''] = key.split('/')
      const others = without(namespace, name)
      put(index, namespace, others.length === 0 ? null : others)
      yield* this.#step()
    }
    for (const one of set) {
      const { namespace, name } = sourceOf(one).ref
      index.set(
        namespace,
        [...without(namespace, name), one].sort((a, b) => byAge(sourceOf(a), sourceOf(b))),
      )
      yield* this.#step()
    }
  }

  *#step(): Generator<void> {
    if (++this.#steps % STEP === 0) yield
  }
}

/** Regexes are what takes long: a pause after each rule. */
function* compileVirtualService(source: VirtualService): Generator<void, CompiledVirtualService> {
  const http: CompiledRule[] = []
  for (const rule of source.http) {
    http.push(compileRule(rule, source.ref))
    yield
  }
  const tls = compileFlows(source, 'tls')
  yield
  return { source, http, tls, tcp: compileFlows(source, 'tcp') }
}

function compileFlows(source: VirtualService, list: 'tls' | 'tcp'): readonly CompiledFlowRule[] {
  return source[list].map((rule: FlowRule, index) => {
    const by = { object: source.ref, rule: `${list}[${index}]` }
    return { rule, by, tests: rule.matches.map(flowTest) }
  })
}

function compileRule(rule: HttpRule, object: ObjectRef): CompiledRule {
  const by = { object, rule: rule.name }
  // a bad regex is refused here, and not when a request comes
  if (rule.rewrite?.regex != null) substitutionOf(rule.rewrite.regex)
  if (rule.cors !== null) compileCors(rule.cors)
  const matches = rule.matches.map((match) => {
    const named = match.name === '' ? by : { object, rule: ruleName(rule.name, match.name) }
    return { match, by: named, test: requestTest(match) }
  })
  return { rule, by, matches }
}

function put<T>(index: Edit<T>, key: string, now: T | null): void {
  if (now === null) index.delete(key)
  else index.set(key, now)
}

/** hostNetwork pods have none of their own: their address is the node's. */
function ipsOf({ hostNetwork, ips }: Workload): readonly string[] {
  return hostNetwork ? [] : ips
}

/** Nobody takes another's address by announcing it. */
function claimOf({ uid, placedBy }: Workload): string {
  return `${PLACES.indexOf(placedBy)} ${uid}`
}

const PLACES: readonly Workload['placedBy'][] = ['spec', 'endpoints', 'announcement']

function hostOf({ service }: ServiceAt): string {
  return service.host
}

function placesOf(service: Service): readonly ServiceAt[] {
  return service.ports.map((port) => ({ service, port }))
}

/** What it is dialled by. */
function dialledAt({ service, port }: ServiceAt): readonly (readonly [key: string, at: DialledAt])[] {
  return service.addresses.map((ip) => {
    const external = service.externalAddresses.includes(ip)
    return [addressText({ ip, port: port.port }), { service, port, external }]
  })
}

/** Nobody takes another's ClusterIP by naming it as an external one. */
function rankOf({ service, external }: DialledAt): string {
  return `${external ? 'external' : 'cluster'} ${service.host}`
}

/** `name.namespace`: with what the cluster is called behind it, its host. */
function aliasKey({ name, namespace }: Service): string {
  return `${name}.${namespace}`.toLowerCase()
}

function endpointKeys({ port }: ServiceAt): readonly string[] {
  return port.endpoints.map(({ address }) => addressText(address))
}
