// Load from inside a pod, as orders on standard input say (PodProgram): requests and dials at a rate, and long-lived
// connections that carry a ping every 100 ms. Everything that does not go as it should is told, with when and why.
import http from 'node:http'
import net from 'node:net'
import { takeOrders } from './orders.ts'

/** Where load goes. */
export interface Target {
  readonly host: string
  readonly port: number
}

/** `begin`: starts load under a name. `end`: no more of it; answers with its Tally once all is through. */
export type LoadOrder =
  | {
      readonly begin: string
      /** `mixed`: HTTP, every other request on a new connection; `new`: HTTP, all are; `dial`: TCP, one line back and forth. */
      readonly kind: 'mixed' | 'new' | 'dial'
      readonly targets: readonly Target[]
      readonly perSecond: number
    }
  | { readonly end: string }
  /** Opens connections that ping, under a name; answers with their Pings once they are open. */
  | { readonly hold: string; readonly to: Target; readonly count: number }
  /** Answers with the Pings of a name: `quiet` once no ping is on its way and no more are sent, `ended` once all are closed. */
  | { readonly pings: string; readonly when: 'now' | 'quiet' | 'ended' }
  /** One HTTP request on a connection of its own, answered after `ms`. */
  | { readonly slow: Target; readonly ms: number }

export interface Failed {
  /** When it began, milliseconds of the wall clock: comparable on one machine. */
  readonly atMs: number
  readonly tookMs: number
  readonly code: string
}

export interface Tally {
  begun: number
  answered: number
  readonly failed: Failed[]
  /** When what succeeded began. */
  readonly fineAtMs: number[]
  slowestMs: number
  connections: number
  /** That the lines of answered dials had, each way. */
  bytes: number
}

export interface Pings {
  readonly open: number
  readonly lost: readonly Failed[]
  readonly sent: number
  readonly answered: number
  readonly slowestMs: number
  /** That the answered ones had, each way. */
  readonly bytes: number
}

const ANSWER_TIMEOUT_MS = 10_000
const TICK_MS = 10
const PING_MS = 100
const MOST_NOTED = 50_000
const codeOf = (error: Error): string => (error as NodeJS.ErrnoException).code ?? error.message

type Begin = Extract<LoadOrder, { readonly begin: string }>

class Load {
  readonly tally: Tally = { begun: 0, answered: 0, failed: [], fineAtMs: [], slowestMs: 0, connections: 0, bytes: 0 }
  readonly #order: Begin
  readonly #kept = new http.Agent({ keepAlive: true })
  readonly #beganMs = performance.now()
  readonly #timer: NodeJS.Timeout
  readonly #open = new Set<Promise<void>>()

  constructor(order: Begin) {
    this.#order = order
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  async end(): Promise<Tally> {
    clearInterval(this.#timer)
    await Promise.all(this.#open)
    this.#kept.destroy()
    return this.tally
  }

  #tick(): void {
    const { targets, perSecond, kind } = this.#order
    const due = ((performance.now() - this.#beganMs) * perSecond) / 1000
    while (this.tally.begun < due) {
      const id = this.tally.begun++
      const target = targets[id % targets.length]!
      // the kinds of request change once a round, so that each target gets each
      const round = Math.floor(id / targets.length)
      const one =
        kind === 'dial' ? this.#dial(target, id) : this.#request(target, id, kind === 'new' || round % 2 === 0)
      const noted = this.#note(one).finally(() => this.#open.delete(noted))
      this.#open.add(noted)
    }
  }

  async #note(one: Promise<string | null>): Promise<void> {
    const { tally } = this
    const [atMs, began] = [Date.now(), performance.now()]
    const code = await one
    const tookMs = performance.now() - began
    tally.slowestMs = Math.max(tally.slowestMs, tookMs)
    if (code === null) tally.answered += 1
    if (code === null && tally.fineAtMs.length < MOST_NOTED) tally.fineAtMs.push(atMs)
    if (code !== null && tally.failed.length < MOST_NOTED) tally.failed.push({ atMs, tookMs, code })
  }

  /** Null where the answer is the one to this very request, else what came instead. */
  #request({ host, port }: Target, id: number, isNew: boolean): Promise<string | null> {
    const body = id % 3 === 0 ? Buffer.alloc(100) : null // a request with a body is not to be repeated by anyone
    const options = {
      host,
      port,
      path: `/?id=${id}`,
      method: body === null ? 'GET' : 'POST',
      timeout: ANSWER_TIMEOUT_MS,
    }
    return new Promise((resolve) => {
      const sent = http.request({ ...options, agent: isNew ? false : this.#kept }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('error', (error) => resolve(codeOf(error)))
        const wanted = `${id} ${body?.length ?? 0}`
        response.on('end', () =>
          resolve(response.statusCode === 200 && text === wanted ? null : `${response.statusCode} ${text}`),
        )
      })
      sent.on('socket', () => sent.reusedSocket || (this.tally.connections += 1))
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
      sent.on('error', (error) => resolve(codeOf(error)))
      sent.end(body)
    })
  }

  #dial({ host, port }: Target, id: number): Promise<string | null> {
    this.tally.connections += 1
    return new Promise((resolve) => {
      const socket = net.connect({ host, port })
      let text = ''
      socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error('no answer in time')))
      socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      socket.on('error', (error) => resolve(codeOf(error)))
      socket.on('close', () => {
        const isAnswered = text === `${id}\n`
        if (isAnswered) this.tally.bytes += text.length
        resolve(isAnswered ? null : `closed after ${text.length} bytes`)
      })
      socket.end(`${id}\n`)
    })
  }
}

