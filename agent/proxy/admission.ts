// Step 6 for requests: whether one may go to the endpoint that was picked, as it arrives there. Its tokens are judged first,
// then authorizers are asked, then authorize() gives the permit. Where nothing has to be waited for all of it is one call.

import type { Authenticated, Unauthenticated } from '../model/authentication/token-findings.ts'
import { protectionOf, type Protection } from '../model/authorization/protection.ts'
import { MeshError } from '../model/failure.ts'
import type { Caller } from '../model/identity.ts'
import type { Forward } from '../model/http/route.ts'
import { type Cargo, factsOf, type Permit, type Way } from '../model/permit.ts'
import type { HeaderChanges } from '../model/policy.ts'
import type { Snapshot } from '../model/snapshot.ts'
import type { Workload } from '../model/workload.ts'
import { ArrivingRequest, type Leaving } from './arriving.ts'
import type { Answer } from '../model/authorization/ext-authz.ts'
import type { Question } from './authorizer.ts'
import type { Call } from './classify.ts'
import { type Leg, permitted, wayOf } from './connect.ts'
import { until } from './deadline.ts'
import type { MeshNode } from './plane/node.ts'

/** A request that wants to go somewhere. */
export interface Applicant {
  readonly errand: Leaving & Question['exchange']
  readonly route: Forward
  readonly call: Call
  readonly caller: Caller
  readonly node: MeshNode
  readonly world: Snapshot
  /** Authorizers that need not be asked. */
  readonly consented: ReadonlySet<string>
}

/** It may go. */
export interface Admitted {
  readonly permit: Permit
  /** As its rule has it, and with what was changed here. */
  readonly route: Forward
  /** What is changed in the response besides. */
  readonly response: readonly HeaderChanges[]
  readonly cargo: RequestCargo
}

interface RequestCargo extends Cargo {
  readonly request: ArrivingRequest | null
}

const NO_CHANGES: readonly HeaderChanges[] = []

/**
 * Judges a request for a leg. Returns why this endpoint is not to be had, where another may be; throws what the request ends
 * by: DENIED, UNAUTHENTICATED, AUTHORIZER_DENIED, AUTHORIZER_FAILED, BODY_TOO_LARGE.
 */
export function admit(applicant: Applicant, leg: Leg): Admitted | MeshError | Promise<Admitted | MeshError> {
  const { call, caller, route, world, consented } = applicant
  const way = wayOf(caller, leg, world)
  const { callee } = way
  if (callee != null) {
    const protection = protectionOf(world, callee, leg.endpoint.address.port)
    if (!isOpen(protection) || isTunnel(applicant.errand)) {
      return new Admission(applicant, leg, { way, callee, protection }).begin()
    }
  }
  const cargo = { client: call.peer.ip, serverName: call.serverName, request: null, consented }
  const permit = permitted(world, way, cargo)
  return permit instanceof MeshError ? permit : { permit, route, response: NO_CHANGES, cargo }
}

/** Whether it may come to a tunnel, which outlives its request and is judged again by what that was. */
export function isTunnel({ method, head }: Pick<Applicant['errand'], 'method' | 'head'>): boolean {
  return method === 'CONNECT' || head.upgrade >= 0
}

function isOpen({ table, tokens }: Protection): boolean {
  return table === null && tokens.length === 0
}

/** What stands before the application. */
interface Guarded {
  readonly way: Way
  readonly callee: Workload
  readonly protection: Protection
}

class Admission {
  readonly #applicant: Applicant
  readonly #guarded: Guarded
  readonly #arriving: ArrivingRequest
  readonly #consented: Set<string>
  #response = NO_CHANGES

