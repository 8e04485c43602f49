// Answers questions to the admin endpoint: what this node would do, from the very inventory that its workers have in force.

import type { Snapshot } from '../model/snapshot.ts'
import { explain, type Question, Unanswerable } from '../model/explain/explain.ts'
import { documentOf, type Moment } from '../model/explain/explanation.ts'
import type { Ejection } from '../proxy/plane/breaker-cells.ts'
import { BadQuestion } from '../telemetry/admin.ts'

/** What is asked of the node for an answer. */
export interface ExplainGround {
  snapshot(): Snapshot
  ejectedNow(): readonly Ejection[]
  isCapturedHere(uid: string): boolean
}

/** Headers of a question. */
const HEADERS_MOST = 100

export class Explaining {
  readonly #ground: ExplainGround

  constructor(ground: ExplainGround) {
    this.#ground = ground
  }

  /** The document of an explanation. Throws BadQuestion, with one sentence, where the question makes no sense here. */
  answer(text: string): string {
    const question = questionOf(text)
    const snapshot = this.#ground.snapshot()
    const byScope = Map.groupBy(this.#ground.ejectedNow(), ({ scope }) => scope)
    const moment: Moment = {
      nowMs: Date.now(),
      ejected: (scope) => new Map((byScope.get(scope) ?? []).map(({ endpoint, untilMs }) => [endpoint, untilMs])),
      isCapturedHere: (uid) => this.#ground.isCapturedHere(uid),
    }
    try {
      return JSON.stringify(documentOf(snapshot, explain(snapshot, question), moment))
    } catch (error) {
      throw error instanceof Unanswerable ? new BadQuestion(error.message) : error
    }
  }
}

/** Throws BadQuestion where it is none. */
function questionOf(text: string): Question {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch {
    throw new BadQuestion('the question is not JSON')
  }
  if (!isQuestion(given))
    throw new BadQuestion('the question does not say what it has to: pod, host, method, target, …')
  return given
}

function isQuestion(given: unknown): given is Question {
  if (typeof given !== 'object' || given === null) return false
  const { namespace, pod, host, port, method, target, headers, serverName, carriage } = given as Record<string, unknown>
  const isHeader = (one: unknown): boolean =>
    Array.isArray(one) && one.length === 2 && one.every((part) => typeof part === 'string')
  return (
    [namespace, pod, host, method, target].every((one) => typeof one === 'string') &&
    (port === null || (Number.isInteger(port) && (port as number) > 0 && (port as number) <= 0xffff)) &&
    (serverName === null || typeof serverName === 'string') &&
    (carriage === null || carriage === 'http' || carriage === 'flows') &&
    Array.isArray(headers) &&
    headers.length <= HEADERS_MOST &&
    headers.every(isHeader)
  )
}
