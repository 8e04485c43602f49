// `pods/NAME/portforward`: ports of a pod over one WebSocket, two channels a port. What kubectl speaks instead, SPDY frames
// of its own or within a WebSocket, is not served.
// Source: Kubernetes API reference "connect GET requests to portforward of Pod"; the subprotocol v4.channel.k8s.io: a message
// is a byte of the channel and what it carries; first on each channel comes the port, two bytes, the low one first.
import type { Socket } from 'node:net'
import { CHANNEL, PORT_FORWARD_PROTOCOL } from '../../../agent/kube/port-forward.ts'
import { acceptOf, isKey, WebSocketLink } from '../../../agent/kube/web-socket.ts'
import { permit, resourceAccess } from '../auth/access.ts'
import { badRequest, tooMany } from '../status.ts'
import { found } from './read.ts'
import type { KubeObject } from '../object.ts'
import type { Store } from '../store.ts'
import type { Exchange, Upgrade } from './exchange.ts'
import type { Place } from './path.ts'

/** Connects to a port on loopback in a pod's network. Rejects with a sentence, in the words of Kubernetes' own. */
export type DialPod = (pod: KubeObject, port: number) => Promise<Socket>

/** Upgraded connections at once. */
const FORWARDS_LIMIT = 256
/** Ports of one connection. */
const PORTS_LIMIT = 16
/** A connection that is silent for so long is given up, as the kubelet does. */
const SILENCE_MS = 4 * 3600 * 1000

/** The port-forwards of an API: they are no connections of its HTTP server any more. */
export class PortForwards {
  readonly #store: Store
  readonly #dialPod: DialPod | undefined
  readonly #open = new Set<Forward>()

  constructor(store: Store, dialPod: DialPod | undefined) {
    this.#store = store
    this.#dialPod = dialPod
  }

