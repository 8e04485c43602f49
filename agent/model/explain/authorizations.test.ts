import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ruleOf, where } from '../authorization/authorization.fixture.ts'
import { keySetOf } from '../authentication/request-authentication.ts'
import { NO_JWT_RULE } from '../security.fixture.ts'
import { ROOT_NAMESPACE, type World, world } from '../world.fixture.ts'
import { PLAIN_TERMS } from '../terms.ts'
import { type Authorizations, authorizationsOf, type KeySetState, type Standing } from './authorizations.ts'
import { Unanswerable } from './explain.ts'

const CAPTURED: Standing = { uncapturedWhy: () => null, keySets: { stateOf: () => null } }
const path = (...values: string[]) => ruleOf({ to: [where('request.path', values)] })
const by = (...values: string[]) => ruleOf({ from: [where('source.principal', values)] })

const shop = (): World =>
  world()
    .service('web', {
      ports: [
        { port: 80, protocol: 'http', targetPort: 8080 },
        { port: 3306, protocol: 'opaque' },
      ],
    })
    .service('other', { ports: [{ port: 81, protocol: 'http', targetPort: 8080 }] })
    .pods('web', {
      behind: ['web', 'other'],
      serviceAccount: 'web',
      terms: { ...PLAIN_TERMS, excludeInboundPorts: [9000] },
    })
    .pods('db', { node: 'node-2', behind: [] })

function told(mesh: World, port: number | null = null, standing = CAPTURED): Authorizations {
  return authorizationsOf(mesh.snapshot(), { namespace: 'default', pod: 'web-1', port }, standing)
}

const at = (all: Authorizations, port: number | null) => {
  const found = all.ports.find((one) => one.port === port)
  assert.ok(found !== undefined, `port ${port}`)
  return found
}

test('where nothing is said everything is allowed, at every port that is known and any other', () => {
  const all = told(shop())
  assert.deepEqual(
    all.ports.map(({ port, otherwise, policies }) => [port, otherwise, policies.length]),
    [
      [3306, 'allowed', 0],
      [8080, 'allowed', 0],
      [9000, 'allowed', 0],
      [null, 'allowed', 0],
    ],
  )
  assert.deepEqual(at(all, 8080).behind, [
    'port 80 (http) of Service default/web',
    'port 81 (http) of Service default/other',
  ])
  assert.match(at(all, 9000).unenforced ?? '', /exclude-inbound-ports/)
  assert.deepEqual(at(all, 8080).peerAuthentication, { mode: 'PERMISSIVE', by: null })
  assert.deepEqual(
    [all.pod, all.identity, all.unenforced],
    ['default/web-1', 'spiffe://cluster.local/ns/default/sa/web', null],
  )
})

test('policies are told in the order in which they are looked at, each with why it is for the port', () => {
  const all = told(
    shop()
      .settings({ authorizers: [] })
      .authorizationPolicy({ name: 'tried', action: 'DENY', dryRun: true, rules: [path('/tried')] })
      .authorizationPolicy({ name: 'watched', action: 'AUDIT', rules: [path('/w')] })
      .authorizationPolicy({ name: 'all', action: 'ALLOW', rules: [by('a/b'), path('/x')] })
      .authorizationPolicy({ name: 'mesh', namespace: ROOT_NAMESPACE, action: 'DENY', rules: [by('evil')] })
      .authorizationPolicy({ name: 'labelled', action: 'DENY', selector: { app: 'web' } })
      .authorizationPolicy({ name: 'far', namespace: ROOT_NAMESPACE, action: 'DENY', selector: { app: 'web' } })
      .authorizationPolicy({ name: 'not', action: 'DENY', selector: { app: 'db' } })
      .authorizationPolicy({ name: 'guard', action: 'CUSTOM', provider: 'opa', rules: [path('/g')] })
      .authorizationPolicy({ name: 'aimed', action: 'DENY', targets: [{ namespace: 'default', name: 'other' }] }),
  )
  assert.deepEqual(
    at(all, 8080).policies.map(
      ({ policy, action, dryRun, why }) => `${action} ${policy} ${why}${dryRun ? ' dry' : ''}`,
    ),
    [
      'CUSTOM default/guard for namespace default',
      'DENY istio-system/mesh for the whole mesh',
      'DENY default/labelled for pods with app=web',
      'DENY istio-system/far for pods with app=web of any namespace',
      'DENY default/aimed for Service default/other',
      'ALLOW default/all for namespace default',
      'AUDIT default/watched for namespace default',
      'DENY default/tried for namespace default dry',
    ],
  )
  assert.equal(
    at(all, 3306).policies.some(({ policy }) => policy === 'default/aimed'),
    false,
    'not behind that Service',
  )
  assert.equal(at(all, 8080).otherwise, 'denied')
  const [guard] = at(all, 8080).policies
  assert.deepEqual([guard?.provider, guard?.isProviderKnown], ['opa', false])
  assert.deepEqual(at(all, 8080).policies[5]?.rules, [
    { rule: 0, text: 'from principals a/b', note: null },
    { rule: 1, text: 'to /x', note: null },
  ])
  const notes = at(all, 3306).policies.flatMap(({ action, rules }) => rules.map(({ note }) => [action, note]))
  assert.deepEqual(
    notes.map(([action, note]) => [action, note?.split(': ')[1] ?? null]),
    [
      ['CUSTOM', 'nobody can be asked, and what it matches is denied'],
      ['DENY', null],
      ['ALLOW', null],
      ['ALLOW', 'it never matches'],
      ['AUDIT', 'what it asks of requests counts as met'],
      ['DENY', 'what it asks of requests counts as met'],
    ],
  )
})

