import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { FakeCluster, templateOf } from '../fake-cluster.ts'
import { as, type DaemonSet, type Node, type Pod } from '../world/kinds.ts'
import { planDaemons } from './daemonset.ts'
import { isActive, isReady } from './pods.ts'
import { REVISION_LABEL } from './statefulset.ts'

const NOW = Date.UTC(2030, 0, 1)
const UPDATE = { revision: 'new', now: NOW }

function setOf(rollingUpdate: object): DaemonSet {
  const spec = { selector: { matchLabels: { app: 'x' } }, template: templateOf('x', 'v1') }
  return as<DaemonSet>({
    metadata: { name: 'x', namespace: 'default', uid: 'set', creationTimestamp: '' },
    spec: { ...spec, updateStrategy: { type: 'RollingUpdate', rollingUpdate } },
  } as never)
}

const nodeOf = (name: string): Node => as<Node>({ metadata: { name, labels: {} }, spec: {}, status: {} } as never)

interface Wish {
  readonly node: string
  readonly revision: string
  readonly ready: boolean
  readonly deleting?: boolean
}

let serial = 0
function podOf({ node, revision, ready, deleting = false }: Wish): Pod {
  serial += 1
  const name = `x-${String(serial)}`
  const at = new Date(NOW - 1_000_000 + serial * 1_000).toISOString()
  return as<Pod>({
    metadata: {
      ...{ name, uid: name, namespace: 'default', creationTimestamp: at, labels: { [REVISION_LABEL]: revision } },
      ...(deleting ? { deletionTimestamp: at } : {}),
    },
    spec: { nodeName: node },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  } as never)
}

const SURGE = { maxSurge: 1, maxUnavailable: 0 }

function step(rollingUpdate: object, nodes: readonly string[], wishes: readonly Wish[]) {
  const pods = wishes.map(podOf)
  const { create, remove } = planDaemons(setOf(rollingUpdate), nodes.map(nodeOf), pods, UPDATE)
  return { create, remove: remove.map((pod) => pods.indexOf(pod)) }
}

test('with a surge the new pod comes beside the old one, on as many nodes as may surge', () => {
  const old = ['one', 'two', 'three'].map((node) => ({ node, revision: 'old', ready: true }))
  assert.deepEqual(step(SURGE, ['one', 'two', 'three'], old), { create: ['one'], remove: [] })
  const wide = step({ maxSurge: '50%', maxUnavailable: 0 }, ['one', 'two', 'three'], old)
  assert.deepEqual(wide, { create: ['one', 'two'], remove: [] })
})

test('the old pod goes once the new one is available, and the next node waits until then', () => {
  const old = { node: 'one', revision: 'old', ready: true }
  const other = { node: 'two', revision: 'old', ready: true }
  const waiting = step(SURGE, ['one', 'two'], [old, { ...old, revision: 'new', ready: false }, other])
  assert.deepEqual(waiting, { create: [], remove: [] })
  const done = step(SURGE, ['one', 'two'], [old, { ...old, revision: 'new' }, other])
  assert.deepEqual(done, { create: [], remove: [0] })
  const going = step(SURGE, ['one', 'two'], [{ ...old, deleting: true }, { ...old, revision: 'new' }, other])
  assert.deepEqual(going, { create: ['two'], remove: [] })
})

test('an old pod that serves nobody takes no room of the surge, and goes as soon as its successor is there', () => {
  const sick = { node: 'one', revision: 'old', ready: false }
  const well = { node: 'two', revision: 'old', ready: true }
  assert.deepEqual(step(SURGE, ['one', 'two'], [sick, well]), { create: ['one', 'two'], remove: [] })
  const beside = { node: 'one', revision: 'new', ready: false }
  assert.deepEqual(step(SURGE, ['one'], [sick, beside]), { create: [], remove: [0] })
})

test('a third template in the middle of an update leaves two pods a node at most', () => {
  const pods = ['older', 'old'].map((revision) => ({ node: 'one', revision, ready: true }))
  assert.deepEqual(step(SURGE, ['one'], pods), { create: ['one'], remove: [1] })
  // the one that serves stays, however young
  const [older, old] = pods
  assert.deepEqual(step(SURGE, ['one'], [{ ...older!, ready: false }, old!]), { create: ['one'], remove: [0] })
})

