import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { jwtRule, setOf, signer } from '../proxy/tokens.fixture.ts'
import { type JwtRule, keySetOf, type RequestAuthentication } from '../model/authentication/request-authentication.ts'
import { world } from '../model/world.fixture.ts'
import type { KeySet } from '../proxy/plane/key-sets.ts'
import { clusterIpOf, KeySets } from './key-sets.ts'

const [ONE, TWO] = await Promise.all([signer('ES256', 'one'), signer('ES256', 'two')])
const RULE = jwtRule()
const NAME = keySetOf(RULE)
const URI = 'https://idp.example/keys'

function objectWith(rules: readonly JwtRule[], name = 'ra', namespace = 'default'): RequestAuthentication {
  return world().requestAuthentication({ name, namespace, rules }).inventory().requestAuthentications[0]!
}

function rig(answers: Record<string, string | Error>) {
  const told: KeySet[] = []
  const gone: string[] = []
  const asked: string[] = []
  const timers = new Map<symbol, { readonly atMs: number; readonly work: () => void }>()
  const clock = { ms: 0 }
  const sets = new KeySets({
    data: { trust: (keySet) => void told.push(keySet), distrust: (name) => void gone.push(name) },
    fetch: (url, timeoutMs) => {
      asked.push(`${url} ${timeoutMs}`)
      const answer = answers[url] ?? new Error('nobody there')
      return typeof answer === 'string' ? Promise.resolve(answer) : Promise.reject(answer)
    },
    changed: () => {},
    clock: {
      nowMs: () => clock.ms,
      after: (ms, work) => {
        const id = Symbol('timer')
        timers.set(id, { atMs: clock.ms + ms, work })
        return () => void timers.delete(id)
      },
    },
    random: () => 0.5,
    ...{ refreshMs: 1_200_000, askMs: 30_000, keepMs: 86_400_000 },
  })
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await turn()
  }
  return {
    ...{ sets, told, gone, asked, answers, timers, settle },
    take: async (...objects: RequestAuthentication[]) => {
      sets.take({ set: objects, gone: [] }, true)
      await settle()
    },
    /** Lets time pass, timer by timer. */
    pass: async (ms: number) => {
      const until = clock.ms + ms
      for (;;) {
        const next = [...timers].sort(([, a], [, b]) => a.atMs - b.atMs).find(([, { atMs }]) => atMs <= until)
        if (next === undefined) break
        const [id, { atMs, work }] = next
        timers.delete(id)
        clock.ms = atMs
        work()
        await settle()
      }
      clock.ms = until
    },
    last: () => {
      const keySet = told.at(-1)
      if (keySet === undefined) return null
      if ('failure' in keySet) return keySet.failure
      return (JSON.parse(keySet.jwks) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid).join()
    },
    problems: () => sets.problems.map(({ object, field, reason }) => `${object.name} ${field}: ${reason}`),
    counted: () => Object.fromEntries(sets.counters().map((one) => [one.labels[0], 'value' in one ? one.value : 0])),
  }
}

test('a set is fetched once for all who want it, told, and fetched again in its time', async () => {
  const { take, told, asked, pass, last, problems, answers, counted } = rig({ [URI]: setOf(ONE) })
  await take(objectWith([RULE, jwtRule({ timeoutMs: 9000, audiences: ['a'] })]), objectWith([RULE], 'other'))
  assert.deepEqual([asked, told.length, last(), problems()], [[`${URI} 9000`], 1, 'one', []])
  await pass(1_199_999)
  assert.equal(asked.length, 1)
  await pass(1)
  assert.deepEqual([asked.length, told.length], [2, 1]) // the same: nobody is told
  answers[URI] = setOf(TWO)
  await pass(1_200_000)
  assert.deepEqual([told.length, last(), counted()], [2, 'two', { new: 2, same: 1 }])
})

