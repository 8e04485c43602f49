// Ten thousand requests whose outcomes are known, on one node and across two: every series and every record of both
// reporters says exactly what happened.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { V1Service } from '@kubernetes/client-node'
import type { AccessRecord } from '../../agent/telemetry/record.ts'
import type { Sample } from '../../lab/demo/exposition.ts'
import { agentLog } from '../../lab/state.ts'
import { eventually, TestLab } from './lab.ts'
import { PodProgram, samples, statusNow, sumOf, upWithAgents } from './mesh.ts'
import type { Batch, Seen } from './outcomes.ts'

const PROGRAM = [process.execPath, join(import.meta.dirname, 'outcomes.ts')]

const podOf = (name: string, node: string, command: readonly string[]): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: { nodeName: node, containers: [{ name: 'main', image: 'none', command }] },
  })
const serviceOf = (name: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { selector: { app: ${name} }, ports: [{ name: http, port: 80, targetPort: 8080 }] }`
const routesOf = (name: string): string =>
  `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${name} }
spec:
  hosts: [${name}]
  http:
    - match: [{ uri: { prefix: /fault } }]
      fault: { abort: { httpStatus: 418, percentage: { value: 100 } } }
      route: [{ destination: { host: ${name} } }]
    - match: [/ok, /echo, /missing, /busy, /hang].map
      route: [{ destination: { host: ${name} } }]`.replace(
    '[/ok, /echo, /missing, /busy, /hang].map',
    JSON.stringify(['/ok', '/echo', '/missing', '/busy', '/hang'].map((prefix) => ({ uri: { prefix } }))),
  )
const sleeping = ['sleep', 'infinity']
const MANIFESTS = [
  'apiVersion: v1\nkind: Namespace\nmetadata: { name: default, annotations: { weft.dev/mesh: enabled } }',
  podOf('caller', 'node-1', sleeping),
  podOf('near', 'node-1', [...PROGRAM, 'serve']),
  podOf('far', 'node-2', [...PROGRAM, 'serve']),
  podOf('near-closed', 'node-1', sleeping),
  podOf('far-closed', 'node-2', sleeping),
  ...['near', 'far', 'near-closed', 'far-closed'].map(serviceOf),
  ...['near', 'far'].map(routesOf),
].join('\n---\n')

/** What is asked, how often, and what must come of it. */
interface Plan {
  readonly service: string
  readonly path: string
  readonly method?: 'POST'
  readonly bodyBytes?: number
  readonly count: number
  readonly status: number
  readonly flags: string
  readonly details: string | null
  /** Whether it comes to the callee, so that its end reports too. */
  readonly arrives: boolean
}

const via = { flags: '-', details: 'via_upstream', arrives: true }
const planFor = (service: string): Plan[] => [
  { service, path: '/ok/1000', count: 2000, status: 200, ...via },
  { service, path: '/echo', method: 'POST', bodyBytes: 500, count: 1000, status: 200, ...via },
  { service, path: '/missing', count: 600, status: 404, ...via },
  { service, path: '/busy', count: 600, status: 503, ...via },
  { service, path: '/hang', count: 50, status: 0, flags: 'DC', details: 'downstream_remote_disconnect', arrives: true },
  { service, path: '/fault', count: 300, status: 418, flags: 'FI', details: 'fault_filter_abort', arrives: false },
  { service, path: '/none', count: 250, status: 404, flags: 'NR', details: 'route_not_found', arrives: false },
  {
    ...{ service: `${service}-closed`, path: '/', count: 200, status: 503, flags: 'UF,URX', arrives: false },
    details:
      'upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}',
  },
]
const PLAN = [...planFor('near'), ...planFor('far')]

let lab: TestLab
let caller: PodProgram
before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, ['account-seconds=1'])
  const isCaptured = async (): Promise<boolean> => {
    const { whole, pods } = await statusNow(lab)
    return whole && pods.filter(({ state }) => state === 'captured').length === 5
  }
  await eventually('every pod is captured', isCaptured, 20_000)
  caller = new PodProgram(lab, 'default/caller', 'outcomes.ts')
})
after(async () => {
  await caller.close()
  await lab.end()
})

/** A node's records by request id. Its log is turned over as it grows, so they are gathered time and again. */
class Records {
  readonly #file: string
  readonly #found = new Map<string, AccessRecord>()

  constructor(node: string) {
    this.#file = agentLog(lab.place, node)
  }

  /** All that were there at any time. */
  gathered(): AccessRecord[] {
    for (const file of [`${this.#file}.old`, this.#file]) {
      if (!existsSync(file)) continue
      for (const line of readFileSync(file, 'utf8').split('\n')) {
        if (!line.startsWith('{"start_time"') || !line.endsWith('}')) continue // the last one may be half there
        const record = JSON.parse(line) as AccessRecord
        this.#found.set(record.request_id ?? '', record)
      }
    }
    return [...this.#found.values()]
  }
}

