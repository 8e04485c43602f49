import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JoinedPods } from './joined-pods.ts'
import type { KubeObject, Metadata } from './object.ts'
import { object } from './objects.fixture.ts'

const pod = (name: string, wish: Partial<Metadata> = {}): KubeObject => object({ name, ...wish })
const space = (mesh: string): KubeObject =>
  object({ name: 'default', namespace: '', labels: { 'weft.dev/mesh': mesh } })
const CAPTURED = { 'weft.dev/captured': 'agent-1', 'weft.dev/service-account': 'web' }

function joined(...pods: readonly KubeObject[]): JoinedPods {
  const all = new JoinedPods()
  all.takeNamespaces([{ before: null, after: space('enabled') }])
  all.takePods(pods.map((after) => ({ before: null, after })))
  return all
}

const told = (all: JoinedPods): string =>
  all.values
    .map(({ name, captured }) => `${name}${captured === null ? '' : ' captured'}`)
    .sort()
    .join()

test('pods join by their own wish or their namespace’s, and are captured where the whole announcement stands', () => {
  const out = pod('out', { annotations: { 'weft.dev/mesh': 'disabled' } })
  const half = pod('half', { annotations: { 'weft.dev/captured': 'agent-1' } })
  const all = joined(pod('web', { annotations: CAPTURED }), half, pod('bare'), out)
  assert.equal(told(all), 'bare,half,web captured')
  assert.equal(all.takeNamespaces([{ before: space('enabled'), after: space('disabled') }]), true)
  assert.equal(told(all), '')
  assert.equal(all.takeNamespaces([{ before: space('disabled'), after: space('enabled') }]), true)
  assert.equal(told(all), 'bare,half,web captured')
})

test('what changes nothing that is told is no change, and the values are the very same', () => {
  const web = pod('web')
  const all = joined(web)
  const { values } = all
  assert.equal(all.takePods([{ before: web, after: pod('web', { resourceVersion: '2' }) }]), false)
  assert.equal(all.takeNamespaces([{ before: space('enabled'), after: space('enabled') }]), false)
  assert.equal(all.takeNamespaces([{ before: null, after: object({ name: 'other', namespace: '' }) }]), false)
  assert.equal(all.values, values)
  assert.equal(all.takePods([{ before: web, after: pod('web', { annotations: CAPTURED }) }]), true)
  assert.equal(told(all), 'web captured')
})

test('a pod that is being ended, or runs no more, is none', () => {
  const [one, two] = [pod('one'), pod('two')]
  const all = joined(one, two)
  const ending = pod('one', { deletionTimestamp: '2026-01-01T00:00:00Z' })
  assert.equal(all.takePods([{ before: one, after: ending }]), true)
  assert.equal(told(all), 'two')
  assert.equal(all.takePods([{ before: two, after: null }]), true)
  assert.equal(told(all), '')
})
