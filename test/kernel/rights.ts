// Deeds of deeds.ts with fewer rights than root's: what the kernel says to each without the capability that it is for.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { AGENT_CAPABILITIES, type Capability } from '../../agent/kernel/capabilities.ts'
import { confined } from '../../lab/mesh/confined.ts'

/** By deed: the capability without which it is refused, by every kernel from the floor on, and what is said then. */
export const REFUSALS: Readonly<Record<string, { readonly lacks: string; readonly says: RegExp }>> = {
  capture: { lacks: 'CAP_SYS_ADMIN', says: /: EPERM$/ },
  find: { lacks: 'CAP_SYS_PTRACE', says: /^EACCES: / },
  end: { lacks: 'CAP_NET_ADMIN', says: /^end a connection: EPERM$/ },
}

const DEED_MS = 60_000

/** The list of an agent but for one. */
export const without = (name: string): readonly Capability[] => AGENT_CAPABILITIES.filter((each) => each.name !== name)

/** What a deed says that is done with these capabilities and no others. `pid`: of a process that has all. */
export function saidWith(capabilities: readonly Capability[], deed: string, pid = process.pid): string {
  const program = [process.execPath, join(import.meta.dirname, 'deeds.ts'), deed, String(pid)]
  const [command = '', ...args] = [...confined(capabilities), ...program]
  const { stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: DEED_MS })
  return stdout?.trim() || stderr?.trim() || String(error)
}
