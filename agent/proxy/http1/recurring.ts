// Texts that mostly are the same from one request to the next, of one connection or another: no new string is made of them
// then. Kept once for all connections of a worker, for there are thousands that say the same, and rest.

/** Longer ones are not remembered. */
const LONGEST = 256
/** Texts of a kind that are remembered; of those that meet at one place the last one is. */
const PLACES = 128

export class Recurring {
  readonly #texts: string[] = new Array<string>(PLACES).fill('')

  /** Text of `bytes[from, to)`, one character a byte. */
  of(bytes: Buffer, from: number, to: number): string {
    const length = to - from
    if (length === 0 || length > LONGEST) return bytes.toString('latin1', from, to)
    const middle = bytes[from + (length >> 1)] as number
    const place = (length + 7 * (bytes[to - 1] as number) + 31 * middle) & (PLACES - 1)
    const last = this.#texts[place] as string
    return length === last.length && isText(bytes, from, last)
      ? last
      : (this.#texts[place] = bytes.toString('latin1', from, to))
  }
}

/** What requests mostly say alike. */
export const SAID = {
  method: new Recurring(),
  host: new Recurring(),
  userAgent: new Recurring(),
  forwardedFor: new Recurring(),
} as const

function isText(bytes: Buffer, from: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text.charCodeAt(i)) return false
  return true
}