test('counters, histograms and records of both reporters equal what happened', async (t) => {
  const seen = new Map<Plan, Seen>()
  const [first, second] = [new Records('node-1'), new Records('node-2')]
  const began = performance.now()
  let sofar = 0
  for (const plan of PLAN) {
    const { spec } = await lab.api.get<V1Service>(`/api/v1/namespaces/default/services/${plan.service}`)
    const to = { host: spec?.clusterIP ?? '', port: 80 }
    const { path, count, method = 'GET', bodyBytes = 0 } = plan
    const batch: Batch = { to, method, path, count, bodyBytes, gone: plan.status === 0 }
    seen.set(plan, await caller.ask<Seen>(batch))
    sofar += count
    await eventually(`records of ${sofar} requests`, () => Promise.resolve(first.gathered().length >= sofar))
    second.gathered()
  }
  const asked = PLAN.reduce((sum, { count }) => sum + count, 0)
  t.diagnostic(`${asked} requests in ${((performance.now() - began) / 1000).toFixed(1)} s`)
  assert.equal(asked, 10_000)
  for (const [plan, { statuses }] of seen) {
    assert.deepEqual(
      statuses,
      { [plan.status === 0 ? 'gone' : plan.status]: plan.count },
      `${plan.service}${plan.path}`,
    )
  }
  const records = await eventually('all records', () => {
    const gathered = { first: first.gathered(), second: second.gathered() }
    return Promise.resolve(gathered.second.length >= arriving('far') && gathered)
  })
  judgeRecords(records.first, 'outbound', () => true)
  judgeRecords(records.second, 'inbound', ({ service, arrives }) => service === 'far' && arrives)
  const counted = { first: await samples(lab, 'node-1'), second: await samples(lab, 'node-2') }
  const sources = judgeSeries(counted.first, 'source', PLAN, seen)
  judgeSeries(
    counted.first,
    'destination',
    PLAN.filter(({ service, arrives }) => service === 'near' && arrives),
    seen,
  )
  const farther = PLAN.filter(({ service, arrives }) => service === 'far' && arrives)
  const destinations = judgeSeries(counted.second, 'destination', farther, seen)
  t.diagnostic(`${sources} requests at the source, ${destinations} at the destination of the other node`)
  assertSpent(counted.first, 'source', records.first)
  assertSpent(counted.second, 'destination', records.second)
})

const arriving = (service: string): number =>
  PLAN.filter((plan) => plan.service === service && plan.arrives).reduce((sum, { count }) => sum + count, 0)

/** One record a request, each as its outcome was. */
function judgeRecords(records: readonly AccessRecord[], direction: string, isMeant: (plan: Plan) => boolean): void {
  const told = new Map<string, number>()
  for (const record of records) {
    assert.equal(record.weft_direction, direction)
    const { method, path, response_code, response_flags, response_code_details } = record
    const host = record.authority
    const key = JSON.stringify([host, method, path, response_code, response_flags, response_code_details])
    told.set(key, (told.get(key) ?? 0) + 1)
  }
  const wanted = PLAN.filter(isMeant)
  assert.equal(
    records.length,
    wanted.reduce((sum, { count }) => sum + count, 0),
    `records of ${direction}`,
  )
  for (const { method = 'GET', path, count, status, flags, details } of wanted) {
    const alike = [...told].filter(([key]) =>
      key.endsWith(JSON.stringify([method, path, status, flags, details]).slice(1)),
    )
    assert.ok(
      alike.some(([, number]) => number === count),
      `${path} ${status} ${flags}: ${JSON.stringify([...told])}`,
    )
  }
}

/** Requests, byte sums and numbers of observations of one reporter, a group of the plan at a time; returns how many. */
function judgeSeries(
  counted: readonly Sample[],
  reporter: string,
  plans: readonly Plan[],
  seen: ReadonlyMap<Plan, Seen>,
): number {
  const groups = Map.groupBy(plans, ({ service, status, flags }) => JSON.stringify({ service, status, flags }))
  for (const group of groups.values()) {
    const { service, status, flags } = group[0] as Plan
    const labels = {
      ...{ reporter, destination_service_name: service, response_code: String(status), response_flags: flags },
    }
    const requests = group.reduce((sum, { count }) => sum + count, 0)
    const requestBytes = group.reduce((sum, { count, bodyBytes = 0 }) => sum + count * bodyBytes, 0)
    const responseBytes = group.reduce((sum, plan) => sum + (seen.get(plan)?.bodyBytes ?? 0), 0)
    const of = (name: string): number => sumOf(counted, name, labels)
    const told = {
      requests: of('istio_requests_total'),
      durations: of('istio_request_duration_milliseconds_count'),
      requestBytes: of('istio_request_bytes_sum'),
      responseBytes: of('istio_response_bytes_sum'),
    }
    assert.deepEqual(told, { requests, durations: requests, requestBytes, responseBytes }, JSON.stringify(labels))
  }
  const all = plans.reduce((sum, { count }) => sum + count, 0)
  const services = new Set(plans.map(({ service }) => service))
  const total = [...services].reduce(
    (sum, destination_service_name) =>
      sum + sumOf(counted, 'istio_requests_total', { reporter, destination_service_name }),
    0,
  )
  assert.equal(total, all, `all requests of ${reporter}`)
  return total
}

/** The histogram of durations adds up to what the records tell, each of which is rounded to a millisecond. */
function assertSpent(counted: readonly Sample[], reporter: string, records: readonly AccessRecord[]): void {
  const told = records.reduce((sum, { duration }) => sum + duration, 0)
  const summed = sumOf(counted, 'istio_request_duration_milliseconds_sum', { reporter })
  assert.ok(Math.abs(told - summed) <= records.length / 2, `${summed} ms by the histogram, ${told} ms by the records`)
}
