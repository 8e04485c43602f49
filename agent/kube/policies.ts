// Every policy object of the cluster and the verdict on it: what weft controller has to say, at each change.

import {
  destinationRuleLosses,
  type Ground,
  type Losses,
  losesKey,
  peerAuthenticationLosses,
  virtualServiceLosses,
} from '../model/conflict.ts'
import {
  authenticationEnforcements,
  authorizationEnforcements,
  type Enforcement,
  enforcements,
} from '../model/enforcement.ts'
import { DEFAULT_MESH_SETTINGS, type MeshSettings } from '../model/mesh-settings.ts'
import type { Verdict } from '../model/verdict.ts'
import type { ObjectRef } from '../model/workload.ts'
import { translateAuthorizationPolicy } from './authorization-policy.ts'
import type { KubeClient } from './client.ts'
import { translateDestinationRule } from './destination-rule.ts'
import { JoinedPods, RUNNING_PODS } from './joined-pods.ts'
import { builtIn, custom, meshSettings, NETWORKING, SECURITY } from './kinds.ts'
import { translateMeshSettings } from './mesh-settings.ts'
import type { KubeObject } from './object.ts'
import { type ObjectChange, Reflector, type ReflectorLog, type ReflectorSource } from './reflector.ts'
import { translatePeerAuthentication } from './peer-authentication.ts'
import { translateRequestAuthentication } from './request-authentication.ts'
import { refOf, type Translation } from './translate.ts'
import { Translations } from './translations.ts'
import { translateVirtualService } from './virtual-service.ts'

/** A kind of policy: where it is served, how one object is read, and how several of them get along. */
interface PolicyKind<T> {
  readonly kind: string
  readonly group: string
  readonly versions: readonly string[]
  readonly plural: string
  readonly translate: (object: KubeObject, clusterDomain: string) => Translation<T>
  readonly losses: Found<T, Losses>
  /** How it stands with objects that demand something of pods; null for a kind that does not look at pods at all. */
  readonly enforcement: Found<T, ReadonlyMap<string, Enforcement>> | null
}

/** What is found of all objects of a kind together. */
type Found<T, R> = (all: readonly T[], ground: Ground) => R

/** The kinds that the mesh reads. A new one is one more row. */
const KINDS = [
  open({
    ...NETWORKING,
    kind: 'VirtualService',
    plural: 'virtualservices',
    translate: translateVirtualService,
    losses: virtualServiceLosses,
    enforcement: null,
  }),
  open({
    ...NETWORKING,
    kind: 'DestinationRule',
    plural: 'destinationrules',
    translate: translateDestinationRule,
    losses: destinationRuleLosses,
    enforcement: null,
  }),
  open({
    ...SECURITY,
    kind: 'PeerAuthentication',
    plural: 'peerauthentications',
    translate: translatePeerAuthentication,
    losses: peerAuthenticationLosses,
    enforcement: enforcements,
  }),
  open({
    ...SECURITY,
    kind: 'AuthorizationPolicy',
    plural: 'authorizationpolicies',
    translate: translateAuthorizationPolicy,
    losses: noLosses,
    enforcement: authorizationEnforcements,
  }),
  open({
    ...SECURITY,
    kind: 'RequestAuthentication',
    plural: 'requestauthentications',
    translate: translateRequestAuthentication,
    losses: noLosses,
    enforcement: authenticationEnforcements,
  }),
] as const

/** All of them are in force together: none overrides another. */
function noLosses(): Losses {
  return new Map()
}

/** An object as it stands in the cluster, and what is to be said of it. */
export interface Judged {
  readonly object: KubeObject
  readonly verdict: Verdict
  /** Whether its kind has a status by nature; without one it is told by Events. */
  readonly hasStatus: boolean
  /** Group and version it is served at: `networking.istio.io/v1`. */
  readonly apiVersion: string
  /** Path of its collection over all namespaces, and of the object itself. */
  readonly collection: string
  readonly path: string
}

