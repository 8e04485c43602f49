// Policies by the hosts they speak of: exact ones in a map, wildcards longest first.

import { type Edit, Layered } from './layered.ts'
import type { ObjectRef } from './workload.ts'

export interface Wildcard<T> {
  /** What a host must end with: the pattern less its `*`. */
  readonly suffix: string
  readonly entries: readonly T[]
}

export interface HostIndex<T> {
  readonly exact: Layered<readonly T[]>
  readonly wildcards: readonly Wildcard<T>[]
}

/** How an index reads its entries. */
export interface Entries<T> {
  readonly hosts: (entry: T) => readonly string[]
  readonly source: (entry: T) => Dated
}

interface Dated {
  readonly ref: ObjectRef
  /** Oldest first; then by namespace and name, so that every node agrees on a tie. */
  readonly createdMs: number
}

export function noHosts<T>(): HostIndex<T> {
  return { exact: Layered.empty(), wildcards: [] }
}

/** All entries for a host, the exact ones first, then those of each wildcard that covers it, the longest first. */
export function entriesFor<T>(index: HostIndex<T>, host: string): readonly (readonly T[])[] {
  const exact = index.exact.get(host)
  const covering = index.wildcards.filter(({ suffix }) => host.endsWith(suffix)).map(({ entries }) => entries)
  return exact === undefined ? covering : [exact, ...covering]
}

/** The index after this one. */
export class HostEdit<T> {
  readonly #before: HostIndex<T>
  readonly #read: Entries<T>
  readonly #exact: Edit<readonly T[]>
  #wild: Map<string, readonly T[]> | null = null

  constructor(before: HostIndex<T>, read: Entries<T>) {
    this.#before = before
    this.#read = read
    this.#exact = before.exact.edit()
  }

  remove(entry: T): void {
    for (const host of this.#read.hosts(entry)) this.#change(host, (entries) => entries.filter((one) => one !== entry))
  }

  add(entry: T): void {
    for (const host of this.#read.hosts(entry)) this.#change(host, (entries) => this.#inserted(entries, entry))
  }

  *done(): Generator<void, HostIndex<T>> {
    const exact = yield* this.#exact.done()
    if (this.#wild === null) return { exact, wildcards: this.#before.wildcards }
    const wildcards = [...this.#wild].map(([suffix, entries]) => ({ suffix, entries }))
    return { exact, wildcards: wildcards.sort((a, b) => b.suffix.length - a.suffix.length) }
  }

  #change(host: string, change: (entries: readonly T[]) => readonly T[]): void {
    if (host.startsWith('*')) {
      this.#wild ??= new Map(this.#before.wildcards.map(({ suffix, entries }) => [suffix, entries]))
      put(this.#wild, host.slice(1), change)
    } else put(this.#exact, host, change)
  }

  #inserted(entries: readonly T[], entry: T): readonly T[] {
    const at = entries.findIndex((one) => byAge(this.#read.source(entry), this.#read.source(one)) < 0)
    return at < 0 ? [...entries, entry] : entries.toSpliced(at, 0, entry)
  }
}

interface Lists<T> {
  get(key: string): readonly T[] | undefined
  set(key: string, entries: readonly T[]): unknown
  delete(key: string): unknown
}

function put<T>(lists: Lists<T>, key: string, change: (entries: readonly T[]) => readonly T[]): void {
  const entries = change(lists.get(key) ?? [])
  if (entries.length > 0) lists.set(key, entries)
  else lists.delete(key)
}

/** Oldest first, then by namespace and name, so that every node agrees on a tie. */
export function byAge(a: Dated, b: Dated): number {
  if (a.createdMs !== b.createdMs) return a.createdMs - b.createdMs
  const left = `${a.ref.namespace}/${a.ref.name}`
  const right = `${b.ref.namespace}/${b.ref.name}`
  return left < right ? -1 : left > right ? 1 : 0
}
