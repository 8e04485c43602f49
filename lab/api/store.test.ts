import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { equalTo, parseFieldSelector } from './selector.ts'
import { ApiError } from './status.ts'
import { createStore } from './store.ts'
import type { KubeObject, ObjectDraft } from './object.ts'
import type { Store } from './store.ts'

const POD: ObjectDraft = {
  metadata: { name: 'p', namespace: 'default', labels: { app: 'a' } },
  spec: { containers: [{ name: 'c', image: 'i' }] },
}

function pod(name: string, change: object = {}): ObjectDraft {
  return { ...POD, metadata: { ...POD.metadata, name, ...change } }
}

function service(name: string, spec: object = {}): ObjectDraft {
  return { metadata: { name, namespace: 'default' }, spec: { ports: [{ port: 80 }], ...spec } }
}

function refusal(code: number, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ApiError, String(error))
    assert.match(error.message, message)
    assert.equal(error.code, code)
    return true
  }
}

function heard(store: Store, resource: string): string[] {
  const events: string[] = []
  store.watch(resource, ({ type, object }) => events.push(`${type} ${object.metadata.name}`))
  return events
}

describe('writing', () => {
  test('gives a new object what the server owns, and freezes it', () => {
    const store = createStore({ now: () => new Date('2030-01-02T03:04:05.678Z') })
    const made = store.create('pods', { ...POD, status: { phase: 'Running' } })
    assert.equal(made.metadata.creationTimestamp, '2030-01-02T03:04:05Z')
    assert.match(made.metadata.uid, /^[0-9a-f-]{36}$/)
    assert.equal(made.metadata.resourceVersion, store.version)
    assert.equal(made.status.phase, 'Pending')
    assert.equal(made.spec.restartPolicy, 'Always')
    assert.throws(() => (made.spec.containers[0].image = 'x'), TypeError)
    assert.equal(store.get('pods', 'default', 'p'), made)
  })

  test('does not keep the draft: changing it later changes nothing', () => {
    const store = createStore()
    const draft = structuredClone(POD)
    store.create('pods', draft)
    draft.spec.containers[0].image = 'other'
    assert.equal(store.get('pods', 'default', 'p')?.spec.containers[0].image, 'i')
  })

  test('generates names, with the suffix that Kubernetes uses', () => {
    const store = createStore()
    const draft = { ...POD, metadata: { generateName: 'web-', namespace: 'default' } }
    const names = new Set(Array.from({ length: 50 }, () => store.create('pods', draft).metadata.name))
    assert.equal(names.size, 50)
    for (const name of names) assert.match(name, /^web-[bcdfghjklmnpqrstvwxz2456789]{5}$/)
  })

  test('refuses a taken name, a missing namespace, and a resourceVersion on a new object', () => {
    const store = createStore()
    store.create('pods', POD)
    assert.throws(() => store.create('pods', POD), refusal(409, /^pods "p" already exists$/))
    const elsewhere = pod('p', { namespace: 'nowhere' })
    assert.throws(() => store.create('pods', elsewhere), refusal(404, /^namespaces "nowhere" not found$/))
    assert.throws(() => store.create('pods', pod('q', { resourceVersion: '1' })), refusal(400, /should not be set/))
    assert.throws(() => store.create('nothings', POD), refusal(404, /could not find the requested resource/))
  })

  test('refuses an update from a stale read, and takes one that names no version', () => {
    const store = createStore()
    const old = store.create('pods', POD)
    store.modify('pods', 'default', 'p', (each) => (each.metadata.labels = { app: 'b' }))
    const stale = { ...old, metadata: { ...old.metadata, labels: { app: 'c' } } }
    assert.throws(
      () => store.update('pods', stale),
      refusal(409, /^Operation cannot be fulfilled on pods "p": the object has/),
    )
    const { resourceVersion: _version, ...metadata } = stale.metadata
    assert.equal(store.update('pods', { ...stale, metadata }).metadata.labels?.['app'], 'c')
  })

  test('a write that changes nothing is no write', () => {
    const store = createStore()
    const made = store.create('pods', POD)
    const events = heard(store, 'pods')
    assert.equal(
      store.modify('pods', 'default', 'p', () => {}),
      made,
    )
    assert.deepEqual(events, ['ADDED p'])
  })

  test('status changes through its subresource alone, and nothing else does there', () => {
    const store = createStore()
    store.create('pods', POD)
    const both = (object: any): void => {
      object.status.phase = 'Running'
      object.metadata.labels = { app: 'changed' }
    }
    assert.equal(store.modify('pods', 'default', 'p', both)?.status.phase, 'Pending')
    store.modify('pods', 'default', 'p', (each) => (each.metadata.labels = { app: 'a' }))
    const after = store.modify('pods', 'default', 'p', both, { subresource: 'status' })
    assert.equal(after?.status.phase, 'Running')
    assert.equal(after?.metadata.labels?.['app'], 'a')
  })

  test('generation counts changes of the spec only', () => {
    const store = createStore()
    const labels = { app: 'a' }
    const template = { metadata: { labels }, spec: POD.spec }
    const spec = { selector: { matchLabels: labels }, template }
    const at = (): number | undefined => store.get('deployments.apps', 'default', 'd')?.metadata.generation
    store.create('deployments.apps', { metadata: { name: 'd', namespace: 'default' }, spec })
    assert.equal(at(), 1)
    store.modify('deployments.apps', 'default', 'd', (each) => (each.metadata.labels = labels))
    store.modify('deployments.apps', 'default', 'd', (each) => (each.status = { replicas: 1 }), {
      subresource: 'status',
    })
    assert.equal(at(), 1)
    store.modify('deployments.apps', 'default', 'd', (each) => (each.spec.replicas = 3))
    assert.equal(at(), 2)
  })

  test('a dry run answers as the write would, and keeps nothing', () => {
    const store = createStore()
    const before = store.version
    assert.equal(store.create('services', service('s'), { dryRun: true }).spec.type, 'ClusterIP')
    assert.equal(store.version, before)
    assert.equal(store.get('services', 'default', 's'), undefined)
    assert.throws(() => store.create('pods', pod('Bad'), { dryRun: true }), refusal(422, /is invalid/))
  })

  test('refuses what breaks a rule of its kind, naming every field', () => {
    const store = createStore()
    const bad = { ...pod('UPPER'), spec: { containers: [{ name: 'c' }] } }
    assert.throws(
      () => store.create('pods', bad),
      refusal(422, /^Pod "UPPER" is invalid: \[metadata\.name: .*spec\.containers\[0\]\.image: Required value\]$/),
    )
    const spec = {
      selector: { matchLabels: { app: 'x' } },
      template: { metadata: { labels: { app: 'y' } }, spec: POD.spec },
    }
    const deployment = { metadata: { name: 'd', namespace: 'default' }, spec }
    assert.throws(
      () => store.create('deployments.apps', deployment),
      refusal(422, /`selector` does not match template `labels`/),
    )
    store.create('pods', POD)
    const change = (object: KubeObject): void => {
      object.spec.containers[0].command = ['x']
    }
    assert.throws(() => store.modify('pods', 'default', 'p', change), refusal(422, /pod updates may not change fields/))
    assert.throws(() => store.create('pods', pod('l', { labels: { a: 'not a label' } })), refusal(422, /valid label/))
  })

  test('refuses what controllers and nodes could not read', () => {
    const store = createStore()
    const make = (resource: string, fields: object) => () =>
      store.create(resource, { metadata: { name: 'x', namespace: 'default' }, ...fields })
    const template = { spec: { ...POD.spec, restartPolicy: 'Never' } }
    const selector = { matchExpressions: [{ key: 'a', operator: 'Like', values: ['b'] }] }
    assert.throws(make('jobs.batch', { spec: { selector, template } }), refusal(422, /not a valid selector operator/))
    const noValues = { matchExpressions: [{ key: 'a', operator: 'In' }] }
    const set = { spec: { selector: noValues, template } }
    assert.throws(make('replicasets.apps', set), refusal(422, /matchExpressions\[0\]\.values: Required value/))
    const owned = pod('o', { ownerReferences: [{ kind: 'Job', name: 'j' }] })
    assert.throws(() => store.create('pods', owned), refusal(422, /ownerReferences\[0\]\.uid: Required value/))
    assert.throws(() => store.create('pods', pod('f', { finalizers: 'one' })), refusal(422, /a list of strings/))
    const slices = 'endpointslices.discovery.k8s.io'
    const slice = (endpoints: unknown, ports: unknown = []) => make(slices, { addressType: 'IPv4', endpoints, ports })
    assert.throws(slice([{}]), refusal(422, /endpoints\[0\]\.addresses: Required value/))
    assert.throws(slice([{ addresses: ['10.0.0.1; drop'] }]), refusal(422, /address of type IPv4/))
    assert.throws(slice([], [{ port: 0 }]), refusal(422, /between 1 and 65535/))
    slice(null, null)()
  })
})

