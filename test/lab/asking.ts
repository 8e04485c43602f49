// GETs from inside a pod at a rate, as orders on standard input say (PodProgram): each answer is told, with when and what.
import http from 'node:http'
import { takeOrders } from './orders.ts'

/** `begin`: starts to ask, every other time on a new connection. `end`: no more of it; answers with all Asked. */
export type AskOrder =
  | {
      readonly begin: string
      readonly host: string
      readonly port: number
      readonly path: string
      readonly perSecond: number
    }
  | { readonly end: string }

/** One request: `status` is 0 where there was no response, `body` says why then. Times are of the wall clock. */
export interface Asked {
  readonly id: string
  readonly beganMs: number
  readonly endedMs: number
  readonly status: number
  readonly body: string
}

const ANSWER_TIMEOUT_MS = 10_000
const TICK_MS = 5
const MOST_NOTED = 50_000

class Asking {
  readonly #order: Extract<AskOrder, { readonly begin: string }>
  readonly #kept = new http.Agent({ keepAlive: true })
  readonly #beganMs = performance.now()
  readonly #timer = setInterval(() => this.#tick(), TICK_MS)
  readonly #open = new Set<Promise<void>>()
  readonly #asked: Asked[] = []
  #begun = 0

  constructor(order: Extract<AskOrder, { readonly begin: string }>) {
    this.#order = order
  }

  async end(): Promise<readonly Asked[]> {
    clearInterval(this.#timer)
    await Promise.all(this.#open)
    this.#kept.destroy()
    return this.#asked
  }

  #tick(): void {
    const due = ((performance.now() - this.#beganMs) * this.#order.perSecond) / 1000
    while (this.#begun < due && this.#begun < MOST_NOTED) {
      const number = this.#begun++
      const one = this.#ask(`${this.#order.begin}-${number}`, number % 2 === 0).then((asked) => {
        this.#asked.push(asked)
        this.#open.delete(one)
      })
      this.#open.add(one)
    }
  }

  #ask(id: string, isKept: boolean): Promise<Asked> {
    const { host, port, path } = this.#order
    const beganMs = performance.timeOrigin + performance.now()
    return new Promise((resolve) => {
      const settle = (status: number, body: string): void =>
        resolve({ id, beganMs, endedMs: performance.timeOrigin + performance.now(), status, body })
      const headers = { 'x-request-id': id }
      const agent = isKept ? this.#kept : false
      const sent = http.get({ host, port, path, headers, agent, timeout: ANSWER_TIMEOUT_MS }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('error', (error) => settle(0, error.message))
        response.on('end', () => settle(response.statusCode ?? 0, text))
      })
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
      sent.on('error', (error) => settle(0, `${(error as NodeJS.ErrnoException).code ?? error.message} kept=${isKept}`))
    })
  }
}

const all = new Map<string, Asking>()

takeOrders((order: AskOrder) => {
  if ('end' in order) return all.get(order.end)?.end() ?? Promise.resolve([])
  all.set(order.begin, new Asking(order))
  return Promise.resolve({})
})
