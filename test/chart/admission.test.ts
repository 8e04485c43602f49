// The chart's policies of admission, by the CEL that they are written in: who may write what on a pod.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { refusal, type Policy, type Request } from './cel.ts'
import { findHelm, NO_HELM } from '../helm.ts'
import { one, render, type Rendered } from './helm.ts'

const skip = findHelm() === null ? NO_HELM : false
const policies = new Map<string, Policy>()
let objects: Rendered[] = []

before(async () => {
  if (skip !== false) return
  objects = await render()
  for (const object of objects) {
    if (object.kind === 'ValidatingAdmissionPolicy') policies.set(object.metadata.name, object)
  }
})

const AGENT = 'system:serviceaccount:weft-system:weft-agent'
const KUBELET = 'system:node:node-1'
const BOUND = {
  'authentication.kubernetes.io/node-name': ['node-1'],
  'authentication.kubernetes.io/pod-name': ['weft-agent-x2x4z'],
}
const OURS = {
  'weft.dev/captured': 'weft-agent-x2x4z',
  'weft.dev/service-account': 'cart',
  'weft.dev/addresses': '10.0.0.7',
}

interface Change {
  readonly metadata?: object
  readonly annotations?: object | null
  readonly spec?: object
}

/** A pod of node-1; annotations null: it has none at all. */
function pod({ metadata = {}, annotations = null, spec = {} }: Change = {}): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'cart-1',
      namespace: 'shop',
      uid: 'u-1',
      labels: { app: 'cart' },
      ownerReferences: [{ kind: 'ReplicaSet', name: 'cart', uid: 'u-0' }],
      ...(annotations === null ? {} : { annotations }),
      ...metadata,
    },
    spec: { nodeName: 'node-1', serviceAccountName: 'cart', containers: [{ name: 'main', image: 'cart:1' }], ...spec },
  }
}

/** What an agent asks for, but for what is said. */
function byAgent(change: Partial<Request>): Request {
  return {
    ...{ operation: 'UPDATE', resource: 'pods', user: AGENT, extra: BOUND },
    ...{ oldObject: pod(), object: pod({ annotations: OURS }) },
    ...change,
  }
}

const refused = (request: Request): string | null =>
  ['weft-agents', 'weft-announcements', 'weft-templates']
    .map((name) => refusal(policies.get(name)!, request))
    .find((message) => message !== null) ?? null

const ALLOWED: Record<string, Request> = {
  'announces a pod of its node': byAgent({}),
  'announces one that has other annotations': byAgent({
    oldObject: pod({ annotations: { a: 'b' } }),
    object: pod({ annotations: { a: 'b', ...OURS } }),
  }),
  'takes all three away': byAgent({ oldObject: pod({ annotations: OURS }), object: pod() }),
  'takes them away and leaves the rest': byAgent({
    oldObject: pod({ annotations: { a: 'b', ...OURS } }),
    object: pod({ annotations: { a: 'b' } }),
  }),
  'announces other addresses of what another agent announced': byAgent({
    oldObject: pod({ annotations: { ...OURS, 'weft.dev/captured': 'weft-agent-old' } }),
    object: pod({ annotations: { ...OURS, 'weft.dev/captured': 'weft-agent-old', 'weft.dev/addresses': '10.0.0.8' } }),
  }),
  'announces what another agent announced before': byAgent({
    oldObject: pod({ annotations: { ...OURS, 'weft.dev/captured': 'weft-agent-old' } }),
  }),
  'announces a pod of the default account': byAgent({
    oldObject: pod({ spec: { serviceAccountName: 'default' } }),
    object: pod({
      spec: { serviceAccountName: 'default' },
      annotations: { ...OURS, 'weft.dev/service-account': 'default' },
    }),
  }),
  'changes what the API server keeps by itself': byAgent({
    oldObject: pod({ metadata: { resourceVersion: '1', managedFields: [] } }),
    object: pod({
      annotations: OURS,
      metadata: { resourceVersion: '2', managedFields: [{ manager: 'node' }], generation: 2 },
    }),
  }),
}
for (const [does, request] of Object.entries(ALLOWED)) {
  test(`an agent ${does}`, { skip }, () => assert.equal(refused(request), null))
}

