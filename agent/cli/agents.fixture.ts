// Agents for tests of what asks them: real HTTP servers behind port-forwards that are opened as told.

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { Ending } from '../kube/api.fixture.ts'
import { object } from '../kube/objects.fixture.ts'
import type { KubeClient } from '../kube/client.ts'
import type { EndpointSlice } from '../kube/object.ts'
import type { PodPort } from '../kube/port-forward.ts'
import type { UserClient } from '../kube/user-client.ts'

/** What an agent answers to any page; null: it hears, and says nothing. */
export type Said = { readonly code: number; readonly body: unknown } | null

/** So that questions meet where they are asked at once. */
const ANSWER_AFTER_MS = 5

export class Agents {
  /** By pod. */
  readonly answers = new Map<string, Said>()
  /** What the API server says in place of opening a port, by pod. */
  readonly refusals = new Map<string, Error>()
  readonly forwarded: PodPort[] = []
  readonly heard: { readonly url: string | undefined; readonly headers: IncomingHttpHeaders }[] = []
  /** The token of the kubeconfig. */
  token: string | null = 'kai'
  /** Questions that were open at once, at most. */
  most = 0
  #open = 0
  readonly #ending: Ending

  constructor(ending: Ending) {
    this.#ending = ending
  }

  /** The client of whoever asks, which reaches these agents. */
  client(api: KubeClient): UserClient {
    return {
      ...api,
      bearer: () => Promise.resolve(this.token),
      forward: async (to, signal) => {
        this.forwarded.push(to)
        const refusal = this.refusals.get(to.pod)
        if (refusal !== undefined) throw refusal
        return connect({ port: await this.#serve(to.pod), host: '127.0.0.1', signal })
      },
    }
  }

  async #serve(pod: string): Promise<number> {
    const server = createServer(({ url, headers }, response) => {
      this.heard.push({ url, headers })
      const said = this.answers.get(pod) ?? null
      if (said === null) return
      this.most = Math.max(this.most, ++this.#open)
      const answer = (): void => {
        this.#open--
        response.writeHead(said.code).end(typeof said.body === 'string' ? said.body : JSON.stringify(said.body))
      }
      setTimeout(answer, ANSWER_AFTER_MS)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    this.#ending.after(async () => {
      server.closeAllConnections()
      server.close()
    })
    return (server.address() as AddressInfo).port
  }
}

/** The endpoints of the agents' Service: the pod `weft-NODE` on each node. */
export function sliceOf(
  nodes: readonly string[],
  more: { readonly ready?: boolean; readonly suffix?: string } = {},
): EndpointSlice {
  const { ready = true, suffix = '' } = more
  const endpoints = nodes.map((nodeName) => ({
    addresses: ['10.0.0.1'],
    conditions: { ready },
    nodeName,
    targetRef: { kind: 'Pod', name: `weft-${nodeName}${suffix}` },
  }))
  return object<EndpointSlice>({ name: `weft-agent${suffix}`, namespace: 'weft-system' }, { endpoints })
}
