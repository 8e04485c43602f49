import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ruleOf, where } from '../model/authorization/authorization.fixture.ts'
import { authorizationsOf, type KeySetState } from '../model/explain/authorizations.ts'
import { type World, world } from '../model/world.fixture.ts'
import { authorizationsText } from './authz-text.ts'

const shop = (): World =>
  world()
    .service('web', { ports: [{ port: 80, protocol: 'http', targetPort: 8080 }] })
    .pods('web', { behind: ['web'] })

function textOf(mesh: World, why: string | null = null, state: KeySetState | null = null): string {
  const standing = { uncapturedWhy: () => why, keySets: { stateOf: () => state } }
  const question = { namespace: 'default', pod: 'web-1', port: null }
  return authorizationsText(authorizationsOf(mesh.snapshot(), question, standing))
}

test('people read what stands before a pod, ports that are alike once', () => {
  const rule = ruleOf({ from: [where('source.namespace', ['front'])], to: [where('request.path', ['/a/*'])] })
  const text = textOf(
    shop()
      .authorizationPolicy({ name: 'front', rules: [rule] })
      .authorizationPolicy({ name: 'later', action: 'DENY', dryRun: true })
      .authorizationPolicy({ name: 'ask', action: 'CUSTOM', provider: 'opa', rules: [ruleOf({})] })
      .requestAuthentication({
        name: 'users',
        rules: [{ issuer: 'https://i', keys: { kind: 'uri', uri: 'https://i/keys' }, audiences: ['shop'] }],
      }),
    null,
    { keys: 0, fetchedMs: null, failure: 'HTTP 500' },
  )
  assert.equal(
    text,
    `pod default/web-1, on node node-1, captured
  identity spiffe://cluster.local/ns/default/sa/default
port 8080 and any other
  8080: port 80 (http) of Service default/web
  PeerAuthentication PERMISSIVE, the default: plaintext too, of whose caller nothing is known
  RequestAuthentication default/users, for namespace default
    tokens of https://i for shop, at header authorization (Bearer …), parameter access_token
    keys from https://i/keys: NONE ARE HAD, no token is good by it, amiss: HTTP 500
    a request without a token goes on, and has no request principal
  CUSTOM default/ask, for namespace default, asks opa (WHICH THERE IS NOT: denied)
    0: everything
  ALLOW default/front, for namespace default
    0: from namespaces front; to /a/*
  DENY (dry run: told, not enforced) default/later, for namespace default
    no rules: it matches nothing
  a call that no rule matches is denied: there is an ALLOW policy
(snapshot 1 of the node’s agent)
`,
  )
})

test('ports that differ are told by themselves; that nothing is enforced is not overlooked', () => {
  const aimed = { name: 'aimed', action: 'DENY', targets: [{ namespace: 'default', name: 'web' }] } as const
  const text = textOf(shop().authorizationPolicy(aimed), 'hostNetwork')
  for (const line of [
    /^pod default\/web-1, on node node-1, NOT CAPTURED: hostNetwork$/m,
    /^NOTHING OF WHAT FOLLOWS IS ENFORCED before it$/m,
    /^port 8080$/m,
    /^ {2}DENY default\/aimed, for Service default\/web$/m,
    /^ {2}a call that no rule matches is allowed$/m,
    /^any other port$/m,
    /^ {2}no policy: every call is allowed$/m,
  ]) {
    assert.match(text, line)
  }
})

test('how it stands with keys is told, and nothing in a name steers the terminal', () => {
  const jwt = (issuer: string): World =>
    shop().requestAuthentication({ rules: [{ issuer, keys: { kind: 'inline', jwks: '{}' }, required: true }] })
  const told = (state: KeySetState | null): string => textOf(jwt('i'), null, state)
  assert.match(told(null), /keys from the object itself: not known$/m)
  assert.match(told({ keys: 1, fetchedMs: 0, failure: null }), /: 1 key, fetched 1970-01-01T00:00:00\.000Z$/m)
  assert.match(told(null), /without a token is refused \(401\)$/m)
  assert.doesNotMatch(textOf(jwt('\u001b[2J')), /\u001b/)
})
