// A mesh without nodes for tests of certificates: the Kubernetes API in memory, asked over HTTP alone, replicas of the
// controller as processes, and agents' accounts with their tokens.
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import {
  bits,
  decode,
  encode,
  integer,
  octets,
  oid,
  sequence,
  setOf,
  tagged,
  toPem,
  truth,
  type Value,
} from '../../agent/identity/der.ts'
import { type Held, HeldFolder } from '../../agent/identity/held.ts'
import { Keeper } from '../../agent/identity/keep.ts'
import { connectKube, type KubeClient } from '../../agent/kube/client.ts'
import { askForCertificate } from '../../agent/signing/certificates.ts'
import { Roots } from '../../agent/signing/published-roots.ts'
import type { KubeSigningRequest } from '../../agent/signing/signing-request.ts'
import { Cluster, type Replica, until } from '../kube/replica.ts'

export const REQUESTS = '/apis/certificates.k8s.io/v1/certificatesigningrequests'
export const SECRET = '/api/v1/namespaces/weft-system/secrets/weft-root'
export const ROOTS = '/api/v1/namespaces/weft-system/configmaps/weft-roots'
export const idOf = (account: string): string => `spiffe://cluster.local/ns/shop/sa/${account}`

/** An object as it comes over the wire. */
export interface Answer {
  readonly code: number
  readonly message?: string
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly resourceVersion: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly data: Readonly<Record<string, string>>
  readonly status: Readonly<Record<string, unknown>>
  readonly items: readonly Answer[]
}

/** An agent's keeper on a node, with what it holds and hears. */
export interface Node {
  readonly keeper: Keeper
  readonly roots: Roots
  readonly held: Held[]
}

export class Mesh {
  readonly cluster: Cluster
  readonly #folder: string
  readonly #t: TestContext

  private constructor(t: TestContext, cluster: Cluster, folder: string) {
    this.#t = t
    this.cluster = cluster
    this.#folder = folder
  }

  /** Accounts, and pods that run as them: cart on node one, stock on node two, an agent on each. */
  static async start(t: TestContext): Promise<Mesh> {
    const cluster = await Cluster.start(t)
    const folder = await mkdtemp(join(tmpdir(), 'weft-signing-'))
    t.after(() => rm(folder, { recursive: true }))
    const mesh = new Mesh(t, cluster, folder)
    for (const node of ['one', 'two']) await mesh.ask('POST', '/api/v1/nodes', { metadata: { name: node } })
    const accounts = { shop: ['cart', 'stock', 'late'], 'weft-system': ['weft-agent'] }
    for (const [namespace, names] of Object.entries(accounts)) {
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts`
      for (const name of names) await mesh.ask('POST', path, { metadata: { name } })
    }
    await mesh.#letAsk('cart')
    await mesh.pod('shop/cart', 'cart', 'one')
    await mesh.pod('shop/stock', 'stock', 'two')
    for (const node of ['one', 'two']) await mesh.pod(`weft-system/agent-${node}`, 'weft-agent', node)
    return mesh
  }

  async ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    const response = await fetch(this.cluster.api.url + path, { method, headers: { 'content-type': type }, ...sent })
    return { ...((await response.json()) as Answer), code: response.status }
  }

  async pod(name: string, serviceAccountName: string, nodeName: string): Promise<void> {
    const [namespace = '', own = ''] = name.split('/')
    const spec = { serviceAccountName, nodeName, containers: [{ name: 'app', image: 'app' }] }
    const made = await this.ask('POST', `/api/v1/namespaces/${namespace}/pods`, { metadata: { name: own }, spec })
    if (made.code !== 201) throw new Error(made.message)
  }

  /** Lets an account ask for certificates, where the API asks who may. */
  async #letAsk(account: string): Promise<void> {
    const group = 'rbac.authorization.k8s.io'
    const rules = [
      { apiGroups: ['certificates.k8s.io'], resources: ['certificatesigningrequests'], verbs: ['create', 'get'] },
    ]
    const subjects = [{ kind: 'ServiceAccount', namespace: 'shop', name: account }]
    const roleRef = { apiGroup: group, kind: 'ClusterRole', name: 'asks' }
    await this.ask('POST', `/apis/${group}/v1/clusterroles`, { metadata: { name: 'asks' }, rules })
    await this.ask('POST', `/apis/${group}/v1/clusterrolebindings`, { metadata: { name: 'asks' }, roleRef, subjects })
  }

  /** A client with the token of an account, bound to a pod: `weft-system/agent-one`. */
  async client(account: string, pod: string): Promise<KubeClient> {
    const [namespace = '', own = ''] = pod.split('/')
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`
    const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: own }
    const { status } = await this.ask('POST', path, { spec: { boundObjectRef } })
    return this.clientBy(String(status['token']))
  }

