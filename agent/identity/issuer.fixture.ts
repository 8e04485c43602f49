// Authorities for tests that makeRoot does not make: beneath another, limited, weak, over.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import {
  bits,
  decode,
  encode,
  integer,
  octets,
  oid,
  sequence,
  setOf,
  tagged,
  time,
  toPem,
  truth,
  utf8,
  type Value,
} from './der.ts'
import { ofAuthority } from './extensions.ts'
import { ECDSA_SHA256 } from './request.ts'

const HOUR_MS = 3_600_000

/** An authority, with the names that those beneath it need. */
export interface Issuer {
  readonly name: Value
  readonly certificatePem: string
  readonly privateKeyPem: string
}

interface Wish {
  readonly key?: KeyObject
  readonly extensions?: readonly Value[]
  readonly beginMs?: number
  readonly endMs?: number
}

export const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
export const pemOfKey = (key: KeyObject): string => key.export({ format: 'pem', type: 'pkcs8' }).toString()

const extension = (id: string, content: Value): Value => sequence(oid(id), truth(), octets(encode(content)))
/** Basic constraints of an authority that allows so many beneath it. */
export const pathOf = (length: number): Value => extension('2.5.29.19', sequence(truth(), integer(Buffer.of(length))))
/** A key usage that is digitalSignature alone. */
export const NO_SIGNING = extension('2.5.29.15', bits(Buffer.of(0x80), 7))
export const usages = (...ids: readonly string[]): Value => extension('2.5.29.37', sequence(...ids.map(oid)))

/** An authority of any kind, of `parent` or, without one, its own root. */
export function issuer(parent: Issuer | null, wish: Wish = {}): Issuer {
  const {
    key = newKey(),
    extensions = ofAuthority(),
    beginMs = Date.now() - HOUR_MS,
    endMs = Date.now() + 24 * HOUR_MS,
  } = wish
  const name = sequence(setOf(sequence(oid('2.5.4.3'), utf8(`issuer ${randomBytes(4).toString('hex')}`))))
  const content = sequence(
    tagged(0, [integer(Buffer.of(2))]),
    integer(randomBytes(8)),
    sequence(oid(ECDSA_SHA256)),
    parent?.name ?? name,
    sequence(time(beginMs), time(endMs)),
    name,
    decode(createPublicKey(key).export({ format: 'der', type: 'spki' })),
    tagged(3, [sequence(...extensions)]),
  )
  const signature = sign('sha256', encode(content), parent === null ? key : createPrivateKey(parent.privateKeyPem))
  const der = encode(sequence(content, sequence(oid(ECDSA_SHA256)), bits(signature)))
  return { name, certificatePem: toPem('CERTIFICATE', der), privateKeyPem: pemOfKey(key) }
}
