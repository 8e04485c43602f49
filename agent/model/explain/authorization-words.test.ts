import assert from 'node:assert/strict'
import { test } from 'node:test'
import { where } from '../authorization/authorization.fixture.ts'
import type { Rule } from '../authorization/policy.ts'
import type { JwtRule } from '../authentication/request-authentication.ts'
import { lookoutOf } from '../authentication/tokens-in.ts'
import { NO_JWT_RULE } from '../security.fixture.ts'
import { keysWords, placeWords, ruleWords } from './authorization-words.ts'

const rule = (wish: Partial<Rule>): Rule => ({ from: [], to: [], when: [], ...wish })

test('a rule is one line', () => {
  const cases: [Rule, string][] = [
    [rule({}), 'everything'],
    [
      rule({
        from: [
          [where('source.principal', ['a/ns/b/sa/c', 'd/*']), where('source.ip', [], ['10.0.0.0/8'])],
          [where('source.namespace', ['front'], ['front-old'])],
        ],
        to: [[where('request.path', ['/a/*', '/b']), where('request.method', ['GET', 'POST'])]],
        when: [where({ kind: 'request.header', name: 'x-a' }, ['1'], ['2']), where('connection.sni', [], ['*.x'])],
      }),
      'from principals a/ns/b/sa/c, d/* and addresses not 10.0.0.0/8 or namespaces front but not front-old; ' +
        'to GET, POST /a/*, /b; when request.headers[x-a] 1 but not 2 and connection.sni not *.x',
    ],
    [rule({ to: [[where('request.path', [], ['/x'])]] }), 'to paths not /x'],
    [
      rule({
        to: [[where('request.method', ['GET']), where('request.host', ['h']), where('destination.port', ['80'])]],
      }),
      'to GET and hosts h and ports 80',
    ],
    [rule({ from: [[]] }), 'from anybody'],
    [
      rule({ when: [where({ kind: 'request.claim', path: ['a', 'b'] }, ['c']), where('request.principal', ['*'])] }),
      'when request.auth.claims[a][b] c and request.auth.principal *',
    ],
  ]
  for (const [given, words] of cases) assert.equal(ruleWords(given), words)
})

test('where tokens and keys are', () => {
  const jwt = { ...NO_JWT_RULE, issuer: 'i', keys: { kind: 'uri', uri: 'https://i/keys' } as const }
  const words = (rule: JwtRule): string[] => lookoutOf([rule]).places.map(placeWords)
  assert.deepEqual(words(jwt), ['header authorization (Bearer …)', 'parameter access_token'])
  const said = { ...jwt, fromHeaders: [{ name: 'x-jwt', prefix: '' }], fromCookies: ['session'] }
  assert.deepEqual(words(said), ['header x-jwt', 'cookie session'], 'in place of the default')
  assert.equal(keysWords(jwt), 'https://i/keys')
  assert.equal(keysWords({ ...jwt, keys: { kind: 'uri', uri: 'https://me:word@i/k' } }), 'https://…@i/k')
  assert.equal(
    keysWords({ ...jwt, keys: { kind: 'discovered', issuer: 'https://i' } }),
    'the configuration of https://i',
  )
  assert.equal(keysWords({ ...jwt, keys: { kind: 'inline', jwks: '{}' } }), 'the object itself')
})
