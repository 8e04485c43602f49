// The texts in the cells of columns.ts: an object in, a few words out. Pure.
// Source: what kubectl 1.32 prints against Kubernetes 1.32.
import { isRecord } from '../object.ts'
import { selectorOf } from '../selector.ts'
import { ageOf, humanDuration } from './duration.ts'
import { podStatus } from './pod-status.ts'
import type { KubeObject } from '../object.ts'

export const NONE = '<none>'

/** The containers of a workload’s pod template. */
export function templateContainers(spec: any): { name: string; image: string }[] {
  return spec?.template?.spec?.containers ?? []
}

/** `a=b,c=d`, sorted; '<none>' without labels. */
export function labelsText(labels: unknown): string {
  if (!isRecord(labels) || Object.keys(labels).length === 0) return NONE
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`)
  return pairs.sort().join(',')
}

/** A LabelSelector in the syntax of `-l`. */
export function selectorText(selector: Record<string, any>): string {
  const terms = selectorOf(selector).map(({ key, operator, values }) => {
    if (operator === 'exists') return key
    if (operator === 'absent') return `!${key}`
    if (operator === 'in' && values.length === 1) return `${key}=${values[0]}`
    return `${key} ${operator} (${[...values].sort().join(',')})`
  })
  return terms.length === 0 ? NONE : terms.sort().join(',')
}

const SHOWN = 3

/** The first three items and how many more; '<unset>' for none. */
export function listText(items: readonly string[]): string {
  if (items.length === 0) return '<unset>'
  const rest = items.length - SHOWN
  return items.slice(0, SHOWN).join(',') + (rest > 0 ? ` + ${rest} more...` : '')
}

/** Addresses with ports of an Endpoints object. */
export function endpointsText({ subsets }: KubeObject): string {
  const pairs: string[] = (subsets ?? []).flatMap(({ addresses = [], ports = [] }: any) =>
    ports.flatMap(({ port }: any) => addresses.map(({ ip }: any) => `${ip}:${port}`)),
  )
  return pairs.length === 0 ? NONE : listText(pairs)
}

/** Where a Service is reached from outside; '<pending>' for a load balancer without an address. */
export function externalAddress({ spec, status }: KubeObject): string {
  if (spec.type === 'ExternalName') return spec.externalName
  const given: string[] = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }: any) => ip || hostname)
  const all = [...(spec.type === 'LoadBalancer' ? given : []), ...(spec.externalIPs ?? [])]
  if (all.length > 0) return all.join(',')
  return spec.type === 'LoadBalancer' ? '<pending>' : NONE
}

/** '80/TCP', '80:30080/TCP'. */
export function servicePorts({ spec }: KubeObject): string {
  const ports: string[] = (spec.ports ?? []).map(
    ({ port, nodePort, protocol }: any) => `${port}${nodePort ? `:${nodePort}` : ''}/${protocol}`,
  )
  return ports.length === 0 ? NONE : ports.join(',')
}

/** 'Ready', 'NotReady', 'Unknown', with ',SchedulingDisabled' when cordoned. */
export function nodeStatus({ spec, status }: KubeObject): string {
  const ready = (status?.conditions ?? []).find(({ type }: { type: string }) => type === 'Ready')
  const state = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'
  return spec?.unschedulable ? `${state},SchedulingDisabled` : state
}

/** The roles in the labels of a node. */
export function nodeRoles({ metadata }: KubeObject): string {
  const prefix = 'node-role.kubernetes.io/'
  const roles = Object.keys(metadata.labels ?? {}).filter((label) => label.startsWith(prefix))
  return (
    roles
      .map((label) => label.slice(prefix.length))
      .sort()
      .join(',') || NONE
  )
}

/** The node's address of the wanted type: 'InternalIP', 'ExternalIP'. */
export function nodeAddress({ status }: KubeObject, wanted: string): string {
  return (status?.addresses ?? []).find(({ type }: { type: string }) => type === wanted)?.address ?? NONE
}

/** Readiness gates that are met, of all. */
export function readinessGates({ spec, status }: KubeObject): string {
  const gates: { conditionType: string }[] = spec.readinessGates ?? []
  if (gates.length === 0) return NONE
  const isTrue = ({ conditionType }: { conditionType: string }): boolean =>
    (status?.conditions ?? []).some((each: any) => each.type === conditionType && each.status === 'True')
  return `${gates.filter(isTrue).length}/${gates.length}`
}

/** '0', '3 (5m ago)'. */
export function restartsText(pod: KubeObject, now: number): string {
  const { restarts, lastRestart } = podStatus(pod)
  return restarts > 0 && lastRestart !== undefined ? `${restarts} (${ageOf(lastRestart, now)} ago)` : String(restarts)
}

/** The age of the last occurrence of an event. */
export function lastSeen({ series, lastTimestamp, eventTime, firstTimestamp }: KubeObject, now: number): string {
  return ageOf(series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? firstTimestamp, now)
}

/** 'Running', 'Complete', 'Failed' or 'Suspended'. */
export function jobStatus({ status }: KubeObject): string {
  const met = (wanted: string): boolean =>
    (status?.conditions ?? []).some((each: any) => each.type === wanted && each.status === 'True')
  return met('Complete') ? 'Complete' : met('Failed') ? 'Failed' : met('Suspended') ? 'Suspended' : 'Running'
}

/** How long a job ran, or has been running. */
export function jobDuration({ status }: KubeObject, now: number): string {
  if (!status?.startTime) return ''
  const end = status.completionTime ? Date.parse(status.completionTime) : now
  return humanDuration(end - Date.parse(status.startTime))
}

/** What became of a certificate signing request: 'Pending', 'Approved,Issued', 'Denied', 'Approved,Failed'. */
export function certificateCondition({ status }: KubeObject): string {
  const types: unknown[] = (status?.conditions ?? []).map(({ type }: { type?: string }) => type)
  const decision = types.includes('Denied') ? 'Denied' : types.includes('Approved') ? 'Approved' : 'Pending'
  return decision + (types.includes('Failed') ? ',Failed' : '') + (status?.certificate ? ',Issued' : '')
}

/** The names of a binding's subjects of one kind; service accounts with their namespace. */
export function subjectsText({ subjects }: KubeObject, kind: string): string {
  const chosen: { kind: string; name: string; namespace?: string }[] = (subjects ?? []).filter(
    (subject: { kind: string }) => subject.kind === kind,
  )
  return chosen
    .map(({ name, namespace }) => (kind === 'ServiceAccount' ? `${namespace ?? ''}/${name}` : name))
    .join(', ')
}
