// Who may call what, as a user applies it: kubectl's objects, agents of two nodes under STRICT, an issuer of tokens outside
// the mesh, an authorizer within.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { PROJECT } from '../../lab/state.ts'
import { eventually, type Ran, ran, TestLab } from './lab.ts'
import { podManifest, samples, sent, statusNow, sumOf, upWithAgents } from './mesh.ts'

const CALLER = 'shop/caller'
const ISSUER = 'https://issuer.example'
/** On the caller's node, and on the other. */
const CALLEES = ['near', 'far'] as const

const program = (name: string): string[] => [process.execPath, join(import.meta.dirname, name)]

interface Place {
  readonly name: string
  readonly namespace: string
}

function manifest(kind: string, { name, namespace }: Place, rest: object): string {
  return JSON.stringify({ apiVersion: 'v1', kind, metadata: { name, namespace, labels: { app: name } }, ...rest })
}

function pod(place: Place & { readonly node: string }, run: string, path = '/ready'): string {
  const readinessProbe = { httpGet: { port: 8080, path }, periodSeconds: 1 }
  const env = [{ name: 'VERSION', value: place.name }]
  const containers = [{ name: 'main', image: 'none', command: program(run), readinessProbe, env }]
  return manifest('Pod', place, { spec: { nodeName: place.node, containers } })
}

function service(name: string, namespace: string): string {
  const ports = [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'tcp-lines', port: 9000, targetPort: 9000 },
  ]
  return manifest('Service', { name, namespace }, { spec: { selector: { app: name }, ports } })
}

const SETTINGS = JSON.stringify({
  extensionProviders: [
    {
      name: 'guard',
      envoyExtAuthzHttp: {
        service: 'guard.shop.svc.cluster.local',
        port: 80,
        timeout: '0.5s',
        pathPrefix: '/check',
        statusOnError: '503',
        includeRequestHeadersInCheck: ['x-pass'],
        headersToUpstreamOnAllow: ['x-user'],
        headersToDownstreamOnDeny: ['x-why'],
      },
    },
  ],
})

