// `weft join` and `weft leave`: a namespace into the mesh, or out of it. Both show what will change, do it, and wait until
// agents have done it.

import type { Argv } from 'yargs'
import { AGENT_SETTINGS } from '../config.ts'
import { connectAsUser, type UserClient } from '../kube/user-client.ts'
import { MESH } from '../kube/workload.ts'
import type { Change } from '../model/joining/change.ts'
import { awaited, type Plan, planOf } from '../model/joining/plan.ts'
import type { Deed } from '../model/joining/scene.ts'
import { flagsOf, REACH_FLAGS } from './flags.ts'
import { namespacePath, needs, readScene, type SceneWish } from './join-scene.ts'
import { outcomeText, planText } from './join-text.ts'
import { type Outcome, settled } from './join-wait.ts'
import { openReach, type Reach } from './reach.ts'

const EPILOGUE =
  'Exit code: 0 it is done, or would be; 1 not every pod followed in time, or something needs care; 2 wrong usage, or the ' +
  'cluster cannot be asked or refuses. It takes the rights to get and patch the namespace; to list namespaces, services, ' +
  'endpointslices, pods, the ConfigMap weft of the root namespace and the policies; and, to say more, to get the lease of ' +
  'the controller, and what `weft status` takes.'

const FORMS = ['text', 'json'] as const
const TIMEOUT_SECONDS = 60
/** Namespaces of Kubernetes itself. */
const KUBERNETES_OWN: readonly string[] = ['kube-system', 'kube-public', 'kube-node-lease']

export interface JoinWish extends SceneWish {
  readonly deed: Deed
  readonly kubeconfig: string | null
  readonly token: string | null
  readonly dryRun: boolean
  readonly output: string
  readonly wait: boolean
  readonly timeoutMs: number
  /** Namespaces of the system join, too. */
  readonly force: boolean
}

/** Where it speaks: what it found, and how far it has come. */
export interface Voice {
  readonly out: (text: string) => void
  readonly progress: (line: string) => void
}

/** Adds the options of either command to yargs. */
export function joinOptions(yargs: Argv): Argv {
  const text = { type: 'string', requiresArg: true } as const
  return yargs
    .positional('namespace', { type: 'string', demandOption: true, describe: 'The namespace' })
    .options({
      'dry-run': { type: 'boolean', default: false, describe: 'Show what would change, and change nothing' },
      wait: { type: 'boolean', default: true, describe: 'Wait until agents have followed (--no-wait: do not)' },
      timeout: {
        type: 'number',
        requiresArg: true,
        default: TIMEOUT_SECONDS,
        describe: 'How long to wait for them, in seconds',
      },
      force: { type: 'boolean', default: false, describe: 'Let namespaces of the system join, too' },
      ...REACH_FLAGS,
      output: { ...text, alias: 'o', choices: FORMS, defaultDescription: 'text', describe: 'Form of what is printed' },
      'cluster-domain': { ...text, defaultDescription: 'cluster.local', describe: 'DNS domain of the cluster' },
      'root-namespace': {
        ...text,
        defaultDescription: 'istio-system',
        describe: 'Namespace of policies and settings for the whole mesh',
      },
    })
    .epilogue(EPILOGUE)
}

/** Shows, does, waits, and returns the exit code. Throws, with one sentence, where it cannot be asked or done. */
export async function showJoin(deed: Deed, given: Readonly<Record<string, unknown>>): Promise<number> {
  const wish = joinWishOf(deed, given)
  return carryOut(wish, connectAsUser(wish.kubeconfig), {
    out: (text) => void process.stdout.write(text),
    progress: (line) => void process.stderr.write(`${line}\n`),
  })
}

/** What the flags mean together. Throws an Error that names the flag that is wrong, or why the namespace is refused. */
export function joinWishOf(deed: Deed, given: Readonly<Record<string, unknown>>): JoinWish {
  const one = flagsOf(given)
  const namespace = one('namespace')
  if (namespace === null || !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) {
    throw new Error(`'${namespace ?? ''}' is no name of a namespace (RFC 1123 label)`)
  }
  const seconds = given['timeout'] ?? TIMEOUT_SECONDS
  if (typeof seconds !== 'number' || !(seconds > 0)) throw new Error('--timeout: is not a number of seconds above 0')
  const wish = {
    deed,
    namespace,
    kubeconfig: one('kubeconfig'),
    token: one('token'),
    dryRun: given['dry-run'] === true,
    output: one('output') ?? 'text',
    wait: given['wait'] !== false,
    timeoutMs: seconds * 1000,
    force: given['force'] === true,
    weftNamespace: one('weft-namespace') ?? AGENT_SETTINGS.namespace.default,
    rootNamespace: one('root-namespace') ?? AGENT_SETTINGS['root-namespace'].default,
    clusterDomain: one('cluster-domain') ?? AGENT_SETTINGS['cluster-domain'].default,
  }
  const refusal = deed === 'join' && !wish.force ? refusalOf(wish) : null
  if (refusal !== null) throw new Error(refusal)
  return wish
}

/** Why a namespace does not join without --force; null: it may. */
function refusalOf({ namespace, weftNamespace, rootNamespace }: SceneWish): string | null {
  const whose = KUBERNETES_OWN.includes(namespace)
    ? 'Kubernetes itself'
    : [weftNamespace, rootNamespace].includes(namespace)
      ? 'the mesh itself'
      : null
  if (whose === null) return null
  return `${namespace} is of ${whose}: what it runs must work while the mesh does not. --force joins it all the same`
}

/** All of it, by a client of the user's. */
export async function carryOut(wish: JoinWish, client: UserClient, { out, progress }: Voice): Promise<number> {
  const { deed, namespace, dryRun } = wish
  const isText = wish.output === 'text'
  const plan = planOf(deed, await readScene(client, wish, Date.now()))
  if (isText) out(planText(plan, dryRun))
  const isChanged = !dryRun && (await written(client, namespace, plan.change))
  const reach = (): Promise<Reach | null> => reachOrNull(client, wish)
  const outcome =
    dryRun || !wish.wait
      ? null
      : await settled(
          {
            deed,
            namespace,
            uids: awaited(plan),
            nodes: plan.agents.map(({ node }) => node),
            timeoutMs: wish.timeoutMs,
          },
          { client, reach, say: progress },
        )
  if (!isText) out(`${JSON.stringify({ ...plan, dryRun, written: isChanged, outcome }, null, 2)}\n`)
  else if (outcome !== null) out(outcomeText(deed, outcome))
  return exitCodeOf(plan, outcome)
}

/** 0 where nothing needs care and every pod that was waited for has followed. */
function exitCodeOf({ cares }: Plan, outcome: Outcome | null): number {
  return cares.length > 0 || outcome?.complete === false ? 1 : 0
}

/** Writes what is to change. Returns whether there was anything. Throws, with one sentence, where that is refused. */
async function written(client: UserClient, namespace: string, { annotation, label }: Change): Promise<boolean> {
  if (annotation === null && label === null) return false
  const metadata = {
    ...(annotation === null ? {} : { annotations: { [MESH]: annotation.to } }),
    ...(label === null ? {} : { labels: { [MESH]: label.to } }),
  }
  await client.patch(namespacePath(namespace), { metadata }).catch(needs(`patch namespace ${namespace}`))
  return true
}

/** Agents only say more than what stands on pods: who may not ask them goes without. */
async function reachOrNull(client: UserClient, { weftNamespace, token }: JoinWish): Promise<Reach | null> {
  try {
    return await openReach(client, { namespace: weftNamespace, token })
  } catch {
    return null
  }
}
