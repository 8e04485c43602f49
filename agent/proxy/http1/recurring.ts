// Texts that mostly are the same from one request of a connection to the next: no new string is made of them then.

/** Longer ones are not remembered: a connection may stay for hours. */
const LONGEST = 256

export class Recurring {
  #last = ''

  /** Text of `bytes[from, to)`, one character a byte. */
  of(bytes: Buffer, from: number, to: number): string {
    const last = this.#last
    if (to - from === last.length && isText(bytes, from, last)) return last
    const text = bytes.toString('latin1', from, to)
    if (text.length <= LONGEST) this.#last = text
    return text
  }
}

/** What the requests of a connection mostly say alike. */
export class Said {
  readonly method = new Recurring()
  readonly host = new Recurring()
  readonly userAgent = new Recurring()
  readonly forwardedFor = new Recurring()
  /** The last Host that was found to name a host. */
  soundHost: string | null = null
}

function isText(bytes: Buffer, from: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text.charCodeAt(i)) return false
  return true
}
