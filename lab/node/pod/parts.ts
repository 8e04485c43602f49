// What a pod's life takes from the node it runs on.
import type { Api } from '../api.ts'
import type { Events } from '../events.ts'
import type { HostFiles } from '../host-files.ts'
import type { AddressPool } from '../network.ts'
import type { Values } from './env.ts'

export interface NodeParts {
  readonly labId: string
  readonly name: string
  /** The node's own address. */
  readonly address: string
  /** The lab's state folder (.lab), absolute. */
  readonly stateFolder: string
  /** The files that the node has for itself. */
  readonly host: HostFiles
  /** The cgroup under which the node's pods live. */
  readonly kubepods: string
  /** Images that are run from their own files: name (without registry and tag) → folder of unpackImage(). */
  readonly images: Readonly<Record<string, string>>
  /** First on every container's PATH: where this Node is. */
  readonly binFolder: string
  readonly api: Api
  readonly events: Events
  readonly addresses: AddressPool
  /** Environment variables that tell where the API is and, with `all`, a namespace's services, as the kubelet gives them. */
  serviceLinks(namespace: string, all: boolean): Values
  log(sentence: string): void
}
