// What programs in pods carried, against what the kernel and the proxies of both nodes counted of it: equal to the byte,
// by whatever way it went and however it ended.
import assert from 'node:assert/strict'
import { after, before, test, type TestContext } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import type { Sample } from '../../lab/demo/exposition.ts'
import type { Carried, CarrierOrder, Manner } from './carrier.ts'
import { eventually, TestLab } from './lab.ts'
import { PodProgram, samples, sumOf, upWithAgents } from './mesh.ts'

/** What the caller gives, and the callee: not the same, so that nobody can take one for the other. */
const [GIVEN, ANSWERED] = [100_000_000, 100_000_123]
/** One is opaque by what its Service declares, the other is what callers exclude. */
const PORTS = { opaque: 7000, excluded: 7001 }

const pod = (name: string, node: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name} }, annotations: { weft.dev/exclude-outbound-ports: '${PORTS.excluded}' } }
spec: { nodeName: ${node}, containers: [{ name: main, image: none, command: [sleep, infinity] }] }
---`
const service = (name: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { selector: { app: ${name} }, ports: [{ name: tcp-opaque, port: ${PORTS.opaque} }, { name: tcp-other, port: ${PORTS.excluded} }] }
---`
const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: { name: default, annotations: { weft.dev/mesh: enabled } }
---${pod('caller', 'node-1')}${pod('near', 'node-1')}${pod('far', 'node-2')}${service('near')}${service('far')}`

let lab: TestLab
const programs = new Map<string, PodProgram>()
before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, ['account-seconds=1'])
  for (const name of ['caller', 'near', 'far']) programs.set(name, new PodProgram(lab, `default/${name}`, 'carrier.ts'))
})
after(async () => {
  for (const program of programs.values()) await program.close()
  await lab.end()
})

/** What both nodes count now. */
const counted = async (): Promise<Sample[]> =>
  (await Promise.all(['node-1', 'node-2'].map((node) => samples(lab, node)))).flat()

/** How much the series of one end, or of one reporter, have grown. */
function grown([before, now]: readonly [Sample[], Sample[]], prefix: string, labels: Record<string, string>): object {
  const of = (name: string): number => sumOf(now, prefix + name, labels) - sumOf(before, prefix + name, labels)
  return {
    opened: of('connections_opened_total'),
    closed: of('connections_closed_total'),
    sent: of('sent_bytes_total'),
    received: of('received_bytes_total'),
  }
}

interface Way {
  readonly callee: string
  readonly port: number
  readonly manners: readonly [Manner, Manner]
}

/** Carries 100 MB and some more each way, and demands that everyone has counted what was carried. */
async function carries(t: TestContext, { callee, port, manners }: Way): Promise<void> {
  const ask = (name: string, order: CarrierOrder): Promise<Carried> => programs.get(name)!.ask<Carried>(order)
  const host = (await lab.api.get<V1Pod>(`/api/v1/namespaces/default/pods/${callee}`)).status?.podIP ?? ''
  const before = await counted()
  await ask(callee, { serve: port, part: { gives: ANSWERED, takes: GIVEN, manner: manners[1] } })
  const began = performance.now()
  const atCaller = await ask('caller', {
    dial: { host, port },
    part: { gives: GIVEN, takes: ANSWERED, manner: manners[0] },
  })
  const atCallee = await ask(callee, { served: true })
  const seconds = (performance.now() - began) / 1000
  t.diagnostic(`${((GIVEN + ANSWERED) / 1e6 / seconds).toFixed(0)} MB/s, ended by ${atCaller.how} and ${atCallee.how}`)
  const how = (manner: Manner): string => (manner === 'reset' ? 'ECONNRESET' : 'end')
  const callerCarried = { sent: GIVEN, received: ANSWERED }
  const calleeCarried = { sent: ANSWERED, received: GIVEN }
  assert.deepEqual(atCaller, { ...callerCarried, how: how(manners[0]) })
  assert.deepEqual(atCallee, { ...calleeCarried, how: how(manners[1]) })
  const passage = port === PORTS.excluded ? 'direct' : 'proxy'
  const now = await eventually('both ends and both reporters have it closed', async () => {
    const taken = await counted()
    const closed = ['weft_kernel_tcp_', 'istio_tcp_'].map((prefix) => grown([before, taken], prefix, {}))
    return closed.every((each) => (each as { closed: number }).closed >= 2) && taken
  })
  const hop = { sent: ANSWERED, received: GIVEN } // sent is from callee to caller, whoever reports
  for (const [name, labels, carried] of [
    ['weft_kernel_tcp_', { pod: 'caller', direction: 'outbound', passage }, callerCarried],
    ['weft_kernel_tcp_', { pod: callee, direction: 'inbound', passage: 'proxy' }, calleeCarried],
    ['istio_tcp_', { reporter: 'source', source_workload: 'caller', destination_workload: callee }, hop],
    ['istio_tcp_', { reporter: 'destination', destination_workload: callee }, hop],
  ] as const) {
    const growth = grown([before, now], name, labels)
    assert.deepEqual(growth, { opened: 1, closed: 1, ...carried }, `${name} ${JSON.stringify(labels)}`)
  }
  // of the hop there are these two records and no third
  const whole = { opened: 2, closed: 2, sent: 2 * hop.sent, received: 2 * hop.received }
  assert.deepEqual(grown([before, now], 'istio_tcp_', {}), whole)
}

const WAYS = {
  'an opaque port on one node': { callee: 'near', port: PORTS.opaque },
  'an opaque port across nodes': { callee: 'far', port: PORTS.opaque },
  'an excluded port on one node': { callee: 'near', port: PORTS.excluded },
  'an excluded port across nodes': { callee: 'far', port: PORTS.excluded },
}
const ENDS: Record<string, readonly [Manner, Manner]> = {
  'the caller half-closes first': ['first', 'last'],
  'the callee half-closes first': ['last', 'first'],
  'the caller resets': ['resets', 'reset'],
  'the callee resets': ['reset', 'resets'],
}
for (const [way, at] of Object.entries(WAYS)) {
  for (const [end, manners] of Object.entries(ENDS)) {
    test(`100 MB each way through ${way} are counted to the byte: ${end}`, (t) => carries(t, { ...at, manners }))
  }
}
