// Every setting of the agent: flag, default, range, in one table. Each can also be given in the environment: `--node`
// is WEFT_NODE, `--admin-port` is WEFT_ADMIN_PORT; the flag wins. Other variables that begin so are not looked at:
// Kubernetes sets WEFT_CONTROLLER_PORT and the like for Services of its pods' namespace.

import { availableParallelism } from 'node:os'
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
  'pin-root': {
    type: 'string',
    default: null,
    describe: 'Folder on bpffs where captures outlive the agent [/sys/fs/bpf/weft/<node>]',
  },
  'run-dir': {
    type: 'string',
    default: null,
    describe: 'Folder in which an agent hands its listeners to the next one [/run/weft/<node>]',
  },
  'prober-cgroup': {
    type: 'string',
    default: null,
    describe: 'Directory of the kubelet’s cgroup: only its connects are probes [found by name, else all of the node’s]',
  },
  'on-stop': {
    type: 'string',
    default: 'keep',
    choices: ['keep', 'release'],
    describe: 'What becomes of captures when it stops: kept for the next agent (what outlives it), or released',
  },
  'cluster-domain': { type: 'string', default: 'cluster.local', describe: 'DNS domain of the cluster' },
  'root-namespace': { type: 'string', default: 'istio-system', describe: 'Namespace of mesh-wide Istio objects' },
  'sandboxed-runtimes': {
    type: 'string',
    default: 'gvisor,runsc,kata,firecracker',
    describe: 'How names of RuntimeClasses begin whose pods have a network stack of their own: never captured',
  },
  'admin-address': { type: 'string', default: null, describe: 'Address of health checks, metrics and snapshot [all]' },
  'admin-port': { type: 'number', default: 15020, min: 1, max: 65535, describe: 'Port of the same' },
  'log-level': {
    type: 'string',
    default: 'info',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal'],
    describe: 'Least level that is logged',
  },
  workers: {
    type: 'number',
    default: 0,
    min: 0,
    max: 16,
    describe: 'Threads that carry connections; 0 for as many as there are cores, at most 4',
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
  'leave-seconds': {
    type: 'number',
    default: 10,
    min: 0,
    max: 300,
    describe: 'How long what dials a pod is still taken after it left the mesh',
  },
  'account-seconds': {
    type: 'number',
    default: 10,
    min: 1,
    max: 300,
    describe: 'How often the kernel’s counts of pods’ connections are read',
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

/** Adds the table to a yargs command. Defaults are only told here: agentConfig() asks the environment first. */
export function agentOptions(yargs: Argv): Argv {
  const options = Object.entries(AGENT_SETTINGS as Record<string, Setting>).map(
    ([name, setting]): [string, Options] => [
      name,
      {
        type: setting.type,
        describe: describe(setting),
        requiresArg: setting.type !== 'boolean',
        ...(setting.default === null ? {} : { defaultDescription: String(setting.default) }),
        ...('choices' in setting ? { choices: setting.choices } : {}),
      },
    ],
  )
  return yargs.options(Object.fromEntries(options))
}

/** The entries of a setting that is a comma-separated list. */
export function listOf(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}

function describe(setting: Setting): string {
  return setting.type === 'number' ? `${setting.describe} (${setting.min}..${setting.max})` : setting.describe
}

/** Reads parsed arguments and the environment as settings. Throws with flag and reason where one is not what it must be. */
export function agentConfig(
  given: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): AgentConfig {
  const read = Object.entries(AGENT_SETTINGS as Record<string, Setting>).map(([name, setting]) => {
    const text = env[`WEFT_${name.replaceAll('-', '_').toUpperCase()}`]
    const value = given[name] ?? (text ? readAs(setting, text) : setting.default)
    const wanted = wantedInstead(setting, value)
    const shown = given[name] === undefined && text ? text : JSON.stringify(value)
    if (wanted !== null) throw new Error(`--${name}: ${shown} ${wanted}`)
    return [name, value]
  })
  const config = Object.fromEntries(read) as AgentConfig
  if (config.node === null || config.node === '') throw new Error('--node: the name of the Kubernetes node is required')
  return config
}

/** The text of a variable as a flag's value would come; null stands for what is none. */
function readAs(setting: Setting, text: string): string | number | boolean | null {
  switch (setting.type) {
    case 'number':
      return Number(text)
    case 'boolean':
      return text === 'true' || (text === 'false' ? false : null)
    case 'string':
      return text
  }
}

/** What is wrong with a value, to be said after it; or null. A flag given twice comes as an array. */
function wantedInstead(setting: Setting, value: unknown): string | null {
  if (Array.isArray(value)) return 'must be given once'
  switch (setting.type) {
    case 'number': {
      const { min, max } = setting
      const isWithin = typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      return isWithin ? null : `is not a whole number from ${min} to ${max}`
    }
    case 'boolean':
      return typeof value === 'boolean' ? null : 'is not true or false'
    case 'string': {
      const isOne = setting.choices === undefined || setting.choices.includes(String(value))
      return isOne ? null : `is not one of ${setting.choices?.join(', ')}`
    }
  }
}

interface Places {
  readonly node: string | null
  readonly 'pin-root': string | null
  readonly 'run-dir': string | null
}

/** Folder on bpffs where an agent's captures outlive it. bpffs takes no dots in names. */
export function pinRootOf({ node, 'pin-root': given }: Places): string {
  return given ?? `/sys/fs/bpf/weft/${(node ?? '').replaceAll('.', '_')}`
}

/** Workers where nobody says how many: more cores than these are the applications'. */
const WORKERS_BY_CORES_MAX = 4

/** Threads that carry connections. */
export function workersOf({ workers }: { readonly workers: number }): number {
  return workers > 0 ? workers : Math.min(availableParallelism(), WORKERS_BY_CORES_MAX)
}

/** Folder in which the agents of a node meet. */
export function runDirOf({ node, 'run-dir': given }: Places): string {
  return given ?? `/run/weft/${node}`
}
