// The commands of a document and what they are said to print: fenced blocks of `sh`, each followed or not by one of `text`.

export interface Block {
  /** Line of the document at which its commands begin, from 1. */
  readonly line: number
  readonly commands: string
  /** Lines that are printed in this order, others between them or not; … stands for anything within a line. */
  readonly prints: readonly string[]
}

/** All blocks of commands of a Markdown text. Throws where a block of `text` follows none, or a fence is not closed. */
export function blocksOf(markdown: string): Block[] {
  const blocks: { line: number; commands: string; prints: string[] }[] = []
  let open: { kind: string; line: number; lines: string[] } | null = null
  for (const [at, line] of markdown.split('\n').entries()) {
    const fence = /^```(\w*)\s*$/.exec(line)
    if (fence === null) {
      open?.lines.push(line)
      continue
    }
    if (open === null) {
      open = { kind: fence[1] ?? '', line: at + 2, lines: [] }
      continue
    }
    const { kind, line: begin, lines } = open
    if (kind === 'sh') blocks.push({ line: begin, commands: lines.join('\n'), prints: [] })
    if (kind === 'text') {
      const last = blocks.at(-1)
      if (last === undefined || last.prints.length > 0) throw new Error(`line ${begin}: output of no commands`)
      last.prints.push(...lines)
    }
    open = null
  }
  if (open !== null) throw new Error(`line ${open.line}: a fence that is not closed`)
  return blocks
}

/** The first line of `prints` that `output` does not have in its place, or null where it has all. */
export function missingIn(output: string, prints: readonly string[]): string | null {
  const lines = output.split('\n')
  let at = 0
  for (const wanted of prints) {
    const parts = wanted.split('…').map((part) => part.trim().replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    const pattern = new RegExp(parts.join('.*'))
    const found = lines.findIndex((line, index) => index >= at && pattern.test(line))
    if (found < 0) return wanted
    at = found + 1
  }
  return null
}
