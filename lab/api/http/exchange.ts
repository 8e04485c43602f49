// One http request and its answer, as the verbs see them: parsed query, bounded JSON body, one way to reply.
import { PROTOBUF, readProtobuf } from './protobuf-read.ts'
import { ANONYMOUS } from '../auth/user.ts'
import { badRequest, tooLarge, unsupportedMediaType } from '../status.ts'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { User } from '../auth/user.ts'

/** Largest request body taken, in bytes: what the API server of Kubernetes takes. */
export const BODY_LIMIT_BYTES = 3 * 1024 * 1024

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

  /** The body as JSON; undefined when empty. Throws 400, 413, and 415 for a media type outside of `medias`. */
  async json(medias: readonly string[] = ['application/json', PROTOBUF, '']): Promise<unknown> {
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
    if (bytes === 0) return undefined
    if (this.media === PROTOBUF) return readProtobuf(Buffer.concat(chunks))
    try {
      return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown
    } catch (error) {
      throw badRequest(`the body is not JSON: ${(error as Error).message}`)
    }
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
