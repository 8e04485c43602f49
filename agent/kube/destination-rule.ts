// Istio's DestinationRule, as the mesh's own.

import { DestinationRule as Schema } from '@kubernetes-models/istio/networking.istio.io/v1/DestinationRule'
import type { Balancer, ClientTls, DestinationRule, TrafficPolicy } from '../model/policy.ts'
import { type Shape, unhonoured } from './honoured.ts'
import type { DestinationRuleSpec, GivenPolicy, GivenTls } from './istio.ts'
import type { KubeObject } from './object.ts'
import {
  asWished,
  attempt,
  createdMs,
  demandValid,
  refOf,
  Rejected,
  resolveExportTo,
  resolveHost,
  type Translation,
  withoutNulls,
} from './translate.ts'

const LOAD_BALANCER: Shape = { simple: true }
const TLS: Shape = {
  mode: true,
  sni: true,
  subjectAltNames: true,
  clientCertificate: true,
  privateKey: true,
  caCertificates: true,
  credentialName: true,
  insecureSkipVerify: true,
}
const TRAFFIC_POLICY: Shape = {
  loadBalancer: LOAD_BALANCER,
  tls: TLS,
  portLevelSettings: [{ port: true, loadBalancer: LOAD_BALANCER, tls: TLS }],
}
const HONOURED: Shape = {
  host: true,
  exportTo: true,
  trafficPolicy: TRAFFIC_POLICY,
  subsets: [{ name: true, labels: true, trafficPolicy: TRAFFIC_POLICY }],
}

/** Balancers by Istio's name; LEAST_CONN is its old name of LEAST_REQUEST. */
const BALANCERS: Readonly<Record<string, Balancer | null>> = {
  UNSPECIFIED: null,
  ROUND_ROBIN: 'ROUND_ROBIN',
  LEAST_REQUEST: 'LEAST_REQUEST',
  LEAST_CONN: 'LEAST_REQUEST',
  RANDOM: 'RANDOM',
}

/** The first of Istio's modes is what is meant without one. */
const UNSAID: ClientTls['mode'] = 'DISABLE'

/**
 * Translates a DestinationRule of any served version (their schemas are one). Fields that are not honoured are named
 * and the rest is in force; what the schema refuses is not in force at all.
 */
export function translateDestinationRule(given: KubeObject, clusterDomain: string): Translation<DestinationRule> {
  const ref = refOf('DestinationRule', given)
  return attempt(ref, () => {
    const object = withoutNulls(given)
    demandValid(new Schema(asWished(object)))
    if (object.spec === undefined) throw new Rejected('spec', 'is required')
    const spec = object.spec as DestinationRuleSpec
    demandSoundTls(spec)
    const fields = [...unhonoured(spec, HONOURED, 'spec'), ...unknownBalancers(spec)]
    const unheard = fields.map((field) => ({ object: ref, field, reason: 'this field is not honoured' }))
    return {
      rejected: false,
      problems: [...unheard, ...idleTls(spec).map((one) => ({ object: ref, ...one }))],
      value: {
        ref,
        createdMs: createdMs(object),
        host: resolveHost(spec.host, ref.namespace, clusterDomain),
        exportTo: resolveExportTo(spec.exportTo, ref.namespace),
        policy: trafficPolicy(spec.trafficPolicy, { object: ref, field: 'spec.trafficPolicy' }),
        subsets: (spec.subsets ?? []).map(({ name, labels, trafficPolicy: policy }, index) => ({
          name,
          labels: labels ?? {},
          policy: trafficPolicy(policy, { object: ref, field: `spec.subsets[${index}].trafficPolicy` }),
        })),
      },
    }
  })
}

function trafficPolicy(policy: GivenPolicy | undefined, by: ClientTls['by']): TrafficPolicy | null {
  if (policy === undefined) return null
  const at = (path: string): ClientTls['by'] => ({ ...by, field: `${by.field}.${path}` })
  return {
    balancer: balancer(policy.loadBalancer?.simple),
    tls: clientTls(policy.tls, at('tls')),
    ports: (policy.portLevelSettings ?? []).flatMap(({ port, loadBalancer, tls }, index) => {
      if (port?.number === undefined) return []
      const own = clientTls(tls, at(`portLevelSettings[${index}].tls`))
      return [{ port: port.number, balancer: balancer(loadBalancer?.simple), tls: own }]
    }),
  }
}

