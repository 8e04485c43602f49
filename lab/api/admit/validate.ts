// Rules of the built-in kinds that users notice when they break them; each broken one is a Fault. Pure.
// Source: Kubernetes API reference 1.32; what holds for every kind is in metadata-rules.ts.
import { isRecord, sameJson } from '../object.ts'
import { CERTIFICATE_REQUESTS, certificateFaults } from './certificate-rules.ts'
import {
  DNS_LABEL,
  LABEL_LIMIT,
  LABEL_TEXT,
  NAME_LIMIT,
  labelFaults,
  metadataFaults,
  nameFaults,
  notText,
} from './metadata-rules.ts'
import { budgetFaults, policyBindingFaults, priorityFaults } from './cluster-rules.ts'
import { PRIORITY_CLASSES } from '../admission/pods.ts'
import { POLICIES, POLICY_BINDINGS } from '../admission/policies.ts'
import { readPolicy } from '../admission/policy.ts'
import { bindingFaults, roleFaults } from './role-rules.ts'
import { selectorFaults } from './selector-rules.ts'
import { portFaults, serviceFaults, sliceFaults } from './service-rules.ts'
import { matches, selectorOf } from '../selector.ts'
import type { KubeObject } from '../object.ts'
import type { ResourceType } from '../resources.ts'
import type { Fault } from '../status.ts'

type Rule = (object: KubeObject, previous: KubeObject | null) => Fault[]

/** Every broken rule of an object that replaces `previous` (null for a new one). */
export function faultsOf(type: ResourceType, object: KubeObject, previous: KubeObject | null): Fault[] {
  const rules = RULES[type.key]
  return [...nameFaults(type, object, previous), ...metadataFaults(object), ...(rules?.(object, previous) ?? [])]
}

const RULES: Readonly<Record<string, Rule>> = {
  pods: (pod, previous) => [...podFaults(pod.spec, 'spec'), ...(previous ? podChangeFaults(pod, previous) : [])],
  services: serviceFaults,
  'deployments.apps': workloadFaults,
  'replicasets.apps': workloadFaults,
  'statefulsets.apps': workloadFaults,
  'daemonsets.apps': workloadFaults,
  'jobs.batch': ({ spec }) => [
    ...selectorFaults(spec?.selector),
    ...podFaults(spec?.template?.spec, 'spec.template.spec'),
  ],
  'endpointslices.discovery.k8s.io': sliceFaults,
  secrets: ({ data }) => dataFaults(data),
  configmaps: ({ data }) => dataFaults(data),
  'customresourcedefinitions.apiextensions.k8s.io': definitionFaults,
  [CERTIFICATE_REQUESTS]: certificateFaults,
  [POLICIES]: (policy) => readPolicy(policy).faults,
  [POLICY_BINDINGS]: policyBindingFaults,
  [PRIORITY_CLASSES]: priorityFaults,
  'poddisruptionbudgets.policy': budgetFaults,
  'roles.rbac.authorization.k8s.io': roleFaults,
  'clusterroles.rbac.authorization.k8s.io': roleFaults,
  'rolebindings.rbac.authorization.k8s.io': bindingFaults,
  'clusterrolebindings.rbac.authorization.k8s.io': bindingFaults,
}

function podFaults(spec: unknown, path: string): Fault[] {
  if (!isRecord(spec)) return [{ kind: 'required', field: path }]
  const faults: Fault[] = []
  const { containers } = spec
  if (!Array.isArray(containers) || containers.length === 0)
    faults.push({ kind: 'required', field: `${path}.containers` })
  const seen = new Set<string>()
  for (const list of ['initContainers', 'containers']) {
    for (const [at, container] of (Array.isArray(spec[list]) ? spec[list] : []).entries()) {
      faults.push(...containerFaults(container, `${path}.${list}[${at}]`, seen))
    }
  }
  const policies = ['Always', 'OnFailure', 'Never']
  if (!policies.includes(spec['restartPolicy'])) {
    const text = `supported values: ${policies.map((policy) => JSON.stringify(policy)).join(', ')}`
    faults.push({ kind: 'unsupported', field: `${path}.restartPolicy`, shown: spec['restartPolicy'], text })
  }
  return faults
}

function containerFaults(container: unknown, path: string, seen: Set<string>): Fault[] {
  if (!isRecord(container)) return [{ kind: 'required', field: path }]
  const { name, image, ports } = container
  const faults: Fault[] = []
  if (!name) faults.push({ kind: 'required', field: `${path}.name` })
  else if (typeof name !== 'string' || name.length > LABEL_LIMIT || !DNS_LABEL.test(name)) {
    faults.push({ kind: 'invalid', field: `${path}.name`, shown: name, text: LABEL_TEXT })
  } else if (seen.has(name)) faults.push({ kind: 'duplicate', field: `${path}.name`, shown: name })
  else seen.add(name)
  if (!image) faults.push({ kind: 'required', field: `${path}.image` })
  for (const [at, port] of (Array.isArray(ports) ? ports : []).entries()) {
    faults.push(...portFaults(port?.containerPort, `${path}.ports[${at}].containerPort`))
  }
  return faults
}

