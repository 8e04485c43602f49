// GET requests from inside a pod at a rate, as orders on standard input say (PodProgram): every other one on a new
// connection, each with an id of its own in x-request-id. Every answer is told, with when it was asked for and when it came.
import http from 'node:http'
import type { Target } from './load.ts'
import { takeOrders } from './orders.ts'

export type GettingOrder = { readonly get: Target; readonly perSecond: number } | { readonly end: true }

export interface Got {
  readonly id: string
  /** Milliseconds of the wall clock. */
  readonly beganMs: number
  readonly endedMs: number
  /** Status and body, or what went wrong. */
  readonly answer: string
}

const TICK_MS = 10
const ANSWER_TIMEOUT_MS = 10_000

const kept = new http.Agent({ keepAlive: true })
const got: Got[] = []
const open = new Set<Promise<void>>()
let timer: NodeJS.Timeout | null = null
let begun = 0

function get({ host, port }: Target, id: string): Promise<string> {
  return new Promise((resolve) => {
    const agent = begun % 2 === 0 ? kept : false
    const options = { host, port, agent, headers: { 'x-request-id': id }, timeout: ANSWER_TIMEOUT_MS }
    const sent = http.get(options, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('error', (error) => resolve(error.message))
      response.on('end', () => resolve(`${response.statusCode} ${text}`))
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.on('error', (error) => resolve(error.message))
  })
}

async function one(target: Target): Promise<void> {
  const id = `get-${process.pid}-${begun++}`
  const beganMs = Date.now()
  const answer = await get(target, id)
  got.push({ id, beganMs, endedMs: Date.now(), answer })
}

takeOrders(async (order: GettingOrder): Promise<unknown> => {
  if ('end' in order) {
    if (timer !== null) clearInterval(timer)
    await Promise.all(open)
    kept.destroy()
    return got
  }
  const began = performance.now()
  timer = setInterval(() => {
    for (const due = ((performance.now() - began) * order.perSecond) / 1000; begun < due;) {
      const request = one(order.get).finally(() => open.delete(request))
      open.add(request)
    }
  }, TICK_MS)
  return {}
})
