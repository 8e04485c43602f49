// What a pod's life takes from the node it runs on.
import type { Api } from '../api.ts'
import type { Events } from '../events.ts'
import type { AddressPool } from '../network.ts'
import type { Values } from './env.ts'

export interface NodeParts {
  readonly labId: string
  readonly name: string
  /** The node's own address. */
  readonly address: string
  /** The lab's state folder (.lab), absolute. */
  readonly stateFolder: string
  /** The cgroup under which the node's pods live. */
  readonly kubepods: string
  /** First on every container's PATH: where this Node is. */
  readonly binFolder: string
  readonly api: Api
  readonly events: Events
  readonly addresses: AddressPool
  /** Environment variables that tell a namespace's services, as the kubelet gives them (service links). */
  serviceLinks(namespace: string): Values
  log(sentence: string): void
}
