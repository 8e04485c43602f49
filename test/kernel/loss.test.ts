// An agent that dies, and the one that comes after it: what new connections get meanwhile, and what of a capture lives on.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import { AgentProcess, type PodFile } from './agent-process.ts'
import { testBpffs } from './bpffs.ts'
import { cgroupRoot, kernelTest, met } from './kernel-test.ts'
import type { BpfWorld, NetnsPod } from './world.ts'

const CLOSED = { ...PLAIN_TERMS, onLoss: 'closed' } as const

const fileOf = ({ uid, ips }: NetnsPod, terms: PodFile['terms'] = PLAIN_TERMS): PodFile => ({
  uid,
  ips,
  netns: `/run/netns/${uid}`,
  terms,
})

/** A test with a bpffs and agents of its own; the world's own kernel stands for another node's agent, and captures nothing. */
function lossTest(
  states: string,
  third: number,
  run: (
    world: BpfWorld,
    start: (handOver?: string) => Promise<AgentProcess>,
    places: { readonly pinRoot: string; readonly folder: string },
  ) => Promise<void>,
): void {
  kernelTest(states, { net: third, timeoutMs: 30_000 }, async (world) => {
    const agents: AgentProcess[] = []
    using bpffs = testBpffs()
    const folder = mkdtempSync(joinPath(tmpdir(), 'weft-loss-'))
    try {
      await run(
        world,
        async (handOver) => {
          const order = { cgroupRoot, pinRoot: bpffs.path, ...(handOver === undefined ? {} : { handOver }) }
          const agent = await AgentProcess.start(order)
          agents.push(agent)
          return agent
        },
        { pinRoot: bpffs.path, folder },
      )
    } finally {
      await Promise.all(agents.map((agent) => agent.kill()))
      rmSync(folder, { recursive: true })
    }
  })
}

lossTest('when its agent is killed an open pod goes direct at once, both ways', 70, async (world, start) => {
  const [pod, other] = [world.pod(), world.pod()]
  for (const each of [pod, other]) world.serve(each, 8080, (socket) => socket.end('application'))
  const agent = await start()
  await agent.capture(fileOf(pod))
  assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
  assert.deepEqual(await agent.tell('seen'), { outbound: [`${other.ip}:8080`], inbound: [] })
  await agent.kill()
  const killedAt = performance.now()
  assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
  assert.equal(await met(world.dial(other, { ip: pod.ip, port: 8080 })), 'application')
  assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'application')
  const tookMs = performance.now() - killedAt
  assert.ok(tookMs < 1000, `three connections took ${tookMs} ms after the death`)
})

lossTest(
  'when its agent is killed a closed pod is refused both ways, whatever listens in the proxy’s place',
  71,
  async (world, start) => {
    const [pod, other] = [world.pod(), world.pod()]
    for (const each of [pod, other]) world.serve(each, 8080, (socket) => socket.end('application'))
    const agent = await start()
    await agent.capture(fileOf(pod, CLOSED))
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    await agent.kill()
    for (let round = 0; round < 2; round++) {
      assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'ECONNREFUSED')
      assert.equal(await met(world.dial(other, { ip: pod.ip, port: 8080 })), 'ECONNREFUSED')
      assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'ECONNREFUSED')
      assert.equal(await met(world.reach({ ip: pod.ip6, port: 8080 })), 'ECONNREFUSED')
      // an application of the pod takes the ports that are free now
      for (const port of [15001, 15006])
        world.serve({ ...pod, ip: '127.0.0.1' }, port + round, (socket) => socket.end('impostor'))
    }
  },
)

lossTest(
  'the next agent takes the capture over: in force at once, nothing counted is lost',
  72,
  async (world, start) => {
    const [pod, other] = [world.pod(), world.pod()]
    for (const each of [pod, other]) world.serve(each, 8080, (socket) => socket.end('12345'))
    const first = await start()
    await first.capture(fileOf(pod, CLOSED))
    for (let i = 0; i < 5; i++) assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), '12345')
    world.serve(other, 8081, (socket) => socket.write('12345'))
    const open = await world.dial(pod, { ip: other.ip, port: 8081 })
    await once(open, 'data')
    const closed = once(open, 'close')
    await first.kill()
    await closed // it was relayed and ended with its relay; the programs have counted it
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'ECONNREFUSED')
    const second = await start()
    assert.equal(((await second.tell('inherited')) as string[]).length, 1)
    await second.capture(fileOf(pod, CLOSED))
    assert.deepEqual(await second.tell('inherited'), [])
    for (let i = 0; i < 3; i++) assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), '12345')
    await sleep(50)
    const sums = (await second.tallies(pod.uid)).map(({ remote, opened, closed, receivedBytes }) => [
      remote?.port,
      opened,
      closed,
      receivedBytes,
    ])
    assert.deepEqual(sums.sort(), [
      [8080, 8, 8, 40],
      [8081, 1, 1, 5],
    ])
    assert.equal((await second.counters()).captured, 9)
    await second.of('release', pod.uid)
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), '12345')
  },
)

