// What each field of an AuthorizationPolicy and of a RequestAuthentication does: what is decided with it, and what without it
// or with another value of it.

import assert from 'node:assert/strict'
import { translateAuthorizationPolicy } from '../../agent/kube/authorization-policy.ts'
import { istio } from '../../agent/kube/objects.fixture.ts'
import { translateRequestAuthentication } from '../../agent/kube/request-authentication.ts'
import type { JwtRule } from '../../agent/model/authentication/request-authentication.ts'
import { call, type CallWish } from '../../agent/model/authorization/authorization.fixture.ts'
import type { Protection } from '../../agent/model/authorization/protection.ts'
import { protectionOf } from '../../agent/model/authorization/protection.ts'
import { compile } from '../../agent/model/snapshot.ts'
import { world } from '../../agent/model/world.fixture.ts'
import type { Decide } from './decided.ts'
import { type Effect, these } from './virtual-service-effects.ts'

/** Two Services, each with a pod that listens at 8080. */
const PLACES = world().service('web').pods('web').service('api').pods('api')

type Name = 'web-1' | 'api-1'

/** What stands before a pod's port where an object is in force. */
function before(kind: 'AuthorizationPolicy' | 'RequestAuthentication', spec: object, pod: Name): Protection {
  const object = istio(kind, spec)
  const inventory = PLACES.inventory()
  const [policy, authentication] =
    kind === 'AuthorizationPolicy'
      ? [translateAuthorizationPolicy(object), null]
      : [null, translateRequestAuthentication(object)]
  const problems = (policy ?? authentication)?.problems.map(({ field, reason }) => `${field}: ${reason}`) ?? []
  assert.deepEqual(problems, [], JSON.stringify(spec))
  const snapshot = compile({
    ...inventory,
    authorizationPolicies: policy?.value ? [policy.value] : [],
    requestAuthentications: authentication?.value ? [authentication.value] : [],
  })
  return protectionOf(snapshot, PLACES.pod(pod), 8080)
}

/** How a call ends, whoever would be asked first: `asked NAME`, `noted`, `allowed`, `denied`, or that nobody minds. */
function outcome(spec: object, wish: CallWish = {}, pod: Name = 'web-1'): string {
  const { table } = before('AuthorizationPolicy', spec, pod)
  const facts = call(wish)
  if (table === null) return 'nobody minds'
  const [asked] = table.consultations(facts)
  if (asked !== undefined) return `asked ${asked.provider}`
  const { denied, allowedBy, audited } = table.decide(facts)
  if (denied !== null) return 'denied'
  if (audited.length > 0) return 'noted'
  return allowedBy === null ? 'nobody minds' : 'allowed'
}

/** Given the spec of an AuthorizationPolicy. */
const spec =
  (pod: Name = 'web-1'): Decide =>
  (given) =>
    outcome(given, {}, pod)

/** Given one rule. */
const rule =
  (wish: CallWish = {}): Decide =>
  (given) =>
    outcome({ rules: [given] }, wish)

const source =
  (wish: CallWish = {}): Decide =>
  (given) =>
    rule(wish)({ from: [{ source: given }] })
const operation =
  (wish: CallWish = {}): Decide =>
  (given) =>
    rule(wish)({ to: [{ operation: given }] })

/** A field and its opposite: what is of `yes` is allowed by the one and not by the other, and of `no` the other way about. */
function both(
  decide: Decide,
  at: string,
  fields: readonly [field: string, opposite: string],
  [yes, no]: readonly [string, string],
): Readonly<Record<string, Effect>> {
  const [field, opposite] = fields
  return {
    [`${at}.${field}`]: [decide, { [field]: [yes] }, 'allowed', { [field]: [no] }, 'denied'],
    [`${at}.${opposite}`]: [decide, { [opposite]: [no] }, 'allowed', { [opposite]: [yes] }, 'denied'],
  }
}

const FROM = 'rules[].from[].source'
const TO = 'rules[].to[].operation'
const WHEN = 'rules[].when[]'
const TOKEN = { tokens: [{ iss: 'https://issuer', sub: 'ann' }] }
/** Accounts stand for those of the object's own namespace. */
const OWN = { source: { namespace: 'default', serviceAccount: 'default/web' } }

const when: Decide = (given) => rule({ headers: { 'x-team': 'red' } })({ when: [given] })
const team = { key: 'request.headers[x-team]' }
const service = (name: string, more: object = {}): object => ({ kind: 'Service', name, ...more })
const attached: Decide = (targetRef) => outcome({ targetRef: { ...service('web'), ...targetRef } })

