// A shop whose requests an authorizer is asked about.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TestContext } from 'node:test'
import type { HttpAuthorizer } from '../../agent/model/authorization/provider.ts'
import type { AuthorizationPolicy } from '../../agent/model/authorization/policy.ts'
import type { World } from '../../agent/model/world.fixture.ts'
import type { Limits } from '../../agent/proxy/plane/limits.ts'
import { type Place, type Setting, shop } from './shop.ts'

export const GUARD: HttpAuthorizer = {
  ...{ name: 'guard', host: 'guard.default.svc.cluster.local', port: 80, timeoutMs: 500, pathPrefix: '' },
  ...{ failOpen: false, statusOnError: 403, body: null },
  includeRequestHeadersInCheck: [],
  includeAdditionalHeadersInCheck: [],
  headersToUpstreamOnAllow: [],
  headersToDownstreamOnAllow: [],
  headersToDownstreamOnDeny: [],
}

export const GUARDED: Partial<AuthorizationPolicy> = {
  ...{ action: 'CUSTOM', provider: 'guard', selector: { app: 'shop' } },
  rules: [
    {
      from: [],
      to: [[{ field: 'test', attribute: { kind: 'request.path' }, values: ['/g*'], notValues: [] }]],
      when: [],
    },
  ],
}

export interface Asked {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly headers: IncomingMessage['headers']
  /** Names and values as they came, one after another. */
  readonly raw: readonly string[]
  readonly body: string
}

export interface Guarded extends Setting {
  readonly asked: Asked[]
}

/** A shop whose requests beneath /g are asked about. `answer` is the authorizer. */
export async function guarded(
  t: TestContext,
  place: Place,
  answer: (asked: Asked, response: ServerResponse) => void,
  how: {
    readonly guard?: Partial<HttpAuthorizer>
    readonly limits?: Partial<Limits>
    readonly more?: (of: World) => World
  } = {},
): Promise<Guarded> {
  const asked: Asked[] = []
  const { guard = {}, limits = {}, more = (of) => of } = how
  const setting = await shop(
    t,
    place,
    (of) =>
      more(
        of
          .service('guard')
          .pods('guard-v1', { serviceAccount: 'guard', node: 'node-2', captured: 'weft-agent-b' })
          .settings({ authorizers: [{ ...GUARD, ...guard }] })
          .authorizationPolicy(GUARDED),
      ),
    limits,
  )
  const server = setting.servers.get('guard-v1-1')!
  server.removeAllListeners('request').on('request', (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method, url, headers, rawHeaders: raw } = request
      const one = { method, url, headers, raw, body: Buffer.concat(chunks).toString('latin1') }
      asked.push(one)
      answer(one, response)
    })
  })
  return { ...setting, asked }
}

export const allows = (_: Asked, response: ServerResponse): unknown => response.end()

export function post(path: string, body: string, ...fields: readonly string[]): string {
  return [`POST ${path} HTTP/1.1`, 'Host: shop', `Content-Length: ${body.length}`, ...fields, '', body].join('\r\n')
}
