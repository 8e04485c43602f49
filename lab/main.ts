#!/usr/bin/env node
// `weft lab …`: the commands of the cluster in a box. Also runs by itself: `node lab/main.ts up`.
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import yargs, { type Argv } from 'yargs'
import { hideBin } from 'yargs/helpers'
import { Refusal } from './cli/machine.ts'
import { DEFAULT_NODES, DEFAULT_READY_SECONDS } from './cli/wish.ts'

/** Runs a command; a Refusal is one sentence on standard error and exit code 1. */
async function run(command: () => Promise<number | undefined>): Promise<void> {
  try {
    process.exitCode = (await command()) ?? 0
  } catch (error) {
    const text = error instanceof Refusal ? error.message : ((error as Error).stack ?? String(error))
    process.stderr.write(`weft lab: ${text}\n`)
    process.exitCode = 1
  }
  // Nothing is left to do; a handle that lingers must not keep the terminal.
  process.exit()
}

const podOptions = { c: { alias: 'container', type: 'string', describe: 'Container (default: the first)' } } as const

/** Adds the lab's commands to a yargs command. */
export function labCommands(args: Argv): Argv {
  return args
    .option('dir', { type: 'string', default: '.lab', describe: "Folder of the lab's state" })
    .command('up', 'Start a cluster and apply manifests', upOptions, (given) =>
      run(async () => {
        const { up } = await import('./cli/up.ts')
        await up(given)
        return 0
      }),
    )
    .command(
      'exec [pod] [command..]',
      'Run a command in a pod (NAMESPACE/POD), or on a node (--node)',
      (of) =>
        podArgument(of).options(podOptions).option('node', { type: 'string', describe: 'A node instead of a pod' }),
      (given) =>
        run(async () => {
          const { execIn } = await import('./cli/exec.ts')
          const words = [
            ...((given['command'] as string[] | undefined) ?? []),
            ...((given['--'] as string[] | undefined) ?? []),
          ]
          // With --node there is no pod: the first word belongs to the command.
          const command = given.node !== undefined && given.pod !== undefined ? [given.pod, ...words] : words
          return execIn({ dir: given.dir as string, pod: given.pod, node: given.node, container: given.c, command })
        }),
    )
    .command('logs <pod>', 'Print what a pod (NAMESPACE/POD) printed', logsOptions, (given) =>
      run(async () => {
        const { printLogs } = await import('./cli/logs.ts')
        await printLogs({
          ...given,
          dir: given.dir as string,
          pod: given.pod ?? '',
          container: given.c,
          follow: given.f,
        })
        return 0
      }),
    )
    .command('status', 'Show nodes and pods', {}, (given) =>
      run(async () => (await import('./cli/status.ts')).printStatus(given['dir'] as string)),
    )
    .command('down', 'Stop a lab and remove all of it', {}, (given) =>
      run(async () => {
        const { down } = await import('./cli/down.ts')
        await down(given['dir'] as string)
        return 0
      }),
    )
    .parserConfiguration({ 'populate--': true })
    .demandCommand(1, 'Name a command of the lab.')
    .strict()
}

const podArgument = (of: Argv) => of.positional('pod', { type: 'string', describe: 'NAMESPACE/POD' })

const upOptions = (of: Argv) =>
  of.option('dir', { type: 'string', default: '.lab' }).options({
    file: { alias: 'f', type: 'string', array: true, default: [] as string[], describe: 'Manifest file or folder' },
    nodes: { type: 'number', default: DEFAULT_NODES, describe: 'How many nodes, 1 to 10' },
    port: { type: 'number', default: 0, describe: 'Port of the Kubernetes API on loopback (0: any free one)' },
    detach: { type: 'boolean', alias: 'd', default: false, describe: 'Leave it running and return when it is ready' },
    mesh: {
      type: 'boolean',
      default: true,
      describe: 'Run the agent on each node (--no-mesh: a plain cluster, to install into)',
    },
    controller: {
      type: 'boolean',
      default: true,
      describe:
        'Run the controller, which signs certificates and writes the status of policies (--no-controller: without)',
    },
    'agent-flag': {
      type: 'string',
      array: true,
      nargs: 1,
      default: [] as string[],
      describe: 'NAME=VALUE, given to every agent as --NAME VALUE; may be repeated (names: `weft agent --help`)',
    },
    'controller-flag': {
      type: 'string',
      array: true,
      nargs: 1,
      default: [] as string[],
      describe:
        'NAME=VALUE, given to the controller as --NAME VALUE; may be repeated (names: `weft controller --help`)',
    },
    image: {
      type: 'string',
      array: true,
      nargs: 1,
      default: [] as string[],
      describe:
        'NAME=FILE, an image that is run from this OCI archive (by crun) in place of a stand-in; may be repeated',
    },
    timeout: { type: 'number', default: DEFAULT_READY_SECONDS, describe: 'Seconds to wait for all to be ready' },
  })

const logsOptions = (of: Argv) =>
  podArgument(of).options({
    ...podOptions,
    f: { alias: 'follow', type: 'boolean', default: false, describe: 'Go on with what comes' },
    previous: { alias: 'p', type: 'boolean', default: false, describe: 'Of the start before' },
    timestamps: { type: 'boolean', default: false },
    tail: { type: 'number', describe: 'Only the last lines' },
  })

const isMain = process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)
if (isMain) {
  const fail = (message: string | null, error: Error | undefined): never => {
    process.stderr.write(`weft lab: ${message ?? error?.message ?? 'failed'}\n`)
    process.exit(2)
  }
  await labCommands(yargs(hideBin(process.argv)).scriptName('weft lab'))
    .fail(fail)
    .help()
    .parseAsync()
}
