// Load at a steady pace. Arguments: address, port, requests a second, connections, seconds. A request that has to wait for a
// connection counts from when it was due: a slow answer does not slow the load down. Prints JSON, microseconds.

import { connect, type Socket } from 'node:net'

const [host = '', port = '', rate = '', connections = '', seconds = ''] = process.argv.slice(2)
const REQUEST = `GET /1k HTTP/1.1\r\nHost: ${host}:${port}\r\nUser-Agent: paced/1.0\r\nAccept: */*\r\n\r\n`
const BODY_BYTES = 1024
const DRAIN_MS = 2000

const took: number[] = []
let errors = 0
const due: number[] = []
const idle: Line[] = []

/** A kept connection with one request on it at most. */
class Line {
  readonly #socket: Socket
  #sentAt = 0
  #bytes = 0
  #needed = Infinity
  #head = ''

  constructor() {
    this.#socket = connect({ host, port: Number(port), noDelay: true })
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#socket.on('error', () => errors++)
    this.#socket.on('connect', () => idle.push(this))
  }

  send(dueAt: number): void {
    this.#sentAt = dueAt
    this.#bytes = 0
    this.#needed = Infinity
    this.#head = ''
    this.#socket.write(REQUEST)
  }

  #onData(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#needed === Infinity) {
      this.#head += chunk.toString('latin1')
      const end = this.#head.indexOf('\r\n\r\n')
      if (end < 0) return
      if (!this.#head.startsWith('HTTP/1.1 200')) errors++
      this.#needed = end + 4 + BODY_BYTES
    }
    if (this.#bytes < this.#needed) return
    took.push(performance.now() - this.#sentAt)
    const next = due.shift()
    if (next === undefined) idle.push(this)
    else this.send(next)
  }
}

for (let count = 0; count < Number(connections); count++) new Line()
await new Promise((resolve) => setTimeout(resolve, 200))

const startedAt = performance.now()
let sent = 0
const clock = setInterval(() => {
  const now = performance.now()
  const wanted = Math.min(Math.floor(((now - startedAt) / 1000) * Number(rate)), Number(rate) * Number(seconds))
  for (; sent < wanted; sent++) {
    const line = idle.shift()
    if (line === undefined) due.push(now)
    else line.send(performance.now())
  }
}, 1)
await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000))
const patience = performance.now() + DRAIN_MS
while (took.length < sent && performance.now() < patience) await new Promise((resolve) => setTimeout(resolve, 10))
clearInterval(clock)

took.sort((a, b) => a - b)
const at = (share: number): number => Math.round(1000 * (took[Math.floor(share * (took.length - 1))] ?? NaN))
process.stdout.write(
  `${JSON.stringify({ requests: sent, errors: errors + sent - took.length, p50Us: at(0.5), p99Us: at(0.99) })}\n`,
)
process.exit()
