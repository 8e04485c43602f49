// Logs what is amiss with policies, each sentence once for as long as it holds.

import type { Problem } from '../model/policy.ts'

export class ProblemLog {
  readonly #warn: (problem: object, message: string) => void
  #known: ReadonlySet<string> = new Set()

  constructor(log: { warn(fields: object, message: string): void }) {
    this.#warn = (problem, message) => log.warn(problem, message)
  }

  /** All there is to say now; what was not said before is logged. */
  take(now: readonly Problem[]): void {
    const known = this.#known
    this.#known = new Set(now.map(textOf))
    for (const problem of now) if (!known.has(textOf(problem))) this.#warn({ ...problem }, 'policy not honoured')
  }
}

function textOf({ object, field, reason }: Problem): string {
  return `${object.kind} ${object.namespace}/${object.name} ${field}: ${reason}`
}