  /** A client with a token; without one it is the administrator's. */
  async clientBy(token: string | null): Promise<KubeClient> {
    const user = token === null ? '{}' : JSON.stringify({ token })
    const config = [
      'apiVersion: v1',
      'kind: Config',
      `clusters: [{ name: c, cluster: { server: '${this.cluster.api.url}' } }]`,
      `users: [{ name: u, user: ${user} }]`,
      'contexts: [{ name: x, context: { cluster: c, user: u } }]',
      'current-context: x',
    ]
    const file = join(this.#folder, `kubeconfig-${Math.random()}`)
    await writeFile(file, config.join('\n'))
    return connectKube(file)
  }

  agent(node: string): Promise<KubeClient> {
    return this.client('weft-agent', `weft-system/agent-${node}`)
  }

  controller(identity: string, ...flags: readonly string[]): Promise<Replica> {
    return this.cluster.replica(this.#t, identity, ...flags)
  }

  /** What an agent does for its identities, in real time but for when it renews: at once where the root is another. */
  async node(name: string): Promise<Node> {
    const client = await this.agent(name)
    const log = { warn: () => undefined }
    const held: Held[] = []
    const keeper = new Keeper({
      ask: (requestPem) => askForCertificate(client, requestPem),
      folder: new HeldFolder(join(this.#folder, `held-${name}`)),
      held: (each) => held.push(each),
      clock: {
        nowMs: Date.now,
        after: (ms, work) => {
          const timer = setTimeout(work, ms)
          return () => clearTimeout(timer)
        },
      },
      random: () => 0,
      log,
    })
    const roots = new Roots(client, 'weft-system', { change: (pem) => keeper.roots(pem), log })
    await roots.start()
    this.#t.after(() => {
      roots.stop()
      keeper.stop()
    })
    return { keeper, roots, held }
  }

  /** The roots that are told of, in PEM; '' where none are. */
  async roots(): Promise<string> {
    const { code, data } = await this.ask('GET', ROOTS)
    return code === 200 ? (data['roots.pem'] ?? '') : ''
  }

  /** Replaces the key pair of the authority. */
  async give(pair: {
    readonly certificatePem: string
    readonly privateKeyPem: string
    readonly caPem?: string
  }): Promise<void> {
    const { certificatePem, privateKeyPem, caPem } = pair
    const ca = caPem === undefined ? {} : { 'ca.crt': base64(caPem) }
    const data = { 'tls.crt': base64(certificatePem), 'tls.key': base64(privateKeyPem), ...ca }
    const { code, metadata } = await this.ask('GET', SECRET)
    const own = { metadata: code === 200 ? metadata : { name: 'weft-root' }, type: 'kubernetes.io/tls', data }
    const path = SECRET.replace('/weft-root', '')
    const answer = await (code === 200 ? this.ask('PUT', SECRET, own) : this.ask('POST', path, own))
    if (answer.code > 201) throw new Error(answer.message)
  }

  async request(name: string): Promise<KubeSigningRequest> {
    return (await this.ask('GET', `${REQUESTS}/${name}`)) as unknown as KubeSigningRequest
  }

  /** How the authority stands, as a replica says it. */
  async standing(replica: Replica): Promise<Standing> {
    return (JSON.parse(await replica.ask('/status')) as { signing: Standing }).signing
  }

  /** Waits until a replica signs by its authority. */
  async signs(replica: Replica): Promise<void> {
    await until('it signs', async () => {
      const page = await this.standing(replica).catch(() => null)
      return page !== null && page.authority !== null && page.authority.inForce !== null
    })
  }
}

/** What the page /status says of signing. */
export interface Standing {
  readonly authority: {
    readonly inForce: { readonly root: string; readonly notAfter: string } | null
    readonly settling: { readonly root: string; readonly notAfter: string } | null
    readonly reason: string | null
  } | null
  readonly signed: number
  readonly denied: number
  readonly failures: number
  readonly pending: number
}

export const base64 = (text: string): string => Buffer.from(text).toString('base64')
export const text = (encoded: string | undefined): string => Buffer.from(encoded ?? '', 'base64').toString()

/** A request with these names, URIs, and one for an authority's certificate where it says so. */
export function requestOf(uris: readonly string[], wish: { readonly isAuthority?: boolean } = {}): string {
  const { privateKey }: { privateKey: KeyObject } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const extension = (id: string, content: Value): Value => sequence(oid(id), octets(encode(content)))
  const names = sequence(...uris.map((uri) => tagged(6, Buffer.from(uri))))
  const extensions = [
    extension('2.5.29.17', names),
    ...(wish.isAuthority === true ? [extension('2.5.29.19', sequence(truth()))] : []),
  ]
  const attribute = sequence(oid('1.2.840.113549.1.9.14'), setOf(sequence(...extensions)))
  const key = decode(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }))
  const asked = sequence(integer(Buffer.of(0)), sequence(), key, tagged(0, [attribute]))
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'))
  return toPem(
    'CERTIFICATE REQUEST',
    encode(sequence(asked, algorithm, bits(sign('sha256', encode(asked), privateKey)))),
  )
}
