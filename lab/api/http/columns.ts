// The columns `kubectl get` shows for each built-in kind. Pure. Source: what kubectl 1.32 prints against Kubernetes 1.32.
import { isRecord } from '../object.ts'
import {
  NONE,
  templateContainers,
  labelsText,
  selectorText,
  listText,
  endpointsText,
  externalAddress,
  servicePorts,
  nodeStatus,
  nodeRoles,
  nodeAddress,
  readinessGates,
  restartsText,
  lastSeen,
  jobStatus,
  jobDuration,
  certificateCondition,
  subjectsText,
} from './cell-texts.ts'
import { ageOf, humanDuration } from './duration.ts'
import { podStatus } from './pod-status.ts'
import type { KubeObject } from '../object.ts'

export type Cell = string | number | boolean | null

/** One column. Priority 1 shows with `-o wide` only. */
export interface Column {
  readonly name: string
  readonly type: 'string' | 'integer' | 'date' | 'number' | 'boolean'
  readonly format?: string
  readonly priority?: number
  readonly description?: string
  readonly cell: (object: KubeObject, now: number) => Cell
}

const UNKNOWN = '<unknown>'

function text(name: string, cell: Column['cell'], priority = 0): Column {
  return { name, type: 'string', priority, cell }
}

function number(name: string, cell: (object: KubeObject) => unknown): Column {
  return { name, type: 'integer', cell: (object) => Number(cell(object) ?? 0) }
}

function wide(name: string, cell: Column['cell']): Column {
  return text(name, cell, 1)
}

export const NAME: Column = { name: 'Name', type: 'string', format: 'name', cell: ({ metadata }) => metadata.name }
export const AGE: Column = text('Age', ({ metadata }, now) => ageOf(metadata.creationTimestamp, now))

const CONTAINERS = wide('Containers', ({ spec }) =>
  templateContainers(spec)
    .map(({ name }) => name)
    .join(','),
)
const IMAGES = wide('Images', ({ spec }) =>
  templateContainers(spec)
    .map(({ image }) => image)
    .join(','),
)
const SELECTOR = wide('Selector', ({ spec }) => (isRecord(spec.selector) ? selectorText(spec.selector) : NONE))
const DATA = number('Data', ({ data, binaryData }) => Object.keys({ ...data, ...binaryData }).length)

const CREATED: Column = { name: 'Created At', type: 'date', cell: ({ metadata }) => metadata.creationTimestamp }
const BINDING = [
  NAME,
  text('Role', ({ roleRef }) => `${roleRef?.kind ?? ''}/${roleRef?.name ?? ''}`),
  AGE,
  wide('Users', (binding) => subjectsText(binding, 'User')),
  wide('Groups', (binding) => subjectsText(binding, 'Group')),
  wide('ServiceAccounts', (binding) => subjectsText(binding, 'ServiceAccount')),
]

