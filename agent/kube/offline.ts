// The world that weft analyze looks at, made of manifests: of files, of a cluster, or of files laid over a cluster.

import { inOrder } from '../model/analysis/analysis.ts'
import { type AnalysisWorld, type Finding, keyOf, type KnownPod, nameOf, type Places } from '../model/analysis/world.ts'
import { DEFAULT_MESH_SETTINGS } from '../model/mesh-settings.ts'
import type { Problem, VirtualService } from '../model/policy.ts'
import type { ObjectRef } from '../model/workload.ts'
import { translateAuthorizationPolicy } from './authorization-policy.ts'
import { translateDestinationRule } from './destination-rule.ts'
import { NETWORKING, SECURITY } from './kinds.ts'
import { MESH_CONFIG, translateMeshSettings } from './mesh-settings.ts'
import type { EndpointSlice, KubeObject, KubeService, Metadata, Pod } from './object.ts'
import type { GivenObject, Manifest, Manifests, Source, Unreadable } from './offline-files.ts'
import { knownService, rulePlaces } from './offline-places.ts'
import { translatePeerAuthentication } from './peer-authentication.ts'
import { translateRequestAuthentication } from './request-authentication.ts'
import { serviceKey, serviceProblems, sliceOwner } from './service.ts'
import { attempt, refOf, type Translation } from './translate.ts'
import { translateVirtualService } from './virtual-service.ts'
import { hasEnded, isJoined, meshWish, remoteWorkload } from './workload.ts'

/** A finding, and where its object was written; null where that is in the cluster alone. */
export interface Located extends Finding {
  readonly file: string | null
  /** From 1. */
  readonly line: number | null
}

/** What was read, and what was found on the way. */
export interface Given {
  readonly world: AnalysisWorld
  /** What came up before any analysis: documents that cannot be read, objects that are given twice. */
  readonly findings: readonly Located[]
  readonly located: (finding: Finding) => Located
  /** How many objects bear on the mesh. */
  readonly objects: number
}

export interface GivenOptions {
  readonly clusterDomain: string
  /** Where the ConfigMap of the mesh's settings is; and of the mesh's policies, while that names no other. */
  readonly rootNamespace: string
  /** When files would be applied, in milliseconds since 1970: what they add to a cluster is younger than all there is. */
  readonly nowMs: number
}

/** Kinds that the mesh reads, by their API group. */
const READ_KINDS: ReadonlyMap<string, readonly string[]> = new Map([
  [NETWORKING.group, ['VirtualService', 'DestinationRule']],
  [SECURITY.group, ['PeerAuthentication', 'AuthorizationPolicy', 'RequestAuthentication']],
])
/** API groups of meshes: what else is of them is not read yet. */
export const MESH_GROUPS: readonly string[] = [
  ...READ_KINDS.keys(),
  ...['telemetry.istio.io', 'extensions.istio.io', 'gateway.networking.k8s.io'],
  ...['linkerd.io', 'policy.linkerd.io'],
  ...['split.smi-spec.io', 'access.smi-spec.io', 'specs.smi-spec.io'],
]
/** Kinds that keep somebody out: whoever relies on one should hear of it. */
const GUARDS: ReadonlySet<string> = new Set([
  ...['policy.linkerd.io/AuthorizationPolicy', 'policy.linkerd.io/ServerAuthorization', 'policy.linkerd.io/Server'],
  ...['access.smi-spec.io/TrafficTarget', 'networking.istio.io/Sidecar'],
])
const WORKLOADS: ReadonlySet<string> = new Set([
  'Deployment',
  'StatefulSet',
  'DaemonSet',
  'ReplicaSet',
  'Job',
  'CronJob',
])
const CORE_KINDS: ReadonlySet<string> = new Set(['Service', 'Pod', 'Namespace', 'EndpointSlice', ...WORKLOADS])

/**
 * What files have, alone or laid over a cluster as if they were applied to it. Of files alone it is not known what else
 * there is.
 */
