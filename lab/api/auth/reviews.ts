// Questions that are asked by creating an object which nobody keeps: whose token is this, who am I, who may do this.
// Source: Kubernetes API reference authentication.k8s.io/v1 and authorization.k8s.io/v1.
import { isRecord, timestamp } from '../object.ts'
import { groupVersion } from '../resources.ts'
import { badRequest, invalid, methodNotAllowed } from '../status.ts'
import { rolesIn } from './access.ts'
import { userOfToken } from './authenticate.ts'
import { mayDo } from './authorize.ts'
import { ISSUER, TokenError } from './tokens.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Place } from '../http/path.ts'
import type { Proof } from './authenticate.ts'
import type { Access } from './authorize.ts'
import type { User } from './user.ts'

type Part = Record<string, any>

/** Answers a POST of one of the kinds that are only created. */
export async function review(exchange: Exchange, place: Place, proof: Proof): Promise<void> {
  const { type, version } = place
  if (exchange.method !== 'POST' || place.name !== undefined) {
    throw methodNotAllowed('the server does not allow this method on the requested resource')
  }
  const body = (await exchange.json()) ?? {}
  const apiVersion = groupVersion(type.group, version)
  if (!isRecord(body)) throw badRequest('the body is not an object')
  if ((body['apiVersion'] ?? apiVersion) !== apiVersion || (body['kind'] ?? type.kind) !== type.kind) {
    throw badRequest(`the body is ${body['kind']} of ${body['apiVersion']}, not a ${type.kind} of ${apiVersion}`)
  }
  const { user } = exchange
  const spec: Part = isRecord(body['spec']) ? body['spec'] : {}
  const answer = (status: unknown): void => {
    const metadata = { creationTimestamp: timestamp(new Date()) }
    const asked = type.kind === 'SelfSubjectReview' ? {} : { spec }
    exchange.sendJson(201, { kind: type.kind, apiVersion, metadata, ...asked, status })
  }
  switch (type.kind) {
    case 'TokenReview':
      return answer(tokenStatus(spec, proof))
    case 'SelfSubjectReview':
      return answer({ userInfo: user })
    case 'SelfSubjectAccessReview':
      return answer({ allowed: mayDo(user, askedAccess(spec, place), rolesIn(proof.store)) })
    default:
      return answer({ allowed: mayDo(askedUser(spec, place), askedAccess(spec, place), rolesIn(proof.store)) })
  }
}

function tokenStatus({ token, audiences }: Part, proof: Proof): unknown {
  if (typeof token !== 'string' || token === '') throw badRequest('token is required for TokenReview in authentication')
  const wanted: readonly string[] = Array.isArray(audiences) && audiences.length > 0 ? audiences : [ISSUER]
  try {
    return { authenticated: true, ...userOfToken(token, wanted, proof) }
  } catch (error) {
    // A token that is no good is an answer, not a failure.
    if (error instanceof TokenError) return { user: {}, error: error.message }
    throw error
  }
}

function askedUser({ user = '', groups, uid }: Part, { type }: Place): User {
  const list: readonly string[] = Array.isArray(groups) ? groups : []
  if (!user && list.length === 0) {
    const text = 'at least one of user or group must be specified'
    throw invalid(type, '', [{ kind: 'invalid', field: 'spec.user', shown: user, text }])
  }
  return { username: String(user), groups: list, ...(typeof uid === 'string' ? { uid } : {}) }
}

function askedAccess({ resourceAttributes: resource, nonResourceAttributes: path }: Part, { type }: Place): Access {
  if (isRecord(resource) === isRecord(path)) {
    const text = 'exactly one of nonResourceAttributes or resourceAttributes must be specified'
    throw invalid(type, '', [{ kind: 'invalid', field: 'spec.resourceAttributes', shown: resource, text }])
  }
  if (isRecord(path)) return { verb: String(path['verb'] ?? ''), path: String(path['path'] ?? '') }
  const text = (member: string): string => String(resource[member] ?? '')
  return {
    verb: text('verb'),
    group: text('group'),
    resource: text('resource'),
    subresource: text('subresource') || undefined,
    namespace: text('namespace') || undefined,
    name: text('name') || undefined,
  }
}
