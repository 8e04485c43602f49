// Mutual TLS between nodes as an operator meets it: what passes the wire, what STRICT refuses and to whom, and what somebody
// on the path can see or do.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Pod } from '@kubernetes/client-node'
import { eventually, type Ran, ran, TestLab } from './lab.ts'
import type { LoadOrder, Pings, Tally, Target } from './load.ts'
import {
  agentPids,
  applicationPods,
  commandOf,
  onNode,
  podManifest,
  PodProgram,
  samples,
  sent,
  startAgent,
  statusNow,
  sumOf,
  upWithAgents,
} from './mesh.ts'

const PER_SECOND = 100
const NODE_PORT = 30_080
/** What nobody on the wire may read. */
const MARK = 'payload-that-nobody-may-read-7f3a'

const NAMESPACED = { apiVersion: 'v1', kind: 'Service' }
const MANIFESTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', annotations: { 'weft.dev/mesh': 'enabled' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'aside' } },
  {
    ...NAMESPACED,
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      type: 'NodePort',
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: NODE_PORT }],
    },
  },
]
  .map((each) => JSON.stringify(each))
  .concat(
    podManifest({ name: 'caller', namespace: 'shop', node: 'node-1' }),
    podManifest({ name: 'near', namespace: 'shop', node: 'node-2' }),
    podManifest({ name: 'web', namespace: 'shop', node: 'node-2' }),
    podManifest({ name: 'stranger', namespace: 'aside', node: 'node-1' }),
    podManifest({ name: 'beside', namespace: 'aside', node: 'node-2' }),
  )
  .join('\n---\n')

const PEER_AUTHENTICATION = '/apis/security.istio.io/v1beta1/namespaces/istio-system/peerauthentications'

let lab: TestLab
let folder = ''
let next: ChildProcess | null = null
const programs = new Map<string, PodProgram>()
const hosts = new Map<string, string>()

before(async () => {
  lab = await TestLab.make()
  folder = await mkdtemp(join(tmpdir(), 'weft-wire-'))
  await upWithAgents(lab, MANIFESTS, ['leave-seconds=1'])
  for (const { metadata, status } of await applicationPods(lab)) {
    const name = metadata?.name ?? ''
    hosts.set(name, status?.podIP ?? '')
    programs.set(name, new PodProgram(lab, `${metadata?.namespace}/${name}`, 'load.ts'))
  }
})
after(async () => {
  for (const program of programs.values()) await program.close()
  await lab.end()
  await rm(folder, { recursive: true, force: true })
})

const at = (pod: string, port: number): Target => ({ host: hosts.get(pod) ?? '', port })
const ask = <Answer>(pod: string, order: LoadOrder): Promise<Answer> => programs.get(pod)!.ask<Answer>(order)

/** Status of one GET, or curl's word for what went wrong. */
async function get(pod: string, url: string, ...more: string[]): Promise<string> {
  const curl = ['curl', '-s', '-m', '5', '-o', '/dev/null', '-w', '%{http_code} %{errormsg}', ...more, url]
  return (await lab.run('exec', pod, '--', ...curl)).stdout.trim()
}

async function getOnNode(node: string, url: string): Promise<string> {
  const curl = ['curl', '-s', '-m', '5', '-o', '/dev/null', '-w', '%{http_code} %{errormsg}', url]
  return (await ran('nsenter', onNode(lab, node, curl))).stdout.trim()
}

/** Of node-1 and node-2. */
async function nodeAddresses(): Promise<string[]> {
  const { items } = await lab.api.get<{ items: { status: { addresses: { address: string }[] } }[] }>('/api/v1/nodes')
  return items.map(({ status }) => status.addresses[0]?.address ?? '')
}

const web = (port = 8080): string => `http://${hosts.get('web')}:${port}/?id=1`

/** Puts a mode in force for the whole mesh, and waits until both nodes have it. */
async function mode(wanted: 'STRICT' | 'PERMISSIVE'): Promise<void> {
  const metadata = { name: 'default', namespace: 'istio-system' }
  // as published examples write it
  const object = { apiVersion: 'security.istio.io/v1beta1', kind: 'PeerAuthentication', metadata }
  await sent(lab, 'DELETE', `${PEER_AUTHENTICATION}/default`).catch(() => undefined)
  await sent(lab, 'POST', PEER_AUTHENTICATION, { ...object, spec: { mtls: { mode: wanted } } })
  await eventually(`${wanted} is in force`, async () => {
    const { pods } = await statusNow(lab)
    return pods.length === 3 && pods.every(({ modes }) => modes?.others === wanted)
  })
  await sleep(300) // and with the workers
}

