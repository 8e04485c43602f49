// Answers questions to the admin endpoint: what stands before a pod of this node, from the very inventory that its workers
// have in force.

import { type AuthorizationQuestion, authorizationsOf, type KeySetState } from '../model/explain/authorizations.ts'
import { Unanswerable } from '../model/explain/explain.ts'
import type { Snapshot } from '../model/snapshot.ts'
import type { Workload } from '../model/workload.ts'
import { BadQuestion } from '../telemetry/admin.ts'
import type { PodStatus } from '../telemetry/status.ts'

/** What is asked of the node for an answer. */
export interface AuthorizingGround {
  snapshot(): Snapshot
  /** How each pod stands that joined the mesh, or is not let go of yet. */
  standings(): readonly Pick<PodStatus, 'uid' | 'state' | 'reason'>[]
  /** How it stands with a set of keys; null: nobody wants it. */
  keySetOf(name: string): KeySetState | null
}

export class Authorizing {
  readonly #ground: AuthorizingGround

  constructor(ground: AuthorizingGround) {
    this.#ground = ground
  }

  /** The document. Throws BadQuestion, with one sentence, where the question makes no sense here. */
  answer(text: string): string {
    const question = questionOf(text)
    const keySets = { stateOf: (name: string) => this.#ground.keySetOf(name) }
    const standing = { keySets, uncapturedWhy: (pod: Workload) => this.#uncapturedWhy(pod) }
    try {
      return JSON.stringify(authorizationsOf(this.#ground.snapshot(), question, standing))
    } catch (error) {
      throw error instanceof Unanswerable ? new BadQuestion(error.message) : error
    }
  }

  #uncapturedWhy({ uid }: Workload): string | null {
    const found = this.#ground.standings().find((one) => one.uid === uid)
    if (found === undefined) return 'it has not joined the mesh (weft.dev/mesh)'
    return found.state === 'captured' ? null : (found.reason ?? found.state)
  }
}

const LARGEST_PORT = 65_535

/** Throws BadQuestion where it is none. */
function questionOf(text: string): AuthorizationQuestion {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch {
    throw new BadQuestion('the question is not JSON')
  }
  if (!isQuestion(given)) throw new BadQuestion('the question does not say what it has to: namespace, pod, port')
  return given
}

function isQuestion(given: unknown): given is AuthorizationQuestion {
  if (typeof given !== 'object' || given === null) return false
  const { namespace, pod, port } = given as Record<string, unknown>
  const isPort = port === null || (Number.isInteger(port) && (port as number) > 0 && (port as number) <= LARGEST_PORT)
  return typeof namespace === 'string' && typeof pod === 'string' && isPort
}
