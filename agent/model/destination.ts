// What DestinationRules say of a host, for callers of a namespace: pure, from the snapshot.

import { entriesFor } from './host-index.ts'
import type { ClientTls, DestinationRule, PortPolicy, Subset, TrafficPolicy } from './policy.ts'
import type { Snapshot } from './snapshot.ts'

/** The subset that is asked for, null where there is none, and its policy before its rule's. */
export function policiesFor(
  snapshot: Snapshot,
  { host, subset }: { readonly host: string; readonly subset: string | null },
  from: { readonly consumer: string; readonly producer: string },
): { readonly chosen: Subset | null; readonly policies: readonly (TrafficPolicy | null)[] } {
  const rules = destinationRulesFor(snapshot, host, from)
  const chosen = rules.flatMap(({ subsets }) => subsets).find(({ name }) => name === subset) ?? null
  return { chosen, policies: [chosen?.policy ?? null, rules.find(({ policy }) => policy !== null)?.policy ?? null] }
}

/** How a policy wants connections to a host secured whose endpoint is settled already, or null where none says. */
export function clientTlsFor(
  snapshot: Snapshot,
  { port, ...of }: { readonly host: string; readonly subset: string | null; readonly port: number },
  consumer: string,
): ClientTls | null {
  const producer = snapshot.serviceByHost.get(of.host)?.namespace ?? consumer
  return saidOf(policiesFor(snapshot, of, { consumer, producer }).policies, port, ({ tls }) => tls, null)
}

/**
 * All DestinationRules in force for a host, oldest first: those of the consumer's namespace, else of the service's, else
 * of the root; there those of the longest host. Several of one host are one: their subsets together, and the oldest one's
 * policy (Istio merges them so).
 */
function destinationRulesFor(
  snapshot: Snapshot,
  host: string,
  from: { readonly consumer: string; readonly producer: string },
): readonly DestinationRule[] {
  const known = entriesFor(snapshot.destinationRules, host)
  for (const namespace of [from.consumer, from.producer, snapshot.rootNamespace]) {
    const own = known.map((rules) =>
      rules.filter((rule) => rule.ref.namespace === namespace && isVisible(rule.exportTo, from.consumer)),
    )
    const found = own.find((rules) => rules.length > 0)
    if (found !== undefined) return found
  }
  return []
}

/**
 * One setting. Port over top level, subset over rule; null where nobody says. What a port's own settings leave out is
 * Istio's default, never inherited.
 */
export function saidOf<T>(
  policies: readonly (TrafficPolicy | null)[],
  port: number,
  read: (policy: PortPolicy) => T | null,
  byDefault: T | null,
): T | null {
  for (const policy of policies) {
    const byPort = policy?.ports.find((entry) => entry.port === port)
    if (byPort !== undefined) return read(byPort) ?? byDefault
    const said = policy === null ? null : read(policy)
    if (said !== null) return said
  }
  return null
}

/** Whether a namespace may see an object. */
export function isVisible(exportTo: readonly string[], consumer: string): boolean {
  return exportTo.includes('*') || exportTo.includes(consumer)
}
