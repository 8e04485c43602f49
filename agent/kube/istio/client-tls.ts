// TLS that a DestinationRule asks for.

import type { ClientTls } from '../../model/traffic-policy.ts'
import type { GivenTls } from '../istio.ts'
import { Rejected } from '../translate.ts'
import type { Reading } from './checked.ts'

/** The first of Istio's modes is what is meant without one. */
const UNSAID: ClientTls['mode'] = 'DISABLE'

/** Throws Rejected where TLS is asked for that cannot be: by a Secret and files both, or mutual by neither. */
export function clientTls(given: GivenTls, by: ClientTls['by'], { report }: Reading): ClientTls {
  demandSound(given, by.field)
  for (const { name, reason } of idleTls(given)) report(`${by.field}.${name}`, reason)
  return {
    by,
    mode: given.mode ?? UNSAID,
    sni: given.sni ?? '',
    subjectAltNames: given.subjectAltNames ?? [],
    clientCertificate: given.clientCertificate ?? '',
    privateKey: given.privateKey ?? '',
    caCertificates: given.caCertificates ?? '',
    credentialName: given.credentialName ?? '',
    insecureSkipVerify: given.insecureSkipVerify ?? false,
  }
}

/** What a Secret is given in place of. */
const FILES = ['clientCertificate', 'privateKey', 'caCertificates', 'caCrl'] as const

/** What a Secret may be called (RFC 1123 §2.1). */
const SECRET_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/

function demandSound(tls: GivenTls, path: string): void {
  if (tls.mode !== 'SIMPLE' && tls.mode !== 'MUTUAL') return
  if (tls.credentialName) {
    const file = FILES.find((name) => tls[name])
    if (file !== undefined) throw new Rejected(`${path}.${file}`, 'must not stand beside credentialName')
    if (!SECRET_NAME.test(tls.credentialName)) throw new Rejected(`${path}.credentialName`, 'is no name of a Secret')
  } else if (tls.mode === 'MUTUAL') {
    const missing = (['clientCertificate', 'privateKey'] as const).find((name) => !tls[name])
    if (missing !== undefined) throw new Rejected(`${path}.${missing}`, 'is required for MUTUAL without credentialName')
  }
}

const OF_OWN_TLS = [
  ...(['sni', 'clientCertificate', 'privateKey', 'caCertificates'] as const),
  ...(['credentialName', 'insecureSkipVerify'] as const),
]
/** The fields that a mode has no use for. */
const IDLE: Readonly<Record<ClientTls['mode'], readonly (keyof GivenTls)[]>> = {
  DISABLE: [...OF_OWN_TLS, 'subjectAltNames'],
  ISTIO_MUTUAL: OF_OWN_TLS, // the mesh knows whom it expects, and by which certificates
  SIMPLE: ['clientCertificate', 'privateKey'],
  MUTUAL: [],
}
/** The fields that nobody looks at where any certificate is taken. */
const UNVERIFIED: readonly (keyof GivenTls)[] = ['caCertificates', 'subjectAltNames']

/** Fields that are given and do nothing beside the others. */
function idleTls(tls: GivenTls): { readonly name: string; readonly reason: string }[] {
  const mode = tls.mode ?? UNSAID
  const isGiven = (name: keyof GivenTls): boolean => {
    const value = tls[name]
    return Array.isArray(value) ? value.length > 0 : Boolean(value)
  }
  const isUnverified = tls.insecureSkipVerify === true && (mode === 'SIMPLE' || mode === 'MUTUAL')
  return [
    ...IDLE[mode].filter(isGiven).map((name) => ({ name, reason: `has no effect with ${mode}` })),
    ...(isUnverified ? UNVERIFIED : []).filter(isGiven).map((name) => {
      return { name, reason: 'has no effect with insecureSkipVerify' }
    }),
  ]
}
