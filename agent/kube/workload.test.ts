import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PLAIN_TERMS } from '../model/terms.ts'
import type { Metadata, Pod } from './object.ts'
import { object } from './objects.fixture.ts'
import { EXCLUDE_INBOUND_PORTS, ON_AGENT_LOSS } from './terms.ts'
import {
  CAPTURED,
  hasEnded,
  isJoined,
  localWorkload,
  MESH,
  ownerOf,
  podProblems,
  remoteWorkload,
  SERVICE_ACCOUNT,
  unfitness,
} from './workload.ts'

const SANDBOXED = ['gvisor', 'Kata']
const RULES = { sandboxed: SANDBOXED, isStrict: false }

const metadata = (wish: Partial<Metadata> = {}): Metadata => object({ name: 'web-6b9f-x7k2p', ...wish }).metadata
const wished = (wish: string | undefined, where: 'labels' | 'annotations'): Metadata =>
  metadata(wish === undefined ? {} : { [where]: { [MESH]: wish } })

test('a pod joins by its own wish, else by its namespace’s', () => {
  const table: [pod: string | undefined, namespace: string | undefined, joined: boolean][] = [
    [undefined, undefined, false],
    [undefined, 'enabled', true],
    [undefined, 'disabled', false],
    [undefined, 'yes', false],
    ['disabled', 'enabled', false],
    ['enabled', undefined, true],
    ['enabled', 'disabled', true],
    ['', 'enabled', false],
  ]
  for (const [pod, namespace, joined] of table) {
    for (const where of ['labels', 'annotations'] as const) {
      assert.equal(
        isJoined(wished(pod, where), wished(namespace, where)),
        joined,
        JSON.stringify([pod, namespace, where]),
      )
    }
  }
  assert.equal(isJoined(wished('enabled', 'labels'), undefined), true)
  assert.equal(isJoined(metadata(), undefined), false) // its namespace is not known yet
})

test('an annotation counts before a label', () => {
  const both = metadata({ annotations: { [MESH]: 'disabled' }, labels: { [MESH]: 'enabled' } })
  assert.equal(isJoined(both, wished('enabled', 'labels')), false)
  assert.equal(isJoined(metadata(), both), false)
})

test('a pod’s owner is what controls it: of a ReplicaSet its Deployment', () => {
  const owned = (kind: string, name: string, hash?: string): string =>
    ownerOf(
      metadata({
        labels: hash === undefined ? {} : { 'pod-template-hash': hash },
        ownerReferences: [{ kind, name, controller: true }],
      }),
    )
  assert.equal(owned('ReplicaSet', 'web-6b9f', '6b9f'), 'web')
  assert.equal(owned('ReplicaSet', 'my-web-app-6b9f', '6b9f'), 'my-web-app')
  assert.equal(owned('ReplicaSet', 'bare'), 'bare')
  assert.equal(owned('ReplicaSet', 'web-6b9f', 'other'), 'web-6b9f')
  assert.equal(owned('StatefulSet', 'db-6b9f', '6b9f'), 'db-6b9f')
  assert.equal(owned('DaemonSet', 'logs'), 'logs')
  assert.equal(ownerOf(metadata()), 'web-6b9f-x7k2p')
  assert.equal(ownerOf(metadata({ ownerReferences: [] })), 'web-6b9f-x7k2p')
  const references = [
    { kind: 'Custom', name: 'first' },
    { kind: 'StatefulSet', name: 'controller', controller: true },
  ]
  assert.equal(ownerOf(metadata({ ownerReferences: references })), 'controller')
  assert.equal(ownerOf(metadata({ ownerReferences: references.slice(0, 1) })), 'first')
})

test('a pod has ended once it has succeeded or failed, not while it is asked to', () => {
  const pod = (phase?: string): Pod =>
    object({ name: 'a', deletionTimestamp: '2026-01-01T00:00:00Z' }, { status: { phase } })
  assert.deepEqual(['Succeeded', 'Failed'].map(pod).map(hasEnded), [true, true])
  assert.deepEqual(['Running', 'Pending', undefined].map(pod).map(hasEnded), [false, false, false])
})