test('inline keys are told as they are usable, with secrets where a rule has one, and never fetched', async () => {
  const secret = { kty: 'oct', kid: 'hs', k: Buffer.alloc(32, 1).toString('base64url') }
  const short = { kty: 'RSA', kid: 'short', n: Buffer.alloc(128, 255).toString('base64url'), e: 'AQAB' }
  const nonsense = { kty: 'EC', kid: 'off', crv: 'P-256', x: Buffer.alloc(32).toString('base64url'), y: 'AA' }
  const jwks = JSON.stringify({ keys: [ONE.jwk, secret, short, nonsense] })
  const { take, asked, last, problems, timers } = rig({})
  await take(objectWith([jwtRule({ keys: { kind: 'inline', jwks } })]))
  assert.deepEqual([asked, last(), timers.size], [[], 'one,hs', 0])
  const said = problems()
  assert.equal(said.length, 2)
  assert.match(said[0]!, /^ra spec\.jwtRules\[0\]\.jwks: key "short": it is shorter than 2048 bits$/)
  assert.match(said[1]!, /^ra spec\.jwtRules\[0\]\.jwks: key "off": /)
  await take(objectWith([RULE, jwtRule({ keys: { kind: 'inline', jwks: '<html>' } })]))
  assert.ok(problems().includes('ra spec.jwtRules[1].jwks: it is no JSON'))
})

test('what cannot be had is said by its field, tried again ever more seldom, and had once it is there', async () => {
  const { take, asked, pass, last, problems, answers, counted } = rig({})
  await take(objectWith([RULE]))
  assert.deepEqual([last(), problems()], ['nobody there', ['ra spec.jwtRules[0].jwksUri: nobody there']])
  await pass(1000 + 2000 + 4000)
  assert.equal(asked.length, 4)
  await pass(3_600_000)
  assert.ok(asked.length < 24, `${asked.length}`)
  answers[URI] = '<html></html>'
  await pass(300_000)
  assert.deepEqual(problems(), ['ra spec.jwtRules[0].jwksUri: it is no JSON'])
  answers[URI] = setOf(ONE)
  await pass(300_000)
  assert.deepEqual([last(), problems(), counted()['new']], ['one', [], 1])
})

test('the last keys count while newer ones cannot be had, for a day', async () => {
  const { sets, take, pass, last, told, problems, answers } = rig({ [URI]: setOf(ONE) })
  assert.equal(sets.stateOf(NAME), null)
  await take(objectWith([RULE]))
  assert.deepEqual(sets.stateOf(NAME), { keys: 1, fetchedMs: 0, failure: null })
  answers[URI] = new Error('gone')
  await pass(86_000_000)
  assert.deepEqual([last(), told.length], ['one', 1])
  assert.deepEqual(sets.stateOf(NAME), { keys: 1, fetchedMs: 0, failure: 'gone' })
  assert.deepEqual(problems(), ['ra spec.jwtRules[0].jwksUri: gone; the keys that were had last count'])
  await pass(1_000_000)
  assert.deepEqual([last(), problems()], ['gone', ['ra spec.jwtRules[0].jwksUri: gone']])
  assert.deepEqual(sets.stateOf(NAME), { keys: 0, fetchedMs: null, failure: 'gone' })
})

test('a token that does not fit has the set fetched, unless it was a moment ago', async () => {
  const { sets, take, pass, asked, settle, last, answers } = rig({ [URI]: setOf(ONE) })
  await take(objectWith([RULE, jwtRule({ keys: { kind: 'inline', jwks: setOf(ONE) } })]))
  answers[URI] = setOf(TWO)
  sets.ask(NAME)
  await settle()
  assert.equal(asked.length, 1)
  await pass(30_000)
  for (const name of [NAME, NAME, 'nobody’s', `inline ${setOf(ONE)}`]) sets.ask(name)
  await settle()
  assert.deepEqual([asked.length, last()], [2, 'two'])
  sets.ask(NAME)
  await settle()
  assert.equal(asked.length, 2)
})

