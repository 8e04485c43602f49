// For each alert of the chart: series at which it fires, and what comes close and must not. Values are promtool's notation,
// a sample a minute ("0+60x30": from 0, 60 more each minute, for 30 minutes).

type Input = Readonly<Record<string, string>>

export interface AlertCase {
  readonly fires: Input
  /** Labels of the alert, its severity and name left out. */
  readonly labels: Readonly<Record<string, string>>
  /** The text that stands for $value in its annotations; '' where they do not show it. */
  readonly value: string
  /** Inputs, each for itself, at which it must not fire. */
  readonly quiet: readonly Input[]
  /** Minutes after which it is asked. */
  readonly at?: number
}

const NODE = { node: 'n1' }
const requests = (more: string): string =>
  `istio_requests_total{destination_service_namespace="shop",destination_service_name="cart",${more}}`
const CART = { destination_service_namespace: 'shop', destination_service_name: 'cart' }
const OK = requests('reporter="source",response_code="200",response_flags="-"')
const FAILED = requests('reporter="source",response_code="500",response_flags="-"')
const UNREACHED = requests('reporter="source",response_code="503",response_flags="UH"')
const HOUR = 3600

/** A counter that grows by `each` a minute, and one that stands where it is. */
const grows = (each: number): string => `5+${String(each)}x90`
const STANDS = '5x90'

