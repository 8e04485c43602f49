// Istio's RequestAuthentication, as the mesh's own.

import { RequestAuthentication as Schema } from '@kubernetes-models/istio/security.istio.io/v1/RequestAuthentication'
import type { RequestAuthentication } from '../model/authentication/request-authentication.ts'
import type { ObjectRef } from '../model/workload.ts'
import { unhonoured } from './honoured.ts'
import type { RequestAuthenticationSpec } from './istio.ts'
import { aimOf, aimOfUnread } from './istio/aim.ts'
import { jwtRule, NO_TOKEN_IS_GOOD } from './istio/jwt-rule.ts'
import { REQUEST_AUTHENTICATION_FIELDS } from './istio/security-fields.ts'
import type { KubeObject } from './object.ts'
import {
  asWished,
  attempt,
  createdMs,
  refOf,
  type Rejected,
  schemaFault,
  type Translation,
  withoutNulls,
} from './translate.ts'

/** What agents do with what Istio refuses where they never knew a sound version. */
const UNTIL_SOUND = 'while no sound version was ever known, no token is good by such a rule'

/**
 * Translates a RequestAuthentication of any served version (their schemas are one). What Istio's own rules refuse is refused
 * here too, and the last sound version stays; the value is then what is in force where there never was one.
 */
export function translateRequestAuthentication(given: KubeObject): Translation<RequestAuthentication> {
  const ref = refOf('RequestAuthentication', given)
  return attempt(ref, () => {
    const object = withoutNulls(given)
    const fault = schemaFault(new Schema(asWished(object)))
    if (fault !== null) return closed(ref, object, fault)
    const spec = (object.spec ?? {}) as RequestAuthenticationSpec
    const { aim, faults, lacks } = aimOf(spec, ref.namespace)
    const read = (spec.jwtRules ?? []).map(jwtRule)
    const ofRules = read.flatMap((one) => one.faults)
    const refused = [
      ...faults,
      ...ofRules.map(({ field, reason }) => ({ field, reason: `${reason} (${UNTIL_SOUND})` })),
    ]
    const told = new Set(refused.map(({ field }) => field))
    const unread = unhonoured(spec, REQUEST_AUTHENTICATION_FIELDS, 'spec').filter(({ field }) => !told.has(field))
    const remarks = [...unread, ...lacks, ...read.flatMap((one) => one.lacks)]
    return {
      rejected: refused.length > 0,
      problems: [...refused, ...remarks].map((lack) => ({ object: ref, ...lack })),
      value: { ref, createdMs: createdMs(object), ...aim, rules: read.map(({ rule }) => rule) },
    }
  })
}

/** What no schema passes is not read any further: it may be of any issuer that it speaks, and no token is good. */
function closed(ref: ObjectRef, object: KubeObject, { field, message }: Rejected): Translation<RequestAuthentication> {
  const aim = aimOfUnread(object.spec, ref.namespace)
  const problem = { object: ref, field, reason: aim === null ? message : `${message} (${UNTIL_SOUND})` }
  const value = aim === null ? null : { ref, createdMs: createdMs(object), ...aim, rules: [NO_TOKEN_IS_GOOD] }
  return { value, rejected: true, problems: [problem] }
}
