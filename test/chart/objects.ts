// Judges what the chart makes: by Kubernetes' own schemas, and whether its objects name each other rightly.

import assert from 'node:assert/strict'
import * as admission from 'kubernetes-models/admissionregistration.k8s.io/v1'
import { CustomResourceDefinition } from 'kubernetes-models/apiextensions.k8s.io/v1'
import { DaemonSet, Deployment } from 'kubernetes-models/apps/v1'
import { Job } from 'kubernetes-models/batch/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import * as rbac from 'kubernetes-models/rbac.authorization.k8s.io/v1'
import { ConfigMap, Namespace, ResourceQuota, Service, ServiceAccount } from 'kubernetes-models/v1'
import type { Rendered } from './helm.ts'

interface Model {
  readonly apiVersion: string
  readonly kind: string
  new (data: never): { validate(): void }
}

const MODELS: readonly Model[] = [
  ...[admission.ValidatingAdmissionPolicy, admission.ValidatingAdmissionPolicyBinding, CustomResourceDefinition],
  ...[DaemonSet, Deployment, Job, PodDisruptionBudget],
  ...[rbac.ClusterRole, rbac.ClusterRoleBinding, rbac.Role, rbac.RoleBinding],
  ...[ConfigMap, Namespace, ResourceQuota, Service, ServiceAccount],
]
/** Kinds of Prometheus' operator, whose schemas are not at hand. */
const FOREIGN = 'monitoring.coreos.com/v1'
const CLUSTER_WIDE = ['Namespace', 'ClusterRole', 'ClusterRoleBinding', 'CustomResourceDefinition']

const idOf = ({ kind, metadata }: Rendered): string => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`
const isClusterWide = ({ kind }: Rendered): boolean =>
  CLUSTER_WIDE.includes(kind) || kind.startsWith('ValidatingAdmissionPolicy')

/** Throws where an object is none that Kubernetes takes, or names what is not there. */
export function judge(objects: readonly Rendered[]): void {
  const ids = objects.map(idOf)
  assert.deepEqual([...new Set(ids)], ids, 'each object once')
  for (const object of objects) {
    assert.equal(object.metadata.namespace === undefined, isClusterWide(object), `${idOf(object)}: its namespace`)
    assert.equal(object.metadata.labels['app.kubernetes.io/part-of'], 'weft', `${idOf(object)}: its labels`)
    if (object.apiVersion === FOREIGN) continue
    const Kind = MODELS.find(({ apiVersion, kind }) => apiVersion === object.apiVersion && kind === object.kind)
    assert.ok(Kind !== undefined, `${idOf(object)}: no schema of it is at hand`)
    try {
      new Kind(object as never).validate()
    } catch (error) {
      assert.fail(`${idOf(object)}: ${(error as Error).message}`)
    }
    if (object.spec?.template !== undefined) judgeTemplate(object, objects)
    if (object.roleRef !== undefined) judgeBinding(object, ids)
  }
}

function judgeTemplate({ kind, metadata, spec }: Rendered, objects: readonly Rendered[]): void {
  const pod = spec.template.spec
  for (const [name, value] of Object.entries(spec.selector?.matchLabels ?? {}))
    assert.equal(spec.template.metadata.labels[name], value, `${kind} ${metadata.name} selects its own pods`)
  const account = `ServiceAccount ${metadata.namespace}/${pod.serviceAccountName}`
  assert.ok(objects.map(idOf).includes(account), `${account} is there`)
  const volumes = (pod.volumes ?? []).map(({ name }: Rendered) => name)
  const mounts = pod.containers.flatMap(({ volumeMounts = [] }: Rendered) => volumeMounts)
  assert.deepEqual(
    mounts.map(({ name }: Rendered) => name),
    volumes,
    'each volume is mounted, in their order',
  )
  const paths = mounts.map(({ mountPath }: Rendered) => mountPath)
  assert.deepEqual([...new Set(paths)], paths)
  for (const container of pod.containers) {
    const named = new Set((container.env ?? []).map(({ name }: Rendered) => name))
    for (const [, name] of JSON.stringify(container.args).matchAll(/\$\(([A-Z_]+)\)/g))
      assert.ok(named.has(name), `$(${name}) is in the environment`)
    const { allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities, privileged } = container.securityContext
    assert.deepEqual(
      [allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities.drop, privileged],
      [false, true, ['ALL'], undefined],
    )
    assert.equal(container.ports, undefined, 'no port is declared')
  }
}

function judgeBinding(binding: Rendered, ids: readonly string[]): void {
  const { kind, name } = binding.roleRef
  const role = `${kind} ${kind === 'Role' ? binding.metadata.namespace : ''}/${name}`
  if (!name.startsWith('system:')) assert.ok(ids.includes(role), `${idOf(binding)}: ${role} is there`)
  for (const subject of binding.subjects) {
    const account = `ServiceAccount ${subject.namespace}/${subject.name}`
    if (subject.kind === 'ServiceAccount' && subject.name.startsWith('weft-'))
      assert.ok(ids.includes(account), `${idOf(binding)}: ${account} is there`)
  }
}
