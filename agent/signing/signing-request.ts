// Requests for certificates as the Kubernetes API has them: what is read of them, and what is written to them.
//
// Source: certificates.k8s.io/v1 CertificateSigningRequest.

import type { SigningRequest } from '../identity/judge.ts'
import { readRequest } from '../identity/request.ts'
import type { KubeObject, Metadata } from '../kube/object.ts'

export const SIGNER_NAME = 'weft.dev/workload'
export const REQUESTS_PATH = '/apis/certificates.k8s.io/v1/certificatesigningrequests'
/** What agents ask for: both ends of TLS, by a key of P-256. */
export const USAGES = ['digital signature', 'client auth', 'server auth'] as const
/** What the controller says may be long; its condition says what fits. */
const MESSAGE_MOST = 1024

interface Condition {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly message?: string
  readonly lastUpdateTime?: string
}

/** The fields that are read, beyond those that every object has. */
export interface KubeSigningRequest extends KubeObject {
  readonly spec: {
    readonly request: string
    readonly signerName: string
    readonly usages?: readonly string[]
    readonly expirationSeconds?: number
    readonly username?: string
    readonly extra?: Readonly<Record<string, readonly string[]>>
  }
  readonly status?: {
    readonly conditions?: readonly Condition[]
    /** PEM in base64. */
    readonly certificate?: string
  }
}

/** Words of the conditions' reasons. */
type Reason = 'Granted' | 'NotGranted' | 'Unreadable'

export function conditionOf({ status }: KubeSigningRequest, type: 'Approved' | 'Denied' | 'Failed'): Condition | null {
  return status?.conditions?.find((each) => each.type === type) ?? null
}

/** Whether it has its answer: a certificate, or that it gets none. */
export function isDecided(request: KubeSigningRequest): boolean {
  const isRefused = conditionOf(request, 'Denied') !== null || conditionOf(request, 'Failed') !== null
  return isRefused || Boolean(request.status?.certificate)
}

/** A request with one more condition, or with its certificate. */
export function answered(
  request: KubeSigningRequest,
  answer: { readonly type: 'Approved' | 'Denied' | 'Failed'; readonly reason: Reason; readonly message: string },
): KubeSigningRequest {
  const { message } = answer
  const cut = message.length <= MESSAGE_MOST ? message : `${message.slice(0, MESSAGE_MOST - 1)}…`
  const lastUpdateTime = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
  const condition = { ...answer, message: cut, status: 'True', lastUpdateTime }
  return { ...request, status: { ...request.status, conditions: [...(request.status?.conditions ?? []), condition] } }
}

export function withCertificate(request: KubeSigningRequest, pem: string): KubeSigningRequest {
  return { ...request, status: { ...request.status, certificate: Buffer.from(pem).toString('base64') } }
}

/** What is judged of it. Throws, with the reason, where its PEM is no request for a certificate. */
export function readSigningRequest({ spec }: KubeSigningRequest): SigningRequest {
  return {
    username: spec.username ?? '',
    extra: spec.extra ?? {},
    request: readRequest(Buffer.from(spec.request, 'base64').toString('latin1')),
    usages: spec.usages ?? [],
    expirationSeconds: spec.expirationSeconds ?? null,
  }
}

/** What is kept of one: all while it is open, else that it was there. */
export function keptOf(object: KubeObject): KubeObject {
  const request = object as KubeSigningRequest
  if (request.spec.signerName === SIGNER_NAME && !isDecided(request)) return object
  const { uid, name, resourceVersion } = object.metadata
  const metadata: Metadata = { uid, name, resourceVersion }
  return { metadata }
}

/** Whether what is kept of one is open. */
export function isOpen(object: KubeObject): object is KubeSigningRequest {
  return object.spec !== undefined
}
