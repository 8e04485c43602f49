// The certificate of the lab's API and the authority that pods believe it by: made anew at each start, on P-256.
// Source: RFC 5280; Kubernetes documentation "PKI certificates and requirements" (the names of the API server).
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'
import { bits, explicit, implicit, integer, octets, oid, sequence, setOf, truth, utcTime, utf8 } from './der.ts'
import type { KeyObject } from 'node:crypto'

/** All in PEM. */
export interface ServerCertificate {
  readonly rootPem: string
  readonly certificatePem: string
  readonly privateKeyPem: string
}

/** The addresses that every API has: its service's and loopback. */
const ADDRESSES = ['10.96.0.1', '127.0.0.1']
const NAMES = [
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
  'localhost',
]
const DAY_MS = 86_400_000
const VALID_MS = 365 * DAY_MS
/** Clocks of those who verify may be slow. */
const SKEW_MS = 3_600_000
const SERIAL_BYTES = 16
const ECDSA_SHA256 = '1.2.840.10045.4.3.2'
const COMMON_NAME = '2.5.4.3'
// dNSName and iPAddress of a GeneralName
const DNS = 2
const IP = 7

/** A new root and a server's certificate from it, good for the API's names and besides for `addresses` (IPv4). */
export function makeServerCertificate(addresses: readonly string[], nowMs = Date.now()): ServerCertificate {
  const root = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const server = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuer = nameOf('kubernetes')
  const by = { issuer, key: root.privateKey, nowMs }
  const rootId = keyId(root.publicKey)
  const isAuthority = extension('2.5.29.19', sequence(truth()), true)
  const maySign = extension('2.5.29.15', bits(Buffer.from([0b0000_0110]), 1), true)
  const rootDer = certificate(by, issuer, root.publicKey, [
    isAuthority,
    maySign,
    extension('2.5.29.14', octets(rootId)),
  ])
  const all = [...new Set([...ADDRESSES, ...addresses])].filter((address) => isIPv4(address))
  const names = [
    ...NAMES.map((name) => implicit(DNS, Buffer.from(name))),
    ...all.map((address) => implicit(IP, Buffer.from(address.split('.').map(Number)))),
  ]
  const serverDer = certificate(by, nameOf('kube-apiserver'), server.publicKey, [
    extension('2.5.29.19', sequence(), true),
    extension('2.5.29.15', bits(Buffer.from([0b1000_0000]), 7), true),
    extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'))),
    extension('2.5.29.35', sequence(implicit(0, rootId))),
    extension('2.5.29.17', sequence(...names)),
  ])
  return {
    rootPem: pem(rootDer),
    certificatePem: pem(serverDer),
    privateKeyPem: server.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  }
}

function certificate(
  { issuer, key, nowMs }: { readonly issuer: Buffer; readonly key: KeyObject; readonly nowMs: number },
  subject: Buffer,
  publicKey: KeyObject,
  extensions: readonly Buffer[],
): Buffer {
  const algorithm = sequence(oid(ECDSA_SHA256))
  const serial = randomBytes(SERIAL_BYTES)
  serial[0] = (serial[0]! & 0x7f) | 0x40
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(serial),
    algorithm,
    issuer,
    sequence(utcTime(nowMs - SKEW_MS), utcTime(nowMs + VALID_MS)),
    subject,
    publicKey.export({ format: 'der', type: 'spki' }),
    explicit(3, sequence(...extensions)),
  )
  return sequence(body, algorithm, bits(sign('sha256', body, key)))
}

function extension(id: string, value: Buffer, isCritical = false): Buffer {
  return sequence(oid(id), ...(isCritical ? [truth()] : []), octets(value))
}

function nameOf(commonName: string): Buffer {
  return sequence(setOf(sequence(oid(COMMON_NAME), utf8(commonName))))
}

function keyId(publicKey: KeyObject): Buffer {
  return createHash('sha1')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest()
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').replaceAll(/.{1,64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`
}
