// `weft status`: agents, pods and the reasons why one is not as it should be; its exit code is for scripts.

import type { Argv } from 'yargs'
import { AGENT_SETTINGS } from '../config.ts'
import { connectAsUser } from '../kube/user-client.ts'
import { askMesh } from './ask-agents.ts'
import { flagsOf, REACH_FLAGS } from './flags.ts'
import { exitCode, meshStatus } from './mesh-status.ts'
import { openReach } from './reach.ts'
import { statusText } from './status-text.ts'

const EXIT_CODES =
  'Exit code: 0 all agents are ready and every joined pod is captured; 1 something is not; 2 wrong usage, or the cluster ' +
  'cannot be asked. It takes the rights to list nodes, namespaces and pods; in the namespace of Weft to list endpointslices ' +
  'and to get and create pods/portforward; and to get agents/status of weft.dev.'

const FORMS = ['text', 'json'] as const

interface StatusWish {
  readonly kubeconfig: string | null
  readonly namespace: string | null
  readonly node: string | null
  readonly output: string
  readonly token: string | null
  readonly weftNamespace: string
}

/** Adds the command's options to yargs. */
export function statusOptions(yargs: Argv): Argv {
  const text = { type: 'string', requiresArg: true } as const
  return yargs
    .options({
      ...REACH_FLAGS,
      namespace: { ...text, alias: 'n', describe: 'Tell and judge only the pods of this namespace' },
      node: { ...text, describe: 'Tell and judge only this node and its pods' },
      output: { ...text, alias: 'o', choices: FORMS, defaultDescription: 'text', describe: 'Form of what is printed' },
    })
    .epilogue(EXIT_CODES)
}

/** Asks, prints, and returns the exit code. Throws, with one sentence, where the cluster cannot be asked. */
export async function showStatus(given: Readonly<Record<string, unknown>>): Promise<number> {
  const { kubeconfig, namespace, node, output, token, weftNamespace } = wishOf(given)
  const reach = await openReach(connectAsUser(kubeconfig), { namespace: weftNamespace, token })
  const status = meshStatus(await askMesh(reach, { namespace, node }), namespace)
  process.stdout.write(output === 'json' ? `${JSON.stringify(status, null, 2)}\n` : statusText(status))
  return exitCode(status)
}

function wishOf(given: Readonly<Record<string, unknown>>): StatusWish {
  const one = flagsOf(given)
  return {
    kubeconfig: one('kubeconfig'),
    namespace: one('namespace'),
    node: one('node'),
    output: one('output') ?? 'text',
    token: one('token'),
    weftNamespace: one('weft-namespace') ?? AGENT_SETTINGS.namespace.default,
  }
}