/** Whether an object with this target is refused, or has some of it reported. */
const told: Decide = (given) => {
  const targetRef = { ...service('web'), ...given }
  const { rejected, problems } = translateAuthorizationPolicy(istio('AuthorizationPolicy', { targetRef }))
  return rejected ? 'refused' : problems.map(({ field }) => field)
}

const AIM: Readonly<Record<string, Effect>> = {
  'selector.matchLabels': [
    spec(),
    ...these({ selector: { matchLabels: { app: 'web' } } }, 'denied'),
    ...these({ selector: { matchLabels: { app: 'api' } } }, 'nobody minds'),
  ],
  'targetRef.group': [told, { group: '' }, [], { group: 'apps' }, 'refused'],
  'targetRef.kind': [told, {}, [], { group: 'networking.istio.io', kind: 'ServiceEntry' }, ['spec.targetRef']],
  'targetRef.name': [attached, { name: 'web' }, 'denied', { name: 'api' }, 'nobody minds'],
  'targetRef.namespace': [told, {}, [], { namespace: 'other' }, 'refused'],
  'targetRefs[]': [
    spec('api-1'),
    ...these(
      { targetRefs: [service('web'), service('api')] },
      'denied',
      { targetRefs: [service('web')] },
      'nobody minds',
    ),
  ],
}

export const AUTHORIZATION_POLICY_EFFECTS: Readonly<Record<string, Effect>> = {
  ...AIM,
  action: [spec(), { action: 'ALLOW', rules: [{}] }, 'allowed', { action: 'DENY', rules: [{}] }, 'denied'],
  'provider.name': [
    (provider) => outcome({ action: 'CUSTOM', rules: [{}], provider }),
    ...these({ name: 'one' }, 'asked one', { name: 'other' }, 'asked other'),
  ],
  ...both(source(), FROM, ['principals', 'notPrincipals'], ['cluster.local/ns/shop/sa/*', '*/sa/other']),
  ...both(
    source(TOKEN),
    FROM,
    ['requestPrincipals', 'notRequestPrincipals'],
    ['https://issuer/ann', 'https://issuer/bob'],
  ),
  ...both(source(), FROM, ['namespaces', 'notNamespaces'], ['shop', 'other']),
  ...both(source(), FROM, ['ipBlocks', 'notIpBlocks'], ['10.244.0.0/16', '10.245.0.0/16']),
  ...both(source({ remoteIp: '9.9.9.9' }), FROM, ['remoteIpBlocks', 'notRemoteIpBlocks'], ['9.9.9.9', '10.244.0.0/16']),
  ...both(source(OWN), FROM, ['serviceAccounts', 'notServiceAccounts'], ['web', 'shop/web']),
  ...both(source(), FROM, ['trustDomains', 'notTrustDomains'], ['cluster.local', 'other']),
  ...both(operation({ authority: 'a.example' }), TO, ['hosts', 'notHosts'], ['*.example', 'b.example']),
  ...both(operation(), TO, ['ports', 'notPorts'], ['8080', '80']),
  ...both(operation({ method: 'PUT' }), TO, ['methods', 'notMethods'], ['PUT', 'GET']),
  ...both(operation({ target: '/a/b' }), TO, ['paths', 'notPaths'], ['/a/{*}', '/b*']),
  [`${WHEN}.key`]: [
    when,
    ...these({ ...team, values: ['red'] }, 'allowed', { key: 'request.headers[x-other]', values: ['red'] }, 'denied'),
  ],
  [`${WHEN}.values`]: [when, { ...team, values: ['red'] }, 'allowed', { ...team, values: ['blue'] }, 'denied'],
  [`${WHEN}.notValues`]: [when, { ...team, notValues: ['blue'] }, 'allowed', { ...team, notValues: ['red'] }, 'denied'],
}

const ISSUER = 'https://issuer.example'
const KEYS = '{"keys":[]}'

/** The rule that is for tokens at web's pod, given one beside an issuer. */
const jwt =
  (read: (rule: JwtRule) => unknown): Decide =>
  (given) => {
    const [found] = before('RequestAuthentication', { jwtRules: [{ issuer: ISSUER, ...given }] }, 'web-1').tokens
    assert.ok(found)
    return read(found)
  }

/** How many rules are for tokens at a pod. */
const rules =
  (pod: Name = 'web-1'): Decide =>
  (given) =>
    before('RequestAuthentication', { jwtRules: [{ issuer: ISSUER }], ...given }, pod).tokens.length

const toldOfTokens: Decide = (given) => {
  const targetRef = { ...service('web'), ...given }
  const { rejected, problems } = translateRequestAuthentication(istio('RequestAuthentication', { targetRef }))
  return rejected ? 'refused' : problems.map(({ field }) => field)
}

