// Both ends of requests whose outcome is known: with `serve` an application, else a caller that takes orders (PodProgram).
import http from 'node:http'
import type { Target } from './load.ts'
import { takeOrders } from './orders.ts'

/** Requests that are all alike. `gone`: the caller leaves before there is an answer. */
export interface Batch {
  readonly to: Target
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly count: number
  readonly bodyBytes: number
  readonly gone: boolean
}

/** What the caller saw of a batch. */
export interface Seen {
  readonly statuses: Readonly<Record<string, number>>
  readonly bodyBytes: number
}

const PARALLEL = 24
const LEAVE_MS = 60

function serve(): void {
  http
    .createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://pod')
      if (pathname === '/hang') return
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        if (pathname === '/echo') return response.end(Buffer.concat(chunks))
        if (pathname.startsWith('/ok/')) return response.end(Buffer.alloc(Number(pathname.slice('/ok/'.length)), 'x'))
        response.statusCode = pathname === '/busy' ? 503 : 404
        return response.end(pathname)
      })
    })
    .listen(8080)
}

function one({ to, method, path, bodyBytes, gone }: Batch, agent: http.Agent): Promise<readonly [string, number]> {
  return new Promise((resolve) => {
    const headers = bodyBytes > 0 ? { 'content-length': bodyBytes } : {}
    const request = http.request({ ...to, method, path, headers, agent: gone ? false : agent }, (response) => {
      let read = 0
      response.on('data', (chunk: Buffer) => (read += chunk.length))
      response.on('end', () => resolve([String(response.statusCode), read]))
      response.on('error', (error) => resolve([error.message, read]))
    })
    request.on('error', (error) => resolve([gone ? 'gone' : error.message, 0]))
    request.end(Buffer.alloc(bodyBytes, 'y'))
    if (gone) setTimeout(() => request.destroy(new Error('gone')), LEAVE_MS)
  })
}

async function send(batch: Batch): Promise<Seen> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: PARALLEL })
  const statuses: Record<string, number> = {}
  let bodyBytes = 0
  let left = batch.count
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const [status, bytes] = await one(batch, agent)
      statuses[status] = (statuses[status] ?? 0) + 1
      bodyBytes += bytes
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
  agent.destroy()
  return { statuses, bodyBytes }
}

if (process.argv[2] === 'serve') serve()
else takeOrders(send)
