// Who may call what, seen from both ends: the same on one node, where one walk stands for both, and between two nodes.

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { Attribute, Condition, Rule } from '../../agent/model/authorization/policy.ts'
import { match, rule, to, type World } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, ending, readUntil } from './mesh.ts'
import { DB, get, PLACES, shop } from './shop.ts'

const WEB = 'cluster.local/ns/default/sa/web'

/** What one attribute must be. */
function condition(attribute: Attribute, values: readonly string[], notValues: readonly string[] = []): Condition {
  return { field: 'test', attribute, values, notValues }
}
const from = (...conditions: Condition[]): Rule => ({ from: [conditions], to: [], when: [] })
const at = (...conditions: Condition[]): Rule => ({ from: [], to: [conditions], when: [] })
const path = (...values: string[]): Condition => condition({ kind: 'request.path' }, values)
const principal = (...values: string[]): Condition => condition({ kind: 'source.principal' }, values)

for (const place of PLACES) {
  test(`${place}: a caller is let in by its identity, and a denial names the policy`, async (t) => {
    const { dial, seen, callee } = await shop(t, place, (of) =>
      of
        .authorizationPolicy({ name: 'web-only', rules: [from(principal(WEB))] })
        .authorizationPolicy({ name: 'no-admin', action: 'DENY', rules: [at(path('/other')), at(path('/admin*'))] }),
    )
    const socket = await dial()
    assert.equal((await ask(socket, get('/'))).body, 'by shop-v1-1')
    const denied = await ask(socket, get('/admin/x'))
    assert.deepEqual([denied.status, denied.body], [403, 'RBAC: access denied'])
    assert.equal((await ask(socket, get('/'))).status, 200, 'the connection goes on')
    assert.deepEqual(
      seen.map(({ url }) => url),
      ['/', '/'],
    )
    await callee.until(() => callee.records.some(({ response_code: code }) => code === 403), 'its record')
    const record = callee.records.find(({ response_code: code }) => code === 403)
    assert.equal(
      record?.response_code_details,
      'rbac_access_denied_matched_policy[ns[default]-policy[no-admin]-rule[1]]',
    )
    assert.equal(callee.count('weft_authz_denied_total'), 1)
  })

  test(`${place}: nobody is let in who is not named`, async (t) => {
    const { dial, seen, callee } = await shop(t, place, (of) =>
      of.authorizationPolicy({ rules: [from(principal('cluster.local/ns/default/sa/other'))] }),
    )
    assert.equal((await ask(await dial(), get('/'))).status, 403)
    assert.deepEqual(seen, [])
    await callee.until(() => callee.records.length > 0, 'its record')
    assert.equal(callee.records.at(-1)?.response_code_details, 'rbac_access_denied_matched_policy[none]')
  })

  test(`${place}: a request is judged as it arrives, after what rules made of it`, async (t) => {
    const { dial, seen } = await shop(t, place, (of) =>
      of
        .authorizationPolicy({ action: 'DENY', rules: [at(path('/inside'))] })
        .authorizationPolicy({
          action: 'DENY',
          rules: [{ from: [], to: [], when: [condition({ kind: 'request.header', name: 'x-mark' }, ['bad'])] }],
        })
        .virtualService({
          hosts: ['shop'],
          http: [
            rule({
              matches: [match({ uri: { kind: 'prefix', value: '/open' } })],
              rewrite: { uri: '/inside', authority: null, regex: null },
              destinations: [to('shop')],
            }),
            rule({
              matches: [match({ uri: { kind: 'prefix', value: '/inside' } })],
              rewrite: { uri: '/elsewhere', authority: null, regex: null },
              destinations: [to('shop')],
            }),
            rule({
              matches: [match({ uri: { kind: 'prefix', value: '/marked' } })],
              headers: { request: { remove: [], set: [['x-mark', 'bad']], add: [] }, response: null },
              destinations: [to('shop')],
            }),
            rule({
              headers: { request: { remove: ['x-mark'], set: [], add: [] }, response: null },
              destinations: [to('shop')],
            }),
          ],
        }),
    )
    const socket = await dial()
    assert.equal((await ask(socket, get('/open'))).status, 403)
    assert.equal((await ask(socket, get('/inside'))).status, 200)
    assert.equal((await ask(socket, get('/marked'))).status, 403)
    assert.equal((await ask(socket, get('/plain', 'x-mark: bad'))).status, 200)
    assert.deepEqual(
      seen.map(({ url }) => url),
      ['/elsewhere', '/plain'],
    )
  })

  test(`${place}: no spelling of a path or host gets round a policy`, async (t) => {
    const { dial, seen } = await shop(t, place, (of) =>
      of
        .authorizationPolicy({ action: 'DENY', rules: [at(path('/admin', '/admin/*'))] })
        .authorizationPolicy({ action: 'DENY', rules: [at(condition({ kind: 'request.host' }, ['secret.example']))] }),
    )
    const tricks = [
      ...[
        '/admin',
        '/admin?x=1',
        '//admin',
        '/./admin',
        '/x/../admin',
        '/%61dmin',
        '/adm%69n',
        '/%2e/admin',
        '/x/%2e%2E/admin',
      ],
      ...[
        '/%2Fadmin',
        '/x%2f..%2fadmin',
        '/admin%2Fx',
        '/%5cadmin',
        '/ADMIN',
        '/Admin/x',
        '/%2561dmin',
        '/admin/',
        '///admin//x',
      ],
      ...['/public/..%2Fadmin', '/x/..\\admin', '/x/%2e%2e%5Cadmin', 'http://shop/admin', 'http://shop//admin'],
    ]
    for (const trick of tricks) assert.equal((await ask(await dial(), get(trick))).status, 403, trick)
    for (const host of [
      'secret.example',
      'SECRET.example',
      'secret.example.',
      'secret.example:80',
      'Secret.Example.:80',
    ]) {
      const answer = await ask(await dial(), `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
      assert.equal(answer.status, 403, host)
    }
    assert.deepEqual(seen, [])
    for (const fine of ['/administration', '/x/admin', '/%20admin']) {
      assert.equal((await ask(await dial(), get(fine))).status, 200, fine)
    }
  })

  test(`${place}: what frames or steers a request is seen as it is sent, and letters beyond ASCII are themselves`, async (t) => {
    const has = (name: string, ...values: string[]): Rule => {
      return { from: [], to: [], when: [condition({ kind: 'request.header', name }, values)] }
    }
    const { dial, seen } = await shop(t, place, (of) =>
      of
        .authorizationPolicy({ action: 'DENY', rules: [has('upgrade', 'echo'), has('te', '*'), has('x-name', 'Zoë')] })
        .authorizationPolicy({
          action: 'DENY',
          rules: [has('transfer-encoding', 'chunked'), has('x-name', '*雪', 'a')],
        })
        .virtualService({
          hosts: ['shop'],
          http: [
            rule({
              matches: [match({ uri: { kind: 'exact', value: '/named' } })],
              headers: { request: { remove: [], set: [['x-name', 'Zoë']], add: [] }, response: null },
              destinations: [to('shop')],
            }),
            rule({ destinations: [to('shop')] }),
          ],
        }),
    )
    for (const denied of [
      get('/', 'Connection: Upgrade', 'Upgrade: echo'),
      get('/', 'TE: trailers'),
      get('/', 'x-name: Zoë'),
      get('/', 'x-name: 1雪'),
      get('/named'),
      'POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ]) {
      assert.equal((await ask(await dial(), denied)).status, 403, denied)
    }
    assert.deepEqual(seen, [])
    for (const fine of [get('/', 'Upgrade: echo'), get('/', 'x-name: Zoe')]) {
      assert.equal((await ask(await dial(), fine)).status, 200, fine)
    }
  })

  test(`${place}: each try is judged for the endpoint that it goes to`, async (t) => {
    const { dial, seen, callee } = await shop(t, place, (of) =>
      of
        .pods('shop-v2', {
          ...{ serviceAccount: 'shop', node: 'node-2', captured: 'weft-agent-b', behind: ['shop'] },
          labels: { app: 'shop', version: 'v2' },
        })
        .authorizationPolicy({ action: 'DENY', selector: { version: 'v2' }, rules: [{ from: [], to: [], when: [] }] }),
    )
    const statuses = new Set<number>()
    for (let i = 0; i < 20; i++) {
      const { status, body } = await ask(await dial(), get('/'))
      statuses.add(status)
      assert.ok(status === 403 || body === 'by shop-v1-1')
    }
    assert.deepEqual([...statuses].sort(), [200, 403])
    assert.equal(seen.length + callee.count('weft_authz_denied_total'), 20)
  })

  test(`${place}: a copy is judged for itself, and its request never hears`, async (t) => {
    const { dial, seen, callee } = await shop(t, place, (of) =>
      of
        .service('copy')
        .pods('copy-v1', { serviceAccount: 'copy', node: 'node-2', captured: 'weft-agent-b' })
        .authorizationPolicy({ action: 'DENY', selector: { app: 'copy' }, rules: [at(path('/secret'))] })
        .virtualService({
          hosts: ['shop'],
          http: [
            rule({
              mirrors: [
                { destination: { host: 'copy.default.svc.cluster.local', subset: null, port: null }, percent: 100 },
              ],
              destinations: [to('shop')],
            }),
          ],
        }),
    )
    const socket = await dial()
    assert.equal((await ask(socket, get('/secret'))).body, 'by shop-v1-1')
    await callee.until(() => callee.count('weft_authz_denied_total') === 1, 'the denial of the copy')
    assert.equal((await ask(socket, get('/fine'))).body, 'by shop-v1-1')
    await callee.until(() => seen.length === 3, 'the copy')
    assert.deepEqual(seen.map(({ url }) => url).sort(), ['/fine', '/fine', '/secret'])
  })

  test(`${place}: a flow that is no longer allowed is ended, and none begins`, async (t) => {
    let policed: World | null = null
    const { dial, apply, callee } = await shop(t, place, (of) => (policed = of))
    const open = await dial(DB)
    open.write('ping')
    assert.equal(await readUntil(open, (text) => text.length === 4), 'ping')
    policed!.authorizationPolicy({ action: 'DENY', rules: [at(condition({ kind: 'destination.port' }, ['3306']))] })
    const ended = drainSocket(open)
    apply()
    assert.equal((await ended).how, 'reset')
    assert.equal(await ending(dial(DB)), 'reset')
    await callee.until(() => callee.count('weft_authz_denied_total') === 2, 'both denials')
    assert.equal((await ask(await dial(), get('/'))).status, 200, 'another port is none of its business')
  })

  test(`${place}: what asks something of a request matches no bytes that nobody reads, and denies all of them`, async (t) => {
    const method = condition({ kind: 'request.method' }, ['GET'])
    let policed: World | null = null
    const { dial, apply } = await shop(t, place, (of) => (policed = of.authorizationPolicy({ rules: [at(method)] })))
    assert.equal(await ending(dial(DB)), 'reset')
    assert.equal((await ask(await dial(), get('/'))).status, 200)
    policed!.authorizationPolicy({ rules: [{ from: [], to: [], when: [] }] })
    apply()
    const open = await dial(DB)
    open.write('ping')
    assert.equal(await readUntil(open, (text) => text.length === 4), 'ping')
    policed!.authorizationPolicy({ action: 'DENY', rules: [at(condition({ kind: 'request.method' }, ['PUT']))] })
    apply()
    assert.equal(await ending(dial(DB)), 'reset')
    assert.equal((await ask(await dial(), get('/'))).status, 200)
  })

  test(`${place}: a policy counts from the next request on`, async (t) => {
    let policed: World | null = null
    const { dial, apply } = await shop(t, place, (of) => (policed = of))
    const socket = await dial()
    assert.equal((await ask(socket, get('/late'))).status, 200)
    policed!.authorizationPolicy({ action: 'DENY', rules: [at(path('/late'))] })
    apply()
    assert.equal((await ask(socket, get('/late'))).status, 403)
    assert.equal((await ask(socket, get('/'))).status, 200)
  })

  test(`${place}: a tunnel is judged again by what was asked for it`, async (t) => {
    let policed: World | null = null
    const { dial, apply, callee } = await shop(t, place, (of) => (policed = of))
    const tunnel = async (target: string): Promise<Socket> => {
      const socket = await dial()
      socket.write(get(target, 'Connection: upgrade', 'Upgrade: echo', 'x-room: seven'))
      await readUntil(socket, (text) => text.includes('\r\n\r\n'))
      socket.write('ping')
      assert.equal(await readUntil(socket, (text) => text.length === 4), 'ping')
      return socket
    }
    const [kept, lost] = [await tunnel('/kept'), await tunnel('/lost')]
    const room = condition({ kind: 'request.header', name: 'x-room' }, ['seven'])
    policed!.authorizationPolicy({
      rules: [{ from: [from(principal(WEB)).from[0]!], to: [[path('/kept')]], when: [room] }],
    })
    const ended = drainSocket(lost)
    apply()
    assert.equal((await ended).how, 'reset')
    kept.write('pong')
    assert.equal(await readUntil(kept, (text) => text.length === 4), 'pong')
    await callee.until(() => callee.count('weft_authz_denied_total') === 1, 'the denial')
  })
}
