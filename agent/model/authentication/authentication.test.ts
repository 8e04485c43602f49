import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NO_JWT_RULE } from '../security.fixture.ts'
import { claimAt, claimText, faultInClaims } from './claims.ts'
import { type Good, withoutTokens, withTokens } from './judged.ts'
import { discoveryOf, keysByConfiguration, KEYS_MOST, readKeySet } from './key-set.ts'
import type { JwtRule } from './request-authentication.ts'
import { FAULTS, readToken, type Unverified } from './token.ts'
import { lookoutOf, TOKENS_MOST, tokensIn, withoutCookies, withoutParameters } from './tokens-in.ts'

function rule(wish: Partial<JwtRule> = {}): JwtRule {
  return { ...NO_JWT_RULE, issuer: 'idp', keys: { kind: 'inline', jwks: '' }, ...wish }
}

function request(headers: Readonly<Record<string, string>>, target = '/') {
  return { target, header: (name: string) => headers[name] }
}

function textsIn(rules: readonly JwtRule[], asked: ReturnType<typeof request>): string[] {
  return tokensIn(lookoutOf(rules), asked).map(({ text, place }) => `${place.kind} ${place.name}: ${text}`)
}

test('tokens are found where rules say, and by default as a bearer’s and as access_token', () => {
  const fromAll = rule({
    fromHeaders: [{ name: 'x-a', prefix: '' }],
    fromParams: ['t'],
    fromCookies: ['sid'],
  })
  const cases: [rules: JwtRule[], headers: Record<string, string>, target: string, wanted: string[]][] = [
    [[rule()], { authorization: 'Bearer a.b.c' }, '/', ['header authorization: a.b.c']],
    [[rule()], { authorization: 'Bearer   a' }, '/', ['header authorization: a']],
    [[rule()], { authorization: 'bearer a' }, '/', []],
    [[rule()], { authorization: 'Basic a' }, '/', []],
    [
      [rule()],
      { authorization: 'Basic a,Bearer b,Bearer c' },
      '/',
      ['b', 'c'].map((t) => `header authorization: ${t}`),
    ],
    [[rule()], { 'x-a': 'a', cookie: 'sid=b' }, '/?t=c', []],
    [[rule()], {}, '/?x=1&access_token=a&access_token=b', ['a', 'b'].map((t) => `parameter access_token: ${t}`)],
    [[rule()], {}, '/?access%5Ftoken=a%2Eb', ['parameter access_token: a.b']],
    [[rule()], {}, '/?access_token', ['parameter access_token: ']],
    [[rule()], {}, '/access_token=a', []],
    [
      [fromAll],
      { authorization: 'Bearer no', 'x-a': 'a', cookie: 'x=sid=9; sid="b",sid=c; sidx=d' },
      '/?t=e',
      ['header x-a: a', 'parameter t: e', 'cookie sid: b', 'cookie sid: c'],
    ],
    [[rule(), fromAll], { authorization: 'Bearer a', 'x-a': 'a' }, '/', ['header authorization: a', 'header x-a: a']],
  ]
  for (const [rules, headers, target, wanted] of cases) {
    assert.deepEqual(textsIn(rules, request(headers, target)), wanted)
  }
  const many = request({}, `/?${'access_token=a&'.repeat(1000)}`)
  assert.equal(tokensIn(lookoutOf([rule()]), many).length, TOKENS_MOST + 1)
})

test('what is taken out of targets and cookies leaves the rest as it was', () => {
  const cases: [target: string, wanted: string][] = [
    ['/', '/'],
    ['/a?t=1', '/a'],
    ['/a?x=%20&t=1&y', '/a?x=%20&y'],
    ['/a?%74=1&tt=2', '/a?tt=2'],
    ['/a?t', '/a'],
    ['/t=1', '/t=1'],
  ]
  for (const [target, wanted] of cases) assert.equal(withoutParameters(target, new Set(['t'])), wanted)
  assert.equal(withoutCookies('a=1; t=2;b=3,t=4', new Set(['t'])), 'a=1; b=3')
  assert.equal(withoutCookies('t=2', new Set(['t'])), '')
  fc.assert(
    fc.property(fc.string(), fc.array(fc.string({ minLength: 1 })), (path, names) => {
      const rest = withoutParameters(`/${path}`, new Set(names))
      const look = lookoutOf([rule({ fromParams: [...names, 'never'] })])
      assert.deepEqual(
        tokensIn(look, request({}, rest)).filter(({ place }) => place.name !== 'never'),
        [],
      )
    }),
  )
})