export function readGiven(
  files: readonly Manifests[],
  cluster: readonly Manifest[] | null,
  options: GivenOptions,
): Given {
  const all = new Map((cluster ?? []).map((manifest) => [identityOf(manifest.object), manifest]))
  const twice: Finding[] = []
  for (const manifest of files.flatMap(({ manifests }) => manifests)) {
    const identity = identityOf(manifest.object)
    const known = all.get(identity)
    if (known?.source) twice.push(givenTwice(manifest.object, known.source))
    all.set(identity, cluster === null ? manifest : applied(manifest, known?.object, options.nowMs))
  }
  const manifests = [...all.values()]
  const sources = new Map(manifests.map(({ object, source }) => [nameOf(refIn(object)), source]))
  const located = (finding: Finding): Located => {
    const source = sources.get(nameOf(finding.object)) ?? null
    return { ...finding, file: source?.file ?? null, line: source?.lineOf(finding.field) ?? null }
  }
  return {
    world: worldOf(
      manifests.map(({ object }) => object),
      cluster === null ? 'files' : 'cluster',
      options,
    ),
    findings: [...files.flatMap(({ unreadable }) => unreadable).map(asFinding), ...inOrder(twice).map(located)],
    located,
    objects: manifests.filter(({ object }) => bearsOnMesh(object)).length,
  }
}

function asFinding({ file, line, reason }: Unreadable): Located {
  const object = { kind: 'File', namespace: '', name: file }
  return { code: 'WEFT0107', severity: 'error', object, field: '', message: reason, file, line }
}

function givenTwice(object: GivenObject, earlier: Source): Finding {
  const message = `stands in ${earlier.file}:${earlier.lineOf('')} too, and counts in place of that`
  return { code: 'WEFT0108', severity: 'warning', object: refIn(object), field: '', message }
}

/** As the API server would have it: as old as what it replaces, else the youngest. */
function applied({ object, source }: Manifest, standing: KubeObject | undefined, nowMs: number): Manifest {
  const now = new Date(nowMs).toISOString()
  const { uid = object.metadata.uid, creationTimestamp = now } = standing?.metadata ?? {}
  return { source, object: { ...object, metadata: { ...object.metadata, uid, creationTimestamp } } }
}

function groupOf({ apiVersion }: GivenObject): string {
  return apiVersion.includes('/') ? (apiVersion.split('/', 1)[0] as string) : ''
}

/** Versions of one kind are one object. */
function identityOf(object: GivenObject): string {
  return `${groupOf(object)}/${nameOf(refIn(object))}`
}

function refIn(object: GivenObject): ObjectRef {
  return refOf(object.kind, object)
}

function bearsOnMesh(object: GivenObject): boolean {
  const isSettings = object.kind === 'ConfigMap' && object.metadata.name === MESH_CONFIG
  return MESH_GROUPS.includes(groupOf(object)) || CORE_KINDS.has(object.kind) || isSettings
}

