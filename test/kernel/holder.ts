// A process of the data side that holds many connections: takes a pod's connections by the fds it inherited, as a worker
// of the agent does, and dials the application for each. One process has too few fds for them all, several share a pod.
import net from 'node:net'
import { openSockets } from '../../agent/kernel/bpf.ts'
import type { Captured, Handles } from '../../agent/kernel/kernel.ts'
import { familyOf } from '../../agent/model/address.ts'

/** What it is started with; fds are numbers in this process. */
export interface HolderOrder {
  readonly handles: Handles
  readonly captured: Captured
  readonly direction: 'inbound' | 'outbound'
  /** Connections it takes at most. */
  readonly most: number
}

/** What it says every now and then, a line of JSON. */
export interface Held {
  /** Connections whose application, or whose origin, was reached. */
  readonly held: number
  readonly failed: Readonly<Record<string, number>>
}

function hold({ handles, captured, direction, most }: HolderOrder): void {
  const sockets = openSockets(handles)
  const pod = sockets.hold(captured)
  const failed: Record<string, number> = {}
  const kept: net.Socket[] = []
  let taken = 0
  let held = 0
  const fail = (code: string): void => void (failed[code] = (failed[code] ?? 0) + 1)
  const dial = (fd: number): void => {
    const { local, remote } = sockets.ends(fd)
    const options = { family: familyOf(local.ip), callee: captured.cookie, client: remote }
    const socket = new net.Socket({ fd: pod.socket(options), manualStart: true } as net.SocketConstructorOpts)
    kept.push(socket)
    socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message))
    socket.connect({ host: local.ip, port: local.port }, () => held++)
  }
  const acceptor = pod.accept(direction, {
    onAccept: (fd) => {
      if (++taken === most) acceptor.pause() // the others take the rest
      if (direction === 'inbound') dial(fd)
      else if (sockets.origin(fd) === null) fail('no origin')
      else held++
    },
    onFault: (error) => fail(String(error)),
    batch: 16, // no process runs ahead of the others by more
  })
  setInterval(() => process.stdout.write(`${JSON.stringify({ held, failed } satisfies Held)}\n`), 100)
}

if (import.meta.main) hold(JSON.parse(process.argv[2] ?? '{}') as HolderOrder)