const FORBIDDEN: Record<string, readonly [request: Request, said: RegExp]> = {
  'announces a pod of another node': [
    byAgent({
      oldObject: pod({ spec: { nodeName: 'node-2' } }),
      object: pod({ annotations: OURS, spec: { nodeName: 'node-2' } }),
    }),
    /its own node/,
  ],
  'announces a pod that no node has yet': [
    byAgent({ oldObject: pod({ spec: { nodeName: undefined } }), object: pod({ annotations: OURS }) }),
    /its own node/,
  ],
  'says another node in the pod that it asks for': [
    byAgent({ oldObject: pod({ spec: { nodeName: 'node-2' } }) }),
    /its own node/,
  ],
  'shows a token that is bound to no node': [byAgent({ extra: {} }), /its own node/],
  'shows a token without anything beside the name': [byAgent({ extra: undefined }), /its own node/],
  'takes annotations from a pod of another node': [
    byAgent({
      oldObject: pod({ annotations: OURS, spec: { nodeName: 'node-2' } }),
      object: pod({ spec: { nodeName: 'node-2' } }),
    }),
    /its own node/,
  ],
  'writes another annotation': [byAgent({ object: pod({ annotations: { ...OURS, a: 'b' } }) }), /no other annotation/],
  'has a pod join': [byAgent({ object: pod({ annotations: { 'weft.dev/mesh': 'enabled' } }) }), /no other annotation/],
  'changes another annotation': [
    byAgent({ oldObject: pod({ annotations: { a: 'b' } }), object: pod({ annotations: { ...OURS, a: 'c' } }) }),
    /no other annotation/,
  ],
  'takes another annotation away': [
    byAgent({ oldObject: pod({ annotations: { a: 'b' } }), object: pod({ annotations: OURS }) }),
    /no other annotation/,
  ],
  'changes an image': [
    byAgent({ object: pod({ annotations: OURS, spec: { containers: [{ name: 'main', image: 'evil:1' }] } }) }),
    /annotations alone/,
  ],
  'adds a toleration': [
    byAgent({ object: pod({ annotations: OURS, spec: { tolerations: [{ operator: 'Exists' }] } }) }),
    /annotations alone/,
  ],
  'changes a label': [
    byAgent({ object: pod({ annotations: OURS, metadata: { labels: { app: 'billing' } } }) }),
    /annotations alone/,
  ],
  'takes labels away': [byAgent({ object: pod({ metadata: { labels: undefined } }) }), /annotations alone/],
  'adds a finalizer': [byAgent({ object: pod({ metadata: { finalizers: ['x.y/z'] } }) }), /annotations alone/],
  'takes a finalizer away': [
    byAgent({ oldObject: pod({ metadata: { finalizers: ['x.y/z'] } }), object: pod() }),
    /annotations alone/,
  ],
  'takes the owner away': [byAgent({ object: pod({ metadata: { ownerReferences: undefined } }) }), /annotations alone/],
  'announces in the name of another agent': [
    byAgent({ object: pod({ annotations: { ...OURS, 'weft.dev/captured': 'weft-agent-other' } }) }),
    /by itself/,
  ],
  'announces another account': [
    byAgent({ object: pod({ annotations: { ...OURS, 'weft.dev/service-account': 'billing' } }) }),
    /service account that it runs as/,
  ],
  'announces an account of a pod that names none': [
    byAgent({
      oldObject: pod({ spec: { serviceAccountName: undefined } }),
      object: pod({ annotations: OURS, spec: { serviceAccountName: undefined } }),
    }),
    /service account that it runs as/,
  ],
  'writes by the status': [byAgent({ resource: 'pods/status' }), /nothing else/],
  'adds a container to debug': [byAgent({ resource: 'pods/ephemeralcontainers' }), /nothing else/],
  'creates a pod': [byAgent({ operation: 'CREATE', oldObject: null }), /nothing else/],
  'evicts a pod': [
    byAgent({
      operation: 'CREATE',
      resource: 'pods/eviction',
      oldObject: null,
      object: { metadata: { name: 'cart-1' } },
    }),
    /nothing else/,
  ],
}
for (const [does, [request, said]] of Object.entries(FORBIDDEN)) {
  test(`an agent is refused that ${does}`, { skip }, () => assert.match(refused(request) ?? 'nothing', said))
}

