// What a connection's first bytes say: which protocol it speaks, whom its TLS asks for. They are read only for as long as
// they leave it open.

import { MeshError } from '../model/failure.ts'
import { serverNameOf } from '../model/flow-match.ts'
import { type Protocol, sniff, startsHttp2 } from '../model/protocol.ts'
import { beginsProxyHeader } from '../model/proxy-header.ts'
import { CLIENT_HELLO_MOST, readClientHello } from './transport/client-hello.ts'
import type { Channel } from './transport/transport.ts'

/** What was found, and how it was. */
export interface Found {
  readonly protocol: Protocol
  readonly outcome: string
  /** Whom its TLS asks for; null: nobody, or it has not begun with TLS. */
  readonly serverName: string | null
  /** What came of looking for that name, where it has begun with TLS; `late`: its first message was not there in time. */
  readonly hello: 'read' | 'none' | 'late' | null
}

/** What was found, and what was read for it. */
export interface Peeked extends Found {
  readonly first: Buffer | null
  readonly ended: boolean
}

/** Judges what has come so far (null: nothing); null: more is needed. `isOver`: no more is waited for. */
export type Judge = (first: Buffer | null, isOver: boolean) => Found | null

/** What stands before anything was read, and whether that is all there is to be. */
export interface Begun {
  readonly channel: Channel
  readonly first: Buffer | null
  readonly ended: boolean
  readonly silent: boolean
}

/** What a port declares, or another has told; whom its TLS asks for is looked for in what comes. */
export function saidJudge(protocol: Protocol, outcome: string): Judge {
  return (first, isOver) => {
    if (first === null && !isOver) return null
    return named({ protocol, outcome }, protocol === 'http' ? null : first, isOver)
  }
}

/** What the bytes say. Silence is opaque: the callee may be the one that speaks first. */
export function sniffJudge(sniffBytes: number): Judge {
  return (first, isOver) => {
    const verdict = first === null ? 'undecided' : sniff(first.subarray(0, sniffBytes))
    if (verdict === 'undecided') {
      const hasRoom = first === null || first.length < sniffBytes
      if (hasRoom && !isOver) return null
      return { protocol: 'opaque', outcome: first === null ? 'silent' : 'undecided', serverName: null, hello: null }
    }
    const outcome = `sniffed_${startsHttp2(first as Buffer) ? 'http2' : verdict}`
    return named({ protocol: verdict, outcome }, verdict === 'http' ? null : first, isOver)
  }
}

/** HTTP, unless it begins with a header of the PROXY protocol: the caller's node has put it there for the application. */
export const headerJudge: Judge = (first, isOver) => {
  const begins = first === null ? 'partial' : beginsProxyHeader(first)
  if (begins === 'partial' && !isOver) return null
  if (begins === 'yes') return { protocol: 'opaque', outcome: 'told_opaque', serverName: null, hello: null }
  return { protocol: 'http', outcome: 'declared_http', serverName: null, hello: null }
}

/** What was found, with the name that TLS begins with; null: more is needed for that. */
function named(found: Pick<Found, 'protocol' | 'outcome'>, first: Buffer | null, isOver: boolean): Found | null {
  const hello = first === null ? 'not-tls' : readClientHello(first)
  if (hello === 'not-tls') return { ...found, serverName: null, hello: null }
  if (hello === 'partial') {
    const isEnough = isOver || (first as Buffer).length >= CLIENT_HELLO_MOST
    return isEnough ? { ...found, serverName: null, hello: 'late' } : null
  }
  const serverName = serverNameOf(hello.serverName)
  return { ...found, serverName, hello: serverName === null ? 'none' : 'read' }
}

/**
 * Reads until a judge has what it needs, `ms` at most, and holds the channel again. Throws CALLER_RESET where the caller
 * breaks off, and BUFFER_LIMIT where its pod holds enough.
 */
export function peek(begun: Begun, judge: Judge, ms: number): Promise<Peeked> | Peeked {
  const { first, ended, silent } = begun
  const found = judge(first, silent || ended)
  return found === null ? gather(begun, judge, ms) : { ...found, first, ended }
}

function gather({ channel, first: ahead }: Begun, judge: Judge, ms: number): Promise<Peeked> {
  const { budget } = channel
  let first = ahead
  let counted = 0
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer)
      budget.held -= counted
      counted = 0
    }
    const settle = (isOver: boolean, ended: boolean): void => {
      const found = judge(first, isOver)
      if (found === null) return
      leave()
      channel.hold()
      resolve({ ...found, first, ended })
    }
    const timer = setTimeout(() => settle(true, false), ms)
    const gone = (cause?: unknown): void => {
      leave()
      reject(new MeshError('CALLER_RESET', 'the caller broke off before it said anything', cause))
    }
    channel.sink = {
      bytes: (arena, from, to) => {
        counted += to - from
        budget.held += to - from
        const bytes = arena.subarray(from, to)
        first = first === null ? Buffer.from(bytes) : Buffer.concat([first, bytes])
        if (!budget.spent) {
          settle(false, false)
          return
        }
        const failure = budget.failure()
        leave()
        channel.hold()
        reject(failure)
      },
      end: () => settle(true, true),
      drained: () => {},
      closed: gone,
      lost: gone,
    }
    channel.resume()
  })
}
