// Istio's AuthorizationPolicy, as the mesh's own.

import { AuthorizationPolicy as Schema } from '@kubernetes-models/istio/security.istio.io/v1/AuthorizationPolicy'
import type { Action, AuthorizationPolicy } from '../model/authorization/policy.ts'
import type { ObjectRef } from '../model/workload.ts'
import { type Lack, unhonoured } from './honoured.ts'
import type { AuthorizationPolicySpec } from './istio.ts'
import { aimOf, aimOfUnread } from './istio/aim.ts'
import { authorizationRule } from './istio/authorization-rule.ts'
import { AUTHORIZATION_POLICY_FIELDS } from './istio/security-fields.ts'
import type { KubeObject } from './object.ts'
import {
  asWished,
  attempt,
  createdMs,
  DRY_RUN,
  refOf,
  type Rejected,
  schemaFault,
  type Translation,
  withoutNulls,
} from './translate.ts'

/** What agents do with what Istio refuses where they never knew a sound version: nothing may be open for a slip. */
const UNTIL_SOUND: Readonly<Record<Action, string>> = {
  ALLOW: 'while no sound version was ever known, such a rule allows nothing',
  DENY: 'while no sound version was ever known, such a rule denies all that the rest of it matches',
  CUSTOM: 'while no sound version was ever known, such a rule has all asked about that the rest of it matches',
  AUDIT: 'while no sound version was ever known, such a rule notes nothing',
}

const SPEC_FIELDS = { ...(AUTHORIZATION_POLICY_FIELDS as object), rules: true } as const

/**
 * Translates an AuthorizationPolicy of any served version (their schemas are one). What Istio's own rules refuse is refused
 * here too, and the last sound version stays; the value is then what is in force where there never was one.
 */
export function translateAuthorizationPolicy(given: KubeObject): Translation<AuthorizationPolicy> {
  const ref = refOf('AuthorizationPolicy', given)
  return attempt(ref, () => {
    const object = withoutNulls(given)
    const fault = schemaFault(new Schema(asWished(object)))
    if (fault !== null) return closed(ref, object, fault)
    const spec = (object.spec ?? {}) as AuthorizationPolicySpec
    const { action = 'ALLOW', rules = [] } = spec
    const { aim, faults, lacks } = aimOf(spec, ref.namespace)
    const provider = providerOf(spec, action)
    const dryRun = dryRunOf(object, action)
    const read = rules.map((rule, index) => authorizationRule(rule, index, { action, namespace: ref.namespace }))
    const ofRules = read.flatMap((one) => one.faults)
    const refused = [...faults, ...provider.faults, ...ofRules.map((fault) => untilSound(fault, action))]
    const told = new Set(refused.map(({ field }) => field))
    const unread = unhonoured(spec, SPEC_FIELDS, 'spec').filter(({ field }) => !told.has(field))
    const ofMeaning = read.flatMap((one) => one.remarks)
    const remarks = [...unread, ...lacks, ...dryRun.lacks, ...emptyOf(action, rules), ...ofMeaning]
    return {
      rejected: refused.length > 0,
      problems: [...refused, ...remarks].map((lack) => ({ object: ref, ...lack })),
      value: {
        ref,
        createdMs: createdMs(object),
        ...aim,
        action,
        provider: provider.name,
        dryRun: dryRun.isDry,
        rules: read.map(({ rule }) => rule),
      },
    }
  })
}

/**
 * What no schema passes is not read any further. Whoever it is for is closed until it is right, where there never was a
 * sound version: it was to keep somebody out. An AUDIT never was.
 */
function closed(ref: ObjectRef, object: KubeObject, { field, message }: Rejected): Translation<AuthorizationPolicy> {
  const aim = aimOfUnread(object.spec, ref.namespace)
  const isAudit = (object.spec as { readonly action?: unknown } | undefined)?.action === 'AUDIT'
  if (aim === null || isAudit)
    return { value: null, rejected: true, problems: [{ object: ref, field, reason: message }] }
  const reason = `${message} (while no sound version was ever known, nothing is allowed where it is for)`
  return {
    rejected: true,
    problems: [{ object: ref, field, reason }],
    value: {
      ...{ ref, createdMs: createdMs(object), ...aim, action: 'ALLOW', provider: '', rules: [] },
      dryRun: dryRunOf(object, 'ALLOW').isDry,
    },
  }
}

function untilSound({ field, reason }: Lack, action: Action): Lack {
  return { field, reason: `${reason} (${UNTIL_SOUND[action]})` }
}

/** A provider that is not said is none that is there: whoever would be asked about is refused. */
function providerOf(
  { provider }: AuthorizationPolicySpec,
  action: Action,
): { readonly name: string; readonly faults: readonly Lack[] } {
  const name = provider?.name ?? ''
  if (action === 'CUSTOM') {
    if (name !== '') return { name, faults: [] }
    const until = 'while no sound version was ever known, all that would be asked about is refused'
    return { name, faults: [{ field: 'spec.provider.name', reason: `is required for CUSTOM (${until})` }] }
  }
  if (provider === undefined) return { name: '', faults: [] }
  return { name: '', faults: [{ field: 'spec.provider', reason: `is for CUSTOM alone, and not for ${action}` }] }
}

/** Go's strconv.ParseBool, which Istio reads the annotation with. */
const TRUTHS: ReadonlySet<string> = new Set(['1', 't', 'T', 'true', 'TRUE', 'True'])
const FALSEHOODS: ReadonlySet<string> = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False'])

function dryRunOf(
  { metadata }: KubeObject,
  action: Action,
): { readonly isDry: boolean; readonly lacks: readonly Lack[] } {
  const text = metadata.annotations?.[DRY_RUN]
  const lack = (reason: string): { readonly isDry: false; readonly lacks: readonly Lack[] } => {
    return { isDry: false, lacks: [{ field: `metadata.annotations[${DRY_RUN}]`, reason }] }
  }
  if (text === undefined || FALSEHOODS.has(text)) return { isDry: false, lacks: [] }
  if (!TRUTHS.has(text)) return lack(`'${text}' is neither true nor false: the object is in force`)
  if (action === 'ALLOW' || action === 'DENY') return { isDry: true, lacks: [] }
  return lack(`is honoured for ALLOW and DENY: this ${action} is in force`)
}

/** An ALLOW without rules denies all, which is a usual way to say so; others do nothing at all. */
function emptyOf(action: Action, rules: readonly unknown[]): readonly Lack[] {
  if (action === 'ALLOW' || rules.length > 0) return []
  return [
    { field: 'spec.rules', reason: `has no rule: this ${action} matches nothing, where {} would match everything` },
  ]
}