test('keys are where the issuer’s configuration says, if it is its own', async () => {
  const issuer = 'https://idp.example'
  const at = `${issuer}/.well-known/openid-configuration`
  const rule = jwtRule({ keys: { kind: 'discovered', issuer } })
  const document = (own: string, uri: string) => JSON.stringify({ issuer: own, jwks_uri: uri })
  const cases: [answer: string, wanted: string][] = [
    [document(issuer, URI), 'one'],
    [document('https://other.example', URI), 'the issuer’s configuration is that of another issuer'],
    [document(issuer, 'http://idp.example/keys'), 'its jwks_uri is not https, and it is'],
    ['{}', 'the issuer’s configuration is that of another issuer'],
    ['x', 'the issuer’s configuration is no JSON'],
  ]
  for (const [answer, wanted] of cases) {
    const { take, last, problems } = rig({ [at]: answer, [URI]: setOf(ONE) })
    await take(objectWith([rule]))
    assert.equal(last(), wanted)
    assert.deepEqual(problems(), wanted === 'one' ? [] : [`ra spec.jwtRules[0].issuer: ${wanted}`])
  }
  const { take, last } = rig({})
  await take(objectWith([jwtRule({ keys: { kind: 'discovered', issuer: 'testing@idp' } })]))
  assert.match(last()!, /neither jwks nor jwksUri/)
})

test('what nobody wants any more goes after a while, unless it is wanted again', async () => {
  const { take, pass, gone, asked, timers, told } = rig({ [URI]: setOf(ONE) })
  await take(objectWith([RULE]))
  await take()
  await pass(20_000)
  await take(objectWith([RULE]))
  await pass(20_000)
  assert.deepEqual([gone, asked.length, told.length], [[], 2, 1])
  await take()
  await pass(30_000)
  assert.deepEqual([gone, timers.size], [[NAME], 0])
})

test('of very many sets some are refused, and had once there is room', async () => {
  const answers = Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`http://idp/${i}`, setOf(ONE)]))
  const { take, pass, told, problems } = rig(answers)
  const objects = Object.keys(answers).map((uri) => objectWith([jwtRule({ keys: { kind: 'uri', uri } })], uri))
  await take(...objects)
  for (let i = 0; i < 50 && told.length < 256; i++) await pass(0).then(() => turn())
  assert.equal(told.length, 256)
  assert.deepEqual(problems(), ['http://idp/256 spec.jwtRules[0].jwksUri: there are more than 256 sets of keys'])
  await take(...objects.slice(1))
  await pass(30_000)
  assert.deepEqual([told.length, problems()], [257, []])
})

test('who writes very many sets takes none from another namespace', async () => {
  const { take, pass, told, gone, problems } = rig({})
  const ruleOf = (uri: string): JwtRule => jwtRule({ keys: { kind: 'uri', uri } })
  const many = Array.from({ length: 300 }, (_, at) => objectWith([ruleOf(`http://a/${at}`)], `a-${at}`, 'first'))
  const other = objectWith([ruleOf('http://b/0')], 'b', 'second')
  await take(...many)
  assert.equal(problems().filter((text) => text.includes('more than')).length, 44)
  await take(...many, other)
  await pass(30_000)
  assert.deepEqual(gone, ['uri http://a/255'])
  assert.ok(told.some(({ name }) => name === 'uri http://b/0'))
  assert.equal(problems().filter((text) => text.includes('more than')).length, 45)
})

test('after the end nothing is fetched', async () => {
  const { sets, take, pass, asked } = rig({ [URI]: setOf(ONE) })
  await take(objectWith([RULE]))
  sets.stop()
  sets.ask(NAME)
  await pass(10_000_000)
  assert.equal(asked.length, 1)
})

test('a Service is dialled by any of its names where it has a ClusterIP', () => {
  const services = world().service('idp', {}).inventory().services
  const [service] = services
  const ip = service!.addresses[0]
  for (const host of [service!.host, `${service!.host}.`, 'IDP.default.svc']) {
    assert.equal(clusterIpOf(host, services, false), ip, host)
  }
  // it may be the name of a host out there
  assert.equal(clusterIpOf('idp.default', services, false), null)
  assert.equal(clusterIpOf('idp.default', services, true), ip)
  for (const host of ['idp', 'idp.other', 'example.com']) assert.equal(clusterIpOf(host, services, true), null, host)
  assert.equal(clusterIpOf('idp.default', [{ ...service!, addresses: [] }], true), null)
  assert.equal(clusterIpOf('idp.default', [{ ...service!, externalAddresses: service!.addresses }], true), null)
})
