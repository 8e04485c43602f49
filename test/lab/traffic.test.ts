// Traffic rules as a user applies them, each group of fields once through the whole of it: kubectl's objects, the agents of
// two nodes, and what applications see.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PROJECT } from '../../lab/state.ts'
import { eventually, ran, TestLab } from './lab.ts'
import { podManifest, samples, statusNow, sumOf, upWithAgents } from './mesh.ts'

const NAMESPACE = 'shop'
const CALLER = `${NAMESPACE}/caller`
const NETWORKING = `/apis/networking.istio.io/v1/namespaces/${NAMESPACE}`
const command = [process.execPath, join(import.meta.dirname, 'told.ts')]
const readinessProbe = { httpGet: { port: 8080, path: '/ready' }, periodSeconds: 1 }

const manifest = (kind: string, name: string, rest: object, labels = {}): string =>
  JSON.stringify({ apiVersion: 'v1', kind, metadata: { name, namespace: NAMESPACE, labels }, ...rest })

function pod(name: string, node: string, app: string): string {
  const env = [{ name: 'VERSION', value: name }]
  const spec = { nodeName: node, containers: [{ name: 'main', image: 'none', command, readinessProbe, env }] }
  return manifest('Pod', name, { spec }, { app, version: name })
}

const service = (name: string): string => {
  const ports = [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'tcp-lines', port: 9000, targetPort: 9000 },
  ]
  return manifest('Service', name, { spec: { selector: { app: name }, ports } })
}

const MANIFESTS = [
  JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'istio-system' } }),
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: NAMESPACE, annotations: { 'weft.dev/mesh': 'enabled' } },
  }),
  podManifest({ name: 'caller', namespace: NAMESPACE, node: 'node-1' }),
  podManifest({ name: 'other', namespace: NAMESPACE, node: 'node-1' }),
  pod('near', 'node-1', 'web'),
  pod('far', 'node-2', 'web'),
  pod('copy', 'node-2', 'copy'),
  service('web'),
  service('copy'),
].join('\n---\n')

let lab: TestLab

before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, ['workers=4'])
  await eventually('every pod is captured', async () => (await statusNow(lab)).whole)
})
after(() => lab.end())

