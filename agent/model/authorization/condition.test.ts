import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, type CallWish, STRANGER, where } from './authorization.fixture.ts'
import { compileCondition } from './condition.ts'
import { Look } from './look.ts'
import type { Attribute, Condition } from './policy.ts'

type Kind = Parameters<typeof where>[0]

const HEADER: Attribute = { kind: 'request.header', name: 'x-user' }
const claim = (...path: string[]): Attribute => ({ kind: 'request.claim', path })

function holds(condition: Condition, wish: CallWish, isWide: boolean): boolean {
  const look = new Look()
  look.at(call(wish))
  return compileCondition(condition, isWide).test(look)
}

const token = (claims: Record<string, unknown>): CallWish => ({
  tokens: [{ iss: 'https://idp.example', sub: 'ann', ...claims }],
})

/** Attribute, a value, a call that has it and one that has not; the same for what gives and what takes away. */
const BOTH: readonly (readonly [kind: Kind, value: string, has: CallWish, hasNot: CallWish])[] = [
  ['source.principal', 'cluster.local/ns/shop/sa/web', {}, { source: STRANGER }],
  ['source.principal', 'old.example/ns/shop/sa/web', {}, { source: { principals: ['cluster.local/ns/shop/sa/web'] } }],
  ['source.principal', 'cluster.local/ns/shop/*', {}, { source: { principals: ['cluster.local/ns/shop2/sa/web'] } }],
  ['source.principal', '*/sa/web', {}, { source: { principals: ['cluster.local/ns/shop/sa/web2'] } }],
  ['source.principal', '*', {}, { source: STRANGER }],
  ['source.namespace', 'shop', {}, { source: { namespace: 'shop2' } }],
  ['source.namespace', 'sh*', {}, { source: { namespace: 'ash' } }],
  ['source.namespace', '*op', {}, { source: { namespace: 'opa' } }],
  ['source.namespace', 's*p', {}, { source: { namespace: 'shops' } }],
  ['source.namespace', '*', {}, { source: STRANGER }],
  ['source.serviceAccount', 'shop/web', {}, { source: { serviceAccount: 'shop/web2' } }],
  ['source.trustDomain', 'old.example', {}, { source: { trustDomains: ['cluster.local'] } }],
  ['source.ip', '10.244.0.1', {}, { source: { ip: '10.244.0.10' } }],
  ['source.ip', '10.244.0.0/16', {}, { source: { ip: '10.245.0.1' } }],
  ['source.ip', '10.244.0.0/16', { source: { ip: '::ffff:10.244.0.1' } }, { source: { ip: '::10.244.0.1' } }],
  ['source.ip', 'fd00::/8', { source: { ip: 'fd00::1' } }, { source: { ip: 'fe80::1' } }],
  ['source.ip', '::/0', { source: { ip: 'fd00::1' } }, {}],
  ['remote.ip', '203.0.113.0/24', { remoteIp: '203.0.113.9' }, {}],
  ['destination.ip', '10.244.0.2', {}, { destination: { ip: '10.244.0.3' } }],
  ['destination.port', '8080', {}, { destination: { port: 80 } }],
  ['connection.sni', '*.example', { serverName: 'a.example' }, {}],
  ['connection.sni', 'A.Example', { serverName: 'a.example' }, { serverName: 'b.example' }],
  ['request.method', 'GET', {}, { method: 'GETS' }],
  ['request.method', 'P*', { method: 'PUT' }, {}],
  ['request.method', '*ST', { method: 'POST' }, {}],
  ['request.host', 'reviews', {}, { authority: 'reviews2' }],
  ['request.host', 'Example.com', { authority: 'eXample.Com' }, { authority: 'example.com.evil' }],
  ['request.host', 'example.com', { authority: 'example.com:80' }, { authority: 'evil-example.com' }],
  ['request.host', 'example.com:80', { authority: 'example.com' }, { authority: 'example.com:8081' }],
  ['request.host', 'example.com:*', { authority: 'example.com:8080' }, { authority: 'example.comx:8080' }],
  ['request.host', 'example.com:*', { authority: 'example.com' }, { authority: 'b.example.com:80' }],
  ['request.host', '*.example.com', { authority: 'a.example.com' }, { authority: 'example.com' }],
  ['request.path', '/a', { target: '/a?b' }, { target: '/ab' }],
  ['request.path', '/a/*', { target: '/a/b' }, { target: '/a' }],
  ['request.path', '*/b', { target: '/a/b' }, { target: '/b/a' }],
  ['request.path', '/a/{*}/b', { target: '/a/x/b' }, { target: '/a/x/y/b' }],
  ['request.path', '/a/{**}', { target: '/a/x/y' }, { target: '/a' }],
  [HEADER, 'ann', { headers: { 'X-User': 'ann' } }, { headers: { 'x-user': 'Ann' } }],
  [HEADER, 'a*', { headers: { 'x-user': 'ann' } }, {}],
  [HEADER, '*n', { headers: { 'x-user': 'ann' } }, { headers: { 'x-user': 'anna' } }],
  [HEADER, '*', { headers: { 'x-user': 'ann' } }, {}],
  [HEADER, 'a,b', { headers: { 'x-user': 'a,b' } }, { headers: { 'x-user': 'a' } }],
  [{ kind: 'request.header', name: ':authority' }, 'reviews', {}, { authority: 'x' }],
  ['request.principal', 'https://idp.example/ann', token({}), token({ sub: 'anna' })],
  ['request.principal', 'https://idp.example/*', token({}), token({ iss: 'https://idp.example.evil' })],
  ['request.principal', 'https://idp.example/a*', token({}), token({ sub: 'bob' })],
  ['request.principal', '*/ann', token({}), token({ sub: 'joann' })],
  ['request.principal', '*.example/ann', token({}), token({ iss: 'https://idp.other' })],
  ['request.principal', '*', token({}), {}],
  ['request.audiences', 'a', token({ aud: 'a' }), token({})],
  ['request.audiences', 'a', token({ aud: ['b', 'a'] }), token({ aud: ['ab'] })],
  ['request.presenter', 'p', token({ azp: 'p' }), token({ aud: 'p' })],
  [claim('group'), 'admin', token({ group: 'admin' }), token({ group: 'admins' })],
  [claim('group'), 'adm*', token({ group: ['x', 'admin'] }), token({ group: [] })],
  [claim('realm', 'roles'), 'r', token({ realm: { roles: ['r'] } }), token({ 'realm.roles': ['r'] })],
  [claim('scope'), 'read', token({ scope: 'write read' }), token({ scope: 'readwrite' })],
  [claim('permission'), 'read', token({ permission: 'read' }), token({ permissions: 'read' })],
  [claim('roles'), 'b', { ...token({ roles: 'a b' }), spaced: ['roles'] }, token({ roles: 'a b' })],
  [claim('toString'), '*', token({ toString: 'x' }), token({})],
]

