// The authority's key pair, as a Secret holds it. Whatever is said of one names fields, never what is in them.

import { Authority, makeRoot, Unfit } from '../identity/authority.ts'
import type { KubeObject } from '../kube/object.ts'

/** Name of the Secret. */
export const ROOT = 'weft-root'
export const secretsPath = (namespace: string): string => `/api/v1/namespaces/${namespace}/secrets`
/** Of a root that nobody gave. */
const ROOT_DAYS = 3650
/** Keys of the Secret: its chain, the key, and where the chain does not end with its root, that. */
const FIELDS = { chainPem: 'tls.crt', privateKeyPem: 'tls.key', rootsPem: 'ca.crt' } as const

/** v1 Secret. */
export interface Secret extends KubeObject {
  readonly data?: Readonly<Record<string, string>>
}

/** The authority that a Secret holds. Throws with the field that is wrong, and what is wrong with it. */
export function authorityIn({ data = {} }: Secret, nowMs: number): Authority {
  const textOf = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString('latin1')
  const given = {
    chainPem: textOf(FIELDS.chainPem),
    privateKeyPem: textOf(FIELDS.privateKeyPem),
    rootsPem: textOf(FIELDS.rootsPem),
  }
  try {
    return new Authority(given, nowMs)
  } catch (error) {
    const isUnfit = error instanceof Unfit
    const what = isUnfit ? `data["${FIELDS[error.part]}"] ${error.message}` : 'cannot be read'
    throw new Error(`Secret ${ROOT}: ${what}`) // no cause: an error of a parser may quote what it read
  }
}

/** A Secret with a root that nobody else has. */
export function newRootSecret(namespace: string, trustDomain: string, nowMs: number): object {
  const { certificatePem, privateKeyPem } = makeRoot({ trustDomain, days: ROOT_DAYS, nowMs })
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name: ROOT },
    type: 'kubernetes.io/tls',
    data: { [FIELDS.chainPem]: base64(certificatePem), [FIELDS.privateKeyPem]: base64(privateKeyPem) },
  }
}
