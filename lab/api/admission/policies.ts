// The admission policies of a cluster, held against each write: binding by binding, the first denial refuses it.
// Source: Kubernetes documentation "Validating Admission Policy"; the words are those of kube-apiserver 1.32.
import { isRecord } from '../object.ts'
import { ApiError, forbidden } from '../status.ts'
import { isMatched } from './match.ts'
import { bindingsOf, judge, readPolicy } from './policy.ts'
import type { Attributes } from './attributes.ts'
import type { KubeObject } from '../object.ts'
import type { Denial, Policy } from './policy.ts'

const GROUP = 'admissionregistration.k8s.io'
export const POLICIES = `validatingadmissionpolicies.${GROUP}`
export const POLICY_BINDINGS = `validatingadmissionpolicybindings.${GROUP}`
const CODES: Readonly<Record<string, number>> = { Forbidden: 403, Unauthorized: 401, RequestEntityTooLarge: 413 }
const INVALID_CODE = 422

/** Where policies are, and what is asked beside them. */
export interface PolicySource {
  list(resource: string): readonly KubeObject[]
  get(resource: string, namespace: string | null, name: string): KubeObject | undefined
  uid(): string
}

export class Policies {
  readonly #source: PolicySource
  /** By the stored object, which is another one after each change. */
  readonly #compiled = new WeakMap<KubeObject, Policy>()

  constructor(source: PolicySource) {
    this.#source = source
  }

  /** Throws what the first policy that denies has for a reason, 422 if it says none. */
  admit(attributes: Attributes): void {
    const { type, namespace, writer } = attributes
    // nobody can lock himself out: policies do not judge policies, nor questions that leave nothing behind
    if (type.group === GROUP || type.createOnly) return
    const bindings = this.#source.list(POLICY_BINDINGS)
    if (bindings.length === 0) return
    const labelsOf = (name: string): Record<string, string> | undefined =>
      this.#source.get('namespaces', null, name)?.metadata.labels
    let seen: ReturnType<typeof bindingsOf> | undefined
    for (const binding of bindings) {
      const policy = this.#policy(String(binding.spec?.policyName))
      if (!policy || !isMatched(policy.constraints, attributes, labelsOf)) continue
      if (!isMatched(binding.spec.matchResources, attributes, labelsOf)) continue
      const inside = namespace === undefined ? undefined : this.#source.get('namespaces', null, namespace)
      seen ??= bindingsOf(attributes, inside, this.#source.uid())
      const [denial] = judge(policy, seen)
      if (!denial) continue
      const actions: unknown[] = isRecord(binding.spec) ? (binding.spec['validationActions'] ?? []) : []
      const place = `ValidatingAdmissionPolicy '${policy.name}' with binding '${binding.metadata.name}'`
      if (actions.includes('Warn')) writer.warn?.(`Validation failed for ${place}: ${denial.message}`)
      if (actions.includes('Deny')) throw denied(attributes, denial, `${place} denied request: ${denial.message}`)
    }
  }

  #policy(name: string): Policy | undefined {
    const object = this.#source.get(POLICIES, null, name)
    if (!object) return undefined
    const known = this.#compiled.get(object)
    if (known) return known
    const { policy } = readPolicy(object)
    this.#compiled.set(object, policy)
    return policy
  }
}

function denied({ type, name }: Attributes, { reason }: Denial, message: string): ApiError {
  const { status } = forbidden(type, name, message)
  const details = { ...status.details, causes: [{ message }] }
  return new ApiError(CODES[reason] ?? INVALID_CODE, reason, status.message ?? message, details)
}
