// What a pod asks of its capture, read from its annotations, its namespace's, and its spec.

import type { Problem } from '../model/policy.ts'
import { type CaptureTerms, onLossOf, parseCidr, parsePort, TERM_CIDRS_MAX, TERM_PORTS_MAX } from '../model/terms.ts'
import type { ObjectRef } from '../model/workload.ts'
import type { KubeObject, Metadata, Pod } from './object.ts'
import { probePortsOf } from './probes.ts'
import { refOf } from './translate.ts'

export const EXCLUDE_OUTBOUND_PORTS = 'weft.dev/exclude-outbound-ports'
export const EXCLUDE_OUTBOUND_CIDRS = 'weft.dev/exclude-outbound-cidrs'
export const EXCLUDE_INBOUND_PORTS = 'weft.dev/exclude-inbound-ports'
export const ON_AGENT_LOSS = 'weft.dev/on-agent-loss'

/** Bad entries that a problem quotes, and how much of each: an annotation may be 256 KiB long. */
const QUOTED_MAX = 3
const QUOTED_LENGTH_MAX = 40

/** The terms of a pod, and what of its wishes could not be understood. */
export interface TermsRead {
  readonly terms: CaptureTerms
  readonly problems: readonly Problem[]
}

/** A wish, and where it stands. */
interface Wish {
  readonly text: string
  readonly object: ObjectRef
  readonly field: string
}

/** How the entries of one kind of list are read. */
interface Entries<T> {
  /** What an entry must be, as a user is told. */
  readonly wanted: string
  readonly max: number
  readonly parse: (text: string) => T | null
  readonly order: (a: T, b: T) => number
}

const PORTS: Entries<number> = {
  wanted: 'a port from 1 to 65535 (ranges are not supported)',
  max: TERM_PORTS_MAX,
  parse: parsePort,
  order: (a, b) => a - b,
}
const CIDRS: Entries<string> = {
  wanted: 'an IP address or CIDR',
  max: TERM_CIDRS_MAX,
  parse: parseCidr,
  order: (a, b) => (a < b ? -1 : a > b ? 1 : 0),
}

/**
 * Reads all that bears on a pod's capture. What is said on the pod counts before what is said on its namespace. `isStrict`:
 * it refuses plaintext at one port at least.
 */
export function readTerms(pod: Pod, namespace: Metadata | undefined, isStrict: boolean): TermsRead {
  const problems: Problem[] = []
  const list = <T>(name: string, entries: Entries<T>): T[] => {
    const wish = wishOf(name, { pod, namespace, asLabel: false })
    return wish === null ? [] : listed(wish, entries, problems)
  }
  const terms = {
    excludeOutboundPorts: list(EXCLUDE_OUTBOUND_PORTS, PORTS),
    excludeOutboundCidrs: list(EXCLUDE_OUTBOUND_CIDRS, CIDRS),
    excludeInboundPorts: list(EXCLUDE_INBOUND_PORTS, PORTS),
    onLoss: readOnLoss(wishOf(ON_AGENT_LOSS, { pod, namespace, asLabel: true }), isStrict, problems),
    probePorts: bounded(probePortsOf(pod), PORTS, () =>
      problems.push({
        object: refOf('Pod', pod),
        field: 'spec.containers',
        reason: `probes at more than ${TERM_PORTS_MAX} ports: those at others are taken for any other connection`,
      }),
    ),
  }
  return { terms, problems }
}

/** The wish on the pod, else on its namespace; of each the annotation, else the label where one can carry it. */
function wishOf(
  name: string,
  from: { readonly pod: Pod; readonly namespace: Metadata | undefined; readonly asLabel: boolean },
): Wish | null {
  const { pod, namespace, asLabel } = from
  const objects: [string, KubeObject][] = [['Pod', pod]]
  if (namespace !== undefined) objects.push(['Namespace', { metadata: namespace }])
  for (const [kind, object] of objects) {
    for (const where of asLabel ? (['annotations', 'labels'] as const) : (['annotations'] as const)) {
      const text = object.metadata[where]?.[name]
      if (text !== undefined) return { text, object: refOf(kind, object), field: `metadata.${where}[${name}]` }
    }
  }
  return null
}

/** The entries of a comma-separated list. What is none is left out and told; the others hold. */
function listed<T>({ text, object, field }: Wish, entries: Entries<T>, problems: Problem[]): T[] {
  const values: T[] = []
  const bad: string[] = []
  for (const entry of text.split(',').map((part) => part.trim())) {
    if (entry === '') continue
    const value = entries.parse(entry)
    if (value === null) bad.push(entry)
    else values.push(value)
  }
  if (bad.length > 0) problems.push({ object, field, reason: `${quoted(bad)}: not ${entries.wanted}; left out` })
  return bounded(values, entries, () =>
    problems.push({ object, field, reason: `more than ${entries.max} entries; those after them are left out` }),
  )
}

/** Each value once, no more of them than there may be, in order. */
function bounded<T>(values: readonly T[], { max, order }: Entries<T>, tellSurplus: () => void): T[] {
  const distinct = [...new Set(values)]
  if (distinct.length > max) tellSurplus()
  return distinct.slice(0, max).sort(order)
}

function quoted(entries: readonly string[]): string {
  const first = entries.slice(0, QUOTED_MAX).map((entry) => JSON.stringify(entry.slice(0, QUOTED_LENGTH_MAX)))
  const more = entries.length - first.length
  return `${first.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** A word that nobody knows means the safe side; one that a policy overrules is told. */
function readOnLoss(wish: Wish | null, isStrict: boolean, problems: Problem[]): 'open' | 'closed' {
  if (wish === null) return onLossOf(null, isStrict).onLoss
  const { text, object, field } = wish
  if (text !== 'open' && text !== 'closed') {
    problems.push({ object, field, reason: `${quoted([text])}: neither open nor closed; taken as closed` })
    return 'closed'
  }
  const { onLoss, isOverruled } = onLossOf(text, isStrict)
  const reason = 'open would let plaintext in where a PeerAuthentication is STRICT; taken as closed'
  if (isOverruled) problems.push({ object, field, reason })
  return onLoss
}
