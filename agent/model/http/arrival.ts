// What of a request is other where it arrives than where it came from: pure, for whoever judges it and whoever tells of that.

import { canonicalIp } from '../address.ts'
import { isSendable, UNCHANGEABLE, wireOf } from './header-changes.ts'
import type { HeaderChanges } from '../policy.ts'

/**
 * The value of a field (lower-case name) that came as `came`, after the changes in their order; several lines with commas
 * between. One character a byte, and what cannot leave is not there: as headEdit() has it written.
 */
export function changedField(
  name: string,
  came: string | undefined,
  changes: readonly HeaderChanges[],
): string | undefined {
  if (changes.length === 0 || UNCHANGEABLE.has(name)) return came
  let value = came
  for (const { remove, set, add } of changes) {
    if (remove.includes(name)) value = undefined
    for (const [own, text] of set) if (own === name) value = isSendable(name, text) ? wireOf(text) : undefined
    for (const [own, text] of add) {
      if (own === name && isSendable(name, text))
        value = value === undefined ? wireOf(text) : `${value},${wireOf(text)}`
    }
  }
  return value
}

/**
 * Of whom a request comes in the end: the entry of x-forwarded-for that the outermost of so many trusted proxies wrote.
 * `client`, the connection's other end, where none is trusted, or there is no address.
 */
export function remoteIpOf(forwardedFor: string | undefined, client: string, trustedProxies: number): string {
  if (trustedProxies === 0) return client
  const named = forwardedFor?.split(',').at(-trustedProxies)?.trim()
  return (named === undefined ? null : canonicalIp(named)) ?? client
}
