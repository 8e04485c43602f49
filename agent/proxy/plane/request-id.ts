// Request ids: random UUIDs (RFC 9562 version 4 layout) from a xorshift generator, which is quick; they name, they do not guard.

import type { Random } from '../../model/chance.ts'

const DIGITS = Buffer.from('0123456789abcdef', 'latin1')
const LENGTH = 36
/** Where in the text each byte's two digits stand: between them are the hyphens of 8-4-4-4-12. */
const PLACES = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34]

/** A source of ids, seeded from `random`. */
export function requestIds(random: Random): () => string {
  const state = Uint32Array.from({ length: 4 }, () => Math.floor(random() * 2 ** 32) | 1)
  const text = Buffer.alloc(LENGTH, '-')
  return () => {
    for (let word = 0; word < 4; word++) {
      let bits = next(state)
      for (let byte = 4 * word; byte < 4 * word + 4; byte++, bits >>>= 8) {
        const at = PLACES[byte] as number
        text[at] = DIGITS[(bits >>> 4) & 0xf] as number
        text[at + 1] = DIGITS[bits & 0xf] as number
      }
    }
    text[VERSION] = 0x34
    text[VARIANT] = DIGITS[8 + ((state[0] as number) & 3)] as number
    return text.toString('latin1')
  }
}

/** Where the version (4) and the variant (8 to b) stand. */
const VERSION = 14
const VARIANT = 19

/** xorshift128 (Marsaglia 2003). */
function next(state: Uint32Array): number {
  let t = state[3] as number
  const s = state[0] as number
  state[3] = state[2] as number
  state[2] = state[1] as number
  state[1] = s
  t ^= t << 11
  t ^= t >>> 8
  return (state[0] = (t ^ s ^ (s >>> 19)) >>> 0)
}
