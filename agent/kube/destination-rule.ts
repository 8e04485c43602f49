// Istio's DestinationRule, as the mesh's own.

import { DestinationRule as Schema } from '@kubernetes-models/istio/networking.istio.io/v1/DestinationRule'
import type { Balancer, DestinationRule, TrafficPolicy } from '../model/policy.ts'
import { type Shape, unhonoured } from './honoured.ts'
import type { DestinationRuleSpec, GivenPolicy } from './istio.ts'
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
    ports: (policy.portLevelSettings ?? []).flatMap(({ port, loadBalancer }) =>
      port?.number === undefined ? [] : [{ port: port.number, balancer: balancer(loadBalancer?.simple) }],
    ),
  }
}

function balancer(simple: string | undefined): Balancer | null {
  return simple === undefined ? null : (BALANCERS[simple] ?? null)
}

/** Where a balancer is asked for by a name that is not honoured (PASSTHROUGH), or for a port that is not named. */
function unknownBalancers(spec: DestinationRuleSpec): string[] {
  const policies = [
    { policy: spec.trafficPolicy, path: 'spec.trafficPolicy' },
    ...(spec.subsets ?? []).map(({ trafficPolicy: policy }, index) => ({
      policy: policy,
      path: `spec.subsets[${index}].trafficPolicy`,
    })),
  ]
  return policies.flatMap(({ policy, path }) => {
    const own = isUnknown(policy?.loadBalancer?.simple) ? [`${path}.loadBalancer.simple`] : []
    const byPort = (policy?.portLevelSettings ?? []).flatMap(({ port, loadBalancer }, index) => {
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