export interface PoliciesOptions {
  readonly clusterDomain: string
  /** Where the ConfigMap of the mesh's settings is; and of the mesh's policies, while that names no other. */
  readonly rootNamespace: string
  /** Changes that come within so many milliseconds are judged once. */
  readonly settleMs: number
}

/** Watches the policy kinds and tells the verdict on every object at each change, once all kinds were listed. */
export class Policies {
  readonly #options: PoliciesOptions
  readonly #onJudged: (all: readonly Judged[]) => void
  readonly #namespaces: Reflector
  readonly #pods: Reflector
  readonly #joined = new JoinedPods()
  readonly #settings: Watched
  /** What the mesh's settings say, as agents have them in force. */
  readonly #meshSettings = new Translations('ConfigMap', translateMeshSettings)
  readonly #kinds: readonly Watched[]
  #listed = false
  #stopped = false
  #timer: NodeJS.Timeout | null = null

  constructor(
    client: KubeClient,
    options: PoliciesOptions,
    on: { readonly judged: (all: readonly Judged[]) => void; readonly log: ReflectorLog },
  ) {
    this.#options = options
    this.#onJudged = on.judged
    const listen = { change: () => this.#schedule(), log: on.log }
    const namespaces = builtIn('namespaces', '/api/v1/namespaces', { metadataOnly: true })
    const spaces = (changes: readonly ObjectChange[]): void => {
      this.#joined.takeNamespaces(changes)
      listen.change()
    }
    this.#namespaces = new Reflector(namespaces, client, { ...listen, change: spaces })
    const pods = (changes: readonly ObjectChange[]): void => {
      if (this.#joined.takePods(changes)) listen.change() // most of their changes are of no matter here
    }
    this.#pods = new Reflector(RUNNING_PODS, client, { ...listen, change: pods })
    this.#settings = watchedSettings(client, options.rootNamespace, this.#meshSettings, listen)
    this.#kinds = KINDS.map((start) => start(client, options.clusterDomain, listen))
  }

  /** Starts all watches; resolves when every kind was listed once. */
  async start(): Promise<void> {
    const reflectors = this.#reflectors()
    for (const reflector of reflectors) void reflector.run() // never throws: it logs and tries again
    await Promise.all(reflectors.map(({ synced }) => synced))
    this.#listed = true
    this.#schedule()
  }

  /** What holds for the whole mesh at this moment. */
  get meshSettings(): MeshSettings {
    this.#meshSettings.flush()
    const [settings] = this.#meshSettings.values
    return settings ?? DEFAULT_MESH_SETTINGS
  }

  /** Ends all watches; nothing is told after. */
  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    for (const reflector of this.#reflectors()) reflector.stop()
  }

  #reflectors(): readonly Reflector[] {
    return [this.#namespaces, this.#pods, this.#settings.reflector, ...this.#kinds.map(({ reflector }) => reflector)]
  }

  #schedule(): void {
    if (!this.#listed || this.#stopped || this.#timer !== null) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#onJudged(this.#judge())
    }, this.#options.settleMs)
  }

  #judge(): Judged[] {
    const namespaces = [...this.#namespaces.objects.values()].map(({ metadata }) => metadata.name)
    const { clusterDomain } = this.#options
    const rootNamespace = this.meshSettings.rootNamespace ?? this.#options.rootNamespace
    const watched = [this.#settings, ...this.#kinds]
    const ground = { namespaces, clusterDomain, rootNamespace, pods: this.#joined.values }
    return watched.flatMap(({ judge }) => judge(ground))
  }
}

interface Watched {
  readonly reflector: Reflector
  readonly judge: (ground: Ground) => Judged[]
}

type Listen = { readonly change: () => void; readonly log: ReflectorLog }

/** Ties a kind's parts together, so that a table may hold kinds of different types. */
function open<T>(row: PolicyKind<T>): (client: KubeClient, clusterDomain: string, listen: Listen) => Watched {
  return (client, clusterDomain, listen) => {
    const source = custom(client, row.plural, row)
    let served = ''
    const path: ReflectorSource['path'] = async () => {
      const found = await source.path()
      served = found ?? served
      return found
    }
    const translations = new Translations(row.kind, (object) => row.translate(object, clusterDomain))
    const change = (changes: readonly ObjectChange[]): void => {
      translations.take(changes)
      listen.change()
    }
    const reflector = new Reflector({ ...source, path }, client, { ...listen, change })
    const readsPods = row.enforcement !== null
    const lossesOf = remembered(row.losses, readsPods)
    const enforcementsOf = row.enforcement === null ? null : remembered(row.enforcement, readsPods)
    const judge = (ground: Ground): Judged[] => {
      translations.flush()
      const all = [...translations.values]
      const losses = lossesOf(all, ground)
      const kept = enforcementsOf?.(all, ground) ?? null
      return translations.each().map(({ object, translation }) => {
        const verdict = verdictOf(refOf(row.kind, object), translation, { losses, kept })
        return { object, verdict, hasStatus: true, ...placeOf(served, row.plural, object) }
      })
    }
    return { reflector, judge }
  }
}

/** The ConfigMap with the mesh's settings: it has no status, and nobody to conflict with. */
function watchedSettings(
  client: KubeClient,
  rootNamespace: string,
  translations: Translations<MeshSettings>,
  listen: Listen,
): Watched {
  const change = (changes: readonly ObjectChange[]): void => {
    translations.take(changes)
    listen.change()
  }
  const collection = `/api/v1/namespaces/${rootNamespace}/configmaps`
  const judge = (): Judged[] =>
    translations.each().map(({ object, translation }) => {
      const found = { losses: new Map(), kept: null }
      const verdict = verdictOf(refOf('ConfigMap', object), translation, found)
      const path = `${collection}/${object.metadata.name}`
      return { object, verdict, hasStatus: false, apiVersion: 'v1', collection, path }
    })
  return { reflector: new Reflector(meshSettings(rootNamespace), client, { ...listen, change }), judge }
}

/** As given, but asked again of the same it answers as before: statuses change far more often, and pods all the time. */
function remembered<T, R>(find: Found<T, R>, readsPods: boolean): Found<T, R> {
  let last: { readonly all: readonly T[]; readonly ground: Ground; readonly found: R } | null = null
  return (all, ground) => {
    const isSame =
      last !== null &&
      sameItems(last.all, all) &&
      sameGround(last.ground, ground) &&
      (!readsPods || last.ground.pods === ground.pods)
    if (last === null || !isSame) last = { all, ground, found: find(all, ground) }
    return last.found
  }
}

const sameGround = (one: Ground, other: Ground): boolean =>
  one.rootNamespace === other.rootNamespace && sameItems(one.namespaces, other.namespaces)

const sameItems = (one: readonly unknown[], other: readonly unknown[]): boolean =>
  one.length === other.length && one.every((item, index) => item === other[index])

/** What was found of the objects of a kind together; `kept` is null for a kind that demands nothing of pods. */
interface Findings {
  readonly losses: Losses
  readonly kept: ReadonlyMap<string, Enforcement> | null
}

function verdictOf(
  object: ObjectRef,
  { rejected, problems }: Translation<unknown>,
  { losses, kept }: Findings,
): Verdict {
  const key = losesKey(object)
  return {
    object,
    rejected: rejected ? (problems[0] ?? null) : null,
    unhonoured: rejected ? [] : problems,
    losses: losses.get(key) ?? [],
    enforcement: kept === null ? null : (kept.get(key) ?? 'none'),
  }
}

/** Where an object is served, from the path of its collection: `/apis/GROUP/VERSION/PLURAL`. */
function placeOf(
  collection: string,
  plural: string,
  { metadata }: KubeObject,
): Pick<Judged, 'apiVersion' | 'collection' | 'path'> {
  const [, , group = '', version = ''] = collection.split('/')
  const root = `/apis/${group}/${version}`
  return {
    apiVersion: `${group}/${version}`,
    collection,
    path: `${root}/namespaces/${metadata.namespace ?? ''}/${plural}/${metadata.name}`,
  }
}
