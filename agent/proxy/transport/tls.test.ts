import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../../model/failure.ts'
import { authority } from '../../../test/proxy/certificates.ts'
import { alternativeNames, Credentials, handshakeFailure, protocolError, TlsError, unverified } from './tls.ts'

/** As Node writes a name: quoted where it could be taken for more than one. */
const written = (name: string): string =>
  /[^A-Za-z0-9._/-]/.test(name.replaceAll(':', '')) ? JSON.stringify(name) : name

test('names are read as they were written, whatever stands in them', () => {
  assert.deepEqual(alternativeNames(''), [])
  assert.deepEqual(alternativeNames('URI:spiffe://td/ns/a/sa/b, DNS:x.example, IP Address:10.0.0.1'), [
    ['URI', 'spiffe://td/ns/a/sa/b'],
    ['DNS', 'x.example'],
    ['IP Address', '10.0.0.1'],
  ])
  assert.deepEqual(alternativeNames(`URI:"spiffe://td/a, URI:spiffe://td/b"`), [
    ['URI', 'spiffe://td/a, URI:spiffe://td/b'],
  ])
  const names = fc.array(fc.tuple(fc.constantFrom('URI', 'DNS'), fc.string({ unit: 'binary-ascii', minLength: 1 })))
  fc.assert(
    fc.property(names, (given) => {
      const text = given.map(([kind, name]) => `${kind}:${written(name)}`).join(', ')
      assert.deepEqual(alternativeNames(text), given)
    }),
  )
})

test('a failure says what became of the handshake, and is blamed on the other end', () => {
  assert.deepEqual(
    [
      unverified('CERT_HAS_EXPIRED', ''),
      unverified('SELF_SIGNED_CERT_IN_CHAIN', 'self-signed'),
      protocolError('peer did not return a certificate'),
      protocolError('no application protocol'),
      protocolError('tlsv1 alert no application protocol'),
      protocolError('wrong version number'),
    ].map(({ code }) => code),
    ['TLS_EXPIRED', 'TLS_UNTRUSTED', 'TLS_NO_CERTIFICATE', 'TLS_NO_PROTOCOL', 'TLS_ALERT', 'TLS_PROTOCOL'],
  )
  const failure = handshakeFailure('client', new TlsError('expired'))
  assert.ok(failure instanceof MeshError)
  assert.deepEqual([failure.code, failure.kind.flag, failure.kind.retry], ['UPSTREAM_TLS_FAILED', 'UF', true])
  assert.match(failure.message, /the certificate of the other end has expired/)
  assert.deepEqual(
    [handshakeFailure('server', failure).kind.blame, handshakeFailure('server', failure).code],
    ['caller', 'CALLER_TLS_FAILED'],
  )
})

test('roots of which one cannot be read are no roots, whichever it is', () => {
  const [one, other] = [authority('one').certificatePem, authority('other').certificatePem]
  const take = (rootsPem: string) => new Credentials({ certificatePem: null, privateKeyPem: null, rootsPem })
  assert.equal(take(`# of our own\n${one}# another\n${other}`).notAfter, Infinity)
  const broken = other.replace(/[A-Za-z]{8}/, '!!!!!!!!')
  for (const rootsPem of [
    '',
    'words',
    broken,
    `${one}${broken}`,
    `${broken}${one}`,
    `${one}-----BEGIN CERTIFICATE-----`,
  ]) {
    assert.throws(() => take(rootsPem), rootsPem)
  }
})
