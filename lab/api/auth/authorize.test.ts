// What roles allow and what they do not.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { forbiddenAccess, mayDo } from './authorize.ts'
import { ADMINISTRATOR } from './user.ts'
import type { KubeObject } from '../object.ts'
import type { Access, ResourceAccess, RoleBook } from './authorize.ts'
import type { User } from './user.ts'

const CART: User = {
  username: 'system:serviceaccount:shop:cart',
  groups: ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'],
}
const LIST: ResourceAccess = { verb: 'list', group: '', resource: 'pods', namespace: 'shop' }

type Part = Record<string, unknown>

function object(kind: string, namespace: string | undefined, content: Part): KubeObject {
  const place = namespace === undefined ? {} : { namespace }
  const metadata = { name: 'r', uid: '', resourceVersion: '', creationTimestamp: '', ...place }
  return { apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata, ...content }
}

/** One role called `r` of each kind, bound where it says. */
function book(rule: Part, subject: Part, where: { cluster?: boolean; namespace?: string; kind?: string }): RoleBook {
  const roleRef = { kind: where.kind ?? 'ClusterRole', name: 'r' }
  const binding = object('Binding', where.namespace, { subjects: [subject], roleRef })
  return {
    clusterBindings: () => (where.cluster ? [binding] : []),
    bindings: (namespace) => (namespace === where.namespace ? [binding] : []),
    role: (name, namespace) => (name === 'r' ? object('Role', namespace, { rules: [rule] }) : undefined),
  }
}

const ACCOUNT = { kind: 'ServiceAccount', namespace: 'shop', name: 'cart' }

function byRule(rule: Part, access: Access): boolean {
  return mayDo(CART, access, book(rule, ACCOUNT, { cluster: true }))
}

describe('a rule', () => {
  const PODS = { verbs: ['list'], apiGroups: [''], resources: ['pods'] }

  test('allows what its verbs, groups, resources and names all cover', () => {
    const rows: [rule: Part, access: Partial<ResourceAccess>, isAllowed: boolean][] = [
      [PODS, {}, true],
      [PODS, { verb: 'watch' }, false],
      [PODS, { group: 'apps' }, false],
      [PODS, { resource: 'secrets' }, false],
      [PODS, { subresource: 'log' }, false],
      [{ ...PODS, verbs: ['*'] }, { verb: 'deletecollection' }, true],
      [{ ...PODS, apiGroups: ['*'] }, { group: 'apps' }, true],
      [{ ...PODS, resources: ['*'] }, { resource: 'secrets', subresource: 'x' }, true],
      [{ ...PODS, resources: ['pods/log'] }, { subresource: 'log' }, true],
      [{ ...PODS, resources: ['pods/log'] }, {}, false],
      [{ ...PODS, resources: ['*/log'] }, { subresource: 'log' }, true],
      [{ ...PODS, resources: ['*/log'] }, {}, false],
      [{ ...PODS, resources: ['pods/*'] }, { subresource: 'log' }, false],
      [{ ...PODS, resourceNames: ['a', 'b'] }, { name: 'b' }, true],
      [{ ...PODS, resourceNames: ['a', 'b'] }, { name: 'c' }, false],
      [{ ...PODS, resourceNames: ['a', 'b'] }, {}, false],
      [{ ...PODS, resourceNames: ['*'] }, { name: 'c' }, false],
      [{ verbs: ['*'], nonResourceURLs: ['*'] }, {}, false],
      [{}, {}, false],
    ]
    for (const [rule, access, isAllowed] of rows) {
      assert.equal(byRule(rule, { ...LIST, ...access }), isAllowed, JSON.stringify({ rule, access }))
    }
  })

  test('allows the paths it names, and those below a star', () => {
    const rows: [pattern: string, path: string, isAllowed: boolean][] = [
      ['/version', '/version', true],
      ['/version', '/version/', false],
      ['/api/*', '/api/v1', true],
      ['/api/*', '/api', false],
      ['*', '/anything', true],
    ]
    for (const [pattern, path, isAllowed] of rows) {
      const rule = { verbs: ['get'], nonResourceURLs: [pattern] }
      assert.equal(byRule(rule, { verb: 'get', path }), isAllowed, `${pattern} ${path}`)
      assert.equal(byRule(rule, { verb: 'post', path }), false)
    }
    assert.equal(byRule({ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }, { verb: 'get', path: '/api' }), false)
  })
})

