// Service account tokens: JSON Web Tokens (RFC 7519) that this API signs and reads. They end with it, as its key does.
// Source: KEP-1205 "Bound Service Account Tokens", KEP-4193 for the node and the token's own id.
import { generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto'
import { isRecord } from '../object.ts'

/** Whom tokens are for that say nothing else, and who issues them. */
export const API_AUDIENCE = 'https://kubernetes.default.svc'
/** Real ones have a KB. */
const TOKEN_MOST = 16 * 1024

export interface Reference {
  readonly name: string
  readonly uid: string
}

/** What a token says of who holds it. */
export interface Bearer {
  readonly namespace: string
  readonly serviceaccount: Reference
  readonly pod?: Reference
  readonly node?: Reference
}

/** A token that was read. Times in seconds since 1970. */
export interface Claims {
  readonly audiences: readonly string[]
  readonly notBefore: number
  readonly expires: number
  readonly id: string
  readonly bearer: Bearer
}

/** The username of a service account. */
export function accountName({ namespace, serviceaccount: { name } }: Bearer): string {
  return `system:serviceaccount:${namespace}:${name}`
}

export class Tokens {
  readonly #key = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  issue(bearer: Bearer, audiences: readonly string[], { now, seconds }: { now: number; seconds: number }): string {
    const from = Math.floor(now / 1000)
    const claims = {
      iss: API_AUDIENCE,
      sub: accountName(bearer),
      aud: audiences,
      ...{ iat: from, nbf: from, exp: from + seconds, jti: randomUUID() },
      'kubernetes.io': bearer,
    }
    const content = `${textOf({ alg: 'ES256', typ: 'JWT' })}.${textOf(claims)}`
    const signature = sign('sha256', Buffer.from(content), { key: this.#key.privateKey, dsaEncoding: 'ieee-p1363' })
    return `${content}.${signature.toString('base64url')}`
  }

  /** What a token says, if it is one of this API's; whether it still holds is the caller's to judge. Else null. */
  read(token: string): Claims | null {
    const [head, body, signature, ...more] = token.length > TOKEN_MOST ? [] : token.split('.')
    if (head === undefined || body === undefined || signature === undefined || more.length > 0) return null
    const key = { key: this.#key.publicKey, dsaEncoding: 'ieee-p1363' } as const
    if (!verify('sha256', Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url'))) return null
    const said: unknown = JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) // written by issue()
    if (!isRecord(said)) return null
    return {
      audiences: said['aud'] as string[],
      notBefore: said['nbf'] as number,
      expires: said['exp'] as number,
      id: said['jti'] as string,
      bearer: said['kubernetes.io'] as Bearer,
    }
  }
}

function textOf(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
