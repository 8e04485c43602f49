// Pods captured at ADD on the real kernel: what a pod's first process does as its very first deed is captured already.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { closedFolder } from '../../agent/cni/closed-list.ts'
import { removeInstallation } from '../../agent/cni/installation.ts'
import type { Found } from '../../agent/kernel/discover.ts'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import type { Workload } from '../../agent/model/workload.ts'
import { Captures } from '../../agent/node/captures.ts'
import { cniPlacesOf, NodeCni } from '../../agent/node/cni.ts'
import { kernelTest, met, Relay } from '../kernel/kernel-test.ts'
import type { BpfWorld, NetnsPod } from '../kernel/world.ts'
import { call, type Result } from './plugin.ts'

const ROUNDS = 50
/** Rounds at once: pods of a node start together. */
const ABREAST = 5
const CLOSED = { ...PLAIN_TERMS, onLoss: 'closed' } as const
const LIST = { cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'bridge' }] }

/** An agent's captures and CNI over the world's kernel; no pod has a process that could be found by. */
class Node implements AsyncDisposable {
  readonly world: BpfWorld
  readonly relay: Relay
  readonly root = mkdtempSync(join(tmpdir(), 'weft-at-add-'))
  readonly lacking = new Set<string>()
  readonly closedNamespaces = new Set<string>()
  readonly config
  cni: NodeCni
  captures: Captures
  #pods: readonly Workload[] = []

  constructor(world: BpfWorld) {
    this.world = world
    this.relay = new Relay(world.sockets, world.kernel, () => undefined)
    this.config = {
      ...{ cni: true, node: 'node-1', namespace: 'weft-system', 'pin-root': null, 'run-dir': join(this.root, 'run') },
      ...{ 'cni-bin-dir': join(this.root, 'bin'), 'cni-conf-dir': join(this.root, 'net.d') },
      ...{ 'cni-state-dir': join(this.root, 'state'), 'cni-open-wait-ms': 300, 'cni-closed-wait-ms': 1_000 },
    }
    mkdirSync(this.config['cni-conf-dir'])
    writeFileSync(join(this.config['cni-conf-dir'], '10-net.conflist'), JSON.stringify(LIST))
    ;[this.cni, this.captures] = this.#start()
  }

  #start(): [NodeCni, Captures] {
    const log = { info: () => undefined, warn: () => undefined }
    const cni = new NodeCni({ config: this.config, closedNamespaces: () => this.closedNamespaces, log })
    const captures = new Captures({
      kernel: this.world.kernel,
      data: { capture: (pod) => void this.relay.hold(pod), release: () => undefined },
      find: (uids) => new Map(uids.map((uid): [string, Found] => [uid, { found: false, why: 'no process yet' }])),
      ...{ retryMs: 20, leaveMs: 50, agentName: 'agent', fromStart: cni.fromStart, older: () => 0, log },
      lackOf: ({ uid }) => (this.lacking.has(uid) ? 'no certificate' : null),
      securityOf: () => ({
        modes: { others: 'PERMISSIVE', ports: {} },
        certificate: { identity: null, notAfter: null, failure: null },
      }),
      announce: () => sleep(50), // an API server takes its time
    })
    captures.want(this.#pods)
    captures.start()
    cni.start(captures)
    return [cni, captures]
  }