/** All that passes a node's own link meanwhile, as its bytes stand on the wire. */
async function onWire(node: string, work: () => Promise<void>): Promise<Buffer> {
  const file = join(folder, `${node}.pcap`)
  const link = [
    'tcpdump',
    '-i',
    'any',
    '--immediate-mode',
    '-U',
    '-s',
    '0',
    '-w',
    file,
    'tcp',
    'and',
    'not',
    'port',
    '6443',
  ]
  const dump = spawn('nsenter', onNode(lab, node, link), { stdio: ['ignore', 'ignore', 'pipe'] })
  await new Promise<void>((resolve) =>
    dump.stderr.on('data', (text: Buffer) => text.includes('listening') && resolve()),
  )
  const ended = once(dump, 'exit')
  try {
    await work()
    await sleep(200)
  } finally {
    dump.kill('SIGINT')
    await ended
  }
  return readFileSync(file)
}

const post = (pod: string, url: string): Promise<string> => get(pod, url, '-d', MARK, '-H', `x-mark: ${MARK}`)

test('PERMISSIVE takes both: TLS of the mesh from joined pods, plaintext from others', async () => {
  for (const pod of ['shop/caller', 'shop/near', 'aside/stranger', 'aside/beside']) {
    assert.equal(await get(pod, web()), '200', pod)
  }
  const all = await samples(lab, 'node-2')
  assert.ok(sumOf(all, 'weft_tls_handshakes_total', { side: 'server' }) >= 1)
})

test('from PERMISSIVE to STRICT under load nothing between joined pods is lost', async (t) => {
  const loads = [
    ['caller', 'mixed', 8080],
    ['caller', 'dial', 9000],
    ['near', 'mixed', 8080],
    ['near', 'dial', 9000],
  ] as const
  for (const [pod, kind, port] of loads) {
    await ask(pod, { begin: kind, kind, targets: [at('web', port)], perSecond: PER_SECOND })
  }
  for (const pod of ['caller', 'near', 'stranger']) await ask(pod, { hold: 'held', to: at('web', 9000), count: 5 })
  await sleep(1000)
  await mode('STRICT')
  await sleep(2000)
  for (const [pod, kind] of loads) {
    const { begun, answered, failed } = await ask<Tally>(pod, { end: kind })
    assert.deepEqual([failed, answered], [[], begun], `${pod} ${kind}`)
    t.diagnostic(`${pod}, ${kind}: ${begun} begun, all answered`)
  }
  for (const pod of ['caller', 'near']) {
    const { open, lost } = await ask<Pings>(pod, { pings: 'held', when: 'now' })
    assert.deepEqual([open, lost], [5, []], pod)
  }
  // what was open in plaintext is ended
  assert.equal((await ask<Pings>('stranger', { pings: 'held', when: 'now' })).open, 0)
})

test('under STRICT plaintext is refused from everywhere, and joined pods work', async () => {
  const refused = /^000 .*(reset|Empty reply)/i
  for (const pod of ['aside/stranger', 'aside/beside']) {
    assert.match(await get(pod, web()), refused, pod)
    assert.match(await get(pod, web(9000)), refused, pod)
  }
  for (const node of ['node-1', 'node-2']) assert.match(await getOnNode(node, web()), refused, node)
  // by a NodePort the caller's address is the node's own
  for (const address of await nodeAddresses()) {
    const url = `http://${address}:${NODE_PORT}/`
    assert.match(await getOnNode('node-1', url), refused)
    for (const pod of ['aside/stranger', 'aside/beside']) assert.match(await get(pod, url), refused, `${pod} ${url}`)
  }
  for (const pod of ['shop/caller', 'shop/near']) {
    assert.equal(await get(pod, web()), '200', pod)
    assert.equal(await get(pod, 'http://web.shop/?id=1'), '200', pod)
  }
  const reasons = (await samples(lab, 'node-2')).filter(({ labels }) => labels['reason'] === 'PLAINTEXT_REFUSED')
  assert.ok(reasons.reduce((sum, { value }) => sum + value, 0) >= 6)
  const { pods, whole } = await statusNow(lab)
  assert.ok(whole)
  assert.ok(pods.every(({ onLoss, certificate }) => onLoss === 'closed' && certificate?.notAfter !== null))
})

