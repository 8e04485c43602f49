// TLS on the addon's channels (native/channels-tls.cc): the handshake's beginning and end.

import { X509Certificate } from 'node:crypto'
import { constants } from 'node:os'
import type { Native, NativeTlsCredentials } from '../../kernel/native.ts'
import type { NativeChannel } from './channel-native.ts'
import { failureOf } from './errors.ts'
import {
  type Credentials,
  HANDSHAKE_MS,
  handshakeFailure,
  PeerCertificate,
  protocolError,
  type Secured,
  shown,
  TlsError,
  type TlsOptions,
  unverified,
} from './tls.ts'
import { DEAF } from './transport.ts'
import type { NativeTransport } from './transport-native.ts'

const TLS_1_2 = 0x0303
const TLS_1_3 = 0x0304
/** A name, and two keys. */
const TICKET_KEYS_BYTES = 80
// kinds of TlsFault
const TRUNCATED = 1
const EXCESS = 2
// of X509_V_ERR_*
const VERDICTS: Readonly<Record<number, string>> = { 9: 'CERT_NOT_YET_VALID', 10: 'CERT_HAS_EXPIRED' }
const ALREADY = -constants.errno.EALREADY
const NO_BYTES = new Uint8Array(0)

/** OpenSSL's form of credentials, made once a thread. */
const made = new WeakMap<Credentials, NativeTlsCredentials>()

function nativeCredentials(native: Native, credentials: Credentials): NativeTlsCredentials {
  const known = made.get(credentials)
  if (known !== undefined) return known
  const fresh = new native.TlsCredentials({
    certificate: credentials.certificatePem ?? '',
    key: credentials.privateKeyPem ?? '',
    roots: credentials.rootsPem ?? '',
    sessionContext: credentials.sessionContext,
    ticketKeys: credentials.ticketKeys(TICKET_KEYS_BYTES),
    ticketSeconds: credentials.ticketSeconds,
    sessionsMost: credentials.sessionsMost,
    minVersion: credentials.minVersion === 'TLSv1.2' ? TLS_1_2 : TLS_1_3,
    rekeyBytes: credentials.rekeyBytes,
  })
  if (fresh.fault !== '') throw new TlsError('credentials', fresh.fault)
  made.set(credentials, fresh)
  return fresh
}

/** See Channel.secure. What has been read of the channel by now, in the same wake-up, goes into the handshake. */
export function secureNative(channel: NativeChannel, { transport, id }: Placed, how: TlsOptions): Promise<Secured> {
  const { channels, native } = transport
  return new Promise((resolve, reject) => {
    const ahead: Uint8Array[] = how.side === 'server' && how.ahead !== undefined ? [Uint8Array.from(how.ahead)] : []
    let settled = false
    const fail = (cause: Error): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      channel.abandon()
      reject(handshakeFailure(how.side, cause))
    }
    const timer = setTimeout(() => fail(new TlsError('timeout')), how.timeoutMs ?? HANDSHAKE_MS)
    channel.hold()
    channel.onLeft = () => queueMicrotask(() => fail(new TlsError('given-up'))) // unless it says itself why
    channel.sink = {
      ...DEAF,
      bytes: (arena, from, to) => ahead.push(Uint8Array.from(arena.subarray(from, to))),
      end: () => fail(new TlsError('truncated')),
      lost: fail,
    }
    channel.onSecured = () => {
      const secured = securedOf(channel, { transport, id }, how) // where it throws, the handshake has failed
      settled = true
      clearTimeout(timer)
      channel.sink = DEAF
      channel.onLeft = channel.onSecured = () => {} // nothing of the handshake is kept
      resolve(secured)
    }
    const start = (): void => {
      if (channel.dead) return fail(new TlsError('given-up'))
      transport.flush() // what was written until now is plain
      const status = channels.secure(id, nativeCredentials(native, how.credentials), {
        isServer: how.side === 'server',
        mutual: how.side === 'server' && how.mutual,
        alpn: wireOf(how.alpn),
        serverName: how.side === 'client' ? (how.serverName ?? '') : '',
        session: how.side === 'client' ? (how.session ?? '') : '',
        ahead: ahead.length === 0 ? NO_BYTES : Buffer.concat(ahead),
      })
      if (status === ALREADY) fail(new TlsError('given-up', 'it is secured already'))
      else if (status < 0) fail(failureOf(status, 'secure'))
    }
    queueMicrotask(() => {
      try {
        start()
      } catch (thrown) {
        fail(thrown as Error)
      }
    })
  })
}

interface Placed {
  readonly transport: NativeTransport
  readonly id: number
}

function securedOf(channel: NativeChannel, { transport, id }: Placed, how: TlsOptions): Secured {
  const told = transport.channels.secured(id)
  const [own, ...others] = told?.chain ?? []
  return {
    channel,
    version: told?.version ?? '',
    alpn: told?.alpn || null,
    serverName: told?.serverName || null,
    resumed: told?.resumed ?? false,
    ...shown(own === undefined ? null : peerOf(new X509Certificate(own), others), how),
  }
}

function peerOf(own: X509Certificate, others: readonly Uint8Array[]): PeerCertificate {
  return new PeerCertificate(own, () => [own, ...others.map((der) => new X509Certificate(der))])
}

/** Why a channel's TLS ended badly. */
export function brokenNative({ channels }: NativeTransport, id: number): TlsError {
  const { kind, text, verify } = channels.broken(id) ?? { kind: TRUNCATED, text: '', verify: 0 }
  if (kind === TRUNCATED) return new TlsError('truncated')
  if (kind === EXCESS) return new TlsError('excess')
  return verify === 0 ? protocolError(text) : unverified(VERDICTS[verify] ?? '', text)
}

/** Names of protocols, each behind its length. */
function wireOf(names: readonly string[]): Buffer {
  return Buffer.concat(names.map((name) => Buffer.from(String.fromCharCode(name.length) + name, 'latin1')))
}
