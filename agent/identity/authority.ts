// The authority of a trust domain: makes a root of its own, or takes a key pair of any other, and issues certificates.

import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'
import {
  bits,
  bytesOf,
  decode,
  encode,
  fromPem,
  integer,
  nothing,
  oid,
  partsOf,
  sequence,
  setOf,
  tagged,
  tagOf,
  time,
  toPem,
  utf8,
  type Value,
} from './der.ts'
import { contentOf, keyId, ofAuthority, ofWorkload, SUBJECT_KEY_ID, uriName } from './extensions.ts'
import { ECDSA_SHA256 } from './request.ts'

const CERTIFICATE = 'CERTIFICATE'
const RSA_SHA256 = '1.2.840.113549.1.1.11'
const COMMON_NAME = '2.5.4.3'
const ORGANIZATION = '2.5.4.10'
const VERSION_3 = 2
/** RFC 5280 §4.1.2.2: at most 20. */
const SERIAL_BYTES = 16
const DAY_MS = 86_400_000

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
    [ORGANIZATION, wish.trustDomain],
    [COMMON_NAME, `weft root ${serial.toString('hex', 0, 4)}`],
  ])
  const der = signed(privateKey, {
    serial,
    issuer: name,
    subject: name,
    from: wish.nowMs,
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

/** Issues certificates in the name of a key pair. */
export class Authority {
  /** What peers are to believe: the roots that its chain leads to. */
  readonly rootsPem: string
  /** When its own certificate ends, or one on the way to a root. */
  readonly notAfterMs: number
  readonly #key: KeyObject // out of reach of whatever prints an object
  readonly #subject: Value
  readonly #keyId: Buffer
  readonly #intermediatesPem: string

  /**
   * `chainPem`: its own certificate, then what leads to a root, which may be the last; where it is not, `rootsPem` has it.
   * Throws where the key is another's, a certificate is no authority's, one is over, or the chain does not lead to a root.
   */
  constructor(
    given: { readonly chainPem: string; readonly privateKeyPem: string; readonly rootsPem?: string },
    nowMs: number,
  ) {
    const chain = readChain(given.chainPem)
    const roots = [...chain, ...readChain(given.rootsPem ?? '')].filter(isRoot)
    const [own] = chain
    if (own === undefined) throw new Error('the authority has no certificate')
    this.#key = createPrivateKey(given.privateKeyPem)
    if (!own.checkPrivateKey(this.#key)) throw new Error('the private key is not that of the authority’s certificate')
    checkChain(chain, roots, nowMs)
    const intermediates = chain.filter((each) => !isRoot(each))
    this.rootsPem = [...new Set(roots.map((root) => root.toString()))].join('')
    this.notAfterMs = Math.min(...chain.map((each) => each.validToDate.getTime()))
    this.#intermediatesPem = intermediates.map((each) => each.toString()).join('')
    const fields = fieldsOf(own)
    this.#subject = fields.subject
    this.#keyId = fields.keyId
  }

  /** A workload's certificate and what leads from it to a root, in PEM. It ends no later than the authority's own. */
  issue({ publicKeyDer, uri, notBeforeMs, notAfterMs }: Issue): string {
    const der = signed(this.#key, {
      serial: randomBytes(SERIAL_BYTES),
      issuer: this.#subject,
      subject: sequence(),
      from: notBeforeMs,
      to: Math.min(notAfterMs, this.notAfterMs),
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
  const [, , , , subject, key, ...rest] = parts.slice(1)
  const extensions = rest.filter((part) => tagOf(part) === 3).flatMap((part) => partsOf(partsOf(part)[0]))
  const id = contentOf(extensions, SUBJECT_KEY_ID)
  return { subject: subject as Value, keyId: id === null ? keyIdOf(encode(key as Value)) : bytesOf(id) }
}

function readChain(pem: string): X509Certificate[] {
  const blocks = fromPem(CERTIFICATE, pem)
  if (blocks.length !== pem.split('-----BEGIN ').length - 1) throw new Error('a certificate cannot be read')
  return blocks.map((der) => new X509Certificate(der))
}

function isRoot(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate)
}

function checkChain(chain: readonly X509Certificate[], roots: readonly X509Certificate[], nowMs: number): void {
  chain.forEach((each, at) => {
    const name = `certificate ${each.serialNumber}`
    if (!each.ca) throw new Error(`${name} is no authority’s`)
    if (each.validToDate.getTime() <= nowMs) throw new Error(`${name} is over`)
    const issuers = isRoot(each) ? [each] : at + 1 < chain.length ? chain.slice(at + 1, at + 2) : roots
    if (!issuers.some((issuer) => each.checkIssued(issuer) && each.verify(issuer.publicKey))) {
      throw new Error(`nothing leads from ${name} to a root`)
    }
  })
}
