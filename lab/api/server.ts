// The Kubernetes API: which request goes where, and how a refusal is told. Its own socket speaks plain http; any number of
// others feed it, those that lab nodes made in their own network namespaces: they speak TLS as well, for programs in pods.
import { createServer, ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'
import { pathAccess, permit, proxyAccess, resourceAccess, rolesIn } from './auth/access.ts'
import { authenticate } from './auth/authenticate.ts'
import { certificateSubresource, isOfCertificate } from './auth/certificates.ts'
import { impersonated } from './auth/impersonate.ts'
import { review } from './auth/reviews.ts'
import { Tokens } from './auth/tokens.ts'
import { ANONYMOUS } from './auth/user.ts'
import { aggregatedVersion } from './http/accept.ts'
import { aggregated, coreVersions, group, groupList, resourceList } from './http/discovery.ts'
import { Exchange } from './http/exchange.ts'
import { nodeTarget, proxyToNode } from './http/node-proxy.ts'
import { openApi, openApiRoots, swagger, swaggerProtobuf } from './http/openapi.ts'
import { placeOf } from './http/path.ts'
import { PortForwards } from './http/port-forward.ts'
import { get, listOrWatch } from './http/read.ts'
import { subresource } from './http/subresources.ts'
import { DEFAULT_BOOKMARK_MS, DEFAULT_BUFFER_LIMIT_BYTES, DEFAULT_WATCH_LIMIT, Watches } from './http/watch.ts'
import { create, patch, remove, removeAll, update } from './http/write.ts'
import { makeServerCertificate } from './tls/certificates.ts'
import { serveEither, tlsBeside } from './tls/either.ts'
import { ApiError, methodNotAllowed, noSuchResource } from './status.ts'
import type { AddressInfo, Server as SocketServer, Socket } from 'node:net'
import type { DialNode } from './http/node-proxy.ts'
import type { Place } from './http/path.ts'
import type { DialPod } from './http/port-forward.ts'
import type { ReadLog } from './http/subresources.ts'
import type { IncomingMessage, Server } from 'node:http'
import type { Store } from './store.ts'

export interface ApiSettings {
  /** Those of an earlier life of this API, so that what it issued still holds; left out: with a new key. */
  readonly tokens?: Tokens
  /** Whoever shows it is the administrator, as one without any is: for what reviews tokens. Left out: there is none. */
  readonly administratorToken?: string
  readonly store: Store
  /** IPv4 addresses beside its service's that it is reached at by TLS: those of nodes. */
  readonly addresses?: readonly string[]
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 0: any free port. */
  readonly port?: number
  /** Reads pod logs; without it `kubectl logs` is refused. */
  readonly readLog?: ReadLog
  /** Connects to nodes; without it none is reached through the API. */
  readonly dialNode?: DialNode
  /** Connects into pods; without it no port is forwarded. */
  readonly dialPod?: DialPod
  readonly bookmarkMs?: number
  readonly watchLimit?: number
  readonly bufferLimitBytes?: number
  /** Gets errors that are no refusals: bugs. The client sees a 500. */
  readonly report?: (error: unknown) => void
}

export interface Api {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string
  readonly server: Server
  /** What its certificate is believed by, in PEM: the content of kube-root-ca.crt. */
  readonly rootCa: string
  /**
   * Serves the connections of one more listening socket, by TLS or plainly as each connection begins. It stays its owner's to close. Returns what ends it.
   */
  attach(listening: SocketServer): () => void
  /** Ends every watch and connection, and its own listener. */
  close(): Promise<void>
}

export const GIT_VERSION = 'v1.32.0'
const KEEP_ALIVE_MS = 120_000
const CONNECTION_LIMIT = 4_096
const PROTOBUF_V2 = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf'
// The older spelling is no valid media type: it is understood, never sent.
const PROTOBUF_V2_ASKED = [PROTOBUF_V2, 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf']

/** Starts serving `store`. Resolves when the first socket listens; rejects when it cannot. */
export async function startApi(settings: ApiSettings): Promise<Api> {
  const watches = new Watches({
    store: settings.store,
    bookmarkMs: settings.bookmarkMs ?? DEFAULT_BOOKMARK_MS,
    limit: settings.watchLimit ?? DEFAULT_WATCH_LIMIT,
    bufferLimitBytes: settings.bufferLimitBytes ?? DEFAULT_BUFFER_LIMIT_BYTES,
  })
  const forwards = new PortForwards(settings.store, settings.dialPod)
  const service: Service = { ...settings, watches, forwards, tokens: settings.tokens ?? new Tokens() }
  const server = createServer({ shouldUpgradeCallback: isWebSocket }, (request, response) => {
    void answer(new Exchange(request, response), service)
  })
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    void answer(new Exchange(request, responseOn(socket, request), { socket, head }), service)
  })
  server.keepAliveTimeout = KEEP_ALIVE_MS
  server.maxConnections = CONNECTION_LIMIT
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(settings.port ?? 0, settings.host ?? '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
  const certificate = makeServerCertificate(settings.addresses ?? [])
  const secure = tlsBeside(server, certificate, isWebSocket)
  const { address, port } = server.address() as AddressInfo
  const attached = new Set<() => void>()
  return {
    url: `http://${address}:${port}`,
    server,
    rootCa: certificate.rootPem,
    attach(listening) {
      const detach = attachTo(listening, (socket) => serveEither(socket, server, secure))
      attached.add(detach)
      return () => {
        attached.delete(detach)
        detach()
      }
    },
    async close() {
      watches.close()
      for (const detach of attached) detach()
      forwards.close()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      secure.end()
      await closed
    },
  }
}

/** Other upgrades (HTTP/2, SPDY) are not looked at: such a request is answered as it is. */
function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket'
}

