// Keeps the pod of one program of the mesh as the program is, and the program's credentials fresh: a kubelet's part in what
// the lab itself runs on a node.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Pod } from '@kubernetes/client-node'
import { timestamp, type KubeObject } from '../api/object.ts'
import type { Store } from '../api/store.ts'
import type { Api } from '../node/api.ts'
import { processesOf } from '../node/cgroup.ts'
import { askFor, keepToken, writeToken } from '../node/pod/token.ts'
import { kubeconfig } from '../state.ts'
import { MESH_NAMESPACE, UNSEEN, mirrorPod, mirrorStatus, podName, seenAt, type Program } from './mirror-pod.ts'

/** How often it is looked whether the program is there, and its pod. */
const LOOK_MS = 250
const FAILURES_MOST = 3

export interface MirrorParts {
  readonly store: Store
  readonly api: Api
  readonly program: Program
  /** The program is there while a process is in it, whoever started that. */
  readonly cgroup: string
  /** Where its credentials are kept: a folder that nobody else can read. */
  readonly credentials: string
  /** The API's address as the program reaches it. */
  readonly server: string
  /** Whether the program says that it is ready (/readyz). */
  readonly readyz: () => Promise<boolean>
  readonly log: (sentence: string) => void
}

export class Mirror {
  readonly #parts: MirrorParts
  readonly #folder: string
  #seen = UNSEEN
  /** How often in a row it was not ready: as with a kubelet, one time is none. */
  #failures = 0
  /** Of the pod that the credentials are for. */
  #uid = ''
  /** Ends the renewing of the token that was written last. */
  #token = new AbortController()

  constructor(parts: MirrorParts) {
    this.#parts = parts
    this.#folder = join(parts.credentials, podName(parts.program))
  }

  /** Makes the pod and its credentials. Resolves to the kubeconfig that the program is to be started with. */
  async make(): Promise<string> {
    const tokenFile = join(this.#folder, 'token')
    const file = join(this.#folder, 'kubeconfig')
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    await this.#look()
    await writeFile(file, kubeconfig(this.#parts.server, { tokenFile }))
    return file
  }

  /** Follows the program until the signal is aborted. */
  async follow(signal: AbortSignal): Promise<void> {
    let told = ''
    while (!signal.aborted) {
      try {
        await this.#look()
        told = ''
      } catch (error) {
        const { message } = error as Error
        if (message !== told) this.#log(message) // once: a look comes four times a second
        told = message
      }
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
    }
    this.#token.abort()
  }

  async #look(): Promise<void> {
    const { program, cgroup } = this.#parts
    const running = (await processesOf(cgroup)).length > 0
    const pod = this.#pod()
    if (pod.metadata.uid !== this.#uid) await this.#renew(pod)
    const now = timestamp(new Date())
    const isReady = running && (await this.#parts.readyz())
    this.#failures = isReady ? 0 : this.#failures + 1
    const ready = isReady || (this.#seen.ready && this.#failures < FAILURES_MOST)
    this.#seen = seenAt(this.#seen, { running, ready }, now)
    const status = (object: KubeObject): void => {
      object.status = mirrorStatus(object as unknown as V1Pod, program, this.#seen, now)
    }
    // what changes nothing is no write
    this.#parts.store.modify('pods', MESH_NAMESPACE, pod.metadata.name, status, { subresource: 'status' })
  }

  /** The pod as it is; one that somebody deletes is made anew, for the program goes on. */
  #pod(): KubeObject {
    const { store, program } = this.#parts
    const name = podName(program)
    const pod = store.get('pods', MESH_NAMESPACE, name)
    if (pod !== undefined && pod.metadata.deletionTimestamp === undefined) return pod
    if (pod !== undefined) store.delete('pods', MESH_NAMESPACE, name, { gracePeriodSeconds: 0 })
    return store.create('pods', mirrorPod(program))
  }

  /** Writes a token of this very pod, and keeps it fresh in place of the one before. */
  async #renew(pod: KubeObject): Promise<void> {
    const ask = askFor(this.#parts.api, pod as unknown as V1Pod, { path: 'token' })
    const file = await writeToken(join(this.#folder, 'token'), ask)
    this.#token.abort()
    this.#token = new AbortController()
    this.#uid = pod.metadata.uid
    const failed = ({ message }: Error): void => this.#log(`no new token: ${message}`)
    void keepToken(file, this.#token.signal, { failed })
  }

  #log(sentence: string): void {
    this.#parts.log(`${podName(this.#parts.program)}: ${sentence}`)
  }
}
