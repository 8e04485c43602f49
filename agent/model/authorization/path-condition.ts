// What a policy's `paths` look for, in a path that may be read in several ways (path.ts says why, and what of that counts).

import { wireOf } from '../http/header-changes.ts'
import type { Look } from './look.ts'
import { isPlain, type Way, WAYS } from './path.ts'
import { isOfTemplate, isTemplate, type PathTemplate, templateOf } from './path-template.ts'
import { type Pattern, patternOf, patternsTest, type TextTest } from './pattern.ts'

type Test = (look: Look) => boolean

/** A value in one of the ways in which it is looked for. */
type Spelling = Pattern | { readonly kind: 'template'; readonly template: PathTemplate }

/** Whether one of the values is found in any reading, in any case of letters. */
export function widePathTest(values: readonly string[]): Test {
  const isFound = spellingsTest(values.flatMap(wideSpellings), true)
  return (look) => {
    if (isFound(look.folded)) return true
    const others = look.foldedOthers
    for (let i = 0; i < others.length; i++) if (isFound(others[i] as string)) return true
    return false
  }
}

/**
 * Whether every reading is found among the values, to the letter. A value that can be read in several ways itself is read as
 * the path is: what a server takes the path for must be among what the same server takes the values for.
 */
export function narrowPathTest(values: readonly string[]): Test {
  const written = values.map((value) => respelled(value, wireOf))
  const isWritten = spellingsTest(written, false)
  const isOdd = written.some((one) => !lettersOf(one).every(isPlain))
  const byWay: TextTest[] = [] // seldom needed, and made only then
  return (look) => {
    if (!isWritten(look.path)) return false
    const { others, path } = look
    if (others.length === 0) return true
    if (!isOdd) return others.every(isWritten)
    return WAYS.every((way, at) => (byWay[at] ??= wayTest(written, way))(way.whole(path)))
  }
}

function wayTest(written: readonly Spelling[], { whole, part }: Way): TextTest {
  const read = (one: Spelling): Spelling => {
    if (one.kind === 'template') {
      return { kind: 'template', template: { ...one.template, literals: one.template.literals.map(part) } }
    }
    return { kind: one.kind, text: one.kind === 'exact' ? whole(one.text) : part(one.text) }
  }
  return spellingsTest(written.map(read), false)
}

function lettersOf(one: Spelling): readonly string[] {
  return one.kind === 'template' ? one.template.literals : [one.text]
}

/**
 * A value in the ways in which it is looked for in any reading, in lower case: as written, and with those escapes decoded
 * that are letters and no more. An escaped slash, dot, percent sign or whatever else has a meaning stays: who denies `/a%2F*`
 * does not mean all of `/a/`.
 */
function wideSpellings(value: string): readonly Spelling[] {
  const decode = (text: string): string => {
    return text.replace(/%(?!2[35ef]|3[bf]|5c|00)([0-9a-f]{2})/gi, (_, hex: string) => {
      return String.fromCharCode(Number.parseInt(hex, 16))
    })
  }
  const written = respelled(value, (text) => wireOf(text).toLowerCase())
  return value.includes('%') ? [written, respelled(value, (text) => decode(wireOf(text)).toLowerCase())] : [written]
}

/** A value whose letters, but for its operators, are `spell`ed. */
function respelled(value: string, spell: (text: string) => string): Spelling {
  if (!isTemplate(value)) {
    const { kind, text } = patternOf(value)
    return { kind, text: spell(text) }
  }
  const { literals, isOpen } = templateOf(value)
  return { kind: 'template', template: { literals: literals.map(spell), isOpen } }
}

function spellingsTest(spellings: readonly Spelling[], isWide: boolean): TextTest {
  const patterns: Pattern[] = []
  const templates: PathTemplate[] = []
  for (const one of spellings) {
    if (one.kind === 'template') templates.push(one.template)
    else patterns.push(one)
  }
  const isOne = patternsTest(patterns, isWide)
  if (templates.length === 0) return isOne
  return (text) => isOne(text) || templates.some((template) => isOfTemplate(text, template, isWide))
}

/**
 * What a path begins with, or is, that a value may be found in, in lower case and of any reading: looking that up spares most
 * tests. Null: nothing can be said.
 */
export function pathKeysOf(value: string): readonly Pattern[] | null {
  const keys = wideSpellings(value).map((one): Pattern => {
    return one.kind === 'template' ? { kind: 'prefix', text: one.template.literals[0] as string } : one
  })
  return keys.every(({ kind }) => kind === 'exact' || kind === 'prefix') ? keys : null
}
