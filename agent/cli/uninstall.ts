// `weft uninstall`: takes the mesh off all nodes, in the order in which nothing is left: agents first, for they let go of
// pods; then the controller; then what both have made.

import type { Argv } from 'yargs'
import { setTimeout as sleep } from 'node:timers/promises'
import { AGENT_SETTINGS, CONTROLLER_SETTINGS } from '../config.ts'
import { type KubeClient, KubeError } from '../kube/client.ts'
import { daemonSetPath } from '../kube/daemon-set.ts'
import { connectAsUser } from '../kube/user-client.ts'
import { configMapsPath, ROOTS } from '../signing/published-roots.ts'
import { ROOT, secretsPath } from '../signing/root-secret.ts'
import { flagsOf } from './flags.ts'

const EPILOGUE =
  'What `helm uninstall` runs before it removes the objects of the chart. Definitions of policy kinds, policies, and the ' +
  'root namespace stay: they are yours. Exit code: 0 all is gone; 1 not within --timeout-seconds; 2 the cluster cannot be asked.'
const TIMEOUT_SECONDS = 240
const POLL_MS = 500
/** Names of pods that are told of, where some do not end. */
const NAMED_MOST = 5

/** What is to go. */
export interface Departure {
  readonly namespace: string
  readonly daemonSet: string
  readonly deployment: string
  /** The authority of the mesh stays, for an installation to come. */
  readonly keepsRoot: boolean
  readonly timeoutMs: number
}

/** Adds the command's options to yargs. */
export function uninstallOptions(yargs: Argv): Argv {
  const text = { type: 'string', requiresArg: true } as const
  return yargs
    .options({
      kubeconfig: { ...text, describe: 'Kubeconfig file [as kubectl finds it]' },
      'weft-namespace': { ...text, default: AGENT_SETTINGS.namespace.default, describe: 'Namespace of Weft itself' },
      daemonset: { ...text, default: 'weft-agent', describe: 'DaemonSet of the agents' },
      deployment: { ...text, default: 'weft-controller', describe: 'Deployment of the controller' },
      'keep-root': { type: 'boolean', default: false, describe: 'Keep the authority of the mesh (Secret weft-root)' },
      'timeout-seconds': {
        type: 'number',
        requiresArg: true,
        default: TIMEOUT_SECONDS,
        describe: 'How long agents and controllers may take to end, together',
      },
    })
    .epilogue(EPILOGUE)
}

/** Does it, says so, and returns the exit code. Throws with one sentence where the cluster refuses or cannot be asked. */
export async function showUninstall(given: Readonly<Record<string, unknown>>): Promise<number> {
  const one = flagsOf(given)
  const seconds = given['timeout-seconds']
  if (typeof seconds !== 'number' || !(seconds > 0)) throw new Error('--timeout-seconds: is not a number above 0')
  const departure = {
    namespace: one('weft-namespace') ?? AGENT_SETTINGS.namespace.default,
    daemonSet: one('daemonset') ?? 'weft-agent',
    deployment: one('deployment') ?? 'weft-controller',
    keepsRoot: given['keep-root'] === true,
    timeoutMs: seconds * 1000,
  }
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  return (await depart(connectAsUser(one('kubeconfig')), departure, say)) ? 0 : 1
}

/** Removes what agents and controllers are, then what they made. Returns whether all is gone. Throws KubeError. */
export async function depart(
  client: Pick<KubeClient, 'list' | 'remove'>,
  { namespace, daemonSet, deployment, keepsRoot, timeoutMs }: Departure,
  say: (line: string) => void,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  const workloads = [
    { what: 'agents', app: daemonSet, path: daemonSetPath(namespace, daemonSet) },
    { what: 'controllers', app: deployment, path: `/apis/apps/v1/namespaces/${namespace}/deployments/${deployment}` },
  ]
  for (const { what, app, path } of workloads) {
    await removeIfThere(client, path)
    const left = await podsLeft(client, { namespace, app, deadline })
    if (left.length > 0) {
      say(
        `${left.length} ${what} have not ended: ${left.slice(0, NAMED_MOST).join(', ')}. Ask again, or look at their logs.`,
      )
      return false
    }
    say(`no ${what} any more`)
  }
  const lease = CONTROLLER_SETTINGS['lease-name'].default
  const made = [
    `${configMapsPath(namespace)}/${ROOTS}`,
    `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${lease}`,
    ...(keepsRoot ? [] : [`${secretsPath(namespace)}/${ROOT}`]),
  ]
  for (const path of made) await removeIfThere(client, path)
  say(keepsRoot ? 'what they made is gone, but for the authority' : 'what they made is gone')
  return true
}

async function removeIfThere(client: Pick<KubeClient, 'remove'>, path: string): Promise<void> {
  try {
    await client.remove(path)
  } catch (error) {
    if (!(error instanceof KubeError && error.status === 404)) throw error
  }
}

/** Waits until no pod of the workload is there. Returns the names of those that are still there at the deadline. */
async function podsLeft(
  client: Pick<KubeClient, 'list'>,
  { namespace, app, deadline }: { readonly namespace: string; readonly app: string; readonly deadline: number },
): Promise<readonly string[]> {
  for (;;) {
    const { items } = await client.list(`/api/v1/namespaces/${namespace}/pods`, { labelSelector: `app=${app}` }, true)
    const names = items.map(({ metadata }) => metadata.name)
    if (names.length === 0 || performance.now() > deadline) return names
    await sleep(POLL_MS)
  }
}
