// A plug-in of the test's behind the lab's own network: how the nodes' configuration leads to calls of it.
import assert from 'node:assert/strict'
import { chmodSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { CoreV1Event } from '@kubernetes/client-node'
import { attach } from '../../lab/node/cni/chain.ts'
import { podNetns } from '../../lab/node/network.ts'
import { startOf } from '../../lab/state.ts'
import { TestLab, eventually } from './lab.ts'

const PODS = '/api/v1/namespaces/default/pods'

/** Writes what it was told to the node's /var/lib/weft, and says what it sees; fails or stalls while a file there wants it. */
const PLUGIN = `#!/bin/sh
set -e
out=/var/lib/weft/$CNI_COMMAND-$(printf %s "$CNI_ARGS" | sed 's/.*K8S_POD_NAME=//; s/;.*//')
input=$(cat)
echo "$CNI_COMMAND $(printf %s "$CNI_ARGS" | sed 's/.*K8S_POD_NAME=//; s/;.*//') $(basename "$0")" >>/var/lib/weft/calls
printf %s "$input" >"$out.json"
{ env | grep ^CNI_ | sort; ip -o -4 addr show dev eth0 | grep -o '10.89.0.1[0-9]'
  ip netns exec "$(basename "$CNI_NETNS")" ip -o -4 addr show dev eth0 | grep -o '10.244[0-9.]*'
  ip netns pids "$(basename "$CNI_NETNS")" | wc -l; } >"$out.txt"
if [ -e "/var/lib/weft/fail-$CNI_COMMAND" ]; then
  echo '{"cniVersion":"1.0.0","code":11,"msg":"come back later","details":"the test wants it"}'; exit 1
fi
if [ "$CNI_COMMAND" = ADD ]; then printf %s "$input" | sed 's/.*"prevResult"://; s/}$//'; fi
`

let lab: TestLab
const onNode = (path: string): string => join(lab.place.hosts, 'node-1', path)
const calls = (): string[] =>
  existsSync(onNode('/var/lib/weft/calls'))
    ? readFileSync(onNode('/var/lib/weft/calls'), 'utf8').trim().split('\n')
    : []
const create = (name: string, spec: object = {}): Promise<unknown> => {
  const containers = [{ name: 'main', image: 'none', command: ['sleep', 'infinity'] }]
  const all = { terminationGracePeriodSeconds: 5, containers, ...spec }
  return lab.api.create(PODS, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: all })
}
const running = (name: string): Promise<unknown> =>
  eventually(`${name} runs`, async () => (await lab.pod(name)).status?.phase === 'Running')
const remove = async (name: string): Promise<void> => {
  await lab.api.remove(`${PODS}/${name}`)
  await eventually(`${name} gone`, () =>
    lab.pod(name).then(
      () => false as const,
      () => true as const,
    ),
  )
}

function configure(...types: string[]): void {
  const plugins = [{ type: 'weft-lab' }, ...types.map((type) => ({ type, word: `for ${type}` }))]
  const list = { cniVersion: '1.0.0', name: 'weft-lab', plugins }
  writeFileSync(onNode('/etc/cni/net.d/05-more.conflist'), JSON.stringify(list))
}

before(async () => {
  lab = await TestLab.make()
  await lab.up('', '--nodes', '1')
  for (const name of ['first', 'second']) {
    writeFileSync(onNode(`/opt/cni/bin/${name}`), PLUGIN)
    chmodSync(onNode(`/opt/cni/bin/${name}`), 0o755)
  }
})
after(() => lab.end())

test('to the outside a node has a network of one plug-in', async () => {
  assert.deepEqual(readdirSync(onNode('/etc/cni/net.d')), ['10-weft-lab.conflist'])
  await create('plain')
  await running('plain')
  await remove('plain')
})

test('plug-ins are called before any process of the pod is there, as the specification says', async () => {
  configure('first', 'second')
  await create('web')
  await running('web')
  const { metadata, status } = await lab.pod('web')
  assert.deepEqual(calls(), ['ADD web first', 'ADD web second'])
  const netns = podNetns(lab.place.id, metadata?.uid ?? '')
  const lines = readFileSync(onNode('/var/lib/weft/ADD-web.txt'), 'utf8').trim().split('\n')
  const id = /^CNI_CONTAINERID=([0-9a-f]{64})$/.exec(lines[2] ?? '')?.[1] ?? 'none'
  const args = `K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=${id};K8S_POD_UID=${metadata?.uid ?? ''}`
  assert.deepEqual(lines, [
    `CNI_ARGS=IgnoreUnknown=1;${args}`,
    'CNI_COMMAND=ADD',
    `CNI_CONTAINERID=${id}`,
    'CNI_IFNAME=eth0',
    `CNI_NETNS=/run/netns/${netns}`,
    'CNI_PATH=/opt/cni/bin',
    ...['10.89.0.11', status?.podIP, '0'],
  ])
  const input = JSON.parse(readFileSync(onNode('/var/lib/weft/ADD-web.json'), 'utf8')) as Record<string, unknown>
  const { prevResult, ...rest } = input as { prevResult: { ips: object[]; interfaces: object[] } }
  assert.deepEqual(rest, { type: 'second', word: 'for second', name: 'weft-lab', cniVersion: '1.0.0' })
  assert.deepEqual(prevResult.ips, [{ address: `${status?.podIP ?? ''}/32`, gateway: '169.254.1.1', interface: 1 }])
  assert.deepEqual(prevResult.interfaces[1], { name: 'eth0', sandbox: `/run/netns/${netns}` })
  await remove('web')
  assert.deepEqual(calls().slice(2), ['DEL web second', 'DEL web first'])
  assert.match(readFileSync(onNode('/var/lib/weft/DEL-web.txt'), 'utf8'), new RegExp(`CNI_CONTAINERID=${id}`))
  for (const place of ['/var/lib/weft', '/opt/cni', '/run/weft']) assert.ok(!existsSync(place), place)
})

