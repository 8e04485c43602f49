// Requests for a certificate (PKCS #10, RFC 2986): made on a node, read where they are judged and signed.

import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import {
  bits,
  bytesOf,
  decode,
  encode,
  fromPem,
  integer,
  isOid,
  oid,
  partsOf,
  sequence,
  setOf,
  tagged,
  tagOf,
  toPem,
  type Value,
} from './der.ts'
import { ALTERNATIVE_NAMES, BASIC_CONSTRAINTS, contentOf, isAuthority, namesIn, uriName } from './extensions.ts'

const LABEL = 'CERTIFICATE REQUEST'
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14'
export const ECDSA_SHA256 = '1.2.840.10045.4.3.2'
/** Real ones have half a KB. */
const REQUEST_MOST = 16 * 1024

/** What a request asks for. That its key is who asks, its signature has shown. */
export interface CertificateRequest {
  /** SubjectPublicKeyInfo, of P-256. */
  readonly publicKeyDer: Buffer
  readonly uris: readonly string[]
  /** Names that are no URIs. */
  readonly otherNames: number
  readonly isAuthority: boolean
  readonly hasSubject: boolean
}

/** A request for one name, in PEM. The key is of P-256. */
export function makeRequest({ privateKey, uri }: { readonly privateKey: KeyObject; readonly uri: string }): string {
  const attribute = sequence(oid(EXTENSION_REQUEST), setOf(sequence(uriName(uri))))
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const asked = sequence(integer(Buffer.of(0)), sequence(), decode(publicKey), tagged(0, [attribute]))
  const signature = sign('sha256', encode(asked), privateKey)
  return toPem(LABEL, encode(sequence(asked, sequence(oid(ECDSA_SHA256)), bits(signature))))
}

/** Reads a request. Throws, with the reason, where it is none, its key is not of P-256, or another key signed it. */
export function readRequest(pem: string): CertificateRequest {
  if (pem.length > REQUEST_MOST) throw new Error(`a request takes at most ${REQUEST_MOST} bytes`)
  const blocks = fromPem(LABEL, pem)
  const [der] = blocks
  if (der === undefined || blocks.length > 1) throw new Error(`it holds ${blocks.length} requests in PEM, not one`)
  try {
    return read(der)
  } catch (error) {
    throw new Error(`not a certificate request: ${(error as Error).message}`, { cause: error })
  }
}

function read(der: Buffer): CertificateRequest {
  const [asked, algorithm, signature] = partsOf(decode(der))
  const [, subject, key, ...attributes] = partsOf(asked)
  if (!isOid(partsOf(algorithm)[0], ECDSA_SHA256)) throw new Error('it is not signed by ECDSA with SHA-256')
  const publicKeyDer = encode(partsOf(asked)[2] as Value)
  const publicKey = createPublicKey({ key: publicKeyDer, format: 'der', type: 'spki' })
  const curve = publicKey.asymmetricKeyDetails?.namedCurve
  if (key === undefined || curve !== 'prime256v1') throw new Error('its key is not of P-256')
  if (!verify('sha256', encode(asked as Value), publicKey, bytesOf(signature).subarray(1))) {
    throw new Error('its signature is not its key’s')
  }
  const extensions = attributes.flatMap(extensionsIn)
  const { uris, others } = namesIn(contentOf(extensions, ALTERNATIVE_NAMES))
  return {
    publicKeyDer,
    uris,
    otherNames: others,
    isAuthority: isAuthority(contentOf(extensions, BASIC_CONSTRAINTS)),
    hasSubject: partsOf(subject).length > 0,
  }
}

function extensionsIn(attributes: Value): readonly Value[] {
  if (tagOf(attributes) !== 0) throw new Error('what follows its key is not its attributes')
  return partsOf(attributes)
    .filter((attribute) => isOid(partsOf(attribute)[0], EXTENSION_REQUEST))
    .flatMap((attribute) => partsOf(partsOf(attribute)[1]))
    .flatMap((extensions) => partsOf(extensions))
}