  /** The cluster tells of a pod: scheduled here, without an address yet. */
  tell(pod: NetnsPod, more: Partial<Workload> = {}): void {
    const told: Workload = {
      ...{ uid: pod.uid, name: pod.uid, namespace: 'shop', node: 'node-1', ips: [], labels: {}, owner: pod.uid },
      ...{ serviceAccount: 'default', hostNetwork: false, unfit: null, terms: PLAIN_TERMS, joined: true },
      ...{ terminating: false, captured: null, announcedAccount: null, agentReady: true, placedBy: 'spec', ...more },
    }
    this.#pods = [...this.#pods.filter(({ uid }) => uid !== pod.uid), told]
    this.captures.want(this.#pods)
  }

  /** The agent goes and stays away; what lasts, lasts. */
  async stop(): Promise<void> {
    this.cni.stop()
    await this.captures.stop('keep')
  }

  async restart(): Promise<void> {
    await this.stop()
    ;[this.cni, this.captures] = this.#start()
  }

  /** The runtime calls the chain's last plug-in, as the configuration on disk has it. */
  run(command: string, pod: NetnsPod): Promise<Result> {
    const text = readdirSync(this.config['cni-conf-dir']).sort()[0] as string
    const list = configurationIn(join(this.config['cni-conf-dir'], text))
    const prevResult = { cniVersion: '1.0.0', ips: [{ address: `${pod.ip}/32` }, { address: `${pod.ip6}/128` }] }
    const input = JSON.stringify({ cniVersion: '1.0.0', name: 'net', ...list.plugins.at(-1), prevResult })
    const of = { namespace: 'shop', name: pod.uid, uid: pod.uid }
    const program = join(this.config['cni-bin-dir'], 'weft-cni')
    return call({ command, netns: `/run/netns/${pod.uid}`, pod: of, input, program })
  }

  reasonOf(uid: string): string {
    return this.captures.standings().find((pod) => pod.uid === uid)?.reason ?? ''
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    this.relay.close()
    rmSync(this.root, { recursive: true, force: true })
  }
}

function configurationIn(file: string): { readonly plugins: readonly Readonly<Record<string, unknown>>[] } {
  return JSON.parse(readFileSync(file, 'utf8')) as never
}

const FIRST_DEED = (ip: string): string => `
import socket
print(socket.create_connection(('${ip}', 8080), 5).recv(20).decode())
`

kernelTest(
  'what a pod dials as its first deed is captured, each of fifty times',
  { net: 90, timeoutMs: 120_000 },
  async (world) => {
    await using node = new Node(world)
    const server = world.pod()
    world.serve(server, 8080, (socket) => socket.end('application'))
    const start = async (): Promise<void> => {
      const pod = world.pod()
      // the kubelet and the agent hear of a pod at the same time, and either may be the first
      const telling = sleep(Math.random() * 60).then(() => node.tell(pod))
      assert.equal((await node.run('ADD', pod)).code, 0)
      assert.equal(await world.node.printed(pod.uid, FIRST_DEED(server.ip)), 'application')
      await telling
      assert.ok(node.captures.isFromStart(pod.uid))
    }
    for (let done = 0; done < ROUNDS; done += ABREAST) await Promise.all(Array.from({ length: ABREAST }, start))
    assert.equal(node.relay.seen.outbound.length, ROUNDS)
    assert.equal(world.kernel.counters().captured >= ROUNDS, true)
    const [added] = node.cni.requests()
    assert.deepEqual([added?.outcome, added?.count], ['captured', ROUNDS])
  },
)

kernelTest('a pod that did not join is let alone', { net: 91 }, async (world) => {
  await using node = new Node(world)
  const pod = world.pod()
  node.tell(pod, { joined: false })
  const { code, ms } = await node.run('ADD', pod)
  assert.deepEqual([code, world.kernel.held().includes(pod.uid)], [0, false])
  assert.ok(ms < 1000, `${ms} ms`)
})

kernelTest('what is captured at ADD stays so, and needs no process', { net: 92 }, async (world) => {
  await using node = new Node(world)
  const pod = world.pod()
  node.tell(pod)
  await node.run('ADD', pod)
  // this process cannot dial from the pods' node, which is a namespace: all but that is proved
  for (let looks = 0; looks < 200 && !node.reasonOf(pod.uid).startsWith('self-dial'); looks++) await sleep(20)
  assert.match(node.reasonOf(pod.uid), /^self-dial into the pod/)
  node.captures.look()
  node.tell(pod, { ips: pod.ips })
  await sleep(200)
  assert.ok(world.kernel.captured().has(pod.uid))
  // the runtime forgets it, the cluster does not yet
  assert.equal((await node.run('DEL', pod)).code, 0)
  assert.ok(world.kernel.captured().has(pod.uid))
})

kernelTest('an open pod starts without its certificate, a closed one needs none', { net: 93 }, async (world) => {
  await using node = new Node(world)
  const [open, closed] = [world.pod(), world.pod()]
  for (const pod of [open, closed]) node.lacking.add(pod.uid)
  node.tell(open)
  node.tell(closed, { terms: CLOSED })
  const late = await node.run('ADD', open)
  assert.deepEqual([late.code, node.captures.isFromStart(open.uid)], [0, false])
  assert.equal((await node.run('ADD', closed)).code, 0)
  assert.ok(node.captures.isFromStart(closed.uid))
})

kernelTest('a closed pod that cannot be captured does not start, and is told why', { net: 94 }, async (world) => {
  await using node = new Node(world)
  const [pod, other] = [world.pod(), world.pod()]
  node.tell(pod, { terms: CLOSED })
  // the addresses of another: the namespace is not the pod's
  const { code, stdout } = await node.run('ADD', { ...pod, ip: other.ip, ip6: other.ip6 })
  assert.equal(code, 1)
  assert.match(stdout, /"code":11,"msg":"pod shop\/\S+ is fail-closed and .*find 10\.231/)
})

kernelTest('a fail-closed namespace is on disk, and holds while no agent runs', { net: 95 }, async (world) => {
  await using node = new Node(world)
  const pod = world.pod()
  node.closedNamespaces.add('shop')
  await node.restart()
  // an unknown pod of it is not let through either
  assert.match((await node.run('ADD', pod)).stdout, /the cluster has not told of the pod yet/)
  await node.stop()
  assert.match((await node.run('ADD', pod)).stdout, /"code":11,.*namespace shop/)
  assert.deepEqual(readdirSync(closedFolder(node.config['cni-state-dir'])), ['shop'])
})

kernelTest('the next agent knows which pods were captured before they ran, and goes on', { net: 96 }, async (world) => {
  await using node = new Node(world)
  const [pod, second] = [world.pod(), world.pod()]
  node.tell(pod, { ips: pod.ips })
  await node.run('ADD', pod)
  await node.restart()
  node.tell(second, { terms: CLOSED })
  assert.equal((await node.run('ADD', second)).code, 0)
  world.serve(pod, 8080, (socket) => socket.end('application'))
  assert.equal(await met(world.dial(second, { ip: pod.ip, port: 8080 })), 'application')
  for (let looks = 0; looks < 100 && !node.captures.isFromStart(second.uid); looks++) await sleep(20)
  const marks = readdirSync(join(node.config['cni-state-dir'], 'from-start')).map((mark) => mark.split('.')[0])
  assert.deepEqual(marks.sort(), [pod.uid, second.uid].sort())
})

kernelTest(
  'an agent without CNI leaves no namespace closed, and a removal leaves nothing',
  { net: 97 },
  async (world) => {
    await using node = new Node(world)
    node.closedNamespaces.add('shop')
    await node.restart()
    await node.stop()
    const log = { info: () => undefined, warn: () => undefined }
    new NodeCni({ config: { ...node.config, cni: false }, closedNamespaces: () => null, log }).start(node.captures)
    assert.equal((await node.run('ADD', world.pod())).code, 0)
    removeInstallation(cniPlacesOf(node.config))
    assert.deepEqual(configurationIn(join(node.config['cni-conf-dir'], '10-net.conflist')), LIST)
    assert.deepEqual([existsSync(node.config['cni-state-dir']), readdirSync(node.config['cni-bin-dir'])], [false, []])
  },
)
