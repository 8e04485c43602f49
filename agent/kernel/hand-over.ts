// The listeners of captured pods, from the agent that goes to the one that takes its place: the same sockets, so what
// waits in them is not lost. The new agent asks, once it could carry connections; the old one gives, and goes on as before
// where the new one does not say that it has them.
import { existsSync, mkdirSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openAcceptor } from './acceptor.ts'
import type { Captured, Direction, Listener } from './kernel.ts'
import { LAYOUT } from './layout.ts'
import { errorName, must, native } from './native.ts'
import { cookieOfSocket } from './pod/listening.ts'

/** How long one message is waited for. The other side is an agent that does nothing else meanwhile. */
const WAIT_MS = 2_000

/** One captured pod, as it is told; its listeners' fds come with the message, in this order. */
interface Told {
  readonly cookie: string
  readonly listeners: readonly { readonly direction: Direction; readonly ip: string; readonly port: number }[]
}

/** Where an agent is asked for its listeners, in the folder in which the agents of a node meet. */
export const handOverPath = (runDir: string): string => join(runDir, 'hand-over.sock')

/** Whether an agent lives at this path. */
export function isLived(path: string): boolean {
  const fd = native().unixConnect(path, WAIT_MS)
  if (fd >= 0) native().closeFd(fd)
  return fd >= 0
}

/** How it stands with the agent at this path: it stays, or was told to stop and waits for another to take over; null: none lives. */
export function stanceAt(path: string): 'staying' | 'leaving' | null {
  const fd = native().unixConnect(path, WAIT_MS)
  if (fd < 0) return null
  const isAsked = native().sendFds(fd, Buffer.from(WHETHER_LEAVING), new Int32Array(0)) >= 0
  const answer = isAsked ? received(fd) : null
  native().closeFd(fd)
  return answer?.text === LEAVING ? 'leaving' : 'staying'
}

/** The agent that others ask. */
export interface Giver {
  captured(): Iterable<Captured>
  /** It has been told to stop. */
  isLeaving(): boolean
  /** Called when another has what it was given. */
  taken(): void
}

/** Answers other agents that ask. Returns how to end. */
export function offerHandOver(path: string, giver: Giver): { readonly close: () => void } {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  if (existsSync(path)) unlinkSync(path) // of an agent that has ended, or of the one that we have just replaced
  const listener = must(native().unixListen(path), `listen at ${path}`)
  const acceptor = openAcceptor(listener, {
    onAccept: (fd) => {
      const isTaken = answer(fd, giver)
      native().closeFd(fd)
      if (isTaken) giver.taken()
    },
    onFault: () => undefined, // whoever asks, asks again
  })
  return {
    close: () => {
      acceptor.close()
      native().closeFd(listener)
    },
  }
}

/** Hears one other agent out. Returns whether it has said that it has all. */
function answer(fd: number, giver: Giver): boolean {
  if (native().blockFor(fd, WAIT_MS) < 0) return false
  const asked = received(fd)?.text
  if (asked === WHETHER_LEAVING) {
    native().sendFds(fd, Buffer.from(giver.isLeaving() ? LEAVING : 'staying'), new Int32Array(0))
    return false
  }
  return asked === question() && give(fd, giver.captured())
}

/** Returns whether the other side has said that it has all. */
function give(fd: number, captured: Iterable<Captured>): boolean {
  for (const { cookie, listeners } of captured) {
    const told: Told = { cookie, listeners: listeners.map(({ direction, ip, port }) => ({ direction, ip, port })) }
    const fds = Int32Array.from(listeners, (each) => each.fd)
    if (native().sendFds(fd, Buffer.from(JSON.stringify(told)), fds) < 0) return false
  }
  return native().sendFds(fd, Buffer.from('all'), new Int32Array(0)) >= 0 && received(fd)?.text === 'taken'
}

const WHETHER_LEAVING = 'leaving?'
const LEAVING = 'leaving'

/** Agents of another layout of the maps cannot use the captures that belong to the listeners. */
const question = (): string => `layout ${LAYOUT}`

/**
 * Asks the agent that lives at this path for its listeners. They are the caller's then, by the pod's cookie. Null where no
 * agent lives there, or it gives none. Waits some seconds at most, and nothing else runs meanwhile.
 */
export function takeOver(path: string): ReadonlyMap<string, readonly Listener[]> | null {
  const fd = native().unixConnect(path, WAIT_MS)
  if (fd < 0) {
    const code = errorName(fd)
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return null
    must(fd, `ask for the hand-over at ${path}`)
  }
  const given = new Map<string, readonly Listener[]>()
  try {
    if (native().sendFds(fd, Buffer.from(question()), new Int32Array(0)) < 0) return null
    for (let message = received(fd); message !== null; message = received(fd)) {
      if (message.text === 'all') {
        if (native().sendFds(fd, Buffer.from('taken'), new Int32Array(0)) < 0) break
        return given
      }
      const { cookie, listeners } = JSON.parse(message.text) as Told
      given.set(
        cookie,
        listeners.map((each, index) => {
          const fd = message.fds[index] ?? -1
          return { ...each, fd, socket: cookieOfSocket(fd) }
        }),
      )
    }
  } finally {
    native().closeFd(fd)
  }
  for (const listeners of given.values()) for (const each of listeners) native().closeFd(each.fd)
  return null
}

/** The next message, or null where none comes any more. */
function received(fd: number): { readonly text: string; readonly fds: Int32Array } | null {
  const { status, bytes, fds } = native().receiveFds(fd)
  return status < 0 || bytes.length === 0 ? null : { text: Buffer.from(bytes).toString('utf8'), fds }
}
