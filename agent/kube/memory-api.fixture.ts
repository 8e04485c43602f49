// A KubeClient over objects in memory: compares resourceVersions as the API server does, and fails as it is told.

import { type KubeClient, KubeError } from './client.ts'
import type { KubeObject } from './object.ts'

interface Sent {
  readonly method: 'get' | 'patch' | 'create' | 'replace' | 'remove'
  readonly path: string
  readonly body: unknown
}

export class MemoryApi implements KubeClient {
  /** By path of the object. */
  readonly objects = new Map<string, KubeObject>()
  /** Everything that was asked, in order. */
  readonly sent: Sent[] = []
  /** Is called before each request; may change objects, and throw. */
  before: (sent: Sent) => void = () => undefined
  /** Is called when a request was carried out and is not answered yet; an answer is lost when it throws. */
  after: (sent: Sent) => void = () => undefined
  /** What the server keeps of an object that is written. */
  keep: (object: KubeObject) => KubeObject = (object) => object
  #version = 100

  put(path: string, object: KubeObject): KubeObject {
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) }
    const kept = this.keep({ ...object, metadata })
    this.objects.set(path, kept)
    return kept
  }

  count(method: Sent['method']): number {
    return this.sent.filter((each) => each.method === method).length
  }

  async get(path: string): Promise<unknown> {
    return this.#answer({ method: 'get', path, body: null }, () => this.#found(path))
  }

  async create(path: string, body: unknown): Promise<unknown> {
    return this.#answer({ method: 'create', path, body }, () => {
      const object = body as KubeObject
      const place = `${path}/${object.metadata.name}`
      if (this.objects.has(place)) throw new KubeError(409, 'already exists')
      return this.put(place, object)
    })
  }

  async replace(path: string, body: unknown): Promise<unknown> {
    return this.#answer({ method: 'replace', path, body }, () => {
      const object = body as KubeObject
      this.#compare(this.#found(path), object)
      return this.put(path, object)
    })
  }

  /** One level deep, which is what a status of one list takes. */
  async patch(path: string, body: unknown): Promise<unknown> {
    return this.#answer({ method: 'patch', path, body }, () => {
      const place = path.replace(/\/status$/, '')
      const found = this.#found(place)
      const { metadata, ...rest } = body as KubeObject
      this.#compare(found, { metadata })
      const fields = Object.entries(rest).map(([name, value]) => {
        const standing = (found as unknown as Record<string, object | undefined>)[name]
        return [name, { ...standing, ...(value as object) }]
      })
      return this.put(place, { ...found, ...(Object.fromEntries(fields) as object) })
    })
  }

  async remove(path: string): Promise<unknown> {
    return this.#answer({ method: 'remove', path, body: null }, () => {
      const found = this.#found(path)
      this.objects.delete(path)
      return found
    })
  }

  list(): never {
    throw new Error('nobody lists here')
  }

  watch(): never {
    throw new Error('nobody watches here')
  }

  #answer(sent: Sent, work: () => KubeObject): KubeObject {
    this.sent.push(sent)
    this.before(sent)
    const answer = work()
    this.after(sent)
    return answer
  }

  #found(path: string): KubeObject {
    const found = this.objects.get(path)
    if (found === undefined) throw new KubeError(404, 'not found')
    return found
  }

  #compare(standing: KubeObject, { metadata }: Pick<KubeObject, 'metadata'>): void {
    const { resourceVersion } = metadata
    if (resourceVersion && resourceVersion !== standing.metadata.resourceVersion) throw new KubeError(409, 'conflict')
  }
}
