// What an agent does that not everybody may, one deed a run: tests run it with fewer rights than an agent has. Says how it
// went: `done`, or what the kernel answered.
import { closeSync, openSync } from 'node:fs'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { rehearse } from '../../agent/kernel/bpf.ts'
import { findCgroupRoot } from '../../agent/kernel/cgroup-mounts.ts'
import { must, native } from '../../agent/kernel/native.ts'

/** Names of deeds, and what each is done to. */
const DEEDS: Readonly<Record<string, (word: string) => void | Promise<void>>> = {
  /** Loads and attaches everything, and takes it away again. */
  capture: () => rehearse(findCgroupRoot() ?? ''),
  /** Opens the network namespace of a process. */
  find: (pid) => closeSync(openSync(`/proc/${pid}/ns/net`, 'r')),
  /** Resets a connection, as the agent does with those that may not go on. */
  end: endOne,
}

async function endOne(): Promise<void> {
  const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1').on('error', () => undefined)
  await once(socket, 'connect')
  const { fd } = (socket as Socket & { _handle: { fd: number } })._handle
  const { status, cookie } = native().socketCookie(fd)
  must(status, 'read a cookie')
  const home = openSync('/proc/self/ns/net', 'r')
  try {
    const ended = must(native().resetIn(home, home, BigUint64Array.of(BigInt(cookie))), 'end a connection')
    if (ended !== 1) throw new Error(`${ended} connections were ended`)
  } finally {
    closeSync(home)
    socket.destroy()
    server.close()
  }
}

const [deed = '', word = ''] = process.argv.slice(2)
try {
  await (DEEDS[deed] as (word: string) => void | Promise<void>)(word)
  console.log('done')
} catch (error) {
  console.log((error as Error).message)
}
