// Istio's Bookinfo as its authors publish it, unchanged: unjoined, joined, and steered by each of its route files.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster } from '../../lab/demo/cluster.ts'
import { type Client, clientIn } from './client.ts'
import { joinNamespace, only, shares, sum, within1s } from './steered.ts'

const samples = join(import.meta.dirname, '../../../shared/data')
const bookinfo = join(samples, 'istio/samples/bookinfo')
const networking = (name: string): string => join(bookinfo, `networking/${name}.yaml`)
const nodes = ['node-1', 'node-2']
const reviews = 'http://reviews:9080/reviews/0'
const jason = { 'end-user': 'jason' }
const absent = existsSync(bookinfo) ? false : `the sample manifests are not at hand (${'../shared/data'})`

describe('Bookinfo', { skip: absent }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-bookinfo-'))
  const cluster = new Cluster(folder, nodes)
  let client: Client

  const kubectl = (...args: string[]): Promise<string> => cluster.kubectl(...args)
  const podOf = async (app: string): Promise<string> =>
    (await kubectl('get', 'pod', '-l', app, '-o', 'jsonpath={.items[0].metadata.name}')).trim()
  const apply = async (name: string): Promise<void> => {
    await kubectl('apply', '-f', networking(name))
  }
  before(async () => {
    await cluster.up(join(bookinfo, 'platform/kube/bookinfo.yaml'), () => undefined)
    client = clientIn(folder, `default/${await podOf('app=ratings')}`)
  })
  after(async () => {
    await client?.close()
    await cluster.close()
    rmSync(folder, { recursive: true, force: true })
  })

  describe('unjoined', () => {
    test('answers by name and by cluster IP as in any cluster', async () => {
      const page = await client.ask({ url: 'http://productpage:9080/productpage', count: 6 })
      assert.deepEqual(page.statuses, { 200: 6 })
      assert.match(page.body, /<title>Simple Bookstore App<\/title>|[Bb]ook/)
      const ip = (await kubectl('get', 'service', 'reviews', '-o', 'jsonpath={.spec.clusterIP}')).trim()
      const { statuses, versions } = await client.ask({ url: `http://${ip}:9080/reviews/0`, count: 60 })
      assert.deepEqual(statuses, { 200: 60 })
      assert.ok(Object.keys(versions).length > 0)
    })

    test('is a cluster to kubectl', async () => {
      await kubectl('wait', '--for=condition=Available', 'deployment', '--all', '--timeout=20s')
      await kubectl('wait', '--for=condition=Ready', 'pod', '-l', 'app=reviews', '--timeout=20s')
      assert.match(await kubectl('get', 'pods'), /reviews-v3-\S+ +1\/1 +Running/)
      assert.match(await kubectl('describe', 'service', 'reviews'), /Endpoints: +10\.\S+:9080/)
      assert.match(await kubectl('describe', 'pod', '-l', 'app=details'), /Service Account: +bookinfo-details/)
    })

    test('is not touched: no hook acts and no connection reaches a proxy', async () => {
      await client.ask({ url: reviews, count: 20 })
      for (const event of ['captured', 'handed', 'steered', 'let', 'passed']) {
        assert.equal(await sum(cluster, 'weft_kernel_events', { event }), 0, event)
      }
      assert.equal(await sum(cluster, 'weft_proxy_connections_total'), 0)
    })
  })

  describe('joined', () => {
    before(async () => {
      await joinNamespace(cluster, 'default')
    })

    test('goes on as before, and every hop is seen by both reporters', async () => {
      // connections older than the capture go on past the proxy
      const { statuses } = await client.ask({ url: 'http://productpage:9080/productpage', count: 10, anew: true })
      assert.deepEqual(statuses, { 200: 10 })
      const answered = { destination_workload: 'details-v1', response_code: '200' }
      const bySource = { ...answered, reporter: 'source', source_workload: 'productpage-v1' }
      assert.equal(await sum(cluster, 'istio_requests_total', bySource), 10)
      // the callee's node names a caller of another node only on proof, and plaintext is none
      assert.equal(await sum(cluster, 'istio_requests_total', { ...answered, reporter: 'destination' }), 10)
    })

    test('leaves no rule in a pod, and no listener on its address', async () => {
      const pods = (await kubectl('get', 'pods', '-o', 'jsonpath={.items[*].metadata.name}')).trim().split(' ')
      assert.equal(pods.length, 6)
      for (const pod of pods) {
        const inPod = async (...command: string[]): Promise<string> =>
          (await cluster.exec([`default/${pod}`], command, { timeoutMs: 20_000 })).stdout
        assert.equal((await inPod('nft', 'list', 'ruleset')).trim(), '', pod)
        const listeners = (await inPod('ss', '-Hltn')).trim().split('\n')
        const ours = listeners.map((line) => line.split(/ +/)[3] ?? '').filter((at) => !at.endsWith(':9080'))
        assert.deepEqual(ours.sort(), ['127.0.0.1:15001', '127.0.0.1:15006', '[::1]:15001', '[::1]:15006'], pod)
      }
    })

    test('destination-rule-all: subsets alone change nothing', async () => {
      await apply('destination-rule-all')
      await sleep(200)
      const { statuses } = await client.ask({ url: reviews, count: 30 })
      assert.deepEqual(statuses, { 200: 30 })
    })

    test('virtual-service-all-v1: only v1 answers', async () => {
      await apply('virtual-service-all-v1')
      await within1s(client, { url: reviews, count: 5 }, only('reviews-v1'))
      assert.ok(only('reviews-v1')(await client.ask({ url: reviews, count: 100 })))
    })

    test('virtual-service-reviews-test-v2: jason gets v2, others v1', async () => {
      await apply('virtual-service-reviews-test-v2')
      await within1s(client, { url: reviews, headers: jason, count: 5 }, only('reviews-v2'))
      assert.ok(only('reviews-v2')(await client.ask({ url: reviews, headers: jason, count: 50 })))
      assert.ok(only('reviews-v1')(await client.ask({ url: reviews, count: 50 })))
    })

    test('virtual-service-ratings-test-delay: jason waits 7 s for ratings, and his page gives up on reviews', async () => {
      await apply('virtual-service-ratings-test-delay')
      const ratings = 'http://ratings:9080/ratings/0'
      await sleep(1000) // a delay shows only in a request that is sent when it is in force: that takes a second at most
      const undelayed = await client.ask({ url: ratings })
      assert.ok(undelayed.statuses[200] === 1 && undelayed.slowestMs < 1000, `${undelayed.slowestMs} ms`)
      const delayed = await client.ask({ url: ratings, headers: jason })
      assert.deepEqual(delayed.statuses, { 200: 1 })
      assert.ok(delayed.fastestMs >= 7000 && delayed.fastestMs < 8000, `${delayed.fastestMs} ms`)
      const page = await client.ask({ url: 'http://productpage:9080/productpage', headers: jason })
      assert.match(page.body, /product reviews are currently unavailable/)
      const other = await client.ask({ url: 'http://productpage:9080/productpage' })
      assert.doesNotMatch(other.body, /currently unavailable/)
    })

    test('virtual-service-ratings-test-abort: jason gets 500 from ratings', async () => {
      await apply('virtual-service-ratings-test-abort')
      const ratings = 'http://ratings:9080/ratings/0'
      await within1s(client, { url: ratings, headers: jason }, ({ statuses }) => statuses[500] === 1)
      assert.equal((await client.ask({ url: ratings, headers: jason })).body, 'fault filter abort')
      assert.deepEqual((await client.ask({ url: ratings })).statuses, { 200: 1 })
      const page = await client.ask({ url: 'http://productpage:9080/productpage', headers: jason })
      assert.match(page.body, /Ratings service is currently unavailable/)
      await apply('virtual-service-all-v1')
    })

    const weighted: Record<string, Record<string, number>> = {
      'virtual-service-reviews-80-20': { 'reviews-v1': 0.8, 'reviews-v2': 0.2 },
      'virtual-service-reviews-90-10': { 'reviews-v1': 0.9, 'reviews-v2': 0.1 },
      'virtual-service-reviews-50-v3': { 'reviews-v1': 0.5, 'reviews-v3': 0.5 },
      'virtual-service-reviews-v2-v3': { 'reviews-v2': 0.5, 'reviews-v3': 0.5 },
    }
    for (const [name, wanted] of Object.entries(weighted)) {
      test(`${name}: ${JSON.stringify(wanted)} of 2000 requests`, async () => {
        await apply(name)
        const versions = Object.keys(wanted).sort().join()
        await within1s(
          client,
          { url: reviews, count: 60, concurrency: 4 },
          (tally) => Object.keys(tally.versions).sort().join() === versions,
        )
        await shares(client, reviews, wanted)
      })
    }

    test('virtual-service-reviews-jason-v2-v3: jason gets v2, others v3', async () => {
      await apply('virtual-service-reviews-jason-v2-v3')
      await within1s(client, { url: reviews, headers: jason, count: 5 }, only('reviews-v2'))
      await within1s(client, { url: reviews, count: 5 }, only('reviews-v3'))
    })

    test('virtual-service-reviews-v3: only v3 answers', async () => {
      await apply('virtual-service-reviews-v3')
      await within1s(client, { url: reviews, headers: jason, count: 5 }, only('reviews-v3'))
      await within1s(client, { url: reviews, count: 5 }, only('reviews-v3'))
    })

    test('fault-injection-details-v1: details answers 555', async () => {
      await apply('fault-injection-details-v1')
      await within1s(client, { url: 'http://details:9080/details/0' }, ({ statuses }) => statuses[555] === 1)
      const page = await client.ask({ url: 'http://productpage:9080/productpage' })
      assert.match(page.body, /product details are currently unavailable/)
      await apply('virtual-service-all-v1')
    })

    test('a route changed on one held keep-alive connection takes effect on its next request', async () => {
      await within1s(client, { url: reviews, count: 5 }, only('reviews-v1'))
      const held = clientIn(folder, `default/${await podOf('app=productpage')}`)
      const first = await held.ask({ url: reviews, count: 3 })
      assert.deepEqual([first.connections, first.versions], [1, { 'reviews-v1': 3 }])
      await apply('virtual-service-reviews-v3')
      await within1s(client, { url: reviews, count: 5 }, only('reviews-v3'))
      // the same order to the same asker: one connection a concurrency, kept from order to order
      const next = await held.ask({ url: reviews, count: 3 })
      assert.deepEqual([next.connections, next.versions], [1, { 'reviews-v3': 3 }])
      await held.close()
    })

    test('reviews by end-user, as the seed writes it: jason gets v2, others v1', async () => {
      await kubectl('delete', 'virtualservice', '--all')
      await kubectl('apply', '-f', join(samples, 'mission/virtualservice-reviews-route.yaml'))
      await within1s(client, { url: reviews, headers: jason, count: 5 }, only('reviews-v2'))
      await within1s(client, { url: reviews, count: 5 }, only('reviews-v1'))
    })
  })
})
