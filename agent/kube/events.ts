// Tells of an object by Events on it, for kinds without a status. One Event a finding: its name follows from what it
// says, so that a repetition, also by another replica, counts up the one that is there instead of making a second.
// Source: events.k8s.io/v1 Event.

import { createHash } from 'node:crypto'
import type { Statement } from '../model/verdict.ts'
import { type KubeClient, KubeError } from './client.ts'
import { microTime } from './lease.ts'
import type { Judged } from './policies.ts'

/** events.k8s.io/v1: who reports, as `kubectl describe` shows it. */
const REPORTER = 'weft.dev/controller'
/** Kubernetes' limits of an object's name and of reportingInstance, in characters. */
const NAME_LIMIT = 253
const INSTANCE_LIMIT = 128

export interface Telling {
  /** Identity of this replica. */
  readonly instance: string
  /** How long one request may take. */
  readonly withinMs: number
}

interface GivenEvent {
  readonly metadata: { readonly resourceVersion: string }
  readonly series?: { readonly count?: number } | null
}

/** Makes the Event for a warning, or counts up the one that says so already. Throws KubeError. */
export async function tell(
  client: KubeClient,
  judged: Judged,
  statement: Statement,
  { instance, withinMs }: Telling,
): Promise<void> {
  const { namespace = 'default' } = judged.object.metadata
  const collection = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`
  const event = eventOf(judged, statement, instance)
  try {
    await client.create(collection, event, withinMs)
  } catch (error) {
    if (!(error instanceof KubeError && error.status === 409)) throw error
    const path = `${collection}/${event.metadata.name}`
    const { metadata, series } = (await client.get(path, withinMs)) as GivenEvent
    // the first one is no series yet: with this one there have been two
    const next = { count: (series?.count ?? 1) + 1, lastObservedTime: microTime() }
    await client.patch(path, { metadata: { resourceVersion: metadata.resourceVersion }, series: next }, withinMs)
  }
}

function eventOf({ object, apiVersion, verdict }: Judged, statement: Statement, instance: string) {
  const { name, namespace = 'default', uid, resourceVersion } = object.metadata
  const { kind } = verdict.object
  // of a type that warns by being False its name would say the opposite
  const reason = statement.status === 'False' ? statement.reason : statement.type
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { namespace, name: nameOf(name, [uid, reason, statement.message]) },
    eventTime: microTime(),
    reportingController: REPORTER,
    reportingInstance: instance.slice(0, INSTANCE_LIMIT),
    action: 'Judge',
    type: 'Warning',
    reason,
    regarding: { apiVersion, kind, namespace, name, uid, resourceVersion },
    note: statement.message,
  }
}

function nameOf(object: string, what: readonly string[]): string {
  const digest = createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 16)
  // a cut may leave a dot or a dash at the end, which no name may have before the next dot
  return `${object.slice(0, NAME_LIMIT - digest.length - 1).replace(/[^a-z0-9]+$/, '')}.${digest}`
}
