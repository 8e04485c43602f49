// Ten thousand requests whose outcomes are known, on one node and across two, against what both reporters' series and the
// access records say of them: equal to the unit, the byte and the record.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import type { V1Service } from '@kubernetes/client-node'
import type { AccessRecord } from '../../agent/telemetry/record.ts'
import { readExposition, type Sample } from '../../lab/demo/exposition.ts'
import { NETNS_FOLDER, nodeNetns } from '../../lab/node/network.ts'
import { agentLog } from '../../lab/state.ts'
import { eventually, ran, TestLab } from '../lab/lab.ts'
import { PodProgram, sumOf, upWithAgents } from '../lab/mesh.ts'
import type { AskOrder, Seen, Wish } from './asker.ts'

const PORTS = { open: 80, closed: 81, application: 8080, nobody: 8099 }
const NODES = ['node-1', 'node-2'] as const
type Callee = 'near' | 'far'

const manifest = (name: string, node: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { nodeName: ${node}, containers: [{ name: main, image: none, command: [sleep, infinity] }] }
---`
const service = (name: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec:
  selector: { app: ${name} }
  ports:
    - { name: http, port: ${PORTS.open}, targetPort: ${PORTS.application} }
    - { name: http-closed, port: ${PORTS.closed}, targetPort: ${PORTS.nobody} }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${name} }
spec:
  hosts: [${name}]
  http:
    - match: [{ uri: { prefix: /abort } }]
      fault: { abort: { percentage: { value: 100 }, httpStatus: 418 } }
      route: [{ destination: { host: ${name} } }]
    - match: [{ uri: { prefix: /late } }]
      fault: { delay: { percentage: { value: 100 }, fixedDelay: 20ms } }
      route: [{ destination: { host: ${name} } }]
    - match: [{ uri: { prefix: /app } }]
      route: [{ destination: { host: ${name} } }]
---`
const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: { name: default, annotations: { weft.dev/mesh: enabled } }
---${manifest('caller', 'node-1')}${manifest('near', 'node-1')}${manifest('far', 'node-2')}${service('near')}${service('far')}`

/** Code and flags at the caller's end, and at the callee's; null where the request does not come so far. */
type End = readonly [code: number, flags: string] | null
const OUTCOMES: Readonly<Record<Wish, { readonly source: End; readonly destination: End }>> = {
  ok: { source: [200, '-'], destination: [200, '-'] },
  posted: { source: [200, '-'], destination: [200, '-'] },
  late: { source: [200, 'DI'], destination: [200, '-'] },
  404: { source: [404, '-'], destination: [404, '-'] },
  503: { source: [503, '-'], destination: [503, '-'] },
  abort: { source: [418, 'FI'], destination: null },
  unrouted: { source: [404, 'NR'], destination: null },
  refused: { source: [503, 'UF'], destination: null }, // inbound a closed port refuses, as without the mesh
  hang: { source: [0, 'DC'], destination: [0, 'DC'] },
}

/** On one node one pass stands for both ends, once an endpoint was picked: both say what it saw. */
function endsOf(wish: Wish, callee: Callee): { readonly source: End; readonly destination: End } {
  const { source, destination } = OUTCOMES[wish]
  const isPicked = wish !== 'abort' && wish !== 'unrouted'
  return { source, destination: callee === 'near' && isPicked ? source : destination }
}

/** Ten a round: one of each, and one more that is fine. */
const WISHES: readonly Wish[] = ['ok', 'posted', 'late', '404', 'ok', '503', 'abort', 'unrouted', 'refused', 'hang']
/** Between two of these the records are read: the lab turns an agent's log over at 4 MB. */
const [BATCHES, ROUNDS] = [5, 100]

let lab: TestLab
const programs = new Map<string, PodProgram>()
before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, ['account-seconds=1'])
  for (const name of ['caller', 'near', 'far']) {
    programs.set(name, new PodProgram(lab, `default/${name}`, '../telemetry/asker.ts'))
  }
})
after(async () => {
  for (const program of programs.values()) await program.close()
  await lab.end()
})

/** What a node's agent counts now, asked in its own network: the API server passes no answer on that is so long. */
async function scraped(node: string): Promise<Sample[]> {
  const script = 'fetch("http://127.0.0.1:15020/metrics").then((r) => r.text()).then((t) => process.stdout.write(t))'
  const netns = `--net=${NETNS_FOLDER}/${nodeNetns(lab.place.id, node)}`
  const { code, stdout, stderr } = await ran('nsenter', [netns, process.execPath, '-e', script])
  if (code !== 0) throw new Error(`${node}: ${stderr}`)
  return readExposition(stdout)
}

const counted = async (): Promise<Sample[]> => (await Promise.all(NODES.map(scraped))).flat()

/** Adds the records that a node's log holds now to those known, by the id of their request. */
function readRecords(node: string, known: Map<number, Map<string, AccessRecord>>): void {
  for (const piece of ['.old', '']) {
    let text: string
    try {
      text = readFileSync(agentLog(lab.place, node) + piece, 'utf8')
    } catch {
      continue // not turned over yet
    }
    for (const line of text.split('\n')) {
      if (!line.startsWith('{"start_time"') || !line.endsWith('}')) continue
      const record = JSON.parse(line) as AccessRecord
      const id = Number(/[?&]id=(\d+)/.exec(record.path ?? '')?.[1] ?? -1)
      if (id < 0) continue
      const same = known.get(id) ?? new Map<string, AccessRecord>()
      same.set(`${record.request_id} ${record.start_time} ${record.weft_direction}`, record)
      known.set(id, same)
    }
  }
}

test('10 000 requests with known outcomes: series of both reporters and records are equal to the unit', async (t) => {
  for (const callee of ['near', 'far']) await programs.get(callee)!.ask({ serve: PORTS.application })
  const seen: Record<Callee, Seen[]> = { near: [], far: [] }
  const records = { 'node-1': new Map(), 'node-2': new Map() } as const satisfies Record<
    string,
    Map<number, Map<string, AccessRecord>>
  >
  const began = performance.now()
  let firstId = 1
  for (let batch = 0; batch < BATCHES; batch++) {
    for (const callee of ['near', 'far'] as const) {
      const host = (await lab.api.get<V1Service>(`/api/v1/namespaces/default/services/${callee}`)).spec?.clusterIP ?? ''
      const ask = { host, port: PORTS.open, closedPort: PORTS.closed }
      const order: AskOrder = { ask, wishes: WISHES, rounds: ROUNDS, firstId }
      seen[callee].push(...(await programs.get('caller')!.ask<Seen[]>(order)))
      firstId += ROUNDS * WISHES.length
    }
    await new Promise((resolve) => setTimeout(resolve, 500)) // a record waits 200 ms for others
    for (const node of NODES) readRecords(node, records[node])
  }
  t.diagnostic(`${firstId - 1} requests in ${((performance.now() - began) / 1000).toFixed(1)} s`)
  for (const callee of ['near', 'far'] as const) {
    for (const { id, wish, status } of seen[callee]) {
      assert.equal(status, endsOf(wish, callee).source?.[0], `what the caller saw of ${wish} ${id} at ${callee}`)
    }
  }
  await agreesWithSeries(seen)
  for (const callee of ['near', 'far'] as const) agreesWithRecords(callee, seen[callee], records)
})

interface Sums {
  count: number
  gave: number
  got: number
}

async function agreesWithSeries(seen: Record<Callee, Seen[]>): Promise<void> {
  const total = seen.near.length + seen.far.length
  const all = await eventually('the last of them counted', async () => {
    const now = await counted()
    return sumOf(now, 'istio_requests_total', { reporter: 'source' }) >= total && now
  })
  let expectedInAll = 0
  for (const callee of ['near', 'far'] as const) {
    for (const reporter of ['source', 'destination'] as const) {
      const sums = new Map<string, Sums>()
      for (const { wish, gave, got } of seen[callee]) {
        const end = endsOf(wish, callee)[reporter]
        if (end === null) continue
        const sum = sums.get(end.join(' ')) ?? { count: 0, gave: 0, got: 0 }
        sums.set(end.join(' '), { count: sum.count + 1, gave: sum.gave + gave, got: sum.got + got })
        expectedInAll++
      }
      for (const [end, { count, gave, got }] of sums) {
        const [code, flags] = end.split(' ') as [string, string]
        // who called is not known by an address alone: plain, the other node cannot tell
        const caller = callee === 'far' && reporter === 'destination' ? 'unknown' : 'caller'
        const ends = { source_workload: caller, destination_service_name: callee }
        const labels = { reporter, ...ends, response_code: code, response_flags: flags }
        const of = (name: string): number => sumOf(all, `istio_${name}`, labels)
        assert.deepEqual(
          {
            ...{ requests: of('requests_total'), durations: of('request_duration_milliseconds_count') },
            ...{ requestCount: of('request_bytes_count'), requestBytes: of('request_bytes_sum') },
            ...{ responseCount: of('response_bytes_count'), responseBytes: of('response_bytes_sum') },
          },
          {
            ...{ requests: count, durations: count, requestCount: count, requestBytes: gave },
            ...{ responseCount: count, responseBytes: got },
          },
          `${reporter} of ${callee} with ${end}`,
        )
      }
    }
  }
  assert.equal(sumOf(all, 'istio_requests_total', {}), expectedInAll, 'and there are no others')
  assert.equal(sumOf(all, 'weft_access_records_dropped_total', {}), 0)
}

type Records = Readonly<Record<(typeof NODES)[number], Map<number, Map<string, AccessRecord>>>>

function agreesWithRecords(callee: Callee, seen: readonly Seen[], records: Records): void {
  for (const { id, wish, gave, got } of seen) {
    const { source, destination } = endsOf(wish, callee)
    const expected = (end: End): unknown[] => (end === null ? [] : [[...end, gave, got]])
    const told = (node: (typeof NODES)[number]): unknown[] =>
      [...(records[node].get(id)?.values() ?? [])].map((record) => [
        ...[record.response_code, record.response_flags],
        ...[record.bytes_received, record.bytes_sent],
      ])
    assert.deepEqual(told('node-1'), expected(source), `records of ${wish} ${id} at the caller's node, to ${callee}`)
    const far = callee === 'far' ? expected(destination) : []
    assert.deepEqual(told('node-2'), far, `records of ${wish} ${id} at node-2, to ${callee}`)
  }
}
