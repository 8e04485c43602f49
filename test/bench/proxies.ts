// What is measured side by side, and the servers behind all of it: started in a folder of their own, on loopback ports.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { envoyBinary } from './envoy.ts'
import { type Reuse, writeCertificates } from './pair.ts'
import type { Hosting } from './weft.ts'

/** The first of these runs load and servers, the second the proxies, so that neither waits for the other. */
const [BESIDE, MEASURED] = ['0', '1']
/** For whole flows, whose ends and relay are one pipeline: everybody runs where there is room. */
const ANYWHERE = `${BESIDE},${MEASURED}`
const START_TRIES = 800
const START_POLL_MS = 25
/** Where the server of files listens, at 127.0.0.2 to .5. */
export const UPSTREAM = 18100
/** Where whole flows end: an iperf3. */
export const SINK = { ip: '127.0.0.6', port: 18110 }

/** What a worker's resourceLimits (agent/node/seat.ts) come to for a process: V8's young generation is three semi-spaces. */
const AS_SHIPPED = '--max-semi-space-size=2'

export const PROXY_NAMES = ['nginx', 'haproxy', 'envoy', 'weft', 'weft-node'] as const
export type ProxyName = (typeof PROXY_NAMES)[number]

export interface Proxy {
  readonly name: ProxyName
  readonly pid: number
  /** Where it takes HTTP requests, and where whole flows. */
  readonly port: number
  readonly rawPort: number
  /** The file that it writes a line a request to. */
  readonly log: string
  /** Of a pair, the proxy at the other end: `log` and `pid` above are the caller's. */
  readonly callee: { readonly pid: number; readonly log: string } | null
}

/** A proxy by itself, or an end of a pair. */
type Side = 'alone' | 'caller' | 'callee'

const portOf = (name: ProxyName): number => UPSTREAM + 1 + PROXY_NAMES.indexOf(name)
const rawPortOf = (name: ProxyName): number => portOf(name) + 20
/** Where the callee's proxy of a pair takes what the caller's sends, at the servers' addresses. */
const insideOf = (name: ProxyName): number => portOf(name) + 40
const insideRawOf = (name: ProxyName): number => portOf(name) + 60

export interface Wish {
  /** What the upstream serves, by name and bytes. */
  readonly files: Readonly<Record<string, number>>
  readonly names: readonly ProxyName[]
  /** Proxies on a processor of their own. */
  readonly apart: boolean
  /** Services of ten pods each in the cluster that Weft knows. */
  readonly services?: number
  /** Each proxy twice, mutual TLS between the two, and what a request reuses there of those before it. */
  readonly pair?: Reuse
}

/** The proxies that can be measured here: Envoy where its binary is. */
export function present(): ProxyName[] {
  return PROXY_NAMES.filter((name) => name !== 'envoy' || envoyBinary() !== null)
}

/** Everything that runs for a benchmark. */
export class Proxies implements AsyncDisposable {
  readonly all: readonly Proxy[]
  readonly #folder: string
  readonly #children: readonly ChildProcess[]

  private constructor(folder: string, children: readonly ChildProcess[], all: readonly Proxy[]) {
    this.#folder = folder
    this.#children = children
    this.all = all
  }

  /** Starts them. */
  static async start({ files, names, apart, services = 100, pair }: Wish): Promise<Proxies> {
    const folder = mkdtempSync(join(tmpdir(), 'weft-bench-'))
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), 'x'.repeat(bytes))
    if (pair !== undefined) writeCertificates(folder)
    const children: ChildProcess[] = []
    const begin = (cpu: string, command: readonly string[], output = 'output.log'): number => {
      const fd = openSync(join(folder, output), 'a')
      const child = spawn('taskset', ['-c', cpu, ...command], { stdio: ['ignore', fd, fd], cwd: folder })
      closeSync(fd)
      children.push(child)
      return child.pid as number // taskset becomes the command
    }
    const beside = apart ? BESIDE : ANYWHERE
    begin(beside, nginx({ file: 'upstream', folder, places: {} }))
    begin(beside, ['iperf3', '--server', '--bind', SINK.ip, '--port', String(SINK.port)], 'sink.log')
    const end = (name: ProxyName, side: Side): { pid: number; log: string } => {
      const log = side === 'callee' ? `${name}-callee.log` : `${name}.log`
      const command = commandOf(name, { side, folder, services, log: join(folder, log), reuse: pair ?? 'connection' })
      const output = name === 'haproxy' ? log : undefined
      return { pid: begin(apart ? MEASURED : ANYWHERE, command, output), log: join(folder, log) }
    }
    const all = names.map((name): Proxy => {
      const callee = pair === undefined ? null : end(name, 'callee')
      const own = end(name, callee === null ? 'alone' : 'caller')
      return { name, ...own, port: portOf(name), rawPort: rawPortOf(name), callee }
    })
    const started = new Proxies(folder, children, all)
    try {
      await answers('127.0.0.2', UPSTREAM)
      for (const { name, port, callee } of all) {
        await answers('127.0.0.1', port)
        if (callee !== null) await answers('127.0.0.2', insideOf(name))
      }
    } catch (error) {
      const said = readFileSync(join(folder, 'output.log'), 'utf8')
      await started[Symbol.asyncDispose]()
      throw new Error(`${(error as Error).message}\n${said}`, { cause: error })
    }
    return started
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ends = this.#children.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 3000)
      await ended
      clearTimeout(late)
    })
    await Promise.all(ends)
    rmSync(this.#folder, { recursive: true })
  }
}