test('each attribute has its values, and is without them where it has others or is missing', () => {
  for (const isWide of [true, false]) {
    for (const [kind, value, has, hasNot] of BOTH) {
      const name = `${JSON.stringify(kind)} ${value} ${isWide ? 'wide' : 'narrow'}`
      assert.equal(holds(where(kind, [value]), has, isWide), true, name)
      assert.equal(holds(where(kind, [value]), hasNot, isWide), false, `${name}, of what has it not`)
      assert.equal(holds(where(kind, [other(kind), value]), has, isWide), true, `${name}, one of two`)
      assert.equal(holds(where(kind, [], [value]), has, !isWide), false, `${name}, excluded`)
      assert.equal(holds(where(kind, [], [value]), hasNot, !isWide), true, `${name}, excluded of what has it not`)
    }
  }
})

/** A value of the attribute's form that no call here has. */
function other(kind: Kind): string {
  if (typeof kind !== 'string') return 'other'
  if (kind.endsWith('.ip')) return '198.51.100.7'
  return kind === 'destination.port' ? '1' : 'other/other'
}

/** What only those rules find that take something away. */
const WIDE: readonly (readonly [kind: Kind, value: string, has: CallWish])[] = [
  ['request.method', 'DELETE', { method: 'delete' }],
  ['request.host', 'example.com', { authority: 'EXAMPLE.com.' }],
  ['request.host', 'example.com', { authority: 'example.com.:8080' }],
  ['request.host', 'example.com:8080', { authority: 'example.com:08080' }],
  ['request.host', '*.example.com', { authority: 'a%2Eex%41mple.com' }],
  ['request.host', '[fd00::1]', { authority: '[FD00::1]:80', scheme: 'https' }],
  ['request.path', '/admin', { target: '/ADMIN' }],
  ['request.path', '/admin', { target: '/x/..;v=1/admin' }],
  ['request.path', '/a/{**}/', { target: '/a/b/c.txt' }],
  [HEADER, 'ann', { headers: { 'x-user': 'bob, ann' } }],
  [HEADER, '*', { headers: { 'x-user': '' } }],
  ['request.principal', 'https://idp.example/a/b', token({ sub: 'a/b' })],
  ['request.principal', 'https://idp.example/*', token({ sub: undefined })],
  [claim('admin'), 'true', token({ admin: true })],
  [claim('level'), '3', token({ level: [3] })],
  [claim('scope'), 'a b', token({ scope: 'a b' })],
]

test('another spelling is found by what takes away, and is not enough for what gives', () => {
  for (const [kind, value, has] of WIDE) {
    const name = `${JSON.stringify(kind)} ${value}`
    assert.equal(holds(where(kind, [value]), has, true), true, name)
    assert.equal(holds(where(kind, [value]), has, false), false, `${name}, given`)
    assert.equal(holds(where(kind, [], [value]), has, true), true, `${name}, excluded from what takes away`)
    assert.equal(holds(where(kind, [], [value]), has, false), false, `${name}, excluded from what is given`)
  }
})

test('what cannot be meant is named with its field', () => {
  for (const [kind, value, why] of [
    ['source.ip', '10.0.0.0/33', /^when\[0\]: 10\.0\.0\.0\/33 is no CIDR$/],
    ['remote.ip', 'host', /is no CIDR/],
    ['destination.port', '65536', /^when\[0\]: 65536 is no port$/],
    ['destination.port', '80*', /is no port/],
    ['request.path', '/a/{*}.txt', /^when\[0\]: \/a\/\{\*\}\.txt cannot be meant/],
  ] as const) {
    const message = why
    assert.throws(() => compileCondition(where(kind, [value]), true), { message }, value)
    assert.throws(() => compileCondition(where(kind, [], [value]), false), { message }, value)
  }
})
