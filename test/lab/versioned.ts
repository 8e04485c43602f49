// What the pods of a Deployment run: HTTP on 8080, which names VERSION, or its pod, after `ms`. The hard case of a gentle end: on
// SIGTERM it closes its listener and idle connections at once, finishes the requests in flight, and exits.
import { createServer } from 'node:http'

let isEnding = false
const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://pod')
  const answer = (): unknown => response.end(process.env['VERSION'] ?? process.env['HOSTNAME'])
  response.on('close', () => isEnding && setImmediate(() => server.closeIdleConnections()))
  setTimeout(answer, Number(url.searchParams.get('ms') ?? 0))
})
server.keepAliveTimeout = 120_000
server.listen(8080)
process.once('SIGTERM', () => {
  isEnding = true
  server.close(() => process.exit(0))
})