const joined = { 'weft.dev/mesh': 'enabled' }
const MANIFESTS = [
  ...['istio-system', 'idp'].map((name) => JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
  JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', annotations: joined } }),
  manifest('ConfigMap', { name: 'weft', namespace: 'istio-system' }, { data: { mesh: SETTINGS } }),
  podManifest({ name: 'caller', namespace: 'shop', node: 'node-1' }),
  pod({ name: 'near', namespace: 'shop', node: 'node-1' }, 'told.ts'),
  pod({ name: 'far', namespace: 'shop', node: 'node-2' }, 'told.ts'),
  pod({ name: 'guard', namespace: 'shop', node: 'node-2' }, 'issuer.ts', '/keys'),
  pod({ name: 'issuer', namespace: 'idp', node: 'node-2' }, 'issuer.ts', '/keys'),
  ...CALLEES.map((name) => service(name, 'shop')),
  service('guard', 'shop'),
  service('issuer', 'idp'),
].join('\n---\n')

let lab: TestLab

before(async () => {
  lab = await TestLab.make()
  await upWithAgents(lab, MANIFESTS, ['jwks-ask-seconds=1'])
  await eventually('every pod is captured', async () => (await statusNow(lab)).whole)
  await applied('PeerAuthentication', 'default', { mtls: { mode: 'STRICT' } })
})
after(() => lab.end())

const SECURITY = '/apis/security.istio.io/v1/namespaces/shop'
const PLURALS = {
  PeerAuthentication: 'peerauthentications',
  AuthorizationPolicy: 'authorizationpolicies',
  RequestAuthentication: 'requestauthentications',
} as const
type Kind = keyof typeof PLURALS

/** Takes the place of what was applied before it under that name. */
async function applied(kind: Kind, name: string, spec: object, annotations = {}): Promise<void> {
  await removed(kind, name)
  const metadata = { name, namespace: 'shop', annotations }
  await sent(lab, 'POST', `${SECURITY}/${PLURALS[kind]}`, { apiVersion: 'security.istio.io/v1', kind, metadata, spec })
}

async function removed(kind: Kind, name: string): Promise<void> {
  await sent(lab, 'DELETE', `${SECURITY}/${PLURALS[kind]}/${name}`).catch(() => undefined)
}

interface Got {
  readonly status: number
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

async function get(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Got> {
  const code = `const http = require('node:http');
    const { origin, pathname, search } = new URL('${url.replace(/^(http:\/\/[^/]+).*/, '$1')}');
    const path = ${JSON.stringify(url.replace(/^http:\/\/[^/]+/, ''))};
    http.request(origin, { path, agent: false, timeout: 8000, headers: ${JSON.stringify(headers)} }, (r) => {
      let body = ''; r.on('data', (d) => (body += d));
      r.on('end', () => console.log(JSON.stringify({ status: r.statusCode, headers: r.headers, body })))
    }).on('error', (e) => console.log(JSON.stringify({ status: 0, headers: {}, body: e.code }))).end()`
  return JSON.parse(await lab.js(CALLER, code)) as Got
}

const statusOf = async (url: string, headers = {}): Promise<number> => (await get(url, headers)).status
const heard = ({ body }: Got): Record<string, string> =>
  (JSON.parse(body) as { headers: Record<string, string> }).headers

const weft = (...args: string[]): Promise<Ran> =>
  ran('env', [`KUBECONFIG=${lab.place.kubeconfig}`, process.execPath, join(PROJECT, 'agent/main.ts'), ...args])

test('a path is denied on the caller’s node and on the other, also behind a rewrite and by its other spellings', async () => {
  await applied('AuthorizationPolicy', 'no-admin', {
    action: 'DENY',
    rules: [{ to: [{ operation: { paths: ['/admin*'] } }] }],
  })
  for (const callee of CALLEES) {
    await eventually('the policy is in force', async () => (await statusOf(`http://${callee}/admin`)) === 403)
    await sent(lab, 'POST', '/apis/networking.istio.io/v1/namespaces/shop/virtualservices', {
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata: { name: callee, namespace: 'shop' },
      spec: {
        hosts: [callee],
        http: [
          {
            match: [{ uri: { prefix: '/open' } }],
            rewrite: { uri: '/admin' },
            route: [{ destination: { host: callee } }],
          },
          { route: [{ destination: { host: callee } }] },
        ],
      },
    })
    await eventually('the rewrite is in force', async () => (await statusOf(`http://${callee}/open`)) === 403)
    for (const path of ['//admin', '/x/../admin', '/%61dmin', '/x%2f..%2fadmin', '/ADMIN']) {
      assert.equal(await statusOf(`http://${callee}${path}`), 403, `${callee} ${path}`)
    }
    assert.equal(await statusOf(`http://${callee}/fine`), 200)
  }
  await removed('AuthorizationPolicy', 'no-admin')
})

test('an open connection is ended once it is no longer allowed', async () => {
  for (const callee of CALLEES) {
    await removed('AuthorizationPolicy', 'no-lines')
    const code = `const s = require('node:net').connect(9000, '${callee}', () => s.write('x'));
      s.on('data', () => console.log('open')); s.on('error', (e) => { console.log(e.code); process.exit() });
      setTimeout(() => { console.log('still there'); process.exit() }, 20000)`
    await eventually('nothing denies it', async () => {
      const once = `const s = require('node:net').connect(9000, '${callee}', () => s.write('x'));
        s.on('data', () => { console.log('open'); s.destroy() }); s.on('error', (e) => console.log(e.code))`
      return (await lab.js(CALLER, once)).trim() === 'open'
    })
    const lines = createInterface({ input: lab.startIn(CALLER, ['node', '-e', code]).stdout! })[Symbol.asyncIterator]()
    assert.equal((await lines.next()).value, 'open', callee)
    await applied('AuthorizationPolicy', 'no-lines', {
      action: 'DENY',
      rules: [{ to: [{ operation: { ports: ['9000'] } }] }],
    })
    assert.equal((await lines.next()).value, 'ECONNRESET', callee)
  }
  await removed('AuthorizationPolicy', 'no-lines')
})

test('tokens are asked for, believed by the issuer’s keys, and keys follow when they change', async () => {
  const now = Math.floor(Date.now() / 1000)
  const token = async (claims: Record<string, string | number>): Promise<Record<string, string>> => {
    const query = new URLSearchParams(Object.entries(claims).map(([name, value]) => [name, String(value)]))
    const { body } = await get(`http://issuer.idp/token?${query.toString()}`)
    return { authorization: `Bearer ${body}` }
  }
  const good = { iss: ISSUER, sub: 'ann', aud: 'shop', exp: now + 3600, group: 'staff' }
  await applied('RequestAuthentication', 'tokens', {
    jwtRules: [
      {
        issuer: ISSUER,
        audiences: ['shop'],
        jwksUri: 'http://issuer.idp.svc.cluster.local/keys',
        outputClaimToHeaders: [{ header: 'x-group', claim: 'group' }],
      },
    ],
  })
  await applied('AuthorizationPolicy', 'staff', {
    rules: [
      {
        from: [{ source: { requestPrincipals: [`${ISSUER}/*`] } }],
        when: [{ key: 'request.auth.claims[group]', values: ['staff'] }],
      },
    ],
  })
  for (const callee of CALLEES) {
    const url = `http://${callee}/private`
    await eventually('a token is asked for', async () => (await statusOf(url)) === 403)
    await eventually('keys are there', async () => (await statusOf(url, await token(good))) === 200)
    const passed = await get(url, {
      ...(await token(good)),
      'x-group': 'forged',
      'x-forwarded-client-cert': 'URI=forged',
    })
    const { 'x-group': group, authorization, 'x-forwarded-client-cert': xfcc = '' } = heard(passed)
    assert.deepEqual([group, authorization, xfcc.includes('forged')], ['staff', undefined, false])
    assert.equal(await statusOf(url, await token({ ...good, group: 'guest' })), 403)
    const expired = await get(url, await token({ ...good, exp: now - 3600 }))
    assert.deepEqual([expired.status, expired.body], [401, 'Jwt is expired'])
    assert.equal(await statusOf(url, await token({ ...good, aud: 'other' })), 403)
    assert.equal(await statusOf(url, await token({ ...good, iss: 'https://other.example' })), 401)
  }
  const old = await token(good)
  await get('http://issuer.idp/rotate')
  const fresh = await token(good)
  for (const callee of CALLEES) {
    const url = `http://${callee}/private`
    await eventually('the new key is known', async () => (await statusOf(url, fresh)) === 200)
    await eventually('the old one is believed no more', async () => (await statusOf(url, old)) === 401)
  }
})

test('weft authz and weft explain tell what stands before a pod', async () => {
  const told = await weft('authz', 'shop/far')
  assert.equal(told.code, 0, told.stderr)
  assert.match(told.stdout, /shop\/staff/)
  assert.match(told.stdout, /https:\/\/issuer\.example/)
  const explained = await weft('explain', '--from', CALLER, '--to', 'far', '--path', '/private')
  assert.equal(explained.code, 0, explained.stderr)
  assert.match(explained.stdout, /shop\/staff/)
  await removed('AuthorizationPolicy', 'staff')
  await removed('RequestAuthentication', 'tokens')
})

test('an authorizer under STRICT is asked, and its word counts', async () => {
  await applied('AuthorizationPolicy', 'guarded', {
    action: 'CUSTOM',
    provider: { name: 'guard' },
    rules: [{ to: [{ operation: { paths: ['/guarded*'] } }] }],
  })
  for (const callee of CALLEES) {
    const url = `http://${callee}/guarded/x`
    await eventually('it is asked', async () => (await statusOf(url)) === 401)
    const denied = await get(url, { 'x-pass': 'no' })
    assert.deepEqual([denied.status, denied.body, denied.headers['x-why']], [401, 'show your pass\n', 'no pass'])
    const passed = await get(url, { 'x-pass': 'yes', 'x-user': 'forged' })
    assert.deepEqual([passed.status, heard(passed)['x-user']], [200, 'known by /check/guarded/x'])
    assert.equal(await statusOf(url, { 'x-pass': 'slow' }), 503)
    assert.equal(await statusOf(`http://${callee}/elsewhere`), 200)
  }
  const counted = await samples(lab, 'node-1')
  assert.ok(sumOf(counted, 'weft_ext_authz_total', { result: 'allowed' }) >= 1)
  assert.ok(sumOf(counted, 'weft_authz_denied_total', {}) >= 1)
  await removed('AuthorizationPolicy', 'guarded')
})