describe('listing and watching', () => {
  test('lists by namespace, labels and fields, in the order of names', () => {
    const store = createStore()
    for (const name of ['c', 'a', 'b']) store.create('pods', pod(name))
    store.create('pods', pod('a', { namespace: 'kube-system', labels: { app: 'z' } }))
    const names = (list: { metadata: { name: string } }[]): string[] => list.map(({ metadata }) => metadata.name)
    assert.deepEqual(names(store.list('pods', { namespace: 'default' })), ['a', 'b', 'c'])
    assert.equal(store.list('pods').length, 4)
    assert.equal(store.list('pods', { labels: equalTo({ app: 'z' }) }).length, 1)
    assert.deepEqual(
      names(store.list('pods', { namespace: 'default', fields: parseFieldSelector('metadata.name=b') })),
      ['b'],
    )
    assert.equal(store.list('pods', { fields: parseFieldSelector('status.phase!=Pending') }).length, 0)
  })

  test('a watch starts with what is there and hears each write before it returns', () => {
    const store = createStore()
    store.create('pods', pod('a'))
    const events = heard(store, 'pods')
    store.create('pods', pod('b'))
    store.modify('pods', 'default', 'b', (each) => (each.metadata.labels = {}))
    store.delete('pods', 'default', 'a')
    assert.deepEqual(events, ['ADDED a', 'ADDED b', 'MODIFIED b', 'DELETED a'])
  })

  test('listeners that write are heard by all in the order of the writes', () => {
    const store = createStore()
    const stop = store.watch('pods', ({ type, object }) => {
      if (type === 'ADDED' && object.metadata.name === 'a') store.create('pods', pod('b'))
    })
    const events = heard(store, 'pods')
    store.create('pods', pod('a'))
    assert.deepEqual(events, ['ADDED a', 'ADDED b'])
    stop()
  })

  test('a watch opened by a listener misses nothing and hears nothing twice', () => {
    const store = createStore()
    let events: string[] | undefined
    store.watch('services', ({ object }): void => {
      if (object.metadata.name !== 'go') return
      store.create('pods', pod('a'))
      events = heard(store, 'pods')
      store.create('pods', pod('b'))
    })
    store.create('services', service('go'))
    assert.deepEqual(events, ['ADDED a', 'ADDED b'])
  })

  test('following from a version gives what came after; an older or a foreign one is refused', () => {
    const store = createStore({ logLimit: 3 })
    const from = Number(store.version)
    store.create('pods', pod('a'))
    const events: string[] = []
    store.follow('pods', from, ({ type, object }) => events.push(`${type} ${object.metadata.name}`))
    for (const name of ['b', 'c', 'd']) store.create('pods', pod(name))
    assert.deepEqual(events, ['ADDED a', 'ADDED b', 'ADDED c', 'ADDED d'])
    assert.throws(() => store.follow('pods', from, () => {}), refusal(410, /too old resource version/))
    assert.throws(() => store.follow('pods', from + 1_000_000, () => {}), refusal(410, /not of this server/))
  })

  test('versions of an earlier life are too old', () => {
    const first = createStore({ now: () => new Date(1_000_000) })
    first.create('pods', POD)
    const second = createStore({ now: () => new Date(2_000_000) })
    assert.throws(() => second.follow('pods', Number(first.version), () => {}), refusal(410, /too old/))
  })
})

