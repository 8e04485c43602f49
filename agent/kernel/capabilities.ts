// What an agent must be allowed by the kernel, and nothing else: this list is what a lab leaves it and what a container has to.
import { readFileSync } from 'node:fs'

export interface Capability {
  /** As capabilities(7) calls it. */
  readonly name: string
  /** Its bit in the masks of /proc/PID/status (linux/capability.h). */
  readonly bit: number
  /** What an agent does with it: the end of "this is needed to …". */
  readonly why: string
}

/** In the order of their bits. Found by leaving each out; docs/capabilities.md says what else was tried. */
export const AGENT_CAPABILITIES: readonly Capability[] = [
  { name: 'CAP_NET_ADMIN', bit: 12, why: 'attach programs, see which others are attached, and end connections' },
  { name: 'CAP_SYS_PTRACE', bit: 19, why: "open the networks of pods that run with other rights than the agent's" },
  { name: 'CAP_SYS_ADMIN', bit: 21, why: "load programs and make sockets in pods' networks" },
]

/** The effective capabilities in the text of /proc/PID/status, as a mask. */
export function effectiveIn(status: string): bigint {
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
}

export const ownCapabilities = (): bigint => effectiveIn(readFileSync('/proc/self/status', 'utf8'))

/** Those of `wanted` that a mask does not have. */
export function lacking(mask: bigint, wanted: readonly Capability[] = AGENT_CAPABILITIES): readonly Capability[] {
  return wanted.filter(({ bit }) => ((mask >> BigInt(bit)) & 1n) === 0n)
}
