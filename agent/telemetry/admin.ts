// A process's one endpoint for people and scrapers: /healthz, /readyz, /status, /metrics, /snapshot. Not on the data
// path.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isLoopback } from '../model/address.ts'

/** What the endpoint shows; asked anew at each request. */
export interface AdminPages {
  /** Null when ready, else what is missing. */
  unready(): string | null
  /** Prometheus text exposition format. */
  metrics(): Promise<string>
  /** How the process and what it cares for stand: an AgentStatus of agents. */
  status(): Promise<object>
  /** The snapshot in force (of the controller: the verdicts), as JSON. */
  snapshot(): string
}

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
const TEXT_TYPE = 'text/plain; charset=utf-8'
/** Scrapers and people are few; more connections than this at once are refused. */
const CONNECTION_LIMIT = 128
const REQUEST_TIMEOUT_MS = 10_000

interface Page {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** Starts the endpoint; without an address at all of both families. Rejects where it cannot be bound. */
export async function startAdmin(
  pages: AdminPages,
  at: { readonly address: string | null; readonly port: number },
): Promise<Server> {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => void answer(pages, request, response),
  )
  server.maxConnections = CONNECTION_LIMIT
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(at.port, at.address ?? undefined, resolve)
  await promise
  // a connection that cannot be accepted (EMFILE) is no reason to end the agent; the scraper sees that none came
  server.off('error', reject).on('error', () => undefined)
  return server
}

async function answer(pages: AdminPages, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const page = await render(pages, request).catch((error: unknown) => text(500, String(error)))
  response.writeHead(page.status, { 'content-type': page.type, 'content-length': Buffer.byteLength(page.body) })
  response.end(request.method === 'HEAD' ? undefined : page.body)
}

async function render(pages: AdminPages, request: IncomingMessage): Promise<Page> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD are answered')
  switch (request.url?.split('?', 1)[0]) {
    case '/healthz':
      return text(200, 'ok')
    case '/readyz': {
      const missing = pages.unready()
      return missing === null ? text(200, 'ready') : text(503, missing)
    }
    case '/metrics':
      return { status: 200, type: METRICS_TYPE, body: await pages.metrics() }
    case '/status':
      // for every host: it tells names, addresses and reasons, as `kubectl get pods` does, and no route or policy; and the
      // API server's node proxy, by which `weft status` asks, comes from another host
      return { status: 200, type: 'application/json', body: JSON.stringify(await pages.status()) }
    case '/snapshot':
      // every route of the cluster: for whoever is on the node, or comes by the API server's port-forward
      if (!isLoopback(request.socket.remoteAddress ?? '')) return text(403, 'ask from the node itself')
      return { status: 200, type: 'application/json', body: pages.snapshot() }
    default:
      return text(404, 'one of /healthz /readyz /status /metrics /snapshot')
  }
}

function text(status: number, body: string): Page {
  return { status, type: TEXT_TYPE, body: `${body}\n` }
}
