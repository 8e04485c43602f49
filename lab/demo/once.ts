// The demo without a person: every route, each outcome checked by itself, one line a check.
import { setTimeout as sleep } from 'node:timers/promises'
import { binomialInterval } from './binomial.ts'
import type { Cluster } from './cluster.ts'
import type { Answer } from './customer.ts'
import { requestsIn } from './edges.ts'
import { manifest, type Route, routes } from './routes.ts'
import { apply, callFront, capturedPods, customerAddress, join, namespace, readMetrics, tally } from './shop.ts'

const confidence = 0.999
/** A route is in force this long after kubectl has said `configured`, or the check fails. */
const effectMs = 1_000
const delayMs = 500
const accountingLimitMs = 5_000

class Unmet extends Error {}

/** What the customer saw since the shop joined: the agents' figures must say the same. */
interface Seen {
  calls: number
  v1: number
  v2: number
  aborted: number
}

interface Stage {
  readonly cluster: Cluster
  readonly say: (line: string) => void
  readonly seen: Seen
}

type Check = (stage: Stage) => Promise<string>

const checks: readonly (readonly [string, Check])[] = [
  ['before joining, kube-proxy alone spreads over both versions', unjoined],
  ['one kubectl annotate joins every pod', joins],
  ['all to v1', allV1],
  ['canary 80/20', canary],
  ['header end-user: kai goes to v2', header],
  ['fault: delay', delay],
  ['fault: abort', abort],
  ['the agents counted what the customer saw', counted],
  ['leaving the mesh gives the shop back to kube-proxy', leaves],
]

/** Runs every check, also after one that failed. True when all are met. Throws when the lab itself does not come up. */
export async function once(cluster: Cluster, say: (line: string) => void): Promise<boolean> {
  const started = performance.now()
  await cluster.up(manifest, (line) => say(`  ${line}`))
  say(`  the lab is up after ${seconds(started)}`)
  const stage: Stage = { cluster, say, seen: { calls: 0, v1: 0, v2: 0, aborted: 0 } }
  let unmet = 0
  for (const [name, check] of checks) {
    const from = performance.now()
    try {
      say(`✓ ${name}: ${await check(stage)} (${seconds(from)})`)
    } catch (error) {
      unmet += 1
      say(`✗ ${name}: ${error instanceof Error ? error.message : String(error)} (${seconds(from)})`)
    }
  }
  say(unmet === 0 ? `all ${checks.length} checks met` : `${unmet} of ${checks.length} checks not met`)
  return unmet === 0
}

async function unjoined({ cluster }: Stage): Promise<string> {
  const answers = await callFront(cluster, { count: 60, concurrency: 6 })
  const { v1, v2 } = tally(answers)
  // Chance leaves a version out of 60 once in 2^59.
  expect(v1 + v2 === 60 && v1 > 0 && v2 > 0, `v1 ${v1}, v2 ${v2}, of 60`)
  await expectOwnAddress(cluster, answers)
  const { samples } = await readMetrics(cluster)
  const carried = requestsIn(samples, { destination_service_namespace: namespace })
  expect(carried === 0, `the mesh carried ${carried} requests of pods that did not join`)
  return `v1 ${v1}, v2 ${v2}; the mesh carried nothing`
}

async function joins({ cluster, seen }: Stage): Promise<string> {
  const { pods, tookMs } = await join(cluster, true)
  const answers = await callFront(cluster, { count: 20, concurrency: 2 })
  note(seen, answers)
  expect(tally(answers).failed === 0, describe(answers))
  await expectOwnAddress(cluster, answers)
  return `${pods} pods captured in ${Math.round(tookMs)} ms; front still sees the customer's own address`
}

async function allV1(stage: Stage): Promise<string> {
  await routed(stage, routes.allV1)
  const answers = await observed(stage, { count: 200, concurrency: 4 })
  expect(tally(answers).v1 === 200, describe(answers))
  return '200 of 200 from v1'
}

async function canary(stage: Stage): Promise<string> {
  await routed(stage, routes.canary)
  const answers = await observed(stage, { count: 1000, concurrency: 8 })
  const { v2, failed } = tally(answers)
  const { least, most } = binomialInterval(1000, 0.2, confidence)
  expect(failed === 0 && v2 >= least && v2 <= most, `${describe(answers)}; v2 must be in ${least}…${most}`)
  return `${v2} of 1000 from v2, expected ${least}…${most}`
}

