// Defaults of the built-in kinds: what a user need not write and later reads in `-o yaml`.
// Source: Kubernetes API reference 1.32, the "Defaults to" of each field.
import { CERTIFICATE_REQUESTS } from './certificate-rules.ts'
import { copyOf, fill, isRecord } from '../object.ts'
import { PRIORITY_CLASSES } from '../admission/pods.ts'
import { POLICIES, POLICY_BINDINGS } from '../admission/policies.ts'
import { defaultBinding } from './role-rules.ts'
import { defaultPodSpec, qosOf } from './pod-defaults.ts'
import type { KubeObject } from '../object.ts'
import type { ResourceType } from '../resources.ts'

type Fill = (object: KubeObject, current?: KubeObject) => void

const FILLS: Readonly<Record<string, Fill>> = {
  namespaces(namespace) {
    namespace.metadata.labels = { ...namespace.metadata.labels, 'kubernetes.io/metadata.name': namespace.metadata.name }
    namespace.spec ??= {}
    fill(namespace.spec, { finalizers: ['kubernetes'] })
  },
  pods(pod) {
    defaultPodSpec(pod.spec)
    fill(pod.spec, { serviceAccountName: 'default' })
  },
  services: defaultService,
  secrets(secret) {
    secret['type'] ??= 'Opaque'
    if (!isRecord(secret['stringData'])) return
    const encoded = Object.entries(secret['stringData']).map(([key, value]) => [key, base64(String(value))])
    secret['data'] = { ...secret['data'], ...Object.fromEntries(encoded) }
    delete secret['stringData']
  },
  endpoints(endpoints) {
    for (const subset of endpoints['subsets'] ?? []) {
      for (const port of subset.ports ?? []) fill(port, { protocol: 'TCP' })
    }
  },
  'endpointslices.discovery.k8s.io'(slice) {
    for (const port of slice['ports'] ?? []) fill(port, { name: '', protocol: 'TCP' })
  },
  'deployments.apps'(deployment) {
    const { spec } = deployment
    fill(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600, strategy: {} })
    fill(spec.strategy, { type: 'RollingUpdate' })
    if (spec.strategy.type === 'RollingUpdate') {
      fill(spec.strategy, { rollingUpdate: {} })
      fill(spec.strategy.rollingUpdate, { maxUnavailable: '25%', maxSurge: '25%' })
    }
    defaultTemplate(deployment)
  },
  'replicasets.apps'(set) {
    fill(set.spec, { replicas: 1 })
    defaultTemplate(set)
  },
  'statefulsets.apps'(set) {
    fill(set.spec, { replicas: 1, revisionHistoryLimit: 10, podManagementPolicy: 'OrderedReady', updateStrategy: {} })
    fill(set.spec.updateStrategy, { type: 'RollingUpdate', rollingUpdate: { partition: 0 } })
    defaultTemplate(set)
  },
  'daemonsets.apps'(set) {
    fill(set.spec, { revisionHistoryLimit: 10, updateStrategy: {} })
    fill(set.spec.updateStrategy, { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } })
    defaultTemplate(set)
  },
  'jobs.batch'(job) {
    const labels = {
      'batch.kubernetes.io/controller-uid': job.metadata.uid,
      'batch.kubernetes.io/job-name': job.metadata.name,
    }
    fill(job.spec, { completions: 1, parallelism: 1, backoffLimit: 6, completionMode: 'NonIndexed', suspend: false })
    fill(job.spec, { selector: { matchLabels: { 'batch.kubernetes.io/controller-uid': job.metadata.uid } } })
    if (!isRecord(job.spec.template)) return
    job.spec.template.metadata ??= {}
    job.spec.template.metadata.labels = { ...job.spec.template.metadata.labels, ...labels }
    defaultTemplate(job)
  },
  [CERTIFICATE_REQUESTS](request, current) {
    // What was asked stays as it was asked: a change is not refused, it is not made.
    if (current) request.spec = copyOf(current.spec)
  },
  'poddisruptionbudgets.policy'(budget) {
    if (budget.spec.maxUnavailable === undefined) fill(budget.spec, { minAvailable: 1 })
  },
  [PRIORITY_CLASSES](priority) {
    fill(priority, { preemptionPolicy: 'PreemptLowerPriority' })
  },
  [POLICIES](policy) {
    fill(policy.spec, { failurePolicy: 'Fail' })
    if (isRecord(policy.spec.matchConstraints)) defaultMatch(policy.spec.matchConstraints)
  },
  [POLICY_BINDINGS](binding) {
    if (isRecord(binding.spec.matchResources)) defaultMatch(binding.spec.matchResources)
  },
  'rolebindings.rbac.authorization.k8s.io': defaultBinding,
  'clusterrolebindings.rbac.authorization.k8s.io': defaultBinding,
  'customresourcedefinitions.apiextensions.k8s.io'(definition) {
    const { spec } = definition
    if (!isRecord(spec?.names)) return
    const kind = String(spec.names.kind ?? '')
    fill(spec.names, { singular: kind.toLowerCase(), listKind: `${kind}List` })
    fill(spec, { conversion: { strategy: 'None' } })
  },
}

