// Who may read what an agent tells: the Kubernetes API says whose token it is, and whether its roles allow it.
// Source: Kubernetes API reference authentication.k8s.io/v1 TokenReview, authorization.k8s.io/v1 SubjectAccessReview.

import { createHash } from 'node:crypto'
import { type KubeClient, KubeError } from './client.ts'

export const ACCESS_GROUP = 'weft.dev'
const TOKEN_REVIEWS = '/apis/authentication.k8s.io/v1/tokenreviews'
const ACCESS_REVIEWS = '/apis/authorization.k8s.io/v1/subjectaccessreviews'
/** How long a yes holds, and a no: who has just been given a right should not wait long. */
const ALLOWED_MS = 60_000
const REFUSED_MS = 10_000
/** Answers that are kept; the oldest goes first. */
const ANSWERS_LIMIT = 256
/** Askers whose answer is on its way. */
const PENDING_LIMIT = 16
const REVIEW_WITHIN_MS = 3_000

/** Why somebody is not let in, with the status of HTTP that says so. */
export interface AccessRefusal {
  readonly status: 401 | 403 | 503
  readonly reason: string
}

/** What is read: in roles `RESOURCE/SUBRESOURCE` of the group weft.dev, the verb get. */
export interface Readable {
  readonly resource: 'agents' | 'controllers'
  /** The name that a role may be bound to; null where there is none. */
  readonly name: string | null
}

interface Kept {
  readonly answer: Promise<AccessRefusal | null>
  untilMs: number
}

/** Asks about bearer tokens, and remembers what was answered, for a while; tokens themselves it does not keep. */
export class AccessReviews {
  readonly #client: KubeClient
  readonly #readable: Readable
  readonly #nowMs: () => number
  /** By digest of token and subresource; the oldest first. */
  readonly #kept = new Map<string, Kept>()
  #pending = 0

  constructor(client: KubeClient, readable: Readable, nowMs: () => number) {
    this.#client = client
    this.#readable = readable
    this.#nowMs = nowMs
  }

  /** Null where who comes with this Authorization header may get the subresource, else why not. Never rejects. */
  async refuse(authorization: string | undefined, subresource: string): Promise<AccessRefusal | null> {
    const token = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
    if (token === undefined) {
      return { status: 401, reason: 'show who asks: Authorization: Bearer, with a token of the Kubernetes API' }
    }
    const key = createHash('sha256').update(`${subresource} ${token}`).digest('base64')
    const known = this.#kept.get(key)
    if (known !== undefined && this.#nowMs() < known.untilMs) return known.answer
    if (this.#pending >= PENDING_LIMIT) return { status: 503, reason: 'too many ask at once' }
    return this.#ask(key, token, subresource)
  }

  async #ask(key: string, token: string, subresource: string): Promise<AccessRefusal | null> {
    this.#pending++
    const answer = this.#review(token, subresource).catch((error: unknown) => unanswered(error))
    const kept: Kept = { answer, untilMs: Infinity }
    this.#kept.delete(key) // so that it counts as the youngest
    this.#kept.set(key, kept)
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= ANSWERS_LIMIT) break
      this.#kept.delete(oldest)
    }
    const refusal = await answer
    this.#pending--
    // what the API did not answer is no answer
    const holdsMs = refusal === null ? ALLOWED_MS : refusal.status === 503 ? 0 : REFUSED_MS
    kept.untilMs = this.#nowMs() + holdsMs
    return refusal
  }

  async #review(token: string, subresource: string): Promise<AccessRefusal | null> {
    const { status: who } = (await this.#client.create(
      TOKEN_REVIEWS,
      { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: {}, spec: { token } },
      REVIEW_WITHIN_MS,
    )) as { status?: { authenticated?: boolean; user?: ReviewedUser } }
    if (who?.authenticated !== true) {
      return { status: 401, reason: 'the Kubernetes API does not take this token' }
    }
    const { username: user = '', groups, uid, extra } = who.user ?? {}
    const { resource, name } = this.#readable
    const asked = { group: ACCESS_GROUP, resource, subresource, verb: 'get', ...(name === null ? {} : { name }) }
    const { status: may } = (await this.#client.create(
      ACCESS_REVIEWS,
      {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        metadata: {},
        spec: { user, groups, uid, extra, resourceAttributes: asked },
      },
      REVIEW_WITHIN_MS,
    )) as { status?: { allowed?: boolean } }
    if (may?.allowed === true) return null
    const what = `${resource}${name === null ? '' : ` "${name}"`}`
    const reason = `${what} is forbidden: User "${user}" cannot get resource "${resource}/${subresource}" in API group "${ACCESS_GROUP}"`
    return { status: 403, reason }
  }
}

/** authentication.k8s.io/v1 UserInfo. */
interface ReviewedUser {
  readonly username?: string
  readonly groups?: readonly string[]
  readonly uid?: string
  readonly extra?: Readonly<Record<string, readonly string[]>>
}

function unanswered(error: unknown): AccessRefusal {
  const why = error instanceof KubeError ? error.message : String(error)
  return { status: 503, reason: `the Kubernetes API cannot be asked who you are and what you may: ${why}` }
}