/** What somebody else asks for. */
function by(user: string, change: Partial<Request>): Request {
  return { operation: 'UPDATE', resource: 'pods', user, oldObject: pod(), object: pod(), ...change }
}

const template = (annotations?: object): object => ({
  metadata: { name: 'cart' },
  spec: { template: { metadata: { ...(annotations === undefined ? {} : { annotations }) }, spec: {} } },
})

const UNHINDERED: Record<string, Request> = {
  'a pod is created': by('alice', { operation: 'CREATE', oldObject: null }),
  'a pod that asks to join is created': by('alice', {
    operation: 'CREATE',
    oldObject: null,
    object: pod({ annotations: { 'weft.dev/mesh': 'enabled', 'weft.dev/exclude-outbound-ports': '3306' } }),
  }),
  'a kubelet writes the status of a captured pod': by(KUBELET, {
    resource: 'pods/status',
    oldObject: pod({ annotations: OURS }),
    object: { ...pod({ annotations: OURS }), status: { phase: 'Running' } },
  }),
  'a label of a captured pod changes': by('alice', {
    oldObject: pod({ annotations: OURS }),
    object: pod({ annotations: OURS, metadata: { labels: { app: 'other' } } }),
  }),
  'an annotation of a captured pod changes': by('alice', {
    oldObject: pod({ annotations: OURS }),
    object: pod({ annotations: { ...OURS, a: 'b' } }),
  }),
  'the garbage collector takes owners and finalizers from a captured pod': by(
    'system:serviceaccount:kube-system:generic-garbage-collector',
    {
      oldObject: pod({ annotations: OURS, metadata: { finalizers: ['foregroundDeletion'] } }),
      object: pod({ annotations: OURS, metadata: { ownerReferences: [], finalizers: [] } }),
    },
  ),
  'the scheduler binds a pod': by('system:kube-scheduler', {
    operation: 'CREATE',
    resource: 'pods/binding',
    oldObject: null,
    object: { kind: 'Binding', metadata: { name: 'cart-1' }, target: { kind: 'Node', name: 'node-1' } },
  }),
  'a mirror pod is created': by(KUBELET, {
    operation: 'CREATE',
    oldObject: null,
    object: pod({ annotations: { 'kubernetes.io/config.mirror': 'x' } }),
  }),
  'a Deployment is created': by('alice', {
    ...{ operation: 'CREATE', group: 'apps', resource: 'deployments' },
    ...{ oldObject: null, object: template({ 'weft.dev/mesh': 'enabled' }) },
  }),
  'a Deployment without annotations is changed': by('alice', {
    ...{ group: 'apps', resource: 'deployments' },
    ...{ oldObject: template(), object: template() },
  }),
  'a Deployment that carried one before is scaled': by('alice', {
    ...{ group: 'apps', resource: 'deployments' },
    ...{ oldObject: template(OURS), object: template(OURS) },
  }),
  'a template without metadata is created': by('alice', {
    ...{ operation: 'CREATE', group: 'batch', resource: 'jobs' },
    ...{ oldObject: null, object: { metadata: { name: 'j' }, spec: { template: { spec: {} } } } },
  }),
  'a CronJob is created, whose pods are judged when they come': by('alice', {
    ...{ operation: 'CREATE', group: 'batch', resource: 'cronjobs' },
    ...{ oldObject: null, object: { metadata: {}, spec: { jobTemplate: {} } } },
  }),
}
for (const [what, request] of Object.entries(UNHINDERED)) {
  test(`unhindered: ${what}`, { skip }, () => assert.equal(refused(request), null))
}