/** What answers on a connection that node:http has let go of; unless it is taken over, the answer is its last. */
function responseOn(socket: Socket, request: IncomingMessage): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.on('finish', () => socket.destroySoon())
  socket.on('error', () => undefined) // whoever takes the connection over hears of it as well
  return response
}

function attachTo(listening: SocketServer, accept: (socket: Socket) => void): () => void {
  listening.maxConnections = CONNECTION_LIMIT
  listening.on('connection', accept)
  return () => void listening.off('connection', accept)
}

interface Service extends ApiSettings {
  readonly watches: Watches
  readonly forwards: PortForwards
  readonly tokens: Tokens
}

async function answer(exchange: Exchange, service: Service): Promise<void> {
  try {
    const { headers, headersDistinct } = exchange.request
    // By TLS nobody is the administrator for want of a token: that is for the lab's own programs, which speak plainly.
    const isNobody = headers.authorization === undefined && exchange.request.socket instanceof TLSSocket
    const sender = isNobody ? ANONYMOUS : authenticate(headers.authorization, service)
    exchange.user = impersonated(sender, headersDistinct, rolesIn(service.store))
    await route(exchange, service)
  } catch (error) {
    refuse(exchange, service, error)
  }
}

function refuse(exchange: Exchange, { report }: Service, error: unknown): void {
  const { response, request } = exchange
  const isRefusal = error instanceof ApiError
  // A client that went away while it was sending its body is no fault of ours.
  if (!isRefusal && !request.destroyed) (report ?? console.error)(error)
  if (response.headersSent) return void response.destroy()
  const { status } = isRefusal ? error : new ApiError(500, 'InternalError', `Internal error: ${String(error)}`)
  const wait = status.details?.retryAfterSeconds
  if (wait !== undefined) response.setHeader('Retry-After', String(wait))
  if (!request.complete) response.setHeader('Connection', 'close')
  exchange.sendJson(status.code, status)
}

async function route(exchange: Exchange, service: Service): Promise<void> {
  const { path } = exchange
  const { store, dialNode } = service
  const segments = segmentsOf(path)
  const isResource = path.startsWith('/api') && segments.length > (segments[0] === 'api' ? 2 : 3)
  if (!isResource) permit(exchange, pathAccess(exchange), store)
  if (path.startsWith('/api')) {
    const document = discovery(exchange, store)
    if (document !== undefined) return exchange.sendJson(200, document)
    if (isServedAsAggregate(exchange, store)) return
    const target = nodeTarget(path)
    if (!target) return resource(exchange, placeOf(store.catalog, path), service)
    permit(exchange, proxyAccess(exchange, target.id), store)
    return proxyToNode(exchange, target, { store, dialNode })
  }
  if (exchange.method !== 'GET') throw methodNotAllowed(`${exchange.method} is not allowed here`)
  if (path === '/healthz' || path === '/readyz' || path === '/livez') return exchange.send(200, 'ok', 'text/plain')
  if (path === '/version' || path === '/version/') return exchange.sendJson(200, versionOf())
  if (path.startsWith('/openapi/')) return schema(exchange, store)
  if (path !== '/') throw noSuchResource()
  exchange.sendJson(200, {
    paths: ['/api', '/apis', '/healthz', '/livez', '/openapi/v2', '/openapi/v3', '/readyz', '/version'],
  })
}

