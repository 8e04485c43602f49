// How servers read a path. What is denied at `/admin` must not be had at `//admin`, `/x/../admin`, `/%61dmin`, `/x/..%2Fadmin`
// or `/admin;v=1`, and nobody here knows which of these the application takes for the same. So a path that can be read in more
// than one way is judged in all of them:
//
// - What a rule of DENY, CUSTOM or AUDIT looks for is there if any reading has it, in any case of letters.
// - What a rule of ALLOW looks for is there only if every reading has it, to the letter.
// - What either excludes (`notPaths`) is judged the other way about: an ALLOW does not hold if any reading is excluded, a
//   DENY holds unless all readings are.
//
// Whichever reading is the application's, it gets nothing but what it would get of that reading. Most paths have only one.
// A slash at the end is another resource (RFC 3986 §6.2.3 says no more than that it may be none), as Istio has it.

import type { PathNormalization } from '../mesh-settings.ts'

const NO_MORE: readonly string[] = []

/** How often escapes are decoded one by one, before all that still are some are decoded at once. */
const DECODED_MOST = 3

const PERCENT = 0x25
const DOT = 0x2e
const SLASH = 0x2f
const QUERY = 0x3f
const BACKSLASH = 0x5c
const PARAMETER = 0x3b
const FRAGMENT = 0x23

const NO_DIGIT = 255
const NO_ESCAPE = -1

