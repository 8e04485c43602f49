import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Accounting } from './accounting.ts'
import { FakeKernel } from '../kernel/fake.ts'
import { KernelError, type OpenConnection, type PodSource } from '../kernel/kernel.ts'
import type { PeerMode, PeerModes } from '../model/peer-authentication.ts'
import { world } from '../model/world.fixture.ts'
import type { Workload } from '../model/workload.ts'
import { REFUSED_MS, StrictGrace } from './strict-grace.ts'

const GRACE_MS = 60_000

/** One pod, whose connections are whatever a test says; resets are noted, or refused. */
class Scene {
  nowMs = 0
  mode: PeerMode = 'STRICT'
  refusal: string | null = null
  readonly resets: bigint[][] = []
  readonly logged: string[] = []
  readonly pod: Workload
  readonly grace: StrictGrace

  constructor(graceMs = GRACE_MS, of: Partial<Workload> = {}) {
    this.pod = { ...aPod(), joined: true, ...of }
    const note = (_: object, message: string): void => void this.logged.push(message)
    this.grace = new StrictGrace({
      kernel: {
        captured: () => new Map(),
        listeningPorts: () => new Set([80]),
        localEnds: () => [],
        reset: (_, sockets) => {
          if (this.refusal !== null) throw new KernelError(this.refusal, 'reset connections of a pod')
          this.resets.push([...sockets])
          return sockets.length
        },
      },
      graceMs,
      modesOf: () => ({ others: { mode: this.mode, by: null }, ports: new Map() }),
      nowMs: () => this.nowMs,
      log: { info: note, warn: note },
    })
    this.grace.know([this.pod])
  }

  async lookAt(nowMs: number, count = 1): Promise<void> {
    this.nowMs = nowMs
    await this.grace.look(
      this.pod.uid,
      Array.from({ length: count }, (_, index) => older(BigInt(index))),
    )
  }
}

function aPod(): Workload {
  const mesh = world()
  mesh.service('web')
  mesh.pods('web-1')
  const [pod] = mesh.inventory().workloads
  return pod ?? assert.fail('no pod')
}

function older(socket: bigint): OpenConnection {
  const ends = { local: { ip: '10.0.0.1', port: 80 }, remote: { ip: '10.9.9.9', port: 40_000 } }
  return { socket, ...ends, sentBytes: 0, receivedBytes: 0, tally: null }
}

test('what is older than the capture goes on for the grace, then is closed, counted and told', async () => {
  const scene = new Scene()
  await scene.lookAt(0, 2)
  await scene.lookAt(GRACE_MS - 1, 2)
  assert.deepEqual([scene.resets, scene.grace.closed], [[], 0])
  await scene.lookAt(GRACE_MS, 2)
  assert.deepEqual(scene.resets, [[0n, 1n]])
  assert.equal(scene.grace.closed, 2)
  assert.deepEqual(scene.logged, ['plaintext past the proxy closed: its grace is over'])
  assert.deepEqual(scene.grace.lacks, [])
})

test('a grace of nothing keeps them for ever', async () => {
  const scene = new Scene(0)
  await scene.lookAt(0)
  await scene.lookAt(1e9)
  assert.deepEqual(scene.resets, [])
})

test('a mode that turns STRICT begins a grace, one that turns away from it ends it', async () => {
  const scene = new Scene()
  scene.mode = 'PERMISSIVE'
  await scene.lookAt(0)
  scene.mode = 'STRICT'
  await scene.lookAt(GRACE_MS)
  scene.mode = 'PERMISSIVE'
  await scene.lookAt(GRACE_MS + 1)
  scene.mode = 'STRICT'
  await scene.lookAt(2 * GRACE_MS)
  assert.deepEqual(scene.resets, [])
  await scene.lookAt(3 * GRACE_MS)
  assert.equal(scene.resets.length, 1)
})

