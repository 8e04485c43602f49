// The extensions behind a chunk's size: read strictly, so that nobody else can read them otherwise, and dropped (RFC 9112
// §7.1.1: those that are not understood are ignored, and none is). Pure.

import { CR, SPACE, TAB, TOKEN, VALUE } from './bytes.ts'

const SEMICOLON = 0x3b
const EQUALS = 0x3d
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** Where one is within `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`. */
export const BEFORE_SEMICOLON = 0
const BEFORE_NAME = 1
const NAME = 2
const BEHIND_NAME = 3
const BEFORE_VALUE = 4
const TOKEN_VALUE = 5
const QUOTED = 6
const ESCAPED = 7
const BEHIND_QUOTED = 8
/** The size line's CR has been read. */
export const LINE_CR = 9
export const NO_EXTENSION = -1

/** The state behind `byte`, or NO_EXTENSION where it may not stand here. Begins with what follows the size's digits. */
export function extension(state: number, byte: number): number {
  const blank = byte === SPACE || byte === TAB
  switch (state) {
    case BEFORE_SEMICOLON:
      return blank ? BEFORE_SEMICOLON : byte === SEMICOLON ? BEFORE_NAME : NO_EXTENSION
    case BEFORE_NAME:
      return blank ? BEFORE_NAME : TOKEN[byte] === 1 ? NAME : NO_EXTENSION
    case NAME:
      if (TOKEN[byte] === 1) return NAME
      if (byte === EQUALS) return BEFORE_VALUE
      return blank ? BEHIND_NAME : ended(byte)
    case BEHIND_NAME:
      if (byte === EQUALS) return BEFORE_VALUE
      return blank ? BEHIND_NAME : byte === SEMICOLON ? BEFORE_NAME : NO_EXTENSION
    case BEFORE_VALUE:
      if (blank) return BEFORE_VALUE
      return byte === QUOTE ? QUOTED : TOKEN[byte] === 1 ? TOKEN_VALUE : NO_EXTENSION
    case TOKEN_VALUE:
      return TOKEN[byte] === 1 ? TOKEN_VALUE : blank ? BEFORE_SEMICOLON : ended(byte)
    case QUOTED:
      if (byte === QUOTE) return BEHIND_QUOTED
      return byte === BACKSLASH ? ESCAPED : VALUE[byte] === 1 ? QUOTED : NO_EXTENSION
    case ESCAPED:
      return VALUE[byte] === 1 ? QUOTED : NO_EXTENSION
    default: // BEHIND_QUOTED
      return blank ? BEFORE_SEMICOLON : ended(byte)
  }
}

function ended(byte: number): number {
  return byte === CR ? LINE_CR : byte === SEMICOLON ? BEFORE_NAME : NO_EXTENSION
}