/** Connections that are held, each with one ping at most on its way. */
class Holding {
  readonly #lost: Failed[] = []
  readonly #sockets = new Set<net.Socket>()
  readonly #timer = setInterval(() => this.#ping(), PING_MS)
  readonly #waiting = new Map<net.Socket, { readonly text: string; readonly at: number }>()
  #isQuiet = false
  #isEnding = false
  #sent = 0
  #answered = 0
  #slowestMs = 0
  #bytes = 0

  async hold(target: Target, count: number): Promise<Pings> {
    await Promise.all(Array.from({ length: count }, () => this.#connect(target)))
    return this.pings()
  }

  async quiet(): Promise<Pings> {
    this.#isQuiet = true
    while (this.#waiting.size > 0) await new Promise((resolve) => setTimeout(resolve, TICK_MS))
    clearInterval(this.#timer)
    return this.pings()
  }

  async ended(): Promise<Pings> {
    await this.quiet()
    const pings = this.pings()
    this.#isEnding = true
    const closed = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)))
    for (const socket of this.#sockets) socket.end()
    await Promise.all(closed)
    return pings
  }

  pings(): Pings {
    const [open, lost] = [this.#sockets.size, this.#lost]
    return { open, lost, sent: this.#sent, answered: this.#answered, slowestMs: this.#slowestMs, bytes: this.#bytes }
  }

  #connect(target: Target): Promise<void> {
    const socket = net.connect({ ...target, noDelay: true })
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (text.endsWith('\n')) text = this.#answer(socket, text)
    })
    let why = 'closed by the other end'
    socket.on('error', (error) => (why = codeOf(error)))
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#waiting.delete(socket)
      if (!this.#isEnding) this.#lost.push({ atMs: Date.now(), tookMs: 0, code: why })
    })
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.once('connect', () => {
        this.#sockets.add(socket)
        resolve()
      })
    })
  }

  #ping(): void {
    if (this.#isQuiet) return
    for (const socket of this.#sockets) {
      const before = this.#waiting.get(socket)
      // a ping that is late counts as it comes; one that never comes is not answered
      if (before !== undefined) continue
      const text = `${++this.#sent}\n`
      this.#waiting.set(socket, { text, at: performance.now() })
      socket.write(text)
    }
  }

  #answer(socket: net.Socket, text: string): string {
    const waited = this.#waiting.get(socket)
    if (waited?.text !== text) socket.destroy(new Error(`not the answer: ${text}`))
    if (waited === undefined) return ''
    this.#waiting.delete(socket)
    this.#answered += 1
    this.#bytes += text.length
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - waited.at)
    return ''
  }
}

const loads = new Map<string, Load>()
const holdings = new Map<string, Holding>()

function holdingOf(name: string): Holding {
  const known = holdings.get(name) ?? new Holding()
  holdings.set(name, known)
  return known
}

async function carryOut(order: LoadOrder): Promise<unknown> {
  if ('begin' in order) {
    loads.set(order.begin, new Load(order))
    return {}
  }
  if ('end' in order) return loads.get(order.end)?.end()
  if ('slow' in order) {
    const response = await fetch(`http://${order.slow.host}:${order.slow.port}/?id=1&ms=${order.ms}`)
    return `${response.status} ${await response.text()}`
  }
  if ('hold' in order) return holdingOf(order.hold).hold(order.to, order.count)
  const holding = holdingOf(order.pings)
  return order.when === 'quiet' ? holding.quiet() : order.when === 'ended' ? holding.ended() : holding.pings()
}

takeOrders(carryOut)
