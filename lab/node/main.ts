// One lab node: runs inside the node's network namespace, started by the control plane with an IPC channel. Opens the API's
// sockets there and hands them over, then runs the stand-ins for kubelet, kube-proxy and cluster DNS.
import { writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import net from 'node:net'
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node'
import { Api, type KubeObject, keepWatching } from './api.ts'
import { frontendsOf } from './balance.ts'
import { writeOwnNetwork } from './cni/chain.ts'
import { answerDials } from './dial.ts'
import { DnsServer } from './dns/server.ts'
import { buildZone } from './dns/zone.ts'
import { Events } from './events.ts'
import { type HostFiles, makeHostFiles } from './host-files.ts'
import { keepPods, registerNode } from './kubelet.ts'
import { API_PORT, AddressPool, CLUSTER_DNS, nodeAddress, nodeName } from './network.ts'
import type { NodeParts } from './pod/parts.ts'
import { ServiceProxy } from './proxy.ts'
import { serviceLinks } from './service-links.ts'

/** What the control plane tells a node process at its start: JSON, its one argument. */
export interface NodeOrder {
  readonly labId: string
  readonly index: number
  readonly stateFolder: string
  readonly host: HostFiles
  readonly kubepods: string
  readonly binFolder: string
  /** Name → folder, as in NodeParts. */
  readonly images: Readonly<Record<string, string>>
}

/** What a node process tells the control plane. `socket` comes with a listening socket. */
export type NodeWord = { readonly kind: 'socket' } | { readonly kind: 'ready' }

/** DNS and proxy wait this long for changes that belong together. */
const GATHER_MS = 10

const log = (sentence: string): void => {
  process.stderr.write(`${new Date().toISOString()} ${sentence}\n`)
}

/** Services and slices of the whole cluster, and what they are turned into. */
class Directory {
  readonly #services = new Map<string, V1Service>()
  readonly #slices = new Map<string, V1EndpointSlice>()
  readonly #node: string
  readonly #dns: DnsServer
  readonly #proxy: ServiceProxy
  #timer: NodeJS.Timeout | null = null

  constructor(node: string, dns: DnsServer) {
    this.#node = node
    this.#dns = dns
    this.#proxy = new ServiceProxy(() => frontendsOf(this.#services.values(), this.#slices.values(), node), log)
  }

  follow(api: Api, signal: AbortSignal): void {
    void this.#keep(api, '/api/v1/services', this.#services, signal)
    void this.#keep(api, '/apis/discovery.k8s.io/v1/endpointslices', this.#slices, signal)
  }

  links(namespace: string, all: boolean): Record<string, string> {
    return serviceLinks(this.#services.values(), namespace, all)
  }

  #keep<T extends KubeObject>(api: Api, path: string, into: Map<string, T>, signal: AbortSignal): Promise<void> {
    const keyOf = (object: T): string => `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`
    const put = (object: T): void => {
      into.set(keyOf(object), object)
      this.#changed()
    }
    const gone = (object: T): void => {
      into.delete(keyOf(object))
      this.#changed()
    }
    const failed = (error: Error): void => {
      log(`${this.#node}: watching ${path}: ${error.message}`)
    }
    return keepWatching<T>(api, { path, put, gone, failed }, signal)
  }

  #changed(): void {
    this.#proxy.changed()
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#dns.use(buildZone(this.#services.values(), this.#slices.values()))
    }, GATHER_MS)
  }
}

/** Sockets for the API in this namespace: on loopback for the node's own programs, on the node's address for its pods. */
async function handOverApiSockets(address: string): Promise<void> {
  for (const host of ['127.0.0.1', address]) {
    const server = net.createServer()
    server.listen({ host, port: API_PORT })
    await once(server, 'listening')
    await new Promise<void>((resolve, reject) => {
      process.send?.({ kind: 'socket' } satisfies NodeWord, server, {}, (error) => {
        if (error) reject(error)
        else resolve()
      })
    })
    // The control plane's copy stays open; this process must not take connections off the shared queue.
    server.close()
  }
}

async function run(order: NodeOrder): Promise<void> {
  await writeFile('/proc/sys/net/ipv4/ip_forward', '1')
  const address = nodeAddress(order.index)
  const name = nodeName(order.index)
  await makeHostFiles(order.host)
  await writeOwnNetwork(order.host)
  await handOverApiSockets(address)
  answerDials()
  const stop = new AbortController()
  const api = new Api(`http://127.0.0.1:${String(API_PORT)}`)
  const dns = new DnsServer()
  await dns.listen(CLUSTER_DNS)
  const directory = new Directory(name, dns)
  const node: NodeParts = {
    ...{ labId: order.labId, name, address, stateFolder: order.stateFolder, kubepods: order.kubepods },
    ...{
      host: order.host,
      binFolder: order.binFolder,
      images: order.images,
      api,
      log,
      events: new Events(api, name),
      addresses: new AddressPool(order.index),
    },
    serviceLinks: (namespace, all) => directory.links(namespace, all),
  }
  directory.follow(api, stop.signal)
  await registerNode(node, order.index)
  void keepPods(node, stop.signal)
  process.send?.({ kind: 'ready' } satisfies NodeWord)
}

// The control plane is gone: nothing this process could do would be recorded. `weft lab down` clears the rest.
process.on('disconnect', () => {
  log('the control plane is gone, this node ends')
  process.exit(1)
})
// Ctrl-C in a terminal reaches the whole group; the control plane decides when a node ends.
process.on('SIGINT', () => undefined)

await run(JSON.parse(process.argv[2] ?? '{}') as NodeOrder)
