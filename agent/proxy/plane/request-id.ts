// Request ids: random UUIDs (RFC 9562 version 4 layout) from a xorshift generator, which is quick; they name, they do not guard.

import type { Random } from '../../model/route.ts'

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** A source of ids, seeded from `random`. */
export function requestIds(random: Random): () => string {
  const state = Uint32Array.from({ length: 4 }, () => Math.floor(random() * 2 ** 32) | 1)
  const bytes = new Uint8Array(16)
  return () => {
    for (let word = 0; word < 4; word++) {
      const bits = next(state)
      for (let i = 0; i < 4; i++) bytes[4 * word + i] = (bits >>> (8 * i)) & 0xff
    }
    bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40
    bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
    let id = ''
    for (let i = 0; i < 16; i++) {
      if (i === 4 || i === 6 || i === 8 || i === 10) id += '-'
      id += HEX[bytes[i] as number] as string
    }
    return id
  }
}

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
