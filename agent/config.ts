// Every setting of the agent: flag, default, range, in one table. Each can also be given in the environment: `--node`
// is WEFT_NODE, `--admin-port` is WEFT_ADMIN_PORT; the flag wins.

import type { Argv, Options } from 'yargs'

interface TextSetting {
  readonly type: 'string'
  readonly default: string | null
  readonly describe: string
  readonly choices?: readonly string[]
}

interface NumberSetting {
  readonly type: 'number'
  readonly default: number
  readonly min: number
  readonly max: number
  readonly describe: string
}

interface SwitchSetting {
  readonly type: 'boolean'
  readonly default: boolean
  readonly describe: string
}

type Setting = TextSetting | NumberSetting | SwitchSetting

/** Null as a default means: found out at start, as the description says. */
export const AGENT_SETTINGS = {
  node: { type: 'string', default: null, describe: 'Name of the Kubernetes node this agent serves (required)' },
  kubeconfig: { type: 'string', default: null, describe: "Kubeconfig file; by default the pod's service account" },
  'agent-name': { type: 'string', default: null, describe: 'Name to announce captured pods by [weft-agent-<node>]' },
  'cgroup-root': { type: 'string', default: null, describe: 'cgroup2 root to attach to [the mount in /proc/mounts]' },
  'pods-cgroup': { type: 'string', default: null, describe: 'Where to look for pods’ cgroups [the cgroup2 root]' },
  'cluster-domain': { type: 'string', default: 'cluster.local', describe: 'DNS domain of the cluster' },
  'root-namespace': { type: 'string', default: 'istio-system', describe: 'Namespace of mesh-wide Istio objects' },
  'admin-address': { type: 'string', default: '0.0.0.0', describe: 'Address of health checks, metrics and snapshot' },
  'admin-port': { type: 'number', default: 15020, min: 1, max: 65535, describe: 'Port of the same' },
  'log-level': {
    type: 'string',
    default: 'info',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal'],
    describe: 'Least level that is logged',
  },
  'access-log': { type: 'boolean', default: true, describe: 'Write a JSON record a request to standard output' },
  'settle-ms': { type: 'number', default: 10, min: 0, max: 1000, describe: 'Changes this close become one snapshot' },
  'retry-capture-ms': {
    type: 'number',
    default: 200,
    min: 20,
    max: 10_000,
    describe: 'How often a pod that has no process yet is looked for',
  },
  'drain-seconds': { type: 'number', default: 5, min: 0, max: 3600, describe: 'Time open requests get when it stops' },
} as const satisfies Record<string, Setting>

type Settings = typeof AGENT_SETTINGS
type Value<S extends Setting> = S extends NumberSetting
  ? number
  : S extends SwitchSetting
    ? boolean
    : S['default'] extends null
      ? string | null
      : string

/** All settings by their flag's name. */
export type AgentConfig = { readonly [Name in keyof Settings]: Value<Settings[Name]> }

/** Adds the table to a yargs command. */
export function agentOptions(yargs: Argv): Argv {
  const options = Object.entries(AGENT_SETTINGS as Record<string, Setting>).map(
    ([name, setting]): [string, Options] => [
      name,
      {
        type: setting.type,
        describe: describe(setting),
        requiresArg: setting.type !== 'boolean',
        ...(setting.default === null ? {} : { default: setting.default }),
        ...('choices' in setting ? { choices: setting.choices } : {}),
      },
    ],
  )
  return yargs.options(Object.fromEntries(options)).env('WEFT')
}

function describe(setting: Setting): string {
  return setting.type === 'number' ? `${setting.describe} (${setting.min}..${setting.max})` : setting.describe
}

/** Reads parsed arguments as settings. Throws with flag and reason where one is missing or out of its range. */
export function agentConfig(given: Readonly<Record<string, unknown>>): AgentConfig {
  const read = Object.entries(AGENT_SETTINGS as Record<string, Setting>).map(([name, setting]) => {
    const value = given[name] ?? setting.default
    if (setting.type === 'number') checkNumber(name, setting, value)
    return [name, value]
  })
  const config = Object.fromEntries(read) as AgentConfig
  if (config.node === null || config.node === '') throw new Error('--node: the name of the Kubernetes node is required')
  return config
}

function checkNumber(name: string, { min, max }: NumberSetting, value: unknown): void {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return
  throw new Error(`--${name}: ${String(value)} is not a whole number from ${min} to ${max}`)
}
