// One http request and its answer, as the verbs see them: parsed query, bounded JSON body, one way to reply.
import { PROTOBUF, readProtobuf } from './protobuf-read.ts'
import { ANONYMOUS } from '../auth/user.ts'
import { badRequest, tooLarge, unsupportedMediaType } from '../status.ts'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { User } from '../auth/user.ts'
import type { Writer } from '../admission/attributes.ts'

/** Largest request body taken, in bytes: what the API server of Kubernetes takes. */
export const BODY_LIMIT_BYTES = 3 * 1024 * 1024

/** Longest name of a field manager, as in Kubernetes. */
const MANAGER_LIMIT = 128

/** The connection of a request to speak another protocol on it. */
export interface Upgrade {
  readonly socket: Socket
  /** What came right behind the request. */
  readonly head: Buffer
}

export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** Undefined where the request asks for no upgrade that this API knows of. */
  readonly upgrade: Upgrade | undefined
  /** Who asks: nobody, until the server knows. */
  user: User = ANONYMOUS

  constructor(request: IncomingMessage, response: ServerResponse, upgrade?: Upgrade) {
    this.request = request
    this.response = response
    this.upgrade = upgrade
    this.method = request.method ?? 'GET'
    const target = request.url ?? '/'
    const mark = target.indexOf('?')
    this.path = mark < 0 ? target : target.slice(0, mark)
    this.query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1))
  }

  get accept(): string | undefined {
    return this.request.headers.accept
  }

  /** The request's media type without parameters; '' when it names none. */
  get media(): string {
    return (this.request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase()
  }

  /** True for `?name`, `?name=true` and `?name=1`. */
  isSet(name: string): boolean {
    const value = this.query.get(name)
    return value !== null && value !== 'false' && value !== '0'
  }

  /** `?name=` as a whole number ≥ 0; undefined when absent. Throws 400 on anything else. */
  count(name: string): number | undefined {
    const text = this.query.get(name)
    if (text === null || text === '') return undefined
    if (!/^\d{1,15}$/.test(text)) throw badRequest(`invalid value for ${name}: ${JSON.stringify(text)}`)
    return Number(text)
  }

  /** True for `?dryRun=All`. Throws 400 on another value. */
  get dryRun(): boolean {
    const values = this.query.getAll('dryRun')
    if (values.some((value) => value !== 'All')) throw badRequest('dryRun: supported values: "All"')
    return values.length > 0
  }

  /** Who writes, by which of their programs: the one that says so, or what it calls itself to servers. */
  get writer(): Writer {
    const agent = (this.request.headers['user-agent'] ?? '').split('/')[0]!
    const manager = (this.query.get('fieldManager') || agent || 'unknown').slice(0, MANAGER_LIMIT)
    return { user: this.user, manager, warn: (text) => this.warn(text) }
  }

  /** A Warning header, as kubectl prints it (RFC 7234, 5.5). */
  warn(text: string): void {
    const quoted = text
      .replaceAll(/[^\x20-\x7e]/g, ' ')
      .replaceAll('\\', '\\\\')
      .replaceAll('"', '\\"')
    this.response.appendHeader('Warning', `299 - "${quoted}"`)
  }

  /** The body as JSON; undefined when empty. Throws 400, 413, and 415 for a media type outside of `medias`. */
  async json(medias: readonly string[] = ['application/json', PROTOBUF, '']): Promise<unknown> {
    const bytes = await this.#body(medias)
    if (bytes.length === 0) return undefined
    if (this.media === PROTOBUF) return readProtobuf(bytes)
    try {
      return JSON.parse(bytes.toString('utf8')) as unknown
    } catch (error) {
      throw badRequest(`the body is not JSON: ${(error as Error).message}`)
    }
  }

  /** The body as text. Throws as `json` does. */
  async text(medias: readonly string[]): Promise<string> {
    return (await this.#body(medias)).toString('utf8')
  }

  async #body(medias: readonly string[]): Promise<Buffer> {
    if (!medias.includes(this.media)) {
      const accepted = medias.filter((media) => media !== '').join(', ')
      const message = `the body of the request was in an unknown format - accepted media types include: ${accepted}`
      throw unsupportedMediaType(message)
    }
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of this.request as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > BODY_LIMIT_BYTES) throw tooLarge(BODY_LIMIT_BYTES)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  send(code: number, body: string | Buffer, media = 'application/json'): void {
    const { response } = this
    response.writeHead(code, {
      'Content-Type': media,
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'no-cache, private',
    })
    response.end(body)
  }

  /** Gives the connection away, after these last bytes of HTTP. */
  takeOver(answer: string): void {
    const { socket } = this.upgrade ?? {}
    if (socket === undefined) throw new Error('no upgrade was asked for')
    this.response.detachSocket(socket)
    socket.write(answer)
  }

  sendJson(code: number, value: unknown): void {
    this.send(code, JSON.stringify(value))
  }
}
