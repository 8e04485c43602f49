// The roots that a mesh believes: which certificate leads to which, and how one root follows another. Pure.

import { X509Certificate } from 'node:crypto'
import { fromPem } from './der.ts'

/** Believed at once. Old and new ones overlap at a rotation, and a mesh may trust others; more is a mistake. */
export const ROOTS_MOST = 16
/** Looked at in one text: a bound for what comes from outside. */
const CERTIFICATES_MOST = 64

/** A root, as it is told to peers. */
export interface Root {
  readonly pem: string
  /** SHA-256, as OpenSSL prints it: what people compare. */
  readonly fingerprint: string
  /** When it ends, in milliseconds since 1970. */
  readonly notAfterMs: number
  readonly certificate: X509Certificate
}

/** The certificates of a text, in its order. Throws where one cannot be read, or there are too many. */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = fromPem('CERTIFICATE', pem)
  if (blocks.length !== pem.split('-----BEGIN ').length - 1) throw new Error('holds what is no certificate')
  if (blocks.length > CERTIFICATES_MOST) throw new Error(`holds more than ${CERTIFICATES_MOST} certificates`)
  return blocks.map((der, at) => {
    try {
      return new X509Certificate(der)
    } catch {
      throw new Error(`its certificate ${at + 1} cannot be read`)
    }
  })
}

/** The roots of a text, each once. Throws, with the reason, where one is no authority's or there are too many. */
export function readRoots(pem: string): readonly Root[] {
  const byFingerprint = new Map<string, Root>()
  for (const certificate of readCertificates(pem)) {
    const { fingerprint256: fingerprint, validToDate, ca } = certificate
    if (!ca) throw new Error(`certificate ${fingerprint} is no authority’s`)
    const root = { pem: certificate.toString(), fingerprint, notAfterMs: validToDate.getTime(), certificate }
    byFingerprint.set(fingerprint, root)
  }
  if (byFingerprint.size > ROOTS_MOST)
    throw new Error(`holds ${byFingerprint.size} roots, and ${ROOTS_MOST} is the most`)
  return [...byFingerprint.values()]
}

/** Roots as one text. */
export function pemOf(roots: readonly Root[]): string {
  return roots.map(({ pem }) => pem).join('')
}

/** Whether it was issued by this one, by name and by signature. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

/** Whether it has signed itself. */
export function isRoot(certificate: X509Certificate): boolean {
  return isIssuedBy(certificate, certificate)
}

/**
 * Whether a certificate with what leads from it to a root leads to the first of these roots, by which is signed now, to
 * another, or to none. Throws where it cannot be read.
 */
export function leadsTo(chainPem: string, roots: readonly Root[]): 'first' | 'other' | 'none' {
  const chain = readCertificates(chainPem)
  const broken = chain.findIndex((each, at) => at > 0 && !isIssuedBy(chain[at - 1] as X509Certificate, each))
  const path = broken < 0 ? chain : chain.slice(0, broken)
  const reaches = ({ certificate }: Root): boolean => path.some((each) => isIssuedBy(each, certificate))
  const [first, ...others] = roots
  if (first !== undefined && reaches(first)) return 'first'
  return others.some(reaches) ? 'other' : 'none'
}

/** How it stands with the roots that are published, and whose is to be the first of them. */
export interface Standing {
  readonly published: readonly Root[]
  /** Fingerprint of the published one that peers may not all have yet, or null. */
  readonly settling: string | null
  /** Root of the authority that signs now; null: none does. */
  readonly inForce: Root | null
  /** Root of the authority that is to sign. */
  readonly wanted: Root
  /** Whether peers have had the time to hear of the wanted one. */
  readonly settled: boolean
}

/** What is to be published, and whether the wanted authority may sign once it is. */
export interface Step {
  readonly roots: readonly Root[]
  readonly settling: string | null
  readonly signs: boolean
}

/**
 * The next step from one root to another. No peer meets a certificate whose root it has not heard of: a new root is the
 * last of them first, and the first, by which is signed, when all have it. Others stay, until they end. Throws where there
 * would be too many.
 */
export function succeed({ published, settling, inForce, wanted, settled }: Standing, nowMs: number): Step {
  const live = published.filter(({ notAfterMs }) => notAfterMs > nowMs)
  const signing = inForce !== null && inForce.notAfterMs > nowMs ? inForce : null
  const base = signing === null ? live : [signing, ...without(live, signing)]
  const isKnown = base.some((each) => isSame(each, wanted))
  const isNext = signing === null || !isSame(signing, wanted)
  const isSettling = isNext && !settled && settling === wanted.fingerprint
  const signs = base.length === 0 || (isKnown && !isSettling)
  const roots = signs ? [wanted, ...without(base, wanted)] : isKnown ? base : [...base, wanted]
  if (roots.length > ROOTS_MOST) throw new Error(`holds ${ROOTS_MOST} roots: there is no room for another`)
  return { roots, settling: signs ? null : wanted.fingerprint, signs }
}

const isSame = (one: Root, other: Root): boolean => one.fingerprint === other.fingerprint
const without = (roots: readonly Root[], gone: Root): readonly Root[] => roots.filter((each) => !isSame(each, gone))
