// TLS that a DestinationRule asks for towards a server (Istio ClientTLSSettings): what it is made of, whom it asks for and
// whom it takes.

import { canonicalIp } from './address.ts'
import type { ClientTls, DestinationRule } from './traffic-policy.ts'

/** TLS by certificates and roots of its own, and not the mesh's. */
export type OwnTls = ClientTls & { readonly mode: 'SIMPLE' | 'MUTUAL' }

/** Whether it is the application's own server that is to be spoken TLS to. */
export function isOwnTls(tls: ClientTls): tls is OwnTls {
  return tls.mode === 'SIMPLE' || tls.mode === 'MUTUAL'
}

/** Every place of a rule that asks for TLS of its own. */
export function ownTlsIn({ policy, subsets }: DestinationRule): readonly OwnTls[] {
  return [policy, ...subsets.map((subset) => subset.policy)]
    .flatMap((one) => (one === null ? [] : [one.tls, ...one.ports.map(({ tls }) => tls)]))
    .filter((tls) => tls !== null)
    .filter(isOwnTls)
}

/**
 * Names the certificate and the roots that it needs: what is equal in all that they follow from has one name. It holds
 * where they are found, and nothing of what is found there.
 */
export function materialOf(tls: OwnTls): string {
  const { by, credentialName, caCertificates, insecureSkipVerify } = tls
  const own = tls.mode === 'MUTUAL' ? [by.object.namespace, tls.clientCertificate, tls.privateKey] : []
  const secret = credentialName === '' ? null : `${by.object.namespace}/${credentialName}`
  return JSON.stringify([tls.mode, secret, ...own, caCertificates, insecureSkipVerify])
}

/** Whom a server is asked for: the name that the rule gives, else the host. IP addresses are none (RFC 6066 §3). */
export function serverNameOf(tls: OwnTls, host: string): string | null {
  const name = tls.sni === '' ? host : tls.sni
  return canonicalIp(name) === null ? name : null
}

/** The names of which the server's certificate must have one; null: nobody asks. */
export function namesWanted(tls: OwnTls, host: string): readonly string[] | null {
  if (tls.insecureSkipVerify) return null
  return tls.subjectAltNames.length > 0 ? tls.subjectAltNames : [tls.sni === '' ? host : tls.sni]
}

/** What a certificate says that it is for. */
export interface CertifiedNames {
  readonly uris: readonly string[]
  readonly dnsNames: readonly string[]
  readonly ips: readonly string[]
}

/** Whether a certificate has one of the names: a URI as it is, an IP address, or a host (RFC 9525 §6.3). */
export function certifies({ uris, dnsNames, ips }: CertifiedNames, wanted: readonly string[]): boolean {
  return wanted.some((name) => {
    const ip = canonicalIp(name)
    if (ip !== null) return ips.some((one) => canonicalIp(one) === ip)
    return uris.includes(name) || dnsNames.some((pattern) => covers(bare(pattern), bare(name)))
  })
}

/** A star stands for the whole first label, and never behind it is the end of all names (`*.com`). */
function covers(pattern: string, name: string): boolean {
  if (pattern === name) return true
  const suffix = pattern.slice(1)
  const label = name.slice(0, name.length - suffix.length)
  return pattern.startsWith('*.') && suffix.lastIndexOf('.') > 0 && name === label + suffix && /^[^.]+$/.test(label)
}

/** A host in lower case, less its last dot. */
function bare(host: string): string {
  return (host.endsWith('.') ? host.slice(0, -1) : host).toLowerCase()
}
