// TLS of a channel, whatever does it: what it is asked for, what it tells of the other end, how it fails.

import { createHash, createPrivateKey, hkdfSync, X509Certificate } from 'node:crypto'
import { MeshError } from '../../model/failure.ts'
import type { Channel } from './transport.ts'

/** How long a handshake may take. */
export const HANDSHAKE_MS = 10_000
/** Bytes that a peer may send for its part of a handshake. */
export const HANDSHAKE_MOST = 128 * 1024
/** How long a session may be resumed, where nothing is said. */
const TICKET_SECONDS = 3600
/** Sessions that a client keeps, one a name. */
const SESSIONS_MOST = 1024
/** Bytes that one key encrypts: a sixth of what AES-GCM's bound allows for records of full size. */
const REKEY_BYTES = 64 * 2 ** 30

export interface CredentialsOptions {
  /** The certificate, then what leads to a root; null for a client that shows none. */
  readonly certificatePem: string | null
  readonly privateKeyPem: string | null
  /** Peers are verified up to these; null: a client takes any server, and a server asks for no certificate. */
  readonly rootsPem: string | null
  /** 32 bytes or more, shared by all who resume each other's sessions; null: a server gives no tickets. */
  readonly ticketSecret?: Uint8Array | null
  /** How long a session may be resumed. Neither certificate's end is outlived, whatever is said here. */
  readonly ticketSeconds?: number
  /** Between meshes 1.3; what is outside may need 1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** Native channels change their keys after so many bytes. */
  readonly rekeyBytes?: number
}

/**
 * What a side shows and whom it believes: shared by many channels, replaced as a whole. Open channels keep what they began
 * with. A session is resumed only between credentials of the same identity, roots and ticket secret.
 */
export class Credentials {
  readonly certificatePem: string | null
  readonly rootsPem: string | null
  readonly ticketSeconds: number
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  readonly rekeyBytes: number
  readonly sessionsMost = SESSIONS_MOST
  /** 32 bytes that stand for the identity and the roots. */
  readonly sessionContext: Buffer
  /** When the certificate ends, in milliseconds. */
  readonly notAfter: number
  // out of reach of whatever prints an object
  readonly #privateKeyPem: string | null
  readonly #ticketSecret: Uint8Array | null

  /** Throws where a text is no certificate or key, or the key is another certificate's. */
  constructor(options: CredentialsOptions) {
    this.certificatePem = options.certificatePem
    this.#privateKeyPem = options.privateKeyPem
    this.rootsPem = options.rootsPem
    this.#ticketSecret = options.ticketSecret ?? null
    this.ticketSeconds = Math.max(1, options.ticketSeconds ?? TICKET_SECONDS)
    this.minVersion = options.minVersion ?? 'TLSv1.3'
    this.rekeyBytes = options.rekeyBytes ?? REKEY_BYTES
    const own = options.certificatePem === null ? null : new X509Certificate(options.certificatePem)
    if (own !== null && !own.checkPrivateKey(createPrivateKey(options.privateKeyPem ?? ''))) {
      throw new Error('the private key is not the certificate’s')
    }
    for (const pem of [options.certificatePem, options.rootsPem]) if (pem !== null) readAll(pem)
    this.notAfter = own?.validToDate.getTime() ?? Infinity
    const identity = JSON.stringify([own?.subject, own?.subjectAltName, options.rootsPem])
    this.sessionContext = createHash('sha256').update(identity).digest()
  }

  get privateKeyPem(): string | null {
    return this.#privateKeyPem
  }

