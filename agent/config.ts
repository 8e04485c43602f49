// Every setting of the agent and of the controller: flag, default, range, in one table a command. Each can also be given in the environment: `--node`
// is WEFT_NODE, `--admin-port` is WEFT_ADMIN_PORT; the flag wins. Other variables that begin so are not looked at:
// Kubernetes sets WEFT_CONTROLLER_PORT and the like for Services of its pods' namespace.

import { availableParallelism } from 'node:os'
import type { Argv } from 'yargs'
import { ACCESS_SETTINGS } from './access-settings.ts'
import { CNI_SETTINGS } from './cni-settings.ts'
import { type Config, type Env, optionsOf, readSettings, type Setting, type Settings } from './settings.ts'
import { TRAFFIC_SETTINGS } from './traffic-settings.ts'

/** What several commands take. */
const KUBECONFIG = {
  type: 'string',
  default: null,
  describe: "Kubeconfig file; by default the pod's service account",
} as const satisfies Setting
const CLUSTER_DOMAIN = {
  type: 'string',
  default: 'cluster.local',
  describe: 'DNS domain of the cluster',
} as const satisfies Setting
const ROOT_NAMESPACE = {
  type: 'string',
  default: 'istio-system',
  describe: 'Namespace of mesh-wide Istio objects',
} as const satisfies Setting
const NAMESPACE = {
  type: 'string',
  default: 'weft-system',
  describe:
    'Namespace of Weft itself: of the lease, the authority (Secret weft-root), the roots (ConfigMap weft-roots) and the agents',
} as const satisfies Setting
const LOG_LEVEL = {
  type: 'string',
  default: 'info',
  choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal'],
  describe: 'Least level that is logged',
} as const satisfies Setting

