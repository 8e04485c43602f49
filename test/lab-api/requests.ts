// Requests to a lab API as JSON: the answer's code and body. For tests that speak to it on the wire.
import type { KubeObject } from '../../lab/api/object.ts'

/** What tests read of an answer: objects, lists and Statuses. */
export interface Body extends KubeObject {
  readonly code: number
  readonly reason: string
  readonly message: string
  readonly items: readonly KubeObject[]
}

export interface Answer {
  readonly code: number
  readonly body: Body
}

/** One caller of one API: the administrator, or whoever the token says. */
export class Caller {
  readonly #url: string
  readonly #token: string | undefined
  readonly #headers: Record<string, string>

  constructor(url: string, token?: string, headers: Record<string, string> = {}) {
    this.#url = url
    this.#token = token
    this.#headers = headers
  }

  get(path: string): Promise<Answer> {
    return this.#ask('GET', path)
  }
  post(path: string, body: unknown): Promise<Answer> {
    return this.#ask('POST', path, body)
  }
  put(path: string, body: unknown): Promise<Answer> {
    return this.#ask('PUT', path, body)
  }
  /** A merge patch. */
  patch(path: string, body: unknown): Promise<Answer> {
    return this.#ask('PATCH', path, body, 'application/merge-patch+json')
  }
  remove(path: string): Promise<Answer> {
    return this.#ask('DELETE', path)
  }

  async #ask(method: string, path: string, body?: unknown, media = 'application/json'): Promise<Answer> {
    const headers: Record<string, string> = { accept: 'application/json', 'content-type': media, ...this.#headers }
    if (this.#token !== undefined) headers['authorization'] = `Bearer ${this.#token}`
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    const response = await fetch(this.#url + path, { method, headers, ...sent })
    return { code: response.status, body: (await response.json()) as Body }
  }
}
