// Which agents are ready, as the endpoints of their Service say: an announcement counts as long as its node has an agent to
// keep it, who made it or the one that has taken that one's place.

import type { EndpointSlice } from './object.ts'
import type { ObjectChange } from './reflector.ts'
import { serviceKey, sliceOwner } from './service.ts'

/** The headless Service of the agents, in Weft's own namespace. Its endpoints' targets are the pods that announcements name. */
export const AGENTS_SERVICE = 'weft-agent'

/** Agents that are remembered with their node, those that are gone included; the ones known longest are forgotten first. */
const REMEMBERED_MOST = 16_384

export class AgentList {
  readonly #key: string
  readonly #slices = new Map<string, EndpointSlice>()
  /** The node of each agent that was seen: what one announced is kept by the next one of its node. */
  readonly #nodes = new Map<string, string>()
  #readyNodes: ReadonlySet<string> = new Set()

  /** `namespace`: of Weft itself. */
  constructor(namespace: string) {
    this.#key = serviceKey(namespace, AGENTS_SERVICE)
  }

  /** Takes slices of any service. Returns the names of agents for which it is another answer now. */
  take(changes: readonly ObjectChange<EndpointSlice>[]): ReadonlySet<string> {
    const own = changes.filter(({ before, after }) => [before, after].some((one) => one && this.#isOurs(one)))
    if (own.length === 0) return new Set()
    const before = this.#readyNodes
    const known = new Set(this.#nodes.keys())
    for (const { before: was, after } of own) {
      if (was !== null) this.#slices.delete(was.metadata.uid)
      if (after !== null && this.#isOurs(after)) this.#slices.set(after.metadata.uid, after)
    }
    const agents = [...this.#slices.values()].flatMap(agentsIn)
    for (const { name, node } of agents) this.#remember(name, node)
    this.#readyNodes = new Set(agents.flatMap(({ node, ready }) => (ready ? node : [])))
    const isOther = (name: string, node: string): boolean =>
      this.#readyNodes.has(node) !== (known.has(name) && before.has(node))
    return new Set([...this.#nodes].flatMap(([name, node]) => (isOther(name, node) ? name : [])))
  }

  isReady(agent: string): boolean {
    const node = this.#nodes.get(agent)
    return node !== undefined && this.#readyNodes.has(node)
  }

  #remember(name: string, node: string): void {
    this.#nodes.set(name, node)
    if (this.#nodes.size <= REMEMBERED_MOST) return
    const [oldest] = this.#nodes.keys()
    if (oldest !== undefined) this.#nodes.delete(oldest)
  }

  #isOurs(slice: EndpointSlice): boolean {
    return sliceOwner(slice) === this.#key
  }
}

/** EndpointSlice: `ready` that is not said means ready. An endpoint that does not name its node stands for itself. */
function agentsIn({ endpoints = [] }: EndpointSlice): { name: string; node: string; ready: boolean }[] {
  return endpoints.flatMap(({ conditions, nodeName, targetRef }) => {
    const name = targetRef?.kind === 'Pod' ? targetRef.name : undefined
    if (name === undefined) return []
    return [{ name, node: nodeName ?? `of ${name}`, ready: conditions?.ready ?? true }]
  })
}
