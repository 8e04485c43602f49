// Random messages, tampered with, against parser, writer, reference and every kind of split, for a bounded time. Tells how
// many inputs a second and the seed; what it finds, it makes small.

import { seeded } from '../../agent/model/request.fixture.ts'
import { misunderstanding } from './emission.ts'
import { CORPUS, HOWS, mutated, type Mutation } from './mutations.ts'
import { disagreement, slowReading, type Stream } from './readings.ts'

const MOST_MUTATIONS = 6
/** Messages found in a run that are mutated further: those that came far. */
const MOST_KEPT = 512
/** Tries to make a finding smaller. */
const MOST_SHRINKS = 5000

export interface Finding {
  readonly stream: Stream
  readonly why: string
}

/** What a run came to. */
export interface FuzzRun {
  readonly inputs: number
  /** Inputs by what the reference says of their head. */
  readonly verdicts: Readonly<Record<string, number>>
  readonly finding: Finding | null
}

/** Why a message shows a fault, or null. `random` picks where it is split. */
export function fault(stream: Stream, random: () => number): string | null {
  const split = (): number[] => {
    const cuts = Array.from({ length: 1 + Math.floor(random() * 4) }, () => Math.floor(random() * stream.text.length))
    return [...new Set(cuts)].sort((a, b) => a - b)
  }
  return disagreement(stream, [split(), split()]) ?? misunderstanding(stream)
}

/** Tries inputs until `stop` says so, given how many there were, or one shows a fault. The same seed gives the same inputs. */
export function fuzz(seed: number, stop: (inputs: number) => boolean): FuzzRun {
  const random = seeded(seed)
  const below = (bound: number): number => Math.floor(random() * bound)
  const kept: Stream[] = [...CORPUS]
  const verdicts: Record<string, number> = {}
  let inputs = 0
  while (!stop(inputs)) {
    const from = kept[below(below(2) === 0 ? CORPUS.length : kept.length)] as Stream
    const mutations = Array.from({ length: 1 + below(MOST_MUTATIONS) }, (): Mutation => {
      return { how: HOWS[below(HOWS.length)] ?? 'insert', at: below(65536), what: below(65536) }
    })
    const stream = { ...from, text: mutated(from.text, mutations) }
    inputs++
    const why = fault(stream, random)
    if (why !== null) return { inputs, verdicts, finding: smallest({ stream, why }, random) }
    const { verdict } = slowReading(stream)
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
    if (verdict === 'done' && stream.text.length < 1000 && below(8) === 0) {
      if (kept.length < MOST_KEPT) kept.push(stream)
      else kept[CORPUS.length + below(MOST_KEPT - CORPUS.length)] = stream
    }
  }
  return { inputs, verdicts, finding: null }
}

/** Takes away what the fault does not need. */
function smallest(found: Finding, random: () => number): Finding {
  let least = found
  let tries = 0
  for (let size = least.stream.text.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < least.stream.text.length && tries < MOST_SHRINKS; tries++) {
      const { text } = least.stream
      const stream = { ...least.stream, text: text.slice(0, at) + text.slice(at + size) }
      const why = fault(stream, random)
      if (why === null) at += size
      else least = { stream, why }
    }
  }
  return least
}

/** A run as it is told. */
export function report(seed: number, { inputs, verdicts, finding }: FuzzRun, ms: number): string {
  const rate = Math.round((1000 * inputs) / ms)
  const line = `seed ${seed}: ${inputs} inputs in ${(ms / 1000).toFixed(1)} s, ${rate} a second; ${JSON.stringify(verdicts)}`
  if (finding === null) return line
  const { kind, method, text } = finding.stream
  return `${line}\nFOUND, as a ${kind}${method === '' ? '' : ` to ${method}`}: ${JSON.stringify(text)}\n${finding.why}`
}