test('on the wire there is TLS 1.3 and no byte of what is sent', async (t) => {
  const secured = await onWire('node-2', async () => {
    for (let i = 0; i < 5; i++) assert.equal(await post('shop/caller', web()), '200')
    await ask('caller', { begin: 'wire', kind: 'dial', targets: [at('web', 9000)], perSecond: 50 })
    await sleep(300)
    const { failed } = await ask<Tally>('caller', { end: 'wire' })
    assert.deepEqual(failed, [])
  })
  // within the pod's own node it is plain: only what passed between the nodes is looked at
  const between = payloads(secured, hosts.get('caller') ?? '', hosts.get('web') ?? '')
  assert.ok(between.length > 20, `${between.length} segments`)
  assert.ok(between.every((payload) => !payload.includes(MARK)))
  for (const [flow, first] of firsts(secured, hosts.get('caller') ?? '', hosts.get('web') ?? '')) {
    assert.ok([20, 22, 23].includes(first[0] ?? 0), `connection ${flow} begins with no record of TLS`)
  }
  const hellos = between.filter((payload) => payload[0] === 22 && payload[5] === 2)
  assert.ok(hellos.length > 0)
  const tls13 = Buffer.from([0x00, 0x2b, 0x00, 0x02, 0x03, 0x04])
  assert.ok(
    hellos.every((hello) => hello.includes(tls13)),
    'a ServerHello that chose another version',
  )
  t.diagnostic(`${between.length} segments between the nodes, ${hellos.length} ServerHellos, all of TLS 1.3`)
  // that it would be seen, also what comes by a NodePort: under the address of the pod's own node
  await mode('PERMISSIVE')
  const [, nodeTwo = ''] = await nodeAddresses()
  const masqueraded = await onWire('node-2', async () => {
    assert.equal(await post('aside/stranger', `http://${nodeTwo}:${NODE_PORT}/`), '200')
  })
  assert.ok(payloads(masqueraded, nodeTwo, hosts.get('web') ?? '').some((payload) => payload.includes(MARK)))
  const plain = await onWire('node-2', async () => {
    assert.equal(await post('aside/stranger', web()), '200')
  })
  assert.ok(
    payloads(plain, hosts.get('stranger') ?? '', hosts.get('web') ?? '').some((payload) => payload.includes(MARK)),
  )
  await mode('STRICT')
})

/** What TCP segments between two addresses carried. */
function payloads(pcap: Buffer, one: string, other: string): Buffer[] {
  return [...segments(pcap, one, other)].map(({ payload }) => payload)
}

/** The first that each connection between two addresses carried either way, by its ends. */
function firsts(pcap: Buffer, one: string, other: string): Map<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const { flow, payload } of segments(pcap, one, other)) if (!found.has(flow)) found.set(flow, payload)
  return found
}

/** TCP segments with a payload, of a capture of tcpdump's `any` (LINKTYPE_LINUX_SLL2, or SLL). */
function* segments(pcap: Buffer, one: string, other: string): Generator<{ flow: string; payload: Buffer }> {
  const linkHead = pcap.readUInt32LE(20) === 276 ? 20 : 16
  const ends = [one, other].map((ip) => Buffer.from(ip.split('.').map(Number)).toString('hex'))
  for (let from = 24; from + 16 <= pcap.length;) {
    const length = pcap.readUInt32LE(from + 8)
    const packet = pcap.subarray(from + 16 + linkHead, from + 16 + length)
    from += 16 + length
    if ((packet[0] ?? 0) >> 4 !== 4 || packet[9] !== 6) continue
    const pair = [packet.toString('hex', 12, 16), packet.toString('hex', 16, 20)]
    if (!ends.every((end) => pair.includes(end))) continue
    const head = ((packet[0] ?? 0) & 15) * 4
    const payload = packet.subarray(head + ((packet[head + 12] ?? 0) >> 4) * 4, packet.readUInt16BE(2))
    const ports = packet.toString('hex', head, head + 4)
    if (payload.length > 0) yield { flow: [...pair, ports].join('-'), payload }
  }
}

