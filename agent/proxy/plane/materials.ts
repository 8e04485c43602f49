// What TLS that DestinationRules ask for is made of, as this worker has it from the control side.

import { rootCertificates } from 'node:tls'
import { MeshError } from '../../model/failure.ts'
import { certificatesIn, Credentials } from '../transport/tls.ts'
import type { Term } from './identities.ts'

/** To what a server's chain must lead: to given roots, to those that the run-time brings, or to nothing at all. */
export type Trust =
  { readonly kind: 'given'; readonly rootsPem: string } | { readonly kind: 'public' } | { readonly kind: 'anyone' }

/** What the control side tells of it. */
export type ClientTlsMaterial =
  | {
      /** As materialOf() has it. */
      readonly name: string
      /** Null where no certificate is shown. */
      readonly certificatePem: string | null
      readonly privateKeyPem: string | null
      readonly trust: Trust
    }
  /** It cannot be had: no connection is made by it. */
  | { readonly name: string; readonly failure: string }

/** What may be used. */
export interface Material {
  readonly credentials: Credentials
  /** Whether what it trusted is not to be trusted any more. */
  readonly trusted: { isOver: boolean }
}

type Held = (Material & { readonly roots: ReadonlySet<string> | Trust['kind'] }) | { readonly failure: string }

/** Materials by name. */
export class Materials {
  readonly #held = new Map<string, Held>()
  readonly #wallMs: () => number
  readonly #coarseMs: () => number

  /** `wallMs`: milliseconds since 1970; `coarseMs`: the transport's coarse clock. */
  constructor(wallMs: () => number, coarseMs: () => number) {
    this.#wallMs = wallMs
    this.#coarseMs = coarseMs
  }

  /** Throws UPSTREAM_TLS_FAILED where there is none. */
  of(name: string): Material {
    const held = this.#held.get(name)
    if (held !== undefined && !('failure' in held)) return held
    throw new MeshError('UPSTREAM_TLS_FAILED', held?.failure ?? 'what the rule’s TLS is made of has not been read yet')
  }

  /** From now on it is this. Throws where it cannot be used, and keeps what was before. */
  set(told: ClientTlsMaterial): void {
    const before = this.#held.get(told.name)
    const held = made(told, before)
    if (before !== undefined && !('failure' in before)) {
      if ('failure' in held || held.trusted !== before.trusted) before.trusted.isOver = true
    }
    this.#held.set(told.name, held)
  }

  /** No rule asks for it any more. What is open goes on. */
  forget(name: string): void {
    this.#held.delete(name)
  }

  /** How long a connection is good for: neither certificate's end is outlived, nor what it was trusted by. */
  term({ credentials, trusted }: Material, peerNotAfter: number): Term {
    const untilMs = this.#coarseMs() + Math.min(credentials.notAfter, peerNotAfter) - this.#wallMs()
    return { isOver: (nowMs) => trusted.isOver || nowMs >= untilMs }
  }
}

function made(told: ClientTlsMaterial, before: Held | undefined): Held {
  if ('failure' in told) return { failure: told.failure }
  const { certificatePem, privateKeyPem, trust } = told
  const isShared = trust.kind === 'public' && certificatePem === null
  const credentials = isShared ? publicOnly() : credentialsOf(certificatePem, privateKeyPem, rootsOf(trust))
  const roots = trust.kind === 'given' ? certificatesIn(trust.rootsPem) : trust.kind
  const isKept = before !== undefined && !('failure' in before) && isWithin(before.roots, roots)
  return { credentials, roots, trusted: isKept ? before.trusted : { isOver: false } }
}

function credentialsOf(
  certificatePem: string | null,
  privateKeyPem: string | null,
  rootsPem: string | null,
): Credentials {
  return new Credentials({ certificatePem, privateKeyPem, rootsPem, minVersion: 'TLSv1.2' })
}

let known: Credentials | null = null

/** Without a certificate, and by the run-time's roots: one for all, because reading those takes some 10 ms. */
function publicOnly(): Credentials {
  return (known ??= credentialsOf(null, null, rootsOf({ kind: 'public' })))
}

function rootsOf(trust: Trust): string | null {
  switch (trust.kind) {
    case 'given':
      return trust.rootsPem
    case 'public':
      return rootCertificates.join('\n')
    case 'anyone':
      return null
  }
}

/** Whether all that was trusted still is. */
function isWithin(before: ReadonlySet<string> | string, now: ReadonlySet<string> | string): boolean {
  if (typeof before === 'string' || typeof now === 'string') return before === now
  return [...before].every((root) => now.has(root))
}