function discovery({ path, method, accept }: Exchange, { catalog }: Store): unknown {
  const [root, ...rest] = segmentsOf(path)
  if (method !== 'GET' || rest.length > 2) return undefined
  if (rest.length === 0) {
    if (aggregatedVersion(accept) !== undefined) return undefined
    return root === 'api' ? coreVersions() : root === 'apis' ? groupList(catalog) : undefined
  }
  if (root === 'api') return rest.length === 1 ? resourceList(catalog, '', rest[0]!) : undefined
  return rest.length === 1 ? group(catalog, rest[0]!) : resourceList(catalog, rest[0]!, rest[1]!)
}

function segmentsOf(path: string): string[] {
  return path.split('/').filter((segment) => segment !== '')
}

function isServedAsAggregate(exchange: Exchange, { catalog }: Store): boolean {
  const root = exchange.path.replace(/\/$/, '')
  const version = aggregatedVersion(exchange.accept)
  if (exchange.method !== 'GET' || version === undefined || (root !== '/api' && root !== '/apis')) return false
  const media = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`
  exchange.send(200, JSON.stringify(aggregated(catalog, version, root === '/api')), media)
  return true
}

function schema(exchange: Exchange, { catalog }: Store): void {
  const { path, accept = '' } = exchange
  if (path === '/openapi/v2') {
    if (PROTOBUF_V2_ASKED.some((each) => accept.includes(each))) {
      return exchange.send(200, swaggerProtobuf(catalog, GIT_VERSION), PROTOBUF_V2)
    }
    return exchange.sendJson(200, swagger(catalog, GIT_VERSION))
  }
  if (path === '/openapi/v3') return exchange.sendJson(200, openApiRoots(catalog))
  const match = /^\/openapi\/v3\/(?:api|apis\/([^/]+))\/([^/]+)$/.exec(path)
  const document = match && openApi(catalog, match[1] ?? '', match[2]!, GIT_VERSION)
  if (!document) throw noSuchResource()
  exchange.sendJson(200, document)
}

function versionOf(): unknown {
  const [major, minor] = GIT_VERSION.slice(1).split('.')
  const goless = { gitCommit: '', gitTreeState: 'clean', buildDate: '', goVersion: '', compiler: '' }
  return { major, minor, gitVersion: GIT_VERSION, ...goless, platform: `linux/${process.arch}` }
}

async function resource(exchange: Exchange, place: Place, service: Service): Promise<void> {
  const { store, readLog, tokens } = service
  const { subresource: below } = place
  permit(exchange, resourceAccess(exchange, place), store)
  if (place.type.createOnly) return review(exchange, place, service)
  if (place.type.key === 'pods' && below === 'portforward') return service.forwards.serve(exchange, place)
  if (isOfCertificate(place)) return certificateSubresource(exchange, place, store)
  if (below !== undefined && !(below === 'status' && place.type.status)) {
    return subresource(exchange, place, { store, readLog, tokens })
  }
  const verb = `${exchange.method} ${place.name === undefined ? 'all' : 'one'}`
  switch (verb) {
    case 'GET all':
      return listOrWatch(exchange, place, service)
    case 'GET one':
      return exchange.isSet('watch') ? listOrWatch(exchange, place, service) : get(exchange, place, store)
    case 'POST all':
      return create(exchange, place, store)
    case 'PUT one':
      return update(exchange, place, store)
    case 'PATCH one':
      return patch(exchange, place, store)
    case 'DELETE one':
      return remove(exchange, place, store)
    case 'DELETE all':
      return removeAll(exchange, place, store)
    default:
      throw methodNotAllowed('the server does not allow this method on the requested resource')
  }
}
