// The one door to the addon. It is thin: buffers come in the sizes of layout.ts, statuses become KernelError after a call.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { KernelError } from './kernel.ts'

/** A map to make; `inner`, `btf` -1: none. */
export interface MapWish {
  /** At most 15 characters. */
  readonly name: string
  readonly type: number
  readonly keyBytes: number
  readonly valueBytes: number
  readonly entries: number
  readonly flags: number
  readonly inner: number
  readonly btf: number
  readonly keyType: number
  readonly valueType: number
}

/** A program to load: instructions, and the kernel's records of functions and of fields to be found. */
export interface ProgramWish {
  readonly name: string
  readonly type: number
  readonly attachType: number
  readonly code: Uint8Array
  readonly functions: Uint8Array
  readonly fields: Uint8Array
  readonly btf: number
}

export interface ListenWish {
  readonly ip: string
  readonly port: number
  readonly backlog: number
  /** fd of the map of own sockets, -1: no mark. */
  readonly own: number
  readonly mark: Uint8Array
}

export interface NativeEnds {
  readonly status: number
  readonly localIp: string
  readonly localPort: number
  readonly remoteIp: string
  readonly remotePort: number
}

/** What the kernel says of a map. */
export interface NativeMap {
  readonly status: number
  readonly id: number
  readonly type: number
  readonly keyBytes: number
  readonly valueBytes: number
  readonly entries: number
}

/** Rows of a dump; layout.ts reads them. */
export interface NativeRows {
  readonly status: number
  readonly found: Uint8Array
}

export interface NativeAcceptor {
  readonly status: number
  pause(): number
  resume(): number
  drain(limit: number): number[]
  close(): void
}

/** See native/channels.cc, which has the tables' shapes. An id stands for a socket until it was closed. */
export interface NativeChannels {
  readonly status: number
  adopt(fd: number): number
  connect(fd: number, ip: string, port: number): number
  read(id: number, wanted: boolean): number
  flush(): number
  shutdown(id: number): number
  close(id: number, reset: boolean): void
  fd(id: number): number
  pump(a: number, b: number): number
  received(id: number): number
  pumped(from: number, rows: Float64Array): number
  secure(id: number, credentials: NativeTlsCredentials, wish: NativeTlsWish): number
  notifyClose(id: number): number
  secured(id: number): NativeSecured | undefined
  broken(id: number): { readonly kind: number; readonly text: string; readonly verify: number } | undefined
  stop(): void
}

/** A certificate, its key and the roots to verify by; `fault` is empty where OpenSSL took them all. */
export interface NativeTlsCredentials {
  readonly fault: string
}

export interface NativeTlsCredentialsWish {
  readonly certificate: string
  readonly key: string
  readonly roots: string
  readonly sessionContext: Uint8Array
  readonly ticketKeys: Uint8Array
  readonly ticketSeconds: number
  readonly sessionsMost: number
  readonly minVersion: number
  readonly rekeyBytes: number
}

/** `alpn` as on the wire: each behind its length. */
export interface NativeTlsWish {
  readonly isServer: boolean
  readonly mutual: boolean
  readonly alpn: Uint8Array
  readonly serverName: string
  readonly session: string
  readonly ahead: Uint8Array
}

/** `chain` in DER, the peer's own certificate first. */
export interface NativeSecured {
  readonly version: string
  readonly alpn: string
  readonly serverName: string
  readonly resumed: boolean
  readonly chain: readonly Uint8Array[]
}

/** The addon's exports, in the order of native/. Numbers returned are an fd, a count or 0, or -errno. */
export interface Native {
  loadBtf(bytes: Uint8Array): number
  createMap(wish: MapWish): number
  loadProgram(wish: ProgramWish): { readonly status: number; readonly log: string }
  attach(program: number, target: number, type: number): number
  replaceProgram(link: number, program: number): number
  detach(link: number): number
  readLink(link: number): { readonly status: number; readonly program: number; readonly place: string }
  pin(fd: number, path: string): number
  openPin(path: string): number
  readMap(map: number): NativeMap
  programId(program: number): number
  programName(id: number): string
  attachedAt(cgroup: number, type: number, ids: Uint32Array): number
  mapGet(map: number, key: Uint8Array, value: Uint8Array): number
  mapPut(map: number, key: Uint8Array, value: Uint8Array): number
  mapRemove(map: number, key: Uint8Array): number
  mapList(map: number, keys: Uint8Array, values: Uint8Array, most: number): number
  socketIn(netns: number, home: number, family: 4 | 6, own: number, mark: Uint8Array): number
  listenIn(netns: number, home: number, wish: ListenWish): number
  bindSocket(fd: number, ip: string, port: number): number
  bindSource(fd: number, ip: string): number
  setUserTimeout(fd: number, ms: number): number
  userTimeout(fd: number): number
  setKeepalive(fd: number, idleSeconds: number, intervalSeconds: number, probes: number): number
  keepalive(fd: number): { readonly idleSeconds: number; readonly intervalSeconds: number; readonly probes: number }
  isListening(fd: number): number
  socketCookie(fd: number): { readonly status: number; readonly cookie: string }
  netnsCookie(fd: number): { readonly status: number; readonly cookie: string }
  ends(fd: number): NativeEnds
  duplicate(fd: number): number
  closeFd(fd: number): number
  listenersIn(netns: number, home: number): NativeRows
  connectionsIn(
    ...where: readonly [netns: number, home: number, counted: number, own: number, countedId: number, ownId: number]
  ): NativeRows
  resetIn(netns: number, home: number, cookies: BigUint64Array): number
  unixListen(path: string): number
  unixConnect(path: string, waitMs: number): number
  blockFor(fd: number, waitMs: number): number
  sendFds(fd: number, bytes: Uint8Array, fds: Int32Array): number
  receiveFds(fd: number): { readonly status: number; readonly bytes: Uint8Array; readonly fds: Int32Array }
  Acceptor: new (listener: number, batch: number, onReady: (fds: number[], status: number) => void) => NativeAcceptor
  Channels: new (
    arena: Uint8Array,
    out: Uint8Array,
    events: Int32Array,
    writes: Int32Array,
    results: Int32Array,
    onBatch: () => void,
    pipes: number,
  ) => NativeChannels
  TlsCredentials: new (wish: NativeTlsCredentialsWish) => NativeTlsCredentials
}

/** Nothing to mark a socket with. */
export const NO_MARK = new Uint8Array(0)

let loaded: Native | null = null

/** Where something that native/build.mjs makes is, or undefined. */
export function builtFile(name: string): string | undefined {
  // from agent/kernel/ in development, from dist/agent/kernel/ in production
  const roots = [join(import.meta.dirname, '../..'), join(import.meta.dirname, '../../..')]
  return roots.map((root) => join(root, 'build/Release', name)).find((candidate) => existsSync(candidate))
}

/** The addon, loaded on first use: a process that captures nothing needs no build of it. */
export function native(): Native {
  if (loaded) return loaded
  const path = process.env['WEFT_ADDON'] ?? builtFile('weft.node') // the former: a build for tests
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
