// All that can be said of a set of objects before, or while, they are in force: pure, and in the order of the objects.

import { analyseAuthorization } from './authorization.ts'
import { analyseDestinations } from './destination.ts'
import { analyseDestinationRules } from './destination-rule.ts'
import { analyseRules } from './rules.ts'
import { analyseExports, analysePeerAuthentications, analyseServices } from './service.ts'
import { severityOf, type Severity } from './codes.ts'
import { analyseVirtualServices } from './virtual-service.ts'
import { type AnalysisWorld, type Finding, nameOf, namespacesOf } from './world.ts'
import {
  destinationRuleLosses,
  type Ground,
  type Loss,
  type Losses,
  losesKey,
  peerAuthenticationLosses,
  virtualServiceLosses,
} from '../conflict.ts'
import type { Problem } from '../policy.ts'
import { lossText } from '../verdict.ts'
import type { ObjectRef } from '../workload.ts'

/** Every analysis that there is. */
const ANALYSES: readonly ((world: AnalysisWorld) => readonly Finding[])[] = [
  analyseTranslations,
  analyseLosses,
  analyseExports,
  analyseVirtualServices,
  analyseDestinations,
  analyseRules,
  analyseDestinationRules,
  analyseServices,
  analysePeerAuthentications,
  analyseAuthorization,
]

/** All findings, by kind, namespace and name of their objects, then by code and field. */
export function analyse(world: AnalysisWorld): readonly Finding[] {
  return inOrder(ANALYSES.flatMap((analysis) => analysis(world)))
}

/** The order in which findings are told: the same ones always stand in the same place. */
export function inOrder(findings: readonly Finding[]): readonly Finding[] {
  const order = new Intl.Collator('en', { numeric: true }).compare
  return [...findings].sort(
    (one, other) =>
      order(nameOf(one.object), nameOf(other.object)) ||
      order(one.code, other.code) ||
      order(one.field, other.field) ||
      order(one.message, other.message),
  )
}

/** What was found as the objects were read. */
function analyseTranslations({ rejected, unhonoured, unread }: AnalysisWorld): readonly Finding[] {
  const ofProblem = (code: Finding['code'], problem: Problem, severity: Severity = severityOf(code)): Finding => {
    const { object, field, reason } = problem
    return { code, severity, object, field, message: reason }
  }
  const kinds = unread.map(({ object, guards }): Finding => {
    const message = guards
      ? 'this version does not read the kind: nobody is kept out by it'
      : 'this version does not read the kind'
    return { code: 'WEFT0106', severity: guards ? 'warning' : 'info', object, field: '', message }
  })
  return [
    ...rejected.map((problem) => ofProblem('WEFT0101', problem)),
    ...unhonoured.map((problem) => {
      if (/(^|\.)gateways(\[\d+\])?$/.test(problem.field)) return ofProblem('WEFT0219', problem)
      // what a Service asks for beyond a policy is carried, if otherwise
      return ofProblem('WEFT0102', problem, problem.object.kind === 'Service' ? 'info' : 'warning')
    }),
    ...kinds,
  ]
}

/** Who overrides whom, as the controller tells it in a status. */
function analyseLosses(world: AnalysisWorld): readonly Finding[] {
  const { virtualServices, destinationRules, peerAuthentications, rootNamespace, clusterDomain } = world
  const pods = world.pods.filter(({ joined }) => joined !== false)
  const ground: Ground = { namespaces: [...namespacesOf(world)].sort(), rootNamespace, clusterDomain, pods }
  return [
    ...ofLosses(virtualServices, virtualServiceLosses(virtualServices, ground)),
    ...ofLosses(destinationRules, destinationRuleLosses(destinationRules, ground)),
    ...ofLosses(peerAuthentications, peerAuthenticationLosses(peerAuthentications, ground)),
  ]
}

function ofLosses(objects: readonly { readonly ref: ObjectRef }[], losses: Losses): readonly Finding[] {
  return objects.flatMap(({ ref }) =>
    (losses.get(losesKey(ref)) ?? []).map((loss): Finding => {
      const code = codeOf(loss)
      return { code, severity: severityOf(code), object: ref, field: loss.fields[0] ?? '', message: lossText(loss) }
    }),
  )
}

function codeOf({ fields, whole }: Loss): Finding['code'] {
  if (fields.length > 0) return 'WEFT0105'
  return whole ? 'WEFT0103' : 'WEFT0104'
}
