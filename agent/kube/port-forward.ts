// A port of a pod through the API server, as one stream: a WebSocket with two channels, one of data and one on which the
// other side says what went wrong.
// Source: Kubernetes API reference "connect GET requests to portforward of Pod"; the subprotocol is v4.channel.k8s.io: a
// message's first byte is its channel, and what comes first on each is the port, two bytes, the low one first.

import { randomBytes } from 'node:crypto'
import http from 'node:http'
import https from 'node:https'
import { Duplex } from 'node:stream'
import { acceptOf, WebSocketLink } from './web-socket.ts'

export const PORT_FORWARD_PROTOCOL = 'v4.channel.k8s.io'
/** Of the one port that is asked for. */
export const CHANNEL = { data: 0, error: 1 } as const
/** What is written is cut into messages of so many bytes. */
const PIECE_BYTES = 32 * 1024
/** Of what the other side says went wrong, so much is kept. */
const REASON_LIMIT_BYTES = 4096

/** A port of a pod, as whoever is in the pod's network reaches it on loopback. */
export interface PodPort {
  readonly namespace: string
  readonly pod: string
  readonly port: number
}

interface Terms {
  readonly signal: AbortSignal
  /** Reads an answer that is no upgrade; rejects with what it says. */
  readonly refused: (response: http.IncomingMessage) => Promise<unknown>
}

/** Where a port-forward is asked for. */
export function portPath({ namespace, pod, port }: PodPort): string {
  const [space, name] = [namespace, pod].map(encodeURIComponent)
  return `/api/v1/namespaces/${space}/pods/${name}/portforward?ports=${port}`
}

/** Asks for the upgrade with these credentials. Rejects as `refused` does, or with what happened to the connection. */
export async function openPort(url: string, credentials: https.RequestOptions, terms: Terms): Promise<Duplex> {
  const { signal, refused } = terms
  const key = randomBytes(16).toString('base64')
  const asking = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': key,
    'sec-websocket-protocol': PORT_FORWARD_PROTOCOL,
  }
  const headers = { ...(credentials.headers as http.OutgoingHttpHeaders | undefined), ...asking }
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>()
  const request = (url.startsWith('https:') ? https : http).get(url, { ...credentials, headers, signal })
  request.on('error', (error) => reject(signal.aborted ? (signal.reason as Error) : error))
  request.on('response', (response) => {
    refused(response).then(() => reject(new Error('the API server does not upgrade the connection')), reject)
  })
  request.on('upgrade', ({ headers: answered }, socket, head) => {
    const isAgreed =
      answered['sec-websocket-accept'] === acceptOf(key) &&
      answered['sec-websocket-protocol'] === PORT_FORWARD_PROTOCOL &&
      answered['sec-websocket-extensions'] === undefined
    if (isAgreed) return resolve(new PortStream(socket, head, signal))
    socket.destroy()
    reject(new Error(`the API server upgrades to something else than ${PORT_FORWARD_PROTOCOL}`))
  })
  return promise
}

/** The data channel. Its end is the other side's; an end of ours closes both ways, for the subprotocol knows no half. */
class PortStream extends Duplex {
  readonly #link: WebSocketLink
  readonly #stop: () => void
  readonly #signal: AbortSignal
  /** Bytes of the port yet to come, by channel. */
  readonly #portBytes = [2, 2]
  #reason = ''
  #written: (() => void) | null = null

  constructor(socket: Duplex, head: Buffer, signal: AbortSignal) {
    super({ allowHalfOpen: false })
    this.#signal = signal
    this.#stop = () => this.destroy(signal.reason as Error)
    signal.addEventListener('abort', this.#stop, { once: true })
    this.#link = new WebSocketLink(socket, 'client', head, {
      message: (payload) => this.#take(payload),
      drain: () => this.#release(),
      end: (fault) => this.#ended(fault),
    })
    // who gets it hears of an error that came with the upgrade: nothing is read before they read
    this.#link.pause()
    this.on('error', () => undefined)
  }

  override _read(): void {
    this.#link.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    let isFree = true
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      const piece = chunk.subarray(at, at + PIECE_BYTES)
      isFree = this.#link.send(Buffer.concat([Buffer.of(CHANNEL.data), piece]))
    }
    if (isFree) done()
    else this.#written = done
  }

  override _final(done: () => void): void {
    this.#link.close()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#signal.removeEventListener('abort', this.#stop)
    if (error === null) this.#link.close()
    else this.#link.destroy()
    this.#release()
    done(error)
  }

  #take(payload: Buffer): void {
    const [channel] = payload
    if (channel === undefined) return
    const skipped = Math.min(this.#portBytes[channel] ?? 0, payload.length - 1)
    if (channel === CHANNEL.data || channel === CHANNEL.error) this.#portBytes[channel]! -= skipped
    const bytes = payload.subarray(1 + skipped)
    if (bytes.length === 0) return
    if (channel === CHANNEL.data && !this.push(bytes)) this.#link.pause()
    if (channel === CHANNEL.error && this.#reason.length < REASON_LIMIT_BYTES) this.#reason += bytes.toString('utf8')
  }

  /** What was said of an error counts more than how the connection then ended. */
  #ended(fault: Error | null): void {
    if (this.destroyed) return
    if (this.#reason !== '') this.destroy(new Error(this.#reason.slice(0, REASON_LIMIT_BYTES)))
    else if (fault !== null) this.destroy(fault)
    else this.push(null)
    this.#release()
  }

  #release(): void {
    const done = this.#written
    this.#written = null
    done?.()
  }
}