/** What ran, for the record: the peers' own words for their versions. */
export function versions(): Readonly<Record<string, string>> {
  const first = (command: string, args: readonly string[]): string =>
    execFileSync(command, args, { encoding: 'utf8' }).trim().split('\n', 1)[0] ?? ''
  const envoy = envoyBinary()
  return {
    nginx: first('/bin/sh', ['-c', 'nginx -v 2>&1']),
    haproxy: first('haproxy', ['-v']),
    envoy: envoy === null ? 'not there' : first(envoy, ['--version']).replace(/^.*version:/, 'version'),
    node: process.version,
    kernel: first('uname', ['-r']),
    congestion: readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim(),
  }
}

interface Part {
  readonly side: Side
  readonly folder: string
  readonly services: number
  readonly log: string
  readonly reuse: Reuse
}

/** What is run for a proxy. */
function commandOf(name: ProxyName, { side, folder, services, log, reuse }: Part): readonly string[] {
  const inside = { inside: insideOf(name), insideRaw: insideRawOf(name) }
  const ports = { proxy: portOf(name), raw: rawPortOf(name), ...inside }
  const places = { ...ports, ...REUSING[reuse] }
  const template = { file: side === 'alone' ? name : `${name}-${side}`, folder, places }
  switch (name) {
    case 'nginx':
      return nginx(template)
    case 'haproxy':
      return ['haproxy', '-db', '-f', configure(template, 'cfg')]
    case 'envoy':
      return [
        ...[envoyBinary() ?? '', '-c', configure(template, 'yaml'), '--concurrency', '1'],
        ...['--file-flush-interval-msec', '1000', '--log-level', 'error', '--use-dynamic-base-id'],
      ]
    case 'weft':
    case 'weft-node': {
      const hosting: Hosting = {
        ...{ port: ports.proxy, rawPort: ports.raw, upstream: UPSTREAM, sink: SINK.port, log, services },
        body: name === 'weft' ? 'native' : 'node',
        pair: side === 'alone' ? null : { side, reuse, folder, ...inside },
      }
      return [process.execPath, AS_SHIPPED, join(import.meta.dirname, 'weft.ts'), JSON.stringify(hosting)]
    }
  }
}

/** What peers call that which a request reuses of those before it, each in its own words. */
const REUSING: Readonly<Record<Reuse, Places>> = {
  connection: { reuse: 'connection', connections: 'kept', sessions: 'on', sessionKeys: 256, requests: 1e9 },
  session: { reuse: 'session', connections: 'each', sessions: 'on', sessionKeys: 256, requests: 1 },
  nothing: { reuse: 'nothing', connections: 'each', sessions: 'off', sessionKeys: 0, requests: 1 },
}

type Places = Readonly<Record<string, string | number>>

/** A configuration under peers/, and what its places are filled with. */
interface Template {
  readonly file: string
  readonly folder: string
  readonly places: Places
}

function nginx(template: Template): string[] {
  const own = join(template.folder, `${template.file}.d`)
  mkdirSync(own)
  return ['nginx', '-p', own, '-e', 'stderr', '-c', configure(template, 'conf')]
}

/** Writes a configuration with its places filled in; returns the file. */
function configure({ file, folder, places }: Template, kind: string): string {
  const text = readFileSync(join(import.meta.dirname, 'peers', `${file}.${kind}`), 'utf8')
  const all: Places = { folder, upstream: UPSTREAM, sink: SINK.port, ...places }
  const written = join(folder, `${file}.${kind}`)
  writeFileSync(
    written,
    text.replace(/\{(\w+)\}/g, (whole, place: string) => String(all[place] ?? whole)),
  )
  return written
}

async function answers(host: string, port: number): Promise<void> {
  for (let tries = 0; tries < START_TRIES; tries++) {
    const socket = connect({ host, port })
    try {
      await once(socket, 'connect')
      return
    } catch {
      await sleep(START_POLL_MS)
    } finally {
      socket.destroy()
    }
  }
  throw new Error(`nobody listens at ${host}:${port}`)
}
