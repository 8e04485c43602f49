// The agent's end: has a certificate signed through the Kubernetes API. Asks by GET, so that an agent needs no right to
// list what others ask for.

import { setTimeout as sleep } from 'node:timers/promises'
import { Denied } from '../identity/keep.ts'
import { type KubeClient, KubeError } from '../kube/client.ts'
import { conditionOf, type KubeSigningRequest, REQUESTS_PATH, SIGNER_NAME, USAGES } from './signing-request.ts'

/** How long the answer may take, all in all: while nobody signs, a request that stands is better than a heap of them. */
const WITHIN_MS = 60 * 60_000
/** After so long it is told that there is no answer yet. */
const LATE_MS = 30_000
/** How long one question to the API may take. */
const QUESTION_MS = 30_000
/** First and longest pause between two looks; each is half as long again as the one before. */
const FIRST_LOOK_MS = 50
const LONGEST_LOOK_MS = 1000
/** Pause between two looks where it is late. */
const LATE_LOOK_MS = 10_000
/** Names of requests: the API adds what makes them unlike. */
const PREFIX = 'weft-'
/** Real ones have a few KB. */
const CERTIFICATE_MOST = 64 * 1024

export interface AskOptions {
  /** How long the answer may take; an hour without it. */
  readonly withinMs?: number
  /** How long the certificate is to last, at least 600; without it the controller decides. */
  readonly expirationSeconds?: number
  readonly signal?: AbortSignal
  /** Hears once, of the request by its name, that there is no answer after half a minute. */
  readonly late?: (name: string) => void
}

/**
 * Has a request (PEM) signed: gives the certificate and what leads from it to a root, in PEM. Rejects with Denied where it
 * was denied, and with what went wrong, the time over or the signal's reason otherwise. What was asked stays with the API,
 * which removes it after a while.
 */
export async function askForCertificate(
  client: KubeClient,
  requestPem: string,
  { withinMs = WITHIN_MS, expirationSeconds, signal, late = () => {} }: AskOptions = {},
): Promise<string> {
  const deadline = AbortSignal.timeout(withinMs)
  const either = signal === undefined ? deadline : AbortSignal.any([deadline, signal])
  const endMs = performance.now() + withinMs
  const leftMs = (): number => Math.min(QUESTION_MS, Math.max(1, Math.ceil(endMs - performance.now())))
  const lateMs = performance.now() + LATE_MS
  let isTold = false
  let name = ''
  try {
    const wish = expirationSeconds === undefined ? {} : { expirationSeconds }
    const draft = draftOf(requestPem, wish)
    let request = (await orAborted(client.create(REQUESTS_PATH, draft, leftMs()), either)) as KubeSigningRequest
    name = request.metadata.name
    for (let waitMs = FIRST_LOOK_MS; ; waitMs = isTold ? LATE_LOOK_MS : Math.min(waitMs * 1.5, LONGEST_LOOK_MS)) {
      const certificatePem = answerOf(request)
      if (certificatePem !== null) return certificatePem
      if (!isTold && performance.now() > lateMs) {
        isTold = true
        late(name)
      }
      await sleep(waitMs, undefined, { signal: either })
      request = (await orAborted(read(client, name, leftMs()), either)) ?? request
    }
  } catch (error) {
    if (signal?.aborted === true) throw signal.reason
    if (!deadline.aborted) throw error
    const what = name === '' ? 'the API took no request' : `${name} was not signed`
    throw new Error(`${what} within ${withinMs} ms`, { cause: error })
  }
}

/** The request as it stands, or null while the API does not say. Throws where there is no such request any more. */
async function read(client: KubeClient, name: string, withinMs: number): Promise<KubeSigningRequest | null> {
  try {
    return (await client.get(`${REQUESTS_PATH}/${name}`, withinMs)) as KubeSigningRequest
  } catch (error) {
    const status = error instanceof KubeError ? error.status : 0
    if (status >= 400 && status < 500 && status !== 429) throw error
    return null // an API that is away for a moment has not lost the request
  }
}

function draftOf(requestPem: string, wish: { readonly expirationSeconds?: number }): object {
  const request = Buffer.from(requestPem).toString('base64')
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { generateName: PREFIX },
    spec: { request, signerName: SIGNER_NAME, usages: USAGES, ...wish },
  }
}

/** The certificate, or null while there is no answer. Throws where there is none to come. */
function answerOf(request: KubeSigningRequest): string | null {
  const denied = conditionOf(request, 'Denied') ?? conditionOf(request, 'Failed')
  if (denied !== null) throw new Denied(`${denied.reason ?? 'Denied'}: ${denied.message ?? 'no reason is given'}`)
  const { certificate } = request.status ?? {}
  if (!certificate) return null
  if (certificate.length > CERTIFICATE_MOST) throw new Error(`a certificate of ${certificate.length} characters`)
  return Buffer.from(certificate, 'base64').toString('latin1')
}

/** What a promise gives, unless the signal comes first. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const stop = (): void => reject(signal.reason as Error)
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