describe('a binding', () => {
  const ALL = { verbs: ['*'], apiGroups: ['*'], resources: ['*'], nonResourceURLs: ['*'] }

  test('gives its role to users, groups and service accounts', () => {
    const rows: [subject: Part, isBound: boolean][] = [
      [ACCOUNT, true],
      [{ ...ACCOUNT, namespace: 'other' }, false],
      [{ ...ACCOUNT, name: 'other' }, false],
      [{ kind: 'User', name: CART.username }, true],
      [{ kind: 'User', name: 'cart' }, false],
      [{ kind: 'Group', name: 'system:serviceaccounts:shop' }, true],
      [{ kind: 'Group', name: 'system:masters' }, false],
      [{ kind: 'Robot', name: CART.username }, false],
      [{ kind: 'ServiceAccount', name: 'cart' }, false],
    ]
    for (const [subject, isBound] of rows) {
      assert.equal(mayDo(CART, LIST, book(ALL, subject, { cluster: true })), isBound, JSON.stringify(subject))
    }
  })

  test('in a namespace reaches no further, whatever the role says', () => {
    for (const kind of ['Role', 'ClusterRole']) {
      const roles = book(ALL, { kind: 'ServiceAccount', name: 'cart' }, { namespace: 'shop', kind })
      assert.equal(mayDo(CART, LIST, roles), true)
      assert.equal(mayDo(CART, { ...LIST, namespace: 'other' }, roles), false)
      assert.equal(mayDo(CART, { ...LIST, namespace: undefined }, roles), false)
      assert.equal(mayDo(CART, { verb: 'get', path: '/version' }, roles), false)
    }
  })

  test('of the whole cluster takes no role of a namespace', () => {
    assert.equal(mayDo(CART, LIST, book(ALL, ACCOUNT, { cluster: true, kind: 'Role' })), false)
  })
})

test('without roles the masters may do everything and nobody else anything', () => {
  const none: RoleBook = { clusterBindings: () => [], bindings: () => [], role: () => undefined }
  const word = fc.string({ maxLength: 5 })
  const resource = fc.record({ verb: word, group: word, resource: word, namespace: word, name: word })
  fc.assert(
    fc.property(fc.oneof(resource, fc.record({ verb: word, path: word })), (access) => {
      assert.equal(mayDo(ADMINISTRATOR, access, none), true)
      assert.equal(mayDo(CART, access, none), false)
    }),
  )
})

test('rules only ever add: with more of them nothing is lost', () => {
  const names = fc.subarray(['*', 'a', 'b', 'a/x', '*/x'])
  const rule = fc.record({ verbs: names, apiGroups: names, resources: names, resourceNames: names })
  const word = fc.constantFrom('a', 'b', 'c')
  const access = fc.record({
    verb: word,
    group: word,
    resource: word,
    subresource: fc.constantFrom('', 'x'),
    name: word,
  })
  fc.assert(
    fc.property(rule, rule, access, (one, other, wanted) => {
      const single = book(one, ACCOUNT, { cluster: true })
      const both = { ...single, role: () => object('ClusterRole', undefined, { rules: [other, one] }) }
      if (mayDo(CART, wanted, single)) assert.equal(mayDo(CART, wanted, both), true)
    }),
  )
})

test('a refusal says who cannot do what where', () => {
  const rows: [access: Access, message: string][] = [
    [
      LIST,
      'pods is forbidden: User "system:serviceaccount:shop:cart" cannot list resource "pods" in API group "" in the namespace "shop"',
    ],
    [
      { verb: 'patch', group: 'apps', resource: 'deployments', subresource: 'scale', namespace: 'shop', name: 'web' },
      'deployments.apps "web" is forbidden: User "system:serviceaccount:shop:cart" cannot patch resource "deployments/scale" in API group "apps" in the namespace "shop"',
    ],
    [
      { verb: 'watch', group: '', resource: 'nodes' },
      'nodes is forbidden: User "system:serviceaccount:shop:cart" cannot watch resource "nodes" in API group "" at the cluster scope',
    ],
    [{ verb: 'get', path: '/metrics' }, 'forbidden: User "system:serviceaccount:shop:cart" cannot get path "/metrics"'],
  ]
  for (const [access, message] of rows) assert.equal(forbiddenAccess(CART, access).message, message)
})
