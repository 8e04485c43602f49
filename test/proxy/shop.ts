// A shop and whoever calls it: on one node, where one walk stands for both ends, or on two.

import type { IncomingHttpHeaders, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type World, world } from '../../agent/model/world.fixture.ts'
import type { Limits } from '../../agent/proxy/plane/limits.ts'
import { type Mesh, mesh } from './mesh.ts'
import { twoNodes } from './nodes.ts'

export const SHOP = { ip: '10.96.0.1', port: 80 }
export const DB = { ip: '10.96.0.1', port: 3306 }
export const PLACES = ['one node', 'two nodes'] as const
export type Place = (typeof PLACES)[number]

export const get = (path = '/', ...fields: readonly string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: shop', ...fields, '', ''].join('\r\n')

export interface Seen {
  readonly url: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly bodyBytes: number
}

export interface Setting {
  readonly world: World
  readonly caller: Mesh
  /** Where calls are judged. */
  readonly callee: Mesh
  readonly seen: Seen[]
  /** By pod. */
  readonly servers: ReadonlyMap<string, Server>
  /** Connects as the caller. */
  readonly dial: (address?: { readonly ip: string; readonly port: number }) => Promise<Socket>
  /** Puts the world as it is now in force, everywhere. */
  readonly apply: () => void
}

/** A shop with two versions behind one Service, and whoever calls it. */
export async function shop(
  t: TestContext,
  place: Place,
  of: (world: World) => World,
  limits: Partial<Limits> = {},
): Promise<Setting> {
  const there = { serviceAccount: 'shop', node: 'node-2', captured: 'weft-agent-b' }
  const built = of(
    world()
      .service('shop', {
        ports: [
          { port: 80, targetPort: 8080 },
          { port: 3306, name: 'tcp-db', protocol: 'opaque' },
        ],
      })
      .pods('shop-v1', { ...there, labels: { app: 'shop', version: 'v1' } })
      .pods('web', { behind: [], serviceAccount: 'web', captured: 'weft-agent-a' }),
  )
  const callees = built.inventory().workloads.flatMap(({ name }) => (name === 'web-1' ? [] : [name]))
  const one = place === 'one node' ? mesh(t, built, { limits }) : null
  const { here, there: callee } =
    one === null ? twoNodes(t, built, { callers: ['web-1'], callees }, limits) : { here: one, there: one }
  const seen: Seen[] = []
  const servers = new Map<string, Server>()
  for (const pod of callees) {
    const server = await callee.http(pod, (request, response) => {
      const { url, headers } = request
      let bodyBytes = 0
      request.on('data', (chunk: Buffer) => (bodyBytes += chunk.length))
      request.on('end', () => {
        seen.push({ url, headers, bodyBytes })
        response.end(`by ${pod}`)
      })
    })
    servers.set(pod, server)
    server.on('upgrade', (_request, socket: Socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
      socket.on('data', (bytes) => socket.write(bytes)).on('end', () => socket.end())
      socket.on('error', () => {})
    })
  }
  await callee.tcp('shop-v1-1', (socket) => socket.on('data', (bytes) => socket.write(bytes)), 3306)
  return {
    ...{ world: built, caller: here, callee, seen, servers },
    dial: (address = SHOP) => here.dial('web-1', address),
    apply: () => {
      for (const node of new Set([here, callee])) node.apply()
    },
  }
}