export const ALERT_CASES: Readonly<Record<string, AlertCase>> = {
  WeftHighErrorShare: {
    fires: { [OK]: grows(90), [FAILED]: grows(10) },
    labels: CART,
    value: '10%',
    quiet: [
      { [OK]: grows(96), [FAILED]: grows(4) },
      // all of them, but one in two minutes
      { [FAILED]: '0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9 10 10 11 11 12 12' },
    ],
  },
  WeftServiceNotReached: {
    fires: { [OK]: grows(95), [UNREACHED]: grows(5) },
    labels: CART,
    value: '5%',
    quiet: [
      { [OK]: grows(995), [UNREACHED]: grows(5) },
      { [OK]: grows(95), [FAILED]: grows(50) },
    ],
  },
  WeftEndpointsEjected: {
    fires: { 'weft_outlier_ejected{node="n1",destination_service="cart"}': '2x90' },
    labels: { destination_service: 'cart' },
    value: '2',
    quiet: [{ 'weft_outlier_ejected{node="n1",destination_service="cart"}': '2x20 0x40' }],
    at: 40,
  },
  WeftAgentDown: {
    fires: {
      'up{job="weft-agent",node="n1",instance="i"}': '1x5 0x90',
      'up{job="weft-agent",node="n2",instance="j"}': '1x90',
    },
    labels: { job: 'weft-agent', node: 'n1', instance: 'i' },
    value: '',
    quiet: [{ 'up{job="weft-agent",node="n1",instance="i"}': '1x10 0x3 1x90' }, { 'up{job="other"}': '0x90' }],
  },
  WeftNoAgents: {
    fires: { 'up{job="other"}': '1x90' },
    labels: { job: 'weft-agent' },
    value: '',
    quiet: [{ 'up{job="weft-agent",node="n1"}': '0x90' }],
  },
  WeftAgentNotReady: {
    fires: {
      'kube_daemonset_status_desired_number_scheduled{namespace="weft-system",daemonset="weft-agent"}': '3x90',
      'kube_daemonset_status_number_ready{namespace="weft-system",daemonset="weft-agent"}': '2x90',
    },
    labels: { namespace: 'weft-system', daemonset: 'weft-agent' },
    value: '1',
    quiet: [
      {
        'kube_daemonset_status_desired_number_scheduled{namespace="weft-system",daemonset="weft-agent"}': '3x90',
        'kube_daemonset_status_number_ready{namespace="weft-system",daemonset="weft-agent"}': '2x10 3x90',
      },
      {
        'kube_daemonset_status_desired_number_scheduled{namespace="a",daemonset="other"}': '3x90',
        'kube_daemonset_status_number_ready{namespace="a",daemonset="other"}': '2x90',
      },
    ],
  },
  WeftAgentWithoutSnapshot: {
    fires: { 'weft_snapshot_version{node="n1"}': '0x90' },
    labels: NODE,
    value: '',
    quiet: [{ 'weft_snapshot_version{node="n1"}': '0x5 1x90' }],
  },
  WeftNodeDegraded: {
    fires: { 'weft_degraded{node="n1"}': '2x90' },
    labels: NODE,
    value: '2',
    quiet: [{ 'weft_degraded{node="n1"}': '0x90' }, { 'weft_degraded{node="n1"}': '1x5 0x90' }],
  },
  WeftPodsNotCaptured: {
    fires: { 'weft_uncaptured_pods{node="n1",reason="no cgroup"}': '3x90' },
    labels: { ...NODE, reason: 'no cgroup' },
    value: '3',
    quiet: [
      { 'weft_uncaptured_pods{node="n1",reason="hostNetwork"}': '3x90' },
      { 'weft_uncaptured_pods{node="n1",reason="istio-proxy sidecar"}': '1x90' },
      { 'weft_uncaptured_pods{node="n1",reason="not proved yet"}': '1x8 stale 1x8 stale' },
    ],
  },
  WeftPodsNeverCaptured: {
    fires: { 'weft_uncaptured_pods{node="n1",reason="sandboxed runtimeClass gvisor"}': '1x90' },
    labels: { ...NODE, reason: 'sandboxed runtimeClass gvisor' },
    value: '1',
    quiet: [{ 'weft_uncaptured_pods{node="n1",reason="no cgroup"}': '1x90' }],
    at: 70,
  },
  WeftOlderConnections: {
    fires: { 'weft_older_connections{node="n1",namespace="shop",pod="cart-1"}': '4x90' },
    labels: { namespace: 'shop', pod: 'cart-1' },
    value: '4',
    quiet: [{ 'weft_older_connections{node="n1",namespace="shop",pod="cart-1"}': '4x20 0x90' }],
    at: 40,
  },
  WeftKernelRefuses: {
    fires: { 'weft_kernel_events{node="n1",event="lost"}': grows(60) },
    labels: { ...NODE, event: 'lost' },
    value: '1',
    quiet: [
      { 'weft_kernel_events{node="n1",event="lost"}': STANDS },
      { 'weft_kernel_events{node="n1",event="passed"}': grows(60) },
    ],
  },
  WeftMeshBug: {
    fires: { 'weft_failures_total{node="n1",step="account",reason="MESH_BUG"}': '_x15 1x90' },
    labels: NODE,
    value: '',
    quiet: [
      { 'weft_failures_total{node="n1",step="relay",reason="UPSTREAM_RESET"}': grows(1) },
      { 'weft_failures_total{node="n1",step="account",reason="MESH_BUG"}': '1x180' },
    ],
    at: 40,
  },
  WeftAccessRecordsDropped: {
    fires: { 'weft_access_records_dropped_total{node="n1"}': grows(120) },
    labels: NODE,
    value: '2',
    quiet: [
      { 'weft_access_records_dropped_total{node="n1"}': STANDS },
      { 'weft_access_records_dropped_total{node="n1"}': '0x15 7x90' },
    ],
  },
  WeftSeriesOverflow: {
    fires: { 'weft_series_overflow_total{node="n1"}': grows(1) },
    labels: NODE,
    value: '',
    quiet: [{ 'weft_series_overflow_total{node="n1"}': STANDS }],
    at: 45,
  },
  WeftCertificateExpiring: {
    fires: { 'weft_certificate_not_after_seconds{node="n1",identity="spiffe://a"}': `${String(3 * HOUR)}x90` },
    labels: { ...NODE, identity: 'spiffe://a' },
    value: '2h 40m 0s',
    quiet: [
      { 'weft_certificate_not_after_seconds{node="n1",identity="spiffe://a"}': `${String(12 * HOUR)}x90` },
      { 'weft_certificate_not_after_seconds{node="n1",identity="spiffe://a"}': '0x90' },
    ],
  },
  WeftCertificateMissing: {
    fires: { 'weft_certificate_not_after_seconds{node="n1",identity="spiffe://a"}': '0x90' },
    labels: { ...NODE, identity: 'spiffe://a' },
    value: '',
    quiet: [{ 'weft_certificate_not_after_seconds{node="n1",identity="spiffe://a"}': `0x5 ${String(24 * HOUR)}x90` }],
  },
  WeftCertificateRenewalFailing: {
    fires: { 'weft_certificate_failing{node="n1"}': '2x90' },
    labels: NODE,
    value: '2',
    quiet: [{ 'weft_certificate_failing{node="n1"}': '0x90' }, { 'weft_certificate_failing{node="n1"}': '2x10 0x90' }],
  },
  WeftAuthorityExpiring: {
    fires: { 'weft_authority_not_after_seconds{pod="c1"}': `${String(20 * 24 * HOUR + 90 * 60)}x120` },
    labels: {},
    value: '20d 0h 0m 0s',
    quiet: [{ 'weft_authority_not_after_seconds{pod="c1"}': `${String(60 * 24 * HOUR)}x120` }],
    at: 90,
  },
  WeftSigningFailing: {
    fires: { 'weft_certificate_requests_pending{pod="c1"}': '1x90', 'weft_certificate_errors_total{pod="c1"}': '0x90' },
    labels: {},
    value: '',
    quiet: [
      { 'weft_certificate_requests_pending{pod="c1"}': '0x90', 'weft_certificate_errors_total{pod="c1"}': STANDS },
      { 'weft_certificate_requests_pending{pod="c1"}': '3x10 0x90' },
    ],
  },
  WeftCertificateDenied: {
    fires: { 'weft_certificate_requests_denied_total{pod="c1"}': '0x10 1x90' },
    labels: {},
    value: '',
    quiet: [{ 'weft_certificate_requests_denied_total{pod="c1"}': STANDS }],
  },
  WeftHandshakesFailing: {
    fires: { 'weft_failures_total{node="n1",step="connect",reason="UPSTREAM_TLS_FAILED"}': grows(60) },
    labels: { ...NODE, reason: 'UPSTREAM_TLS_FAILED' },
    value: '1',
    quiet: [
      { 'weft_failures_total{node="n1",step="connect",reason="UPSTREAM_TLS_FAILED"}': grows(3) },
      { 'weft_failures_total{node="n1",step="connect",reason="CONNECT_REFUSED"}': grows(60) },
    ],
  },
  WeftControllerNoLeader: {
    fires: { 'weft_controller_leader{pod="c1"}': '0x90', 'weft_controller_leader{pod="c2"}': '0x90' },
    labels: {},
    value: '',
    quiet: [{ 'weft_controller_leader{pod="c1"}': '1x10 0x90', 'weft_controller_leader{pod="c2"}': '0x13 1x90' }],
  },
  WeftControllerWritesRefused: {
    fires: { 'weft_controller_write_errors_total{pod="c1"}': grows(60) },
    labels: {},
    value: '1',
    quiet: [{ 'weft_controller_write_errors_total{pod="c1"}': '0x10 2x90' }],
    at: 30,
  },
  WeftConfigProblem: {
    fires: {
      'weft_config_problem{node="n1",kind="VirtualService",namespace="shop",name="cart"}': '2x90',
      'weft_config_problem{node="n2",kind="VirtualService",namespace="shop",name="cart"}': '2x90',
    },
    labels: { kind: 'VirtualService', namespace: 'shop', name: 'cart' },
    value: '2',
    quiet: [{ 'weft_config_problem{node="n1",kind="VirtualService",namespace="shop",name="cart"}': '2x10 _x90' }],
  },
  WeftPlaintextRefused: {
    fires: { 'weft_failures_total{node="n1",step="authenticate",reason="PLAINTEXT_REFUSED"}': grows(6) },
    labels: NODE,
    value: '100m',
    quiet: [{ 'weft_failures_total{node="n1",step="authenticate",reason="PLAINTEXT_REFUSED"}': '0x10 9x90' }],
  },
  WeftKeySetFetchFailing: {
    fires: { 'weft_jwks_fetches_total{node="n1",result="failed"}': grows(1) },
    labels: NODE,
    value: '',
    quiet: [
      { 'weft_jwks_fetches_total{node="n1",result="failed"}': STANDS },
      { 'weft_jwks_fetches_total{node="n1",result="same"}': grows(1) },
    ],
    at: 30,
  },
  WeftAuthorizerFailing: {
    fires: { 'weft_ext_authz_total{node="n1",provider="opa",result="failed"}': grows(30) },
    labels: { provider: 'opa' },
    value: '500m',
    quiet: [{ 'weft_ext_authz_total{node="n1",provider="opa",result="denied"}': grows(30) }],
  },
}