/** Null as a default means: found out at start, as the description says. */
export const AGENT_SETTINGS = {
  node: { type: 'string', default: null, describe: 'Name of the Kubernetes node this agent serves (required)' },
  kubeconfig: KUBECONFIG,
  'agent-name': { type: 'string', default: null, describe: 'Name to announce captured pods by [weft-agent-<node>]' },
  'cgroup-root': { type: 'string', default: null, describe: 'cgroup2 root to attach to [the whole one of the mounts]' },
  'pods-cgroup': {
    type: 'string',
    default: null,
    describe: 'Where to look for pods’ cgroups [the cgroup2 root, then version 1]',
  },
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
  'client-tls-root': {
    type: 'string',
    default: '/etc/weft/tls',
    describe: 'Folder with the certificates, keys and roots that DestinationRules may name as files',
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
  daemonset: {
    type: 'string',
    default: null,
    describe:
      'DaemonSet in --namespace that it belongs to: one that stops while this is deleted lets its pods go and leaves nothing on the node',
  },
  'when-replaced': {
    type: 'string',
    default: 'end',
    choices: ['end', 'stay'],
    describe:
      'What it does once another agent has taken its place and its connections have ended: ends, or stays until it is told to, or that one is gone',
  },
  namespace: NAMESPACE,
  'cluster-domain': CLUSTER_DOMAIN,
  'root-namespace': ROOT_NAMESPACE,
  'sandboxed-runtimes': {
    type: 'string',
    default: 'gvisor,runsc,kata,firecracker',
    describe: 'How names of RuntimeClasses begin whose pods have a network stack of their own: never captured',
  },
  'admin-address': {
    type: 'string',
    default: null,
    describe: 'Address of health checks, metrics, status and snapshot [all]',
  },
  'admin-port': { type: 'number', default: 15020, min: 1, max: 65535, describe: 'Port of the same' },
  'log-level': LOG_LEVEL,
  workers: {
    type: 'number',
    default: 0,
    min: 0,
    max: 16,
    describe: 'Threads that carry connections; 0 for as many as there are cores, at most 4',
  },
  transport: {
    type: 'string',
    default: 'native',
    choices: ['native', 'node'],
    describe: 'What moves bytes: the addon, or node:net, which costs about half as much again',
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
  'strict-grace-seconds': {
    type: 'number',
    default: 300,
    min: 0,
    max: 86_400,
    describe: 'How long plaintext older than its pod’s capture may go on at a STRICT port; 0: as long as it lives',
  },
  ...TRAFFIC_SETTINGS,
  ...ACCESS_SETTINGS,
  ...CNI_SETTINGS,
  'drain-seconds': { type: 'number', default: 5, min: 0, max: 3600, describe: 'Time open requests get when it stops' },
} as const satisfies Settings

/** Null as a default means: found out at start, as the description says. */
export const CONTROLLER_SETTINGS = {
  kubeconfig: KUBECONFIG,
  namespace: NAMESPACE,
  'lease-name': {
    type: 'string',
    default: 'weft-controller',
    describe: 'Lease by which one of several replicas leads',
  },
  identity: {
    type: 'string',
    default: null,
    describe: 'Name to hold the lease by, unlike any other replica’s [<host name>_<random>]',
  },
  'lease-seconds': {
    type: 'number',
    default: 15,
    min: 2,
    max: 3600,
    describe: 'How long a lease stands that is not renewed',
  },
  'renew-seconds': {
    type: 'number',
    default: 10,
    min: 1,
    max: 3599,
    describe: 'How long a leader writes that cannot renew its lease; less than --lease-seconds',
  },
  'retry-ms': {
    type: 'number',
    default: 2000,
    min: 100,
    max: 600_000,
    describe: 'How often the lease is renewed or looked at; at most half of --renew-seconds',
  },
  'cluster-domain': CLUSTER_DOMAIN,
  'root-namespace': ROOT_NAMESPACE,
  'settle-ms': { type: 'number', default: 100, min: 0, max: 10_000, describe: 'Changes this close are judged once' },
  'writes-per-second': {
    type: 'number',
    default: 20,
    min: 1,
    max: 1000,
    describe: 'Objects whose status or Events are written in a second, at most',
  },
  'repeat-minutes': {
    type: 'number',
    default: 60,
    min: 1,
    max: 1440,
    describe: 'After how long an Event that still holds is told again',
  },
  'agent-account': {
    type: 'string',
    default: 'weft-agent',
    describe: 'Service account of the agents, in --namespace: it may ask for the certificates of pods on its node',
  },
  'certificate-seconds': {
    type: 'number',
    default: 86_400,
    min: 10,
    max: 86_400,
    describe: 'How long a certificate lasts, unless its request asks for less',
  },
  'root-settle-seconds': {
    type: 'number',
    default: 60,
    min: 0,
    max: 3600,
    describe: 'How long agents are given to hear of a new root before it signs',
  },
  'admin-address': { type: 'string', default: null, describe: 'Address of health checks, metrics and status [all]' },
  'admin-port': { type: 'number', default: 15021, min: 1, max: 65535, describe: 'Port of the same' },
  'log-level': LOG_LEVEL,
} as const satisfies Settings

export type AgentConfig = Config<typeof AGENT_SETTINGS>
export type ControllerConfig = Config<typeof CONTROLLER_SETTINGS>

/** Adds the agent's table to a yargs command. */
export function agentOptions(yargs: Argv): Argv {
  return yargs.options(optionsOf(AGENT_SETTINGS))
}

/** Adds the controller's table to a yargs command. */
export function controllerOptions(yargs: Argv): Argv {
  return yargs.options(optionsOf(CONTROLLER_SETTINGS))
}

/** The entries of a setting that is a comma-separated list. */
export function listOf(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}

/** Reads parsed arguments and the environment as settings. Throws with flag and reason where one is not what it must be. */
export function agentConfig(given: Readonly<Record<string, unknown>>, env: Env = process.env): AgentConfig {
  const config = readSettings(AGENT_SETTINGS, given, env)
  if (config.node === null || config.node === '') throw new Error('--node: the name of the Kubernetes node is required')
  return config
}

/** As agentConfig, for the controller. */
export function controllerConfig(given: Readonly<Record<string, unknown>>, env: Env = process.env): ControllerConfig {
  const config = readSettings(CONTROLLER_SETTINGS, given, env)
  const { 'lease-seconds': lease, 'renew-seconds': renew, 'retry-ms': retry } = config
  if (renew >= lease) throw new Error(`--renew-seconds: ${renew} is not less than --lease-seconds (${lease})`)
  if (retry > renew * 500) throw new Error(`--retry-ms: ${retry} is more than half of --renew-seconds (${renew})`)
  return config
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
