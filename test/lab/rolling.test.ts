// What operators do all day, under load: all endpoints of a service replaced, and its routes changed ten times a second.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Deployment, V1PodList, V1Service } from '@kubernetes/client-node'
import { agentLog } from '../../lab/state.ts'
import type { AccessRecord } from '../../agent/telemetry/record.ts'
import type { Got } from './getting.ts'
import { eventually, TestLab } from './lab.ts'
import { podManifest, PodProgram, statusNow, upWithAgents } from './mesh.ts'

const PER_SECOND = 500
const REPLACEMENTS = 3
const REPLICAS = 3
const CHANGES = 60
const CHANGE_EVERY_MS = 100
/** How long a change may take from the API to the proxy of a busy machine, at the very most. */
const LAG_MS = 2_000

const deployment = (name: string, version: string): string =>
  JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'shop' },
    spec: {
      replicas: REPLICAS,
      selector: { matchLabels: { app: 'web', version } },
      template: {
        metadata: { labels: { app: 'web', version } },
        spec: {
          containers: [
            {
              name: 'main',
              image: 'none',
              command: [process.execPath, join(import.meta.dirname, 'versioned.ts')],
              env: [{ name: 'VERSION', value: version }],
              readinessProbe: { httpGet: { port: 8080, path: '/ready' }, periodSeconds: 1, timeoutSeconds: 3 },
            },
          ],
        },
      },
    },
  })

const routeTo = (version: string): object => ({
  http: [{ name: `to-${version}`, route: [{ destination: { host: 'web', subset: version } }] }],
})

