// Changes under load: all endpoints of a Deployment are replaced, and routes change ten times a second. No request fails,
// and each is answered by a version that a route in force sent it to.
//
// The applications finish their requests in flight on SIGTERM, but close their listener and idle connections at once.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Deployment, V1Pod, V1Service } from '@kubernetes/client-node'
import { agentLog } from '../../lab/state.ts'
import type { AskOrder, Asked } from './asking.ts'
import { eventually, TestLab } from './lab.ts'
import { podManifest, PodProgram, samples, statusNow, sumOf, upWithAgents } from './mesh.ts'

const NAMESPACE = 'shop'
const DEPLOYMENTS = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments`
const VIRTUAL_SERVICES = `/apis/networking.istio.io/v1/namespaces/${NAMESPACE}/virtualservices`
const PER_SECOND = 500
/** What each request takes in the application, so that some are always in flight. */
const MS = 10
const ROUTES_PER_SECOND = 10
const ROUTES = 60
/** Within which a route takes effect, on a busy machine. */
const LAG_MS = 2_000

function deployment(name: string, app: string, version: string, replicas: number): string {
  const labels = { app, version }
  const probe = { httpGet: { port: 8080, path: '/' }, periodSeconds: 1 }
  const main = {
    name: 'main',
    image: 'none',
    command: [process.execPath, join(import.meta.dirname, 'versioned.ts')],
    env: [{ name: 'VERSION', value: version }],
    readinessProbe: probe,
  }
  const template = { metadata: { labels }, spec: { containers: [main] } }
  const spec = { replicas, selector: { matchLabels: { app, version } }, template }
  return JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: NAMESPACE }, spec })
}

function service(name: string): string {
  const spec = { selector: { app: name }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] }
  return JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: NAMESPACE }, spec })
}

const MANIFESTS = [
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: NAMESPACE, annotations: { 'weft.dev/mesh': 'enabled' } },
  }),
  podManifest({ name: 'caller', namespace: NAMESPACE, node: 'node-1' }),
  deployment('web', 'web', 'v1', 4),
  service('web'),
  deployment('both-v1', 'both', 'v1', 1),
  deployment('both-v2', 'both', 'v2', 1),
  service('both'),
  JSON.stringify({
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: 'both', namespace: NAMESPACE },
    spec: { host: 'both', subsets: ['v1', 'v2'].map((name) => ({ name, labels: { version: name } })) },
  }),
].join('\n---\n')

let lab: TestLab
let caller: PodProgram

before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, [])
  await eventually('every pod is captured', async () => (await statusNow(lab)).whole, 20_000)
  caller = new PodProgram(lab, `${NAMESPACE}/caller`, 'asking.ts')
})
after(async () => {
  await caller?.close()
  await lab.end()
})

const ask = <Answer>(order: AskOrder): Promise<Answer> => caller.ask<Answer>(order)

async function addressOf(name: string): Promise<string> {
  return (await lab.api.get<V1Service>(`/api/v1/namespaces/${NAMESPACE}/services/${name}`)).spec?.clusterIP ?? ''
}

/** Changes the template as `kubectl set env` does, and waits until no pod of the old one is left. */
async function roll(name: string, version: string): Promise<void> {
  const containers = [{ name: 'main', env: [{ name: 'VERSION', value: version }] }]
  await lab.api.patch(`${DEPLOYMENTS}/${name}`, { spec: { template: { spec: { containers } } } }, 'strategic')
  await eventually(
    `${name} is all ${version}`,
    async () => {
      const { metadata, spec, status } = await lab.api.get<V1Deployment>(`${DEPLOYMENTS}/${name}`)
      if (status?.observedGeneration !== metadata?.generation) return false
      const pods = await lab.api.get<{ items: V1Pod[] }>(
        `/api/v1/namespaces/${NAMESPACE}/pods?labelSelector=app%3D${name}`,
      )
      const isNew = pods.items.every((pod) => pod.spec?.containers[0]?.env?.[0]?.value === version)
      return isNew && status?.availableReplicas === spec?.replicas
    },
    40_000,
  )
}

/** The access records of a node's agent, as far as they are written: the lab keeps a log and the one before it. */
function records(node: string): AccessFields[] {
  const log = agentLog(lab.place, node)
  const files = [`${log}.old`, log].filter((file) => existsSync(file))
  const lines = files.flatMap((file) => readFileSync(file, 'utf8').split('\n'))
  return lines.flatMap((line) => (line.includes('"request_id"') ? [JSON.parse(line) as AccessFields] : []))
}

/** The fields of an access record that are read here. */
interface AccessFields {
  readonly request_id: string | null
  readonly route_name: string | null
  readonly weft_snapshot: number
}

/** Of requests that failed, what the agents recorded. */
function tellFailures(t: TestContext, asked: readonly Asked[]): void {
  const failed = new Set(asked.filter(({ status }) => status !== 200).map(({ id }) => id))
  for (const node of ['node-1', 'node-2']) {
    for (const record of records(node)) {
      if (failed.has(record.request_id ?? '')) t.diagnostic(`${node}: ${JSON.stringify(record)}`)
    }
  }
}

function failures(asked: readonly Asked[]): Record<string, number> {
  const found: Record<string, number> = {}
  for (const { status, body } of asked) {
    if (status !== 200) found[`${status} ${body}`] = (found[`${status} ${body}`] ?? 0) + 1
  }
  return found
}

test('replacing all endpoints of a Deployment under load costs no request', async (t) => {
  const host = await addressOf('web')
  await ask({ begin: 'rolling', host, port: 80, path: `/?ms=${MS}`, perSecond: PER_SECOND })
  await sleep(1_000)
  for (const version of ['v2', 'v3']) await roll('web', version)
  await sleep(1_000)
  const asked = await ask<readonly Asked[]>({ end: 'rolling' })
  const byBody = Map.groupBy(asked, ({ body }) => body)
  const counts = [...byBody].map(([body, { length }]) => `${body}: ${length}`).join(', ')
  const slowest = Math.max(...asked.map(({ beganMs, endedMs }) => endedMs - beganMs))
  t.diagnostic(`${asked.length} requests: ${counts}; slowest ${slowest.toFixed(0)} ms`)
  for (const reason of ['STALE_CONNECTION', 'CONNECT_REFUSED', 'UPSTREAM_RESET']) {
    const count = sumOf(await samples(lab, 'node-1'), 'weft_retries_total', { why: reason })
    t.diagnostic(`tried again, ${reason}: ${count}`)
  }
  tellFailures(t, asked)
  assert.deepEqual(failures(asked), {})
  for (const version of ['v1', 'v2', 'v3']) assert.ok((byBody.get(version)?.length ?? 0) > 100, version)
})

/** A route to one version; its name tells which of all routes it is. */
const routeSpec = (number: number) => {
  const subset = number % 2 === 0 ? 'v1' : 'v2'
  return { hosts: ['both'], http: [{ name: `route-${number}`, route: [{ destination: { host: 'both', subset } }] }] }
}

test('routes that change ten times a second under load cost no request, and each answer is explained by a route in force', async (t) => {
  const metadata = { name: 'both', namespace: NAMESPACE }
  const first = { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata, spec: routeSpec(0) }
  await lab.api.create(VIRTUAL_SERVICES, first)
  await sleep(LAG_MS)
  await ask({ begin: 'routed', host: await addressOf('both'), port: 80, path: '/', perSecond: PER_SECOND })
  const written = [{ from: 0, until: 0 }] // when each route was being written: from the request to its answer
  for (let number = 1; number <= ROUTES; number++) {
    const from = Date.now()
    await lab.api.patch(`${VIRTUAL_SERVICES}/both`, { spec: routeSpec(number) })
    written.push({ from, until: Date.now() })
    await sleep(Math.max(0, 1000 / ROUTES_PER_SECOND - (Date.now() - from)))
  }
  const asked = await ask<readonly Asked[]>({ end: 'routed' })
  assert.deepEqual(failures(asked), {})
  const byId = new Map(asked.map((one) => [one.id, one]))
  const seen = await eventually('every request has its record', () => {
    const own = records('node-1').filter(({ request_id }) => byId.has(request_id ?? ''))
    return Promise.resolve(own.length >= asked.length && own)
  })
  assert.equal(seen.length, asked.length)
  const bySnapshot = new Map<number, string>()
  let slowest = 0
  for (const { request_id, route_name, weft_snapshot } of seen) {
    const { beganMs, endedMs, body } = byId.get(request_id ?? '')!
    const number = Number(route_name?.slice('route-'.length))
    const known = bySnapshot.get(weft_snapshot) ?? bySnapshot.set(weft_snapshot, route_name ?? '').get(weft_snapshot)
    assert.equal(route_name, known, `two routes in snapshot ${weft_snapshot}`)
    assert.equal(body, routeSpec(number).http[0]!.route[0]!.destination.subset, `${request_id} by ${route_name}`)
    assert.ok((written[number]?.from ?? Infinity) <= endedMs, `${request_id} by ${route_name}, before that was written`)
    const lag = beganMs - (written[number + 1]?.until ?? Infinity) // how long the next one had stood there already
    slowest = Math.max(slowest, lag)
    assert.ok(lag <= LAG_MS, `${request_id} by ${route_name}, ${lag.toFixed(0)} ms after the next was written`)
  }
  const order = [...bySnapshot].sort(([a], [b]) => a - b).map(([, name]) => Number(name.slice('route-'.length)))
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
    'a later snapshot never has an earlier route',
  )
  assert.ok(bySnapshot.size > ROUTES / 4, `${bySnapshot.size} snapshots were seen`)
  t.diagnostic(
    `${asked.length} requests by ${bySnapshot.size} snapshots; a route served until ${slowest.toFixed(0)} ms after the next`,
  )
})
