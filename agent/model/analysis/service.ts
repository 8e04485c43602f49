// What is found of Services, and of PeerAuthentications that guard what stands behind them.

import { severityOf } from './codes.ts'
import {
  absence,
  type AnalysisWorld,
  type Finding,
  type KnownPod,
  type KnownService,
  keyOf,
  knowsPods,
  labelsText,
  nameOf,
  podsBehind,
  podsIn,
} from './world.ts'
import type { JoinedPod } from '../conflict.ts'
import { enforcements } from '../enforcement.ts'
import { type PeerAuthentication, peerModesOf, peersByNamespace, saysStrict, selects } from '../peer-authentication.ts'
import type { ObjectRef } from '../workload.ts'

/** Ports that leave their protocol to be found out, or that STRICT does not guard. */
export function analyseServices(world: AnalysisWorld): readonly Finding[] {
  const peers = { byNamespace: peersByNamespace(world.peerAuthentications), rootNamespace: world.rootNamespace }
  return world.services.flatMap((known): Finding[] => {
    const pods = podsBehind(world, known)
    if (!isOfMesh(world, known, pods)) return []
    const { service, otherPorts, places } = known
    const object: ObjectRef = { kind: 'Service', namespace: service.namespace, name: service.name }
    const undeclared = service.ports.flatMap(({ port, protocol }, index): Finding[] => {
      if (protocol !== 'sniff') return []
      const field = places[index]?.field ?? 'spec.ports'
      const message = `port ${port} declares no protocol (appProtocol, or a name such as http-web): its first bytes tell`
      return [found('WEFT0401', object, field, message)]
    })
    const strict = (pods ?? []).flatMap((pod) => {
      const { mode, by } = peerModesOf(pod, peers).others
      return pod.joined !== false && mode === 'STRICT' && by !== null ? [by] : []
    })
    const [by] = strict
    if (by === undefined) return undeclared
    const unguarded = otherPorts.map(({ field, port, protocol }) => {
      return found('WEFT0402', object, field, `${protocol} ${port} goes past the mesh: ${nameOf(by)} does not guard it`)
    })
    return [...undeclared, ...unguarded]
  })
}

/** Whether a Service is the mesh's: of a cluster one that a pod of the mesh stands behind, of files each that may be. */
function isOfMesh(world: AnalysisWorld, { service }: KnownService, pods: readonly KnownPod[] | null): boolean {
  if (service.externalName !== null) return false
  if (world.from === 'cluster') return (pods ?? []).some(({ joined }) => joined === true)
  return pods === null || pods.length === 0 || pods.some(({ joined }) => joined !== false)
}

/** STRICT that nobody keeps, or that nobody is under. */
export function analysePeerAuthentications(world: AnalysisWorld): readonly Finding[] {
  const all = world.peerAuthentications
  const pods = world.pods.filter(({ joined }) => joined === true)
  // what files would make is captured once it runs
  const kept = world.from === 'files' ? new Map<string, never>() : enforcements(all, { ...world, pods: captures(pods) })
  return all.filter(saysStrict).flatMap((one): Finding[] => {
    const nobody = emptyOf(world, one)
    if (nobody !== null) return [found('WEFT0403', one.ref, one.selector === null ? '' : 'spec.selector', nobody)]
    const { pods: count = 0, uncaptured = 0, named = [] } = kept.get(keyOf(one.ref)) ?? {}
    if (uncaptured === 0) return []
    const more = uncaptured > named.length ? ` and ${uncaptured - named.length} more` : ''
    const message = `${uncaptured} of ${count} pods under it may take plaintext, not being captured: ${named.join(', ')}${more}`
    return [found('WEFT0404', one.ref, '', message)]
  })
}

function captures(pods: readonly KnownPod[]): readonly JoinedPod[] {
  return pods.map(({ namespace, name, labels, captured }) => ({ namespace, name, labels, captured }))
}

/** Why no pod is under an object, or null. Files with nothing but policies do not tell. */
function emptyOf(world: AnalysisWorld, one: PeerAuthentication): string | null {
  const { selector, ref } = one
  const isAMember = ({ joined }: KnownPod): boolean => joined !== false
  if (selector === null) {
    if (world.from === 'files') return null
    const isForMesh = ref.namespace === world.rootNamespace
    const pods = isForMesh ? world.pods : podsIn(world, ref.namespace)
    return pods.some(isAMember) ? null : `no pod of ${isForMesh ? 'the cluster' : ref.namespace} joined the mesh`
  }
  if (!knowsPods(world, ref.namespace)) return null
  if (podsIn(world, ref.namespace).some((pod) => isAMember(pod) && selects(one, pod))) return null
  const where = world.from === 'files' ? ' of the given files' : ' of the mesh'
  return `no pod${where} in namespace ${ref.namespace} carries ${labelsText(selector)}`
}

/** Namespaces that objects are exported to, and that are not there. Files without Namespaces do not tell. */
export function analyseExports(world: AnalysisWorld): readonly Finding[] {
  const { namespaces } = world
  if (namespaces === null) return []
  return [...world.virtualServices, ...world.destinationRules].flatMap(({ ref, exportTo }) => {
    const unknown = exportTo.filter((name) => name !== '*' && name !== ref.namespace && !namespaces.includes(name))
    return unknown.map((name) => found('WEFT0109', ref, 'spec.exportTo', `namespace ${name} ${absence(world)}`))
  })
}

function found(code: Finding['code'], object: ObjectRef, field: string, message: string): Finding {
  return { code, severity: severityOf(code), object, field, message }
}
