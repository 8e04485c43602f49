// What is measured side by side, and the server behind all of it: started in a folder of their own, on loopback ports.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** The first of these runs load and upstream, the second the proxies, so that neither waits for the other. */
const [BESIDE, MEASURED] = ['0', '1']
const START_TRIES = 200
const START_POLL_MS = 25
const PORTS = { upstream: 18100, nginx: 18101, haproxy: 18102, weft: 18103, 'weft-node': 18104 } as const

export const PROXY_NAMES = ['nginx', 'haproxy', 'weft', 'weft-node'] as const
export type ProxyName = (typeof PROXY_NAMES)[number]

export interface Proxy {
  readonly name: ProxyName
  readonly pid: number
  readonly port: number
  /** The file that it writes a line a request to. */
  readonly log: string
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

  /** Starts them; `files` are what the upstream serves, by name and bytes. */
  static async start(files: Readonly<Record<string, number>>): Promise<Proxies> {
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
    const nginx = (name: string): string[] => {
      mkdirSync(join(folder, `${name}.d`))
      return ['nginx', '-p', join(folder, `${name}.d`), '-e', 'stderr', '-c', configure(name, 'conf', folder)]
    }
    begin(BESIDE, nginx('upstream'))
    const host = join(import.meta.dirname, 'weft.ts')
    const weft = (name: 'weft' | 'weft-node', transport: 'native' | 'node'): number => {
      const log = join(folder, `${name}.log`)
      return begin(MEASURED, [process.execPath, host, `${PORTS[name]}`, `${PORTS.upstream}`, log, transport])
    }
    const pids = {
      nginx: begin(MEASURED, nginx('nginx')),
      haproxy: begin(MEASURED, ['haproxy', '-db', '-f', configure('haproxy', 'cfg', folder)], 'haproxy.log'),
      weft: weft('weft', 'native'),
      'weft-node': weft('weft-node', 'node'),
    }
    const all = PROXY_NAMES.map((name) => {
      return { name, pid: pids[name], port: PORTS[name], log: join(folder, `${name}.log`) }
    })
    const started = new Proxies(folder, children, all)
    try {
      await answers('127.0.0.2', PORTS.upstream)
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
    execFileSync(command, args, { encoding: 'utf8' }).split('\n', 1)[0] ?? ''
  return {
    nginx: first('/bin/sh', ['-c', 'nginx -v 2>&1']),
    haproxy: first('haproxy', ['-v']),
    node: process.version,
    kernel: first('uname', ['-r']),
    congestion: readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim(),
  }
}

/** Writes a configuration with its places filled in; returns the file. */
function configure(name: string, kind: string, folder: string): string {
  const template = readFileSync(join(import.meta.dirname, 'peers', `${name}.${kind}`), 'utf8')
  const places: Readonly<Record<string, string>> = {
    folder,
    upstream: String(PORTS.upstream),
    proxy: String(PORTS[name as keyof typeof PORTS]),
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
