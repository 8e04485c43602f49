import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { headEdit } from '../model/http/header-changes.ts'
import type { HeaderChanges } from '../model/policy.ts'
import { ArrivingRequest, type Arrives, type Leaving } from './arriving.ts'
import { emitRequest, SCRATCH_BYTES } from './http1/emit.ts'
import { Head } from './http1/head.ts'

const out = Buffer.alloc(SCRATCH_BYTES)
const AT: Arrives = { port: 8080, client: '10.244.0.9', clientCert: 'URI=spiffe://a', trustedProxies: 0 }
const NAMES = [
  ...['x-a', 'x-b', 'cookie', 'x-request-id', 'x-forwarded-proto', 'x-forwarded-client-cert', 'via'],
  ...['upgrade', 'connection', 'te'],
]
const KEPT = { target: null, authority: null, changes: { request: [] } }

function headOf(fields: readonly (readonly [string, string])[]): Head {
  const head = new Head('request')
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const bytes = Buffer.from(`GET /came HTTP/1.1\r\nhost: came\r\n${lines}\r\n`, 'latin1')
  assert.equal(head.parse(bytes, 0, bytes.length), 'done')
  return head
}

function leaving(head: Head): Leaving {
  return { method: 'GET', target: '/came', authority: 'came', requestId: head.passed('x-request-id') ?? 'made', head }
}

const name = fc.constantFrom(...NAMES)
const field = fc.tuple(name, fc.constantFrom('1', 'two', 'a b', 'h2c', 'trailers', 'Zo\xc3\xab', '\xff'))
const change = fc.tuple(name, fc.constantFrom('1', 'two', 'Zo\xeb', '\u96ea', 'a\nb'))
const changes: fc.Arbitrary<HeaderChanges> = fc.record({
  remove: fc.array(name, { maxLength: 2 }),
  set: fc.array(change, { maxLength: 2 }),
  add: fc.array(change, { maxLength: 2 }),
})

test('what a policy sees of a head is what leaves for the application', () => {
  const connection = fc.option(fc.constantFrom('x-a', 'x-b, close', 'upgrade', 'te, upgrade'))
  fc.assert(
    fc.property(
      fc.array(field, { maxLength: 6 }),
      connection,
      fc.array(changes, { maxLength: 3 }),
      fc.boolean(),
      (fields, named, edits, isKept) => {
        const head = headOf(named === null ? fields : [...fields, ['connection', named]])
        const seen = new ArrivingRequest(leaving(head), KEPT, AT)
        if (isKept) seen.keep()
        for (const edit of edits) seen.change(edit)
        const length = emitRequest(
          head,
          {
            ...{ target: '/came', authority: 'came', framing: 'none', upgrade: head.passesUpgrade },
            requestId: head.passed('x-request-id') === undefined ? 'made' : null,
            clientCert: AT.clientCert,
            edit: headEdit(seen.changes),
          },
          out,
          0,
        )
        const left = new Head('request')
        assert.equal(left.parse(out, 0, length), 'done')
        for (const each of [...NAMES, 'host']) assert.equal(seen.header(each), left.header(each), each)
      },
    ),
  )
})

test('target and authority are as the rule has them, but of CONNECT', () => {
  const rewritten = { ...KEPT, target: '/new?a', authority: 'new' }
  const seen = new ArrivingRequest(leaving(headOf([])), rewritten, AT)
  assert.deepEqual([seen.target, seen.authority, seen.header('host')], ['/new?a', 'new', 'new'])
  seen.retarget('/less')
  assert.deepEqual([seen.target, seen.isRetargeted], ['/less', true])
  const tunnel = new ArrivingRequest({ ...leaving(headOf([])), method: 'CONNECT', target: 'a:1' }, rewritten, AT)
  assert.deepEqual([tunnel.target, tunnel.authority], ['a:1', 'came'])
})

test('where a request comes from is told by as many proxies as are trusted', () => {
  const remote = (trustedProxies: number, forwardedFor: string | null): string => {
    const head = headOf(forwardedFor === null ? [] : [['x-forwarded-for', forwardedFor]])
    return new ArrivingRequest(leaving(head), KEPT, { ...AT, trustedProxies }).remoteIp
  }
  const rows: [trusted: number, forwardedFor: string | null, ip: string][] = [
    [0, '1.1.1.1', AT.client],
    [1, null, AT.client],
    [1, '1.1.1.1', '1.1.1.1'],
    [1, '9.9.9.9, 1.1.1.1', '1.1.1.1'],
    [2, '9.9.9.9, 1.1.1.1', '9.9.9.9'],
    [3, '9.9.9.9, 1.1.1.1', AT.client],
    [1, 'nonsense', AT.client],
    [1, '9.9.9.9, nonsense', AT.client],
    [1, '2001:DB8::1', '2001:db8::1'],
  ]
  for (const [trusted, forwardedFor, ip] of rows) assert.equal(remote(trusted, forwardedFor), ip, String(forwardedFor))
})