// A pod is what its kubelet started: besides images, tolerations, deadline and node, its spec is as it was created.
function podChangeFaults(pod: KubeObject, previous: KubeObject): Fault[] {
  const frozen = (object: KubeObject): unknown => {
    const { activeDeadlineSeconds: _d, tolerations: _t, terminationGracePeriodSeconds: _g, ...rest } = object.spec
    if (!previous.spec.nodeName) delete rest.nodeName
    const withoutImage = (list: Record<string, any>[] = []) => list.map(({ image: _image, ...kept }) => kept)
    return { ...rest, containers: withoutImage(rest.containers), initContainers: withoutImage(rest.initContainers) }
  }
  if (sameJson(frozen(pod), frozen(previous))) return []
  const text =
    'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,' +
    '`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),' +
    '`spec.terminationGracePeriodSeconds`'
  return [{ kind: 'forbidden', field: 'spec', text }]
}

function workloadFaults({ spec }: KubeObject, previous: KubeObject | null): Fault[] {
  const faults = podFaults(spec?.template?.spec, 'spec.template.spec')
  const { selector, template, replicas } = spec ?? {}
  faults.push(...labelFaults(template?.metadata?.labels, 'spec.template.metadata.labels'))
  if (replicas !== undefined && !(Number.isInteger(replicas) && replicas >= 0)) {
    const text = 'must be greater than or equal to 0'
    faults.push({ kind: 'invalid', field: 'spec.replicas', shown: replicas, text })
  }
  const isEmpty = !isRecord(selector) || (!selector['matchLabels'] && !selector['matchExpressions'])
  if (isEmpty) return [{ kind: 'required', field: 'spec.selector' }, ...faults]
  const wrong = selectorFaults(selector)
  if (wrong.length > 0) return [...wrong, ...faults]
  if (previous && !sameJson(selector, previous.spec.selector)) {
    faults.push({ kind: 'immutable', field: 'spec.selector', shown: selector })
  }
  if (!matches(selectorOf(selector), template?.metadata?.labels)) {
    const shown = template?.metadata?.labels ?? {}
    const text = '`selector` does not match template `labels`'
    faults.push({ kind: 'invalid', field: 'spec.template.metadata.labels', shown, text })
  }
  return faults
}

function dataFaults(values: unknown): Fault[] {
  if (values === undefined || values === null) return []
  if (!isRecord(values))
    return [{ kind: 'invalid', field: 'data', shown: values, text: 'must be an object of strings' }]
  return Object.entries(values).flatMap(([key, value]): Fault[] => {
    if (typeof value !== 'string') return [notText(`data[${key}]`, value)]
    if (/^[-._a-zA-Z0-9]+$/.test(key) && key.length <= NAME_LIMIT) return []
    const text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
    return [{ kind: 'invalid', field: `data[${key}]`, shown: key, text }]
  })
}

function definitionFaults({ metadata, spec }: KubeObject): Fault[] {
  const faults: Fault[] = []
  const { group, names, scope, versions } = isRecord(spec) ? spec : {}
  for (const [field, value] of [
    ['spec.group', group],
    ['spec.names.plural', names?.plural],
    ['spec.names.kind', names?.kind],
    ['spec.scope', scope],
  ]) {
    if (!value) faults.push({ kind: 'required', field })
  }
  const expected = `${names?.plural}.${group}`
  if (faults.length === 0 && metadata.name !== expected) {
    const text = `must be spec.names.plural+"."+spec.group`
    faults.push({ kind: 'invalid', field: 'metadata.name', shown: metadata.name, text })
  }
  if (scope && scope !== 'Namespaced' && scope !== 'Cluster') {
    faults.push({
      kind: 'unsupported',
      field: 'spec.scope',
      shown: scope,
      text: 'supported values: "Cluster", "Namespaced"',
    })
  }
  const list: unknown[] = Array.isArray(versions) ? versions : []
  if (list.length === 0 || list.some((version) => !isRecord(version) || !version['name'])) {
    faults.push({ kind: 'required', field: 'spec.versions' })
  } else if (list.filter((version) => isRecord(version) && version['storage']).length !== 1) {
    const text = 'must have exactly one version marked as storage version'
    faults.push({ kind: 'invalid', field: 'spec.versions', shown: list.map((each) => (each as any).name), text })
  }
  return faults
}
