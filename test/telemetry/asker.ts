// Inside a pod: asks for outcomes that are known beforehand, and says what it saw of each. And the application that it asks.
import http from 'node:http'
import { takeOrders } from '../lab/orders.ts'

/** How a request is to end. `hang`: the application says that it is at work, and the caller resets. */
export type Wish = 'ok' | 'posted' | 'late' | '404' | '503' | 'abort' | 'unrouted' | 'refused' | 'hang'

export type AskOrder =
  /** Serves on a port, until the end. */
  | { readonly serve: number }
  /** Asks for each wish of each round, each with an id of its own from `firstId` on. */
  | {
      readonly ask: { readonly host: string; readonly port: number; readonly closedPort: number }
      readonly wishes: readonly Wish[]
      readonly rounds: number
      readonly firstId: number
    }

/** What the caller saw of one request: `status` 0 where it reset. Bytes are those of bodies. */
export interface Seen {
  readonly id: number
  readonly wish: Wish
  readonly status: number
  readonly gave: number
  readonly got: number
}

const AT_ONCE = 20
const TIMEOUT_MS = 20_000

function serve(port: number): Promise<object> {
  const server = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://pod')
    if (pathname === '/app/hang') return response.writeProcessing()
    request.resume().on('end', () => {
      const code = Number(pathname.slice('/app/'.length))
      response.statusCode = Number.isNaN(code) || code === 0 ? 200 : code
      response.end(Buffer.alloc(Number(searchParams.get('bytes') ?? 0), 'weft'))
    })
  })
  server.keepAliveTimeout = 120_000 // who asks decides when a connection ends
  return new Promise((resolve, reject) => server.once('error', reject).listen(port, () => resolve({})))
}

const PATHS: Readonly<Record<Wish, string>> = {
  ...{ ok: '/app/ok', posted: '/app/posted', late: '/late', 404: '/app/404', 503: '/app/503' },
  ...{ abort: '/abort', unrouted: '/nothing', refused: '/app/refused', hang: '/app/hang' },
}

const kept = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE })

/** Sizes differ from request to request, so that sums that are right by chance are unlikely. */
function one(order: Extract<AskOrder, { ask: object }>, wish: Wish, id: number): Promise<Seen> {
  const { host, port, closedPort } = order.ask
  const gave = wish === 'posted' ? (id * 37) % 70_000 : 0
  const { promise, resolve, reject } = Promise.withResolvers<Seen>()
  const request = http.request({
    ...{ host, port: wish === 'refused' ? closedPort : port, timeout: TIMEOUT_MS },
    method: gave > 0 ? 'POST' : 'GET',
    path: `${PATHS[wish]}?id=${id}&bytes=${(id * 131) % 40_000}`,
    agent: wish === 'hang' || id % 7 === 0 ? false : kept,
  })
  request.on('information', () => {
    request.socket?.resetAndDestroy()
    resolve({ id, wish, status: 0, gave, got: 0 })
  })
  request.on('response', (response) => {
    let got = 0
    response.on('data', (chunk: Buffer) => (got += chunk.length))
    response.on('end', () => resolve({ id, wish, status: response.statusCode ?? 0, gave, got }))
    response.on('error', reject)
  })
  request.on('timeout', () => request.destroy(new Error(`no answer to ${wish} ${id}`)))
  request.on('error', reject)
  request.end(Buffer.alloc(gave))
  return promise
}

async function ask(order: Extract<AskOrder, { ask: object }>): Promise<Seen[]> {
  const seen: Seen[] = []
  let next = 0
  const total = order.rounds * order.wishes.length
  const lane = async (): Promise<void> => {
    while (next < total) {
      const index = next++
      seen.push(await one(order, order.wishes[index % order.wishes.length]!, order.firstId + index))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return seen
}

takeOrders((order: AskOrder): Promise<unknown> => ('serve' in order ? serve(order.serve) : ask(order)))
