// Requests passed on to a node's own address: /api/v1/nodes/{[SCHEME:]NAME[:PORT]}/proxy/{PATH}, GET and HEAD over http.
// Source: Kubernetes API reference "Proxy operations" of Node v1 core; "Manually constructing apiserver proxy URLs".
import http from 'node:http'
import type { Socket } from 'node:net'
import { ApiError, badRequest, methodNotAllowed, notFound } from '../status.ts'
import type { Exchange } from './exchange.ts'
import type { Store } from '../store.ts'

/** Opens a TCP connection to an address and port of a node. Rejects with a sentence, in the words of Kubernetes' own. */
export type DialNode = (node: string, address: string, port: number) => Promise<Socket>

/** Answers are gathered whole; a longer one is refused. */
export const ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
/** From the first byte of the request to the last of the answer. */
const PROXY_TIMEOUT_MS = 30_000
/** What is passed on of a request's headers, and of an answer's. */
const ASKED = ['accept', 'user-agent']
const ANSWERED = ['content-type', 'content-encoding', 'location']

/** Where a request goes: a node's port, and the path there with its query. */
export interface NodeTarget {
  /** As the client wrote it: `[SCHEME:]NAME[:PORT]`. */
  readonly id: string
  readonly path: string
}

/** The target that a path names, still as it was sent; undefined where it is no node's proxy. */
export function nodeTarget(path: string): NodeTarget | undefined {
  const match = /^\/api\/v1\/nodes\/([^/]+)\/proxy(\/.*)?$/.exec(path)
  if (match === null) return undefined
  try {
    return { id: decodeURIComponent(match[1]!), path: match[2] ?? '/' }
  } catch {
    return undefined
  }
}

/** Scheme, name and port of an id. Throws 400 where it is none. */
export function splitId(id: string): { scheme: string; name: string; port: string } {
  const parts = id.split(':')
  const [scheme = '', name = '', port = ''] = parts.length < 3 ? ['', ...parts] : parts
  const isSound = parts.length <= 3 && name !== '' && ['', 'http', 'https'].includes(scheme) && /^\d{0,5}$/.test(port)
  if (!isSound || Number(port) > 65_535) throw badRequest(`invalid node request ${JSON.stringify(id)}`)
  return { scheme, name, port }
}

/** Passes the request on and the answer back. Throws 503 where the node is not reached, 502 where its answer is none. */
export async function proxyToNode(
  exchange: Exchange,
  { id, path }: NodeTarget,
  { store, dialNode }: { readonly store: Store; readonly dialNode: DialNode | undefined },
): Promise<void> {
  const { method, query, request, response } = exchange
  if (method !== 'GET' && method !== 'HEAD') throw methodNotAllowed(`${method} is not proxied to nodes by this API`)
  const { scheme, name, port } = splitId(id)
  const node = store.get('nodes', null, name)
  if (!node) throw notFound({ group: '', plural: 'nodes', kind: 'Node' }, name)
  if (port === '' || scheme === 'https') {
    throw methodNotAllowed('there is no kubelet to proxy to, and no https: ask for http:NODE:PORT')
  }
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(new Error('context deadline exceeded')), PROXY_TIMEOUT_MS)
  response.once('close', () => abort.abort(new Error('the client left')))
  try {
    const socket = await reached(dialNode, name, internalAddress(node), Number(port))
    const target = query.size > 0 ? `${path}?${query.toString()}` : path
    const headers = { ...picked(request.headers, ASKED), host: `${internalAddress(node)}:${port}`, connection: 'close' }
    const answer = await asked(socket, { method, path: target, headers, signal: abort.signal })
    const length = method === 'HEAD' ? answer.headers['content-length'] : answer.body.length
    const told = length === undefined ? {} : { 'content-length': length }
    response.writeHead(answer.code, { ...picked(answer.headers, ANSWERED), ...told })
    response.end(method === 'HEAD' ? undefined : answer.body)
  } finally {
    clearTimeout(timer)
  }
}

function internalAddress({ status }: { status?: any }): string {
  const addresses: { type: string; address: string }[] = status?.addresses ?? []
  return addresses.find(({ type }) => type === 'InternalIP')?.address ?? ''
}

async function reached(
  dialNode: DialNode | undefined,
  ...where: [name: string, address: string, port: number]
): Promise<Socket> {
  if (dialNode === undefined) throw unreachable('this API reaches no nodes')
  if (where[1] === '') throw unreachable(`node ${where[0]} has no InternalIP`)
  try {
    return await dialNode(...where)
  } catch (error) {
    throw unreachable((error as Error).message)
  }
}

interface Answer {
  readonly code: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

async function asked(socket: Socket, options: http.RequestOptions): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
  try {
    const request = http.request({ ...options, createConnection: () => socket }, resolve)
    request.on('error', reject)
    request.end()
    const answer = await promise.catch((error: Error) => {
      throw unreachable(whyOf(error, options.signal))
    })
    return { code: answer.statusCode ?? 502, headers: answer.headers, body: await whole(answer, options.signal) }
  } finally {
    socket.destroy()
  }
}

async function whole(answer: http.IncomingMessage, signal: AbortSignal | undefined): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > ANSWER_LIMIT_BYTES) throw new Error(`it is longer than ${ANSWER_LIMIT_BYTES} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    throw new ApiError(502, 'BadGateway', `error reading the node's answer: ${whyOf(error as Error, signal)}`)
  }
  return Buffer.concat(chunks)
}

/** Why it was ended, where we ended it, else what happened to it. */
function whyOf(error: Error, signal: AbortSignal | undefined): string {
  return signal?.aborted && signal.reason instanceof Error ? signal.reason.message : error.message
}

function picked(headers: http.IncomingHttpHeaders, names: readonly string[]): http.OutgoingHttpHeaders {
  return Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])))
}

function unreachable(why: string): ApiError {
  return new ApiError(503, 'ServiceUnavailable', `error trying to reach service: ${why}`)
}
