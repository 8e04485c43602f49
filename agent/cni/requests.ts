// The plug-in's door to the agent: a Unix socket, one question a connection, with the pod's network namespace as a
// descriptor. Nobody but root may connect.

import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openAcceptor } from '../kernel/acceptor.ts'
import { errorName, must, native } from '../kernel/native.ts'
import { type CniAnswer, type CniRequest, HEARD, parseRequest } from './request.ts'

/** Requests under way at once; a further one gets no answer. */
export const REQUESTS_MAX = 256
/** How long a message may take that was to come with the connection. */
const READ_MS = 1_000
const READ_POLL_MS = 5
/** Longest error that is told; the plug-in reads 4 KiB. */
const ERROR_MAX = 1_000

/** Where the plug-in finds the agent, in the folder in which the agents of a node meet. */
export const cniSocketPath = (runDir: string): string => join(runDir, 'cni.sock')

/** A request and an fd of the pod's network namespace, which is closed once it is answered; null where none came along. */
export type Answerer = (request: CniRequest, netns: number | null) => Promise<CniAnswer>

/**
 * Listens at a path, in the place of whoever listened there. `onFault` hears of what cannot be answered: it gets no answer,
 * so that the plug-in asks again and then goes by its list; an error would refuse pods that may go direct, too. Returns how
 * to end: whoever waits for an answer then asks the next agent. Throws KernelError.
 */
export function serveRequests(
  path: string,
  answer: Answerer,
  onFault: (reason: string) => void,
): { close: () => void } {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // under another name first: at no time is there nothing to connect to
  const coming = `${path}.new`
  rmSync(coming, { force: true })
  const listener = must(native().unixListen(coming), `listen at ${coming}`)
  renameSync(coming, path)
  const open = new Set<number>()
  let isClosed = false
  const end = (fd: number): void => {
    if (open.delete(fd)) native().closeFd(fd)
  }
  const say = (fd: number, answer: CniAnswer): void => {
    if (open.has(fd)) native().sendFds(fd, Buffer.from(JSON.stringify(answer)), new Int32Array(0))
    end(fd)
  }
  const serve = async (fd: number): Promise<void> => {
    const message = await receive(fd, () => open.has(fd))
    if (message === null) return end(fd)
    const { text, fds } = message
    try {
      const request = parseRequest(text)
      if (request.hears && open.has(fd)) native().sendFds(fd, Buffer.from(HEARD), new Int32Array(0))
      say(fd, bounded(await answer(request, fds[0] ?? null)))
    } catch (error) {
      onFault((error as Error).message)
      end(fd)
    } finally {
      for (const each of fds) native().closeFd(each)
    }
  }
  const acceptor = openAcceptor(listener, {
    onAccept: (fd) => {
      open.add(fd)
      if (isClosed || open.size > REQUESTS_MAX) end(fd)
      else void serve(fd)
    },
    onFault: (error) => onFault((error as Error).message),
  })
  return {
    close: () => {
      if (isClosed) return
      isClosed = true
      acceptor.close()
      native().closeFd(listener)
      for (const fd of open) end(fd)
    },
  }
}

const bounded = (answer: CniAnswer): CniAnswer =>
  'error' in answer ? { error: answer.error.slice(0, ERROR_MAX) } : answer

/** The message of a connection, or null where none comes. Its fds are the caller's. */
async function receive(
  fd: number,
  isOpen: () => boolean,
): Promise<{ readonly text: string; readonly fds: readonly number[] } | null> {
  const deadline = performance.now() + READ_MS
  while (isOpen()) {
    const { status, bytes, fds } = native().receiveFds(fd)
    if (status >= 0) return bytes.length === 0 ? null : { text: Buffer.from(bytes).toString('utf8'), fds: [...fds] }
    if (errorName(status) !== 'EAGAIN' || performance.now() > deadline) return null
    await new Promise((resolve) => setTimeout(resolve, READ_POLL_MS))
  }
  return null
}
