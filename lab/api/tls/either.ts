// Sockets that speak TLS or plain http, as their first byte says: nodes hand over one listener for both.
// Source: RFC 8446, 5.1: a handshake record begins with 22.
import { createServer } from 'node:https'
import type { IncomingMessage, Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import type { ServerCertificate } from './certificates.ts'

const HANDSHAKE = 0x16
/** Who connects and says nothing is let go after this. */
export const FIRST_BYTE_TIMEOUT_MS = 60_000

/** Answers by TLS; what it is given it keeps until it is ended. */
export interface Secure {
  take(socket: Socket): void
  end(): void
}

/** A server that answers by TLS what `plain` answers without. */
export function tlsBeside(
  plain: HttpServer,
  { certificatePem: cert, privateKeyPem: key }: ServerCertificate,
  shouldUpgradeCallback: (request: IncomingMessage) => boolean,
): Secure {
  const server = createServer({ cert, key, minVersion: 'TLSv1.2', shouldUpgradeCallback })
  server.keepAliveTimeout = plain.keepAliveTimeout
  for (const event of ['request', 'upgrade'] as const) {
    for (const listener of plain.listeners(event)) server.on(event, listener as (...values: unknown[]) => void)
  }
  // a client that does not believe us, or that speaks no TLS after all
  server.on('tlsClientError', (_error, socket) => void socket.destroy())
  // node:http follows the connections only of a server that listens itself
  const sockets = new Set<Socket>()
  return {
    take(socket) {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      server.emit('connection', socket)
    },
    end() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Gives a connection to whom its first byte is for. */
export function serveEither(socket: Socket, plain: HttpServer, secure: Secure): void {
  const end = (): void => void socket.destroy()
  socket.setTimeout(FIRST_BYTE_TIMEOUT_MS, end)
  socket.once('error', end)
  socket.once('readable', () => {
    const first = socket.read() as Buffer | null
    socket.setTimeout(0)
    socket.off('timeout', end)
    socket.off('error', end)
    if (first === null) return end() // it ended before it began
    socket.unshift(first)
    if (first[0] === HANDSHAKE) secure.take(socket)
    else plain.emit('connection', socket)
  })
}