describe('deleting', () => {
  test('a pod that a node runs is marked, and goes when its kubelet deletes it with grace 0', () => {
    const store = createStore({ now: () => new Date('2030-01-01T00:00:00Z') })
    store.create('pods', { ...POD, spec: { ...POD.spec, nodeName: 'n', terminationGracePeriodSeconds: 10 } })
    const marked = store.delete('pods', 'default', 'p')
    assert.equal(marked?.metadata.deletionTimestamp, '2030-01-01T00:00:10Z')
    assert.equal(
      store.delete('pods', 'default', 'p', { gracePeriodSeconds: 60 })?.metadata.deletionGracePeriodSeconds,
      10,
    )
    assert.equal(
      store.delete('pods', 'default', 'p', { gracePeriodSeconds: 2 })?.metadata.deletionGracePeriodSeconds,
      2,
    )
    assert.ok(store.get('pods', 'default', 'p'))
    store.delete('pods', 'default', 'p', { gracePeriodSeconds: 0 })
    assert.equal(store.get('pods', 'default', 'p'), undefined)
    assert.equal(store.delete('pods', 'default', 'p'), undefined)
  })

  test('a pod without a node goes at once', () => {
    const store = createStore()
    store.create('pods', POD)
    store.delete('pods', 'default', 'p')
    assert.equal(store.get('pods', 'default', 'p'), undefined)
  })

  test('finalizers hold an object until the last of them is taken off', () => {
    const store = createStore()
    store.create('configmaps', { metadata: { name: 'c', namespace: 'default', finalizers: ['a/b', 'a/c'] } })
    store.delete('configmaps', 'default', 'c')
    const events = heard(store, 'configmaps')
    store.modify('configmaps', 'default', 'c', ({ metadata }) => (metadata.finalizers = ['a/c']))
    store.modify('configmaps', 'default', 'c', ({ metadata }) => (metadata.finalizers = []))
    assert.deepEqual(events, ['ADDED c', 'MODIFIED c', 'DELETED c'])
  })

  test('orphan and foreground deletion leave a finalizer to the garbage collector', () => {
    const store = createStore()
    for (const [policy, finalizer] of [
      ['Orphan', 'orphan'],
      ['Foreground', 'foregroundDeletion'],
    ] as const) {
      store.create('configmaps', { metadata: { name: 'c', namespace: 'default' } })
      const kept = store.delete('configmaps', 'default', 'c', { propagationPolicy: policy })
      assert.deepEqual(kept?.metadata.finalizers, [finalizer])
      store.modify('configmaps', 'default', 'c', ({ metadata }) => (metadata.finalizers = []))
      assert.equal(store.get('configmaps', 'default', 'c'), undefined)
    }
  })

  test('preconditions are compared', () => {
    const store = createStore()
    store.create('pods', POD)
    assert.throws(
      () => store.delete('pods', 'default', 'p', { preconditions: { uid: 'x' } }),
      refusal(409, /UID in precondition: x/),
    )
  })

  test('a namespace empties, takes nothing new meanwhile, and goes with the last object', () => {
    const store = createStore()
    store.create('namespaces', { metadata: { name: 'n' } })
    store.create('pods', { ...pod('slow', { namespace: 'n' }), spec: { ...POD.spec, nodeName: 'n' } })
    store.create('pods', pod('quick', { namespace: 'n' }))
    store.create('configmaps', { metadata: { name: 'c', namespace: 'n' } })
    assert.equal(store.delete('namespaces', null, 'n')?.status.phase, 'Terminating')
    assert.deepEqual(
      store.list('pods', { namespace: 'n' }).map(({ metadata }) => metadata.name),
      ['slow'],
    )
    assert.throws(() => store.create('pods', pod('new', { namespace: 'n' })), refusal(403, /is being terminated/))
    store.delete('pods', 'n', 'slow', { gracePeriodSeconds: 0 })
    assert.equal(store.get('namespaces', null, 'n'), undefined)
  })
})

