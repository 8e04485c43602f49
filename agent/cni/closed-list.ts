// The namespaces whose pods are fail-closed, on disk: the plug-in asks this list where no agent answers, also after a
// restart of the machine and before the first agent runs.

import { join } from 'node:path'
import { NameFolder } from './name-folder.ts'

/** The list's folder below the state folder. */
export const closedFolder = (stateDir: string): string => join(stateDir, 'closed')

/** Keeps a folder's files equal to a set of namespaces. */
export class ClosedList {
  readonly #path: string
  #folder: NameFolder | null = null
  #lack: string | null = null

  constructor(stateDir: string) {
    this.#path = closedFolder(stateDir)
  }

  /** Why the list is not as it should be, or null. */
  get lack(): string | null {
    return this.#lack
  }

  has(namespace: string): boolean {
    return this.#folder?.has(namespace) ?? false
  }

  /** Takes the namespaces as they are now. What cannot be written is told by `lack`, and tried again at the next call. */
  take(namespaces: ReadonlySet<string>): void {
    try {
      this.#folder ??= new NameFolder(this.#path)
      for (const name of namespaces) this.#folder.add(name)
      this.#folder.keep((name) => namespaces.has(name))
      this.#lack = null
    } catch (error) {
      this.#lack = `the list of fail-closed namespaces cannot be kept: ${(error as Error).message}`
    }
  }
}
