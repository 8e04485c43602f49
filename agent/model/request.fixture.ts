// Requests and random numbers for tests: what is not said is what a plain GET has.

import type { RequestFacts } from './http/match.ts'
import type { Random } from './chance.ts'

/** A request by its facts; header names in any case. */
export function request(
  wish: Partial<Omit<RequestFacts, 'header'>> & { readonly headers?: Readonly<Record<string, string>> } = {},
): RequestFacts {
  const { headers = {}, ...facts } = wish
  const byName = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  return {
    method: 'GET',
    target: '/',
    authority: 'reviews',
    scheme: 'http',
    port: 80,
    ...facts,
    header: (name) => byName.get(name),
  }
}

/** Random numbers in [0, 1) that are the same for the same seed (a 32-bit mix after Weyl's sequence). */
export function seeded(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32
  }
}

/** Random numbers as listed, over and over. */
export function drawn(...numbers: readonly [number, ...number[]]): Random {
  let next = 0
  return () => numbers[next++ % numbers.length] as number
}