lossTest(
  'connections that wait in a listener survive its hand-over, and the death of the agent before',
  73,
  async (world, start, { folder }) => {
    const [pod, other] = [world.pod(), world.pod()]
    world.serve(other, 8080, (socket) => socket.end('served'))
    const path = joinPath(folder, 'hand-over.sock')
    const first = await start(path)
    await first.capture(fileOf(pod), false) // nobody accepts
    await first.tell('offer')
    const waiting = Array.from({ length: 50 }, () => world.dial(pod, { ip: other.ip, port: 8080 }))
    const sockets = await Promise.all(waiting)
    const second = await start(path)
    assert.equal(await second.takeOver(), 1)
    await first.kill()
    await second.capture(fileOf(pod))
    const answers = await Promise.all(
      sockets.map(async (socket) => String(((await once(socket, 'data')) as [Buffer])[0])),
    )
    assert.deepEqual(new Set(answers), new Set(['served']))
    assert.equal(((await second.tell('seen')) as { outbound: string[] }).outbound.length, 50)
  },
)

lossTest(
  'an agent that is asked for a hand-over and not answered goes on as before',
  74,
  async (world, start, { folder }) => {
    const [pod, other] = [world.pod(), world.pod()]
    world.serve(other, 8080, (socket) => socket.end('served'))
    const path = joinPath(folder, 'hand-over.sock')
    const first = await start(path)
    await first.capture(fileOf(pod))
    await first.tell('offer')
    // one that connects and says nothing, and one that says something else
    execFileSync('python3', [
      '-c',
      `
import socket
for said in (None, b'layout 0'):
  s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect('${path}')
  if said: s.send(said)
  s.close()
`,
    ])
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'served')
  },
)

lossTest('a stopping agent that keeps its captures turns nothing to itself any more', 75, async (world, start) => {
  const [open, closed, other] = [world.pod(), world.pod(), world.pod()]
  for (const each of [open, closed, other]) world.serve(each, 8080, (socket) => socket.end('application'))
  const agent = await start()
  await agent.capture(fileOf(open))
  await agent.capture(fileOf(closed, CLOSED))
  await agent.tell('deafen')
  assert.equal(await met(world.dial(open, { ip: other.ip, port: 8080 })), 'application')
  assert.equal(await met(world.reach({ ip: open.ip, port: 8080 })), 'application')
  assert.equal(await met(world.dial(closed, { ip: other.ip, port: 8080 })), 'ECONNREFUSED')
  assert.equal(await met(world.reach({ ip: closed.ip, port: 8080 })), 'ECONNREFUSED')
  assert.deepEqual(await agent.tell('seen'), { outbound: [], inbound: [] })
  await agent.tell('keep')
  await agent.kill()
  assert.equal(await met(world.dial(open, { ip: other.ip, port: 8080 })), 'application')
  assert.equal(await met(world.dial(closed, { ip: other.ip, port: 8080 })), 'ECONNREFUSED')
})

lossTest(
  'what an earlier agent left of a pod that is gone is dropped by the next look',
  76,
  async (world, start, { pinRoot }) => {
    const pod = world.node.pod('gone')
    const agent = await start()
    await agent.capture({ uid: pod.name, ips: [pod.ip], netns: `/run/netns/${pod.name}`, terms: PLAIN_TERMS })
    await agent.kill()
    const folders = (): string[] => readdirSync(joinPath(pinRoot, 'layout-1')).filter((name) => name.startsWith('pod-'))
    assert.equal(folders().length, 1)
    const next = await start()
    await next.tell('look')
    assert.equal(folders().length, 1) // it lives
    await next.kill()
    world.node.remove(pod)
    for (let i = 0; i < 50 && folders().length > 0; i++) {
      const last = await start()
      await last.tell('look')
      await last.kill()
      await sleep(100)
    }
    assert.deepEqual(folders(), [])
  },
)