function balancer(simple: string | undefined): Balancer | null {
  return simple === undefined ? null : (BALANCERS[simple] ?? null)
}

function clientTls(given: GivenTls | undefined, by: ClientTls['by']): ClientTls | null {
  if (given === undefined) return null
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

/** Every policy of a rule, and where it stands. */
function policiesOf(spec: DestinationRuleSpec): { readonly policy: GivenPolicy; readonly path: string }[] {
  const all = [
    { policy: spec.trafficPolicy, path: 'spec.trafficPolicy' },
    ...(spec.subsets ?? []).map(({ trafficPolicy: policy }, index) => ({
      policy,
      path: `spec.subsets[${index}].trafficPolicy`,
    })),
  ]
  return all.flatMap(({ policy, path }) => (policy === undefined ? [] : [{ policy, path }]))
}

/** What a Secret is given in place of. */
const FILES = ['clientCertificate', 'privateKey', 'caCertificates', 'caCrl'] as const

/** What a Secret may be called (RFC 1123 §2.1). */
const SECRET_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/

/** Every TLS setting of a rule, and where it stands. */
function tlsOf(spec: DestinationRuleSpec): { readonly tls: GivenTls; readonly path: string }[] {
  return policiesOf(spec)
    .flatMap(({ policy, path }) => [
      { tls: policy.tls, path: `${path}.tls` },
      ...(policy.portLevelSettings ?? []).map(({ tls }, index) => {
        return { tls, path: `${path}.portLevelSettings[${index}].tls` }
      }),
    ])
    .flatMap(({ tls, path }) => (tls === undefined ? [] : [{ tls, path }]))
}

/** Throws Rejected where TLS is asked for that cannot be: by a Secret and files both, or mutual by neither. */
function demandSoundTls(spec: DestinationRuleSpec): void {
  for (const { tls, path } of tlsOf(spec)) demandSound(tls, path)
}

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

/** TLS fields that are given and do nothing beside the others. */
function idleTls(spec: DestinationRuleSpec): { readonly field: string; readonly reason: string }[] {
  return tlsOf(spec).flatMap(({ tls, path }) => {
    const mode = tls.mode ?? UNSAID
    const isGiven = (name: keyof GivenTls): boolean => {
      const value = tls[name]
      return Array.isArray(value) ? value.length > 0 : Boolean(value)
    }
    const isUnverified = tls.insecureSkipVerify === true && (mode === 'SIMPLE' || mode === 'MUTUAL')
    return [
      ...IDLE[mode].filter(isGiven).map((name) => ({ field: `${path}.${name}`, reason: `has no effect with ${mode}` })),
      ...(isUnverified ? UNVERIFIED : []).filter(isGiven).map((name) => {
        return { field: `${path}.${name}`, reason: 'has no effect with insecureSkipVerify' }
      }),
    ]
  })
}

/** Where a balancer is asked for by a name that is not honoured (PASSTHROUGH), or for a port that is not named. */
function unknownBalancers(spec: DestinationRuleSpec): string[] {
  return policiesOf(spec).flatMap(({ policy, path }) => {
    const own = isUnknown(policy.loadBalancer?.simple) ? [`${path}.loadBalancer.simple`] : []
    const byPort = (policy.portLevelSettings ?? []).flatMap(({ port, loadBalancer }, index) => {
      const at = `${path}.portLevelSettings[${index}]`
      if (port?.number === undefined) return [at]
      return isUnknown(loadBalancer?.simple) ? [`${at}.loadBalancer.simple`] : []
    })
    return [...own, ...byPort]
  })
}

function isUnknown(simple: string | undefined): boolean {
  return simple !== undefined && !(simple in BALANCERS)
}
