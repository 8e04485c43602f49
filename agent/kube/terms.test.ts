import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PLAIN_TERMS } from '../model/terms.ts'
import type { Metadata, Pod } from './object.ts'
import { object } from './objects.fixture.ts'
import {
  EXCLUDE_INBOUND_PORTS,
  EXCLUDE_OUTBOUND_CIDRS,
  EXCLUDE_OUTBOUND_PORTS,
  ON_AGENT_LOSS,
  readTerms,
} from './terms.ts'

type Words = Readonly<Record<string, string>>

const pod = (annotations: Words, labels: Words = {}): Pod => object({ name: 'web', annotations, labels })
const space = (annotations: Words, labels: Words = {}): Metadata =>
  object({ name: 'shop', namespace: '', annotations, labels }).metadata

test('a pod that asks nothing has plain terms', () => {
  assert.deepEqual(readTerms(pod({}), undefined, false), { terms: PLAIN_TERMS, problems: [] })
  assert.deepEqual(readTerms(pod({ [EXCLUDE_INBOUND_PORTS]: ' , ' }), space({}), false), {
    terms: PLAIN_TERMS,
    problems: [],
  })
})

test('lists are sorted, each entry in them once', () => {
  const { terms, problems } = readTerms(
    pod({
      [EXCLUDE_OUTBOUND_PORTS]: '6379, 3306,6379',
      [EXCLUDE_OUTBOUND_CIDRS]: 'fd00::/8,10.9.0.0/8,10.0.0.0/8,10.0.0.1,::ffff:10.0.0.1',
      [EXCLUDE_INBOUND_PORTS]: '10000,9090,80',
    }),
    undefined,
    false,
  )
  assert.deepEqual(problems, [])
  assert.deepEqual(terms, {
    ...PLAIN_TERMS,
    excludeOutboundPorts: [3306, 6379],
    excludeOutboundCidrs: ['10.0.0.0/8', '10.0.0.1/32', 'fd00::/8'],
    excludeInboundPorts: [80, 9090, 10000],
  })
})

test('the pod’s word counts before its namespace’s, also where it is nothing', () => {
  const namespace = space({ [EXCLUDE_OUTBOUND_PORTS]: '1', [EXCLUDE_INBOUND_PORTS]: '2', [ON_AGENT_LOSS]: 'closed' })
  const { terms } = readTerms(pod({ [EXCLUDE_OUTBOUND_PORTS]: '', [ON_AGENT_LOSS]: 'open' }), namespace, false)
  assert.deepEqual(terms, { ...PLAIN_TERMS, excludeInboundPorts: [2] })
})

test('a bad entry is left out and told, where it stands, and the others hold', () => {
  const annotations = { [EXCLUDE_OUTBOUND_PORTS]: '80-90,3306,x,0,70000', [EXCLUDE_OUTBOUND_CIDRS]: '10.0.0.0/33' }
  const { terms, problems } = readTerms(pod(annotations), space({ [EXCLUDE_INBOUND_PORTS]: 'http' }), false)
  assert.deepEqual(terms, { ...PLAIN_TERMS, excludeOutboundPorts: [3306] })
  const own = { kind: 'Pod', namespace: 'default', name: 'web' }
  const port = 'not a port from 1 to 65535 (ranges are not supported); left out'
  assert.deepEqual(problems, [
    {
      object: own,
      field: `metadata.annotations[${EXCLUDE_OUTBOUND_PORTS}]`,
      reason: `"80-90", "x", "0" and 1 more: ${port}`,
    },
    {
      object: own,
      field: `metadata.annotations[${EXCLUDE_OUTBOUND_CIDRS}]`,
      reason: '"10.0.0.0/33": not an IP address or CIDR; left out',
    },
    {
      object: { kind: 'Namespace', namespace: '', name: 'shop' },
      field: `metadata.annotations[${EXCLUDE_INBOUND_PORTS}]`,
      reason: `"http": ${port}`,
    },
  ])
})

