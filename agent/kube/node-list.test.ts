import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bareNode, NodeList } from './node-list.ts'
import { object } from './objects.fixture.ts'

const node = (name: string, labels: Record<string, string> = {}) => object({ name, labels })
const IN = (region: string, zone: string) => ({
  ...{ 'topology.kubernetes.io/region': region, 'topology.kubernetes.io/zone': zone },
})

test('nodes are where their labels say, and those that are elsewhere now are told', () => {
  const nodes = new NodeList()
  const [before, after] = [node('a', IN('eu', '1')), node('a', IN('eu', '2'))]
  assert.deepEqual([...nodes.take([{ before: null, after: before }])], ['a'])
  assert.deepEqual(nodes.localityOf('a', 'other'), { region: 'eu', zone: '1', subzone: '' })
  assert.deepEqual([...nodes.take([{ before, after: node('a', { ...IN('eu', '1'), more: 'x' }) }])], [])
  assert.deepEqual([...nodes.take([{ before, after }])], ['a'])
  assert.deepEqual(nodes.localityOf('a', ''), { region: 'eu', zone: '2', subzone: '' })
  assert.deepEqual([...nodes.take([{ before: null, after: node('bare') }])], [])
  assert.deepEqual([...nodes.take([{ before: after, after: null }])], ['a'])
  assert.equal(nodes.localityOf('a', ''), null)
})

test('of a node that is not known its endpoints’ zone counts', () => {
  const nodes = new NodeList()
  assert.deepEqual(nodes.localityOf('a', 'z'), { region: '', zone: 'z', subzone: '' })
  assert.deepEqual(nodes.localityOf(null, 'z'), { region: '', zone: 'z', subzone: '' })
  assert.equal(nodes.localityOf(null, ''), null)
})

test('of a node only what tells where it is, is kept', () => {
  const bare = bareNode(node('a', { ...IN('eu', '1'), 'example.com/pool': 'x' }))
  assert.deepEqual(bare.metadata.labels, IN('eu', '1'))
  assert.deepEqual(Object.keys(bare), ['metadata'])
})
