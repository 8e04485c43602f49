// Flags that subcommands share, and how those that were given are read.

import { AGENT_SETTINGS } from '../config.ts'

const text = { type: 'string', requiresArg: true } as const

/** Of whoever asks agents: by what the cluster is reached, and who they are told is asking. */
export const REACH_FLAGS = {
  kubeconfig: { ...text, describe: 'Kubeconfig file [as kubectl finds it]' },
  token: { ...text, describe: 'Token to show to agents, as by `kubectl create token` [that of the kubeconfig]' },
  'weft-namespace': {
    ...text,
    defaultDescription: AGENT_SETTINGS.namespace.default,
    describe: 'Namespace of Weft itself',
  },
} as const

/** Reads flags that are given once at most: the text, or null. Throws an Error that names the flag where it is amiss. */
export function flagsOf(given: Readonly<Record<string, unknown>>): (name: string) => string | null {
  return (name) => {
    const value = given[name]
    if (Array.isArray(value)) throw new Error(`--${name}: must be given once`)
    if (value === '') throw new Error(`--${name}: must not be empty`)
    return typeof value === 'string' ? value : null
  }
}
