// Byte classes of HTTP/1.1's grammar and the few byte operations that its parser and writer share.

export const CR = 0x0d
export const LF = 0x0a
export const SPACE = 0x20
export const TAB = 0x09
const DELETE = 0x7f
export const COLON = 0x3a
export const COMMA = 0x2c

/** tchar (RFC 9110 §5.6.2). */
export const TOKEN = classOf((byte) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(byte)))
/** field-vchar, SP and HTAB (RFC 9110 §5.5). */
export const VALUE = classOf((byte) => byte === TAB || (byte >= 0x20 && byte !== 0x7f))
/** What a request target may hold: no blanks, no controls, no fragment. Bytes beyond ASCII pass, as servers take them. */
export const TARGET = classOf((byte) => byte > 0x20 && byte !== 0x7f && byte !== 0x23)

/** What values are made of but for the tab: a comparison is quicker than a look at VALUE. */
export function isUsual(byte: number): boolean {
  return byte >= SPACE && byte !== DELETE
}

export function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB
}

/** Whether a value that begins so is empty, or has more blanks ahead of it than the usual one. */
export function isBlankOrEnd(byte: number): boolean {
  return isBlank(byte) || byte === CR
}

function classOf(test: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (test(byte) ? 1 : 0))
}

/** The lower-case form of an ASCII byte. */
export function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
}

/** Whether `bytes[from, to)` is `word` (given in lower case), whatever its case. */
export function isWord(bytes: Uint8Array, from: number, to: number, word: string): boolean {
  if (to - from !== word.length) return false
  for (let i = 0; i < word.length; i++) if (lower(bytes[from + i] as number) !== word.charCodeAt(i)) return false
  return true
}

/** Whether `bytes[at, to)` begins with these. */
export function begins(bytes: Uint8Array, at: number, to: number, wanted: Uint8Array): boolean {
  if (at + wanted.length > to) return false
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
  return true
}

/** The value of a hexadecimal digit, or -1. */
export function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
