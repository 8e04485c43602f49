// Every series of the data side, as one table: name, kind, labels, help. Istio's names and labels, so that dashboards
// made for it work; the mesh's own start with `weft_`.

/** Labels that name the two ends, in the order that cells keep their values. */
export const EDGE_LABELS = [
  'reporter',
  'source_workload',
  'source_workload_namespace',
  'source_canonical_service',
  'source_canonical_revision',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_cluster',
  'destination_service',
  'destination_service_name',
  'destination_service_namespace',
  'connection_security_policy',
  'request_protocol',
] as const

const REQUEST_LABELS = [...EDGE_LABELS, 'response_flags', 'response_code', 'grpc_response_status']
const FLOW_LABELS = [...EDGE_LABELS, 'response_flags']

/** Upper bounds of the histograms' buckets, +Inf left out: Envoy's defaults, which Istio uses for all of them. */
export const BUCKETS = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
] as const

export interface SeriesKind {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  readonly help: string
}

export const SERIES = {
  istio_requests_total: {
    kind: 'counter',
    labels: REQUEST_LABELS,
    help: 'HTTP requests, by the two ends and how they ended',
  },
  istio_request_duration_milliseconds: {
    kind: 'histogram',
    labels: REQUEST_LABELS,
    help: 'Time from the first byte of a request to the last of its response',
  },
  istio_request_bytes: { kind: 'histogram', labels: REQUEST_LABELS, help: 'Body bytes of requests' },
  istio_response_bytes: { kind: 'histogram', labels: REQUEST_LABELS, help: 'Body bytes of responses' },
  istio_tcp_connections_opened_total: {
    kind: 'counter',
    labels: FLOW_LABELS,
    help: 'TCP connections that reached an endpoint',
  },
  istio_tcp_connections_closed_total: { kind: 'counter', labels: FLOW_LABELS, help: 'Those of them that have ended' },
  istio_tcp_sent_bytes_total: { kind: 'counter', labels: FLOW_LABELS, help: 'Bytes that went from callee to caller' },
  istio_tcp_received_bytes_total: {
    kind: 'counter',
    labels: FLOW_LABELS,
    help: 'Bytes that went from caller to callee',
  },
  weft_proxy_connections_total: { kind: 'counter', labels: ['direction'], help: 'Connections that the proxy accepted' },
  weft_proxy_connections_open: { kind: 'gauge', labels: [], help: 'Accepted connections now open' },
  weft_proxy_upstreams_idle: { kind: 'gauge', labels: [], help: 'Pooled connections to endpoints now idle' },
  weft_failures_total: {
    kind: 'counter',
    labels: ['step', 'reason'],
    help: 'Connections and requests that ended badly, by the step of the corridor and the reason',
  },
  weft_tls_handshakes_total: {
    kind: 'counter',
    labels: ['side', 'kind'],
    help: 'Handshakes that came to an end: of the TLS between nodes by the side that we were, or originated for a rule',
  },
  weft_protocol_outcomes_total: {
    kind: 'counter',
    labels: ['outcome'],
    help: 'How the protocol of a connection was settled: declared, sniffed, or silence',
  },
  weft_server_names_total: {
    kind: 'counter',
    labels: ['outcome'],
    help: "Connections that began with TLS of the application's: its server name was read, was none, or came too late",
  },
  weft_retries_total: { kind: 'counter', labels: ['why'], help: 'Requests and connections that were tried once more' },
  weft_mirrors_total: {
    kind: 'counter',
    labels: ['result'],
    help: 'Copies of requests for mirrors: answered, failed, timed out, given up, or dropped for there are too many',
  },
  weft_ext_authz_total: {
    kind: 'counter',
    labels: ['provider', 'result'],
    help: 'Questions to authorizers: allowed, denied, failed, or the body too large to ask about',
  },
  weft_overflow_total: {
    kind: 'counter',
    labels: ['limit'],
    help: 'Requests, connections, retries and ejections that a DestinationRule had no room for',
  },
  weft_outlier_ejections_total: {
    kind: 'counter',
    labels: ['destination_service', 'cause'],
    help: 'Endpoints that were ejected, by what they had too many of in a row',
  },
  weft_outlier_ejected: {
    kind: 'gauge',
    labels: ['destination_service'],
    help: 'Endpoints that are ejected now, as the pods of this node see them',
  },
  weft_breaker_cells_exhausted_total: {
    kind: 'counter',
    labels: [],
    help: 'Hosts and endpoints that there was no room to count for the node: each worker counts for itself there',
  },
  weft_authz_denied_total: {
    kind: 'counter',
    labels: ['policy_namespace', 'policy', 'reason'],
    help: 'Requests and connections that were refused: by a rule, for no rule allows them, for their token, by an authorizer',
  },
  weft_authz_dry_run_total: {
    kind: 'counter',
    labels: ['policy_namespace', 'policy', 'result'],
    help: 'What policies in dry run would have made of requests and connections',
  },
  weft_authz_audited_total: {
    kind: 'counter',
    labels: ['policy_namespace', 'policy'],
    help: 'Requests and connections that an AUDIT policy matched',
  },
  weft_jwks_fetches_total: {
    kind: 'counter',
    labels: ['result'],
    help: 'Fetches of keys that tokens are verified by: new, the same as before, or failed',
  },
  weft_access_records_dropped_total: {
    kind: 'counter',
    labels: [],
    help: 'Access records dropped because their reader is too slow',
  },
  weft_series_overflow_total: { kind: 'counter', labels: [], help: 'Look-ups that found the table of series full' },
} as const satisfies Record<string, SeriesKind>

export type SeriesName = keyof typeof SERIES

/** One series at a scrape: its label values in the table's order, and its value. */
export type Sample =
  | { readonly name: SeriesName; readonly labels: readonly string[]; readonly value: number }
  | {
      readonly name: SeriesName
      readonly labels: readonly string[]
      /** Observations by bucket, each for itself; one more than BUCKETS for those beyond. */
      readonly counts: readonly number[]
      readonly sum: number
    }

/** All series of one worker at a scrape: plain data. */
export type Counters = readonly Sample[]