  /** Answers a request for the subresource. Throws ApiError where it is refused. */
  serve(exchange: Exchange, place: Place): void {
    const { upgrade, request } = exchange
    // both, since Kubernetes 1.35: a GET by itself would be a right of readers
    permit(exchange, { ...resourceAccess(exchange, place), verb: 'create' }, this.#store)
    const pod = found(this.#store, place)
    if (!pod.spec.nodeName) throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`)
    if (upgrade === undefined) throw badRequest(refusalOf(request.headers.upgrade))
    const key = keyOf(exchange)
    const ports = portsOf(exchange.query)
    if (this.#open.size >= FORWARDS_LIMIT) throw tooMany('too many port-forwards at once', 1)
    const dial = this.#dialPod ?? (() => Promise.reject(new Error('this API reaches no pods')))
    exchange.takeOver(switching(key))
    const forward = new Forward(upgrade, ports, () => this.#open.delete(forward))
    this.#open.add(forward)
    void forward.connect(pod, dial)
  }

  close(): void {
    for (const forward of this.#open) forward.destroy()
  }
}

function refusalOf(asked: string | undefined): string {
  if (asked === undefined) return 'Upgrade request required'
  return `unable to upgrade: ${asked} is not served for port-forward, a WebSocket with ${PORT_FORWARD_PROTOCOL} is`
}

/** The key of a handshake that can be answered. */
function keyOf({ request, method }: Exchange): string {
  const { headers } = request
  const key = headers['sec-websocket-key'] ?? ''
  if (method !== 'GET' || headers['sec-websocket-version'] !== '13' || !isKey(key)) {
    throw badRequest('unable to upgrade: this is no WebSocket handshake of version 13')
  }
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim())
  if (offered.includes(PORT_FORWARD_PROTOCOL)) return key
  throw badRequest(`unable to upgrade: none of ${JSON.stringify(offered)} is ${PORT_FORWARD_PROTOCOL}`)
}

function portsOf(query: URLSearchParams): number[] {
  const texts = query.getAll('ports')
  if (texts.length === 0) throw badRequest('query parameter "ports" is required')
  if (texts.length > PORTS_LIMIT) throw badRequest(`at most ${PORTS_LIMIT} ports are forwarded at once`)
  return texts.map((text) => {
    const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
    if (port < 1 || port > 65_535) throw badRequest(`unable to parse ${JSON.stringify(text)} as a port`)
    return port
  })
}

function switching(key: string): string {
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${acceptOf(key)}`,
    `Sec-WebSocket-Protocol: ${PORT_FORWARD_PROTOCOL}`,
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** One upgraded connection and those into the pod. It is over when all of these are, or when the client is gone. */
class Forward {
  readonly #link: WebSocketLink
  readonly #ports: readonly number[]
  readonly #pods: (Socket | undefined)[]
  readonly #over: () => void
  #left: number
  #isOver = false
  /** Connections into the pod that take no more for now. */
  readonly #full = new Set<Socket>()

  constructor({ socket, head }: Upgrade, ports: readonly number[], over: () => void) {
    this.#ports = ports
    this.#pods = ports.map(() => undefined)
    this.#left = ports.length
    this.#over = over
    this.#link = new WebSocketLink(socket, 'server', head, {
      message: (payload) => this.#take(payload),
      drain: () => {
        for (const pod of this.#pods) pod?.resume()
      },
      end: () => this.#end(),
    })
    this.#link.pause() // until there is somewhere to write to
    socket.setTimeout(SILENCE_MS, () => this.destroy())
  }

  async connect(pod: KubeObject, dial: DialPod): Promise<void> {
    await Promise.all(
      this.#ports.map(async (port, at) => {
        for (const channel of [CHANNEL.data, CHANNEL.error]) this.#send(at, channel, portBytes(port))
        await dial(pod, port).then(
          (socket) => this.#join(at, socket),
          (error: Error) => this.#fail(at, `error forwarding port ${port} to ${named(pod)}: ${error.message}`),
        )
      }),
    )
    this.#link.resume()
  }

  destroy(): void {
    this.#link.destroy()
  }

  #join(at: number, pod: Socket): void {
    if (this.#isOver) return void pod.destroy()
    this.#pods[at] = pod
    pod.on('data', (bytes: Buffer) => {
      if (!this.#send(at, CHANNEL.data, bytes)) pod.pause()
    })
    pod.on('drain', () => this.#freed(pod))
    // the subprotocol knows no half of an end: as the kubelet does, it is over once the pod has said all
    pod.on('end', () => pod.destroySoon())
    pod.on('error', (error) => this.#send(at, CHANNEL.error, Buffer.from(error.message)))
    pod.on('close', () => {
      this.#freed(pod)
      this.#done()
    })
    pod.resume()
  }

  #fail(at: number, sentence: string): void {
    this.#send(at, CHANNEL.error, Buffer.from(sentence))
    this.#done()
  }

  #send(at: number, channel: number, bytes: Buffer): boolean {
    return this.#link.send(Buffer.concat([Buffer.of(2 * at + channel), bytes]))
  }

  #take(payload: Buffer): void {
    const [channel = 1] = payload
    const pod = channel % 2 === CHANNEL.data ? this.#pods[channel / 2] : undefined
    if (pod === undefined || pod.writableEnded || pod.destroyed || pod.write(payload.subarray(1))) return
    this.#full.add(pod)
    this.#link.pause()
  }

  #freed(pod: Socket): void {
    if (this.#full.delete(pod) && this.#full.size === 0) this.#link.resume()
  }

  #done(): void {
    this.#left--
    if (this.#left === 0) this.#link.close()
  }

  #end(): void {
    this.#isOver = true
    for (const pod of this.#pods) pod?.destroySoon()
    this.#over()
  }
}

function named({ metadata }: KubeObject): string {
  return `pod ${metadata.name}, uid ${metadata.uid}`
}

function portBytes(port: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(port)
  return bytes
}
