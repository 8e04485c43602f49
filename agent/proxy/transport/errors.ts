// What the kernel says, as node:net has it.

import { getSystemErrorName } from 'node:util'

/** Codes of connect(2) that mean nobody answered, rather than that somebody refused. */
const TIMEOUT_CODES: ReadonlySet<string> = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'])

export function isTimeout({ code }: NodeJS.ErrnoException): boolean {
  return code !== undefined && TIMEOUT_CODES.has(code)
}

/** The error of a status, -errno, that `syscall` gave. */
export function failureOf(status: number, syscall: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(status)
  return Object.assign(new Error(`${syscall} ${code}`), { code, errno: status, syscall })
}
