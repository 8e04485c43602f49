import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AccessReviews } from './access-reviews.ts'
import { type Answer, status, ToldApi } from './api.fixture.ts'

const TOKENS = '/apis/authentication.k8s.io/v1/tokenreviews'
const ACCESS = '/apis/authorization.k8s.io/v1/subjectaccessreviews'
const KAI = { username: 'kai', uid: 'u-1', groups: ['readers'], extra: { 'x.dev/scopes': ['all'] } }
const authenticated: Answer = { status: 201, body: { status: { authenticated: true, user: KAI } } }
const allowed = (isAllowed: boolean): Answer => ({ status: 201, body: { status: { allowed: isAllowed } } })

/** Reviews for node-1 at a clock that the test sets. */
async function reviews(t: { after(end: () => Promise<void>): void }) {
  const api = new ToldApi()
  const client = await api.start(t)
  const clock = { nowMs: 0 }
  const gate = new AccessReviews(client, { resource: 'agents', name: 'node-1' }, () => clock.nowMs)
  const asked = (path: string): unknown[] =>
    api.asks.filter((ask) => ask.path === path).map(({ body }) => (JSON.parse(body) as { spec: unknown }).spec)
  return { api, gate, clock, asked }
}

test('whoever the API knows, and whose roles allow it, is let in; the question has all that the API said', async (t) => {
  const { api, gate, asked } = await reviews(t)
  api.answers.set(TOKENS, authenticated)
  api.answers.set(ACCESS, allowed(true))
  assert.equal(await gate.refuse('Bearer secret', 'snapshot'), null)
  assert.deepEqual(asked(TOKENS), [{ token: 'secret' }])
  const { username: user, ...rest } = KAI
  const resourceAttributes = {
    ...{ group: 'weft.dev', resource: 'agents', subresource: 'snapshot', verb: 'get', name: 'node-1' },
  }
  assert.deepEqual(asked(ACCESS), [{ user, ...rest, resourceAttributes }])
})

test('who shows nothing, or no bearer token, is told so, and the API is not asked', async (t) => {
  const { api, gate } = await reviews(t)
  for (const header of [undefined, '', 'Bearer', 'Bearer ', 'Basic a2FpOmthaQ==', 'Bearer two words']) {
    assert.equal((await gate.refuse(header, 'status'))?.status, 401, String(header))
  }
  assert.equal(api.asks.length, 0)
})

test('an unknown token and a role that is missing are told apart, and a no holds shorter than a yes', async (t) => {
  const { api, gate, clock, asked } = await reviews(t)
  api.answers.set(TOKENS, { status: 201, body: { status: { error: 'expired' } } })
  assert.equal((await gate.refuse('Bearer old', 'status'))?.status, 401)
  api.answers.set(TOKENS, authenticated)
  api.answers.set(ACCESS, allowed(false))
  const { status: code, reason } = (await gate.refuse('Bearer secret', 'status')) ?? {}
  assert.equal(code, 403)
  assert.equal(
    reason,
    'agents "node-1" is forbidden: User "kai" cannot get resource "agents/status" in API group "weft.dev"',
  )
  api.answers.set(ACCESS, allowed(true))
  clock.nowMs = 9_999
  assert.equal((await gate.refuse('Bearer secret', 'status'))?.status, 403)
  clock.nowMs = 10_000
  assert.equal(await gate.refuse('Bearer secret', 'status'), null)
  api.answers.set(ACCESS, allowed(false))
  clock.nowMs = 69_999
  assert.equal(await gate.refuse('Bearer secret', 'status'), null)
  assert.equal(asked(ACCESS).length, 2)
  assert.equal((await gate.refuse('Bearer secret', 'explain'))?.status, 403, 'each subresource for itself')
  clock.nowMs = 70_000
  assert.equal((await gate.refuse('Bearer secret', 'status'))?.status, 403)
})

test('an API that does not answer, or does not let us ask, lets nobody in, and is asked again', async (t) => {
  const { api, gate } = await reviews(t)
  api.answers.set(TOKENS, status(403, 'tokenreviews is forbidden'))
  const refusal = await gate.refuse('Bearer secret', 'status')
  assert.equal(refusal?.status, 503)
  assert.match(refusal?.reason ?? '', /cannot be asked.*tokenreviews is forbidden/)
  api.answers.set(TOKENS, authenticated)
  api.answers.set(ACCESS, allowed(true))
  assert.equal(await gate.refuse('Bearer secret', 'status'), null)
})

test('who asks again meanwhile waits for the same answer; more than so many askers are not waited for', async (t) => {
  const { api, gate, asked } = await reviews(t)
  api.stalls.set(TOKENS, '')
  const first = Array.from({ length: 16 }, (_, at) => gate.refuse(`Bearer ${at}`, 'status'))
  const again = gate.refuse('Bearer 0', 'status')
  assert.deepEqual(await gate.refuse('Bearer 16', 'status'), { status: 503, reason: 'too many ask at once' })
  for (const refusal of await Promise.all([...first, again])) assert.match(refusal?.reason ?? '', /no answer within/)
  assert.equal(asked(TOKENS).length, 16)
  api.stalls.clear()
  api.answers.set(TOKENS, authenticated)
  api.answers.set(ACCESS, allowed(true))
  assert.equal(await gate.refuse('Bearer 16', 'status'), null)
})

test('no more than so many answers are kept, the oldest goes', async (t) => {
  const { api, gate, asked } = await reviews(t)
  api.answers.set(TOKENS, authenticated)
  api.answers.set(ACCESS, allowed(true))
  for (let at = 0; at < 257; at++) await gate.refuse(`Bearer ${at}`, 'status')
  await gate.refuse('Bearer 256', 'status')
  assert.equal(asked(TOKENS).length, 257)
  await gate.refuse('Bearer 0', 'status')
  assert.equal(asked(TOKENS).length, 258)
})
