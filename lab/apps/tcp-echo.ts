// Stand-in for the tcp-echo sample: `tcp-echo.ts 9000,9001 hello` sends each line back with "hello " before it.
import { createServer, type Socket } from 'node:net'

/** Longest line taken; a longer one is echoed in pieces. */
const LINE_LIMIT_BYTES = 64 * 1024
const STOP_LIMIT_MS = 5_000
const NEWLINE = 0x0a

const [ports = '9000,9001', prefix = 'hello'] = process.argv.slice(2)
const open = new Set<Socket>()

function echo(socket: Socket): void {
  open.add(socket)
  let rest = Buffer.alloc(0)
  const send = (line: Buffer) => {
    if (!socket.write(Buffer.concat([Buffer.from(`${prefix} `), line]))) socket.pause()
  }
  socket.on('drain', () => socket.resume())
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      send(rest.subarray(0, end + 1))
      rest = rest.subarray(end + 1)
    }
    if (rest.length >= LINE_LIMIT_BYTES) {
      send(rest)
      rest = Buffer.alloc(0)
    }
  })
  socket.on('end', () => {
    if (rest.length > 0) send(rest)
    socket.end()
  })
  socket.on('error', () => socket.destroy())
  socket.on('close', () => open.delete(socket))
}

const servers = ports.split(',').map((text) => {
  const port = Number(text)
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Error(`not a port: ${text}`)
  const server = createServer({ allowHalfOpen: true }, echo)
  server.listen(port, () => {
    const bound = server.address()
    console.log(`tcp-echo listens on port ${typeof bound === 'object' && bound ? bound.port : port}`)
  })
  return server
})

function stop(): void {
  let left = servers.length
  for (const server of servers) {
    server.close(() => {
      if (--left === 0) process.exit(0)
    })
  }
  // What has been read is answered; then our side closes and the peer's end closes the rest.
  for (const socket of open) socket.end()
  setTimeout(() => process.exit(0), STOP_LIMIT_MS).unref()
}
process.once('SIGTERM', stop)
process.once('SIGINT', stop)
