import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createStore } from '../store.ts'
import { ApiError } from '../status.ts'
import { POLICIES, POLICY_BINDINGS } from './policies.ts'
import type { Store, WriteOptions } from '../store.ts'

const RULE = { apiGroups: [''], apiVersions: ['v1'], operations: ['*'], resources: ['configmaps'] }

/** A cluster with one policy and its binding. */
function cluster(policy: object, binding: object = {}, rule: object = {}): Store {
  const store = createStore()
  const matchConstraints = { resourceRules: [{ ...RULE, ...rule }] }
  store.create(POLICIES, { metadata: { name: 'p' }, spec: { matchConstraints, ...policy } })
  const spec = { policyName: 'p', validationActions: ['Deny'], ...binding }
  store.create(POLICY_BINDINGS, { metadata: { name: 'b' }, spec })
  return store
}

function refusal(deed: () => unknown): ApiError | undefined {
  try {
    deed()
  } catch (error) {
    if (error instanceof ApiError) return error
    throw error
  }
  return undefined
}

const map = (store: Store, data: Record<string, string>, options: WriteOptions = {}, name = 'm'): unknown =>
  store.create('configmaps', { metadata: { namespace: 'default', name }, data }, options)
const is = (expression: string, more: object = {}): object => ({ validations: [{ expression, ...more }] })

describe('an admission policy', () => {
  test('refuses what its expression says no to, by message and reason', () => {
    const store = cluster(is("object.data.colour == 'red'"))
    map(store, { colour: 'red' })
    const error = refusal(() => map(store, { colour: 'blue' }, {}, 'other'))
    const text =
      "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: object.data.colour == 'red'"
    assert.deepEqual([error?.code, error?.reason], [422, 'Invalid'])
    assert.equal(error?.message, `configmaps "other" is forbidden: ${text}`)
    assert.deepEqual(error?.status.details?.causes, [{ message: text }])
    assert.equal(store.get('configmaps', 'default', 'other'), undefined)
    const told = cluster(
      is('false', { message: 'no', messageExpression: "'no ' + object.metadata.name", reason: 'Forbidden' }),
    )
    const second = refusal(() => map(told, {}))
    assert.equal(second?.code, 403)
    assert.match(second?.message ?? '', /denied request: no m$/)
  })

  test('sees updates with both objects, deletions with the old one, and dry runs', () => {
    const store = cluster(is("request.operation != 'UPDATE' || object.data.a >= oldObject.data.a"))
    map(store, { a: '2' })
    const change = (a: string) => store.modify('configmaps', 'default', 'm', (each) => void (each['data'].a = a))
    assert.ok(refusal(() => change('1')))
    change('3')
    const keeper = cluster(is("request.operation != 'DELETE' || oldObject.metadata.name != 'm'"))
    map(keeper, {})
    assert.ok(refusal(() => keeper.delete('configmaps', 'default', 'm')))
    keeper.delete('namespaces', null, 'default')
    assert.equal(keeper.get('configmaps', 'default', 'm'), undefined, 'what is in a namespace goes with it')
    assert.ok(refusal(() => map(cluster(is('request.dryRun == false')), {}, { dryRun: true })))
  })

  test('knows who asks, from which node', () => {
    const key = 'authentication.kubernetes.io/node-name'
    const store = cluster({
      variables: [
        { name: 'node', expression: `'${key}' in request.userInfo.extra ? request.userInfo.extra['${key}'][0] : ''` },
      ],
      matchConditions: [{ name: 'agents', expression: "request.userInfo.username == 'agent'" }],
      validations: [{ expression: 'variables.node == object.data.node' }],
    })
    const by = (username: string, node: string): WriteOptions => ({
      writer: { user: { username, groups: [], extra: { [key]: [node] } }, manager: 'x' },
    })
    map(store, { node: 'n1' }, by('agent', 'n1'), 'one')
    assert.ok(refusal(() => map(store, { node: 'n2' }, by('agent', 'n1'), 'two')))
    map(store, { node: 'n2' }, by('somebody', 'n1'), 'three')
    map(store, { node: 'n2' }, {}, 'four')
  })

  test('has variables that speak of those before them', () => {
    const store = cluster({
      variables: [
        { name: 'a', expression: "has(object.data.a) ? object.data.a : 'none'" },
        { name: 'failing', expression: 'object.data.nothing' },
        { name: 'b', expression: "variables.a + '!'" },
      ],
      validations: [{ expression: "variables.b == '1!'", messageExpression: "'it is ' + variables.b" }],
    })
    map(store, { a: '1' })
    assert.match(refusal(() => map(store, { a: '2' }, {}, 'two'))?.message ?? '', /it is 2!/)
  })

  test('of an expression that fails makes a refusal, unless it is to be ignored', () => {
    const failing = is('object.data.none == 1')
    assert.match(refusal(() => map(cluster(failing), {}))?.message ?? '', /resulted in error: /)
    map(cluster({ ...failing, failurePolicy: 'Ignore' }), {})
  })

  test('is about the objects, names and namespaces that it and its binding choose', () => {
    const no = is('false')
    const labelled = {
      matchResources: { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } },
    }
    map(cluster(no, labelled), {})
    map(cluster(no, { matchResources: { objectSelector: { matchLabels: { a: 'b' } } } }), {})
    map(cluster(no, {}, { resourceNames: ['other'] }), {})
    map(cluster(no, {}, { operations: ['DELETE'] }), {})
    map(cluster(no, {}, { resources: ['*/status', 'configmaps/status'] }), {})
    map(cluster(no, { policyName: 'none' }), {})
    assert.ok(refusal(() => map(cluster(no, {}, { resources: ['*'] }), {})))
    assert.ok(refusal(() => map(cluster(no, { matchResources: { resourceRules: [RULE] } }), {})))
  })

  test('warns where its binding says so', () => {
    const warnings: string[] = []
    const writer = {
      user: { username: 'u', groups: [] },
      manager: 'x',
      warn: (text: string) => void warnings.push(text),
    }
    map(cluster(is('false', { message: 'hm' }), { validationActions: ['Warn', 'Audit'] }), {}, { writer })
    assert.deepEqual(warnings, ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': hm"])
  })

  test('that cannot be kept is refused when it is made', () => {
    const why = (policy: object): string => refusal(() => cluster(policy))?.message ?? ''
    assert.match(why(is('object.')), /spec.validations\[0\].expression: Invalid value.*compilation failed/)
    assert.match(why(is('objekt.a')), /undeclared reference to 'objekt'/)
    assert.match(why(is('nothing(object)')), /undeclared reference to 'nothing'/)
    assert.match(why(is('variables.x')), /undefined field 'x'/)
    assert.match(why(is("authorizer.group('').check('get').allowed()")), /the authorizer is not served/)
    assert.match(
      why({ ...is('true'), paramKind: { apiVersion: 'v1', kind: 'ConfigMap' } }),
      /parameters are not served/,
    )
    assert.match(why({}), /spec.validations: Required value/)
  })
})
