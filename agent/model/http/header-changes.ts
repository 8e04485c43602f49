// What rules change in heads, put together for whoever writes them: pure.

import type { HeaderChanges } from '../policy.ts'

/**
 * Fields that no rule may change: they frame a message, steer its connection, or say what the mesh alone may say. Host is
 * no field like others: a rule that sets it sets the authority.
 */
export const UNCHANGEABLE: ReadonlySet<string> = new Set([
  ...['host', 'content-length', 'transfer-encoding', 'connection', 'proxy-connection', 'keep-alive'],
  ...['upgrade', 'te', 'trailer', 'x-forwarded-client-cert'],
])

/** Characters of names and values together that a rule or destination may have one head get; one with more is refused. */
export const CHANGES_LIMIT = 16 * 1024

/** All changes of a head as one. */
export interface HeadEdit {
  /** Names in lower case: no line of theirs leaves that came. */
  readonly gone: ReadonlySet<string>
  /** Whole lines that leave behind those that came, one character a byte. */
  readonly lines: string
}

const EDITS = new WeakMap<readonly HeaderChanges[], HeadEdit>()

/** Changes in the order in which they are made, as one; null for none. Put together once for one and the same array. */
export function headEdit(changes: readonly HeaderChanges[]): HeadEdit | null {
  if (changes.length === 0) return null
  let edit = EDITS.get(changes)
  if (edit === undefined) EDITS.set(changes, (edit = putTogether(changes)))
  return edit
}

/** By hand from the last to the first: what is removed or set later takes away what was added before. */
function putTogether(changes: readonly HeaderChanges[]): HeadEdit {
  const gone = new Set<string>()
  let lines = ''
  for (const { remove, set, add } of changes.toReversed()) {
    const last = new Map(set)
    const own = [...last, ...add].filter(([name]) => !gone.has(name))
    lines = own.map(([name, value]) => fieldLine(name, value)).join('') + lines
    for (const name of [...remove, ...last.keys()]) if (!UNCHANGEABLE.has(name)) gone.add(name)
  }
  return { gone, lines }
}

/** A field as it is written, one character a byte; '' where it may not be: it would be another field, or none. */
export function fieldLine(name: string, value: string): string {
  return isSendable(name, value) ? `${name}: ${wireOf(value)}\r\n` : ''
}

/** Whether fieldLine() writes a field at all. */
export function isSendable(name: string, value: string): boolean {
  return !UNCHANGEABLE.has(name) && NAME.test(name) && VALUE.test(value)
}

/** RFC 9110 §5.1 (token), §5.5: no control but the tab. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const VALUE = /^[^\0-\x08\n-\x1f\x7f]*$/
const BEYOND_ASCII = /[^\0-\x7f]/
const BEYOND_BYTES = /[^\0-\xff]/

/** A text as it leaves: UTF-8, as the object was written in, one character a byte, as texts of heads are that came. */
export function wireOf(text: string): string {
  if (!BEYOND_ASCII.test(text)) return text
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('')
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text that wireOf() makes this of, where there is one: what came is to leave as it came. What is text already stays. */
export function textOf(wire: string): string {
  if (!BEYOND_ASCII.test(wire) || BEYOND_BYTES.test(wire)) return wire
  try {
    return UTF8.decode(Uint8Array.from(wire, (char) => char.charCodeAt(0)))
  } catch {
    return wire
  }
}