const ENDS = /[#?\0]/
const PARAMETERS = /;[^/\\]*/g

/** Signs that no path needs which has one reading alone. */
const TRICKS = new Uint8Array(128)
for (const code of [0, PERCENT, BACKSLASH, PARAMETER, FRAGMENT]) TRICKS[code] = 1

/** Whether the path of a target has nothing in it that servers read differently. One look at each letter, up to the query. */
export function isPlain(target: string): boolean {
  const { length } = target
  for (let at = 0; at < length; at++) {
    const code = target.charCodeAt(at)
    if (code === QUERY) return true
    if (code < 128 && TRICKS[code] === 1) return false
    if (code !== SLASH || at + 1 === length) continue
    const next = target.charCodeAt(at + 1)
    if (next === SLASH || (next === DOT && isDots(target, at + 2))) return false
  }
  return true
}

/** Whether what begins with a dot just before `at` may be a dot segment, and no name as `.well-known`. */
function isDots(target: string, at: number): boolean {
  if (at >= target.length) return true
  const code = target.charCodeAt(at)
  return code === SLASH || code === DOT || code === QUERY || (code < 128 && TRICKS[code] === 1)
}

/**
 * All other texts that a server may take a path for, by any of: escapes decoded, of unreserved letters alone (RFC 3986
 * §6.2.2.2), of all, and again of what came of it; path parameters taken out (§3.3), before that or after it, all from a
 * fragment, an escaped `?` or a zero byte on cut off; `\` taken for `/`; dot segments resolved (§5.2.4), slashes in a row
 * merged, before or after that. The same empty list where there are none. Bytes that are no ASCII are one letter each.
 */
export function readings(path: string): readonly string[] {
  if (isPlain(path)) return NO_MORE
  const found = new Set<string>()
  const begun = new Set(STRIPS.map(({ whole }) => whole(path)))
  const decoded = new Set([...begun].flatMap(decodings))
  const bare = new Set([...decoded].flatMap((one) => BARES.map(({ whole }) => whole(one))))
  for (const one of bare) {
    if (!SHAPED.test(one)) found.add(one)
    else for (const { whole } of SHAPES) found.add(whole(one))
  }
  found.delete(path)
  return [...found]
}

/** What a server may do to a text: to a whole path, and to what is a part of one. A part has no end, and no dots to resolve. */
export interface Way {
  readonly whole: (text: string) => string
  readonly part: (text: string) => string
}

/** As it is, and less its parameters before anything is decoded in it: what is escaped in them is never seen. */
const STRIPS: readonly Way[] = [
  { whole: (text) => text, part: (text) => text },
  { whole: withoutParameters, part: withoutClosedParameters },
]

/**
 * A text in the ways of decoding it: not at all, unreserved letters alone, all, all of what came of it, …, whatever is left.
 * Fewer, where nothing is left earlier.
 */
function decodings(text: string): readonly string[] {
  if (!text.includes('%')) return [text]
  const found = [text, unreservedDecoded(text)]
  let decoded = text
  for (let time = 0; time < DECODED_MOST; time++) {
    const next = allDecoded(decoded)
    if (next === decoded) return found
    found.push((decoded = next))
  }
  found.push(plainest(decoded))
  return found
}

/** The same one by one, by their place in it. */
const DECODERS = Array.from({ length: DECODED_MOST + 3 }, (_, at) => (text: string): string => {
  const found = decodings(text)
  return found[Math.min(at, found.length - 1)] as string
})

/** Whole, less what ends it early, and less its parameters besides. */
const BARES: readonly Way[] = [
  { whole: (text) => text, part: (text) => text },
  { whole: untilEnd, part: (text) => text },
  { whole: (text) => withoutParameters(untilEnd(text)), part: withoutClosedParameters },
]

/** What may be other in another shape. */
const SHAPED = /\\|\/[./]/

/** As it is, dots resolved, slashes merged after that, and before. */
const SHAPES: readonly Way[] = [
  { whole: (text) => text, part: (text) => text },
  { whole: (text) => withoutDots(slashed(text)), part: slashed },
  { whole: (text) => merged(withoutDots(slashed(text))), part: (text) => merged(slashed(text)) },
  { whole: (text) => withoutDots(merged(slashed(text))), part: (text) => merged(slashed(text)) },
]

/** All that readings() does, one by one. */
export const WAYS: readonly Way[] = STRIPS.flatMap((strip) => {
  return DECODERS.flatMap((decode) => {
    return BARES.flatMap((bare) => {
      return SHAPES.map((shape) => ({
        whole: (text: string) => shape.whole(bare.whole(decode(strip.whole(text)))),
        part: (text: string) => shape.part(bare.part(decode(strip.part(text)))),
      }))
    })
  })
})

function withoutParameters(text: string): string {
  return text.includes(';') ? text.replace(PARAMETERS, '') : text
}

/** Less those parameters that the segment ends behind. */
function withoutClosedParameters(text: string): string {
  const end = Math.max(text.lastIndexOf('/'), text.lastIndexOf('\\'), 0)
  return withoutParameters(text.slice(0, end)) + text.slice(end)
}

/** By byte: whether it is an unreserved letter (RFC 3986 §2.3); whether it is any. */
const UNRESERVED = Uint8Array.from({ length: 256 }, (_, code) => Number(/[\w.~-]/.test(String.fromCharCode(code))))
const ANY = new Uint8Array(256).fill(1)

/** What a byte is as a hexadecimal digit; 255: it is none. */
const DIGITS = Uint8Array.from({ length: 256 }, (_, code) => {
  const digit = Number.parseInt(String.fromCharCode(code), 16)
  return Number.isNaN(digit) ? NO_DIGIT : digit
})

function unreservedDecoded(text: string): string {
  const bytes = Buffer.from(text, 'latin1')
  return read(bytes, decodedOnce(bytes, UNRESERVED), text)
}

function allDecoded(text: string): string {
  const bytes = Buffer.from(text, 'latin1')
  return read(bytes, shortened(bytes, decodedOnce(bytes, ANY)), text)
}

/** Decodes until nothing is left to decode, in time proportional to the length: `%25252e` costs no more than `%2e`. */
function plainest(text: string): string {
  const bytes = Buffer.from(text, 'latin1')
  let size = 0
  for (const byte of bytes) {
    bytes[size++] = byte
    for (;;) {
      const value = size < 3 ? NO_ESCAPE : escapedAt(bytes, size - 3)
      if (value === NO_ESCAPE) break
      size -= 2
      bytes[size - 1] = value
    }
  }
  return read(bytes, shortened(bytes, size), text)
}

/** The first `size` bytes as text: the same where it is as long. */
function read(bytes: Buffer, size: number, text: string): string {
  return size === text.length ? text : bytes.toString('latin1', 0, size)
}

/** Decodes escapes of those bytes in place, each once; how many bytes are left. */
function decodedOnce(bytes: Buffer, taken: Uint8Array): number {
  const { length } = bytes
  let size = 0
  for (let at = 0; at < length; at++) {
    const value = at + 2 < length ? escapedAt(bytes, at) : NO_ESCAPE
    if (value === NO_ESCAPE || taken[value] === 0) bytes[size++] = bytes[at] as number
    else {
      bytes[size++] = value
      at += 2
    }
  }
  return size
}

/** Takes ASCII that stands in two bytes for what it is, in place, as some do, though UTF-8 forbids it (RFC 3629 §3). */
function shortened(bytes: Buffer, length: number): number {
  let size = 0
  for (let at = 0; at < length; at++) {
    const byte = bytes[at] as number
    const next = at + 1 < length ? (bytes[at + 1] as number) : 0
    const isOverlong = (byte === 0xc0 || byte === 0xc1) && next >> 6 === 2
    bytes[size++] = isOverlong ? ((byte & 3) << 6) | (next & 0x3f) : byte
    if (isOverlong) at++
  }
  return size
}

/** The byte that an escape stands for. */
function escapedAt(bytes: Buffer, at: number): number {
  if (bytes[at] !== PERCENT) return NO_ESCAPE
  const high = DIGITS[bytes[at + 1] as number] as number
  const low = DIGITS[bytes[at + 2] as number] as number
  return high === NO_DIGIT || low === NO_DIGIT ? NO_ESCAPE : (high << 4) | low
}

function untilEnd(text: string): string {
  const end = text.search(ENDS)
  return end < 0 ? text : text.slice(0, end)
}

function slashed(text: string): string {
  return text.replaceAll('\\', '/')
}

/** A path less its dot segments (RFC 3986 §5.2.4); what does not begin with a slash is none. */
function withoutDots(path: string): string {
  if (!path.startsWith('/') || !path.includes('/.')) return path
  const segments = path.split('/')
  const kept: string[] = []
  for (let at = 1; at < segments.length; at++) {
    const segment = segments[at] as string
    const isDot = segment === '.' || segment === '..'
    if (segment === '..') kept.pop()
    if (!isDot) kept.push(segment)
    else if (at === segments.length - 1) kept.push('')
  }
  return `/${kept.join('/')}`
}

function merged(path: string): string {
  return path.includes('//') ? path.replace(/\/{2,}/g, '/') : path
}

/**
 * A request target as it goes on, by the mesh's pathNormalization: the same text where nothing changes, null where it cannot
 * be meant (a zero byte, as Istio refuses it whatever is set, or a fragment). BASE decodes the escapes of unreserved letters,
 * takes `\` for `/` and resolves dot segments, as Envoy's normalize_path; DECODE_AND_MERGE_SLASHES decodes `%2F` and `%5C`
 * before. Once: what is an escape only then, stays one. The query is not touched, nor is what is no path (`*`, host:port).
 */
export function normalizedTarget(target: string, how: PathNormalization): string | null {
  if (isPlain(target) || !target.startsWith('/')) return target
  const query = target.indexOf('?')
  const sent = query < 0 ? target : target.slice(0, query)
  if (/#|\0|%00/.test(sent)) return null
  if (how === 'NONE') return target
  let path = sent
  if (how === 'DECODE_AND_MERGE_SLASHES') path = path.replace(/%2f/gi, '/').replace(/%5c/gi, '\\')
  path = withoutDots(unreservedDecoded(path).replaceAll('\\', '/'))
  if (how !== 'BASE') path = merged(path)
  if (path === sent) return target
  return query < 0 ? path : path + target.slice(query)
}
