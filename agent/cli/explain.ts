// `weft explain`: what the mesh would do with a request or connection of a pod, asked of the agent of that pod's own node.

import type { Argv } from 'yargs'
import { AGENT_SETTINGS } from '../config.ts'
import { connectAsUser } from '../kube/user-client.ts'
import type { Question } from '../model/explain/explain.ts'
import type { Explanation } from '../model/explain/explanation.ts'
import { explanationText } from './explain-text.ts'
import { flagsOf, REACH_FLAGS } from './flags.ts'
import { nodeOf, podNamed } from './pod-node.ts'
import { askAgent, openReach } from './reach.ts'

const EXIT_CODES =
  'Exit code: 0 it goes somewhere, or is answered as a rule says; 1 it goes nowhere; 2 wrong usage, or the cluster or the ' +
  'agent cannot be asked. It takes the rights to get pods, and to get agents/explain of weft.dev.'

const FORMS = ['text', 'json'] as const

interface ExplainWish {
  readonly kubeconfig: string | null
  readonly token: string | null
  readonly weftNamespace: string
  readonly output: string
  readonly question: Question
}

/** Adds the command's options to yargs. */
export function explainOptions(yargs: Argv): Argv {
  const text = { type: 'string', requiresArg: true } as const
  return yargs
    .options({
      from: { ...text, demandOption: true, describe: 'The pod that calls: NAMESPACE/POD' },
      to: { ...text, demandOption: true, describe: 'Whom it calls, as it would write it: HOST[:PORT]' },
      method: { ...text, describe: 'Method of the request [GET]' },
      path: { ...text, describe: 'Its path, and query [/]' },
      header: { ...text, array: true, describe: 'A header of it, "Name: value"; may be given several times' },
      'server-name': { ...text, describe: 'It is a connection of TLS that asks for this server' },
      tcp: { type: 'boolean', describe: 'It is a connection that is carried as bytes, whatever the port declares' },
      ...REACH_FLAGS,
      output: { ...text, alias: 'o', choices: FORMS, defaultDescription: 'text', describe: 'Form of what is printed' },
    })
    .epilogue(EXIT_CODES)
}

/** Asks, prints, and returns the exit code. Throws, with one sentence, where nothing can be said. */
export async function showExplanation(given: Readonly<Record<string, unknown>>): Promise<number> {
  const { kubeconfig, token, weftNamespace, output, question } = wishOf(given)
  const client = connectAsUser(kubeconfig)
  const node = await nodeOf(client, question)
  const reach = await openReach(client, { namespace: weftNamespace, token })
  const told = await askAgent(reach, node, `/explain?q=${encodeURIComponent(JSON.stringify(question))}`)
  if ('silent' in told) throw new Error(`the agent of node ${node} does not say: ${told.silent}`)
  const explanation = JSON.parse(told.body) as Explanation
  process.stdout.write(output === 'json' ? `${JSON.stringify(explanation, null, 2)}\n` : explanationText(explanation))
  return explanation.outcome.kind === 'none' ? 1 : 0
}

/** What is asked for. Throws an Error that names the flag that is wrong. */
export function wishOf(given: Readonly<Record<string, unknown>>): ExplainWish {
  const one = flagsOf(given)
  const from = podNamed(one('from') ?? '')
  if (from === null) throw new Error('--from: is a pod, NAMESPACE/POD')
  const target = one('path') ?? '/'
  if (!target.startsWith('/')) throw new Error('--path: begins with /')
  const isTcp = given['tcp'] === true
  const serverName = one('server-name')
  if (isTcp && (one('method') ?? one('path') ?? given['header']) != null) {
    throw new Error('--tcp: a connection has no method, path or header')
  }
  return {
    kubeconfig: one('kubeconfig'),
    token: one('token'),
    weftNamespace: one('weft-namespace') ?? AGENT_SETTINGS.namespace.default,
    output: one('output') ?? 'text',
    question: {
      ...{ ...from, target, serverName, ...hostAndPort(one('to') ?? '') },
      method: one('method') ?? 'GET',
      headers: headersOf(given['header']),
      carriage: isTcp ? 'flows' : null,
    },
  }
}

/** `web`, `web:80`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`. */
function hostAndPort(text: string): Pick<Question, 'host' | 'port'> {
  const [, host = '', port] = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(text) ?? [
    text,
    /^[\da-f:]+$/i.test(text) ? text : '',
  ]
  if (host === '' || Number(port ?? 1) < 1 || Number(port ?? 1) > 65_535) throw new Error('--to: is HOST or HOST:PORT')
  return { host: host.replace(/^\[|\]$/g, ''), port: port === undefined ? null : Number(port) }
}

function headersOf(given: unknown): Question['headers'] {
  const all = Array.isArray(given) ? (given as readonly unknown[]) : given === undefined ? [] : [given]
  return all.map((one) => {
    const [, name, value = ''] = /^([^:\s]+):\s*(.*)$/.exec(String(one)) ?? []
    if (name === undefined) throw new Error(`--header: '${String(one)}' is not "Name: value"`)
    return [name.toLowerCase(), value] as const
  })
}
