// What the tests of this folder ask of a running lab: its metrics, and answers that must come within a second or by weight.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { binomialInterval } from '../../lab/demo/binomial.ts'
import type { Cluster } from '../../lab/demo/cluster.ts'
import { readExposition } from '../../lab/demo/exposition.ts'
import type { Order, Tally } from './asker.ts'
import type { Client } from './client.ts'

/** Requests over which a weight is judged, and how sure the judgement is. */
const TRIALS = 2000
const CONFIDENCE = 0.999

/** The sum of a series over all agents of the lab, of the samples that carry `labels`. */
export async function sum(cluster: Cluster, name: string, labels: Record<string, string> = {}): Promise<number> {
  const wanted = Object.entries(labels)
  let total = 0
  for (const node of cluster.nodes) {
    const command = ['curl', '-sf', 'http://127.0.0.1:15020/metrics']
    const { stdout, stderr, status } = await cluster.exec(['--node', node], command, { timeoutMs: 20_000 })
    assert.equal(status, 0, stderr)
    const samples = readExposition(stdout).filter((sample) => sample.name === name)
    for (const sample of samples) {
      if (wanted.every(([key, value]) => sample.labels[key] === value)) total += sample.value
    }
  }
  return total
}

/** Asks until `holds` is true; fails when that is not so of what was asked within a second. */
export async function within1s(client: Client, order: Order, holds: (tally: Tally) => boolean): Promise<void> {
  const began = performance.now()
  for (;;) {
    const askedMs = performance.now() - began
    const tally = await client.ask(order)
    if (holds(tally)) return
    assert.ok(askedMs < 1000, `not in effect within 1 s: ${JSON.stringify(tally)}`)
    await sleep(10)
  }
}

/**
 * Sends many requests and demands that each version's share is what chance leaves of its weight, and all are 200. Chance
 * itself fails one judgement in a thousand, and this folder makes a dozen: then a second sample has the last word.
 */
export async function shares(client: Client, url: string, wanted: Readonly<Record<string, number>>): Promise<void> {
  const first = await strayShare(client, url, wanted)
  if (first === null) return
  assert.equal(await strayShare(client, url, wanted), null, `of two samples, behind: ${first}`)
}

/** The version whose share of one sample is not within what chance leaves of its weight, in words, or null. */
async function strayShare(
  client: Client,
  url: string,
  wanted: Readonly<Record<string, number>>,
): Promise<string | null> {
  const { versions, statuses } = await client.ask({ url, count: TRIALS, concurrency: 8 })
  assert.deepEqual(statuses, { 200: TRIALS })
  const others = Object.keys(versions).filter((version) => !(version in wanted))
  assert.deepEqual(others, [], 'nobody else answered')
  for (const [version, share] of Object.entries(wanted)) {
    const { least, most } = binomialInterval(TRIALS, share, CONFIDENCE)
    const got = versions[version] ?? 0
    if (got < least || got > most) return `${version}: ${got} of ${TRIALS} is not in [${least}, ${most}]`
  }
  return null
}

/** Whether one version, and no other, answered all requests with 200. */
export function only(version: string): (tally: Tally) => boolean {
  return ({ versions, statuses }) => Object.keys(versions).join() === version && Object.keys(statuses).join() === '200'
}

/** Joins a namespace to the mesh and waits until each of its pods is captured. */
export async function joinNamespace(cluster: Cluster, namespace: string): Promise<void> {
  await cluster.kubectl('annotate', 'namespace', namespace, 'weft.dev/mesh=enabled')
  const captured = 'jsonpath={.metadata.annotations.weft\\.dev/captured}'
  await cluster.kubectl('-n', namespace, 'wait', '--for', captured, 'pod', '--all', '--timeout=20s')
}
