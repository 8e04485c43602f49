// A process's one endpoint for people and scrapers. What is open to everybody is what probes and scrapers need; the other
// pages tell names, routes and decisions, and are for whom the gate lets in. Not on the data path.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

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
  /** The answer to a question, as JSON; absent where there is nothing to explain. Throws BadQuestion at what is none. */
  explain?(question: string): Promise<string>
  /** What stands before a pod, likewise. */
  authz?(question: string): Promise<string>
}

/** Decides who may see the pages that are not open. */
export interface Gate {
  /** Null where who comes with this Authorization header may see it, else why not, with HTTP's status. Never rejects. */
  refuse(
    authorization: string | undefined,
    subresource: string,
  ): Promise<{ readonly status: number; readonly reason: string } | null>
}

/** A gate that lets nobody in. */
export function closedGate(reason: string): Gate {
  return { refuse: () => Promise.resolve({ status: 503, reason }) }
}

/** A question that cannot be answered because of how it is put. */
export class BadQuestion extends Error {}

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

interface Page {
  /** What the gate is asked about; null: open to everybody. */
  readonly subresource: string | null
  readonly show: (pages: AdminPages, query: URLSearchParams) => Promise<Answer> | Answer
}

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
const TEXT_TYPE = 'text/plain; charset=utf-8'
/** Scrapers and people are few; more connections than this at once are refused. */
const CONNECTION_LIMIT = 128
const REQUEST_TIMEOUT_MS = 10_000

/** Every page, by its path. */
const PAGES: Readonly<Record<string, Page>> = {
  '/healthz': { subresource: null, show: () => text(200, 'ok') },
  '/readyz': { subresource: null, show: (pages) => readiness(pages.unready()) },
  '/metrics': {
    subresource: null,
    show: async (pages) => ({ status: 200, type: METRICS_TYPE, body: await pages.metrics() }),
  },
  '/status': { subresource: 'status', show: async (pages) => json(JSON.stringify(await pages.status())) },
  '/snapshot': { subresource: 'snapshot', show: (pages) => json(pages.snapshot()) },
  '/explain': { subresource: 'explain', show: (pages, query) => answered(query.get('q'), pages.explain?.bind(pages)) },
  '/authz': { subresource: 'authz', show: (pages, query) => answered(query.get('q'), pages.authz?.bind(pages)) },
}

/** Starts the endpoint; without an address at all of both families. Rejects where it cannot be bound. */
export async function startAdmin(
  pages: AdminPages,
  gate: Gate,
  at: { readonly address: string | null; readonly port: number },
): Promise<Server> {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => void answer({ pages, gate }, request, response),
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

interface Shown {
  readonly pages: AdminPages
  readonly gate: Gate
}

async function answer(shown: Shown, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, type, body, headers } = await render(shown, request).catch((error: unknown) =>
    text(500, String(error)),
  )
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), ...headers })
  response.end(request.method === 'HEAD' ? undefined : body)
}

async function render({ pages, gate }: Shown, { method, url = '/', headers }: IncomingMessage): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return text(405, 'only GET and HEAD are answered')
  const mark = url.indexOf('?')
  const path = mark < 0 ? url : url.slice(0, mark)
  const page = Object.hasOwn(PAGES, path) ? PAGES[path] : undefined
  if (page === undefined) return absent()
  if (page.subresource !== null) {
    const refusal = await gate.refuse(headers.authorization, page.subresource)
    if (refusal !== null) return refused(refusal)
  }
  return page.show(pages, new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)))
}

function readiness(missing: string | null): Answer {
  return missing === null ? text(200, 'ready') : text(503, missing)
}

/** The answer to a question; `answering` is absent where none is answered. */
async function answered(
  question: string | null,
  answering: ((question: string) => Promise<string>) | undefined,
): Promise<Answer> {
  if (answering === undefined) return absent()
  if (question === null || question === '') return text(400, 'ask with ?q=, JSON')
  try {
    return json(await answering(question))
  } catch (error) {
    if (error instanceof BadQuestion) return text(400, error.message)
    throw error
  }
}

function refused({ status, reason }: { readonly status: number; readonly reason: string }): Answer {
  return { ...text(status, reason), headers: status === 401 ? { 'www-authenticate': 'Bearer' } : {} }
}

function absent(): Answer {
  return text(404, `one of ${Object.keys(PAGES).join(' ')}`)
}

function json(body: string): Answer {
  return { status: 200, type: 'application/json', body }
}

function text(status: number, body: string): Answer {
  return { status, type: TEXT_TYPE, body: `${body}\n` }
}
