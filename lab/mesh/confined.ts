// What the mesh's programs may do in a lab: what they say that they need, and nothing that root may do besides.
import { AGENT_CAPABILITIES, type Capability } from '../../agent/kernel/capabilities.ts'
import type { Program } from './mirror-pod.ts'

/** By role. A controller talks to the API and does nothing else. */
export const ALLOWED: Readonly<Record<Program['role'], readonly Capability[]>> = {
  agent: AGENT_CAPABILITIES,
  controller: [],
}

/**
 * Words ahead of a command that leave it these capabilities and no way to more (setpriv(1)): what root gains at an exec is
 * what stands in the bounding set, and no_new_privs forbids to gain more by files that would give it.
 */
export function confined(capabilities: readonly Capability[]): string[] {
  const kept = capabilities.map(({ name }) => `+${name.replace(/^CAP_/, '').toLowerCase()}`)
  return ['setpriv', '--no-new-privs', '--inh-caps=-all', `--bounding-set=${['-all', ...kept].join(',')}`, '--']
}
