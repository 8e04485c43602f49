// `weft status`: agents, pods and the reasons why one is not as it should be; its exit code is for scripts.

import type { Argv } from 'yargs'
import { connectAsUser } from '../kube/client.ts'
import { askMesh } from './ask-agents.ts'
import { exitCode, meshStatus } from './mesh-status.ts'
import { statusText } from './status-text.ts'

const EXIT_CODES =
  'Exit code: 0 all agents are ready and every joined pod is captured; 1 something is not; 2 wrong usage, or the cluster ' +
  'cannot be asked. It takes the rights to list nodes, namespaces and pods, and to get nodes/proxy.'

const FORMS = ['text', 'json'] as const

interface StatusWish {
  readonly kubeconfig: string | null
  readonly namespace: string | null
  readonly node: string | null
  readonly output: string
}

/** Adds the command's options to yargs. */
export function statusOptions(yargs: Argv): Argv {
  const text = { type: 'string', requiresArg: true } as const
  return yargs
    .options({
      kubeconfig: { ...text, describe: 'Kubeconfig file [as kubectl finds it]' },
      namespace: { ...text, alias: 'n', describe: 'Tell and judge only the pods of this namespace' },
      node: { ...text, describe: 'Tell and judge only this node and its pods' },
      output: { ...text, alias: 'o', choices: FORMS, defaultDescription: 'text', describe: 'Form of what is printed' },
    })
    .epilogue(EXIT_CODES)
}

/** Asks, prints, and returns the exit code. Throws, with one sentence, where the cluster cannot be asked. */
export async function showStatus(given: Readonly<Record<string, unknown>>): Promise<number> {
  const { kubeconfig, namespace, node, output } = wishOf(given)
  const status = meshStatus(await askMesh(connectAsUser(kubeconfig), { namespace, node }), namespace)
  process.stdout.write(output === 'json' ? `${JSON.stringify(status, null, 2)}\n` : statusText(status))
  return exitCode(status)
}

function wishOf(given: Readonly<Record<string, unknown>>): StatusWish {
  const one = (name: string): string | null => {
    const value = given[name]
    if (Array.isArray(value)) throw new Error(`--${name}: must be given once`)
    if (value === '') throw new Error(`--${name}: must not be empty`)
    return typeof value === 'string' ? value : null
  }
  return {
    kubeconfig: one('kubeconfig'),
    namespace: one('namespace'),
    node: one('node'),
    output: one('output') ?? 'text',
  }
}