/** A cluster in any order of events: what the plan says is done, and pods become ready or not as chance has it. */
test('whatever happens meanwhile, a surge never takes a node its serving pod, and ends with new pods alone', () => {
  const names = ['one', 'two', 'three', 'four']
  const events = fc.array(fc.record({ at: fc.nat(7), ready: fc.boolean() }), { maxLength: 30 })
  fc.assert(
    fc.property(events, fc.constantFrom(1, 2, '50%', '100%'), (happenings, maxSurge) => {
      const set = setOf({ maxSurge, maxUnavailable: 0 })
      const nodes = names.map(nodeOf)
      let pods = names.map((node) => podOf({ node, revision: 'old', ready: true }))
      const most = typeof maxSurge === 'number' ? maxSurge : (Number.parseInt(maxSurge, 10) / 100) * names.length
      const turn = (): void => {
        const { create, remove } = planDaemons(set, nodes, pods, UPDATE)
        for (const pod of remove) {
          const rest = pods.filter((each) => each !== pod && each.spec.nodeName === pod.spec.nodeName)
          assert.ok(!isReady(pod) || rest.some(isReady), `${pod.metadata.name} was the one that served`)
        }
        pods = pods.filter((pod) => !remove.includes(pod))
        pods.push(...create.map((node) => podOf({ node, revision: 'new', ready: false })))
        const counts = names.map((name) => pods.filter(({ spec }) => spec.nodeName === name))
        assert.ok(counts.every(({ length }) => length === 1 || length === 2))
        const surged = counts.filter((here) => here.length === 2 && here.some((pod) => isActive(pod) && isReady(pod)))
        assert.ok(surged.length <= most, `${String(surged.length)} nodes surge`)
      }
      const say = (pod: Pod | undefined, ready: boolean): void => {
        const condition = pod?.status?.conditions?.[0] as { status: string } | undefined
        if (condition) condition.status = ready ? 'True' : 'False'
      }
      for (const { at, ready } of happenings) {
        // An old pod that gets well while its node surges for it is beyond what a plan can bound: they only fall ill.
        const pod = pods[at % pods.length]
        if (pod?.metadata.labels?.[REVISION_LABEL] === 'new' || !ready) say(pod, ready)
        turn()
      }
      for (let round = 0; round < 20; round += 1) {
        for (const pod of pods) if (pod.metadata.labels?.[REVISION_LABEL] === 'new') say(pod, true)
        turn()
      }
      assert.deepEqual(
        pods.map(({ metadata }) => metadata.labels?.[REVISION_LABEL]),
        Array(4).fill('new'),
      )
    }),
  )
})

function cluster(t: TestContext, nodes: number): FakeCluster {
  const made = new FakeCluster(nodes)
  t.after(() => {
    made.stop()
    assert.deepEqual(made.warnings, [])
  })
  return made
}

test('a surge through the controller: status counts nodes, and one that does not get ready stops the update', (t) => {
  const box = cluster(t, 3)
  const spec = { selector: { matchLabels: { app: 'db' } }, template: templateOf('db', 'v1') }
  const updateStrategy = { type: 'RollingUpdate', rollingUpdate: SURGE }
  box.apply('daemonsets.apps', 'DaemonSet', { metadata: { name: 'db' }, spec: { ...spec, updateStrategy } })
  const versions = () => box.pods('db').map(({ metadata }) => metadata.labels?.['version'])
  const status = () => box.store.get('daemonsets.apps', 'default', 'db')?.status as Record<string, unknown>
  box.unhealthy.add('v2')
  box.change('daemonsets.apps', 'db', (each) => (each['template'] = templateOf('db', 'v2')))
  assert.deepEqual(versions().toSorted(), ['v1', 'v1', 'v1', 'v2'])
  const { currentNumberScheduled, numberReady, numberAvailable, updatedNumberScheduled } = status()
  assert.deepEqual([currentNumberScheduled, numberReady, numberAvailable, updatedNumberScheduled], [3, 3, 3, 1])
  box.change('daemonsets.apps', 'db', (each) => (each['template'] = templateOf('db', 'v3')))
  assert.deepEqual(versions(), ['v3', 'v3', 'v3'])
})
