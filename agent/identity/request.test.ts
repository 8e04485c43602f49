import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { bits, bytesOf, decode, encode, fromPem, partsOf, sequence, toPem, type Value } from './der.ts'
import { makeRequest, readRequest } from './request.ts'

const LABEL = 'CERTIFICATE REQUEST'
const URI = 'spiffe://cluster.local/ns/shop/sa/cart'
const p256 = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const privateKey = p256()
const pem = makeRequest({ privateKey, uri: URI })
const der = fromPem(LABEL, pem)[0] as Buffer

test('a request is read as it was made', () => {
  assert.deepEqual(readRequest(pem), {
    publicKeyDer: createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
    uris: [URI],
    otherNames: 0,
    isAuthority: false,
    hasSubject: false,
  })
  assert.deepEqual(readRequest(`said before\n${pem}`).uris, [URI])
})

test('whose key did not sign it is not taken', () => {
  const [asked, algorithm] = partsOf(decode(der)) as [Value, Value]
  const other = partsOf(decode(fromPem(LABEL, makeRequest({ privateKey: p256(), uri: URI }))[0] as Buffer))
  const forged = encode(sequence(asked, algorithm, bits(bytesOf(other[2]).subarray(1))))
  assert.throws(() => readRequest(toPem(LABEL, forged)), /signature is not its key/)
})

test('keys of other kinds are not taken', () => {
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  assert.throws(() => readRequest(makeRequest({ privateKey: p384, uri: URI })), /not of P-256/)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  assert.throws(() => readRequest(makeRequest({ privateKey: rsa, uri: URI })), /not of P-256/)
})

test('what is not one request is refused, and said why', () => {
  assert.throws(() => readRequest(''), /0 requests/)
  assert.throws(() => readRequest(pem + pem), /2 requests/)
  assert.throws(() => readRequest(pem.padEnd(20_000, '\n')), /at most 16384/)
  assert.throws(() => readRequest(toPem(LABEL, Buffer.concat([der, Buffer.of(0)]))), /not a certificate request/)
  assert.throws(() => readRequest(toPem(LABEL, Buffer.alloc(0))), /not a certificate request/)
})

test('whatever is changed of it, it is refused, or says the same', () => {
  const said = readRequest(pem)
  const isHarmless = (bytes: Buffer): boolean => {
    try {
      assert.deepEqual(readRequest(toPem(LABEL, bytes)), said)
      return true
    } catch (error) {
      return error instanceof Error && !(error instanceof assert.AssertionError)
    }
  }
  for (let length = 0; length < der.length; length++) assert.ok(isHarmless(der.subarray(0, length)), `${length} bytes`)
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const changed = Buffer.from(der)
      changed[at] = (changed[at] as number) ^ change
      return isHarmless(changed)
    }),
    { numRuns: 2000 },
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => isHarmless(Buffer.from(bytes))))
})
