// What the pods of these tests run: HTTP on 8080, which says what it was asked, and on 9000 every byte is sent back.
import { createServer } from 'node:http'
import net from 'node:net'

let served = 0
const web = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://pod')
  if (url.pathname === '/count') return response.end(String(served))
  if (url.pathname !== '/ready') served += 1
  let length = 0
  request.on('data', (chunk: Buffer) => (length += chunk.length))
  request.on('end', () => {
    const answer = (): unknown => response.end(`${url.searchParams.get('id')} ${length}`)
    setTimeout(answer, Number(url.searchParams.get('ms') ?? 0))
  })
})
// who keeps a connection decides when it ends: else a request may cross the server's end of it, with a mesh or without
web.keepAliveTimeout = 120_000
web.listen(8080)

net
  .createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.pipe(socket)
  })
  .listen(9000)
