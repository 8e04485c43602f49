// The authority of a trust domain: makes a root of its own, or takes a key pair of any other, and issues certificates.

import type { X509Certificate } from 'node:crypto'
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import {
  bits,
  bytesOf,
  decode,
  encode,
  integer,
  nothing,
  oid,
  partsOf,
  sequence,
  setOf,
  tagged,
  time,
  toPem,
  utf8,
  type Value,
} from './der.ts'
import {
  BASIC_CONSTRAINTS,
  contentOf,
  extensionsOf,
  FOR_TLS,
  keyId,
  ofAuthority,
  ofWorkload,
  pathLengthOf,
  SUBJECT_KEY_ID,
  uriName,
} from './extensions.ts'
import { ECDSA_SHA256 } from './request.ts'
import { isIssuedBy, isRoot, readCertificates } from './roots.ts'

const CERTIFICATE = 'CERTIFICATE'
const RSA_SHA256 = '1.2.840.113549.1.1.11'
const COMMON_NAME = '2.5.4.3'
const ORGANIZATION = '2.5.4.10'
const VERSION_3 = 2
/** RFC 5280 §4.1.2.2: at most 20. */
const SERIAL_BYTES = 16
const DAY_MS = 86_400_000
/** How far before it is made a root begins: other nodes' clocks may be slow. */
const SKEW_MS = 3_600_000
/** RFC 5280, ub-organization-name. */
const ORGANIZATION_MOST = 64
/** Certificates on the way from an authority to its root, both counted. */
const PATH_MOST = 8
/** Of an RSA key. Peers refuse shorter ones. */
const RSA_BITS_LEAST = 2048

/** A key pair in PEM. */
export interface KeyPair {
  readonly certificatePem: string
  readonly privateKeyPem: string
}

/** Makes a root that signs itself, on a key of P-256. */
export function makeRoot(wish: {
  readonly trustDomain: string
  readonly days: number
  readonly nowMs: number
}): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKeyDer = publicKey.export({ format: 'der', type: 'spki' })
  const serial = randomBytes(SERIAL_BYTES)
  const name = nameOf([
    [ORGANIZATION, wish.trustDomain.slice(0, ORGANIZATION_MOST)],
    [COMMON_NAME, `weft root ${serial.toString('hex', 0, 4)}`],
  ])
  const der = signed(privateKey, {
    serial,
    issuer: name,
    subject: name,
    from: wish.nowMs - SKEW_MS,
    to: wish.nowMs + wish.days * DAY_MS,
    publicKeyDer,
    extensions: [...ofAuthority(), keyId(keyIdOf(publicKeyDer))],
  })
  return {
    certificatePem: toPem(CERTIFICATE, der),
    privateKeyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  }
}

/** What a certificate is to say. Times in milliseconds since 1970. */
export interface Issue {
  readonly publicKeyDer: Buffer
  readonly uri: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** What an authority is made of. */
export interface Given {
  /** Its own certificate, then what leads to a root, which may be the last. */
  readonly chainPem: string
  readonly privateKeyPem: string
  /** Where the chain does not end with its root: certificates of which one is it. */
  readonly rootsPem?: string
}

/** Why a key pair can be no authority: no peer would believe what it issues. Says nothing of the key itself. */
export class Unfit extends Error {
  readonly part: keyof Given
  constructor(part: keyof Given, reason: string) {
    super(reason)
    this.name = 'Unfit'
    this.part = part
  }
}

/** Issues certificates in the name of a key pair. */
export class Authority {
  /** The root that its chain leads to: what peers are to believe. */
  readonly rootPem: string
  /** When its own certificate ends, or one on the way to the root. */
  readonly notAfterMs: number
  readonly #key: KeyObject // out of reach of whatever prints an object
  readonly #subject: Value
  readonly #keyId: Buffer
  readonly #intermediatesPem: string