describe('services', () => {
  test('get distinct cluster IPs, keep them on updates that leave them out, and give them back', () => {
    const store = createStore()
    const first = store.create('services', service('a'))
    const second = store.create('services', service('b'))
    assert.match(first.spec.clusterIP, /^10\.96\.\d+\.\d+$/)
    assert.notEqual(first.spec.clusterIP, second.spec.clusterIP)
    assert.equal(store.update('services', service('a', { selector: { x: 'y' } })).spec.clusterIP, first.spec.clusterIP)
    assert.throws(
      () => store.create('services', service('c', { clusterIP: first.spec.clusterIP })),
      refusal(422, /already allocated/),
    )
    store.delete('services', 'default', 'a')
    assert.equal(
      store.create('services', service('c', { clusterIP: first.spec.clusterIP })).spec.clusterIP,
      first.spec.clusterIP,
    )
  })

  test('a cluster IP may not change, be outside of the range, or be had by ExternalName; other addresses are checked too', () => {
    const store = createStore()
    store.create('services', service('a'))
    assert.throws(
      () => store.update('services', service('a', { clusterIP: '10.96.9.9' })),
      refusal(422, /may not change once set/),
    )
    assert.throws(() => store.create('services', service('b', { clusterIP: '10.1.2.3' })), refusal(422, /valid range/))
    assert.equal(store.create('services', service('h', { clusterIP: 'None' })).spec.clusterIP, 'None')
    assert.equal(store.create('services', service('h2', { clusterIP: 'None' })).spec.clusterIP, 'None')
    assert.throws(
      () => store.create('services', service('i', { externalIPs: ['example.com'] })),
      refusal(422, /externalIPs\[0\]: Invalid value: "example.com"/),
    )
    const badName = service('e', { type: 'ExternalName', externalName: 'not a name' })
    assert.throws(() => store.create('services', badName), refusal(422, /spec\.externalName: Invalid value/))
    const external = store.create('services', service('e', { type: 'ExternalName', externalName: 'a.example' }))
    assert.equal(external.spec.clusterIP, undefined)
  })

  test('ports default to TCP and to themselves; NodePort services get node ports', () => {
    const store = createStore()
    const [port] = store.create('services', service('a', { type: 'NodePort' })).spec.ports
    assert.deepEqual({ protocol: port.protocol, targetPort: port.targetPort }, { protocol: 'TCP', targetPort: 80 })
    assert.ok(port.nodePort >= 30_000 && port.nodePort <= 32_767)
    assert.equal(store.update('services', service('a', { type: 'NodePort' })).spec.ports[0].nodePort, port.nodePort)
  })
})

