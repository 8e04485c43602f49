// An API server for tests that does as it is told: lists what it was given, holds watches open, ends or breaks them.
// Real HTTP on loopback, so that the client library is part of what is tested.

import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectKube, type KubeClient } from './client.ts'
import type { KubeObject } from './object.ts'

export interface Ask {
  readonly method: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly accept: string
  readonly type: string
  readonly authorization: string
  readonly body: string
  readonly atMs: number
}

export interface Answer {
  readonly status: number
  readonly body: unknown
}

const KUBECONFIG = (url: string, user: string): string => `apiVersion: v1
kind: Config
clusters: [{ name: test, cluster: { server: '${url}' } }]
users: [{ name: test, user: ${user} }]
contexts: [{ name: test, context: { cluster: test, user: test } }]
current-context: test
`

/** What a test needs of node:test's test: something to call when it is over. */
export interface Ending {
  after(end: () => Promise<void>): void
}

export class ToldApi {
  /** Everything that was asked, in order. */
  readonly asks: Ask[] = []
  /** What a path answers in place of a list; consumed one by one where it is a list of answers. */
  readonly answers = new Map<string, Answer | Answer[]>()
  /** What a path answers of a document before it falls silent for good; '' is not even a head. */
  readonly stalls = new Map<string, string>()
  readonly #lists = new Map<string, { items: readonly KubeObject[]; resourceVersion: string }>()
  readonly #watches = new Map<string, Set<ServerResponse>>()
  readonly #server: Server
  /** Whether every watch is ended as soon as it is asked for. */
  endsWatches = false

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  /** Listens on loopback and connects a client by a kubeconfig file, as `user`; all of it ends with the test. */
  async start(ending: Ending, user: object = {}): Promise<KubeClient> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const folder = await mkdtemp(join(tmpdir(), 'weft-kube-'))
    ending.after(async () => {
      this.#server.closeAllConnections()
      this.#server.close()
      await rm(folder, { recursive: true })
    })
    const file = join(folder, 'kubeconfig')
    await writeFile(
      file,
      KUBECONFIG(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`, JSON.stringify(user)),
    )
    return connectKube(file)
  }

  /** What a list of the collection answers from now on. */
  lists(path: string, resourceVersion: string, ...items: readonly KubeObject[]): void {
    this.#lists.set(path, { items, resourceVersion })
  }

  /** Sends an event to every open watch of the collection. */
  send(path: string, type: string, object: unknown): void {
    for (const watch of this.#watches.get(path) ?? []) watch.write(`${JSON.stringify({ type, object })}\n`)
  }

  /** Ends all watches as a server does whose time limit is over. */
  endWatches(path: string): void {
    for (const watch of this.#watches.get(path) ?? []) watch.end()
  }

  /** Breaks the connections of all watches. */
  breakWatches(path: string): void {
    for (const watch of this.#watches.get(path) ?? []) watch.destroy()
  }

  /** Waits until so many watches of the collection were asked for in all, and gives the last one's query. */
  async watched(path: string, times: number): Promise<Readonly<Record<string, string>>> {
    const watches = (): Ask[] => this.#of(path).filter(({ query }) => query['watch'] === 'true')
    await until(() => watches().length >= times, `${times} watches of ${path}`)
    return watches().at(-1)?.query ?? {}
  }

  /** How often the collection was listed. */
  listed(path: string): number {
    return this.#of(path).filter(({ query }) => query['watch'] === undefined).length
  }

  #of(path: string): Ask[] {
    return this.asks.filter((ask) => ask.path === path)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://api')
    const query = Object.fromEntries(url.searchParams)
    const { accept = '', 'content-type': type = '', authorization = '' } = request.headers
    const headers = { accept, type, authorization }
    const ask = { method: request.method ?? '', path: url.pathname, query, ...headers, body: await text(request) }
    this.asks.push({ ...ask, atMs: performance.now() })
    const begun = this.stalls.get(ask.path)
    if (begun !== undefined) {
      if (begun !== '') response.write(begun)
      return
    }
    const told = this.answers.get(ask.path)
    const answer = Array.isArray(told) ? told.shift() : told
    if (answer !== undefined) return this.#say(response, answer)
    if (query['watch'] === 'true') return this.#hold(ask.path, response)
    const list = this.#lists.get(ask.path)
    if (list === undefined) return this.#say(response, status(404, `nothing at ${ask.path}`))
    const { items, resourceVersion } = list
    this.#say(response, { status: 200, body: { kind: 'List', metadata: { resourceVersion }, items } })
  }

  #say(response: ServerResponse, { status: code, body }: Answer): void {
    response.writeHead(code, { 'content-type': 'application/json' })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

  #hold(path: string, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    if (this.endsWatches) {
      response.end()
      return
    }
    const open = this.#watches.get(path) ?? new Set()
    this.#watches.set(path, open.add(response))
    response.on('close', () => open.delete(response))
  }
}

/** A refusal as the API server words it (metav1.Status). */
export function status(code: number, message: string): Answer {
  return { status: code, body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message } }
}

/** Waits until something is so. Throws after 8 s, saying what it waited for. */
export async function until(isSo: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 8_000
  while (!isSo()) {
    if (performance.now() > deadlineMs) throw new Error(`waited in vain for ${what}`)
    await sleep(5)
  }
}
