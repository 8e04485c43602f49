// DER, as much of it as two certificates need. Pure. Source: ITU-T X.690.

/** One element: tag, then length, then content. */
export function element(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content)
  return Buffer.concat([Buffer.from([tag]), lengthOf(body.length), body])
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length])
  const bytes: number[] = []
  for (let rest = length; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff)
  return Buffer.from([0x80 | bytes.length, ...bytes])
}

export const sequence = (...parts: readonly Buffer[]): Buffer => element(0x30, ...parts)
export const setOf = (...parts: readonly Buffer[]): Buffer => element(0x31, ...parts)
export const octets = (content: Buffer): Buffer => element(0x04, content)
export const bits = (content: Buffer, unused = 0): Buffer => element(0x03, Buffer.from([unused]), content)
export const utf8 = (text: string): Buffer => element(0x0c, Buffer.from(text))
export const truth = (): Buffer => element(0x01, Buffer.from([0xff]))
/** A context tag whose content is one whole element. */
export const explicit = (tag: number, content: Buffer): Buffer => element(0xa0 | tag, content)
/** A context tag in the place of a primitive element's own. */
export const implicit = (tag: number, content: Buffer): Buffer => element(0x80 | tag, content)

/** A number of these bytes, which is taken as not negative. */
export function integer(bytes: Buffer): Buffer {
  return element(0x02, (bytes[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)
}

/** UTCTime: RFC 5280 has it for every year before 2050. */
export function utcTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\..*/g, '')
  return element(0x17, Buffer.from(`${digits.slice(2)}Z`))
}

/** An object identifier, from its dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second, ...rest.flatMap(base128)]
  return element(0x06, Buffer.from(bytes))
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f]
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80)
  return bytes
}
