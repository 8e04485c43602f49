// Parts of DestinationRules for tests; what is not said is what Istio means without it.

import type { ClientTls, ConnectionPool } from './traffic-policy.ts'
import { NO_POLICY } from './destination.ts'

/** TLS that a DestinationRule asks for; what is not said is ''. */
export function clientTls(mode: ClientTls['mode'], wish: Partial<ClientTls> = {}): ClientTls {
  return {
    by: { object: { kind: 'DestinationRule', namespace: 'default', name: 'dr-1' }, field: 'spec.trafficPolicy.tls' },
    mode,
    sni: '',
    subjectAltNames: [],
    clientCertificate: '',
    privateKey: '',
    caCertificates: '',
    credentialName: '',
    insecureSkipVerify: false,
    ...wish,
  }
}

/** Bounds of what is under way to a host; what is not said is Istio's default. */
export function pool(wish: Partial<ConnectionPool>): ConnectionPool {
  return { ...NO_POLICY.pool, ...wish }
}
