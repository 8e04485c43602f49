// Durations as protobuf's JSON and Go write them in policies: `7s`, `0.5s`, `1h30m`, `250ms`.

const UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
}
/** What a timer of the runtime can hold, some 24 days: a longer duration is as long as that. */
export const LONGEST_MS = 2 ** 31 - 1
const PART = /^(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)/

/** Milliseconds of a non-negative duration, `most` at most; or null where the text is not one. */
export function parseDuration(text: string, most = LONGEST_MS): number | null {
  if (text === '') return null
  if (text === '0') return 0
  let rest = text
  let total = 0
  while (rest !== '') {
    const part = PART.exec(rest)
    if (part === null) return null
    total += Number(part[1]) * (UNIT_MS[part[2] as string] as number)
    rest = rest.slice(part[0].length)
  }
  return Math.min(total, most)
}
