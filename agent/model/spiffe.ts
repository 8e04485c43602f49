// Whom a certificate names: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT.

/** An identity of the mesh, in its parts. */
export interface SpiffeId {
  readonly trustDomain: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** SPIFFE-ID §2.1. */
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/
/** RFC 1123, as Kubernetes names namespaces. */
const LABEL = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/
const LABEL_MOST = 63
/** Of a service account's name, which may have dots. */
const NAME_MOST = 253

/** Whether this can be the trust domain of an identity. */
export function isTrustDomain(name: string): boolean {
  return TRUST_DOMAIN.test(name)
}

/** The URI of an identity. */
export function spiffeUri({ trustDomain, namespace, serviceAccount }: SpiffeId): string {
  return `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
}

/** Reads such a URI, as it must stand to the letter: null where it is any other. */
export function readSpiffeUri(uri: string): SpiffeId | null {
  const [scheme, nothing, trustDomain = '', ns, namespace = '', sa, serviceAccount = '', ...more] = uri.split('/')
  if (scheme !== 'spiffe:' || nothing !== '' || ns !== 'ns' || sa !== 'sa' || more.length > 0) return null
  const isSound =
    isTrustDomain(trustDomain) &&
    namespace.length <= LABEL_MOST &&
    LABEL.test(namespace) &&
    serviceAccount.length <= NAME_MOST &&
    serviceAccount.split('.').every((label) => LABEL.test(label))
  return isSound ? { trustDomain, namespace, serviceAccount } : null
}