/** Fills in the defaults of a built-in kind, in place. Fields of the wrong type are left for validation. */
export function applyDefaults(resource: string, object: KubeObject, current?: KubeObject): void {
  const defaults = FILLS[resource]
  if (!defaults) return
  if (object.spec === undefined && resource !== 'namespaces') object.spec = specless(resource)
  if (object.spec === undefined) delete object.spec
  if (object.spec === undefined || isRecord(object.spec)) defaults(object, current)
}

/** Of a MatchResources. */
function defaultMatch(match: Record<string, any>): void {
  fill(match, { matchPolicy: 'Equivalent', namespaceSelector: {}, objectSelector: {} })
  for (const rules of ['resourceRules', 'excludeResourceRules']) {
    if (!Array.isArray(match[rules])) continue
    for (const rule of match[rules]) if (isRecord(rule)) fill(rule, { scope: '*' })
  }
}

const SPECLESS = [
  PRIORITY_CLASSES,
  'secrets',
  'endpoints',
  'endpointslices.discovery.k8s.io',
  'rolebindings.rbac.authorization.k8s.io',
  'clusterrolebindings.rbac.authorization.k8s.io',
]

function specless(resource: string): Record<string, never> | undefined {
  return SPECLESS.includes(resource) ? undefined : {}
}

/** The status a new object starts with; undefined when its kind has none until somebody writes it. */
export function initialStatus(type: ResourceType, object: KubeObject, now: string): unknown {
  switch (type.key) {
    case 'namespaces':
      return { phase: 'Active' }
    case 'pods':
      return { phase: 'Pending', qosClass: qosOf(object.spec) }
    case 'services':
      return { loadBalancer: {} }
    case 'customresourcedefinitions.apiextensions.k8s.io':
      return definitionStatus(object, now)
    default:
      return type.status && !type.custom ? {} : undefined
  }
}

function definitionStatus({ spec }: KubeObject, now: string): unknown {
  const storage = spec?.versions?.find?.((version: { storage?: boolean }) => version.storage)
  const kind = String(spec?.names?.kind ?? '')
  return {
    conditions: [
      condition('NamesAccepted', 'NoConflicts', 'no conflicts found', now),
      condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted', now),
    ],
    acceptedNames: { singular: kind.toLowerCase(), listKind: `${kind}List`, ...spec?.names },
    storedVersions: storage ? [storage.name] : [],
  }
}

function condition(type: string, reason: string, message: string, now: string): Record<string, string> {
  return { type, status: 'True', lastTransitionTime: now, reason, message }
}

function defaultTemplate({ spec }: KubeObject): void {
  if (isRecord(spec.template?.spec)) defaultPodSpec(spec.template.spec)
  if (isRecord(spec.template)) spec.template.metadata ??= {}
}

function defaultService({ spec }: KubeObject): void {
  fill(spec, { type: 'ClusterIP', sessionAffinity: 'None' })
  if (Array.isArray(spec.ports)) {
    for (const port of spec.ports.filter(isRecord)) {
      fill(port, { protocol: 'TCP' })
      if (spec.clusterIP !== 'None' || port['targetPort'] === undefined) fill(port, { targetPort: port['port'] })
    }
  }
  if (spec.type === 'ExternalName') return
  fill(spec, { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack', internalTrafficPolicy: 'Cluster' })
  if (spec.type !== 'ClusterIP') fill(spec, { externalTrafficPolicy: 'Cluster' })
  if (spec.sessionAffinity === 'ClientIP')
    fill(spec, { sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } } })
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}
