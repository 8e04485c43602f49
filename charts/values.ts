// Writes the schema of the chart's values (charts/weft/values.schema.json): settings of agents and controllers come of their own
// tables. `--check` says whether it is as it would be written.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AGENT_SETTINGS, CONTROLLER_SETTINGS } from '../agent/config.ts'
import * as part from './values/parts.ts'

const FILE = join(import.meta.dirname, 'weft/values.schema.json')

/** Settings of agents that the chart sets, by what it mounts and what it is asked for elsewhere. */
export const AGENT_OWN = [
  ...['node', 'agent-name', 'namespace', 'daemonset', 'when-replaced', 'kubeconfig'],
  // values of their own
  ...['root-namespace', 'cluster-domain', 'cni', 'cni-bin-dir', 'cni-conf-dir'],
  // they stand in folders that are mounted
  ...['pin-root', 'run-dir', 'cni-state-dir', 'client-tls-root'],
]

/** The same of controllers. Their page must be reached from outside the pod, and the rights name the lease and the account. */
export const CONTROLLER_OWN = [
  ...['namespace', 'root-namespace', 'cluster-domain', 'kubeconfig', 'identity'],
  ...['admin-address', 'lease-name', 'agent-account'],
]

const { object, list, oneOf, whole, TEXT, TEXTS, SWITCH, NAME, NAME_OR_NONE, OPEN } = part

const COMMON = {
  resources: part.RESOURCES,
  priorityClassName: NAME_OR_NONE,
  tolerations: part.TOLERATIONS,
  nodeSelector: TEXTS,
  affinity: part.AFFINITY,
  env: part.ENV,
  podLabels: TEXTS,
  podAnnotations: TEXTS,
  serviceAccountAnnotations: TEXTS,
}

const AGENT = object({
  settings: part.settings(AGENT_SETTINGS, AGENT_OWN),
  cni: object({ enabled: SWITCH, binDir: part.PATH, confDir: part.PATH }),
  clientTls: object({
    secretName: NAME_OR_NONE,
    items: list(object({ key: TEXT, path: TEXT, mode: whole(0, 511) }, ['key', 'path'])),
  }),
  credentials: { type: 'object', propertyNames: NAME, additionalProperties: { ...list(NAME), minItems: 1 } },
  criticalQuota: object({ enabled: SWITCH, pods: whole(1, 1_000_000) }),
  seccompProfile: object({ type: oneOf('RuntimeDefault', 'Unconfined', 'Localhost'), localhostProfile: TEXT }),
  appArmorProfile: object({ type: oneOf('RuntimeDefault', 'Unconfined', 'Localhost'), localhostProfile: TEXT }),
  seLinuxOptions: object({ type: TEXT, level: TEXT, role: TEXT, user: TEXT }),
  // none at all would leave no way to update: there is never a node without an agent
  maxSurge: { anyOf: [whole(1, 100_000), { type: 'string', pattern: '^([1-9]|[1-9][0-9]|100)%$' }] },
  ...COMMON,
})

const CONTROLLER = object({
  replicas: whole(0, 100),
  settings: part.settings(CONTROLLER_SETTINGS, CONTROLLER_OWN),
  runAsUser: whole(1, 2_147_483_647),
  podDisruptionBudget: object({ enabled: SWITCH, maxUnavailable: part.COUNT_OR_SHARE }),
  ...COMMON,
})

const MONITORING = object({
  scrapeAnnotations: SWITCH,
  podMonitor: object({
    enabled: SWITCH,
    interval: { type: 'string', pattern: '^([0-9]+(ms|s|m|h))+$' },
    labels: TEXTS,
  }),
  rules: object({ enabled: SWITCH, labels: TEXTS }),
  dashboard: object({ enabled: SWITCH, labels: TEXTS, folder: TEXT }),
})

/** The whole schema. */
export function valuesSchema(): part.Part {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    ...object({
      // what helm passes to every chart that is a part of another
      global: OPEN,
      image: object({
        repository: { type: 'string', minLength: 1 },
        tag: TEXT,
        digest: { type: 'string', pattern: '^(sha256:[0-9a-f]{64})?$' },
        pullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
        pullSecrets: list(NAME),
      }),
      clusterDomain: { type: 'string', minLength: 1 },
      rootNamespace: object({ name: NAME, create: SWITCH }),
      // agents judge it, and say what of it they do not know
      mesh: OPEN,
      readers: list(
        object({ kind: oneOf('User', 'Group', 'ServiceAccount'), name: TEXT, namespace: NAME }, ['kind', 'name']),
      ),
      labels: TEXTS,
      agent: AGENT,
      controller: CONTROLLER,
      uninstall: object({ enabled: SWITCH, timeoutSeconds: whole(10, 3600), keepRoot: SWITCH }),
      admission: object({ enabled: SWITCH }),
      openShift: object({ enabled: SWITCH }),
      crds: object({ keep: SWITCH, istio: object({ networking: SWITCH, security: SWITCH }) }),
      monitoring: MONITORING,
    }),
  }
}

/** The file as it is to be. */
export const schemaText = (): string => `${JSON.stringify(valuesSchema(), null, 2)}\n`

if (import.meta.main) {
  if (!process.argv.includes('--check')) writeFileSync(FILE, schemaText())
  else if (readFileSync(FILE, 'utf8') !== schemaText()) {
    console.error('charts/weft/values.schema.json is not of the tables: node charts/values.ts')
    process.exitCode = 1
  }
}
