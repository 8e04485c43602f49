// What every HTTP stand-in shares: a server on the wildcard address, one answer a request, one log line, a gentle stop.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { hostname } from 'node:os'

/** Largest request body an application takes; a larger one is answered 413. */
const BODY_LIMIT_BYTES = 4 * 1024 * 1024
/** How long a stopping application waits for requests in flight before it leaves anyway. */
const STOP_LIMIT_MS = 30_000

export interface Call {
  readonly method: string
  /** Path without the query, not percent-decoded. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Buffer
}

/** An application's whole behaviour. `'sent'` says that it wrote to `call.response` itself. */
export type Application = (call: Call) => Answer | 'sent' | Promise<Answer | 'sent'>

/** The name this process goes by: the pod's name in a cluster, the machine's elsewhere. */
export function podName(): string {
  return process.env['HOSTNAME'] || hostname()
}

/** The port to listen on: first argument, else `PORT`, else what the published image listens on. */
export function portOf(published: number): number {
  const text = process.argv[2] ?? process.env['PORT'] ?? String(published)
  const port = Number(text)
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Error(`not a port: ${text}`)
  return port
}

export function json(value: unknown, status = 200): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body: `${JSON.stringify(value)}\n` }
}

export function text(body: string, status = 200): Answer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body }
}

export function html(body: string, status = 200): Answer {
  return { status, headers: { 'content-type': 'text/html; charset=utf-8' }, body }
}

/**
 * Serves `application` on `port` of every address until SIGTERM or SIGINT; then takes no new connection, lets the
 * requests in flight end (at most STOP_LIMIT_MS) and exits with 0.
 */
export function serveHttp(name: string, port: number, application: Application): void {
  let stopping = false
  const server = createServer((request, response) => {
    // A connection that was busy when the stop came is idle now, and would keep the process until it times out.
    response.on('close', () => stopping && setImmediate(() => server.closeIdleConnections()))
    void answerRequest(application, request, response)
  })
  server.on('error', (error) => {
    console.error(`${name}: ${error.message}`)
    process.exitCode = 1
    server.close()
  })
  server.listen(port, () => {
    const bound = server.address()
    console.log(`${name} listens on port ${typeof bound === 'object' && bound ? bound.port : port}`)
  })
  const stop = () => {
    stopping = true
    server.close(() => process.exit(0))
    setTimeout(() => process.exit(0), STOP_LIMIT_MS).unref()
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

async function answerRequest(application: Application, request: IncomingMessage, response: ServerResponse) {
  const started = performance.now()
  const method = request.method ?? 'GET'
  response.on('close', () => {
    const status = response.headersSent ? response.statusCode : 'unanswered'
    console.log(`${method} ${request.url} ${status} ${(performance.now() - started).toFixed(1)}ms`)
  })
  try {
    const body = await readBody(request)
    if (body === null) return send(response, text('the request body is too large\n', 413))
    const url = new URL(request.url ?? '/', 'http://app')
    const call = { method, path: url.pathname, query: url.searchParams, headers: request.headers, body }
    const answer = await application({ ...call, request, response })
    if (answer !== 'sent') send(response, answer)
  } catch (error) {
    if (request.destroyed && !request.complete) return
    console.error(error)
    if (!response.headersSent) send(response, text('this application failed\n', 500))
    else response.destroy()
  }
}

function send(response: ServerResponse, answer: Answer): void {
  const body = answer.body ?? ''
  const status = answer.status ?? 200
  // RFC 9110, 8.6: no content-length with 204, and with 304 only that of the 200 it stands for.
  const length = status === 204 || status === 304 ? {} : { 'content-length': Buffer.byteLength(body) }
  response.writeHead(status, { ...length, ...answer.headers })
  response.end(body)
}

async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > BODY_LIMIT_BYTES) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
