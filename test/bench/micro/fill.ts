// A cluster of any size in the lab's API: services, and pods of other nodes behind each.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadDefinitions } from '../../../lab/api/definitions.ts'
import { type Api, startApi } from '../../../lab/api/server.ts'
import { createStore, type Store } from '../../../lab/api/store.ts'

const SLICES = 'endpointslices.discovery.k8s.io'
const CRDS = join(import.meta.dirname, '../../../lab/api/istio-crds.yaml')

export interface Size {
  readonly services: number
  /** Of each service. */
  readonly endpoints: number
}

/** A filled cluster that is served over HTTP on loopback. */
export class FilledCluster implements AsyncDisposable {
  readonly store: Store = createStore()
  readonly #size: Size
  readonly #folder = mkdtempSync(join(tmpdir(), 'weft-bench-'))
  #api: Api | null = null

  constructor(size: Size) {
    this.#size = size
    loadDefinitions(this.store, readFileSync(CRDS, 'utf8'))
    for (let index = 0; index < size.services; index++) this.#service(index)
  }

  /** Serves it; gives a kubeconfig file. */
  async serve(): Promise<string> {
    this.#api = await startApi({ store: this.store })
    const file = join(this.#folder, 'kubeconfig')
    const user = { name: 'lab', user: {} }
    const cluster = { name: 'lab', cluster: { server: this.#api.url } }
    const entry = { name: 'lab', context: { cluster: 'lab', user: 'lab' } }
    const kinds = { apiVersion: 'v1', kind: 'Config', 'current-context': 'lab' }
    writeFileSync(file, JSON.stringify({ ...kinds, clusters: [cluster], users: [user], contexts: [entry] }))
    return file
  }

  /** Gives the first endpoint of a service another address. */
  move(service: number, ip: string): void {
    this.store.modify(SLICES, 'default', sliceOf(service), (slice) => {
      const [first, ...rest] = slice['endpoints'] as readonly { readonly addresses: readonly string[] }[]
      slice['endpoints'] = [{ ...first, addresses: [ip] }, ...rest]
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#api?.close()
    rmSync(this.#folder, { recursive: true })
  }

  #service(index: number): void {
    const metadata = { name: nameOf(index), namespace: 'default' }
    this.store.create('services', { metadata, spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }] } })
    const endpoints = Array.from({ length: this.#size.endpoints }, (_, pod) => this.#pod(index, pod))
    const labels = { 'kubernetes.io/service-name': nameOf(index) }
    const ports = [{ name: 'http', port: 8080, protocol: 'TCP' }]
    const slice = { addressType: 'IPv4', ports, endpoints }
    this.store.create(SLICES, { ...slice, metadata: { name: sliceOf(index), namespace: 'default', labels } })
  }

  /** A pod, as an endpoint. */
  #pod(service: number, pod: number) {
    const name = `${nameOf(service)}-${pod}`
    const nodeName = `node-${pod}`
    const labels = { app: nameOf(service), version: pod % 2 === 0 ? 'v1' : 'v2' }
    const spec = { nodeName, containers: [{ name: 'app', image: 'app' }] }
    const { uid } = this.store.create('pods', { metadata: { name, namespace: 'default', labels }, spec }).metadata
    const number = service * this.#size.endpoints + pod
    return {
      addresses: [`10.${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`],
      nodeName,
      conditions: { ready: true },
      targetRef: { kind: 'Pod', uid, namespace: 'default', name },
    }
  }
}

export const nameOf = (service: number): string => `s${service}`
const sliceOf = (service: number): string => `s${service}-slice`
