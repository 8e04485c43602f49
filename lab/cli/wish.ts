// What `weft lab up` can be told, and what it assumes.

export const DEFAULT_NODES = 2
export const DEFAULT_READY_SECONDS = 120

export interface UpWish {
  readonly dir: string
  readonly nodes: number
  readonly port: number
  readonly detach: boolean
  readonly mesh: boolean
  readonly controller: boolean
  readonly timeout: number
  readonly file: readonly string[]
  /** NAME=VALUE: what each agent is told beside what it needs. */
  readonly agentFlag: readonly string[]
  /** The same, for the controller. */
  readonly controllerFlag: readonly string[]
  /** NAME=FILE: an image that nodes run from an OCI archive, in place of a stand-in. */
  readonly image: readonly string[]
}
