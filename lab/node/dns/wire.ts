// The wire form of DNS messages (RFC 1035 section 4): what a cluster's resolver needs of it. Pure.

export const TYPE = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, AAAA: 28, SRV: 33, OPT: 41, ANY: 255 } as const
export const CLASS_IN = 1
export const RCODE = {
  OK: 0,
  FORMAT_ERROR: 1,
  SERVER_FAILURE: 2,
  NO_SUCH_NAME: 3,
  NOT_IMPLEMENTED: 4,
  REFUSED: 5,
} as const
/** A name has at most this many bytes on the wire (RFC 1035 section 2.3.4). */
export const NAME_BYTES = 255
/** Without EDNS a UDP answer has at most this many bytes (RFC 1035 section 4.2.1). */
export const PLAIN_UDP_BYTES = 512
/** The largest UDP answer sent, whatever EDNS size the client names: one frame of a common network. */
export const MOST_UDP_BYTES = 1232
const LABEL_BYTES = 63
const HEADER_BYTES = 12

export interface Question {
  /** The name as asked, without the final dot; letters keep their case. */
  readonly name: string
  readonly type: number
  readonly class: number
}

export interface Query {
  readonly id: number
  readonly opcode: number
  readonly recursionDesired: boolean
  readonly question: Question
  /** The UDP size the client takes: EDNS (RFC 6891), else 512. */
  readonly udpBytes: number
  readonly edns: boolean
}

export type ResourceRecord = { readonly name: string; readonly ttlSeconds: number } & (
  | { readonly type: 'A'; readonly address: string }
  | { readonly type: 'CNAME' | 'PTR'; readonly target: string }
  | {
      readonly type: 'SRV'
      readonly priority: number
      readonly weight: number
      readonly port: number
      readonly target: string
    }
  | {
      readonly type: 'SOA'
      readonly primary: string
      readonly mailbox: string
      readonly serial: number
      readonly negativeTtlSeconds: number
    }
)

export interface Reply {
  readonly rcode: number
  readonly authoritative: boolean
  readonly answers: readonly ResourceRecord[]
  readonly authority: readonly ResourceRecord[]
}

/** A message that is not a well-formed query. `id` is set where a FORMERR answer can be sent. */
export class MalformedQuery extends Error {
  readonly id: number | null
  constructor(message: string, id: number | null) {
    super(message)
    this.id = id
  }
}

/** Reads a query: one question, and an EDNS record if there is one. Throws MalformedQuery, never anything else. */
export function decodeQuery(message: Buffer): Query {
  if (message.length < HEADER_BYTES) throw new MalformedQuery('shorter than a header', null)
  const id = message.readUInt16BE(0)
  const flags = message.readUInt16BE(2)
  // An answer must never be answered: two servers would talk for ever.
  if ((flags & 0x8000) !== 0) throw new MalformedQuery('not a query', null)
  try {
    if (message.readUInt16BE(4) !== 1) throw new RangeError('not one question')
    const { name, end } = decodeName(message, HEADER_BYTES)
    const question = { name, type: message.readUInt16BE(end), class: message.readUInt16BE(end + 2) }
    const opt = findOpt(message, end + 4)
    return {
      id,
      opcode: (flags >> 11) & 0xf,
      recursionDesired: (flags & 0x0100) !== 0,
      question,
      udpBytes: opt === null ? PLAIN_UDP_BYTES : Math.min(Math.max(opt, PLAIN_UDP_BYTES), MOST_UDP_BYTES),
      edns: opt !== null,
    }
  } catch (error) {
    throw new MalformedQuery((error as Error).message, id)
  }
}

/** Reads a name at `offset`, following compression pointers, which may only point backwards. Throws RangeError. */
export function decodeName(message: Buffer, offset: number): { name: string; end: number } {
  const labels: string[] = []
  let at = offset
  let end = -1
  let bytes = 1
  for (;;) {
    const length = message.readUInt8(at)
    if (length === 0) return { name: labels.join('.'), end: end < 0 ? at + 1 : end }
    if ((length & 0xc0) === 0xc0) {
      const target = message.readUInt16BE(at) & 0x3fff
      if (target >= at) throw new RangeError('compression pointer does not point backwards')
      if (end < 0) end = at + 2
      at = target
      continue
    }
    if (length > LABEL_BYTES) throw new RangeError('unknown label type')
    bytes += length + 1
    if (bytes > NAME_BYTES) throw new RangeError('name too long')
    if (at + 1 + length > message.length) throw new RangeError('name runs over the end')
    const label = message.toString('latin1', at + 1, at + 1 + length)
    // Legal on the wire, but such a name has no written form, and nothing in a cluster is called so.
    if (label.includes('.')) throw new RangeError('a dot inside a label')
    labels.push(label)
    at += length + 1
  }
}

