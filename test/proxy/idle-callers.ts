// A program that keeps many connections: opens them, asks once on each, waits to be told, asks once more, and counts.
// Arguments: address, port, connections. Lines out: `open <n>`, then per line in: `answered <n> of <n>`.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const [host = '', port = '', count = ''] = process.argv.slice(2)
/** Under way at once. */
const ABREAST = 100
const GET = 'GET / HTTP/1.1\r\nHost: app\r\n\r\n'

function ask(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    let text = ''
    const done = (well: boolean): void => {
      socket.removeAllListeners('data').removeAllListeners('close')
      resolve(well)
    }
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (text.endsWith('\r\n\r\nhere')) done(text.startsWith('HTTP/1.1 200'))
    })
    socket.on('close', () => done(false))
    if (socket.destroyed) done(false)
    else socket.write(GET)
  })
}

async function open(): Promise<Socket> {
  const socket = connect({ host, port: Number(port) })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Runs `each` for 0 … count-1, ABREAST at a time; how many were true. */
async function all(each: (index: number) => Promise<boolean>): Promise<number> {
  let [next, well] = [0, 0]
  const line = async (): Promise<void> => {
    while (next < Number(count)) if (await each(next++)) well++
  }
  await Promise.all(Array.from({ length: ABREAST }, line))
  return well
}

const sockets: Socket[] = []
const opened = await all(async (index) => await ask((sockets[index] = await open())))
console.log(`open ${opened}`)
for await (const _ of createInterface({ input: process.stdin })) {
  const answered = await all(async (index) => await ask(sockets[index] as Socket))
  console.log(`answered ${answered} of ${count}`)
}
process.exit()
