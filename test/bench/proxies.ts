// What is measured side by side, and the servers behind all of it: started in a folder of their own, on loopback ports.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { envoyBinary } from './envoy.ts'

/** The first of these runs load and servers, the second the proxies, so that neither waits for the other. */
const [BESIDE, MEASURED] = ['0', '1']
/** For whole flows, whose ends and relay are one pipeline: everybody runs where there is room. */
const ANYWHERE = `${BESIDE},${MEASURED}`
const START_TRIES = 200
const START_POLL_MS = 25
/** Where the server of files listens, at 127.0.0.2 to .5. */
export const UPSTREAM = 18100
/** Where whole flows end: an iperf3. */
export const SINK = { ip: '127.0.0.2', port: 18110 }

/** What a worker's resourceLimits (agent/seat.ts) come to for a process: V8's young generation is three semi-spaces. */
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
}

const portOf = (name: ProxyName): number => UPSTREAM + 1 + PROXY_NAMES.indexOf(name)
const rawPortOf = (name: ProxyName): number => portOf(name) + 20

export interface Wish {
  /** What the upstream serves, by name and bytes. */
  readonly files: Readonly<Record<string, number>>
  readonly names: readonly ProxyName[]
  /** Proxies on a processor of their own. */
  readonly apart: boolean
  /** Services of ten pods each in the cluster that Weft knows. */
  readonly services?: number
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
  static async start({ files, names, apart, services = 100 }: Wish): Promise<Proxies> {
    const folder = mkdtempSync(join(tmpdir(), 'weft-bench-'))
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), 'x'.repeat(bytes))
    const children: ChildProcess[] = []
    const begin = (cpu: string, command: readonly string[], output = 'output.log'): number => {
      const fd = openSync(join(folder, output), 'a')
      const child = spawn('taskset', ['-c', cpu, ...command], { stdio: ['ignore', fd, fd], cwd: folder })
      closeSync(fd)
      children.push(child)
      return child.pid as number // taskset becomes the command
    }
    const nginx = (name: 'nginx' | 'upstream'): string[] => {
      mkdirSync(join(folder, `${name}.d`))
      return ['nginx', '-p', join(folder, `${name}.d`), '-e', 'stderr', '-c', configure(name, 'conf', folder)]
    }
    const weft = (name: 'weft' | 'weft-node'): string[] => {
      const host = join(import.meta.dirname, 'weft.ts')
      const ports = [portOf(name), rawPortOf(name), UPSTREAM, SINK.port].map(String)
      const body = name === 'weft' ? 'native' : 'node'
      return [process.execPath, AS_SHIPPED, host, ...ports, join(folder, `${name}.log`), body, String(services)]
    }
    const commands: Readonly<Record<ProxyName, () => string[]>> = {
      nginx: () => nginx('nginx'),
      haproxy: () => ['haproxy', '-db', '-f', configure('haproxy', 'cfg', folder)],
      envoy: () => [
        ...[envoyBinary() ?? '', '-c', configure('envoy', 'yaml', folder), '--concurrency', '1'],
        ...['--file-flush-interval-msec', '1000', '--log-level', 'error', '--use-dynamic-base-id'],
      ],
      weft: () => weft('weft'),
      'weft-node': () => weft('weft-node'),
    }
    const beside = apart ? BESIDE : ANYWHERE
    begin(beside, nginx('upstream'))
    begin(beside, ['iperf3', '--server', '--bind', SINK.ip, '--port', String(SINK.port)], 'sink.log')
    const all = names.map((name): Proxy => {
      const output = name === 'haproxy' ? 'haproxy.log' : undefined
      const pid = begin(apart ? MEASURED : ANYWHERE, commands[name](), output)
      return { name, pid, port: portOf(name), rawPort: rawPortOf(name), log: join(folder, `${name}.log`) }
    })
    const started = new Proxies(folder, children, all)
    try {
      await answers('127.0.0.2', UPSTREAM)
      for (const { port } of all) await answers('127.0.0.1', port)
    } catch (error) {
      const said = readFileSync(join(folder, 'output.log'), 'utf8')
      await started[Symbol.asyncDispose]()
      throw new Error(`${(error as Error).message}\n${said}`, { cause: error })
    }
    return started
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null) continue
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 3000)
      await ended
      clearTimeout(late)
    }
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

/** Writes a configuration with its places filled in; returns the file. */
function configure(name: ProxyName | 'upstream', kind: string, folder: string): string {
  const template = readFileSync(join(import.meta.dirname, 'peers', `${name}.${kind}`), 'utf8')
  const places: Readonly<Record<string, string>> = {
    folder,
    upstream: String(UPSTREAM),
    sink: String(SINK.port),
    ...(name === 'upstream' ? {} : { proxy: String(portOf(name)), raw: String(rawPortOf(name)) }),
  }
  const file = join(folder, `${name}.${kind}`)
  writeFileSync(
    file,
    template.replace(/\{(\w+)\}/g, (whole, place: string) => places[place] ?? whole),
  )
  return file
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
