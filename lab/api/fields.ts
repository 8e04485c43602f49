// The fields a fieldSelector may name, by resource. Source: Kubernetes documentation "Field Selectors".
import { badRequest } from './status.ts'
import type { KubeObject } from './object.ts'
import type { Selector } from './selector.ts'

const INVOLVED = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath']

const PATHS: Readonly<Record<string, readonly string[]>> = {
  pods: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  namespaces: ['status.phase'],
  nodes: ['spec.unschedulable'],
  secrets: ['type'],
  services: ['spec.clusterIP', 'spec.type'],
  events: [...INVOLVED.map((name) => `involvedObject.${name}`), 'reason', 'reportingComponent', 'source', 'type'],
  'replicasets.apps': ['status.replicas'],
  'jobs.batch': ['status.successful'],
  'certificatesigningrequests.certificates.k8s.io': ['spec.signerName'],
}

/** The values of an object by field path; absent fields are ''. */
export function fieldsOf(resource: string, object: KubeObject): Record<string, string> {
  const { name, namespace = '' } = object.metadata
  const fields: Record<string, string> = { 'metadata.name': name, 'metadata.namespace': namespace }
  for (const path of PATHS[resource] ?? []) fields[path] = valueAt(object, path)
  return fields
}

function valueAt(object: KubeObject, path: string): string {
  let value: any = object
  for (const member of path.split('.')) value = value?.[member]
  if (path === 'source') value = object['reportingComponent'] || value?.component
  if (value === undefined && (path === 'spec.unschedulable' || path === 'spec.hostNetwork')) return 'false'
  return value === undefined || value === null ? '' : String(value)
}

/** Throws 400 when the resource has no such selectable field. */
export function checkFields(resource: string, selector: Selector): void {
  for (const { key } of selector) {
    if (key === 'metadata.name' || key === 'metadata.namespace' || PATHS[resource]?.includes(key)) continue
    throw badRequest(`field label not supported: ${key}`)
  }
}
