// What is to be said of one policy object: a few statements, each a status condition or an Event, from what translation
// and precedence found. Pure; texts are bounded, and equal findings give equal texts.

import type { Loss } from './conflict.ts'
import type { Enforcement } from './enforcement.ts'
import type { Problem } from './policy.ts'
import type { ObjectRef } from './workload.ts'

export interface Verdict {
  readonly object: ObjectRef
  /** Why the object as it stands is not in force, or null where it is. */
  readonly rejected: Problem | null
  /** Fields that are not honoured. */
  readonly unhonoured: readonly Problem[]
  readonly losses: readonly Loss[]
  /** Where it is kept; `none` while it demands nothing of pods, null for kinds that never do. */
  readonly enforcement: Enforcement | 'none' | null
}

/** The condition types that are Weft's to write, in the order in which they are written. */
export const CONDITION_TYPES = ['Accepted', 'Conflicted', 'PartiallyHonoured', 'Enforced'] as const
export type ConditionType = (typeof CONDITION_TYPES)[number]

/** One condition less what only the object knows of it (metav1.Condition). `reason` is one word in CamelCase. */
export interface Statement {
  readonly type: ConditionType
  /** `Absent`: no such condition is to stand there. */
  readonly status: 'True' | 'False' | 'Unknown' | 'Absent'
  readonly reason: string
  readonly message: string
}

/** Bytes of a message in UTF-8: what events.k8s.io takes for a note. A condition could be longer. */
export const MESSAGE_LIMIT_BYTES = 1024
/** Namespaces or objects that one part of a message names. */
const NAMED = 3

/** All that is to be said, one statement a condition type, in their order. */
export function statementsOf(verdict: Verdict): readonly Statement[] {
  const { enforcement } = verdict
  const enforcing = enforcement === null ? [] : [enforced(verdict, enforcement)]
  return [accepted(verdict), conflicted(verdict), partiallyHonoured(verdict), ...enforcing]
}

/** What an object that is as its author wishes it says too: the other types appear with their first warning. */
const ALWAYS_SAID: ReadonlySet<ConditionType> = new Set<ConditionType>(['Accepted', 'Enforced'])

/** Whether a statement is written where nothing of its type stands yet. */
export function isWorthSaying(statement: Statement): boolean {
  const { type, status } = statement
  return isWarning(statement) || (ALWAYS_SAID.has(type) && (status === 'True' || status === 'False'))
}

/** Whether a statement tells of something that its author would not expect. */
export function isWarning({ type, status }: Statement): boolean {
  return status === (ALWAYS_SAID.has(type) ? 'False' : 'True')
}

function accepted({ rejected }: Verdict): Statement {
  const type = 'Accepted'
  if (rejected === null) return { type, status: 'True', reason: 'Accepted', message: 'in force' }
  const message = `${problemText(rejected)}; agents keep the last version that they accepted`
  return { type, status: 'False', reason: 'Rejected', message: shortened(message) }
}

function conflicted({ losses }: Verdict): Statement {
  const type = 'Conflicted'
  if (losses.length === 0)
    return { type, status: 'False', reason: 'NoConflict', message: 'no other object overrides it' }
  const reason = losses.every(({ whole }) => whole) ? 'Overridden' : 'PartlyOverridden'
  return { type, status: 'True', reason, message: joined(losses.map(lossText)) }
}

function partiallyHonoured({ rejected, unhonoured }: Verdict): Statement {
  const type = 'PartiallyHonoured'
  if (rejected !== null) {
    return { type, status: 'Unknown', reason: 'Rejected', message: 'not known of an object that is not accepted' }
  }
  if (unhonoured.length === 0) {
    return { type, status: 'False', reason: 'Honoured', message: 'every field that is given is honoured' }
  }
  return { type, status: 'True', reason: 'FieldsNotHonoured', message: joined(unhonoured.map(problemText)) }
}

function enforced({ object, rejected }: Verdict, enforcement: Enforcement | 'none'): Statement {
  const type = 'Enforced'
  if (rejected !== null) {
    return { type, status: 'Unknown', reason: 'Rejected', message: 'not known of an object that is not accepted' }
  }
  if (enforcement === 'none') return { type, status: 'Absent', reason: 'NothingDemanded', message: '' }
  const { pods, uncaptured, named } = enforcement
  if (pods === 0) return { type, status: 'True', reason: 'NoPods', message: 'no running pod of the mesh is under it' }
  if (uncaptured === 0) {
    return {
      type,
      status: 'True',
      reason: 'PodsCaptured',
      message: 'all pods of the mesh that are under it are captured',
    }
  }
  const more = uncaptured > named.length ? ` and ${uncaptured - named.length} more` : ''
  const are = uncaptured === 1 ? 'is' : 'are'
  const open = object.kind === 'PeerAuthentication' ? 'may take plaintext' : 'take whatever comes'
  const message = `${uncaptured} of ${pods} pods under it ${are} not captured and ${open}: ${named.join(', ')}${more}`
  return { type, status: 'False', reason: 'PodsNotCaptured', message: shortened(message) }
}

function problemText({ field, reason }: Problem): string {
  return field === '' ? reason : `${field}: ${reason}`
}

export function lossText({ host, winners, whole, lostFor, keptFor, fields }: Loss): string {
  const by = listed(winners.map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`))
  const [is, says] = winners.length === 1 ? ['is', 'says'] : ['are', 'say']
  if (fields.length > 0) {
    const counts = fields.length === 1 ? 'counts' : 'count'
    return `${host}: ${listed(fields)} ${counts} for nothing, ${by} ${says} it first`
  }
  if (whole || lostFor.length === 0) return `${host}: ${by} ${is} in force instead`
  if (keptFor.length > 0 && keptFor.length <= lostFor.length) {
    return `${host}: in force only for callers in ${listed(keptFor)}; for others ${by} ${is}`
  }
  return `${host}: for callers in ${listed(lostFor)} ${by} ${is} in force`
}

/** The first few, and how many more. */
function listed(names: readonly string[]): string {
  const rest = names.length - NAMED
  return rest <= 0 ? names.join(', ') : `${names.slice(0, NAMED).join(', ')} and ${rest} more`
}

/** As many parts as a message has room for, and how many more there are. */
function joined(parts: readonly string[]): string {
  const room = MESSAGE_LIMIT_BYTES - ` (and ${parts.length} more)`.length
  let text = shortened(parts[0] ?? '', room)
  for (const [index, part] of parts.entries()) {
    if (index === 0) continue
    const longer = `${text}; ${part}`
    if (bytesOf(longer) > room) return `${text} (and ${parts.length - index} more)`
    text = longer
  }
  return text
}

/** The text cut to so many bytes between two characters, with an ellipsis where it was longer. */
function shortened(text: string, limit = MESSAGE_LIMIT_BYTES): string {
  if (bytesOf(text) <= limit) return text
  const ellipsis = '…'
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(limit - bytesOf(ellipsis)))
  return text.slice(0, read) + ellipsis
}

const bytesOf = (text: string): number => new TextEncoder().encode(text).length