export const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  namespaces: [NAME, text('Status', ({ status }) => status?.phase ?? ''), AGE],
  nodes: [
    NAME,
    text('Status', nodeStatus),
    text('Roles', nodeRoles),
    AGE,
    text('Version', ({ status }) => status?.nodeInfo?.kubeletVersion ?? ''),
    wide('Internal-IP', (node) => nodeAddress(node, 'InternalIP')),
    wide('External-IP', (node) => nodeAddress(node, 'ExternalIP')),
    wide('OS-Image', ({ status }) => status?.nodeInfo?.osImage || UNKNOWN),
    wide('Kernel-Version', ({ status }) => status?.nodeInfo?.kernelVersion || UNKNOWN),
    wide('Container-Runtime', ({ status }) => status?.nodeInfo?.containerRuntimeVersion || UNKNOWN),
  ],
  pods: [
    NAME,
    text('Ready', (pod) => podStatus(pod).ready),
    text('Status', (pod) => podStatus(pod).reason),
    text('Restarts', (pod, now) => restartsText(pod, now)),
    AGE,
    wide('IP', ({ status }) => status?.podIPs?.[0]?.ip ?? status?.podIP ?? NONE),
    wide('Node', ({ spec }) => spec.nodeName || NONE),
    wide('Nominated Node', ({ status }) => status?.nominatedNodeName || NONE),
    wide('Readiness Gates', readinessGates),
  ],
  services: [
    NAME,
    text('Type', ({ spec }) => spec.type),
    text('Cluster-IP', ({ spec }) => spec.clusterIP || NONE),
    text('External-IP', externalAddress),
    text('Port(s)', servicePorts),
    AGE,
    wide('Selector', ({ spec }) => labelsText(spec.selector)),
  ],
  endpoints: [NAME, text('Endpoints', endpointsText), AGE],
  configmaps: [NAME, DATA, AGE],
  secrets: [NAME, text('Type', ({ type }) => String(type)), DATA, AGE],
  serviceaccounts: [NAME, number('Secrets', ({ secrets }) => (Array.isArray(secrets) ? secrets.length : 0)), AGE],
  events: [
    text('Last Seen', (event, now) => lastSeen(event, now)),
    text('Type', ({ type }) => String(type ?? '')),
    text('Reason', ({ reason }) => String(reason ?? '')),
    text('Object', ({ involvedObject: object }) => `${String(object?.kind ?? '').toLowerCase()}/${object?.name ?? ''}`),
    wide('Subobject', ({ involvedObject: object }) => object?.fieldPath ?? ''),
    wide('Source', ({ source, reportingComponent }) =>
      [source?.component ?? reportingComponent, source?.host].filter(Boolean).join(', '),
    ),
    text('Message', ({ message }) => String(message ?? '').trim()),
    wide('First Seen', ({ firstTimestamp, eventTime }, now) => ageOf(firstTimestamp ?? eventTime, now)),
    { ...number('Count', ({ count }) => count ?? 1), priority: 1 },
    wide('Name', ({ metadata }) => metadata.name),
  ],
  'deployments.apps': [
    NAME,
    text('Ready', ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec.replicas}`),
    number('Up-to-date', ({ status }) => status?.updatedReplicas),
    number('Available', ({ status }) => status?.availableReplicas),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
  ],
  'replicasets.apps': [
    NAME,
    number('Desired', ({ spec }) => spec.replicas),
    number('Current', ({ status }) => status?.replicas),
    number('Ready', ({ status }) => status?.readyReplicas),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
  ],
  'statefulsets.apps': [
    NAME,
    text('Ready', ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec.replicas}`),
    AGE,
    CONTAINERS,
    IMAGES,
  ],
  'daemonsets.apps': [
    NAME,
    number('Desired', ({ status }) => status?.desiredNumberScheduled),
    number('Current', ({ status }) => status?.currentNumberScheduled),
    number('Ready', ({ status }) => status?.numberReady),
    number('Up-to-date', ({ status }) => status?.updatedNumberScheduled),
    number('Available', ({ status }) => status?.numberAvailable),
    text('Node Selector', ({ spec }) => labelsText(spec.template?.spec?.nodeSelector)),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
  ],
  'jobs.batch': [
    NAME,
    text('Status', jobStatus),
    text('Completions', ({ spec, status }) => `${status?.succeeded ?? 0}/${spec.completions ?? 1}`),
    text('Duration', jobDuration),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
  ],
  'endpointslices.discovery.k8s.io': [
    NAME,
    text('AddressType', ({ addressType }) => String(addressType)),
    text('Ports', ({ ports }) => listText((ports ?? []).map((port: { port?: number }) => String(port.port ?? '*')))),
    text('Endpoints', ({ endpoints }) =>
      listText((endpoints ?? []).flatMap(({ addresses }: { addresses: string[] }) => addresses ?? [])),
    ),
    AGE,
  ],
  'leases.coordination.k8s.io': [NAME, text('Holder', ({ spec }) => spec?.holderIdentity ?? ''), AGE],
  'certificatesigningrequests.certificates.k8s.io': [
    NAME,
    AGE,
    text('SignerName', ({ spec }) => spec?.signerName ?? ''),
    text('Requestor', ({ spec }) => spec?.username ?? ''),
    text('RequestedDuration', ({ spec }) =>
      spec?.expirationSeconds ? humanDuration(spec.expirationSeconds * 1000) : NONE,
    ),
    text('Condition', certificateCondition),
  ],
  'roles.rbac.authorization.k8s.io': [NAME, CREATED],
  'clusterroles.rbac.authorization.k8s.io': [NAME, CREATED],
  'rolebindings.rbac.authorization.k8s.io': BINDING,
  'clusterrolebindings.rbac.authorization.k8s.io': BINDING,
  'customresourcedefinitions.apiextensions.k8s.io': [NAME, CREATED],
}
