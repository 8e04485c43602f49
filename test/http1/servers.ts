// What stands behind the mesh when it is attacked: nginx, node:http and a bare socket, each telling which requests it saw.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Mesh } from '../proxy/mesh.ts'

const PORT = 8080
const START_TRIES = 200

/** An upstream that remembers. */
export interface Witness {
  /** Method and target of each request so far, in order; of one that broke off perhaps not. */
  requests(): readonly string[]
  /** Everything that it received, where it can tell. */
  received(): string
}

export type Start = (t: TestContext, node: Mesh, pod: string) => Promise<Witness>

/** node:http, which reads strictly. */
export const startNode: Start = async (_, node, pod) => {
  const seen: string[] = []
  await node.http(pod, (request, response) => {
    seen.push(`${request.method} ${request.url}`)
    request.resume()
    request.on('end', () => response.end('ok'))
  })
  return { requests: () => seen, received: () => '' }
}

/** A socket that takes whatever comes, and answers whenever something looks like a request line. */
export const startRaw: Start = async (_, node, pod) => {
  const streams: string[] = []
  await node.tcp(pod, (socket) => {
    const at = streams.push('') - 1
    socket.on('data', (chunk: Buffer) => {
      streams[at] += chunk.toString('latin1')
      const lines = chunk.toString('latin1').match(/ HTTP\/1.1\r\n/g)?.length ?? 0
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'.repeat(lines))
    })
    socket.on('end', () => socket.end())
  })
  const requests = (): string[] =>
    streams.flatMap((text) => [...text.matchAll(/([A-Z]+ \S+) HTTP\/1\.\d\r\n/g)].map((found) => found[1] ?? ''))
  return { requests, received: () => streams.join('\n') }
}

/** Debian's nginx, in the foreground, with all that it writes in a folder of its own. */
export const startNginx: Start = async (t, node, pod) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-nginx-'))
  const address = node.addressOf(pod)
  writeFileSync(join(folder, 'nginx.conf'), configuration(folder, `${address}:${PORT}`))
  const program = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log'], { stdio: 'ignore' })
  t.after(async () => {
    await ended(program)
    rmSync(folder, { recursive: true })
  })
  await listens(address, program, () => readFileSync(join(folder, 'error.log'), 'utf8'))
  const log = join(folder, 'access.log')
  return { requests: () => readFileSync(log, 'utf8').split('\n').slice(0, -1), received: () => '' }
}

function configuration(folder: string, address: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${folder}/${of};`)
  return `daemon off; master_process off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 256; }
http {
  ${temporary.join(' ')}
  log_format plain '$request_method $request_uri';
  access_log ${folder}/access.log plain;
  server { listen ${address}; location / { return 200 ok; } }
}
`
}

async function listens(ip: string, program: ChildProcess, said: () => string): Promise<void> {
  for (let i = 0; i < START_TRIES && program.exitCode === null; i++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(PORT, ip, () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`nginx did not start: ${said()}`)
}

function ended(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null || program.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    program.once('exit', () => resolve())
    program.kill('SIGTERM')
  })
}
