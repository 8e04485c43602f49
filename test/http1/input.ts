// A text that a grammar is held against, character by character: how the slow reference reads.

/** Thrown where the text ends before the grammar does, or says what the grammar does not. */
export class Verdict extends Error {
  readonly verdict: string

  constructor(verdict: string) {
    super(verdict)
    this.verdict = verdict
  }
}

export class Input {
  readonly text: string
  at = 0
  /** From here on every character is one too many. */
  end = Infinity

  constructor(text: string) {
    this.text = text
  }

  /** The next character, still to be taken. Throws `more` at the end of the text. */
  peek(): string {
    if (this.at >= this.text.length) throw new Verdict('more')
    if (this.at >= this.end) throw new Verdict('bad')
    return this.text[this.at] as string
  }

  /** Takes one character of a set. */
  one(set: RegExp): string {
    const next = this.peek()
    if (!set.test(next)) throw new Verdict('bad')
    this.at++
    return next
  }

  /** Takes characters of a set until one that is not of it, which must be there. */
  many(set: RegExp): string {
    let taken = ''
    while (set.test(this.peek())) taken += this.one(set)
    return taken
  }

  /** Takes exactly this. */
  literal(wanted: string): void {
    for (const character of wanted) {
      if (this.peek() !== character) throw new Verdict('bad')
      this.at++
    }
  }
}

/** What `read` returns, or the verdict that it throws. */
export function attempt<T>(read: () => T): T | string {
  try {
    return read()
  } catch (thrown) {
    if (thrown instanceof Verdict) return thrown.verdict
    throw thrown
  }
}
