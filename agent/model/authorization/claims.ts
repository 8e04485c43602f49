// What policies see of a request's tokens.

import type { Token } from '../authentication/request-authentication.ts'
import type { Look } from './look.ts'
import { type TextTest, textsTest } from './pattern.ts'

type Test = (look: Look) => boolean

/** Claims whose text is a list with spaces between, whatever a rule says (Istio spaceDelimitedClaims). */
const SPACED: ReadonlySet<string> = new Set(['scope', 'permission'])

/**
 * Whether a token has a claim that one of the values matches: of a list, any member. Envoy compares texts alone. So does an
 * ALLOW; a DENY (`isWide`) takes numbers and booleans for their text too, and a list in one text for all of it besides.
 */
export function claimTest(path: readonly string[], values: readonly string[], isWide: boolean): Test {
  const test = textsTest(values, isWide)
  const name = path.join('.')
  return (look) => {
    const tokens = look.request?.tokens ?? []
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i] as Token
      const value = claimOf(token, path)
      const isSpaced = SPACED.has(name) || token.rule.spaceDelimitedClaims.includes(name)
      if (isMatched(value, isSpaced, isWide, test)) return true
    }
    return false
  }
}

/** All texts that a value without a star may find there, and more. */
export function claimTexts(path: readonly string[], tokens: readonly Token[]): readonly string[] {
  const members = tokens.flatMap((token) => claimOf(token, path)).filter((one) => typeof one !== 'object')
  return members.map(String).flatMap((text) => (text.includes(' ') ? [text, ...text.split(' ')] : [text]))
}

/** Undefined: it has none. */
function claimOf({ claims }: Token, path: readonly string[]): unknown {
  let value: unknown = claims
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name))
      return undefined
    value = (value as Readonly<Record<string, unknown>>)[name]
  }
  return value
}

function isMatched(value: unknown, isSpaced: boolean, isWide: boolean, test: TextTest): boolean {
  if (Array.isArray(value)) return value.some((member) => isTextMatched(member, isWide, test))
  if (typeof value !== 'string' || !isSpaced) return isTextMatched(value, isWide, test)
  return (isWide && test(value)) || value.split(' ').some((member) => member !== '' && test(member))
}

function isTextMatched(value: unknown, isWide: boolean, test: TextTest): boolean {
  if (typeof value === 'string') return test(value)
  return isWide && (typeof value === 'number' || typeof value === 'boolean') && test(String(value))
}

/** What a value says of issuer and subject, as Istio takes it apart: at its last slash, for an issuer may have some. */
interface PrincipalTests {
  readonly issuer: TextTest
  readonly subject: TextTest
}

/**
 * Whether a token is of one of these principals (`ISSUER/SUBJECT`). A subject may have slashes too: a DENY (`isWide`) looks
 * at the whole text besides, so that none is missed, and finds those that have no subject where any will do.
 */
export function principalTest(values: readonly string[], isWide: boolean): Test {
  const pairs = values.map((value) => pairOf(value, isWide))
  const whole = textsTest(values, true)
  const isOne = ({ issuer, subject }: Token): boolean => {
    if (subject === null && !isWide) return false
    if (isWide && whole(`${issuer}/${subject ?? ''}`)) return true
    return pairs.some((pair) => pair.issuer(issuer) && pair.subject(subject ?? ''))
  }
  return (look) => look.request?.tokens.some(isOne) ?? false
}

function pairOf(value: string, isWide: boolean): PrincipalTests {
  const slash = value.lastIndexOf('/')
  const test = (text: string): TextTest => textsTest([text], isWide)
  if (slash >= 0)
    return { issuer: issuerTest(value.slice(0, slash), isWide), subject: subjectTest(value, slash, isWide) }
  if (value.startsWith('*')) return { issuer: test('*'), subject: test(value) }
  return { issuer: test(value), subject: value.endsWith('*') ? test('*') : test('') }
}

/** A star at the end of an issuer is a letter: it is the subject behind that is open there. */
function issuerTest(text: string, isWide: boolean): TextTest {
  return text.startsWith('*') ? textsTest([text], isWide) : (issuer) => issuer === text
}

/** One star a value: a subject's counts where the issuer has none. */
function subjectTest(value: string, slash: number, isWide: boolean): TextTest {
  const text = value.slice(slash + 1)
  if (value.startsWith('*') || !text.endsWith('*')) return (subject) => subject === text
  return text === '*' ? textsTest(['*'], isWide) : (subject) => subject.startsWith(text.slice(0, -1))
}
