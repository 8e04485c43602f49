// Rules of roles and of their bindings. Pure. Source: Kubernetes API reference rbac.authorization.k8s.io/v1.
import { fill, isRecord, sameJson } from '../object.ts'
import type { KubeObject } from '../object.ts'
import type { Fault } from '../status.ts'

const GROUP = 'rbac.authorization.k8s.io'
const SUBJECTS = ['Group', 'ServiceAccount', 'User']

/** What is wrong with a Role or ClusterRole. */
export function roleFaults({ kind, rules = [] }: KubeObject): Fault[] {
  if (rules === null) return []
  if (!Array.isArray(rules)) return [{ kind: 'invalid', field: 'rules', shown: rules, text: 'must be a list' }]
  return rules.flatMap((rule: unknown, at) => ruleFaults(rule, `rules[${at}]`, kind === 'Role'))
}

function ruleFaults(rule: unknown, path: string, isNamespaced: boolean): Fault[] {
  if (!isRecord(rule)) return [{ kind: 'required', field: path }]
  const faults: Fault[] = []
  for (const member of ['verbs', 'apiGroups', 'resources', 'resourceNames', 'nonResourceURLs']) {
    const list: unknown = rule[member] ?? []
    if (Array.isArray(list) && list.every((each) => typeof each === 'string')) continue
    faults.push({ kind: 'invalid', field: `${path}.${member}`, shown: list, text: 'must be a list of strings' })
  }
  const isEmpty = (member: string): boolean => !rule[member]?.length
  const required = (member: string, text: string): void =>
    void (isEmpty(member) && faults.push({ kind: 'required', field: `${path}.${member}`, text }))
  required('verbs', 'verbs must contain at least one value')
  if (isEmpty('nonResourceURLs')) {
    required('apiGroups', 'resource rules must supply at least one api group')
    required('resources', 'resource rules must supply at least one resource')
  } else if (isNamespaced || !['apiGroups', 'resources', 'resourceNames'].every(isEmpty)) {
    const text = isNamespaced
      ? 'namespaced rules cannot apply to non-resource URLs'
      : 'rules cannot apply to both regular resources and non-resource URLs'
    faults.push({ kind: 'invalid', field: `${path}.nonResourceURLs`, shown: rule['nonResourceURLs'], text })
  }
  return faults
}

/** What is wrong with a RoleBinding or ClusterRoleBinding. */
export function bindingFaults({ kind, roleRef, subjects }: KubeObject, previous: KubeObject | null): Fault[] {
  const isNamespaced = kind === 'RoleBinding'
  const faults: Fault[] = []
  const { apiGroup, kind: role, name } = isRecord(roleRef) ? roleRef : {}
  faults.push(...oneOf('roleRef.apiGroup', apiGroup, [GROUP]))
  faults.push(...oneOf('roleRef.kind', role, isNamespaced ? ['ClusterRole', 'Role'] : ['ClusterRole']))
  if (!name) faults.push({ kind: 'required', field: 'roleRef.name' })
  if (previous && !sameJson(roleRef, previous['roleRef'])) {
    faults.push({ kind: 'invalid', field: 'roleRef', shown: roleRef, text: 'cannot change roleRef' })
  }
  const list: unknown[] = Array.isArray(subjects) ? subjects : []
  for (const [at, subject] of list.entries()) {
    const path = `subjects[${at}]`
    const { kind: who, name: called, namespace, apiGroup: group } = isRecord(subject) ? subject : {}
    if (!called) faults.push({ kind: 'required', field: `${path}.name` })
    faults.push(...oneOf(`${path}.kind`, who, SUBJECTS))
    if (SUBJECTS.includes(who)) {
      faults.push(...oneOf(`${path}.apiGroup`, group ?? '', [who === 'ServiceAccount' ? '' : GROUP]))
    }
    if (who === 'ServiceAccount' && !isNamespaced && !namespace) {
      faults.push({ kind: 'required', field: `${path}.namespace` })
    }
  }
  return faults
}

function oneOf(field: string, value: unknown, supported: readonly string[]): Fault[] {
  if (supported.some((each) => each === value)) return []
  const text = `supported values: ${supported.map((each) => JSON.stringify(each)).join(', ')}`
  return [{ kind: 'unsupported', field, shown: value ?? '', text }]
}

/** Groups that a user need not write, as kubectl does not. */
export function defaultBinding(binding: KubeObject): void {
  if (isRecord(binding['roleRef']) && !binding['roleRef']['apiGroup']) binding['roleRef']['apiGroup'] = GROUP
  for (const subject of Array.isArray(binding['subjects']) ? binding['subjects'] : []) {
    if (isRecord(subject) && subject['kind'] !== 'ServiceAccount') fill(subject, { apiGroup: GROUP })
    else if (isRecord(subject) && binding.kind === 'RoleBinding')
      fill(subject, { namespace: binding.metadata.namespace })
  }
}