async function header(stage: Stage): Promise<string> {
  await routed(stage, routes.header)
  const kai = await observed(stage, { count: 100, concurrency: 4, user: 'kai' })
  const others = await observed(stage, { count: 100, concurrency: 4, user: 'mia' })
  expect(tally(kai).v2 === 100 && tally(others).v1 === 100, `kai: ${describe(kai)}; others: ${describe(others)}`)
  return 'kai 100 of 100 from v2, others 100 of 100 from v1'
}

async function delay(stage: Stage): Promise<string> {
  await routed(stage, routes.delay)
  const answers = await observed(stage, { count: 30, concurrency: 10 })
  const fastest = Math.min(...answers.map(({ tookMs }) => tookMs))
  expect(tally(answers).v1 === 30 && fastest >= delayMs, `${describe(answers)}; the fastest took ${fastest} ms`)
  return `30 of 30 took ${Math.round(fastest)} ms or more`
}

async function abort(stage: Stage): Promise<string> {
  await routed(stage, routes.abort)
  const answers = await observed(stage, { count: 400, concurrency: 8 })
  const aborted = answers.filter(({ status }) => status === 418).length
  const { least, most } = binomialInterval(400, 0.5, confidence)
  const rest = tally(answers).v1
  const met = aborted >= least && aborted <= most && rest + aborted === 400
  expect(met, `${aborted} aborted, ${rest} from v1; aborted must be in ${least}…${most}`)
  return `${aborted} of 400 were answered 418, expected ${least}…${most}`
}

/** A request is counted when it has ended, which may be a moment after its answer was read. */
async function counted({ cluster, seen }: Stage): Promise<string> {
  const catalog = { reporter: 'source', source_workload: 'front', destination_service_name: 'catalog' }
  const started = performance.now()
  for (;;) {
    const { samples } = await readMetrics(cluster)
    const count = (labels: Record<string, string>): number => requestsIn(samples, labels)
    const figures: Seen = {
      calls: count({ reporter: 'source', source_workload: 'customer', destination_service_name: 'front' }),
      v1: count({ ...catalog, destination_version: 'v1', response_code: '200' }),
      v2: count({ ...catalog, destination_version: 'v2', response_code: '200' }),
      aborted: count({ ...catalog, response_code: '418' }),
    }
    const said = JSON.stringify(figures)
    if (said === JSON.stringify(seen)) return `${seen.calls} calls, ${seen.v1} v1, ${seen.v2} v2, ${seen.aborted} 418`
    expect(performance.now() - started < accountingLimitMs, `customer ${JSON.stringify(seen)}, agents ${said}`)
    await sleep(500)
  }
}

async function leaves({ cluster }: Stage): Promise<string> {
  await apply(cluster, routes.allV1)
  const { captured } = await capturedPods(cluster)
  expect(captured > 0, 'no pod was captured before, so that none could be released')
  const { pods, tookMs } = await join(cluster, false)
  const answers = await callFront(cluster, { count: 60, concurrency: 6 })
  const { v1, v2 } = tally(answers)
  expect(v1 + v2 === 60 && v1 > 0 && v2 > 0, describe(answers))
  return `${pods} pods released in ${Math.round(tookMs)} ms; v1 ${v1}, v2 ${v2}`
}

async function routed({ cluster }: Stage, route: Route): Promise<void> {
  await apply(cluster, route)
  await sleep(effectMs)
}

async function observed({ cluster, seen }: Stage, calls: Parameters<typeof callFront>[1]): Promise<Answer[]> {
  const answers = await callFront(cluster, calls)
  note(seen, answers)
  return answers
}

function note(seen: Seen, answers: readonly Answer[]): void {
  const { v1, v2 } = tally(answers)
  seen.calls += answers.length
  seen.v1 += v1
  seen.v2 += v2
  seen.aborted += answers.filter(({ status }) => status === 418).length
}

async function expectOwnAddress(cluster: Cluster, answers: readonly Answer[]): Promise<void> {
  const own = await customerAddress(cluster)
  const seen = [...new Set(answers.map(({ caller }) => caller))]
  expect(seen.length === 1 && seen[0] === own, `front saw ${seen.join(', ')}, the customer is ${own}`)
}

function describe(answers: readonly Answer[]): string {
  const { v1, v2, failed } = tally(answers)
  const statuses = [...new Set(answers.map(({ status }) => status))].join(', ')
  return `v1 ${v1}, v2 ${v2}, failed ${failed} (statuses ${statuses})`
}

function expect(met: boolean, otherwise: string): asserts met {
  if (!met) throw new Unmet(otherwise)
}

const seconds = (from: number): string => `${((performance.now() - from) / 1000).toFixed(1)} s`
