// The first message of TLS, read without taking part in it: whom the client asks for, and what it would speak there.

/** What a ClientHello says. Names are as they were sent, byte by byte. */
export interface ClientHello {
  /** Protocols it offers, best first. */
  readonly alpn: readonly string[]
  readonly serverName: string | null
}

/** Of the handshake message: real ones have 0.3 to 2 KB. */
const MESSAGE_MOST = 16 * 1024
/** Records that it may be spread over. */
const RECORDS_MOST = 64
const RECORD_HEAD = 5
const RECORD_MOST = 16 * 1024
const MESSAGE_HEAD = 4

/** Whoever gathers bytes for `readClientHello` has an answer other than 'partial' by this many. */
export const CLIENT_HELLO_MOST = MESSAGE_MOST + MESSAGE_HEAD + RECORDS_MOST * RECORD_HEAD

const HANDSHAKE = 22
const CLIENT_HELLO = 1
const SERVER_NAME = 0
const ALPN = 16

/**
 * Reads the ClientHello that `bytes` begin with; it may be spread over records. 'partial': so far it is one, and more must
 * come. 'not-tls': it is none, or one that no client of the mesh sends (malformed, or too large).
 */
export function readClientHello(bytes: Uint8Array): 'partial' | 'not-tls' | ClientHello {
  const message = gather(bytes)
  if (typeof message === 'string') return message
  try {
    return parse(new Fields(message))
  } catch (thrown) {
    if (thrown instanceof Malformed) return 'not-tls'
    throw thrown
  }
}

/** The message behind its head, out of its records. Copied only once it is there as a whole. */
function gather(bytes: Uint8Array): 'partial' | 'not-tls' | Uint8Array {
  const head: number[] = []
  const parts: Uint8Array[] = []
  let at = 0
  let gathered = 0
  for (let records = 0; ; records++) {
    if (!isRecordHead(bytes, at) || records === RECORDS_MOST) return 'not-tls'
    if (bytes.length < at + RECORD_HEAD) return 'partial'
    const start = at + RECORD_HEAD
    const end = start + u16(bytes, at + 3)
    const part = bytes.subarray(start, end)
    for (let i = 0; i < part.length && head.length < MESSAGE_HEAD; i++) head.push(part[i] as number)
    if (head.length > 0 && head[0] !== CLIENT_HELLO) return 'not-tls'
    parts.push(part)
    gathered += part.length
    if (head.length === MESSAGE_HEAD) {
      const length = ((head[1] as number) << 16) | ((head[2] as number) << 8) | (head[3] as number)
      if (length > MESSAGE_MOST) return 'not-tls'
      if (gathered >= MESSAGE_HEAD + length)
        return joined(parts, gathered).subarray(MESSAGE_HEAD, MESSAGE_HEAD + length)
    }
    if (part.length < end - start) return 'partial'
    at = end
  }
}

/** Whether a handshake record of some bytes begins at `at`, as far as can be seen. */
function isRecordHead(bytes: Uint8Array, at: number): boolean {
  const seen = bytes.length - at
  if (seen > 0 && bytes[at] !== HANDSHAKE) return false
  if (seen > 1 && bytes[at + 1] !== 3) return false
  if (seen > 2 && (bytes[at + 2] as number) > 4) return false
  if (seen < RECORD_HEAD) return true
  const length = u16(bytes, at + 3)
  return length > 0 && length <= RECORD_MOST
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array
  const all = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

function parse(hello: Fields): ClientHello {
  hello.skip(2 + 32) // legacy version, random
  hello.vector(1) // legacy session
  hello.vector(2) // cipher suites
  hello.vector(1) // compressions
  let alpn: readonly string[] = []
  let serverName: string | null = null
  if (hello.left === 0) return { alpn, serverName }
  const extensions = hello.vector(2)
  hello.done()
  const seen = new Set<number>()
  while (extensions.left > 0) {
    const type = extensions.number(2)
    const body = extensions.vector(2)
    if (seen.has(type)) throw new Malformed()
    seen.add(type)
    if (type === SERVER_NAME) serverName = readServerName(body)
    if (type === ALPN) alpn = readAlpn(body)
  }
  return { alpn, serverName }
}

function readServerName(body: Fields): string | null {
  let name: string | null = null
  const list = body.vector(2)
  body.done()
  while (list.left > 0) {
    const type = list.number(1)
    const text = list.vector(2).text()
    if (type === 0) name ??= text
  }
  return name
}

function readAlpn(body: Fields): string[] {
  const names: string[] = []
  const list = body.vector(2)
  body.done()
  while (list.left > 0) {
    const name = list.vector(1).text()
    if (name === '') throw new Malformed()
    names.push(name)
  }
  return names
}

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] as number) << 8) | (bytes[at + 1] as number)

class Malformed extends Error {}

/** A run of fields; what reads past its end throws Malformed. */
class Fields {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  skip(length: number): void {
    if (length > this.left) throw new Malformed()
    this.#at += length
  }

  number(size: 1 | 2): number {
    const at = this.#at
    this.skip(size)
    return size === 1 ? (this.#bytes[at] as number) : u16(this.#bytes, at)
  }

  /** A field whose length stands before it. */
  vector(size: 1 | 2): Fields {
    const length = this.number(size)
    const at = this.#at
    this.skip(length)
    return new Fields(this.#bytes.subarray(at, at + length))
  }

  text(): string {
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length).toString('latin1')
  }

  done(): void {
    if (this.left > 0) throw new Malformed()
  }
}
