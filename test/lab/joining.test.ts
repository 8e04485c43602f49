// A namespace joins the mesh and leaves it, again and again, under load: no request is lost, no connection ends.
import assert from 'node:assert/strict'
import { after, before, test, type TestContext } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MeshStatus } from '../../agent/cli/mesh-status.ts'
import { eventually, TestLab } from './lab.ts'
import type { LoadOrder, Pings, Tally, Target } from './load.ts'
import { podManifest, PodProgram, samples, statusNow, sumOf, upWithAgents, weftStatus } from './mesh.ts'

const ROUNDS = 10
const PER_SECOND = 500

const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Namespace
metadata: { name: aside }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
${podManifest({ name: 'web-1', namespace: 'shop', node: 'node-1', app: 'web' })}
---
${podManifest({ name: 'web-2', namespace: 'shop', node: 'node-2', app: 'web' })}
---
${podManifest({ name: 'caller', namespace: 'shop', node: 'node-1' })}
---
${podManifest({ name: 'other', namespace: 'aside', node: 'node-2' })}
`

let lab: TestLab
const programs: PodProgram[] = []
before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, ['leave-seconds=1', 'account-seconds=1'])
})
after(async () => {
  for (const program of programs) await program.close()
  await lab.end()
})

const loadIn = (name: string): PodProgram => {
  const program = new PodProgram(lab, name, 'load.ts')
  programs.push(program)
  return program
}
const addressOf = async (path: string): Promise<string> => {
  const { status, spec } = await lab.api.get<V1Pod & { spec: { clusterIP?: string } }>(`/api/v1/namespaces/${path}`)
  return spec.clusterIP ?? status?.podIP ?? ''
}
const wish = (joined: boolean): Promise<unknown> =>
  lab.api.patch('/api/v1/namespaces/shop', {
    metadata: { annotations: { 'weft.dev/mesh': joined ? 'enabled' : null } },
  })

/** Until the mesh's status is as wanted; returns how long that took. */
async function took(what: string, isSo: (status: MeshStatus) => boolean): Promise<number> {
  const began = performance.now()
  await eventually(what, async () => isSo(await statusNow(lab)), 20_000)
  return performance.now() - began
}

const isJoined = ({ whole, pods }: MeshStatus): boolean =>
  whole && pods.filter(({ state }) => state === 'captured').length === 3

const all = (times: readonly number[]): string => times.map((ms) => ms.toFixed(0)).join(' ')

/** What load is told of, and nothing that was lost. */
function judge(t: TestContext, what: string, { begun, answered, failed, slowestMs, connections }: Tally): void {
  t.diagnostic(
    `${what}: ${begun} requests, ${failed.length} errors, slowest ${slowestMs.toFixed(0)} ms, ${connections} connections`,
  )
  assert.deepEqual([failed, answered], [[], begun], what)
}

test('a namespace joins and leaves ten times under load: no request is lost and no connection ends', async (t) => {
  const [caller, other] = [loadIn('shop/caller'), loadIn('aside/other')]
  const at = async (path: string, port: number): Promise<Target> => ({ host: await addressOf(path), port })
  const web1 = await at('shop/pods/web-1', 8080)
  const web2 = await at('shop/pods/web-2', 8080)
  const targets = [web1, web2, await at('shop/services/web', 80)]
  const hold = (from: PodProgram, to: Target, count: number): Promise<Pings> =>
    from.ask<Pings>({ hold: 'held', to, count } satisfies LoadOrder)
  const holdEach = async (): Promise<void> => {
    await hold(caller, { ...(await at('aside/pods/other', 9000)) }, 5)
    await hold(other, { ...web1, port: 9000 }, 3)
    await hold(other, { ...web2, port: 9000 }, 2)
  }
  await holdEach()
  const begin = (perSecond: number): LoadOrder => ({ begin: 'web', kind: 'mixed', targets, perSecond })
  await caller.ask(begin(PER_SECOND * 0.8))
  await other.ask(begin(PER_SECOND * 0.2))
  const [joins, leaves]: [number[], number[]] = [[], []]
  const beganMs = performance.now()
  for (let round = 0; round < ROUNDS; round += 1) {
    await wish(true)
    joins.push(await took('joined', isJoined))
    assert.equal((await weftStatus(lab)).code, 0)
    if (round === 0) await holdEach()
    await sleep(100)
    await wish(false)
    leaves.push(await took('left', ({ pods }) => pods.length === 0))
    await sleep(200)
  }
  for (let round = 0; round < 3; round += 1) {
    await wish(true)
    await took('joined again', isJoined)
    await wish(false)
    await sleep(250) // of the second that leaving takes
  }
  await took('left at the last', ({ pods }) => pods.length === 0)
  const seconds = (performance.now() - beganMs) / 1000
  t.diagnostic(`${ROUNDS} joins took ${all(joins)} ms; leaves, of which 1000 are waited: ${all(leaves)} ms`)
  const [tally, fromOther] = [await caller.ask<Tally>({ end: 'web' }), await other.ask<Tally>({ end: 'web' })]
  judge(t, 'inside the namespace', tally)
  judge(t, 'from outside of it', fromOther)
  t.diagnostic(`${((tally.begun + fromOther.begun) / seconds).toFixed(0)} requests/s over ${seconds.toFixed(0)} s`)
  const counted = (await Promise.all(['node-1', 'node-2'].map((node) => samples(lab, node)))).flat()
  const carried = sumOf(counted, 'istio_requests_total', { reporter: 'destination' })
  t.diagnostic(`${carried} of the requests went through a proxy`)
  assert.ok(carried > tally.begun / 4, `only ${carried} requests went through a proxy`)
  const served = await Promise.all([web1, web2].map(async ({ host }) => Number(await countedBy(host))))
  assert.equal(served[0]! + served[1]!, tally.begun + fromOther.begun, 'each request reached an application once')
  for (const [what, program] of [
    ['opened by the namespace', caller],
    ['opened to it', other],
  ] as const) {
    const { open, lost, sent, answered, slowestMs } = await program.ask<Pings>({ pings: 'held', when: 'ended' })
    t.diagnostic(
      `${open} connections ${what}: ${sent} pings, ${sent - answered} unanswered, slowest ${slowestMs.toFixed(0)} ms`,
    )
    assert.deepEqual([lost, open, answered], [[], 10, sent], what)
  }
})

/** How many requests the application at this address has served. */
async function countedBy(host: string): Promise<string> {
  const { stdout, stderr } = await lab.run('exec', '--node', 'node-1', '--', 'curl', '-sf', `http://${host}:8080/count`)
  assert.equal(stderr, '')
  return stdout
}
