// TLS by node:tls: what it makes of credentials, the socket of one connection, and what that says of its peer.

import { constants, type X509Certificate } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import {
  type ClientTls,
  type Credentials,
  PeerCertificate,
  type Secured,
  shown,
  TlsError,
  type TlsOptions,
  unverified,
} from './tls.ts'

/** A name, and two keys. */
const TICKET_KEYS_BYTES = 48

interface Session {
  readonly bytes: Buffer
  readonly peer: X509Certificate
  readonly goodUntil: number
}

/** node:tls' form of credentials, made once a thread. */
class NodeCredentials {
  readonly context: SecureContext
  readonly #sessions = new Map<string, Session>()
  readonly #credentials: Credentials

  constructor(credentials: Credentials) {
    this.#credentials = credentials
    const { certificatePem, privateKeyPem, rootsPem, minVersion, ticketSeconds } = credentials
    const ticketKeys = credentials.ticketKeys(TICKET_KEYS_BYTES)
    const wish = {
      cert: certificatePem ?? undefined,
      key: privateKeyPem ?? undefined,
      ca: rootsPem ?? [],
      minVersion,
      ecdhCurve: 'P-256:X25519:P-384',
      sessionTimeout: ticketSeconds,
      sessionIdContext: credentials.sessionContext.toString('hex', 0, 16),
      ...(ticketKeys.length === 0 ? { secureOptions: constants.SSL_OP_NO_TICKET } : { ticketKeys }),
    }
    try {
      this.context = createSecureContext(wish)
    } catch (thrown) {
      throw new TlsError('credentials', (thrown as Error).message)
    }
  }

  find(name: string): Session | undefined {
    const session = this.#sessions.get(name)
    if (session === undefined) return undefined
    this.#sessions.delete(name)
    if (session.goodUntil <= Date.now()) return undefined
    this.#sessions.set(name, session) // the last used is the last
    return session
  }

  keep(name: string, bytes: Buffer, peer: X509Certificate): void {
    const { ticketSeconds, notAfter, sessionsMost } = this.#credentials
    const ends = [Date.now() + ticketSeconds * 1000, notAfter, peer.validToDate.getTime()]
    this.#sessions.delete(name)
    this.#sessions.set(name, { bytes, peer, goodUntil: Math.min(...ends) })
    if (this.#sessions.size <= sessionsMost) return
    const [oldest] = this.#sessions.keys()
    this.#sessions.delete(oldest as string)
  }
}

const made = new WeakMap<Credentials, NodeCredentials>()

function nodeCredentials(credentials: Credentials): NodeCredentials {
  const known = made.get(credentials) ?? new NodeCredentials(credentials)
  made.set(credentials, known)
  return known
}

/** One end of a connection, whose bytes come and go by `wire`. It refuses nobody but a client without a certificate. */
export function openSocket(how: TlsOptions, wire: Duplex): TLSSocket {
  const ALPNProtocols = how.alpn.length === 0 ? undefined : [...how.alpn]
  if (how.side === 'client') return openClient(how, wire, ALPNProtocols)
  const { context } = nodeCredentials(how.credentials)
  return new TLSSocket(wire, {
    isServer: true,
    secureContext: context,
    requestCert: how.mutual,
    rejectUnauthorized: how.mutual,
    ALPNProtocols,
  })
}

function openClient(
  { credentials, serverName, session }: ClientTls,
  wire: Duplex,
  ALPNProtocols?: string[],
): TLSSocket {
  const known = nodeCredentials(credentials)
  const offered = session === null ? undefined : known.find(session)
  const tls = connect({
    socket: wire,
    secureContext: known.context,
    servername: serverName ?? undefined,
    ALPNProtocols,
    session: offered?.bytes,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
  if (offered !== undefined) offeredPeers.set(tls, offered.peer)
  if (session === null) return tls
  return tls.on('session', (bytes) => {
    const peer = tls.isSessionReused() ? undefined : peerOf(tls) // a session ends with the time that it began with
    if (peer !== undefined) known.keep(session, bytes, peer)
  })
}

/** Whose sessions clients have offered: a session resumed brings no certificate. */
const offeredPeers = new WeakMap<TLSSocket, X509Certificate>()

function peerOf(tls: TLSSocket): X509Certificate | undefined {
  return tls.getPeerX509Certificate() ?? (tls.isSessionReused() ? offeredPeers.get(tls) : undefined)
}

/** What node:tls does not say of a server's socket by itself: typed here because it is by no public name. */
interface Inner {
  readonly servername: string | false | null
  readonly ssl: { verifyError(): NodeJS.ErrnoException | null }
}

/** Why the other end is not to be believed, or null. */
export function refusalOf(tls: TLSSocket, how: TlsOptions): TlsError | null {
  if (how.side === 'server' ? !how.mutual : how.credentials.rootsPem === null) return null
  const error = (tls as unknown as Inner).ssl.verifyError()
  if (error !== null) return unverified(error.code ?? '', error.message)
  const own = peerOf(tls)
  if (own === undefined) return new TlsError('no-certificate')
  return own.validToDate.getTime() <= Date.now() ? new TlsError('expired') : null // that of a resumed session
}

/** What a finished handshake has settled. */
export function described(tls: TLSSocket, how: TlsOptions): Omit<Secured, 'channel'> {
  const own = peerOf(tls)
  return {
    version: tls.getProtocol() ?? '',
    alpn: tls.alpnProtocol || null,
    serverName: (tls as unknown as Inner).servername || null,
    resumed: tls.isSessionReused(),
    ...shown(own === undefined ? null : new PeerCertificate(own, () => chainOf(own)), how),
  }
}

function chainOf(own: X509Certificate): X509Certificate[] {
  const chain = [own]
  for (let at = own.issuerCertificate; at !== undefined && chain.length < 10; at = at.issuerCertificate) chain.push(at)
  return chain
}