  constructor(applicant: Applicant, leg: Leg, guarded: Guarded) {
    const { errand, route, call, world } = applicant
    this.#applicant = applicant
    this.#consented = new Set(applicant.consented)
    this.#guarded = guarded
    this.#arriving = new ArrivingRequest(errand, route, {
      port: leg.endpoint.address.port,
      client: call.peer.ip,
      clientCert: leg.clientCert,
      trustedProxies: world.settings.mesh.trustedProxies,
    })
  }

  begin(): Admitted | MeshError | Promise<Admitted | MeshError> {
    const { tokens } = this.#guarded.protection
    if (tokens.length === 0) return this.#judge()
    const found = this.#applicant.node.tokens.judge(tokens, this.#arriving)
    if (!(found instanceof Promise)) return this.#authenticated(found)
    const { errand } = this.#applicant
    return until(errand, found, { discard: () => {} }).then((late) => this.#authenticated(late))
  }

  #authenticated(found: Authenticated | Unauthenticated): Admitted | MeshError | Promise<Admitted | MeshError> {
    if ('reason' in found) throw unauthenticated(found)
    const arriving = this.#arriving
    arriving.tokens = found.tokens
    arriving.change(found.changes)
    arriving.retarget(found.target)
    return this.#judge()
  }

  #judge(): Admitted | MeshError | Promise<Admitted | MeshError> {
    const { table } = this.#guarded.protection
    return table?.consults === true ? this.#consult() : this.#permit()
  }

  /** One after another: what the first changes the next is told. */
  async #consult(): Promise<Admitted | MeshError> {
    const { world } = this.#applicant
    const { way, protection } = this.#guarded
    const cargo = this.#cargo()
    for (const { provider, by } of protection.table?.consultations(factsOf(world, way, cargo)) ?? []) {
      if (this.#consented.has(provider)) continue
      const authorizer = world.settings.mesh.authorizers.find(({ name }) => name === provider)
      if (authorizer === undefined) {
        throw new MeshError('AUTHORIZER_FAILED', `there is no provider ${provider}`, undefined, { by })
      }
      const answer = await this.#applicant.node.authorizers.ask(authorizer, this.#question())
      const { failOpen, statusOnError: status } = authorizer
      if (answer.kind === 'unaskable' || (answer.kind === 'failed' && !failOpen)) {
        const more = { by, answer: { status, body: '', fields: [] } }
        throw new MeshError('AUTHORIZER_FAILED', `${provider}: ${answer.why}`, undefined, more)
      }
      this.#heed(answer, provider, by)
      this.#consented.add(provider)
    }
    return this.#permit()
  }

  #heed(answer: Exclude<Answer, { readonly kind: 'unaskable' }>, provider: string, by: MeshError['by']): void {
    switch (answer.kind) {
      case 'allowed':
        this.#arriving.change(answer.request)
        if (answer.response !== null) this.#response = [...this.#response, answer.response]
        return
      case 'denied': {
        const { status, body, fields } = answer
        throw new MeshError('AUTHORIZER_DENIED', `${provider} denies it`, undefined, {
          by,
          answer: { status, body, fields },
        })
      }
      case 'too-large':
        throw new MeshError('BODY_TOO_LARGE', `its body is longer than ${provider} may be asked about`, undefined, {
          by,
        })
      case 'failed':
    }
  }

  #question(): Question {
    const { errand, call, node, world, consented } = this.#applicant
    return { arriving: this.#arriving, exchange: errand, callee: this.#guarded.callee, call, node, world, consented }
  }

  #cargo(): RequestCargo {
    const { call } = this.#applicant
    const { ip: client } = call.peer
    return { client, serverName: call.serverName, request: this.#arriving, consented: this.#consented }
  }

  #permit(): Admitted | MeshError {
    const { route, world } = this.#applicant
    const cargo = this.#cargo()
    const permit = permitted(world, this.#guarded.way, cargo)
    if (permit instanceof MeshError) return permit
    return { permit, route: changed(route, this.#arriving), response: this.#response, cargo }
  }
}

function changed(route: Forward, { changes, isRetargeted, target }: ArrivingRequest): Forward {
  if (changes === route.changes.request && !isRetargeted) return route
  return { ...route, target: isRetargeted ? target : route.target, changes: { ...route.changes, request: changes } }
}

function unauthenticated({ status, reason, challenge }: Unauthenticated): MeshError {
  const fields: [string, string][] = challenge === null ? [] : [['www-authenticate', challenge]]
  return new MeshError('UNAUTHENTICATED', reason, undefined, {
    details: `jwt_authn_access_denied{${reason.replaceAll(' ', '_')}}`,
    answer: { status, body: reason, fields },
  })
}