interface Got {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

interface Asking {
  readonly times?: number
  /** Requests that are under way at once. */
  readonly atOnce?: number
  readonly from?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Asks so often; what came instead of an answer has status 0. */
async function ask(url: string, asking: Asking = {}): Promise<Got[]> {
  const { times = 1, atOnce = 1, from = CALLER, method = 'GET', headers = {}, body = '' } = asking
  const code = `const http = require('node:http');
    const one = () => new Promise((resolve) => http.request('${url}', { method: '${method}', agent: false, timeout: 8000,
      headers: ${JSON.stringify(headers)} }, (r) => {
      let body = ''; r.on('data', (d) => (body += d)); r.on('end', () => resolve({ status: r.statusCode, headers: r.headers, body }))
    }).on('error', (e) => resolve({ status: 0, headers: {}, body: e.code })).end(${JSON.stringify(body)}));
    const all = []; let begun = 0;
    const lane = async () => { while (begun < ${times}) { begun++; all.push(await one()) } };
    Promise.all(Array.from({ length: ${atOnce} }, lane)).then(() => console.log(JSON.stringify(all)))`
  return JSON.parse(await lab.js(from, code)) as Got[]
}

const versionOf = ({ headers }: Got): string => headers['x-version'] ?? 'nobody'
const versions = (answers: readonly Got[]): string[] => [...new Set(answers.map(versionOf))].sort()

/** Takes the place of what was applied before it under that name. */
async function applied(kind: 'virtualservices' | 'destinationrules', name: string, spec: object): Promise<void> {
  const path = `${NETWORKING}/${kind}`
  await lab.api.remove(`${path}/${name}`).catch(() => undefined)
  const typed = { virtualservices: 'VirtualService', destinationrules: 'DestinationRule' }[kind]
  const metadata = { name, namespace: NAMESPACE }
  await lab.api.create(path, { apiVersion: 'networking.istio.io/v1', kind: typed, metadata, spec })
}

const to = (host: string, subset?: string): object => ({ destination: { host, ...(subset && { subset }) } })
const SUBSETS = ['near', 'far'].map((name) => ({ name, labels: { version: name } }))
const on = (prefix: string): object => ({ match: [{ uri: { prefix } }] })

test('rules match, change heads, send elsewhere, answer, and copy', async () => {
  await applied('destinationrules', 'web', { host: 'web', subsets: SUBSETS })
  await applied('virtualservices', 'team', {
    http: [{ match: [{ uri: { exact: '/team/far' } }], route: [to('web', 'far')] }],
  })
  await applied('virtualservices', 'web', {
    hosts: ['web'],
    http: [
      { match: [{ uri: { prefix: '/mine' }, sourceLabels: { app: 'other' } }], route: [to('web', 'far')] },
      { ...on('/mine'), route: [to('web', 'near')] },
      { ...on('/team'), delegate: { name: 'team' } },
      { ...on('/moved'), redirect: { uri: '/here', authority: 'web.example', redirectCode: 302 } },
      { ...on('/said'), directResponse: { status: 418, body: { string: 'short and stout' } } },
      {
        ...on('/cors'),
        corsPolicy: { allowOrigins: [{ exact: 'https://a.example' }], allowMethods: ['PUT'], maxAge: '1h' },
        route: [to('web')],
      },
      {
        ...on('/v1/'),
        rewrite: { uriRegexRewrite: { match: '/v1/(\\w+)', rewrite: '/\\1/new' } },
        headers: { request: { set: { 'x-set': 'rule' }, add: { 'x-add': 'more' }, remove: ['x-gone'] } },
        route: [{ ...to('web', 'near'), headers: { response: { set: { 'x-answer': 'changed' } } } }],
        mirrors: [{ destination: { host: 'copy' }, percentage: { value: 100 } }],
      },
      { route: [to('web', 'near')] },
    ],
  })
  await eventually('the rules are in force', async () => (await ask('http://web/said'))[0]?.status === 418)
  assert.deepEqual(versions(await ask('http://web/mine')), ['near'])
  assert.deepEqual(versions(await ask('http://web/mine', { from: `${NAMESPACE}/other` })), ['far'])
  assert.deepEqual(versions(await ask('http://web/team/far')), ['far'])
  assert.deepEqual(versions(await ask('http://web/team/else')), ['near'], 'where no rule of the delegate matches')
  const [moved] = await ask('http://web/moved?a=b')
  assert.deepEqual([moved?.status, moved?.headers['location']], [302, 'http://web.example/here?a=b'])
  assert.equal((await ask('http://web/said'))[0]?.body, 'short and stout')
  const origin = 'https://a.example'
  const preflight = { origin, 'access-control-request-method': 'PUT' }
  const [allowed] = await ask('http://web/cors', { method: 'OPTIONS', headers: preflight })
  assert.deepEqual(
    [allowed?.status, allowed?.headers['access-control-allow-origin'], allowed?.headers['access-control-max-age']],
    [200, origin, '3600'],
  )
  const [actual] = await ask('http://web/cors', { headers: { origin } })
  assert.equal(actual?.headers['access-control-allow-origin'], origin)
  const asked = { method: 'POST', body: 'whole', headers: { 'x-gone': 'x', 'x-set': 'caller', 'x-add': 'one' } }
  const [changed] = await ask('http://web/v1/item?q=1', asked)
  const heard = JSON.parse(changed?.body ?? '{}') as { target: string; headers: Record<string, string>; body: string }
  assert.deepEqual([heard.target, heard.body, changed?.headers['x-answer']], ['/item/new?q=1', 'whole', 'changed'])
  const { 'x-set': set, 'x-add': add, 'x-gone': gone } = heard.headers
  assert.deepEqual([set, add, gone], ['rule', 'one, more', undefined])
  await eventually('the copy came', async () => {
    return (await ask('http://copy/seen'))[0]?.body.includes('"/item/new":1') === true
  })
})

test('weft explain says what the mesh does, and weft analyze what is amiss', async () => {
  const weft = (...args: string[]): ReturnType<typeof ran> =>
    ran('env', [`KUBECONFIG=${lab.place.kubeconfig}`, process.execPath, join(PROJECT, 'agent/main.ts'), ...args])
  const asked = ['--from', CALLER, '--to', 'web', '--path', '/mine']
  const told = await weft('explain', ...asked)
  assert.equal(told.code, 0, told.stderr)
  assert.match(told.stdout, /spec\.http\[0\] does not match: match\[0\]\.sourceLabels does not match\n/)
  assert.match(told.stdout, /spec\.http\[1\] decides\n/)
  assert.match(told.stdout, /goes to web\.shop\.svc\.cluster\.local:80 subset near\n/)
  const json = await weft('explain', ...asked, '--header', 'a: b', '--output', 'json')
  const { outcome } = JSON.parse(json.stdout) as {
    outcome: { shares: { endpoints: { pod: string; link: string }[] }[] }
  }
  assert.deepEqual(
    outcome.shares[0]?.endpoints.map(({ pod: name, link }) => [name, link]),
    [['shop/near', 'on this node']],
  )
  const nobody = await weft('explain', '--from', `${NAMESPACE}/nobody`, '--to', 'web')
  assert.deepEqual([nobody.code, nobody.stderr], [2, 'weft: there is no pod shop/nobody\n'])
  const sound = await weft('analyze', '-n', NAMESPACE, '--fail-on', 'warning')
  assert.equal(sound.code, 0, sound.stdout + sound.stderr)
  await applied('virtualservices', 'lost', { hosts: ['copy'], http: [{ route: [to('web', 'nowhere'), to('gone')] }] })
  const amiss = await weft('analyze', '-n', NAMESPACE)
  assert.equal(amiss.code, 1)
  assert.match(amiss.stdout, /spec\.http\[0\]\.route/)
  await lab.api.remove(`${NETWORKING}/virtualservices/lost`)
})

test('retries and timeouts are the rule’s', async () => {
  await applied('virtualservices', 'web', {
    hosts: ['web'],
    http: [
      { ...on('/again'), retries: { attempts: 3, retryOn: '5xx', backoff: '1ms' }, route: [to('web', 'near')] },
      { ...on('/once'), retries: { attempts: 0 }, route: [to('web', 'near')] },
      { ...on('/slow'), timeout: '300ms', route: [to('web', 'near')] },
    ],
  })
  await eventually('the rules are in force', async () => (await ask('http://web/slow?ms=1000'))[0]?.status === 504)
  assert.equal((await ask('http://web/again?status=503'))[0]?.status, 503)
  assert.equal((await ask('http://web/once?status=503'))[0]?.status, 503)
  const before = await samples(lab, 'node-1')
  assert.equal(sumOf(before, 'weft_retries_total', { why: 'ANSWERED' }), 3)
})

test('TCP goes by tcp rules, by who calls', async () => {
  await applied('virtualservices', 'web', {
    hosts: ['web'],
    tcp: [
      { match: [{ port: 9000, sourceLabels: { app: 'other' } }], route: [to('web', 'far')] },
      { match: [{ port: 9000 }], route: [to('web', 'near')] },
    ],
  })
  const line = (from: string): Promise<string> =>
    lab.js(
      from,
      `const s = require('node:net').connect(9000, 'web', () => s.write('x'));
       s.on('data', (d) => { console.log(String(d).trim()); s.destroy() }); s.on('error', (e) => console.log(e.code))`,
    )
  await eventually('the rules are in force', async () => (await line(`${NAMESPACE}/other`)) === 'far')
  for (let i = 0; i < 4; i++) assert.equal(await line(CALLER), 'near')
})

test('a header’s hash keeps its endpoint', async () => {
  await lab.api.remove(`${NETWORKING}/virtualservices/web`)
  const consistentHash = { httpHeaderName: 'x-user' }
  await applied('destinationrules', 'web', { host: 'web', trafficPolicy: { loadBalancer: { consistentHash } } })
  const users = Array.from({ length: 8 }, (_, user) => `user-${user}`)
  const placesOf = async (): Promise<string[][]> => {
    const all: string[][] = []
    for (const user of users) all.push(versions(await ask('http://web/', { times: 3, headers: { 'x-user': user } })))
    return all
  }
  await eventually('each user has one place', async () => (await placesOf()).every((places) => places.length === 1))
  assert.deepEqual([...new Set((await placesOf()).flat())].sort(), ['far', 'near'], 'and not all the same')
})

test('beyond its limits a host is 503 UO at once, and served again after', async () => {
  const connectionPool = { tcp: { maxConnections: 2 }, http: { http1MaxPendingRequests: 2 } }
  await applied('destinationrules', 'web', { host: 'web', trafficPolicy: { connectionPool } })
  const statuses = async (): Promise<number[]> => {
    const long = ask('http://web/?ms=1500', { times: 2, atOnce: 2 })
    await sleep(700)
    const more = await ask('http://web/', { times: 6, atOnce: 6 })
    return [...(await long), ...more].map(({ status }) => status)
  }
  const expected = [200, 200, 503, 503, 503, 503, 200, 200] // two wait, and are served as the first two are through
  await eventually('the limits hold', async () => String(await statuses()) === String(expected))
  assert.ok(sumOf(await samples(lab, 'node-1'), 'istio_requests_total', { response_flags: 'UO' }) >= 4)
  assert.deepEqual(
    (await ask('http://web/', { times: 6 })).map(({ status }) => status),
    Array<number>(6).fill(200),
  )
})

test('who fails in a row is not asked for a while, by no pod of the node', async () => {
  const outlierDetection = {
    ...{ consecutive5xxErrors: 5, interval: '1s', baseEjectionTime: '3s', maxEjectionPercent: 50 },
  }
  await applied('destinationrules', 'web', { host: 'web', trafficPolicy: { outlierDetection }, subsets: SUBSETS })
  const nearIp = (await lab.api.get<{ status?: { podIP?: string } }>(`/api/v1/namespaces/${NAMESPACE}/pods/near`))
    .status?.podIP
  await ask(`http://${nearIp}:8080/ail`)
  let failed = 0
  await eventually('it is ejected', async () => {
    failed += (await ask('http://web/', { times: 4 })).filter(({ status }) => status === 503).length
    return failed >= 5
  })
  const both = [CALLER, `${NAMESPACE}/other`]
  for (const from of both) {
    assert.deepEqual(versions(await ask('http://web/', { times: 8, from })), ['far'], from)
  }
  assert.equal(failed, 5, 'no request more than the five')
  await ask(`http://${nearIp}:8080/heal`)
  await eventually('it is asked again', async () => versions(await ask('http://web/', { times: 8 })).length === 2)
})
