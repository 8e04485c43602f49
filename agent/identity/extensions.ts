// The extensions of X.509 (RFC 5280 §4.2) that identities are made of.

import {
  bits,
  bytesOf,
  decode,
  encode,
  isOid,
  octets,
  oid,
  partsOf,
  sequence,
  tagged,
  tagOf,
  truth,
  type Value,
} from './der.ts'

export const SUBJECT_KEY_ID = '2.5.29.14'
const KEY_USAGE = '2.5.29.15'
export const ALTERNATIVE_NAMES = '2.5.29.17'
export const BASIC_CONSTRAINTS = '2.5.29.19'
const AUTHORITY_KEY_ID = '2.5.29.35'
const EXTENDED_KEY_USAGE = '2.5.29.37'
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
/** Extended key usages of both ends of TLS. OpenSSL does not take "any" for them. */
export const FOR_TLS: readonly string[] = [SERVER_AUTH, CLIENT_AUTH]
/** Of GeneralName (RFC 5280 §4.2.1.6). */
const URI = 6

function extension(id: string, isCritical: boolean, content: Value): Value {
  return sequence(oid(id), ...(isCritical ? [truth()] : []), octets(encode(content)))
}

/** Critical where the subject is empty, and here it always is (RFC 5280 §4.2.1.6). */
export const uriName = (uri: string): Value =>
  extension(ALTERNATIVE_NAMES, true, sequence(tagged(URI, Buffer.from(uri, 'latin1'))))

export const keyId = (id: Buffer): Value => extension(SUBJECT_KEY_ID, false, octets(id))

/** What a workload's certificate is for, at either end of a connection. */
export const ofWorkload = (issuerKeyId: Buffer): readonly Value[] => [
  extension(BASIC_CONSTRAINTS, true, sequence()),
  extension(KEY_USAGE, true, bits(Buffer.of(0x80), 7)), // digitalSignature
  extension(EXTENDED_KEY_USAGE, false, sequence(oid(SERVER_AUTH), oid(CLIENT_AUTH))),
  extension(AUTHORITY_KEY_ID, false, sequence(tagged(0, issuerKeyId))),
]

/** What an authority's certificate is for. */
export const ofAuthority = (): readonly Value[] => [
  extension(BASIC_CONSTRAINTS, true, sequence(truth())),
  extension(KEY_USAGE, true, bits(Buffer.of(0x06), 1)), // keyCertSign, cRLSign
]

/** The extensions of a certificate, given in DER. */
export function extensionsOf(certificate: Buffer): readonly Value[] {
  const parts = partsOf(partsOf(decode(certificate))[0])
  return parts.filter((part) => tagOf(part) === 3).flatMap((part) => partsOf(partsOf(part)[0]))
}

/** How many authorities it allows beneath an authority, or null where it says nothing of that. */
export function pathLengthOf(constraints: Value | null): number | null {
  const length = constraints === null ? undefined : partsOf(constraints)[1]
  return length === undefined ? null : Number(`0x${bytesOf(length).toString('hex') || '0'}`)
}

/** What an extension holds, or null where it is not among them. Throws where it is there twice. */
export function contentOf(extensions: readonly Value[], id: string): Value | null {
  const found = extensions.filter((each) => isOid(partsOf(each)[0], id))
  if (found.length > 1) throw new Error(`extension ${id} is there twice`)
  return found[0] === undefined ? null : decode(bytesOf(partsOf(found[0]).at(-1)))
}

/** The names in it: every URI, and how many others there are. */
export function namesIn(names: Value | null): { readonly uris: readonly string[]; readonly others: number } {
  const all = names === null ? [] : partsOf(names)
  const uris = all.filter((name) => tagOf(name) === URI).map((name) => bytesOf(name).toString('latin1'))
  return { uris, others: all.length - uris.length }
}

/** Whether it asks for an authority's certificate. */
export function isAuthority(constraints: Value | null): boolean {
  const [first] = constraints === null ? [] : partsOf(constraints)
  return first !== undefined && typeof first.value === 'string' && bytesOf(first).equals(Buffer.of(0xff))
}
