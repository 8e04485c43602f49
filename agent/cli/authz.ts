// `weft authz`: what stands before a pod, asked of the agent of the pod's own node.

import type { Argv } from 'yargs'
import { AGENT_SETTINGS } from '../config.ts'
import { connectAsUser } from '../kube/user-client.ts'
import type { AuthorizationQuestion, Authorizations } from '../model/explain/authorizations.ts'
import { authorizationsText } from './authz-text.ts'
import { flagsOf, REACH_FLAGS } from './flags.ts'
import { nodeOf, podNamed } from './pod-node.ts'
import { askAgent, openReach } from './reach.ts'

const EXIT_CODES =
  'Exit code: 0 it is told, and enforced; 1 it is told, and the pod is not captured: nothing of it is enforced; 2 wrong ' +
  'usage, or the cluster or the agent cannot be asked. It takes the rights to get pods, and to get agents/authz of weft.dev.'

const FORMS = ['text', 'json'] as const
const LARGEST_PORT = 65_535

interface AuthzWish {
  readonly kubeconfig: string | null
  readonly token: string | null
  readonly weftNamespace: string
  readonly output: string
  readonly question: AuthorizationQuestion
}

/** Adds the command's options to yargs. */
export function authzOptions(yargs: Argv): Argv {
  const text = { type: 'string', requiresArg: true } as const
  return yargs
    .positional('pod', { type: 'string', demandOption: true, describe: 'The pod that is called: NAMESPACE/POD' })
    .options({
      port: { ...text, describe: 'Tell of this port alone, at which the pod itself listens [of all that is known]' },
      ...REACH_FLAGS,
      output: { ...text, alias: 'o', choices: FORMS, defaultDescription: 'text', describe: 'Form of what is printed' },
    })
    .epilogue(EXIT_CODES)
}

/** Asks, prints, and returns the exit code. Throws, with one sentence, where nothing can be said. */
export async function showAuthorizations(given: Readonly<Record<string, unknown>>): Promise<number> {
  const { kubeconfig, token, weftNamespace, output, question } = authzWishOf(given)
  const client = connectAsUser(kubeconfig)
  const node = await nodeOf(client, question)
  const reach = await openReach(client, { namespace: weftNamespace, token })
  const answer = await askAgent(reach, node, `/authz?q=${encodeURIComponent(JSON.stringify(question))}`)
  if ('silent' in answer) throw new Error(`the agent of node ${node} does not say: ${answer.silent}`)
  const told = JSON.parse(answer.body) as Authorizations
  process.stdout.write(output === 'json' ? `${JSON.stringify(told, null, 2)}\n` : authorizationsText(told))
  return told.unenforced === null ? 0 : 1
}

/** What is asked for. Throws an Error that names the flag that is wrong. */
export function authzWishOf(given: Readonly<Record<string, unknown>>): AuthzWish {
  const one = flagsOf(given)
  const named = podNamed(one('pod') ?? '')
  if (named === null) throw new Error('the pod is named NAMESPACE/POD')
  const port = one('port')
  const isPort = port === null || (/^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) <= LARGEST_PORT)
  if (!isPort) throw new Error(`--port: is a number from 1 to ${LARGEST_PORT}`)
  return {
    kubeconfig: one('kubeconfig'),
    token: one('token'),
    weftNamespace: one('weft-namespace') ?? AGENT_SETTINGS.namespace.default,
    output: one('output') ?? 'text',
    question: { ...named, port: port === null ? null : Number(port) },
  }
}
