// A controller's replica for tests, as a user starts it: a process against an API in memory.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadDefinitions } from '../../lab/api/definitions.ts'
import type { KubeObject } from '../../lab/api/object.ts'
import { type Api, startApi } from '../../lab/api/server.ts'
import { Tokens } from '../../lab/api/auth/tokens.ts'
import { createStore, type Store } from '../../lab/api/store.ts'
import { applyManifests, readManifests } from '../../lab/cli/manifests.ts'
import { Api as Client } from '../../lab/node/api.ts'
import { kubeconfig, PROJECT } from '../../lab/state.ts'
import { NETWORK } from '../network.ts'

export const VIRTUAL_SERVICES = 'virtualservices.networking.istio.io'
export const DESTINATION_RULES = 'destinationrules.networking.istio.io'
export const PEER_AUTHENTICATIONS = 'peerauthentications.security.istio.io'
export const AUTHORIZATION_POLICIES = 'authorizationpolicies.security.istio.io'
export const LEASES = 'leases.coordination.k8s.io'
const CRDS = readFileSync(join(PROJECT, 'lab/api/istio-crds.yaml'), 'utf8')

/** Where replicas answer: other test processes look for free ports elsewhere. */
const ADDRESS = `${NETWORK}9.3`
/** Shown to replicas, of whoever asks for their pages. */
const ADMINISTRATOR = 'of-the-administrator'

/** A condition as an API client reads it. */
export interface Said {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly observedGeneration: number
  readonly lastTransitionTime: string
}

/** A cluster without nodes: the API, and what a mesh brings. */
export class Cluster {
  readonly store: Store = createStore()
  readonly #tokens = new Tokens()
  api!: Api
  kubeconfig = ''

  /** `crds` replaces texts in the definitions, before they are loaded. */
  static async start(t: TestContext, crds: (text: string) => string = (text) => text): Promise<Cluster> {
    const cluster = new Cluster()
    loadDefinitions(cluster.store, crds(CRDS))
    for (const name of ['weft-system', 'istio-system', 'shop', 'client'])
      cluster.store.create('namespaces', { metadata: { name } })
    await cluster.serve()
    const folder = await mkdtemp(join(tmpdir(), 'weft-controller-'))
    cluster.kubeconfig = join(folder, 'kubeconfig')
    await writeFile(cluster.kubeconfig, kubeconfig(cluster.api.url, { tokenFile: join(folder, 'token') }))
    await writeFile(join(folder, 'token'), await controllerToken(cluster.api.url))
    t.after(async () => {
      await cluster.api.close()
      await rm(folder, { recursive: true })
    })
    return cluster
  }

  /** Serves the API: anew, at the same port and with the same key, after it was closed. */
  async serve(port = 0): Promise<void> {
    this.api = await startApi({ store: this.store, tokens: this.#tokens, administratorToken: ADMINISTRATOR, port })
  }

  /** Applies an object of a policy kind in namespace `shop`, or another that `name` begins with: `client/reviews`. */
  apply(resource: string, name: string, spec: unknown): void {
    const [own = '', namespace = 'shop'] = name.split('/').reverse()
    const known = this.store.get(resource, namespace, own)
    if (known === undefined) this.store.create(resource, { metadata: { namespace, name: own }, spec })
    else this.store.modify(resource, namespace, own, (object) => void (object['spec'] = spec))
  }

  get(resource: string, name: string): KubeObject | undefined {
    const [own = '', namespace = 'shop'] = name.split('/').reverse()
    return this.store.get(resource, namespace, own)
  }

  /** The conditions of an object by type. */
  said(resource: string, name: string): Readonly<Record<string, Said>> {
    const { status } = (this.get(resource, name) ?? {}) as { status?: { conditions?: readonly Said[] } }
    return Object.fromEntries((status?.conditions ?? []).map((condition) => [condition.type, condition]))
  }

  /** Who holds the lease, '' where nobody does. */
  get holder(): string {
    const lease = this.store.get(LEASES, 'weft-system', 'weft-controller')
    return String((lease?.spec as { holderIdentity?: string } | undefined)?.holderIdentity ?? '')
  }

  /** Starts a replica by that identity; ended with the test. */
  async replica(t: TestContext, identity: string, ...flags: readonly string[]): Promise<Replica> {
    const port = await freePort()
    const given = ['--kubeconfig', this.kubeconfig, '--identity', identity, '--admin-port', String(port), ...flags]
    const seconds = flags.includes('--lease-seconds') ? [] : ['--lease-seconds', '3']
    const lease = [...seconds, '--renew-seconds', '2', '--retry-ms', '200']
    const address = ['--admin-address', ADDRESS]
    const command = [join(PROJECT, 'agent/main.ts'), 'controller', ...lease, ...address, ...given]
    const replica = new Replica(spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] }), port)
    t.after(() => replica.end('SIGKILL'))
    return replica
  }
}

/** The token of the controller's service account, which may do what it may in every lab. */
async function controllerToken(url: string): Promise<string> {
  const client = new Client(url)
  await applyManifests(client, await readManifests([join(PROJECT, 'lab/mesh/rights.yaml')]), () => undefined)
  const path = '/api/v1/namespaces/weft-system/serviceaccounts/weft-controller/token'
  const { status } = await client.create<{ status: { token: string } }>(path, {})
  client.close()
  return status.token
}

export class Replica {
  readonly #child: ChildProcess
  readonly #port: number
  log = ''

  constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.#port = port
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.log += text))
  }

  /** Stops or continues it where it stands: it hears and says nothing meanwhile. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill(signal)
    await once(this.#child, 'exit')
  }

  async ask(page: string): Promise<string> {
    const headers = { authorization: `Bearer ${ADMINISTRATOR}` }
    return (await fetch(`http://${ADDRESS}:${this.#port}${page}`, { headers })).text()
  }

  /** The value of a series without labels, or with these. */
  async metric(series: string): Promise<number> {
    const line = (await this.ask('/metrics')).split('\n').find((each) => each.startsWith(`${series} `))
    return Number(line?.split(' ')[1] ?? NaN)
  }
}

/** Waits until something is so; throws `what` after so long. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, withinMs = 15_000): Promise<void> {
  const deadlineMs = performance.now() + withinMs
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`waited in vain for ${what}`)
    await sleep(20)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, ADDRESS)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