const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, annotations: { weft.dev/mesh: enabled } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
${deployment('web-v1', 'v1')}
---
${deployment('web-v2', 'v2')}
---
${podManifest({ name: 'caller', namespace: 'shop', node: 'node-1' })}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: web, namespace: shop }
spec: { host: web, subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }] }
---
${JSON.stringify({
  ...{ apiVersion: 'networking.istio.io/v1', kind: 'VirtualService' },
  ...{ metadata: { name: 'web', namespace: 'shop' }, spec: { hosts: ['web'], ...routeTo('v1') } },
})}
`

const DEPLOYMENT = '/apis/apps/v1/namespaces/shop/deployments/web-v1'
const VIRTUAL_SERVICE = '/apis/networking.istio.io/v1/namespaces/shop/virtualservices/web'

let lab: TestLab
const programs: PodProgram[] = []
before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, [])
  const isCaptured = async (): Promise<boolean> => {
    const { whole, pods } = await statusNow(lab)
    return whole && pods.filter(({ state }) => state === 'captured').length === 2 * REPLICAS + 1
  }
  await eventually('every pod is captured', isCaptured, 20_000)
})
after(async () => {
  for (const program of programs) await program.close()
  await lab.end()
})

/** Starts GETs of the service, PER_SECOND of them; the result ends them and gives what came of each. */
async function getting(): Promise<() => Promise<Got[]>> {
  const program = new PodProgram(lab, 'shop/caller', 'getting.ts')
  programs.push(program)
  const { spec } = await lab.api.get<V1Service>('/api/v1/namespaces/shop/services/web')
  await program.ask({ get: { host: spec?.clusterIP ?? '', port: 80 }, perSecond: PER_SECOND })
  return () => program.ask<Got[]>({ end: true })
}

/** Names of the pods of version v1, those that end too. */
async function podNames(): Promise<string[]> {
  const { items } = await lab.api.get<V1PodList>('/api/v1/namespaces/shop/pods?labelSelector=version%3Dv1')
  return items.map(({ metadata }) => metadata?.name ?? '')
}

test('all endpoints of a service are replaced under load, again and again, and no request fails', async (t) => {
  const end = await getting()
  await sleep(500)
  for (let round = 0; round < REPLACEMENTS; round++) {
    const old = await podNames()
    await lab.api.patch(DEPLOYMENT, { spec: { template: { metadata: { annotations: { round: String(round) } } } } })
    const isReplaced = async (): Promise<boolean> => {
      const names = await podNames()
      const { status } = await lab.api.get<V1Deployment>(DEPLOYMENT)
      return status?.availableReplicas === REPLICAS && !names.some((name) => old.includes(name))
    }
    await eventually(`replacement ${round}`, isReplaced, 60_000)
  }
  await sleep(500)
  const got = await end()
  const failed = got.filter(({ answer }) => answer !== '200 v1')
  const slowestMs = Math.max(...got.map(({ beganMs, endedMs }) => endedMs - beganMs))
  t.diagnostic(`${got.length} requests, ${failed.length} failed, slowest ${slowestMs} ms`)
  for (const { id } of failed) for (const line of linesAbout(id)) t.diagnostic(line)
  assert.deepEqual(failed.slice(0, 5), [])
  assert.ok(got.length > PER_SECOND, 'there was load')
})

test('routes change ten times a second under load: no request fails, each is explained by a route in force', async (t) => {
  const end = await getting()
  /** When a change was begun and when it was in the API, and where it leads. */
  const changes: { readonly version: string; readonly begunMs: number; readonly doneMs: number }[] = []
  for (let change = 1; change <= CHANGES; change++) {
    const version = change % 2 === 0 ? 'v1' : 'v2'
    const begunMs = Date.now()
    await lab.api.patch(VIRTUAL_SERVICE, { spec: routeTo(version) })
    changes.push({ version, begunMs, doneMs: Date.now() })
    await sleep(Math.max(0, CHANGE_EVERY_MS - (Date.now() - begunMs)))
  }
  const got = await end()
  const records = await recordsOf(got)
  const failed = got.filter(({ answer }) => !/^200 v[12]$/.test(answer))
  t.diagnostic(`${got.length} requests over ${changes.length} changes, ${failed.length} failed`)
  assert.deepEqual(failed.slice(0, 5), [])
  const routeBySnapshot = new Map<number, string | null>()
  for (const { id, answer, beganMs, endedMs } of got) {
    const record = records.get(id)
    assert.ok(record !== undefined, `${id} has a record`)
    const version = answer.slice('200 '.length)
    assert.equal(record.route_name, `to-${version}`, `${id} went where its record says`)
    const known = routeBySnapshot.get(record.weft_snapshot) ?? record.route_name
    assert.equal(record.route_name, known, `snapshot ${record.weft_snapshot} has one route`)
    routeBySnapshot.set(record.weft_snapshot, known)
    assert.ok(wasInForce(changes, version, beganMs, endedMs), `${id}: ${version} was not in force`)
  }
  const used = routeBySnapshot.size
  t.diagnostic(`${used} snapshots decided about them`)
  assert.ok(used > CHANGES / 4, `only ${used} snapshots decided`)
})

/** What the proxies of both nodes wrote of a request. */
function linesAbout(id: string): string[] {
  return ['node-1', 'node-2'].flatMap((node) =>
    readFileSync(agentLog(lab.place, node), 'utf8')
      .split('\n')
      .filter((line) => line.includes(`"request_id":"${id}"`)),
  )
}

/** Whether a route to a version stood in the API at some time of a request, or LAG_MS before it. */
function wasInForce(
  changes: readonly { readonly version: string; readonly begunMs: number; readonly doneMs: number }[],
  version: string,
  fromMs: number,
  toMs: number,
): boolean {
  if (version === 'v1' && fromMs - LAG_MS <= (changes[0]?.doneMs ?? Infinity)) return true // as it was ahead of all changes
  return changes.some(({ version: to, begunMs }, at) => {
    const overMs = changes[at + 1]?.doneMs ?? Infinity
    return to === version && begunMs <= toMs && overMs >= fromMs - LAG_MS
  })
}

/** The caller's node's records of these requests, by request id, once all are there. */
async function recordsOf(got: readonly Got[]): Promise<Map<string, AccessRecord>> {
  const found = new Map<string, AccessRecord>()
  await eventually('records of all requests', () => {
    const log = agentLog(lab.place, 'node-1')
    // a full log is put aside meanwhile; a last line may still be on its way
    const lines = [`${log}.old`, log].flatMap((file) =>
      existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [],
    )
    for (const line of lines) {
      if (!line.includes('"request_id":"get-')) continue
      const record = JSON.parse(line) as AccessRecord
      if (record.weft_direction === 'outbound' && record.request_id !== null) found.set(record.request_id, record)
    }
    return Promise.resolve(got.every(({ id }) => found.has(id)))
  })
  return found
}
