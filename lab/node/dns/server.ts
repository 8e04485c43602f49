// The cluster's DNS server of one node, UDP and TCP, answering from a zone that is replaced whole.
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { type Reply, type Query, MalformedQuery, RCODE, decodeQuery, encodeFormatError, encodeReply } from './wire.ts'
import { type Zone, answer } from './zone.ts'

export const DNS_PORT = 53
/** TCP connections served at once, and how long an idle one is kept. */
export const TCP_CONNECTIONS = 100
export const TCP_IDLE_MS = 10_000

export class DnsServer {
  #zone: Zone = { records: new Map(), reverse: new Map() }
  #serial = 1
  readonly #udp = dgram.createSocket('udp4')
  readonly #tcp = net.createServer()

  /** Puts a new zone in force. */
  use(zone: Zone): void {
    this.#zone = zone
    this.#serial += 1
  }

  /** Listens on `address`, port 53 unless told. Rejects when the address or port cannot be had. */
  async listen(address: string, port = DNS_PORT): Promise<void> {
    this.#udp.on('message', (message, from) => {
      const reply = this.#reply(message, 'udp')
      if (reply) this.#udp.send(reply, from.port, from.address)
    })
    this.#udp.bind({ address, port })
    await once(this.#udp, 'listening')
    // A client that is gone by the time of its answer is no fault of the server.
    this.#udp.on('error', () => undefined)
    this.#tcp.maxConnections = TCP_CONNECTIONS
    this.#tcp.on('connection', (socket) => {
      this.#serve(socket)
    })
    this.#tcp.listen({ host: address, port: this.#udp.address().port })
    await once(this.#tcp, 'listening')
  }

  /** The port it listens on. */
  get port(): number {
    return this.#udp.address().port
  }

  close(): void {
    this.#udp.close()
    this.#tcp.close()
  }

  /** Messages over TCP carry their length in two bytes before them (RFC 1035 section 4.2.2). */
  #serve(socket: net.Socket): void {
    let rest: Buffer = Buffer.alloc(0)
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy())
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
        const length = rest.readUInt16BE(0)
        const reply = this.#reply(rest.subarray(2, 2 + length), 'tcp')
        rest = rest.subarray(2 + length)
        if (!reply) return void socket.destroy()
        const prefix = Buffer.alloc(2)
        prefix.writeUInt16BE(reply.length, 0)
        // A client that asks on without reading is let go, not buffered for.
        if (!socket.write(Buffer.concat([prefix, reply]))) return void socket.destroy()
      }
    })
  }

  #reply(message: Buffer, over: 'udp' | 'tcp'): Buffer | null {
    try {
      const query = decodeQuery(message)
      return encodeReply(query, this.#answer(query), over === 'udp' ? query.udpBytes : undefined)
    } catch (error) {
      if (error instanceof MalformedQuery && error.id !== null) return encodeFormatError(error.id)
      return null
    }
  }

  #answer(query: Query): Reply {
    if (query.opcode !== 0) return { rcode: RCODE.NOT_IMPLEMENTED, authoritative: false, answers: [], authority: [] }
    return answer(this.#zone, query.question, this.#serial, shuffled)
  }
}

function shuffled<T>(of: readonly T[]): T[] {
  const all = [...of]
  for (let at = all.length - 1; at > 0; at -= 1) {
    const other = Math.floor(Math.random() * (at + 1))
    ;[all[at], all[other]] = [all[other] as T, all[at] as T]
  }
  return all
}
