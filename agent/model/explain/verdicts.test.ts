import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ruleOf, where } from '../authorization/authorization.fixture.ts'
import type { JwtRule } from '../authentication/request-authentication.ts'
import { clientTls } from '../traffic-policy.fixture.ts'
import { PLAIN_TERMS } from '../terms.ts'
import type { DeclaredProtocol } from '../protocol.ts'
import { match, type PodsWish, to, type World, world } from '../world.fixture.ts'
import { explain, type Question } from './explain.ts'
import { documentOf, type ExplainedShare } from './explanation.ts'
import { CALLEES_MOST, type ExplainedVerdict } from './verdicts.ts'

const NOW_MS = 1_700_000_000_000

/** A token that nobody has signed. */
function tokenOf(claims: object): string {
  const section = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${section({ alg: 'RS256' })}.${section(claims)}.AAAA`
}

const FRONT = 'cluster.local/ns/default/sa/front'
const path = (...values: string[]) => ruleOf({ to: [where('request.path', values)] })
const by = (...values: string[]) => ruleOf({ from: [where('source.principal', values)] })
const header = (name: string, ...values: string[]) =>
  ruleOf({ when: [where({ kind: 'request.header', name }, values)] })

/** Two pods of one Service: one on the caller's node, one elsewhere. */
const shop = (far: PodsWish = {}, near: PodsWish = {}, protocol: DeclaredProtocol = 'http'): World =>
  world()
    .service('web', { ports: [{ port: 80, protocol, targetPort: 8080 }] })
    .pods('web-v1', { serviceAccount: 'web', ...near })
    .pods('web-v2', { serviceAccount: 'web', node: 'node-2', captured: 'weft-agent-b', ...far })
    .pods('front', { behind: [], serviceAccount: 'front' })

const HERE = ['uid-default-front-1', 'uid-default-web-v1-1']

function shareOf(mesh: World, question: Partial<Question> = {}, here: readonly string[] = HERE): ExplainedShare {
  const snapshot = mesh.snapshot()
  const explained = explain(snapshot, {
    ...{ namespace: 'default', pod: 'front-1', host: 'web', port: null, method: 'GET', target: '/a' },
    ...{ headers: [], serverName: null, carriage: null },
    ...question,
  })
  const moment = {
    nowMs: NOW_MS,
    ejected: () => new Map<string, number>(),
    isCapturedHere: (uid: string) => here.includes(uid),
  }
  const { outcome } = documentOf(snapshot, explained, moment)
  assert.equal(outcome.kind, 'forward')
  assert.ok(outcome.shares[0] !== undefined)
  return outcome.shares[0]
}

const said = (verdicts: readonly ExplainedVerdict[]) =>
  verdicts.map(
    ({ pods, verdict, why }) => `${pods.map((pod) => pod.slice('default/'.length)).join()} ${verdict}: ${why}`,
  )

test('pods of one mind are told together; where no policy is, nothing is told', () => {
  assert.deepEqual(shareOf(shop()).verdicts, [])
  const { verdicts } = shareOf(shop().authorizationPolicy({ name: 'front', rules: [path('/b'), by(FRONT)] }))
  assert.deepEqual(said(verdicts), ['web-v1-1,web-v2-1 allowed: default/front[1] allows it'])
  assert.deepEqual(verdicts[0]?.policies, [
    {
      ...{ policy: 'default/front', action: 'ALLOW', dryRun: false, matched: 1 },
      failed: [{ rule: 0, field: 'when[0]' }],
    },
  ])
})

test('a denial names its rule, or that no rule allows', () => {
  const deny = shop().authorizationPolicy({ name: 'no-a', action: 'DENY', rules: [path('/z'), path('/A')] })
  assert.deepEqual(said(shareOf(deny).verdicts), ['web-v1-1,web-v2-1 denied: rule 1 of default/no-a denies it'])
  const allow = shop().authorizationPolicy({ name: 'b', rules: [path('/b')] })
  const [verdict] = shareOf(allow).verdicts
  assert.equal(verdict?.why, 'policies say who may, and no rule of theirs matches')
})

test('it is judged as it arrives: behind a rewrite, with the headers that its rule sets, its path made plain', () => {
  const mesh = shop()
    .virtualService({
      hosts: ['web'],
      http: [
        {
          destinations: [to('web')],
          matches: [match({ uri: { kind: 'prefix', value: '/a' } })],
          rewrite: { uri: '/inside', authority: 'in.side', regex: null },
          headers: { request: { remove: ['x-a'], set: [['x-b', 'set']], add: [] }, response: null },
        },
      ],
    })
    .authorizationPolicy({ name: 'path', action: 'AUDIT', rules: [path('/inside')] })
    .authorizationPolicy({ name: 'gone', action: 'AUDIT', rules: [header('x-a', '*')] })
    .authorizationPolicy({ name: 'set', action: 'AUDIT', rules: [header('x-b', 'set')] })
    .authorizationPolicy({ name: 'id', action: 'AUDIT', rules: [header('x-request-id', '*')] })
    .authorizationPolicy({
      name: 'host',
      action: 'AUDIT',
      rules: [ruleOf({ to: [where('request.host', ['in.side'])] })],
    })
  const { verdicts } = shareOf(mesh, { headers: [['x-a', '1']] })
  assert.deepEqual(verdicts[0]?.audited, ['default/path[0]', 'default/set[0]', 'default/id[0]', 'default/host[0]'])
  const plain = shop().authorizationPolicy({ name: 'plain', rules: [path('/b')] })
  assert.equal(shareOf(plain, { target: '/a/../b?c' }).verdicts[0]?.verdict, 'allowed')
  assert.throws(() => shareOf(plain, { target: '/a%00' }), /the answer is 400/)
})

test('who calls is known by what proves it on the way', () => {
  const only = (mesh: World): World => mesh.authorizationPolicy({ name: 'front', rules: [by(FRONT)] })
  const none = 'policies say who may, and no rule of theirs matches'
  const cases: [what: string, said: string[], mesh: World, here?: string[]][] = [
    [
      'in plaintext nobody is known',
      ['web-v1-1 allowed: default/front[0] allows it', `web-v2-1 denied: ${none}`],
      only(shop()).peerAuthentication({ selector: { version: 'v2' }, mode: 'DISABLE' }),
    ],
    [
      'who is not captured is vouched for by nobody',
      [`web-v1-1,web-v2-1 denied: ${none}`],
      only(shop()),
      ['uid-default-web-v1-1'],
    ],
    [
      'TLS of an application is not read by another node',
      ['web-v1-1 allowed: default/front[0] allows it', `web-v2-1 denied: ${none}`],
      only(shop({}, {}, 'sniff')).destinationRule({ host: 'web', policy: { tls: clientTls('SIMPLE') } }),
    ],
  ]
  for (const [what, expected, mesh, here] of cases)
    assert.deepEqual(said(shareOf(mesh, {}, here).verdicts), expected, what)
})

test('where nothing is enforced that is said, whatever policies there are', () => {
  const guarded = (far: PodsWish, near: PodsWish = {}) =>
    shop(far, near).authorizationPolicy({ action: 'DENY', rules: [path('/a')] })
  const excluded = { terms: { ...PLAIN_TERMS, excludeInboundPorts: [8080] } }
  const near = 'web-v1-1 denied: rule 0 of default/ap-1 denies it'
  assert.deepEqual(said(shareOf(guarded({ captured: null })).verdicts), [
    near,
    'web-v2-1 unguarded: it is not captured',
  ])
  assert.deepEqual(said(shareOf(guarded({ agentReady: false })).verdicts), [
    near,
    'web-v2-1 unguarded: the agent of its node is not ready',
  ])
  assert.deepEqual(
    said(shareOf(guarded(excluded, excluded)).verdicts),
    [near, 'web-v2-1 unguarded: its port is excluded from capture'],
    'of two that are captured on one node every port is judged',
  )
  assert.deepEqual(said(shareOf(guarded(excluded, excluded), {}, [HERE[1] ?? '']).verdicts), [
    'web-v1-1,web-v2-1 unguarded: its port is excluded from capture',
  ])
})

test('authorizers are taken to agree, and one that there is not denies', () => {
  const guard = {
    ...{ name: 'opa', host: 'opa', port: 80, timeoutMs: 1, pathPrefix: '', failOpen: false, statusOnError: 403 },
    ...{ includeRequestHeadersInCheck: [], includeAdditionalHeadersInCheck: [], body: null },
    ...{ headersToUpstreamOnAllow: [], headersToDownstreamOnAllow: [], headersToDownstreamOnDeny: [] },
  }
  const custom = shop().authorizationPolicy({ name: 'ask', action: 'CUSTOM', provider: 'opa', rules: [path('/a')] })
  const [unread] = shareOf(custom, { carriage: 'flows' }).verdicts
  assert.equal(unread?.why, 'opa would have to be asked')
  const without = shareOf(custom).verdicts
  assert.deepEqual(said(without), ['web-v1-1,web-v2-1 denied: there is no provider opa'])
  custom.settings({ authorizers: [guard] })
  const [asked] = shareOf(custom).verdicts
  assert.equal(asked?.verdict, 'allowed')
  assert.deepEqual(asked.asks, [{ provider: 'opa', by: 'default/ask[0]', isKnown: true }])
  const [flow] = shareOf(custom, { carriage: 'flows' }).verdicts
  assert.deepEqual([flow?.verdict, flow?.why], ['denied', 'opa would have to be asked'])
  assert.deepEqual(shareOf(custom, { target: '/b' }).verdicts[0]?.asks, [])
})

test('tokens are judged by all but their signature, ahead of policies, which see what they claim', () => {
  const keys = { kind: 'inline', jwks: '{"keys":[]}' } as const
  const users = (wish: Partial<JwtRule>): World =>
    shop().requestAuthentication({ rules: [{ issuer: 'me', keys, ...wish }] })
  const [open] = shareOf(users({ fromCookies: ['session'] })).verdicts
  assert.deepEqual(
    [open?.verdict, open?.tokens],
    ['allowed', { places: ['cookie session'], issuers: ['me'], required: false, found: 0, refused: null }],
  )
  assert.deepEqual(said(shareOf(users({ required: true })).verdicts), ['web-v1-1,web-v2-1 denied: 401: Jwt is missing'])
  assert.equal(shareOf(users({ required: true }), { carriage: 'flows' }).verdicts[0]?.tokens, null, 'bytes have none')

  const members = ruleOf({ when: [where({ kind: 'request.claim', path: ['group'] }, ['staff'])] })
  const mesh = users({ audiences: ['shop'], outputClaimToHeaders: [{ header: 'x-user', claim: 'sub' }] })
    .authorizationPolicy({ name: 'staff', rules: [members] })
    .authorizationPolicy({ name: 'forged', action: 'DENY', rules: [header('x-user', 'forged')] })
    .authorizationPolicy({ name: 'named', action: 'AUDIT', rules: [header('x-user', 'ann')] })
    .authorizationPolicy({ name: 'spent', action: 'AUDIT', rules: [header('authorization', '*')] })
  const good = { iss: 'me', aud: 'shop', sub: 'ann', group: 'staff', exp: NOW_MS / 1000 + 60 }
  const at = (claims: object | null) => {
    const bearer: [string, string][] = claims === null ? [] : [['authorization', `Bearer ${tokenOf(claims)}`]]
    return shareOf(mesh, { headers: [...bearer, ['x-user', 'forged']] }).verdicts[0]
  }
  for (const [claims, why] of [
    [good, 'default/staff[0] allows it'],
    [{ ...good, group: 'guest' }, 'policies say who may, and no rule of theirs matches'],
    [{ ...good, exp: NOW_MS / 1000 - 61 }, '401: Jwt is expired'],
    [{ ...good, aud: 'other' }, '403: Audiences in Jwt are not allowed'],
    [{ ...good, iss: 'else' }, '401: Jwt issuer is not configured'],
    [null, 'policies say who may, and no rule of theirs matches'],
  ] as const) {
    assert.equal(at(claims)?.why, why)
  }
  assert.deepEqual(at(good)?.audited, ['default/named[0]'], 'what a rule tells is there, and what it took is not')
  assert.equal(at(good)?.tokens?.found, 1)
  assert.deepEqual(at(null)?.tokens?.found, 0)
})

test('what dry run would say is told beside, and so are policies that did not decide', () => {
  const mesh = shop()
    .authorizationPolicy({ name: 'tried', action: 'DENY', dryRun: true, rules: [path('/a')] })
    .authorizationPolicy({ name: 'no-b', action: 'DENY', rules: [path('/b')] })
  const [verdict] = shareOf(mesh).verdicts
  assert.deepEqual([verdict?.verdict, verdict?.dryRun], ['allowed', 'denied by default/tried[0]'])
  assert.equal(verdict?.why, 'nothing denies it, and nobody has to allow it')
  assert.deepEqual(
    verdict.policies.map(({ policy, dryRun, matched }) => [policy, dryRun, matched]),
    [
      ['default/no-b', false, null],
      ['default/tried', true, 0],
    ],
  )
})

test('of a host with many pods no more than a bound are asked about', () => {
  const mesh = world()
    .service('web')
    .pods('web', { count: CALLEES_MOST + 5 })
    .pods('front', { behind: [] })
    .authorizationPolicy({ action: 'DENY' })
  const { verdicts, unjudged } = shareOf(mesh)
  assert.deepEqual([verdicts.length, verdicts[0]?.pods.length, unjudged], [1, CALLEES_MOST, 5])
})
