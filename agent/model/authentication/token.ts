// A JSON Web Token as it is written (RFC 7519, in the compact form of RFC 7515 §7.1): read, not verified.

/** What a token says before anybody has verified it. */
export interface Unverified {
  readonly algorithm: string
  /** Which key it names; null: none. */
  readonly keyId: string | null
  /** '' where it names none. */
  readonly issuer: string
  readonly subject: string | null
  readonly audiences: readonly string[]
  /** Seconds since 1970; null: no bound. */
  readonly notBefore: number | null
  readonly expires: number | null
  readonly claims: Readonly<Record<string, unknown>>
  /** Its middle section, as it is written. */
  readonly payload: string
}

/** Why a token is refused, in the words of Envoy (jwt_verify_lib, getStatusString) where it knows of the like. */
export type Fault = (typeof FAULTS)[keyof typeof FAULTS]

export const FAULTS = {
  missing: 'Jwt is missing',
  tooLong: 'Jwt is too long',
  tooMany: 'Found multiple Jwt tokens',
  form: 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  headerBase64: 'Jwt header is an invalid Base64url encoded',
  headerJson: 'Jwt header is an invalid JSON',
  noAlgorithm: 'Jwt header [alg] field is required and must be a string',
  algorithm: 'Jwt header [alg] is not supported',
  keyId: 'Jwt header [kid] field is not a string',
  critical: 'Jwt header [crit] is not supported',
  payloadBase64: 'Jwt payload is an invalid Base64url encoded',
  payloadJson: 'Jwt payload is an invalid JSON',
  issuerType: 'Jwt payload [iss] field is not a string',
  subjectType: 'Jwt payload [sub] field is not a string',
  issuedType: 'Jwt payload [iat] field is not an integer',
  notBeforeType: 'Jwt payload [nbf] field is not an integer',
  expiresType: 'Jwt payload [exp] field is not an integer',
  audienceType: 'Jwt payload [aud] field is not a string or string list',
  signatureBase64: 'Jwt signature is an invalid Base64url encoded',
  issuer: 'Jwt issuer is not configured',
  notYet: 'Jwt not yet valid',
  expired: 'Jwt is expired',
  audience: 'Audiences in Jwt are not allowed',
  noKey: "Jwks doesn't have key to match kid or alg from Jwt",
  noKeys: 'Jwks remote fetch is failed',
  signature: 'Jwt verification fails',
  busy: 'Jwt verification is overloaded',
} as const

/**
 * Algorithms that are understood (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2), each with the kind of key it takes: a key
 * of another kind never verifies it. `none` is not among them.
 */
export const ALGORITHMS: Readonly<Record<string, { readonly kty: string; readonly crv?: string }>> = {
  RS256: { kty: 'RSA' },
  RS384: { kty: 'RSA' },
  RS512: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
  PS384: { kty: 'RSA' },
  PS512: { kty: 'RSA' },
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  ES512: { kty: 'EC', crv: 'P-521' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
  Ed25519: { kty: 'OKP', crv: 'Ed25519' },
  HS256: { kty: 'oct' },
  HS384: { kty: 'oct' },
  HS512: { kty: 'oct' },
}

/** Reads a token. What is wrong with it, where it cannot be read. Looks at the first `limit` characters at most. */
export function readToken(text: string, limit: number): Unverified | Fault {
  if (text.length > limit) return FAULTS.tooLong
  const sections = text.split('.', 4)
  const [head, payload, signature] = sections
  if (sections.length !== 3 || !head || !payload || !signature) return FAULTS.form
  const header = objectIn(head)
  if (header === 'base64') return FAULTS.headerBase64
  if (header === 'json') return FAULTS.headerJson
  const { alg, kid } = header
  if (typeof alg !== 'string') return FAULTS.noAlgorithm
  if (!Object.hasOwn(ALGORITHMS, alg)) return FAULTS.algorithm
  if (kid !== undefined && typeof kid !== 'string') return FAULTS.keyId
  if (header['crit'] !== undefined) return FAULTS.critical // RFC 7515 §4.1.11: what is not understood is refused
  const claims = objectIn(payload)
  if (claims === 'base64') return FAULTS.payloadBase64
  if (claims === 'json') return FAULTS.payloadJson
  if (!isBase64Url(signature)) return FAULTS.signatureBase64
  const read = readClaims(claims)
  return typeof read === 'string' ? read : { algorithm: alg, keyId: kid || null, ...read, claims, payload }
}

type Claims = Pick<Unverified, 'issuer' | 'subject' | 'audiences' | 'notBefore' | 'expires'>

function readClaims(claims: Readonly<Record<string, unknown>>): Claims | Fault {
  const { iss = '', sub, aud = [], nbf, exp, iat } = claims
  if (typeof iss !== 'string') return FAULTS.issuerType
  if (sub !== undefined && typeof sub !== 'string') return FAULTS.subjectType
  if (iat !== undefined && !isTime(iat)) return FAULTS.issuedType
  if (nbf !== undefined && !isTime(nbf)) return FAULTS.notBeforeType
  if (exp !== undefined && !isTime(exp)) return FAULTS.expiresType // null too: it would be no bound
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audiences.every((one) => typeof one === 'string')) return FAULTS.audienceType
  return { issuer: iss, subject: sub ?? null, audiences, notBefore: nbf ?? null, expires: exp ?? null }
}

/** RFC 7519 §2 (NumericDate): it may have a fraction. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function objectIn(section: string): Readonly<Record<string, unknown>> | 'base64' | 'json' {
  if (!isBase64Url(section)) return 'base64'
  try {
    const value: unknown = JSON.parse(UTF8.decode(Buffer.from(section, 'base64url')))
    return isObject(value) ? value : 'json'
  } catch {
    return 'json'
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** RFC 7515 §2: no padding, no space; and no bits that say nothing, for one token would have many texts. */
function isBase64Url(text: string): boolean {
  if (!/^[\w-]+$/.test(text)) return false
  const last = text.charAt(text.length - 1)
  switch (text.length % 4) {
    case 1:
      return false
    case 2:
      return 'AQgw'.includes(last)
    case 3:
      return 'AEIMQUYcgkosw048'.includes(last)
    default:
      return true
  }
}