/** The UDP size of the EDNS record among the additional records, or null. Answer and authority sections are skipped. */
function findOpt(message: Buffer, start: number): number | null {
  const before = message.readUInt16BE(6) + message.readUInt16BE(8)
  const total = before + message.readUInt16BE(10)
  let at = start
  for (let index = 0; index < total; index += 1) {
    const { end } = decodeName(message, at)
    at = end + 10 + message.readUInt16BE(end + 8)
    if (at > message.length) throw new RangeError('record runs over the end')
    if (index >= before && message.readUInt16BE(end) === TYPE.OPT) return message.readUInt16BE(end + 2)
  }
  return null
}

/** Writes a reply; with `limit`, leaves records out and sets the truncation bit when it would be longer. */
export function encodeReply(query: Query, reply: Reply, limit = 65_535): Buffer {
  const edns = query.edns ? [encodeOpt()] : []
  const answers = reply.answers.map(encodeRecord)
  const authority = reply.authority.map(encodeRecord)
  const question = encodeQuestion(query.question)
  const size = (parts: readonly Buffer[]): number => parts.reduce((sum, part) => sum + part.length, 0)
  const fixed = HEADER_BYTES + question.length + size(edns)
  let kept = answers
  while (kept.length > 0 && fixed + size(kept) + size(authority) > limit) kept = kept.slice(0, -1)
  const truncated = kept.length < answers.length
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt16BE(query.id, 0)
  header.writeUInt16BE(flagsOf(query, reply, truncated), 2)
  const counts = [1, kept.length, authority.length, edns.length]
  for (const [index, count] of counts.entries()) header.writeUInt16BE(count, 4 + 2 * index)
  return Buffer.concat([header, question, ...kept, ...authority, ...edns])
}

function flagsOf(query: Query, reply: Reply, truncated: boolean): number {
  const recursion = query.recursionDesired ? 0x0100 : 0
  return (
    0x8000 |
    (query.opcode << 11) |
    (reply.authoritative ? 0x0400 : 0) |
    (truncated ? 0x0200 : 0) |
    recursion |
    0x0080 |
    reply.rcode
  )
}

/** A FORMERR answer to a message whose question could not be read. */
export function encodeFormatError(id: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(0x8000 | RCODE.FORMAT_ERROR, 2)
  return header
}

/** Writes a name, uncompressed. Throws RangeError when a label or the name is too long. */
export function encodeName(name: string): Buffer {
  if (name === '') return Buffer.from([0])
  const parts = name.split('.').map((label) => {
    const bytes = Buffer.from(label, 'latin1')
    if (bytes.length === 0 || bytes.length > LABEL_BYTES) throw new RangeError(`bad label in ${name}`)
    return Buffer.concat([Buffer.from([bytes.length]), bytes])
  })
  const wire = Buffer.concat([...parts, Buffer.from([0])])
  if (wire.length > NAME_BYTES) throw new RangeError('name too long')
  return wire
}

function encodeQuestion({ name, type, class: of }: Question): Buffer {
  const tail = Buffer.alloc(4)
  tail.writeUInt16BE(type, 0)
  tail.writeUInt16BE(of, 2)
  return Buffer.concat([encodeName(name), tail])
}

function encodeRecord(record: ResourceRecord): Buffer {
  const payload = encodePayload(record)
  const middle = Buffer.alloc(10)
  middle.writeUInt16BE(TYPE[record.type], 0)
  middle.writeUInt16BE(CLASS_IN, 2)
  middle.writeUInt32BE(record.ttlSeconds, 4)
  middle.writeUInt16BE(payload.length, 8)
  return Buffer.concat([encodeName(record.name), middle, payload])
}

function encodePayload(record: ResourceRecord): Buffer {
  switch (record.type) {
    case 'A':
      return Buffer.from(record.address.split('.').map(Number))
    case 'CNAME':
    case 'PTR':
      return encodeName(record.target)
    case 'SRV': {
      const fixed = Buffer.alloc(6)
      fixed.writeUInt16BE(record.priority, 0)
      fixed.writeUInt16BE(record.weight, 2)
      fixed.writeUInt16BE(record.port, 4)
      return Buffer.concat([fixed, encodeName(record.target)])
    }
    case 'SOA': {
      const times = Buffer.alloc(20)
      const values = [record.serial, 7200, 1800, 86_400, record.negativeTtlSeconds]
      for (const [index, value] of values.entries()) times.writeUInt32BE(value, 4 * index)
      return Buffer.concat([encodeName(record.primary), encodeName(record.mailbox), times])
    }
  }
}

function encodeOpt(): Buffer {
  const record = Buffer.alloc(11)
  record.writeUInt16BE(TYPE.OPT, 1)
  record.writeUInt16BE(MOST_UDP_BYTES, 3)
  return record
}