test('a pod of this node is known whole', () => {
  const pod: Pod = object(
    {
      ...{ name: 'web-1', namespace: 'shop', labels: { app: 'web' } },
      annotations: { [CAPTURED]: 'agent-1', [EXCLUDE_INBOUND_PORTS]: '9090' },
    },
    {
      spec: { nodeName: 'n1', serviceAccountName: 'web', hostNetwork: true },
      status: { podIP: '10.1.0.1', podIPs: [{ ip: '10.1.0.1' }, { ip: 'FD00:0::1' }] },
    },
  )
  assert.deepEqual(localWorkload(pod, wished('enabled', 'labels'), RULES), {
    uid: 'uid-shop-web-1',
    name: 'web-1',
    namespace: 'shop',
    node: 'n1',
    ips: ['10.1.0.1', 'fd00::1'],
    labels: { app: 'web' },
    serviceAccount: 'web',
    owner: 'web-1',
    hostNetwork: true,
    unfit: 'hostNetwork',
    agentReady: true,
    placedBy: 'spec',
    terms: { ...PLAIN_TERMS, excludeInboundPorts: [9090] },
    joined: true,
    terminating: false,
    captured: 'agent-1',
    announcedAccount: null,
  })
})

test('a pod that is asked to end is known to be ending, on this node and on others', () => {
  const deletionTimestamp = '2026-01-01T00:00:00Z'
  for (const [wish, terminating] of [[{}, false] as const, [{ deletionTimestamp }, true] as const]) {
    const pod: Pod = object({ name: 'a', ...wish }, {})
    assert.equal(localWorkload(pod, undefined, RULES).terminating, terminating)
    assert.equal(remoteWorkload(pod, undefined).terminating, terminating)
  }
})

test('a pod that has no address or account yet is a workload nonetheless', () => {
  const bare = localWorkload(object<Pod>({ name: 'a' }), undefined, RULES)
  assert.deepEqual([bare.node, bare.ips, bare.serviceAccount, bare.hostNetwork], [null, [], 'default', false])
  assert.deepEqual(localWorkload(object<Pod>({ name: 'a' }, { status: { podIP: '10.1.0.1' } }), undefined, RULES).ips, [
    '10.1.0.1',
  ])
  assert.deepEqual(localWorkload(object<Pod>({ name: 'a' }, { status: { podIP: '' } }), undefined, RULES).ips, [])
})

test('of a pod of another node only what its metadata says is known', () => {
  const announced = { [CAPTURED]: 'agent-2', [SERVICE_ACCOUNT]: 'web' }
  const pod = object<Pod>(
    { name: 'web-1', annotations: { ...announced, [MESH]: 'enabled', [ON_AGENT_LOSS]: 'closed' } },
    { spec: { nodeName: 'n2', hostNetwork: true } },
  )
  const found = remoteWorkload(pod, undefined)
  assert.deepEqual([found.node, found.ips, found.serviceAccount], [null, [], 'web'])
  assert.deepEqual([found.joined, found.captured, found.unfit], [true, 'agent-2', null])
  assert.equal(found.terms, PLAIN_TERMS)
})

test('a pod of another node whose account is not announced is not captured; one of this node has its own', () => {
  const table: [announced: Record<string, string>, remote: unknown[], local: unknown[]][] = [
    [{}, [null, '', null], [null, 'web', null]],
    [{ [CAPTURED]: 'agent-2' }, [null, '', null], ['agent-2', 'web', null]],
    [{ [CAPTURED]: 'agent-2', [SERVICE_ACCOUNT]: '' }, [null, '', null], ['agent-2', 'web', null]],
    [{ [CAPTURED]: 'agent-2', [SERVICE_ACCOUNT]: 'db' }, ['agent-2', 'db', 'db'], ['agent-2', 'web', 'db']],
    [{ [SERVICE_ACCOUNT]: 'db' }, [null, 'db', 'db'], [null, 'web', 'db']],
  ]
  for (const [annotations, remote, local] of table) {
    const pod = object<Pod>({ name: 'web-1', annotations }, { spec: { serviceAccountName: 'web' } })
    const seen = [remoteWorkload(pod, undefined), localWorkload(pod, undefined, RULES)]
    assert.deepEqual(
      seen.map(({ captured, serviceAccount, announcedAccount }) => [captured, serviceAccount, announcedAccount]),
      [remote, local],
    )
  }
})

