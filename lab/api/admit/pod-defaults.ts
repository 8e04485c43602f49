// Defaults of a PodSpec, in a Pod and in the template of a workload; the QoS class that follows from its resources.
// Source: Kubernetes API reference 1.32 "PodSpec", "Container", "Probe"; documentation "Pod Quality of Service Classes".
import { fill, isRecord } from '../object.ts'

const FILE_MODE = 0o644
const TOKEN_SECONDS = 3_600

/** Fills in a PodSpec in place. */
export function defaultPodSpec(spec: Record<string, any>): void {
  fill(spec, {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
  })
  if (spec['serviceAccountName'] === undefined && spec['serviceAccount'])
    spec['serviceAccountName'] = spec['serviceAccount']
  for (const container of containersOf(spec)) defaultContainer(container)
  for (const volume of listOf(spec['volumes'])) defaultVolume(volume)
}

function defaultContainer(container: Record<string, any>): void {
  fill(container, {
    resources: {},
    imagePullPolicy: pullPolicyOf(String(container['image'] ?? '')),
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
  })
  for (const port of listOf(container['ports'])) fill(port, { protocol: 'TCP' })
  for (const variable of listOf(container['env'])) {
    if (isRecord(variable['valueFrom']?.fieldRef)) fill(variable['valueFrom'].fieldRef, { apiVersion: 'v1' })
  }
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    if (isRecord(container[name])) defaultProbe(container[name])
  }
  const { limits } = container['resources']
  if (isRecord(limits)) {
    container['resources'].requests ??= {}
    fill(container['resources'].requests, limits)
  }
}

function defaultProbe(probe: Record<string, any>): void {
  const defaults = { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 }
  // Zero counts as absent: a period of none would be a probe without a pause.
  for (const [field, value] of Object.entries(defaults)) probe[field] ||= value
  if (isRecord(probe['httpGet'])) fill(probe['httpGet'], { path: '/', scheme: 'HTTP' })
}

function defaultVolume(volume: Record<string, any>): void {
  for (const kind of ['configMap', 'secret', 'projected', 'downwardAPI']) {
    if (isRecord(volume[kind])) fill(volume[kind], { defaultMode: FILE_MODE })
  }
  for (const { serviceAccountToken } of listOf(volume['projected']?.sources)) {
    if (isRecord(serviceAccountToken)) fill(serviceAccountToken, { expirationSeconds: TOKEN_SECONDS })
  }
}

/** `:latest` or no tag is pulled each time, anything else when it is not there. */
function pullPolicyOf(image: string): string {
  const afterPath = image.slice(image.lastIndexOf('/') + 1)
  if (afterPath.includes('@')) return 'IfNotPresent'
  const colon = afterPath.indexOf(':')
  return colon < 0 || afterPath.slice(colon + 1) === 'latest' ? 'Always' : 'IfNotPresent'
}

/** Guaranteed, Burstable or BestEffort. */
export function qosOf(spec: Record<string, any> | undefined): string {
  const resources = containersOf(spec ?? {}).map((container) => container['resources'] ?? {})
  const asks = resources.some(({ requests, limits }) => notEmpty(requests) || notEmpty(limits))
  if (!asks) return 'BestEffort'
  const isExact = resources.every(({ requests = {}, limits = {} }) =>
    ['cpu', 'memory'].every((name) => limits[name] !== undefined && (requests[name] ?? limits[name]) === limits[name]),
  )
  return isExact ? 'Guaranteed' : 'Burstable'
}

/** Containers of a PodSpec, those of initContainers included. */
export function containersOf(spec: Record<string, any>): Record<string, any>[] {
  return [...listOf(spec['initContainers']), ...listOf(spec['containers'])]
}

function listOf(value: unknown): Record<string, any>[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

function notEmpty(value: unknown): boolean {
  return isRecord(value) && Object.keys(value).length > 0
}
