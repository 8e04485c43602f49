// Which agents are ready, as the endpoints of their Service say: an announcement counts as long as who made it is there to
// keep it.

import type { EndpointSlice } from './object.ts'
import type { ObjectChange } from './reflector.ts'
import { serviceKey, sliceOwner } from './service.ts'

/** The headless Service of the agents, in Weft's own namespace. Its endpoints' targets are the pods that announcements name. */
export const AGENTS_SERVICE = 'weft-agent'

export class AgentList {
  readonly #key: string
  readonly #slices = new Map<string, EndpointSlice>()
  #ready: ReadonlySet<string> = new Set()

  /** `namespace`: of Weft itself. */
  constructor(namespace: string) {
    this.#key = serviceKey(namespace, AGENTS_SERVICE)
  }

  /** Takes slices of any service. Returns the names of agents for which it is another answer now. */
  take(changes: readonly ObjectChange<EndpointSlice>[]): ReadonlySet<string> {
    const own = changes.filter(({ before, after }) => [before, after].some((one) => one && this.#isOurs(one)))
    if (own.length === 0) return new Set()
    const before = this.#ready
    for (const { before: was, after } of own) {
      if (was !== null) this.#slices.delete(was.metadata.uid)
      if (after !== null && this.#isOurs(after)) this.#slices.set(after.metadata.uid, after)
    }
    this.#ready = new Set([...this.#slices.values()].flatMap(readyIn))
    return new Set(
      [...before].filter((name) => !this.#ready.has(name)).concat([...this.#ready].filter((name) => !before.has(name))),
    )
  }

  isReady(agent: string): boolean {
    return this.#ready.has(agent)
  }

  #isOurs(slice: EndpointSlice): boolean {
    return sliceOwner(slice) === this.#key
  }
}

/** EndpointSlice: `ready` that is not said means ready. */
function readyIn({ endpoints = [] }: EndpointSlice): string[] {
  return endpoints.flatMap(({ conditions, targetRef }) =>
    (conditions?.ready ?? true) && targetRef?.kind === 'Pod' ? (targetRef.name ?? []) : [],
  )
}