test('a pod of another node is where its agent has announced it, once its account is announced too', () => {
  const at = (annotations: Record<string, string>): readonly string[] =>
    remoteWorkload({ metadata: { ...metadata, annotations } }, undefined).ips
  const metadata = { name: 'a', uid: '1', resourceVersion: '1' }
  const account = { 'weft.dev/service-account': 'web' }
  assert.deepEqual(at({ ...account, 'weft.dev/addresses': '10.0.0.1,FD00::0:1' }), ['10.0.0.1', 'fd00::1'])
  assert.deepEqual(at({ ...account, 'weft.dev/addresses': 'none,10.0.0.1,10.0.0.2,10.0.0.3' }), ['10.0.0.1'])
  assert.deepEqual(at({ 'weft.dev/addresses': '10.0.0.1' }), [])
  assert.deepEqual(at(account), [])
})

test('of a pod of another node it is known which ports go past its proxy, by its own word or its namespace’s', () => {
  const metadata = { name: 'a', uid: '1', resourceVersion: '1' }
  const annotations = { 'weft.dev/exclude-inbound-ports': '9000, none' }
  const portsOf = (own: object, namespace: object): readonly number[] =>
    remoteWorkload({ metadata: { ...metadata, ...own } }, { ...metadata, ...namespace }).terms.excludeInboundPorts
  assert.deepEqual(portsOf({ annotations }, {}), [9000])
  assert.deepEqual(portsOf({}, { annotations }), [9000])
  assert.equal(remoteWorkload({ metadata }, undefined).terms, PLAIN_TERMS)
})

test('a pod that can never be captured says why', () => {
  const why = (spec: Pod['spec']): string | null => unfitness(object<Pod>({ name: 'a' }, { spec }), SANDBOXED)
  const app = { name: 'app' }
  const table: [Pod['spec'], string | null][] = [
    [undefined, null],
    [{ containers: [app], initContainers: [{ name: 'istio-init' }] }, null],
    [{ hostNetwork: true, containers: [{ name: 'istio-proxy' }] }, 'hostNetwork'],
    [{ runtimeClassName: 'gVisor' }, 'sandboxed runtimeClass gVisor'],
    [{ runtimeClassName: 'kata-qemu' }, 'sandboxed runtimeClass kata-qemu'],
    [{ runtimeClassName: 'my-kata' }, null],
    [{ runtimeClassName: 'nvidia' }, null],
    [{ containers: [app, { name: 'istio-proxy' }] }, 'istio-proxy sidecar'],
    [{ containers: [app, { name: 'linkerd-proxy' }] }, 'linkerd-proxy sidecar'],
    // a native sidecar is an init container
    [{ containers: [app], initContainers: [{ name: 'istio-proxy', restartPolicy: 'Always' }] }, 'istio-proxy sidecar'],
  ]
  for (const [spec, expected] of table) assert.equal(why(spec), expected, JSON.stringify(spec))
})

test('bad terms are told of a pod in the mesh alone', () => {
  const pod = object<Pod>({ name: 'a', annotations: { [ON_AGENT_LOSS]: 'ajar' } })
  assert.equal(podProblems(pod, wished('enabled', 'labels'), false).length, 1)
  assert.deepEqual(podProblems(pod, undefined, false), [])
})

test('a fail-closed pod that rules over its own network is told what that means', () => {
  const of = (securityContext: object, loss = 'closed'): readonly string[] => {
    const pod = {
      metadata: {
        ...wished('enabled', 'annotations'),
        annotations: { [MESH]: 'enabled', 'weft.dev/on-agent-loss': loss },
      },
      spec: { containers: [{ name: 'plain' }, { name: 'vpn', securityContext }] },
    }
    return podProblems(pod, undefined, false).map(({ field }) => field)
  }
  const told = ['spec.containers[vpn].securityContext']
  assert.deepEqual(of({ privileged: true }), told)
  assert.deepEqual(of({ capabilities: { add: ['NET_BIND_SERVICE', 'NET_ADMIN'] } }), told)
  assert.deepEqual(of({ capabilities: { add: ['CAP_NET_ADMIN'] } }), told)
  assert.deepEqual(of({ capabilities: { add: ['NET_BIND_SERVICE'] } }), [])
  assert.deepEqual(of({ privileged: true }, 'open'), [])
})
