import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BUILT_IN } from '../resources.ts'
import { createStore } from '../store.ts'
import { tableOf } from './table.ts'
import type { ObjectDraft } from '../object.ts'

interface Table {
  readonly columnDefinitions: readonly { readonly name: string; readonly priority: number }[]
  readonly rows: readonly { readonly cells: readonly unknown[]; readonly object?: unknown }[]
}

const NOW = Date.parse('2030-01-01T00:10:00Z')
const CREATED = new Date('2030-01-01T00:00:00Z')

function shown(resource: string, draft: ObjectDraft, status?: object): Record<string, unknown> {
  const store = createStore({ now: () => CREATED })
  const type = store.catalog.require(resource)
  const metadata = { name: 'x', ...(type.namespaced ? { namespace: 'default' } : {}), ...draft.metadata }
  let object = store.create(resource, { ...draft, metadata })
  const place = [metadata.namespace ?? null, metadata.name] as const
  const change = (each: { status?: unknown }): void => void (each.status = status)
  if (status) object = store.modify(resource, ...place, change, { subresource: 'status' }) ?? object
  const order = { type, version: 'v1', apiVersion: 'meta.k8s.io/v1', include: 'None', now: NOW } as const
  const { columnDefinitions, rows } = tableOf(order, [object], {}) as Table
  return Object.fromEntries(columnDefinitions.map(({ name }, at) => [name, rows[0]?.cells[at]]))
}

const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } }
const selector = { matchLabels: { a: 'b' } }

const BLOCK = 'CERTIFICATE REQUEST'
const PEM = Buffer.from(`-----BEGIN ${BLOCK}-----\nMAA=\n-----END ${BLOCK}-----\n`).toString('base64')

describe('tables', () => {
  test('a deployment, a replica set and a daemon set tell how many there are', () => {
    const status = { replicas: 3, readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1 }
    const deployment = shown('deployments.apps', { metadata: {}, spec: { replicas: 3, selector, template } }, status)
    assert.deepEqual(deployment, {
      ...{ Name: 'x', Ready: '1/3', 'Up-to-date': 2, Available: 1, Age: '10m' },
      ...{ Containers: 'c', Images: 'i', Selector: 'a=b' },
    })
    const set = shown('replicasets.apps', { metadata: {}, spec: { replicas: 3, selector, template } }, status)
    assert.deepEqual([set['Desired'], set['Current'], set['Ready']], [3, 3, 1])
    const daemons = shown(
      'daemonsets.apps',
      { metadata: {}, spec: { selector, template } },
      { desiredNumberScheduled: 2 },
    )
    assert.deepEqual([daemons['Desired'], daemons['Ready'], daemons['Node Selector']], [2, 0, '<none>'])
  })

  test('services of each type tell where they are reached', () => {
    const ports = [
      { name: 'a', port: 80 },
      { name: 'b', port: 53, protocol: 'UDP' },
    ]
    const plain = shown('services', { metadata: {}, spec: { ports } })
    assert.deepEqual([plain['Type'], plain['External-IP'], plain['Port(s)']], ['ClusterIP', '<none>', '80/TCP,53/UDP'])
    const balanced = shown('services', { metadata: {}, spec: { type: 'LoadBalancer', ports: [{ port: 80 }] } })
    assert.equal(balanced['External-IP'], '<pending>')
    assert.match(String(balanced['Port(s)']), /^80:3\d{4}\/TCP$/)
    const external = shown('services', { metadata: {}, spec: { type: 'ExternalName', externalName: 'a.example' } })
    assert.deepEqual(
      [external['Cluster-IP'], external['External-IP'], external['Port(s)']],
      ['<none>', 'a.example', '<none>'],
    )
  })

  test('endpoint slices show three endpoints and how many more', () => {
    const endpoints = [1, 2, 3, 4, 5].map((at) => ({ addresses: [`10.0.0.${at}`] }))
    const slice = shown('endpointslices.discovery.k8s.io', {
      metadata: {},
      addressType: 'IPv4',
      endpoints,
      ports: [{ port: 80 }],
    })
    assert.equal(slice['Endpoints'], '10.0.0.1,10.0.0.2,10.0.0.3 + 2 more...')
    assert.equal(slice['Ports'], '80')
  })

  test('nodes tell readiness, cordon and roles', () => {
    const labels = { 'node-role.kubernetes.io/control-plane': '', 'node-role.kubernetes.io/worker': '' }
    const draft = { metadata: { labels }, spec: { unschedulable: true } }
    const node = shown('nodes', draft, { conditions: [{ type: 'Ready', status: 'True' }] })
    assert.deepEqual([node['Status'], node['Roles']], ['Ready,SchedulingDisabled', 'control-plane,worker'])
    assert.equal(shown('nodes', { metadata: {} })['Status'], 'Unknown')
  })

  test('every built-in kind has a row for its barest object', () => {
    const bare: Record<string, object> = {
      pods: { spec: template.spec },
      services: { spec: { ports: [{ port: 80 }] } },
      'endpointslices.discovery.k8s.io': { addressType: 'IPv4' },
      'jobs.batch': { spec: { template } },
      'priorityclasses.scheduling.k8s.io': { value: 1 },
      'validatingadmissionpolicies.admissionregistration.k8s.io': {
        spec: {
          matchConstraints: {
            resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
          },
          validations: [{ expression: 'true' }],
        },
      },
      'validatingadmissionpolicybindings.admissionregistration.k8s.io': {
        spec: { policyName: 'x', validationActions: ['Deny'] },
      },
      'certificatesigningrequests.certificates.k8s.io': {
        spec: { request: PEM, signerName: 'example.com/x', usages: ['client auth'] },
      },
      'rolebindings.rbac.authorization.k8s.io': { roleRef: { kind: 'Role', name: 'x' } },
      'clusterrolebindings.rbac.authorization.k8s.io': { roleRef: { kind: 'ClusterRole', name: 'x' } },
      'customresourcedefinitions.apiextensions.k8s.io': {
        metadata: { name: 'as.b' },
        spec: {
          group: 'b',
          scope: 'Cluster',
          names: { plural: 'as', kind: 'A' },
          versions: [{ name: 'v1', served: true, storage: true }],
        },
      },
    }
    for (const { key, group, viewOf } of BUILT_IN.filter(
      ({ viewOf: view, createOnly }) => view === undefined && !createOnly,
    )) {
      assert.equal(viewOf, undefined)
      const workload = group === 'apps' ? { spec: { selector, template } } : {}
      const row = shown(key, { metadata: {}, ...workload, ...bare[key] })
      assert.equal(Object.values(row).includes(undefined), false, `${key}: ${JSON.stringify(row)}`)
    }
  })
})