describe('custom resources', () => {
  const definition = (versions: object[]): ObjectDraft => ({
    metadata: { name: 'things.example.com' },
    spec: { group: 'example.com', scope: 'Namespaced', names: { plural: 'things', kind: 'Thing' }, versions },
  })
  const V1 = { name: 'v1', served: true, storage: true, subresources: { status: {} } }

  test('are served as soon as they are defined and gone with their definition', () => {
    const store = createStore()
    const made = store.create('customresourcedefinitions.apiextensions.k8s.io', definition([V1]))
    assert.deepEqual(
      made.status.conditions.map(({ type }: any) => type),
      ['NamesAccepted', 'Established'],
    )
    const draft = { metadata: { name: 't', namespace: 'default' }, spec: { any: [1] }, status: { dropped: true } }
    const thing = store.create('things.example.com', draft)
    assert.equal(thing.apiVersion, 'example.com/v1')
    assert.equal(thing.metadata.generation, 1)
    assert.equal(thing.status, undefined)
    const events = heard(store, 'things.example.com')
    store.delete('customresourcedefinitions.apiextensions.k8s.io', null, 'things.example.com')
    assert.deepEqual(events, ['ADDED t', 'DELETED t'])
    assert.throws(() => store.list('things.example.com'), refusal(404, /could not find/))
  })

  test('a definition must be named after its plural and group and have one storage version', () => {
    const store = createStore()
    const kind = 'customresourcedefinitions.apiextensions.k8s.io'
    const misnamed = { ...definition([V1]), metadata: { name: 'other.example.com' } }
    assert.throws(() => store.create(kind, misnamed), refusal(422, /must be spec\.names\.plural/))
    assert.throws(
      () => store.create(kind, definition([V1, { ...V1, name: 'v2' }])),
      refusal(422, /exactly one version/),
    )
    assert.throws(
      () => store.create(kind, { metadata: { name: 'x.y' }, spec: {} }),
      refusal(422, /spec\.group: Required/),
    )
  })
})
