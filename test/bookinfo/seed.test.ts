// The mission's own route for my-service in every API version the cluster serves, and what an application sees of its caller.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster } from '../../lab/demo/cluster.ts'
import { type Client, clientIn } from './client.ts'
import { joinNamespace, shares, sum, within1s } from './steered.ts'

const seed = join(import.meta.dirname, '../../../shared/data/mission/virtualservice-my-service.yaml')
const absent = existsSync(seed) ? false : 'the sample manifests are not at hand (../shared/data)'
const url = 'http://my-service/hello'

describe('my-service', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-seed-'))
  const cluster = new Cluster(folder, ['node-1', 'node-2'])
  const callers = new Map<string, { client: Client; ip: string }>()

  before(async () => {
    await cluster.up(join(import.meta.dirname, 'my-service.yaml'), () => undefined)
    await joinNamespace(cluster, 'default')
    const list = JSON.parse(await cluster.kubectl('get', 'pods', '-l', 'app=caller', '-o', 'json')) as {
      items: { metadata: { name: string }; spec: { nodeName: string }; status: { podIP: string } }[]
    }
    for (const { metadata, spec, status } of list.items) {
      callers.set(spec.nodeName, { client: clientIn(folder, `default/${metadata.name}`), ip: status.podIP })
    }
    assert.deepEqual([...callers.keys()].sort(), ['node-1', 'node-2'])
  })
  after(async () => {
    for (const { client } of callers.values()) await client.close()
    await cluster.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const anyCaller = (): Client => callers.values().next().value!.client

  for (const version of ['v1', 'v1beta1', 'v1alpha3']) {
    test(`virtualservice-my-service as networking.istio.io/${version}: 90/10`, { skip: absent }, async () => {
      const file = join(folder, `${version}.yaml`)
      writeFileSync(
        file,
        readFileSync(seed, 'utf8').replace(/networking\.istio\.io\/\S+/, `networking.istio.io/${version}`),
      )
      await cluster.kubectl('apply', '-f', file)
      await within1s(anyCaller(), { url, count: 40, concurrency: 4 }, ({ statuses }) => statuses[200] === 40)
      await shares(anyCaller(), url, { v1: 0.9, v2: 0.1 })
      await cluster.kubectl('delete', '-f', file)
      const isEven = (v1 = 0): boolean => v1 > 20 && v1 < 80 // without the route, every endpoint alike
      await within1s(anyCaller(), { url, count: 100, concurrency: 4 }, ({ versions }) => isEven(versions['v1']))
    })
  }

  test('the application sees the caller’s own address, from its own node and from another', async () => {
    const mirror = JSON.parse(await cluster.kubectl('get', 'pod', 'mirror', '-o', 'json')) as {
      status: { podIP: string }
    }
    for (const { client, ip } of callers.values()) {
      const { body, statuses } = await client.ask({ url: 'http://mirror:7000/' })
      assert.deepEqual(statuses, { 200: 1 })
      assert.deepEqual(JSON.parse(body), { remoteAddress: ip, localAddress: mirror.status.podIP })
    }
    assert.ok(
      (await sum(cluster, 'weft_kernel_events', { event: 'steered' })) > 0,
      'the other node’s call was captured inbound',
    )
  })
})