const HINDERED: Record<string, readonly [request: Request, said: RegExp]> = {
  'a pod is created as captured': [
    by('alice', { operation: 'CREATE', oldObject: null, object: pod({ annotations: OURS }) }),
    /weft\.dev\/captured of a pod: leave it out, also in the template/,
  ],
  'a pod is created that carries an account': [
    by('system:serviceaccount:kube-system:replicaset-controller', {
      operation: 'CREATE',
      oldObject: null,
      object: pod({ annotations: { 'weft.dev/service-account': 'billing' } }),
    }),
    /weft\.dev\/service-account/,
  ],
  'addresses are written': [
    by('alice', { object: pod({ annotations: { 'weft.dev/addresses': '10.0.0.9' } }) }),
    /weft\.dev\/addresses/,
  ],
  'an account is replaced': [
    by('alice', {
      oldObject: pod({ annotations: OURS }),
      object: pod({ annotations: { ...OURS, 'weft.dev/service-account': 'billing' } }),
    }),
    /weft\.dev\/service-account/,
  ],
  'one is taken away': [
    by('alice', {
      oldObject: pod({ annotations: OURS }),
      object: pod({ annotations: { ...OURS, 'weft.dev/captured': undefined } }),
    }),
    /leave it as it is/,
  ],
  'all annotations are taken away': [
    by('alice', { oldObject: pod({ annotations: OURS }), object: pod() }),
    /leave it as it is/,
  ],
  'an administrator writes one': [
    by('kubernetes-admin', { object: pod({ annotations: OURS }) }),
    /agents of Weft alone/,
  ],
  'a kubelet writes one with a status': [
    by(KUBELET, { resource: 'pods/status', object: pod({ annotations: OURS }) }),
    /agents of Weft alone/,
  ],
  'a binding carries one': [
    by('mallory', {
      ...{ operation: 'CREATE', resource: 'pods/binding', oldObject: null },
      object: { kind: 'Binding', metadata: { name: 'cart-1', annotations: OURS }, target: { name: 'node-1' } },
    }),
    /agents of Weft alone/,
  ],
  'an account of the same name in another namespace writes one': [
    by('system:serviceaccount:shop:weft-agent', { object: pod({ annotations: OURS }), extra: BOUND }),
    /agents of Weft alone/,
  ],
  'the controller of the mesh writes one': [
    by('system:serviceaccount:weft-system:weft-controller', { object: pod({ annotations: OURS }) }),
    /agents of Weft alone/,
  ],
  'a Deployment carries one': [
    by('alice', {
      ...{ operation: 'CREATE', group: 'apps', resource: 'deployments' },
      ...{ oldObject: null, object: template(OURS) },
    }),
    /spec\.template\.metadata\.annotations: agents of Weft alone write weft\.dev\/captured/,
  ],
  'a DaemonSet gets one': [
    by('alice', {
      ...{ group: 'apps', resource: 'daemonsets' },
      ...{ oldObject: template(), object: template({ 'weft.dev/addresses': '10.0.0.9' }) },
    }),
    /weft\.dev\/addresses/,
  ],
}
for (const [what, [request, said]] of Object.entries(HINDERED)) {
  test(`refused: ${what}`, { skip }, () => assert.match(refused(request) ?? 'nothing', said))
}

test('each policy fails closed and is bound to deny', { skip }, () => {
  assert.deepEqual([...policies.keys()].sort(), ['weft-agents', 'weft-announcements', 'weft-templates'])
  for (const [name, policy] of policies) {
    assert.equal((policy.spec as { failurePolicy?: string }).failurePolicy, 'Fail')
    const binding = one(objects, 'ValidatingAdmissionPolicyBinding', name)
    assert.deepEqual(binding.spec, { policyName: name, validationActions: ['Deny'] })
  }
})

test('the account is the one of the release’s namespace', { skip }, async () => {
  const elsewhere = await render({ namespace: 'mesh' })
  const policy = one(elsewhere, 'ValidatingAdmissionPolicy', 'weft-announcements')
  const request = by('system:serviceaccount:mesh:weft-agent', { object: pod({ annotations: OURS }), extra: BOUND })
  assert.equal(refusal(policy, request), null)
  assert.match(refusal(policy, { ...request, user: AGENT }) ?? 'nothing', /agents of Weft alone/)
})