  /** So many bytes of ticket keys, none where no tickets are given. */
  ticketKeys(length: number): Buffer {
    if (this.#ticketSecret === null) return Buffer.alloc(0)
    return Buffer.from(hkdfSync('sha256', this.#ticketSecret, '', 'weft ticket keys', length))
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/** The certificates of a text, each as it is written there. */
export function certificatesIn(pem: string): ReadonlySet<string> {
  return new Set(pem.match(CERTIFICATE))
}

const BEGIN = '-----BEGIN '

/** Throws at the first certificate that is none: whoever takes a chain or roots stops there, in silence. */
function readAll(pem: string): void {
  const [before = '', first = '', ...others] = pem.split(BEGIN)
  for (const block of [`${before}${BEGIN}${first}`, ...others.map((other) => BEGIN + other)]) new X509Certificate(block)
}

interface Asked {
  readonly credentials: Credentials
  /** A server's: what it takes, best first (empty: whatever the client offers, and none is chosen). A client's: its offer. */
  readonly alpn: readonly string[]
  readonly timeoutMs?: number
}

export interface ServerTls extends Asked {
  readonly side: 'server'
  /** Whether the client must show a certificate that leads to one of the roots. */
  readonly mutual: boolean
  /** Bytes that were received before; they are copied. */
  readonly ahead?: Uint8Array
}

export interface ClientTls extends Asked {
  readonly side: 'client'
  readonly serverName: string | null
  /** Whose session may be resumed: names the server's expected identity. Null: a new session. */
  readonly session: string | null
}

export type TlsOptions = ServerTls | ClientTls

/** A secured channel, held; whether to go on is its owner's to judge. */
export interface Secured {
  /** To be used from now on. */
  readonly channel: Channel
  readonly version: string
  /** The protocol that both chose. */
  readonly alpn: string | null
  /** Whom the client asked for. */
  readonly serverName: string | null
  readonly resumed: boolean
  /** Whom the chain was verified for. Null: it showed no certificate, or nobody asked whether it leads to a root. */
  readonly peer: PeerCertificate | null
  /** What a server showed to a client without roots: anybody may show it. */
  readonly unverified: PeerCertificate | null
}

/** The other end's certificate where it belongs. */
export function shown(own: PeerCertificate | null, how: TlsOptions): Pick<Secured, 'peer' | 'unverified'> {
  const isVerified = how.side === 'server' ? how.mutual : how.credentials.rootsPem !== null
  return isVerified ? { peer: own, unverified: null } : { peer: null, unverified: own }
}

/** What the other end's certificate says. */
export class PeerCertificate {
  /** Every URI, every DNS name and every IP address that it has, in its order. */
  readonly uris: readonly string[]
  readonly dnsNames: readonly string[]
  readonly ips: readonly string[]
  readonly notAfter: number
  readonly #own: X509Certificate
  readonly #chain: () => readonly X509Certificate[]

  constructor(own: X509Certificate, chain: () => readonly X509Certificate[]) {
    const names = alternativeNames(own.subjectAltName ?? '')
    const of = (wanted: string): string[] => names.filter(([kind]) => kind === wanted).map(([, name]) => name)
    this.uris = of('URI')
    this.dnsNames = of('DNS')
    this.ips = of('IP Address')
    this.notAfter = own.validToDate.getTime()
    this.#own = own
    this.#chain = chain
  }

  get serial(): string {
    return this.#own.serialNumber
  }

  /** Of the whole certificate, in lower-case hexadecimal. */
  get sha256(): string {
    return this.#own.fingerprint256.replaceAll(':', '').toLowerCase()
  }

  /** All that it sent, its own certificate first; that one alone where the session was resumed. */
  get chainPem(): string {
    return this.#chain().map(String).join('')
  }
}

/** Pairs of kind and name. Node quotes, as JSON, names in which something could be taken for a separator. */
export function alternativeNames(text: string): [string, string][] {
  return [...text.matchAll(/(?:^|, )([^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?=, |$)/g)].map(
    ([, kind = '', name = '']): [string, string] => [kind, name.startsWith('"') ? (JSON.parse(name) as string) : name],
  )
}

/** Why TLS ended badly. */
export type TlsReason =
  | 'expired'
  | 'not-yet-valid'
  | 'untrusted'
  | 'no-certificate'
  | 'no-protocol'
  | 'alert'
  | 'truncated'
  | 'excess'
  | 'protocol'
  | 'credentials'
  | 'timeout'
  | 'given-up'

const REASONS: Readonly<Record<TlsReason, string>> = {
  expired: 'the certificate of the other end has expired',
  'not-yet-valid': 'the certificate of the other end is not valid yet',
  untrusted: 'the certificate of the other end leads to none of the roots',
  'no-certificate': 'the other end showed no certificate',
  'no-protocol': 'no application protocol is common to both ends',
  alert: 'the other end refused',
  truncated: 'the connection ended without a word',
  excess: 'the other end sent more than a handshake needs',
  protocol: 'what came is not TLS as it should be',
  credentials: 'our own credentials cannot be used',
  timeout: 'the handshake took too long',
  'given-up': 'the connection was given up',
}

/** How TLS ended, where it did not in order. */
export class TlsError extends Error {
  readonly reason: TlsReason
  /** For those who tell losses by their code. */
  readonly code: string

  constructor(reason: TlsReason, details = '') {
    super(details === '' ? REASONS[reason] : `${REASONS[reason]} (${details})`)
    this.name = 'TlsError'
    this.reason = reason
    this.code = `TLS_${reason.toUpperCase().replaceAll('-', '_')}`
  }
}

/** What a failed verification means; `verdict` is X509_V_ERR_*'s name without its beginning, `details` its words. */
export function unverified(verdict: string, details: string): TlsError {
  if (verdict === 'CERT_HAS_EXPIRED') return new TlsError('expired')
  if (verdict === 'CERT_NOT_YET_VALID') return new TlsError('not-yet-valid')
  return new TlsError('untrusted', details)
}

/** What OpenSSL's words for an error mean. */
export function protocolError(words: string): TlsError {
  if (words.includes('peer did not return a certificate')) return new TlsError('no-certificate')
  if (words === 'no application protocol') return new TlsError('no-protocol')
  return new TlsError(/\balert\b/.test(words) ? 'alert' : 'protocol', words)
}

/** A handshake that came to nothing, as a failure of the side that we are. */
export function handshakeFailure(side: 'server' | 'client', cause: Error): MeshError {
  const code = side === 'server' ? 'CALLER_TLS_FAILED' : 'UPSTREAM_TLS_FAILED'
  return new MeshError(code, `no TLS: ${cause.message}`, cause)
}
