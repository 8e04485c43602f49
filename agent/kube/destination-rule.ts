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

// tls is translated and not named here: no connection is secured by it yet, so it is told
const LOAD_BALANCER: Shape = { simple: true }
const TRAFFIC_POLICY: Shape = {
  loadBalancer: LOAD_BALANCER,
  portLevelSettings: [{ port: true, loadBalancer: LOAD_BALANCER }],
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
    return {
      rejected: false,
      problems: fields.map((field) => ({ object: ref, field, reason: 'this field is not honoured' })),
      value: {
        ref,
        createdMs: createdMs(object),
        host: resolveHost(spec.host, ref.namespace, clusterDomain),
        exportTo: resolveExportTo(spec.exportTo, ref.namespace),
        policy: trafficPolicy(spec.trafficPolicy),
        subsets: (spec.subsets ?? []).map(({ name, labels, trafficPolicy: policy }) => ({
          name,
          labels: labels ?? {},
          policy: trafficPolicy(policy),
        })),
      },
    }
  })
}

function trafficPolicy(policy: GivenPolicy | undefined): TrafficPolicy | null {
  if (policy === undefined) return null
  return {
    balancer: balancer(policy.loadBalancer?.simple),
    tls: clientTls(policy.tls),
    ports: (policy.portLevelSettings ?? []).flatMap(({ port, loadBalancer, tls }) => {
      if (port?.number === undefined) return []
      return [{ port: port.number, balancer: balancer(loadBalancer?.simple), tls: clientTls(tls) }]
    }),
  }
}

function balancer(simple: string | undefined): Balancer | null {
  return simple === undefined ? null : (BALANCERS[simple] ?? null)
}

function clientTls(given: GivenTls | undefined): ClientTls | null {
  if (given === undefined) return null
  return {
    mode: given.mode ?? 'DISABLE', // the first of Istio's names is what is meant without one
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

/** Throws Rejected where TLS is asked for that cannot be: by a Secret and files both, or mutual by neither. */
function demandSoundTls(spec: DestinationRuleSpec): void {
  for (const { policy, path } of policiesOf(spec)) {
    demandSound(policy.tls, `${path}.tls`)
    for (const [index, { tls }] of (policy.portLevelSettings ?? []).entries()) {
      demandSound(tls, `${path}.portLevelSettings[${index}].tls`)
    }
  }
}

function demandSound(tls: GivenTls | undefined, path: string): void {
  if (tls === undefined || (tls.mode !== 'SIMPLE' && tls.mode !== 'MUTUAL')) return
  if (tls.credentialName) {
    const file = FILES.find((name) => tls[name])
    if (file !== undefined) throw new Rejected(`${path}.${file}`, 'must not stand beside credentialName')
  } else if (tls.mode === 'MUTUAL') {
    const missing = (['clientCertificate', 'privateKey'] as const).find((name) => !tls[name])
    if (missing !== undefined) throw new Rejected(`${path}.${missing}`, 'is required for MUTUAL without credentialName')
  }
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