const header: Decide = (given) => jwt(({ fromHeaders }) => fromHeaders)({ fromHeaders: [{ name: 'x-a', ...given }] })
const claim: Decide = (given) => {
  const read = jwt(({ outputClaimToHeaders }) => outputClaimToHeaders)
  return read({ outputClaimToHeaders: [{ header: 'x-a', claim: 'a', ...given }] })
}

/** Of a rule the pure model has the values alone: what is done with them has tests of its own. */
export const REQUEST_AUTHENTICATION_EFFECTS: Readonly<Record<string, Effect>> = {
  'selector.matchLabels': [
    rules(),
    ...these({ selector: { matchLabels: { app: 'web' } } }, 1, { selector: { matchLabels: { app: 'api' } } }, 0),
  ],
  'targetRef.group': [toldOfTokens, { group: '' }, [], { group: 'apps' }, 'refused'],
  'targetRef.kind': [toldOfTokens, {}, [], { group: 'networking.istio.io', kind: 'ServiceEntry' }, ['spec.targetRef']],
  'targetRef.name': [rules(), { targetRef: service('web') }, 1, { targetRef: service('api') }, 0],
  'targetRef.namespace': [toldOfTokens, {}, [], { namespace: 'other' }, 'refused'],
  'targetRefs[]': [
    rules('api-1'),
    ...these({ targetRefs: [service('web'), service('api')] }, 1, { targetRefs: [service('web')] }, 0),
  ],
  'jwtRules[].issuer': [jwt(({ issuer }) => issuer), { issuer: 'http://a' }, 'http://a', {}, ISSUER],
  'jwtRules[].audiences': [jwt(({ audiences }) => audiences), { audiences: ['a'] }, ['a'], {}, []],
  'jwtRules[].jwksUri': [
    jwt(({ keys }) => keys),
    ...these({ jwksUri: 'http://a/' }, { kind: 'uri', uri: 'http://a/' }, {}, { kind: 'discovered', issuer: ISSUER }),
  ],
  'jwtRules[].jwks_uri': [
    jwt(({ keys }) => keys),
    ...these({ jwks_uri: 'http://a/' }, { kind: 'uri', uri: 'http://a/' }, {}, { kind: 'discovered', issuer: ISSUER }),
  ],
  'jwtRules[].jwks': [
    jwt(({ keys }) => keys),
    ...these({ jwks: KEYS }, { kind: 'inline', jwks: KEYS }, {}, { kind: 'discovered', issuer: ISSUER }),
  ],
  'jwtRules[].fromHeaders[].name': [
    header,
    { name: 'X-B' },
    [{ name: 'x-b', prefix: '' }],
    {},
    [{ name: 'x-a', prefix: '' }],
  ],
  'jwtRules[].fromHeaders[].prefix': [
    header,
    ...these({ prefix: 'Token ' }, [{ name: 'x-a', prefix: 'Token ' }], {}, [{ name: 'x-a', prefix: '' }]),
  ],
  'jwtRules[].fromParams': [jwt(({ fromParams }) => fromParams), { fromParams: ['a'] }, ['a'], {}, []],
  'jwtRules[].fromCookies': [jwt(({ fromCookies }) => fromCookies), { fromCookies: ['a'] }, ['a'], {}, []],
  'jwtRules[].outputPayloadToHeader': [
    jwt(({ outputPayloadToHeader }) => outputPayloadToHeader),
    ...these({ outputPayloadToHeader: 'X-Payload' }, 'x-payload', {}, null),
  ],
  'jwtRules[].outputClaimToHeaders[].header': [
    claim,
    ...these({ header: 'X-B' }, [{ header: 'x-b', claim: 'a' }], {}, [{ header: 'x-a', claim: 'a' }]),
  ],
  'jwtRules[].outputClaimToHeaders[].claim': [
    claim,
    ...these({ claim: 'b' }, [{ header: 'x-a', claim: 'b' }], {}, [{ header: 'x-a', claim: 'a' }]),
  ],
  'jwtRules[].forwardOriginalToken': [
    jwt(({ forwardOriginalToken }) => forwardOriginalToken),
    ...these({ forwardOriginalToken: true }, true, {}, false),
  ],
  'jwtRules[].timeout': [jwt(({ timeoutMs }) => timeoutMs), { timeout: '7s' }, 7000, {}, 5000],
  'jwtRules[].spaceDelimitedClaims': [
    jwt(({ spaceDelimitedClaims }) => spaceDelimitedClaims),
    ...these({ spaceDelimitedClaims: ['a'] }, ['a'], {}, []),
  ],
  'jwtRules[].presence': [jwt(({ required }) => required), { presence: 'REQUIRED' }, true, {}, false],
}