test('an ALLOW in dry run denies nobody', () => {
  const all = told(shop().authorizationPolicy({ action: 'ALLOW', dryRun: true }))
  assert.equal(at(all, null).otherwise, 'allowed')
})

test('tokens are told with their object, places, and how it stands with the keys', () => {
  const keys = { kind: 'uri', uri: 'https://i/keys' } as const
  const state: KeySetState = { keys: 2, fetchedMs: 0, failure: 'HTTP 500' }
  const stateOf = (name: string) => (name === keySetOf({ ...NO_JWT_RULE, issuer: '', keys }) ? state : null)
  const all = told(
    shop()
      .requestAuthentication({
        name: 'users',
        selector: { app: 'web' },
        rules: [{ issuer: 'i', keys, required: true }],
      })
      .requestAuthentication({
        name: 'mesh',
        namespace: ROOT_NAMESPACE,
        rules: [{ issuer: 'j', keys: { kind: 'discovered', issuer: 'j' } }],
      })
      .requestAuthentication({ name: 'not', selector: { app: 'db' }, rules: [{ issuer: 'k', keys }] }),
    8080,
    { ...CAPTURED, keySets: { stateOf } },
  )
  assert.equal(all.ports.length, 1)
  assert.deepEqual(at(told(shop().requestAuthentication({ rules: [{ issuer: 'i', keys }] })), 3306).tokens, [])
  assert.deepEqual(
    at(all, 8080).tokens.map(({ by: object, why, issuer, required, state: had }) => [
      object,
      why,
      issuer,
      required,
      had,
    ]),
    [
      ['default/users', 'for pods with app=web', 'i', true, state],
      ['istio-system/mesh', 'for the whole mesh', 'j', false, null],
    ],
  )
})

test('ports of a PeerAuthentication are told, and who says so', () => {
  const all = told(
    shop().peerAuthentication({ name: 'strict', selector: { app: 'web' }, mode: 'STRICT', ports: { 7000: 'DISABLE' } }),
  )
  assert.deepEqual(at(all, 7000).peerAuthentication, { mode: 'DISABLE', by: 'default/strict' })
  assert.deepEqual(at(all, null).peerAuthentication, { mode: 'STRICT', by: 'default/strict' })
})

test('what is not captured is told with the reason; what the node cannot know it does not say', () => {
  assert.equal(told(shop(), null, { ...CAPTURED, uncapturedWhy: () => 'hostNetwork' }).unenforced, 'hostNetwork')
  const ask = (pod: string): Authorizations =>
    authorizationsOf(shop().snapshot(), { namespace: 'default', pod, port: null }, CAPTURED)
  assert.throws(() => ask('nobody'), Unanswerable)
  assert.throws(() => ask('db-1'), /^Error: pod default\/db-1 is on node node-2: its agent knows$/)
})
