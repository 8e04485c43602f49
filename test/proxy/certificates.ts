// Certificates for tests: P-256 keys and signatures by node:crypto, the ASN.1 around them by hand.

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

const SECOND = 1000
const DAY = 24 * 3600 * SECOND

/** An authority that signs certificates. */
export interface Authority {
  readonly certificatePem: string
  readonly name: string
  readonly key: KeyObject
}

export interface Issued {
  /** The certificate, and the intermediate's behind it where there is one. */
  readonly certificatePem: string
  readonly privateKeyPem: string
}

interface Wish {
  readonly uris?: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly notBefore?: number
  readonly notAfter?: number
  /** What it may be used for; by default both sides. */
  readonly usages?: readonly ('server' | 'client')[]
  /** Of an RSA key, in place of P-256. */
  readonly rsaBits?: number
}

// --- DER

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const hex = body.length.toString(16)
  const length = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex') // as short as can be written
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, body])
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts)
const explicit = (tag: number, ...parts: readonly Uint8Array[]): Buffer => der(0xa0 | tag, ...parts)
const octets = (bytes: Uint8Array): Buffer => der(0x04, bytes)
const bits = (bytes: Uint8Array, unused = 0): Buffer => der(0x03, Buffer.from([unused]), bytes)
const time = (ms: number): Buffer =>
  der(0x18, Buffer.from(`${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`))

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const arc of rest) {
    const groups = [arc & 0x7f]
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80)
    bytes.push(...groups)
  }
  return der(0x06, Buffer.from(bytes))
}

const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'))
const TRUE = Buffer.from([0x01, 0x01, 0xff])
const USAGES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' }

const nameOf = (text: string): Buffer => sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(text)))))
const critical = (id: string, value: Buffer): Buffer => sequence(oid(id), TRUE, octets(value))
const extension = (id: string, value: Buffer): Buffer => sequence(oid(id), octets(value))

interface Contents {
  readonly subject: string
  readonly issuer: string
  readonly key: KeyObject
  readonly by: KeyObject
  readonly validity: readonly [from: number, to: number]
  readonly extensions: readonly Buffer[]
}

function certificate({ subject, issuer, key, by, validity, extensions }: Contents): string {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40 // positive, and as short as can be written
  const contents = sequence(
    explicit(0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ECDSA_SHA256,
    nameOf(issuer),
    sequence(time(validity[0]), time(validity[1])),
    nameOf(subject),
    key.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions)),
  )
  const bytes = sequence(contents, ECDSA_SHA256, bits(sign('sha256', contents, by)))
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

// --- what tests ask for

/** A root, or an intermediate authority of `parent`. */
export function authority(name: string, parent?: Authority): Authority {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificatePem = certificate({
    subject: name,
    issuer: parent?.name ?? name,
    key: publicKey,
    by: parent?.key ?? privateKey,
    validity: [Date.now() - DAY, Date.now() + 30 * DAY],
    extensions: [critical('2.5.29.19', sequence(TRUE)), critical('2.5.29.15', bits(Buffer.from([0x06]), 1))],
  })
  return { certificatePem, name, key: privateKey }
}

/** A certificate of `by`, with a key of its own. */
export function issue(by: Authority, wish: Wish = {}): Issued {
  const { privateKey, publicKey } =
    wish.rsaBits === undefined
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: wish.rsaBits })
  const names = [
    ...(wish.uris ?? []).map((uri) => der(0x86, Buffer.from(uri))),
    ...(wish.dnsNames ?? []).map((name) => der(0x82, Buffer.from(name))),
  ]
  const usages = (wish.usages ?? ['server', 'client']).map((usage) => oid(USAGES[usage]))
  const certificatePem = certificate({
    subject: 'workload',
    issuer: by.name,
    key: publicKey,
    by: by.key,
    validity: [wish.notBefore ?? Date.now() - 60 * SECOND, wish.notAfter ?? Date.now() + DAY],
    extensions: [
      critical('2.5.29.15', bits(Buffer.from([0x80]), 7)),
      extension('2.5.29.37', sequence(...usages)),
      ...(names.length === 0 ? [] : [extension('2.5.29.17', sequence(...names))]),
    ],
  })
  return { certificatePem, privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}
