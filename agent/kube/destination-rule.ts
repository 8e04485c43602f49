// Istio's DestinationRule, as the mesh's own.

import { DestinationRule as Schema } from '@kubernetes-models/istio/networking.istio.io/v1/DestinationRule'
import type { DestinationRule, Subset } from '../model/traffic-policy.ts'
import { unhonoured } from './honoured.ts'
import type { DestinationRuleSpec } from './istio.ts'
import { demandDomain, dnsLabel, labels, optional } from './istio/checked.ts'
import { DESTINATION_RULE_FIELDS } from './istio/fields.ts'
import { type PolicyReading, trafficPolicy } from './istio/traffic-policy.ts'
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

/**
 * Translates a DestinationRule of any served version (their schemas are one). Fields that are not honoured are named
 * and the rest is in force; what the schema or Istio's own rules refuse is not in force at all.
 */
export function translateDestinationRule(given: KubeObject, clusterDomain: string): Translation<DestinationRule> {
  const ref = refOf('DestinationRule', given)
  return attempt(ref, () => {
    const object = withoutNulls(given)
    demandValid(new Schema(asWished(object)))
    if (object.spec === undefined) throw new Rejected('spec', 'is required')
    const spec = object.spec as DestinationRuleSpec
    const problems = unhonoured(spec, DESTINATION_RULE_FIELDS, 'spec')
    const { namespace } = ref
    const reading: PolicyReading = {
      object: ref,
      namespace,
      resolve: (host) => resolveHost(host, namespace, clusterDomain),
      report: (field, reason) => problems.push({ field, reason }),
    }
    const policyAt = (policy: DestinationRuleSpec['trafficPolicy'], path: string): DestinationRule['policy'] => {
      return optional(policy, `${path}.trafficPolicy`, (one, at) => trafficPolicy(one, at, reading))
    }
    demandDomain(spec.host, 'spec.host')
    const value: DestinationRule = {
      ref,
      createdMs: createdMs(object),
      host: reading.resolve(spec.host),
      exportTo: resolveExportTo(spec.exportTo, namespace),
      callers: callersOf(spec, namespace),
      policy: policyAt(spec.trafficPolicy, 'spec'),
      subsets: subsetsOf(spec, policyAt),
    }
    return { rejected: false, problems: problems.map((problem) => ({ object: ref, ...problem })), value }
  })
}

/** A selector reaches no further than its own namespace; without labels it selects all that is there. */
function callersOf({ workloadSelector, exportTo }: DestinationRuleSpec, namespace: string): DestinationRule['callers'] {
  if (workloadSelector === undefined) return null
  const isOwn = resolveExportTo(exportTo, namespace).every((name) => name === namespace)
  if (exportTo?.length && !isOwn)
    throw new Rejected('spec.exportTo', 'beside workloadSelector must be the own namespace')
  return labels(workloadSelector.matchLabels, 'spec.workloadSelector.matchLabels')
}

function subsetsOf(
  { subsets = [] }: DestinationRuleSpec,
  policyAt: (policy: DestinationRuleSpec['trafficPolicy'], path: string) => DestinationRule['policy'],
): readonly Subset[] {
  const names = new Set<string>()
  return subsets.map(({ name, labels: carried, trafficPolicy: policy }, index) => {
    const path = `spec.subsets[${index}]`
    dnsLabel(name, `${path}.name`)
    if (names.has(name)) throw new Rejected(`${path}.name`, `'${name}' is the name of an earlier one`)
    names.add(name)
    return { name, labels: labels(carried, `${path}.labels`), policy: policyAt(policy, path) }
  })
}
