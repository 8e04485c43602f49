// Runs inside a pod: reads one order a line (JSON) from standard input, sends its requests, and answers with one line.
import { Agent, request } from 'node:http'
import { createInterface } from 'node:readline'

export interface Order {
  readonly url: string
  readonly count?: number
  readonly concurrency?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Over new connections: those held from earlier orders are closed first. */
  readonly anew?: boolean
}

export interface Tally {
  /** Answers by HTTP status; 0 stands for no answer at all. */
  readonly statuses: Record<string, number>
  /** Answers by `podname` of their JSON body, less the ReplicaSet's hash: `reviews-v1`. */
  readonly versions: Record<string, number>
  /** Body of the last answer. */
  readonly body: string
  readonly slowestMs: number
  readonly fastestMs: number
  /** How many connections carried them. */
  readonly connections: number
}

const CONCURRENCY_LIMIT = 32
const COUNT_LIMIT = 10_000
const BODY_LIMIT = 1024 * 1024
/** Kept over all orders of this process: a held connection stays the same one from order to order. */
const agents = new Map<number, Agent>()

interface Answer {
  readonly status: number
  readonly body: string
  readonly port: number
}

function ask({ url, headers }: Order, agent: Agent): Promise<Answer> {
  return new Promise((resolve) => {
    const lost = (error: Error): void => resolve({ status: 0, body: error.message, port: 0 })
    const outgoing = request(url, { agent, headers: headers ?? {} }, (response) => {
      const port = response.socket.localPort ?? 0
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        if (body.length < BODY_LIMIT) body += text
      })
      response.on('error', lost)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, port }))
    })
    outgoing.on('error', lost)
    outgoing.end()
  })
}

function agentOf(concurrency: number): Agent {
  const known = agents.get(concurrency) ?? new Agent({ keepAlive: true, maxSockets: concurrency })
  agents.set(concurrency, known)
  return known
}

async function carryOut(order: Order): Promise<Tally> {
  if (order.anew === true) {
    for (const agent of agents.values()) agent.destroy()
    agents.clear()
  }
  const concurrency = Math.min(order.concurrency ?? 1, CONCURRENCY_LIMIT)
  let left = Math.min(order.count ?? 1, COUNT_LIMIT)
  const statuses: Record<string, number> = {}
  const versions: Record<string, number> = {}
  const ports = new Set<number>()
  const times = { slowest: 0, fastest: Infinity }
  let body = ''
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const began = performance.now()
      const answer = await ask(order, agentOf(concurrency))
      const took = performance.now() - began
      times.slowest = Math.max(times.slowest, took)
      times.fastest = Math.min(times.fastest, took)
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
      const version = /"podname":\s*"([a-z]+-v\d+)/.exec(answer.body)?.[1] ?? /version: (v\d+)/.exec(answer.body)?.[1]
      if (version !== undefined) versions[version] = (versions[version] ?? 0) + 1
      if (answer.port > 0) ports.add(answer.port)
      body = answer.body
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return { statuses, versions, body, slowestMs: times.slowest, fastestMs: times.fastest, connections: ports.size }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await carryOut(JSON.parse(line) as Order))}\n`)
}
