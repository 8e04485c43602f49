// For which pods an AuthorizationPolicy or a RequestAuthentication is.

import type { Aim, TargetService } from '../../model/authorization/policy.ts'
import type { Lack } from '../honoured.ts'
import type { GivenAim, GivenTarget } from '../istio.ts'
import { labels } from './checked.ts'

/** Who an object is for; what of that Istio refuses, and what of it has no effect here. */
export interface AimRead {
  readonly aim: Pick<Aim, 'selector' | 'targets'>
  readonly faults: readonly Lack[]
  readonly lacks: readonly Lack[]
}

/** Kinds that Istio attaches policies to, and nobody serves here. */
const ELSEWHERE: ReadonlySet<string> = new Set([
  'gateway.networking.k8s.io/Gateway',
  'gateway.networking.k8s.io/GatewayClass',
  'networking.istio.io/ServiceEntry',
])

/**
 * Reads selector, targetRef and targetRefs. An object with targets is for their endpoints alone: where none of them is one
 * that is known here it is for nobody, and never for its whole namespace. Throws Rejected for labels that no pod can carry.
 */
export function aimOf({ selector, targetRef, targetRefs = [] }: GivenAim, namespace: string): AimRead {
  const wanted = labels(selector?.matchLabels, 'spec.selector.matchLabels')
  const given = [
    ...(targetRef === undefined ? [] : [{ target: targetRef, path: 'spec.targetRef' }]),
    ...targetRefs.map((target, index) => ({ target, path: `spec.targetRefs[${index}]` })),
  ]
  const faults: Lack[] = []
  const lacks: Lack[] = []
  const ways = [selector, targetRef, targetRefs.length === 0 ? undefined : targetRefs]
  if (ways.filter((way) => way !== undefined).length > 1) {
    faults.push({ field: 'spec', reason: 'may have one of selector, targetRef and targetRefs alone' })
  }
  const targets = given.flatMap(({ target, path }) => {
    const fault = faultOf(target, path)
    const lack = fault === null ? lackOf(target, path) : null
    if (fault !== null) faults.push(fault)
    if (lack !== null) lacks.push(lack)
    return fault === null && lack === null ? [{ namespace, name: target.name }] : []
  })
  return { aim: { selector: selecting(wanted), targets: targetsOf(selector, given.length, targets) }, faults, lacks }
}

/** For whom an object is whose spec no schema has passed; null where it does not tell. */
export function aimOfUnread(spec: unknown, namespace: string): AimRead['aim'] | null {
  if (spec !== undefined && !isMapping(spec)) return null
  const { selector, targetRef, targetRefs } = spec ?? {}
  if (selector !== undefined && !isSelector(selector)) return null
  if (targetRefs !== undefined && !Array.isArray(targetRefs)) return null
  const several = (targetRefs ?? []) as readonly unknown[]
  const targets = targetRef === undefined ? several : [targetRef, ...several]
  if (!targets.every(isTarget)) return null
  try {
    return aimOf({ ...(selector === undefined ? {} : { selector }), targetRefs: targets }, namespace).aim
  } catch {
    return null // labels that no pod can carry
  }
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSelector(value: unknown): value is NonNullable<GivenAim['selector']> {
  if (!isMapping(value)) return false
  const { matchLabels = {} } = value
  return isMapping(matchLabels) && Object.values(matchLabels).every((label) => typeof label === 'string')
}

function isTarget(value: unknown): value is GivenTarget {
  return isMapping(value) && typeof value['kind'] === 'string' && typeof value['name'] === 'string'
}

/** No label to carry: all of the namespace. */
function selecting(wanted: Readonly<Record<string, string>>): Aim['selector'] {
  return Object.keys(wanted).length === 0 ? null : wanted
}

/** Where both are given, which is refused, the selector counts: no pod that it names is left without the object. */
function targetsOf(selector: unknown, given: number, targets: readonly TargetService[]): Aim['targets'] {
  return given === 0 || selector !== undefined ? null : targets
}

function faultOf({ group = '', kind, namespace = '' }: GivenTarget, path: string): Lack | null {
  if (namespace !== '') {
    return { field: `${path}.namespace`, reason: 'must be empty: a target is of the object’s own namespace' }
  }
  if (isService(group, kind) || ELSEWHERE.has(`${group}/${kind}`)) return null
  return { field: `${path}.kind`, reason: `'${group === '' ? kind : `${group}/${kind}`}' is no kind that Istio knows` }
}

function lackOf({ group = '', kind }: GivenTarget, path: string): Lack | null {
  if (isService(group, kind)) return null
  return { field: path, reason: `has no effect: nothing is attached to a ${kind} yet` }
}

function isService(group: string, kind: string): boolean {
  return kind === 'Service' && (group === '' || group === 'core')
}