test('what becomes of a pod without an agent may stand in an annotation or label; an unknown word is the safe side', () => {
  const table: [pod: Pod, namespace: Metadata | undefined, onLoss: string, field: string | null][] = [
    [pod({}), undefined, 'open', null],
    [pod({ [ON_AGENT_LOSS]: 'closed' }), undefined, 'closed', null],
    [pod({}, { [ON_AGENT_LOSS]: 'closed' }), undefined, 'closed', null],
    [pod({ [ON_AGENT_LOSS]: 'open' }, { [ON_AGENT_LOSS]: 'closed' }), undefined, 'open', null],
    [pod({}), space({}, { [ON_AGENT_LOSS]: 'closed' }), 'closed', null],
    [pod({}, { [ON_AGENT_LOSS]: 'open' }), space({ [ON_AGENT_LOSS]: 'closed' }), 'open', null],
    [pod({ [ON_AGENT_LOSS]: 'Open' }), undefined, 'closed', `metadata.annotations[${ON_AGENT_LOSS}]`],
    [pod({}, { [ON_AGENT_LOSS]: '' }), undefined, 'closed', `metadata.labels[${ON_AGENT_LOSS}]`],
  ]
  for (const [asking, namespace, onLoss, field] of table) {
    const { terms, problems } = readTerms(asking, namespace, false)
    assert.deepEqual([terms.onLoss, problems[0]?.field ?? null], [onLoss, field])
  }
})

test('a pod that takes no plaintext is closed without an agent, and told so where it says otherwise', () => {
  const table: [pod: Pod, namespace: Metadata | undefined, overruled: string | null][] = [
    [pod({}), undefined, null],
    [pod({ [ON_AGENT_LOSS]: 'closed' }), space({ [ON_AGENT_LOSS]: 'open' }), null],
    [pod({ [ON_AGENT_LOSS]: 'open' }), undefined, 'Pod web'],
    [pod({}), space({}, { [ON_AGENT_LOSS]: 'open' }), 'Namespace shop'],
    [pod({ [ON_AGENT_LOSS]: 'ajar' }), undefined, 'Pod web'],
  ]
  for (const [asking, namespace, overruled] of table) {
    const { terms, problems } = readTerms(asking, namespace, true)
    const [told = null] = problems.map(({ object: { kind, name } }) => `${kind} ${name}`)
    assert.deepEqual([terms.onLoss, told], ['closed', overruled])
  }
})

test('lists of ports are not read from labels', () => {
  assert.deepEqual(readTerms(pod({}, { [EXCLUDE_INBOUND_PORTS]: '80' }), undefined, false).terms, PLAIN_TERMS)
})

test('a list has a bound; what is beyond it is told', () => {
  const ports = Array.from({ length: 70 }, (_, index) => 1000 - index)
  const { terms, problems } = readTerms(pod({ [EXCLUDE_INBOUND_PORTS]: ports.join() }), undefined, false)
  assert.deepEqual(terms.excludeInboundPorts, ports.slice(0, 64).reverse())
  assert.deepEqual(
    problems.map(({ reason }) => reason),
    ['more than 64 entries; those after them are left out'],
  )
})

test('whatever an annotation says, the terms are within bounds and the problems short', () => {
  const entry = fc.oneof(fc.nat({ max: 70_000 }).map(String), fc.string(), fc.ipV4(), fc.ipV6())
  const text = fc.array(entry, { maxLength: 200 }).map((entries) => entries.join())
  fc.assert(
    fc.property(text, text, fc.string(), (ports, cidrs, onLoss) => {
      const annotations = { [EXCLUDE_OUTBOUND_PORTS]: ports, [EXCLUDE_OUTBOUND_CIDRS]: cidrs, [ON_AGENT_LOSS]: onLoss }
      const { terms, problems } = readTerms(pod(annotations), undefined, false)
      const { excludeOutboundPorts, excludeOutboundCidrs } = terms
      for (const list of [excludeOutboundPorts, excludeOutboundCidrs]) {
        assert.ok(list.length <= 64)
        assert.equal(new Set<unknown>(list).size, list.length)
      }
      assert.deepEqual(
        [...excludeOutboundPorts].sort((a, b) => a - b),
        excludeOutboundPorts,
      )
      assert.deepEqual([...excludeOutboundCidrs].sort(), excludeOutboundCidrs)
      for (const { reason } of problems) assert.ok(reason.length < 900, reason)
    }),
  )
})
