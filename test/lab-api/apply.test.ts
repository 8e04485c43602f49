// Server-side apply as kubectl asks for it, and what several field managers make of one object.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startApi } from '../../lab/api/server.ts'
import { createStore } from '../../lab/api/store.ts'
import { Kubectl, ownKubectl } from './kubectl.ts'
import { BOAT, DEFINITION, SHOP } from './manifests.ts'
import { Caller } from './requests.ts'
import type { Body } from './requests.ts'
import type { Api } from '../../lab/api/server.ts'
import type { Store } from '../../lab/api/store.ts'

const found = await ownKubectl()
let store: Store
let api: Api

before(async () => {
  store = createStore()
  api = await startApi({ store })
})
after(() => api.close())

const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps'

/** Applies as `manager`, as YAML. */
async function apply(path: string, manager: string, body: unknown, query = ''): Promise<{ code: number; body: Body }> {
  const response = await fetch(`${api.url}${path}?fieldManager=${manager}${query}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/apply-patch+yaml' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { code: response.status, body: (await response.json()) as Body }
}

function configMap(name: string, data: Record<string, string>): object {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }
}

describe('kubectl apply --server-side', { skip: 'why' in found ? found.why : false }, () => {
  let kubectl: Kubectl
  before(() => void (kubectl = new Kubectl('path' in found ? found.path : '', api.url)))
  after(() => kubectl.close())

  test('applies twice, changes nothing the second time, and removes what is no longer named', async () => {
    await kubectl.ok('apply --server-side -f -', SHOP)
    const version = store.version
    assert.match(await kubectl.ok('apply --server-side -f -', SHOP), /deployment.apps\/shelf-v1 serverside-applied/)
    assert.equal(store.version, version, 'nothing was written')
    const without = SHOP.replace(/ +env: .*\n/, '').replace(/ +- name: log\n.*\n/, '')
    await kubectl.ok('apply --server-side -f -', without)
    const { containers } = store.get('deployments.apps', 'default', 'shelf-v1')!.spec.template.spec
    assert.deepEqual(
      containers.map((each: { name: string; env?: unknown }) => [each.name, each.env]),
      [['web', undefined]],
    )
  })

  test('works on custom kinds, which are held against their schema', async () => {
    await kubectl.ok('apply --server-side -f -', DEFINITION)
    await kubectl.ok('apply --server-side -f -', BOAT)
    await kubectl.ok('apply --server-side -f -', BOAT.replace('  hull: oak\n', ''))
    assert.deepEqual(store.get('boats.example.com', 'default', 'argo')?.spec, {
      crew: 50,
      ports: ['iolcus', 'colchis'],
    })
    assert.match(
      await kubectl.refused('apply --server-side -f -', BOAT.replace('50', 'many')),
      /must be of type integer/,
    )
    assert.match(await kubectl.refused('apply --server-side -f -', `${BOAT}  oars: 2\n`), /unknown field "spec.oars"/)
  })
})

test('two managers share an object, and neither removes what is the other’s', async () => {
  const path = `${CONFIG_MAPS}/shared`
  assert.equal((await apply(path, 'one', configMap('shared', { a: '1', both: 'x' }))).code, 201)
  assert.equal((await apply(path, 'two', configMap('shared', { b: '2', both: 'x' }))).code, 200)
  const { body } = await apply(path, 'one', configMap('shared', { a: '1' }))
  assert.deepEqual(body['data'], { a: '1', b: '2', both: 'x' })
  const managers = body.metadata.managedFields?.map((each) => [each.manager, each.operation, each.fieldsV1])
  assert.deepEqual(managers, [
    ['two', 'Apply', { 'f:data': { 'f:b': {}, 'f:both': {} } }],
    ['one', 'Apply', { 'f:data': { 'f:a': {} } }],
  ])
})

test('a field that another manager has otherwise is a conflict, unless it is taken by force', async () => {
  const path = `${CONFIG_MAPS}/contested`
  await apply(path, 'one', configMap('contested', { a: '1' }))
  const refused = await apply(path, 'two', configMap('contested', { a: '2' }))
  assert.equal(refused.code, 409)
  assert.equal(refused.body.message, 'Apply failed with 1 conflict: conflict with "one": .data.a')
  assert.deepEqual(refused.body['details'].causes, [
    { reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.data.a' },
  ])
  assert.equal((await apply(path, 'two', configMap('contested', { a: '2' }), '&force=true')).body['data'].a, '2')
  assert.equal((await apply(path, 'one', configMap('contested', { a: '1' }))).code, 409)
})

test('a plain update makes the writer the manager of what it changed', async () => {
  const path = `${CONFIG_MAPS}/updated`
  await apply(path, 'one', configMap('updated', { a: '1', b: '1' }))
  await new Caller(api.url, undefined, { 'user-agent': 'editor/1.0' }).patch(path, { data: { a: '9' } })
  const refused = await apply(path, 'one', configMap('updated', { a: '1', b: '1' }))
  assert.match(refused.body.message, /conflict with "editor" using v1: \.data\.a/)
  assert.equal((await apply(path, 'one', configMap('updated', { b: '1' }))).body['data'].a, '9')
})

test('what stood there before the first apply is kept, and a dry run leaves nothing', async () => {
  const path = `${CONFIG_MAPS}/old`
  store.create('configmaps', { metadata: { namespace: 'default', name: 'old' }, data: { a: '1' } })
  assert.match((await apply(path, 'one', configMap('old', { a: '2' }))).body.message, /before-first-apply/)
  assert.deepEqual((await apply(path, 'one', configMap('old', { b: '2' }), '&dryRun=All')).body['data'], {
    a: '1',
    b: '2',
  })
  assert.deepEqual(store.get('configmaps', 'default', 'old')?.['data'], { a: '1' })
})

test('a request that is no application is refused by what it lacks', async () => {
  const path = `${CONFIG_MAPS}/bad`
  assert.match((await apply(path, '', configMap('bad', {}))).body.message, /fieldManager: Required value/)
  assert.match((await apply(path, 'one', 'a: [')).body.message, /error decoding YAML/)
  const entry = { ...configMap('bad', {}), metadata: { name: 'bad', managedFields: [{}] } }
  assert.match((await apply(path, 'one', entry)).body.message, /managedFields must be nil/)
})

test('an apply of the status touches the status alone', async () => {
  const path = '/api/v1/nodes/n1'
  store.create('nodes', { metadata: { name: 'n1', labels: { a: 'b' } } })
  const status = { conditions: [{ type: 'Ready', status: 'True' }] }
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1', labels: { c: 'd' } }, status }
  const { code, body } = await apply(`${path}/status`, 'kubelet', node)
  assert.equal(code, 200)
  assert.deepEqual([body.metadata.labels, body.status], [{ a: 'b' }, status])
})