function worldOf(objects: readonly GivenObject[], from: AnalysisWorld['from'], options: GivenOptions): AnalysisWorld {
  const { clusterDomain } = options
  const byKind = Map.groupBy(objects, (object) => `${groupOf(object)}/${object.kind}`)
  const of = <T extends KubeObject>(kind: string): readonly T[] =>
    (byKind.get(kind) ?? []) as readonly KubeObject[] as T[]
  const problems: Problem[] = []
  const rejected: Problem[] = []
  const read = <T>(kind: string, translate: (object: KubeObject) => Translation<T>): readonly T[] =>
    of(kind).flatMap((object) => {
      const translation = attempt(refOf(kind.split('/')[1] as string, object), () => translate(object))
      ;(translation.rejected ? rejected : problems).push(...translation.problems)
      return translation.value === null || translation.rejected ? [] : [translation.value]
    })
  const virtualServices = read(`${NETWORKING.group}/VirtualService`, (one) =>
    translateVirtualService(one, clusterDomain),
  )
  const destinationRules = read(`${NETWORKING.group}/DestinationRule`, (one) =>
    translateDestinationRule(one, clusterDomain),
  )
  const guards = {
    peerAuthentications: read(`${SECURITY.group}/PeerAuthentication`, translatePeerAuthentication),
    authorizationPolicies: read(`${SECURITY.group}/AuthorizationPolicy`, translateAuthorizationPolicy),
    requestAuthentications: read(`${SECURITY.group}/RequestAuthentication`, translateRequestAuthentication),
  }
  const slices = Map.groupBy(of<EndpointSlice>('discovery.k8s.io/EndpointSlice'), (slice) => sliceOwner(slice) ?? '')
  const services = read('/Service', (one) => ({
    value: knownService(
      one,
      slices.get(serviceKey(one.metadata.namespace ?? '', one.metadata.name)) ?? [],
      clusterDomain,
    ),
    rejected: false,
    problems: serviceProblems(one as KubeService),
  }))
  const settings = of('/ConfigMap').filter(({ metadata }) => {
    return metadata.name === MESH_CONFIG && metadata.namespace === options.rootNamespace
  })
  const [mesh] = settings.map((object) => attempt(refOf('ConfigMap', object), () => translateMeshSettings(object)))
  ;(mesh?.rejected ? rejected : problems).push(...(mesh?.problems ?? []))
  const namespaces = new Map(of('/Namespace').map(({ metadata }) => [metadata.name, metadata]))
  return {
    from,
    clusterDomain,
    rootNamespace: mesh?.value?.rootNamespace ?? options.rootNamespace,
    namespaces: from === 'cluster' || namespaces.size > 0 ? [...namespaces.keys()] : null,
    services,
    pods: objects.flatMap((object) => podsOf(object, namespaces)),
    virtualServices,
    destinationRules,
    ...guards,
    mesh: mesh?.value ?? (from === 'cluster' ? DEFAULT_MESH_SETTINGS : null),
    places: placesIn(of(`${NETWORKING.group}/VirtualService`), virtualServices),
    rejected,
    unhonoured: problems,
    unread: objects.filter(isUnread).map((object) => {
      return { object: refIn(object), guards: GUARDS.has(`${groupOf(object)}/${object.kind}`) }
    }),
  }
}

/** Whether it is of a mesh, and not of this one. */
export function isUnread(object: GivenObject): boolean {
  const group = groupOf(object)
  return MESH_GROUPS.includes(group) && READ_KINDS.get(group)?.includes(object.kind) !== true
}

function placesIn(objects: readonly KubeObject[], all: readonly VirtualService[]): ReadonlyMap<string, Places> {
  const specs = new Map(objects.map((object) => [keyOf(refOf('VirtualService', object)), object.spec]))
  return new Map(all.map((one) => [keyOf(one.ref), rulePlaces(specs.get(keyOf(one.ref)), one)]))
}

/** A pod, or one that a workload would make; none of what has ended, or is scaled to nothing. */
function podsOf(object: GivenObject, namespaces: ReadonlyMap<string, Metadata>): readonly KnownPod[] {
  const { kind, metadata } = object
  if (kind === 'Pod') {
    if (hasEnded(object as Pod) || metadata.deletionTimestamp !== undefined) return []
    return [knownPod(object, namespaces)]
  }
  if (!WORKLOADS.has(kind) || metadata.ownerReferences?.some(({ controller }) => controller)) return []
  const template = templateOf(object)
  if (template === null) return []
  const { name, namespace } = metadata
  return [
    knownPod(
      { metadata: { ...metadata, ...NO_WORDS, ...template, name, ...(namespace === undefined ? {} : { namespace }) } },
      namespaces,
    ),
  ]
}

const NO_WORDS = { labels: {}, annotations: {} }

type Words = Pick<Metadata, 'labels' | 'annotations'>
interface Template {
  readonly replicas?: number
  readonly template?: { readonly metadata?: Words | null }
}

/** What the pods of a workload say of themselves; null where it makes none. */
function templateOf({ kind, spec }: GivenObject): Words | null {
  const given = spec as (Template & { readonly jobTemplate?: { readonly spec?: Template } }) | undefined
  const made = kind === 'CronJob' ? given?.jobTemplate?.spec : given
  if (made?.template === undefined || made.replicas === 0) return null
  const { labels = {}, annotations = {} } = made.template.metadata ?? {}
  return { labels, annotations }
}

function knownPod(pod: KubeObject, namespaces: ReadonlyMap<string, Metadata>): KnownPod {
  const space = namespaces.get(pod.metadata.namespace ?? '')
  const { namespace, name, labels, captured } = remoteWorkload(pod, space)
  const isTold = space !== undefined || meshWish(pod.metadata) !== null
  return { namespace, name, labels, captured, joined: isTold ? isJoined(pod.metadata, space) : null }
}
