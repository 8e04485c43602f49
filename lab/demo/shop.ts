// What the demo does with the shop: join it, route it, call it, read the agents' figures. One deed a function.
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from './cluster.ts'
import type { Answer } from './customer.ts'
import type { Reading } from './edges.ts'
import { readExposition } from './exposition.ts'
import { type Route, subsets } from './routes.ts'

export const namespace = 'shop'
const customer = `${namespace}/customer`
const customerProgram = resolve(
  import.meta.dirname,
  import.meta.filename.endsWith('.ts') ? 'customer.ts' : 'customer.js',
)
const metricsUrl = 'http://127.0.0.1:15020/metrics'
const endOfReading = '# end of reading'
const joinLimitMs = 20_000
const pollMs = 200

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> }
    readonly status?: { readonly podIP?: string }
  }[]
}

/** Joins the shop (or lets it go) and waits until the agents say that each pod is captured (or released). */
export async function join(cluster: Cluster, joined: boolean): Promise<{ pods: number; tookMs: number }> {
  const started = performance.now()
  const annotation = joined ? 'weft.dev/mesh=enabled' : 'weft.dev/mesh-'
  await cluster.kubectl('annotate', 'namespace', namespace, annotation, '--overwrite')
  for (;;) {
    const { pods, captured, names } = await capturedPods(cluster)
    const tookMs = performance.now() - started
    if (captured === (joined ? pods : 0)) return { pods, tookMs }
    if (tookMs > joinLimitMs) {
      const state = joined ? 'captured' : 'released'
      throw new Error(
        `not all ${state} within ${joinLimitMs / 1000} s: ${captured} of ${pods} pods captured: ${names.join(', ')}`,
      )
    }
    await sleep(pollMs)
  }
}

/** How many pods the shop has, and which of them say that an agent captures them. */
export async function capturedPods(cluster: Cluster): Promise<{ pods: number; captured: number; names: string[] }> {
  const { items } = await podsOf(cluster)
  const captured = items.filter(({ metadata }) => 'weft.dev/captured' in (metadata.annotations ?? {}))
  return { pods: items.length, captured: captured.length, names: captured.map(({ metadata }) => metadata.name) }
}

async function podsOf(cluster: Cluster): Promise<PodList> {
  return JSON.parse(await cluster.kubectl('get', 'pods', '-n', namespace, '-o', 'json')) as PodList
}

/** The customer pod's own address. */
export async function customerAddress(cluster: Cluster): Promise<string> {
  const { items } = await podsOf(cluster)
  return items.find(({ metadata }) => metadata.name === 'customer')?.status?.podIP ?? ''
}

export async function apply(cluster: Cluster, route: Route): Promise<void> {
  await cluster.kubectl('apply', '-f', subsets, '-f', route.file)
}

interface Calls {
  readonly count: number
  readonly concurrency: number
  readonly user?: string
}

/** Calls front from the customer's pod; returns one answer a call. */
export async function callFront(cluster: Cluster, { count, concurrency, user = '' }: Calls): Promise<Answer[]> {
  const figures = ['--count', String(count), '--concurrency', String(concurrency), '--user', user]
  const answers: Answer[] = []
  const { status, stderr } = await cluster.exec([customer], [process.execPath, customerProgram, ...figures], {
    timeoutMs: 60_000,
    onLine: (line) => {
      const answer = answerIn(line)
      if (answer) answers.push(answer)
    },
  })
  if (answers.length !== count) throw new Error(`${answers.length} of ${count} calls answered (${status}): ${stderr}`)
  return answers
}

/** Calls front at a steady rate until the cluster is closed. */
export async function stroll(cluster: Cluster, rate: number, onAnswer: (answer: Answer) => void): Promise<void> {
  const command = [process.execPath, customerProgram, '--rate', String(rate)]
  await cluster.exec([customer], command, {
    timeoutMs: 24 * 3600 * 1000,
    onLine: (line) => {
      const answer = answerIn(line)
      if (answer) onAnswer(answer)
    },
  })
}

function answerIn(line: string): Answer | undefined {
  if (!line.startsWith('{"user":')) return undefined
  return JSON.parse(line) as Answer
}

/** Answers by version; whatever is not 200 failed. */
export function tally(answers: readonly Answer[]): { v1: number; v2: number; failed: number } {
  const good = answers.filter(({ status }) => status === 200)
  const of = (wanted: string): number => good.filter(({ version }) => version === wanted).length
  return { v1: of('v1'), v2: of('v2'), failed: answers.length - good.length }
}

/** All agents' metrics once. */
export async function readMetrics(cluster: Cluster): Promise<Reading> {
  const readings = cluster.nodes.map(async (node) => {
    const { status, stdout, stderr } = await cluster.exec(['--node', node], ['curl', '-sSf', '-m', '5', metricsUrl], {
      timeoutMs: 10_000,
    })
    if (status !== 0) throw new Error(`no metrics from the agent on ${node}: ${stderr}`)
    return readExposition(stdout)
  })
  return { atMs: performance.now(), samples: (await Promise.all(readings)).flat() }
}

/** One node's metrics every second until the cluster is closed: one process a node, not one a reading. */
export async function watchMetrics(cluster: Cluster, node: string, onReading: (reading: Reading) => void) {
  const loop = `while curl -sS -m 5 ${metricsUrl}; echo '${endOfReading}'; do sleep 1; done`
  let text = ''
  await cluster.exec(['--node', node], ['sh', '-c', loop], {
    timeoutMs: 24 * 3600 * 1000,
    onLine: (line) => {
      if (line !== endOfReading) {
        text += `${line}\n`
        return
      }
      const whole = text
      text = ''
      onReading({ atMs: performance.now(), samples: samplesIn(whole) })
    },
  })
}

/** An agent that is just starting answers nothing, or half: that reading is empty, the next one counts. */
function samplesIn(text: string): Reading['samples'] {
  try {
    return readExposition(text)
  } catch {
    return []
  }
}