test("a pod in its node's network is none of their business", async () => {
  const before = calls().length
  await create('host', { hostNetwork: true })
  await running('host')
  await remove('host')
  assert.equal(calls().length, before)
})

test('a plug-in that fails holds the pod back, its words are an event, and it is asked again', async () => {
  configure('first', 'second')
  writeFileSync(onNode('/var/lib/weft/fail-ADD'), '')
  rmSync(onNode('/var/lib/weft/calls'))
  await create('late')
  const failures = async (): Promise<CoreV1Event[]> =>
    (await lab.api.get<{ items: CoreV1Event[] }>('/api/v1/namespaces/default/events')).items.filter(
      (event) => event.involvedObject.name === 'late' && event.reason === 'FailedCreatePodSandBox',
    )
  const found = await eventually('two failures', async () => {
    const [event] = await failures()
    return calls().filter((call) => call === 'ADD late first').length >= 2 && event
  })
  assert.equal(
    found.message,
    'Failed to create pod sandbox: plugin type="first" name="weft-lab" failed (add): come back later; the test wants it',
  )
  assert.equal((await lab.pod('late')).status?.phase, 'Pending')
  assert.deepEqual(calls().slice(0, 3), ['ADD late first', 'DEL late first', 'ADD late first'])
  const uid = (await lab.pod('late')).metadata?.uid ?? ''
  await eventually('no network left', async () => !existsSync(`/run/netns/${podNetns(lab.place.id, uid)}`))
  rmSync(onNode('/var/lib/weft/fail-ADD'))
  await running('late')
  await remove('late')
})

test('what cannot be undone is tried a few times, and the pod goes all the same', async () => {
  configure('first')
  await create('stuck')
  await running('stuck')
  rmSync(onNode('/var/lib/weft/calls'))
  writeFileSync(onNode('/var/lib/weft/fail-DEL'), '')
  await remove('stuck')
  rmSync(onNode('/var/lib/weft/fail-DEL'))
  assert.deepEqual(calls(), ['DEL stuck first', 'DEL stuck first', 'DEL stuck first'])
})

test('a plug-in that does not end is ended, with what it started, and has failed', async () => {
  const [host, scratch] = [{ files: onNode(''), bpf: join(lab.place.bpf, 'node-1') }, onNode('/scratch')]
  const pidFile = onNode('/var/lib/weft/pid')
  writeFileSync(onNode('/opt/cni/bin/slow'), '#!/bin/sh\nsleep 300 & echo $! >/var/lib/weft/pid; wait\n', {
    mode: 0o755,
  })
  const list = { name: 'n', cniVersion: '1.0.0', chained: [{ type: 'slow' }] }
  const attachment = { containerId: 'c', netns: '/run/netns/x', namespace: 'default', pod: 'slow', uid: 'u' }
  const chain = { host, scratch, log: () => undefined, timeoutMs: 1_000 }
  await assert.rejects(
    attach(chain, { attachment, list, result: {}, begun: 0 }),
    /type="slow" .*did not end within 1 s/,
  )
  const pid = Number(readFileSync(pidFile, 'utf8'))
  await eventually('what it started is gone', () => Promise.resolve(startOf(pid) === ''), 2_000)
})

test('a plug-in that is not there, and a network that is not the lab’s, are told by name', async () => {
  const words = async (name: string): Promise<string> => {
    const event = await eventually('an event', async () =>
      (await lab.api.get<{ items: CoreV1Event[] }>('/api/v1/namespaces/default/events')).items.find(
        (each) => each.involvedObject.name === name && each.reason === 'FailedCreatePodSandBox',
      ),
    )
    return event.message ?? ''
  }
  configure('third')
  await create('without')
  assert.match(await words('without'), /failed to find plugin "third" in path \[\/opt\/cni\/bin\]/)
  await remove('without')
  writeFileSync(onNode('/etc/cni/net.d/05-more.conflist'), '{"name":"n","plugins":[{"type":"bridge"}]}')
  await create('foreign')
  assert.match(await words('foreign'), /05-more\.conflist: plugins\[0\]\.type: .*not "bridge"/)
  rmSync(onNode('/etc/cni/net.d/05-more.conflist'))
  await running('foreign')
  await remove('foreign')
})
