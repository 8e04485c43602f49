// Which failures a rule has tried again.

import { type Retries, RETRY_WORDS, type RetryWord } from '../../model/policy.ts'
import type { GivenRetries } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { duration, optional, type Reading } from './checked.ts'

/** Words of Envoy that are known, and mean nothing here. */
const IDLE_WORDS: Readonly<Record<string, string>> = {
  'retriable-headers': 'retriable-headers is not honoured: no field of a rule names such headers',
  'http3-post-connect-failure': 'http3-post-connect-failure is not honoured: HTTP/3 is not spoken to endpoints',
}

export function retries(given: GivenRetries, path: string, reading: Reading): Retries {
  const { attempts = 0 } = given // not said is none, as protobuf cannot tell them apart: Istio retries nothing then
  if (attempts < 0) throw new Rejected(`${path}.attempts`, 'must not be negative')
  const perTryMs = optional(given.perTryTimeout, `${path}.perTryTimeout`, duration)
  if (attempts === 0) demandSilence(given, path, reading)
  const said = given.retryOn ? retryOn(given.retryOn, `${path}.retryOn`, reading) : null
  return {
    attempts,
    perTryMs,
    on: said === null ? null : said.words,
    statuses: said === null ? [] : said.statuses,
    backoffMs: optional(given.backoff, `${path}.backoff`, duration),
    ignorePrevious: given.retryIgnorePreviousHosts ?? null,
    remoteLocalities: given.retryRemoteLocalities ?? null,
  }
}

/** Without attempts there is nothing for the others to say: Istio refuses three of them, and passes two over. */
function demandSilence(given: GivenRetries, path: string, { report }: Reading): void {
  const { perTryTimeout, retryOn: on, retryRemoteLocalities, backoff, retryIgnorePreviousHosts } = given
  if (perTryTimeout !== undefined || on || retryRemoteLocalities !== undefined) {
    throw new Rejected(`${path}.attempts`, 'is 0 or not given, which leaves nothing for the other fields to say')
  }
  for (const [name, value] of Object.entries({ backoff, retryIgnorePreviousHosts })) {
    if (value !== undefined) report(`${path}.${name}`, 'has no effect without attempts')
  }
}

/** Words and statuses between commas. Statuses need no word beside them (Istio adds `retriable-status-codes`). */
function retryOn(
  text: string,
  path: string,
  { report }: Reading,
): { readonly words: readonly RetryWord[]; readonly statuses: readonly number[] } {
  const words = new Set<RetryWord>()
  const statuses = new Set<number>()
  for (const part of text.split(',')) {
    const word = part.trim()
    if (word === '') continue
    const known = RETRY_WORDS.find((one) => one === word)
    const idle = Object.hasOwn(IDLE_WORDS, word) ? IDLE_WORDS[word] : undefined
    if (known !== undefined) words.add(known)
    else if (idle !== undefined) report(path, idle)
    else if (/^[1-5]\d\d$/.test(word)) statuses.add(Number(word))
    else throw new Rejected(path, `'${word}' is no condition for a retry`)
  }
  return { words: [...words], statuses: [...statuses] }
}
