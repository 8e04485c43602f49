// Texts as policies write them: `abc`, `abc*`, `*abc`, `*`. Compiled once, told apart by length of list no more.

/** How a text of a policy reads: exactly that, what begins or ends so, or whatever is there. */
export interface Pattern {
  readonly kind: 'exact' | 'prefix' | 'suffix' | 'present'
  /** Less its star. */
  readonly text: string
}

/** Reads one text (Istio's string match: a star at the front is looked at first, one in the midst is a letter). */
export function patternOf(value: string): Pattern {
  if (value === '*') return { kind: 'present', text: '' }
  if (value.startsWith('*')) return { kind: 'suffix', text: value.slice(1) }
  if (value.endsWith('*')) return { kind: 'prefix', text: value.slice(0, -1) }
  return { kind: 'exact', text: value }
}

/** Judges a text. */
export type TextTest = (text: string) => boolean

/**
 * Whether one of some patterns matches. `isEmptyPresent` says whether `*` matches the empty text too. Whoever wants the case
 * of letters ignored gives both sides in lower case.
 */
export function patternsTest(patterns: readonly Pattern[], isEmptyPresent: boolean): TextTest {
  const texts = (kind: Pattern['kind']): string[] => {
    return [...new Set(patterns.filter((one) => one.kind === kind).map(({ text }) => text))]
  }
  const exact = texts('exact')
  const prefixes = texts('prefix')
  const suffixes = texts('suffix')
  const isPresent = texts('present').length > 0
  const [only] = exact
  const isOnly = exact.length === 1 && prefixes.length === 0 && suffixes.length === 0 && !isPresent
  if (isOnly) return (text) => text === only
  const all = new Set(exact)
  return (text) => {
    if (isPresent && (isEmptyPresent || text !== '')) return true
    if (all.has(text)) return true
    for (let i = 0; i < prefixes.length; i++) if (text.startsWith(prefixes[i] as string)) return true
    for (let i = 0; i < suffixes.length; i++) if (text.endsWith(suffixes[i] as string)) return true
    return false
  }
}

/** Likewise, of texts as they are written. */
export function textsTest(values: readonly string[], isEmptyPresent: boolean): TextTest {
  return patternsTest(values.map(patternOf), isEmptyPresent)
}

/** Whether a text is one of some in which any star stands for any letters (Istio reads namespaces so). Not for the empty text. */
export function globsTest(values: readonly string[]): TextTest {
  const plain = new Set(values.filter((value) => !value.includes('*')))
  const globs = values.filter((value) => value.includes('*')).map((value) => value.split('*'))
  return (text) => text !== '' && (plain.has(text) || globs.some((parts) => isGlobbed(text, parts)))
}

/** Whether a text is these parts in their order, anything between them. */
function isGlobbed(text: string, parts: readonly string[]): boolean {
  const head = parts[0] as string
  const tail = parts.at(-1) as string
  if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false
  let from = head.length
  for (const part of parts.slice(1, -1)) {
    const at = text.indexOf(part, from)
    if (at < 0) return false
    from = at + part.length
  }
  return from <= text.length - tail.length
}
