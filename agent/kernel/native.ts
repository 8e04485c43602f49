// The one door to the addon. It is thin: sizes are checked here before a call, statuses become KernelError after it.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { KernelError } from './kernel.ts'

/** fds of what a node has once; `status` < 0 = -errno, and all are -1. */
export interface MeshFds {
  readonly status: number
  readonly pods: number
  readonly own: number
  readonly accepted: number
  readonly counters: number
  readonly origins: number
  readonly entries: number
  readonly listening: number
  readonly connect4: number
  readonly connect6: number
  readonly getpeername4: number
  readonly getpeername6: number
  readonly getsockname4: number
  readonly getsockname6: number
  readonly handshake: number
}

/** fds of what a node has once a captured pod. */
export interface InboundFds {
  readonly status: number
  readonly program: number
  readonly listener: number
  readonly arrivals: number
  readonly ports: number
  readonly older: number
  readonly steering: number
}

export interface NativeEnds {
  readonly status: number
  readonly localIp: string
  readonly localPort: number
  readonly remoteIp: string
  readonly remotePort: number
}

export interface NativeAcceptor {
  readonly status: number
  pause(): number
  resume(): number
  drain(limit: number): number[]
  close(): void
}

/** The addon's exports, in the order of native/. Numbers returned are an fd or 0, or -errno. */
export interface Native {
  loadMesh(): MeshFds
  loadInbound(outboundPort: number, inboundPort: number, bound: number): InboundFds
  attach(program: number, target: number, type: number): number
  createHash(keyBytes: number, valueBytes: number, bound: number): number
  mapGet(map: number, key: Uint8Array, value: Uint8Array): number
  mapPut(map: number, key: Uint8Array, value: Uint8Array): number
  mapRemove(map: number, key: Uint8Array): number
  socketIn(netns: number, home: number, own: number, value: Uint8Array): number
  listenIn(netns: number, home: number, ip: string, port: number, backlog: number): number
  bindSocket(fd: number, ip: string, port: number): number
  listenersIn(netns: number, home: number): { readonly status: number; readonly found: Uint8Array }
  netnsCookie(fd: number): { readonly status: number; readonly cookie: string }
  ends(fd: number): NativeEnds
  duplicate(fd: number): number
  closeFd(fd: number): number
  Acceptor: new (listener: number, batch: number, onReady: (fds: number[], status: number) => void) => NativeAcceptor
}

let loaded: Native | null = null

/** The addon, loaded on first use: a process that captures nothing needs no build of it. */
export function native(): Native {
  if (loaded) return loaded
  // from agent/kernel/ in development, from dist/agent/kernel/ in production
  const roots = [join(import.meta.dirname, '../..'), join(import.meta.dirname, '../../..')]
  const paths = roots.map((root) => join(root, 'build/Release/weft.node'))
  const path = paths.find((candidate) => existsSync(candidate))
  if (!path) throw new KernelError('ENOENT', 'load build/Release/weft.node (node native/build.mjs makes it)')
  loaded = createRequire(import.meta.url)(path) as Native
  return loaded
}

/** Passes a status through, or throws what it means. */
export function must(status: number, doing: string): number {
  if (status >= 0) return status
  throw new KernelError(errorName(status), doing)
}

/** errno's name of a negative status. */
export function errorName(status: number): string {
  return getSystemErrorName(status)
}
