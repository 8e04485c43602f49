import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PeerAuthentication } from '../model/peer-authentication.ts'
import { istio } from './objects.fixture.ts'
import { translatePeerAuthentication } from './peer-authentication.ts'
import type { Translation } from './translate.ts'

function translate(spec: unknown): Translation<PeerAuthentication> {
  return translatePeerAuthentication(istio('PeerAuthentication', spec))
}

const selector = { matchLabels: { app: 'web' } }

test('every honoured field arrives in the mesh’s own words', () => {
  const { value, rejected, problems } = translate({
    selector,
    mtls: { mode: 'STRICT' },
    portLevelMtls: { 8080: { mode: 'PERMISSIVE' }, 9090: { mode: 'DISABLE' }, 9091: {}, 9092: { mode: 'UNSET' } },
  })
  assert.deepEqual([rejected, problems], [false, []])
  assert.deepEqual(value, {
    ref: { kind: 'PeerAuthentication', namespace: 'default', name: 'reviews' },
    createdMs: Date.UTC(2026, 0, 2, 3, 4, 5),
    selector: { app: 'web' },
    mode: 'STRICT',
    ports: [
      { port: 8080, mode: 'PERMISSIVE' },
      { port: 9090, mode: 'DISABLE' },
      { port: 9091, mode: 'UNSET' },
      { port: 9092, mode: 'UNSET' },
    ],
  })
})

test('what is not said is left to others: no spec, no mode, a selector of no label', () => {
  const empty = [undefined, null, {}, { mtls: {} }, { mtls: null }, { selector: {} }, { selector: { matchLabels: {} } }]
  for (const spec of empty) {
    const { value, problems } = translate(spec)
    assert.deepEqual([value?.selector, value?.mode, value?.ports, problems], [null, 'UNSET', [], []])
  }
})

test('every version of the API means the same', () => {
  const of = (version: string) =>
    translatePeerAuthentication({
      ...istio('PeerAuthentication', { mtls: { mode: 'STRICT' } }),
      apiVersion: `security.istio.io/${version}`,
    })
  assert.deepEqual(of('v1beta1'), of('v1'))
})

test('what counts for nothing is named, and the rest is in force', () => {
  const strict = { mtls: { mode: 'STRICT' } }
  const table: [object, string[]][] = [
    [{ portLevelMtls: { 80: { mode: 'DISABLE' } } }, ['portLevelMtls']],
    [{ selector: { matchLabels: {} }, portLevelMtls: { 80: { mode: 'DISABLE' } } }, ['portLevelMtls']],
    [
      { selector, portLevelMtls: { http: { mode: 'DISABLE' }, 0: {}, 65536: {} } },
      ['portLevelMtls.0', 'portLevelMtls.65536', 'portLevelMtls.http'],
    ],
    [{ targetRef: { name: 'a' } }, ['targetRef']],
    [{ selector: { ...selector, matchExpressions: [] } }, ['selector.matchExpressions']],
    [{ selector, portLevelMtls: { 80: { cipher: 'a' } } }, ['portLevelMtls.80.cipher']],
  ]
  for (const [wish, fields] of table) {
    const { value, rejected, problems } = translate({ ...strict, ...wish })
    assert.deepEqual(
      problems.map(({ field }) => field),
      fields.map((field) => `spec.${field}`),
    )
    assert.deepEqual([rejected, value?.mode], [false, 'STRICT'])
    assert.ok(value?.ports.every(({ port }) => port === 80))
  }
})

test('what the schema refuses is not in force, and the field is named', () => {
  const table: [unknown, RegExp][] = [
    [{ mtls: { mode: 'MOSTLY' } }, /^spec\.mtls\.mode: /],
    [{ mtls: 'STRICT' }, /^spec\.mtls: /],
    [{ selector, portLevelMtls: { 80: { mode: 'strict' } } }, /^spec\.portLevelMtls(\.80|\[80\])\.mode: /],
    [{ selector: { matchLabels: { app: 1 } } }, /^spec\.selector\.matchLabels\.app: /],
    [7, /^spec: /],
  ]
  for (const [spec, expected] of table) {
    const { value, rejected, problems } = translate(spec)
    assert.deepEqual([value, rejected, problems.length], [null, true, 1])
    assert.match(`${problems[0]!.field}: ${problems[0]!.reason}`, expected)
  }
})

test('any object is translated or refused with a field and a reason', () => {
  const odd = fc.oneof(
    fc.constantFrom<unknown>(null, '', 0, true, [], [null], {}, { mode: null }, { mode: 'STRICT' }, { 80: {} }),
    fc.jsonValue({ maxDepth: 2 }),
  )
  const labels = fc.oneof(odd, fc.record({ matchLabels: fc.oneof(odd, fc.constant({ app: 'a' })) }))
  const spec = fc.oneof(odd, fc.record({ selector: labels, mtls: odd, portLevelMtls: odd }, { requiredKeys: [] }))
  const taken = { yes: 0, no: 0 }
  fc.assert(
    fc.property(spec, (given) => {
      const { value, rejected, problems } = translate(given)
      taken[rejected ? 'no' : 'yes']++
      if (!rejected) return assert.ok(value !== null && (value.selector !== null || value.ports.length === 0))
      assert.equal(value, null)
      assert.match(problems[0]!.field, /^spec/)
      assert.notEqual(problems[0]!.reason, '')
    }),
    { numRuns: 500 },
  )
  assert.ok(taken.yes > 20 && taken.no > 20, JSON.stringify(taken))
})