const TOKEN: Unverified = {
  ...{ algorithm: 'RS256', keyId: null, issuer: 'idp', subject: 'ann', audiences: [], notBefore: null, expires: null },
  claims: {
    sub: 'ann',
    level: 3,
    isAdmin: false,
    rate: 1.5,
    big: 2 ** 60,
    list: ['a'],
    a: { b: 'c' },
    'x.y': 'z',
    no: '',
  },
  payload: 'cGF5bG9hZA',
}

test('times count with a minute of skew, audiences without scheme and last slash', () => {
  const nowMs = 1_000_000_999
  const cases: [token: Partial<Unverified>, audiences: string[], wanted: string | null][] = [
    [{}, [], null],
    [{ expires: 999_940 }, [], null],
    [{ expires: 999_939 }, [], FAULTS.expired],
    [{ expires: 0 }, [], FAULTS.expired],
    [{ notBefore: 1_000_060 }, [], null],
    [{ notBefore: 1_000_061 }, [], FAULTS.notYet],
    [{ audiences: ['a'] }, [], null],
    [{}, ['a'], FAULTS.audience],
    [{ audiences: ['b'] }, ['a'], FAULTS.audience],
    [{ audiences: ['b', 'https://a/'] }, ['a'], null],
    [{ audiences: ['a'] }, ['http://a'], null],
    [{ audiences: ['a//'] }, ['a'], FAULTS.audience],
    [{ audiences: ['ftp://a'] }, ['a'], FAULTS.audience],
  ]
  for (const [token, audiences, wanted] of cases) {
    assert.equal(faultInClaims({ ...TOKEN, ...token }, rule({ audiences }), nowMs), wanted)
  }
})

test('a claim is found by its name or the way to it, and is text where it can be', () => {
  const cases: [name: string, wanted: string | null][] = [
    ...Object.entries({ sub: 'ann', level: '3', isAdmin: 'false', 'a.b': 'c', 'x.y': 'z' }),
    ...['rate', 'big', 'list', 'a', 'no', 'a.b.c', 'a.c', 'toString', '__proto__', 'sub.length', ''].map(
      (name): [string, null] => [name, null],
    ),
  ]
  for (const [name, wanted] of cases) assert.equal(claimText(claimAt(TOKEN.claims, name)), wanted, name)
})

/** What comes of a request with one good token. */
function admitted(one: JwtRule, headers: Readonly<Record<string, string>>, target = '/') {
  const asked = request(headers, target)
  const lookout = lookoutOf([one])
  const good = tokensIn(lookout, asked).map((found): Good => {
    return { found, by: found.place.rules[0]!, token: TOKEN }
  })
  return withTokens(lookout, good, asked)
}

test('a token goes no further unless its rule says so', () => {
  const bearer = { authorization: 'Bearer a' }
  assert.deepEqual(admitted(rule(), bearer).changes, { remove: ['authorization'], set: [], add: [] })
  assert.equal(admitted(rule({ forwardOriginalToken: true }), bearer).changes, null)
  const { changes, target } = admitted(rule(), {}, '/?a=1&access_token=x')
  assert.deepEqual([changes, target], [null, '/?a=1'])
  const cookies = rule({ fromCookies: ['sid'] })
  const kept = { remove: ['cookie'], set: [['cookie', 'a=1']], add: [] }
  assert.deepEqual(admitted(cookies, { cookie: 'a=1; sid=x' }).changes, kept)
  assert.deepEqual(admitted(cookies, { cookie: 'sid=x' }).changes, { ...kept, set: [] })
})

test('what the application is given comes of tokens alone: whatever the caller sent of it goes', () => {
  const giving = rule({
    forwardOriginalToken: true,
    outputPayloadToHeader: 'X-Payload',
    outputClaimToHeaders: [
      ...['sub', 'a.b', 'list', 'nothing'].map((claim) => ({ header: `x-${claim.replace('.', '-')}`, claim })),
      { header: 'host', claim: 'sub' },
      { header: 'Content-Length', claim: 'level' },
    ],
  })
  const outputs = ['x-payload', 'x-sub', 'x-a-b', 'x-list', 'x-nothing']
  const set = [
    ['x-payload', 'cGF5bG9hZA'],
    ['x-sub', 'ann'],
    ['x-a-b', 'c'],
  ]
  const { changes, tokens } = admitted(giving, { authorization: 'Bearer a' })
  assert.deepEqual(changes, { remove: outputs, set, add: [] })
  assert.deepEqual(tokens, [{ issuer: 'idp', subject: 'ann', claims: TOKEN.claims, rule: giving }])
  assert.deepEqual(withoutTokens(lookoutOf([giving])).changes, { remove: outputs, set: [], add: [] })
})

