// Series of the controller: whether it leads, what it wrote, what it has to say, and what it signed. Values are read at scrape time.

import { Counter, Gauge, Registry } from 'prom-client'

/** What the controller says of itself at a scrape. */
export interface ControllerFacts {
  readonly leads: boolean
  readonly writes: { readonly statuses: number; readonly events: number }
  readonly failures: number
  /** Objects whose status or Events are yet to be written. */
  readonly pending: number
  /** Warnings that hold, by kind and condition type. */
  readonly warnings: readonly { readonly kind: string; readonly condition: string; readonly count: number }[]
  readonly signing: {
    readonly signed: number
    readonly denied: number
    readonly failures: number
    /** Requests without an answer. */
    readonly pending: number
    /** When the authority by which it signs ends, in seconds since 1970; null where there is none. */
    readonly notAfterSeconds: number | null
  }
}

/** Renders the controller's series as Prometheus text. */
export async function renderControllerSeries(facts: ControllerFacts): Promise<string> {
  const registry = new Registry()
  const registers = [registry]
  const gauge = (name: string, help: string, labelNames: string[] = []): Gauge =>
    new Gauge({ name, help, labelNames, registers })
  gauge('weft_controller_leader', 'Whether this replica leads and writes').set(facts.leads ? 1 : 0)
  gauge('weft_controller_pending', 'Objects whose status or Events are yet to be written').set(facts.pending)
  const writes = new Counter({
    name: 'weft_controller_writes_total',
    help: 'Writes to the Kubernetes API: statuses of objects, Events about them',
    labelNames: ['to'],
    registers,
  })
  writes.inc({ to: 'status' }, facts.writes.statuses)
  writes.inc({ to: 'event' }, facts.writes.events)
  const failures = { name: 'weft_controller_write_errors_total', help: 'Writes that the API refused', registers }
  new Counter(failures).inc(facts.failures)
  const warnings = gauge('weft_controller_warnings', 'Objects with a warning, by condition', ['kind', 'condition'])
  for (const { kind, condition, count } of facts.warnings) warnings.set({ kind, condition }, count)
  const counter = (name: string, help: string, count: number): void => new Counter({ name, help, registers }).inc(count)
  const { signed, denied, failures: signingFailures, pending, notAfterSeconds } = facts.signing
  counter('weft_certificates_signed_total', 'Certificates that were issued', signed)
  counter('weft_certificate_requests_denied_total', 'Requests for certificates that were denied', denied)
  counter('weft_certificate_errors_total', 'Failures to answer a request for a certificate', signingFailures)
  gauge('weft_certificate_requests_pending', 'Requests for certificates without an answer').set(pending)
  if (notAfterSeconds !== null) {
    gauge('weft_authority_not_after_seconds', 'When the authority by which it signs ends').set(notAfterSeconds)
  }
  return registry.metrics()
}