  /** Throws Unfit. */
  constructor(given: Given, nowMs: number) {
    const path = pathOf(given)
    const [own] = path
    this.#key = readKey(given.privateKeyPem)
    if (!own.checkPrivateKey(this.#key)) {
      throw new Unfit('privateKeyPem', 'is not the key of the authority’s certificate')
    }
    path.forEach((each, beneath) => checkIssuer(each, beneath, nowMs))
    this.rootPem = (path.at(-1) as X509Certificate).toString()
    this.notAfterMs = Math.min(...path.map((each) => each.validToDate.getTime()))
    this.#intermediatesPem = path
      .slice(0, -1)
      .map((each) => each.toString())
      .join('')
    const fields = fieldsOf(own)
    this.#subject = fields.subject
    this.#keyId = fields.keyId
  }

  /**
   * A workload's certificate and what leads from it to a root, in PEM. It ends no later than the authority's own. Throws
   * where it would end before it begins.
   */
  issue({ publicKeyDer, uri, notBeforeMs, notAfterMs }: Issue): string {
    const to = Math.min(notAfterMs, this.notAfterMs)
    if (!(to > notBeforeMs)) throw new Error('the certificate would end before it begins')
    const der = signed(this.#key, {
      serial: randomBytes(SERIAL_BYTES),
      issuer: this.#subject,
      subject: sequence(),
      from: notBeforeMs,
      to,
      publicKeyDer,
      extensions: [uriName(uri), ...ofWorkload(this.#keyId), keyId(keyIdOf(publicKeyDer))],
    })
    return toPem(CERTIFICATE, der) + this.#intermediatesPem
  }
}

interface Fields {
  readonly serial: Buffer
  readonly issuer: Value
  readonly subject: Value
  readonly from: number
  readonly to: number
  readonly publicKeyDer: Buffer
  readonly extensions: readonly Value[]
}

/** RFC 5280 §4.1. */
function signed(key: KeyObject, { serial, issuer, subject, from, to, publicKeyDer, extensions }: Fields): Buffer {
  const algorithm = key.asymmetricKeyType === 'rsa' ? sequence(oid(RSA_SHA256), nothing()) : sequence(oid(ECDSA_SHA256))
  const positive = Buffer.concat([Buffer.of(((serial[0] as number) & 0x7f) | 0x40), serial.subarray(1)])
  const content = sequence(
    tagged(0, [integer(Buffer.of(VERSION_3))]),
    integer(positive),
    algorithm,
    issuer,
    sequence(time(from), time(to)),
    subject,
    decode(publicKeyDer),
    tagged(3, [sequence(...extensions)]),
  )
  return encode(sequence(content, algorithm, bits(sign('sha256', encode(content), key))))
}

function nameOf(parts: readonly (readonly [id: string, text: string])[]): Value {
  return sequence(...parts.map(([id, text]) => setOf(sequence(oid(id), utf8(text)))))
}

/** RFC 5280 §4.2.1.2, method 1: of the key's bits. */
function keyIdOf(publicKeyDer: Buffer): Buffer {
  const key = bytesOf(partsOf(decode(publicKeyDer))[1]).subarray(1)
  return createHash('sha1').update(key).digest()
}

/** Of a certificate as it stands: whoever it issues names it by the very same bytes. */
function fieldsOf(certificate: X509Certificate): { readonly subject: Value; readonly keyId: Buffer } {
  const parts = partsOf(partsOf(decode(certificate.raw))[0])
  const [, , , , subject, key] = parts.slice(1)
  const id = contentOf(extensionsOf(certificate.raw), SUBJECT_KEY_ID)
  return { subject: subject as Value, keyId: id === null ? keyIdOf(encode(key as Value)) : bytesOf(id) }
}

/** From the authority's own certificate to its root. */
function pathOf({ chainPem, rootsPem = '' }: Given): readonly [X509Certificate, ...X509Certificate[]] {
  const [own, ...above] = readChain('chainPem', chainPem)
  if (own === undefined) throw new Unfit('chainPem', 'holds no certificate')
  const chain = [own, ...above] as const
  chain.slice(1).forEach((issuer, at) => {
    const each = chain[at] as X509Certificate
    if (isRoot(each)) throw new Unfit('chainPem', `${named(each)} is a root and not the last of the chain`)
    if (!isIssuedBy(each, issuer)) throw new Unfit('chainPem', `${named(each)} was not issued by ${named(issuer)}`)
  })
  const last = chain[chain.length - 1] as X509Certificate
  const root = isRoot(last)
    ? null
    : readChain('rootsPem', rootsPem).find((each) => isRoot(each) && isIssuedBy(last, each))
  if (root === undefined) {
    throw new Unfit(rootsPem === '' ? 'chainPem' : 'rootsPem', `nothing leads from ${named(last)} to a root`)
  }
  const path = root === null ? chain : ([...chain, root] as const)
  if (path.length > PATH_MOST) {
    throw new Unfit('chainPem', `has ${path.length} certificates up to its root, and ${PATH_MOST} is the most`)
  }
  return path
}

function readChain(part: keyof Given, pem: string): X509Certificate[] {
  try {
    return readCertificates(pem)
  } catch (error) {
    throw new Unfit(part, (error as Error).message)
  }
}

function readKey(pem: string): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch {
    throw new Unfit('privateKeyPem', 'cannot be read') // what OpenSSL says of a key is not for a log
  }
  const { asymmetricKeyType: type } = key
  if (type === 'ec' || type === 'rsa') return key
  throw new Unfit('privateKeyPem', `is of ${type ?? 'no known kind'}, not EC or RSA`)
}

/** Whether peers believe what it issues, with so many authorities beneath it. Throws Unfit. */
function checkIssuer(certificate: X509Certificate, beneath: number, nowMs: number): void {
  const refuse = (reason: string): never => {
    throw new Unfit('chainPem', `${named(certificate)} ${reason}`)
  }
  // OpenSSL's own rule: basic constraints say so, and a key usage, where there is one, lets it sign certificates
  if (!certificate.ca) refuse('may not issue certificates')
  if (certificate.validToDate.getTime() <= nowMs) refuse(`is over since ${certificate.validTo}`)
  if (certificate.validFromDate.getTime() > nowMs) refuse(`is not valid before ${certificate.validFrom}`)
  // extended usages of an authority bind all that is beneath it; most have none. The types forget that
  const usages = certificate.keyUsage as readonly string[] | undefined
  if (usages !== undefined && !FOR_TLS.every((usage) => usages.includes(usage))) {
    refuse('is not for both ends of TLS')
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = certificate.publicKey
  if (type === 'rsa' && (details?.modulusLength ?? 0) < RSA_BITS_LEAST) {
    refuse(`has an RSA key of ${details?.modulusLength} bits, and ${RSA_BITS_LEAST} is the least`)
  }
  const length = pathLengthOf(contentOf(extensionsOf(certificate.raw), BASIC_CONSTRAINTS))
  if (length !== null && length < beneath) refuse(`allows ${length} authorities beneath it, and there are ${beneath}`)
}

/** A certificate as messages name it. */
function named({ subject, serialNumber }: X509Certificate): string {
  return JSON.stringify(subject?.replaceAll('\n', ', ') || `serial ${serialNumber}`)
}
