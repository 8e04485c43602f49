// DER (X.690) and PEM (RFC 7468) as certificates and requests need them.

import type forge from 'node-forge'
import asn1 from 'node-forge/lib/asn1.js'

/** A value of ASN.1. */
export type Value = forge.asn1.Asn1

const UNIVERSAL = asn1.Class.UNIVERSAL
/** The class of tags that mean something only where they stand. */
const TAGGED: forge.asn1.Class = 0x80
const { SEQUENCE, SET, OID, INTEGER, BITSTRING, OCTETSTRING, BOOLEAN, NULL, UTF8, UTCTIME, GENERALIZEDTIME } = asn1.Type
/** RFC 5280 §4.1.2.5: times of later years are written in full. */
const LAST_UTC_YEAR = 2049

/** DER has one form of each value; a bit string's content stays as it is. */
const STRICT = { strict: true, parseAllBytes: true, decodeBitStrings: false } as unknown as boolean

export const sequence = (...parts: readonly Value[]): Value => asn1.create(UNIVERSAL, SEQUENCE, true, [...parts])
export const setOf = (...parts: readonly Value[]): Value => asn1.create(UNIVERSAL, SET, true, [...parts])
export const oid = (dotted: string): Value => asn1.create(UNIVERSAL, OID, false, asn1.oidToDer(dotted).getBytes())
export const nothing = (): Value => asn1.create(UNIVERSAL, NULL, false, '')
export const truth = (): Value => asn1.create(UNIVERSAL, BOOLEAN, false, '\xff')
export const utf8 = (text: string): Value => asn1.create(UNIVERSAL, UTF8, false, latin1(Buffer.from(text)))
export const octets = (bytes: Buffer): Value => asn1.create(UNIVERSAL, OCTETSTRING, false, latin1(bytes))

/** A whole number that is not below zero, most significant byte first. */
export function integer(bytes: Buffer): Value {
  const isNegative = ((bytes[0] ?? 0) & 0x80) !== 0
  return asn1.create(UNIVERSAL, INTEGER, false, latin1(isNegative ? Buffer.concat([Buffer.of(0), bytes]) : bytes))
}

/** Bits, of whose last byte so many do not count. */
export function bits(bytes: Buffer, unused = 0): Value {
  return asn1.create(UNIVERSAL, BITSTRING, false, latin1(Buffer.concat([Buffer.of(unused), bytes])))
}

export function tagged(tag: number, content: Buffer | readonly Value[]): Value {
  return Buffer.isBuffer(content)
    ? asn1.create(TAGGED, tag, false, latin1(content))
    : asn1.create(TAGGED, tag, true, [...content])
}

/** A time, in whole seconds. */
export function time(ms: number): Value {
  const date = new Date(Math.floor(ms / 1000) * 1000)
  return date.getUTCFullYear() <= LAST_UTC_YEAR
    ? asn1.create(UNIVERSAL, UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(UNIVERSAL, GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date))
}

export function encode(value: Value): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1')
}

/** Throws where the bytes are not exactly one value. */
export function decode(der: Buffer): Value {
  return asn1.fromDer(latin1(der), STRICT)
}

/** The parts of a sequence or set. Throws where it is neither. */
export function partsOf(value: Value | undefined): readonly Value[] {
  if (value === undefined || !Array.isArray(value.value)) throw new Error('a part is missing')
  return value.value
}

/** The bytes of what has no parts. Throws where it has some. */
export function bytesOf(value: Value | undefined): Buffer {
  if (value === undefined || typeof value.value !== 'string') throw new Error('a value is missing')
  return Buffer.from(value.value, 'latin1')
}

/** Whether it is an object identifier, and this one. */
export function isOid(value: Value | undefined, dotted: string): boolean {
  if (value === undefined || value.tagClass !== UNIVERSAL || value.type !== OID) return false
  return bytesOf(value).equals(Buffer.from(asn1.oidToDer(dotted).getBytes(), 'latin1'))
}

/** The number of a tag that means something only where it stands, or null. */
export function tagOf(value: Value): number | null {
  return value.tagClass === TAGGED ? value.type : null
}

export function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/** What stands between the lines of a label, each block as DER, in its order. */
export function fromPem(label: string, text: string): Buffer[] {
  const blocks = text.matchAll(new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]*)-----END ${label}-----`, 'g'))
  return [...blocks].map(([, base64 = '']) => Buffer.from(base64, 'base64'))
}

function latin1(bytes: Buffer): string {
  return bytes.toString('latin1')
}
