// Every field of Istio's VirtualService and DestinationRule, and what becomes of it. docs/istio-fields.md is made of this.

import { Limited, Reported, type Shape } from '../honoured.ts'

const MATCH: Shape = { exact: true, prefix: true, regex: true }

const DESTINATION: Shape = { host: true, subset: true, port: { number: true } }

const HEADER_CHANGES: Shape = {
  set: new Limited('Envoy’s operators in values (`%…%`) are refused, `%%` is a percent'),
  add: new Limited('as `set`'),
  remove: true,
}
const HEADERS: Shape = { request: HEADER_CHANGES, response: HEADER_CHANGES }

const HTTP_MATCH: Shape = {
  name: true,
  uri: MATCH,
  ignoreUriCase: true,
  scheme: MATCH,
  method: MATCH,
  authority: MATCH,
  headers: { '*': MATCH },
  withoutHeaders: { '*': MATCH },
  queryParams: { '*': MATCH },
  port: true,
  sourceLabels: true,
  sourceNamespace: true,
  gateways: new Limited('entries for other gateways than `mesh` are passed over'),
  statPrefix: new Reported('no statistics are kept by rule'),
}

const FAULT: Shape = {
  delay: {
    fixedDelay: new Limited('an hour is the longest'),
    exponentialDelay: new Reported('is refused, as by Istio: only fixedDelay says how long'),
    percentage: { value: true },
    percent: true,
  },
  abort: {
    httpStatus: true,
    grpcStatus: true,
    http2Error: new Reported('is refused, as by Istio: an abort is an httpStatus or a grpcStatus'),
    percentage: { value: true },
  },
}

const HTTP_RULE: Shape = {
  name: true,
  match: [HTTP_MATCH],
  route: [{ destination: DESTINATION, weight: true, headers: HEADERS }],
  redirect: {
    uri: true,
    prefixRewrite: true,
    authority: true,
    port: true,
    derivePort: true,
    scheme: true,
    redirectCode: true,
  },
  directResponse: { status: true, body: { string: true, bytes: true } },
  delegate: { name: true, namespace: true },
  rewrite: { uri: true, authority: true, uriRegexRewrite: { match: true, rewrite: true } },
  timeout: true,
  retries: {
    attempts: true,
    perTryTimeout: true,
    retryOn: new Limited('`retriable-headers` and `http3-post-connect-failure` are not honoured'),
    retryRemoteLocalities: true,
    retryIgnorePreviousHosts: true,
    backoff: true,
  },
  fault: FAULT,
  mirror: DESTINATION,
  mirrorPercent: true,
  mirror_percent: true,
  mirrorPercentage: { value: true },
  mirrors: [{ destination: DESTINATION, percentage: { value: true } }],
  corsPolicy: {
    allowOrigin: true,
    allowOrigins: [MATCH],
    allowMethods: true,
    allowHeaders: true,
    exposeHeaders: true,
    maxAge: true,
    allowCredentials: true,
    unmatchedPreflights: true,
  },
  headers: HEADERS,
}

const FLOW_MATCH = {
  destinationSubnets: true,
  port: true,
  sourceLabels: true,
  sourceNamespace: true,
  gateways: new Limited('entries for other gateways than `mesh` are passed over'),
} as const

const FLOW_ROUTE: Shape = [{ destination: DESTINATION, weight: true }]

export const VIRTUAL_SERVICE_FIELDS: Shape = {
  hosts: true,
  gateways: new Limited('other gateways than `mesh` are not served'),
  exportTo: true,
  http: [HTTP_RULE],
  tls: [{ match: [{ sniHosts: true, ...FLOW_MATCH }], route: FLOW_ROUTE }],
  tcp: [{ match: [{ ...FLOW_MATCH, sourceSubnet: true }], route: FLOW_ROUTE }],
}

const NO_HTTP2 = 'HTTP/2 is not spoken to endpoints'

const LOAD_BALANCER: Shape = {
  simple: true,
  consistentHash: {
    httpHeaderName: true,
    httpCookie: { name: true, ttl: true, path: true, attributes: [{ name: true, value: true }] },
    useSourceIp: true,
    httpQueryParameterName: true,
    ringHash: { minimumRingSize: true },
    maglev: { tableSize: true },
    minimumRingSize: true,
  },
  localityLbSetting: {
    enabled: true,
    distribute: [{ from: true, to: true }],
    failover: [{ from: true, to: true }],
    failoverPriority: true,
  },
  warmup: { duration: true, minimumPercent: true, aggression: true },
  warmupDurationSecs: true,
  backendUtilization: new Reported('load that endpoints report is not read'),
  zoneAwareLbSetting: new Reported('callers of a zone are not counted: localityLbSetting prefers their own'),
}

const CONNECTION_POOL: Shape = {
  tcp: {
    maxConnections: true,
    connectTimeout: true,
    tcpKeepalive: { probes: true, time: true, interval: true },
    idleTimeout: true,
    maxConnectionDuration: true,
  },
  http: {
    http1MaxPendingRequests: true,
    http2MaxRequests: true,
    maxRequestsPerConnection: true,
    maxRetries: true,
    idleTimeout: true,
    h2UpgradePolicy: new Limited(`\`UPGRADE\` is not honoured: ${NO_HTTP2}`),
    useClientProtocol: true,
    maxConcurrentStreams: new Reported(NO_HTTP2),
    http2KeepAlive: new Reported(NO_HTTP2),
  },
}

const OUTLIER_DETECTION: Shape = {
  splitExternalLocalOriginErrors: true,
  consecutiveLocalOriginFailures: true,
  consecutiveGatewayErrors: true,
  consecutive5xxErrors: true,
  consecutiveErrors: true,
  outlierDetectionHttpErrorCodes: true,
  interval: true,
  baseEjectionTime: true,
  maxEjectionPercent: true,
  minHealthPercent: true,
}

const TLS: Shape = {
  mode: true,
  clientCertificate: true,
  privateKey: true,
  caCertificates: true,
  credentialName: true,
  subjectAltNames: true,
  sni: true,
  insecureSkipVerify: true,
  caCrl: new Reported('lists of revoked certificates are not read'),
}

const PORT_POLICY = {
  loadBalancer: LOAD_BALANCER,
  connectionPool: CONNECTION_POOL,
  outlierDetection: OUTLIER_DETECTION,
  tls: TLS,
} as const

const TRAFFIC_POLICY: Shape = {
  ...PORT_POLICY,
  portLevelSettings: [{ port: { number: true }, ...PORT_POLICY }],
  tunnel: {
    protocol: new Limited('`POST` is not honoured: an HTTP/1 request has no body that is a connection'),
    targetHost: true,
    targetPort: true,
  },
  proxyProtocol: { version: true },
  retryBudget: { percent: true, budgetInterval: true, minRetryConcurrency: true },
}

export const DESTINATION_RULE_FIELDS: Shape = {
  host: true,
  exportTo: true,
  workloadSelector: { matchLabels: true },
  trafficPolicy: TRAFFIC_POLICY,
  subsets: [{ name: true, labels: true, trafficPolicy: TRAFFIC_POLICY }],
}