test('a pod that leaves the mesh, one that is not known, and one captured anew keep theirs', async () => {
  const leaving = new Scene(GRACE_MS, { joined: false })
  await leaving.lookAt(0)
  await leaving.lookAt(GRACE_MS)
  const unknown = new Scene()
  unknown.grace.know([])
  await unknown.lookAt(0)
  await unknown.lookAt(GRACE_MS)
  const anew = new Scene()
  await anew.lookAt(0)
  anew.grace.forget(anew.pod.uid)
  await anew.lookAt(GRACE_MS)
  assert.deepEqual([leaving.resets, unknown.resets, anew.resets], [[], [], []])
})

test('a kernel that cannot is told once, with the count, and asked again only after long', async () => {
  const scene = new Scene()
  scene.refusal = 'EOPNOTSUPP'
  await scene.lookAt(0, 3)
  assert.deepEqual(scene.grace.lacks, [])
  for (const nowMs of [GRACE_MS, GRACE_MS + 10_000]) await scene.lookAt(nowMs, 3)
  assert.deepEqual(scene.logged, ['connections past the proxy cannot be closed'])
  assert.match(scene.grace.lacks.join(), /^3 connections .* this kernel cannot close them$/)
  await scene.lookAt(GRACE_MS + 20_000, 2)
  assert.match(scene.grace.lacks.join(), /^2 connections /)
  scene.refusal = null
  await scene.lookAt(GRACE_MS + REFUSED_MS - 1)
  assert.deepEqual(scene.resets, [])
  await scene.lookAt(GRACE_MS + REFUSED_MS)
  assert.deepEqual([scene.resets, scene.grace.lacks], [[[0n]], []])
  scene.refusal = 'EOPNOTSUPP'
  await scene.lookAt(GRACE_MS + REFUSED_MS + 1)
  scene.grace.forget(scene.pod.uid)
  assert.deepEqual(scene.grace.lacks, [], 'of a pod that is released nothing is left')
})

test('what failed by chance is tried again at the next look', async () => {
  const scene = new Scene()
  await scene.lookAt(0)
  scene.refusal = 'ENOBUFS'
  await scene.lookAt(GRACE_MS)
  assert.match(scene.grace.lacks.join(), /^1 connections .* ENOBUFS$/)
  scene.refusal = null
  await scene.lookAt(GRACE_MS + 1)
  assert.deepEqual([scene.resets, scene.grace.lacks], [[[0n]], []])
})

test('many are closed piece by piece, all of them', async () => {
  const scene = new Scene()
  await scene.lookAt(0, 3000)
  await scene.lookAt(GRACE_MS, 3000)
  assert.deepEqual(
    scene.resets.map(({ length }) => length),
    [1024, 1024, 952],
  )
  assert.equal(new Set(scene.resets.flat()).size, 3000)
  assert.equal(scene.grace.closed, 3000)
})

/** A pod of the fake kernel, with the agent's own loop over it. */
function running(t: TestContext, graceMs: number): { readonly kernel: FakeKernel; readonly source: PodSource } {
  const kernel = new FakeKernel()
  const log = { info: () => undefined, warn: (fields: object) => assert.fail(JSON.stringify(fields)) }
  const pod = { ...aPod(), joined: true }
  const source = { uid: pod.uid, ips: [`127.32.${process.pid & 255}.1`], netns: -1, terms: pod.terms }
  const modesOf = (): PeerModes => ({ others: { mode: 'STRICT', by: null }, ports: new Map() })
  const grace = new StrictGrace({ kernel, graceMs, modesOf, nowMs: () => performance.now(), log })
  const accounting = new Accounting({ data: { account: () => undefined }, everyMs: 20, grace, log })
  accounting.watch(kernel)
  grace.know([pod])
  t.after(() => {
    accounting.stop()
    kernel.close()
  })
  return { kernel, source }
}

test('the reading of the accounts is what closes them', async (t) => {
  const { kernel, source } = running(t, 300)
  const [ip = ''] = source.ips
  const server = net.createServer((socket) => void socket.on('error', () => undefined).resume())
  server.listen(0, ip)
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as net.AddressInfo
  const client = await kernel.reach({ ip, port })
  kernel.capture(source)
  const closed = once(client, 'close').then(() => 'closed')
  assert.equal(await Promise.race([closed, sleep(150, 'open')]), 'open')
  assert.equal(await Promise.race([closed, sleep(5000, 'open', { ref: false })]), 'closed')
})
