// An application that does as it is told: HTTP on 8080 says what it was asked, `status` and `ms` of the query its answer.
// `/ail` has it answer 503 until `/heal`; `/seen` tells how many requests of each path came. TCP on 9000 answers each line
// with its version.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const version = process.env['VERSION'] ?? 'none'
const seen = new Map<string, number>()
let isAiling = false

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request) body += String(chunk)
  return body
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = '', url: target = '', headers } = request
  const { pathname, searchParams } = new URL(target, 'http://told')
  const body = await bodyOf(request)
  response.setHeader('content-type', 'application/json').setHeader('x-version', version)
  if (pathname === '/ready') return void response.end()
  if (pathname === '/ail' || pathname === '/heal') {
    isAiling = pathname === '/ail'
    return void response.end()
  }
  if (pathname === '/seen') return void response.end(JSON.stringify(Object.fromEntries(seen)))
  seen.set(pathname, (seen.get(pathname) ?? 0) + 1)
  await sleep(Number(searchParams.get('ms') ?? 0))
  response.statusCode = isAiling ? 503 : Number(searchParams.get('status') ?? 200)
  response.end(JSON.stringify({ version, method, target, headers, body }))
}

const web = createServer((request, response) => void answer(request, response))
web.keepAliveTimeout = 120_000
web.listen(8080)

net
  .createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', () => socket.write(`${version}\n`))
  })
  .listen(9000)