test('tokens stand in the order of the rules, each once, and a header that two give has two lines', () => {
  const [one, two] = ['x-one', 'x-two'].map((name) => {
    return rule({
      issuer: name,
      fromHeaders: [{ name, prefix: '' }],
      outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
    })
  })
  const asked = request({ 'x-two': 'b,b', 'x-one': 'a' })
  const lookout = lookoutOf([one!, two!])
  const good = tokensIn(lookout, asked)
    .toReversed()
    .map((found) => {
      const by = found.place.rules[0]!
      return { found, by, token: { ...TOKEN, issuer: by.rule.issuer } }
    })
  const { tokens, changes } = withTokens(lookout, good, asked)
  assert.deepEqual(
    tokens.map(({ issuer }) => issuer),
    ['x-one', 'x-two'],
  )
  assert.deepEqual([changes?.set, changes?.add], [[['x-sub', 'ann']], [['x-sub', 'ann']]])
})

test('whatever is read as a token, it is a token or a reason', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(100), (text, limit) => {
      const read = readToken(text, limit)
      assert.ok(typeof read === 'string' || text.length <= limit)
    }),
  )
})

const RSA = { kty: 'RSA', n: 'AQAB', e: 'AQAB' }

test('of a set of keys those are kept that verify, and why others are not is said', () => {
  const cases: [keys: unknown[], kept: number, dropped: RegExp[]][] = [
    [[RSA], 1, []],
    [[{ ...RSA, use: 'sig', key_ops: ['verify'], alg: 'PS256' }], 1, []],
    [[RSA, { ...RSA, use: 'enc' }, { ...RSA, key_ops: ['encrypt'] }], 1, []],
    [[RSA, { ...RSA, alg: 'HS256' }], 1, [/^keys\[1\]: no algorithm fits "HS256"$/]],
    [[RSA, { kty: 'EC', crv: 'secp256k1', x: 'a', y: 'b' }], 1, [/secp256k1/]],
    [[RSA, { kty: 'EC', crv: 'P-256', x: 'a' }], 1, [/y is missing/]],
    [[RSA, { kty: 'oct', k: 'AAAA' }], 1, [/symmetric/]],
    [[RSA, { kty: 'toString' }], 1, [/not supported/]],
    [[RSA, 7, null, {}], 1, [/keys\[1\]/, /keys\[2\]/, /kty is missing/]],
    [Array(KEYS_MOST + 1).fill(RSA), KEYS_MOST, [/more than 100 keys/]],
  ]
  for (const [keys, kept, dropped] of cases) {
    const read = readKeySet(JSON.stringify({ keys }), false)
    assert.ok(!(read instanceof Error))
    assert.equal(read.keys.length, kept)
    assert.equal(read.dropped.length, dropped.length)
    dropped.forEach((reason, index) => assert.match(read.dropped[index]!, reason))
  }
  const secret = JSON.stringify({ keys: [{ kty: 'oct', k: 'AAAA' }] })
  assert.ok(readKeySet(secret, false) instanceof Error)
  assert.ok(!(readKeySet(secret, true) instanceof Error))
  for (const text of ['', '<html>', '[]', '{}', 'null', '{"keys":{}}', '{"keys":[]}']) {
    assert.ok(readKeySet(text, true) instanceof Error, text)
  }
  const read = readKeySet(JSON.stringify({ keys: [{ ...RSA, d: 'private' }] }), false)
  assert.doesNotMatch(JSON.stringify(read), /private/)
})

test('an issuer says where its keys are, for itself alone', () => {
  const at = 'https://idp.example/realm'
  assert.equal(discoveryOf(at), `${at}/.well-known/openid-configuration`)
  assert.equal(discoveryOf(`${at}/`), `${at}/.well-known/openid-configuration`)
  for (const issuer of ['testing@secure.istio.io', '', 'ftp://idp', 'https://idp?a', 'https://']) {
    assert.equal(discoveryOf(issuer), null, issuer)
  }
  const said = (document: unknown) => keysByConfiguration(JSON.stringify(document), at)
  assert.equal(said({ issuer: at, jwks_uri: 'https://keys.example/' }), 'https://keys.example/')
  for (const document of [
    null,
    [],
    {},
    { issuer: at },
    { issuer: `${at}/`, jwks_uri: 'https://a' },
    { issuer: at, jwks_uri: 'a' },
  ]) {
    assert.ok(said(document) instanceof Error, JSON.stringify(document))
  }
})