/** Rules of somebody who sits on the path to node-2. */
async function attacked(rule: string, work: () => Promise<void>): Promise<void> {
  const nft = (script: string): Promise<Ran> => ran('nsenter', onNode(lab, 'node-2', ['nft', script]))
  const chain = `chain on { type filter hook forward priority -200; ip saddr ${hosts.get('caller')} ${rule}; }`
  const { code, stderr } = await nft(`table ip attacker {\n${chain}\n}`)
  assert.equal(code, 0, stderr)
  try {
    await work()
  } finally {
    await nft('delete table ip attacker')
  }
}

test('who resets, drops, delays or changes ClientHellos on the path gets no byte of what is sent', async () => {
  // segments with data: an IPv4 packet of more than 100 bytes
  const rules = {
    reset: 'tcp dport { 8080, 9000 } meta length > 100 reject with tcp reset',
    dropped: 'tcp dport { 8080, 9000 } meta length > 100 drop',
    // a byte of its random: behind 32 bytes of TCP's head, 9 of two heads of TLS, and the version
    changed: 'tcp dport { 8080, 9000 } meta length > 100 @th,384,8 set 0xa5',
    'dropped at first': 'tcp dport { 8080, 9000 } meta length > 100 limit rate over 2/second drop',
  }
  // to 8080 connections are kept, of which these would take one; to 9000 nobody has spoken HTTP yet, and each makes its own
  const posts = (): Promise<string[]> =>
    Promise.all([8080, 9000, 9000, 9000].map((port) => post('shop/caller', web(port))))
  for (const [what, rule] of Object.entries(rules)) {
    const seen = await onWire('node-2', async () => {
      await attacked(rule, async () => {
        const answers = await posts()
        if (what !== 'dropped at first') assert.ok(!answers.includes('200'), `${what}: ${answers.join()}`)
      })
    })
    const between = payloads(seen, hosts.get('caller') ?? '', hosts.get('web') ?? '')
    assert.ok(
      between.some((payload) => payload[0] === 22 && payload[5] === 1),
      `${what}: no ClientHello was sent`,
    )
    assert.ok(
      between.every((payload) => !payload.includes(MARK)),
      what,
    )
  }
  await eventually('it works again', async () => (await get('shop/caller', web())) === '200')
})

test('probes pass and strangers are refused while the agent is dead, and after the next has come', async () => {
  const [pid = 0] = agentPids(lab, 'node-2')
  const command = commandOf(pid)
  process.kill(pid, 'SIGKILL')
  const until = Date.now() + 6_000
  while (Date.now() < until) {
    for (const pod of ['aside/stranger', 'aside/beside']) assert.match(await get(pod, web()), /^000 /, pod)
    for (const { metadata, status } of await applicationPods(lab)) {
      const isReady = status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True')
      const restarts = status?.containerStatuses?.map(({ restartCount }) => restartCount)
      assert.deepEqual([isReady, restarts], [true, [0]], String(metadata?.name))
    }
    await sleep(200)
  }
  next = await startAgent(lab, 'node-2', command)
  assert.ok(next.pid)
  await eventually('whole again', async () => (await statusNow(lab)).whole, 20_000)
  assert.equal(await get('shop/caller', web()), '200')
  assert.match(await get('aside/stranger', web()), /^000 /)
})

const annotate = (pod: string, annotations: Readonly<Record<string, string | null>>): Promise<unknown> =>
  lab.api.patch(`/api/v1/namespaces/${pod.replace('/', '/pods/')}`, { metadata: { annotations } })

test('a pod under STRICT whose announcement is taken away is refused, not reached in plaintext', async () => {
  const pids = agentPids(lab, 'node-2')
  for (const pid of pids) process.kill(pid, 'SIGSTOP') // or it would announce its pod again
  try {
    await annotate('shop/web', { 'weft.dev/captured': null })
    await sleep(500)
    const seen = await onWire('node-1', async () => {
      assert.equal((await post('shop/caller', web())).slice(0, 3), '503')
    })
    assert.deepEqual(payloads(seen, hosts.get('caller') ?? '', hosts.get('web') ?? ''), [])
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT')
  }
  await eventually('announced again', async () => (await get('shop/caller', web())) === '200')
})

