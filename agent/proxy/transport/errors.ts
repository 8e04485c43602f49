// What connect(2) says.

/** Codes that mean nobody answered, rather than that somebody refused. */
const TIMEOUT_CODES: ReadonlySet<string> = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'])

export function isTimeout({ code }: NodeJS.ErrnoException): boolean {
  return code !== undefined && TIMEOUT_CODES.has(code)
}