lossTest(
  'captures of another layout are not taken over but replaced, and closed stays closed meanwhile',
  77,
  async (world, start, { pinRoot }) => {
    const [pod, other] = [world.pod(), world.pod()]
    for (const each of [pod, other]) world.serve(each, 8080, (socket) => socket.end('application'))
    const first = await start()
    await first.capture(fileOf(pod, CLOSED))
    await first.kill()
    execFileSync('mv', [joinPath(pinRoot, 'layout-1'), joinPath(pinRoot, 'layout-0')])
    const second = await start()
    assert.deepEqual(await second.tell('inherited'), [])
    // closed stays closed until the pod is captured anew
    for (const dialling of [world.dial(pod, { ip: other.ip, port: 8080 }), world.reach({ ip: pod.ip, port: 8080 })]) {
      assert.equal(await met(dialling), 'ECONNREFUSED')
    }
    await second.capture(fileOf(pod, CLOSED))
    await second.tell('drop layouts')
    assert.deepEqual(readdirSync(pinRoot), ['layout-1'])
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    assert.deepEqual(await second.tell('seen'), { outbound: [`${other.ip}:8080`], inbound: [] })
  },
)

lossTest(
  '`weft release` lets the pods of an agent that is gone go, and no pod of one that lives',
  78,
  async (world, start, places) => {
    const [pod, other] = [world.pod(), world.pod()]
    for (const each of [pod, other]) world.serve(each, 8080, (socket) => socket.end('application'))
    const path = joinPath(places.folder, 'hand-over.sock')
    const release = async (): Promise<{ stdout: string; stderr: string }> => {
      const command = ['release', '--node', 'n', '--pin-root', places.pinRoot, '--run-dir', places.folder]
      const weft = joinPath(import.meta.dirname, '../../agent/main.ts')
      return promisify(execFile)(process.execPath, [weft, ...command]).catch(
        (error: { stdout: string; stderr: string }) => error,
      )
    }
    const agent = await start(path)
    await agent.capture(fileOf(pod, CLOSED))
    await agent.tell('offer')
    assert.match((await release()).stderr, /an agent of n lives/)
    await agent.kill()
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'ECONNREFUSED')
    assert.match((await release()).stdout, /^1 pods of n/)
    assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'application')
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
  },
)

lossTest(
  'an agent that starts while another lives takes nothing from it before the hand-over',
  79,
  async (world, start) => {
    const [pod, other] = [world.pod(), world.pod()]
    world.serve(other, 8080, (socket) => socket.end('application'))
    const first = await start()
    await first.capture(fileOf(pod, CLOSED))
    const second = await start()
    for (const agent of [first, second, first]) {
      assert.deepEqual(await agent.tell('look'), [])
      assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    }
    await first.capture(fileOf(pod, CLOSED)) // its next look at the pod
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    await first.kill()
    assert.deepEqual(await second.tell('look'), [])
    await second.capture(fileOf(pod, CLOSED))
    assert.equal(await met(world.dial(pod, { ip: other.ip, port: 8080 })), 'application')
    await sleep(100) // the last one is closed by its two ends one after the other
    const [tally] = await second.tallies(pod.uid)
    assert.deepEqual([tally?.opened, tally?.closed], [5, 5])
  },
)

lossTest('what somebody unpins is pinned again, and so outlives the agent', 59, async (world, start, { pinRoot }) => {
  const pod = world.pod()
  world.serve(pod, 8080, (socket) => socket.end('application'))
  const agent = await start()
  await agent.capture(fileOf(pod, CLOSED))
  execFileSync('rm', ['-r', pinRoot])
  await agent.tell('look')
  await agent.capture(fileOf(pod, CLOSED))
  await agent.kill()
  assert.equal(await met(world.reach({ ip: pod.ip, port: 8080 })), 'ECONNREFUSED')
})

lossTest(
  'a listener older than the capture that closed while no agent lived is forgotten by the next',
  58,
  async (world, start) => {
    const pod = world.pod()
    const server = (seconds: number): string => `
import socket, time
s = socket.create_server(('0.0.0.0', 9000)); print('up'); time.sleep(${seconds})
`
    const child = await world.node.python(pod.uid, server(60), true)
    const first = await start()
    await first.capture(fileOf(pod))
    await first.kill()
    child.kill()
    await once(child, 'exit')
    await sleep(100)
    const second = await start()
    await second.capture(fileOf(pod))
    assert.equal(await met(world.reach({ ip: pod.ip, port: 9000 })), 'ECONNREFUSED')
    assert.deepEqual(await second.tell('seen'), { outbound: [], inbound: [] })
  },
)
