// The token of a pod's service account in a file of a volume, written anew before it ends, as the kubelet does.
// Source: Kubernetes documentation "Projected Volumes: serviceAccountToken"; KEP-1205.
import { rename, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Pod, V1ServiceAccountTokenProjection } from '@kubernetes/client-node'
import type { Api } from '../api.ts'

/** A token, and when it ends (ms since the epoch). */
export interface Token {
  readonly text: string
  readonly endsMs: number
}

/** Asks for a new token. Rejects with the API's sentence. */
export type AskToken = () => Promise<Token>

/** A file with a token in it. */
export interface TokenFile {
  readonly path: string
  readonly ask: AskToken
  /** When it was written, and when what is in it ends. */
  readonly writtenMs: number
  readonly endsMs: number
}

const DEFAULT_SECONDS = 3_600
/** A token is replaced when this part of its life is over, and after a day at the latest. */
const LIFE_PART = 0.8
const LONGEST_MS = 24 * 60 * 60 * 1000
/** Pause before a token that could not be had is asked for again. */
export const TOKEN_RETRY_MS = 10_000

/** Asks for tokens of the pod's service account that are good as long as the pod is there. */
export function askFor(api: Api, pod: V1Pod, projection: V1ServiceAccountTokenProjection): AskToken {
  const { namespace = '', name, uid } = pod.metadata ?? {}
  const account = pod.spec?.serviceAccountName ?? 'default'
  const { audience, expirationSeconds = DEFAULT_SECONDS } = projection
  const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name, uid }
  const spec = { audiences: audience ? [audience] : [], expirationSeconds, boundObjectRef }
  return async () => {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`
    const { status } = await api.create<{ status: { token: string; expirationTimestamp: string } }>(path, { spec })
    return { text: status.token, endsMs: Date.parse(status.expirationTimestamp) }
  }
}

/** Writes a new token. A reader sees the old one or the new one, whole. */
export async function writeToken(path: string, ask: AskToken): Promise<TokenFile> {
  const writtenMs = Date.now()
  const { text, endsMs } = await ask()
  await writeFile(`${path}.new`, text)
  await rename(`${path}.new`, path)
  return { path, ask, writtenMs, endsMs }
}

/** Replaces the token in a file again and again, until the signal is aborted. `failed` hears of each failure. */
export async function keepToken(
  file: TokenFile,
  signal: AbortSignal,
  { failed, retryMs = TOKEN_RETRY_MS }: { failed: (error: Error) => void; retryMs?: number },
): Promise<void> {
  // Never shorter than a retry: a token that is over when it comes must not make a storm of requests.
  const pauseAfter = (written: TokenFile): number => Math.max(pauseOf(written), retryMs)
  let pauseMs = pauseAfter(file)
  while (!signal.aborted) {
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    try {
      pauseMs = pauseAfter(await writeToken(file.path, file.ask))
    } catch (error) {
      failed(error as Error)
      pauseMs = retryMs
    }
  }
}

function pauseOf({ writtenMs, endsMs }: TokenFile): number {
  return Math.min(LIFE_PART * (endsMs - writtenMs), LONGEST_MS)
}
