// Tokens of requests, seen from both ends: the same on one node, where one walk stands for both, and between two nodes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keySetOf } from '../../agent/model/authentication/request-authentication.ts'
import type { Rule } from '../../agent/model/authorization/policy.ts'
import { ISSUER, jwtRule, setOf, signer } from '../../agent/proxy/tokens.fixture.ts'
import { ask } from './mesh.ts'
import { get, PLACES, shop } from './shop.ts'

const [KEY, FORGER] = await Promise.all([signer('ES256', 'key'), signer('ES256', 'key')])
const RULE = jwtRule({ outputClaimToHeaders: [{ header: 'x-customer', claim: 'sub' }] })
const TOKEN = await KEY.sign()
const ANN: Rule = {
  from: [[{ field: 'test', attribute: { kind: 'request.principal' }, values: [`${ISSUER}/ann`], notValues: [] }]],
  to: [],
  when: [],
}

for (const place of PLACES) {
  test(`${place}: a good token passes and stays behind, a bad one is refused, and without any it passes`, async (t) => {
    const { dial, seen, callee } = await shop(t, place, (of) => of.requestAuthentication({ rules: [RULE] }))
    callee.plane.node.tokens.set({ name: keySetOf(RULE), jwks: setOf(KEY) })
    const socket = await dial()
    const bearer = (token: string) => ask(socket, get('/', `Authorization: Bearer ${token}`, 'X-Customer: forged'))
    for (let i = 0; i < 2; i++) assert.equal((await bearer(TOKEN)).status, 200)
    const refused = await bearer(await FORGER.sign())
    assert.deepEqual([refused.status, refused.body], [401, 'Jwt verification fails'])
    assert.equal(refused.headers['www-authenticate'], 'Bearer realm="http://shop/", error="invalid_token"')
    assert.equal((await ask(socket, get('/', 'X-Customer: forged'))).status, 200)
    assert.equal((await ask(socket, get(`/a?x=1&access_token=${TOKEN}`))).status, 200)
    assert.deepEqual(
      seen.map(({ url, headers }) => [url, headers.authorization, headers['x-customer']]),
      [
        ['/', undefined, 'ann'],
        ['/', undefined, 'ann'],
        ['/', undefined, undefined],
        ['/a?x=1', undefined, 'ann'],
      ],
    )
    await callee.until(() => callee.records.some(({ response_code: code }) => code === 401), 'its record')
    const record = callee.records.find(({ response_code: code }) => code === 401)
    assert.equal(record?.response_code_details, 'jwt_authn_access_denied{Jwt_verification_fails}')
    assert.ok(callee.records.every((one) => !JSON.stringify(one).includes(TOKEN)))
  })

  test(`${place}: no record has a token, whatever parameter it stands in`, async (t) => {
    const rule = { ...RULE, fromParams: ['jwt'] }
    const { dial, seen, callee, caller } = await shop(t, place, (of) => of.requestAuthentication({ rules: [rule] }))
    callee.plane.node.tokens.set({ name: keySetOf(rule), jwks: setOf(KEY) })
    assert.equal((await ask(await dial(), get(`/a?jwt=${TOKEN}&x=1`))).status, 200)
    assert.deepEqual(
      seen.map(({ url }) => url),
      ['/a?x=1'],
    )
    for (const node of [caller, callee]) {
      await node.until(() => node.records.length > 0, 'its record')
      assert.equal(node.records[0]?.path, '/a?jwt=***&x=1')
    }
  })

  test(`${place}: a policy sees whose token it is, and the first keys are waited for`, async (t) => {
    const { dial, callee } = await shop(t, place, (of) =>
      of.requestAuthentication({ rules: [RULE] }).authorizationPolicy({ rules: [ANN] }),
    )
    const waiting = ask(await dial(), get('/', `Authorization: Bearer ${TOKEN}`))
    setTimeout(() => callee.plane.node.tokens.set({ name: keySetOf(RULE), jwks: setOf(KEY) }), 100)
    assert.equal((await waiting).status, 200)
    const socket = await dial()
    assert.equal((await ask(socket, get('/'))).status, 403)
    assert.equal((await ask(socket, get('/', `Authorization: Bearer ${await KEY.sign({ sub: 'bob' })}`))).status, 403)
  })
}