test('a forged announcement makes nobody a member, and the agent of its node takes it away', async () => {
  const url = `http://${hosts.get('beside')}:8080/?id=1`
  const forged = {
    'weft.dev/captured': 'weft-agent-node-2',
    'weft.dev/service-account': 'default',
    'weft.dev/addresses': `${hosts.get('beside')},${hosts.get('web')}`,
  }
  const pids = agentPids(lab, 'node-2')
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  try {
    await annotate('aside/beside', forged)
    await sleep(500)
    // it did not join: nobody takes it for a member, nor for who has the other's address
    assert.equal(await get('shop/caller', url), '200')
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT')
  }
  assert.equal(await get('shop/caller', web()), '200')
  await eventually('its agent takes it away', async () => {
    const { metadata } = await sent<V1Pod>(lab, 'GET', '/api/v1/namespaces/aside/pods/beside')
    return metadata?.annotations?.['weft.dev/captured'] === undefined
  })
})

test('a pod of the mesh that is said to have another account is not taken for it, and its agent puts it right', async () => {
  await annotate('shop/web', { 'weft.dev/service-account': 'other' })
  const accountOf = async (): Promise<string | undefined> => {
    const { metadata } = await sent<V1Pod>(lab, 'GET', '/api/v1/namespaces/shop/pods/web')
    return metadata?.annotations?.['weft.dev/service-account']
  }
  await eventually('put right', async () => {
    assert.match(await get('shop/caller', web()), /^(200|503)/)
    return (await accountOf()) === 'default'
  })
  await eventually('reached again', async () => (await get('shop/caller', web())) === '200')
})

/** Gives a pod of node-2 the address of another, and has its node turn all that is sent there to it, as ARP would. */
async function taking(thief: string, ip: string, work: () => Promise<void>): Promise<void> {
  const ipOnNode = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await ran('nsenter', onNode(lab, 'node-2', ['ip', ...words]))
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`)
    return stdout.trim()
  }
  const deviceOf = async (host: string): Promise<string> =>
    / dev (\S+)/.exec(await ipOnNode('route', 'get', hosts.get(host) ?? ''))?.[1] ?? ''
  const before = await ipOnNode('route', 'show', `${ip}/32`)
  const added = await lab.sh(`aside/${thief}`, `ip addr add ${ip}/32 dev eth0`)
  assert.equal(added.code, 0, added.stderr)
  await ipOnNode('route', 'replace', `${ip}/32`, 'dev', await deviceOf(thief))
  try {
    await work()
  } finally {
    await ipOnNode('route', ...(before === '' ? ['delete', `${ip}/32`] : ['replace', ...before.split(/\s+/)]))
    await lab.sh(`aside/${thief}`, `ip addr del ${ip}/32 dev eth0`)
  }
}

test('an address that is not one’s own opens nothing, though all that is sent to it comes back', async () => {
  const asVictim = (ip: string): Promise<string> => get('aside/beside', web(), '--interface', ip, '-m', '2')
  const victims = ['near', 'caller'].map((pod) => hosts.get(pod) ?? '')
  for (const ip of victims) {
    await taking('beside', ip, async () => assert.match(await asVictim(ip), /^000 .*(reset|Empty reply)/i, ip))
  }
  // nor the address that kubelet's probes come from
  const [, nodeTwo = ''] = await nodeAddresses()
  await lab.sh('aside/beside', `ip addr add ${nodeTwo}/32 dev eth0`)
  assert.match(await asVictim(nodeTwo), /^000 /)
  await lab.sh('aside/beside', `ip addr del ${nodeTwo}/32 dev eth0`)
  // where plaintext is taken it is nobody's
  await mode('PERMISSIVE')
  const proved = async (): Promise<[proved: number, nobody: number]> => {
    const all = await samples(lab, 'node-2')
    const of = (labels: object): number => sumOf(all, 'istio_requests_total', { reporter: 'destination', ...labels })
    return [of({}) - of({ source_principal: 'unknown' }), of({ source_principal: 'unknown' })]
  }
  const [members, nobody] = await proved()
  for (const ip of victims) await taking('beside', ip, async () => assert.equal(await asVictim(ip), '200', ip))
  await eventually('its records', async () => (await proved())[1] === nobody + victims.length)
  assert.equal((await proved())[0], members)
})
