#!/usr/bin/env node
// The `weft` command: its subcommands, and nothing else. Each loads what it needs when it is called.

import yargs, { type Argv } from 'yargs'
import { hideBin } from 'yargs/helpers'
import { agentConfig, agentOptions, controllerConfig, controllerOptions } from './config.ts'

const cli = yargs(hideBin(process.argv))
  .scriptName('weft')
  .usage('$0 COMMAND\n\nA sidecar-less service mesh for Kubernetes.')
  .command({
    command: 'agent',
    describe: 'Run the agent of one node',
    builder: agentOptions,
    handler: async (given: Record<string, unknown>) => {
      const config = agentConfig(given)
      const { runAgent } = await import('./agent.ts')
      await runAgent(config)
    },
  })
  .command({
    command: 'controller',
    describe: 'Run a replica of the controller, which writes what is to be said of policies into their status',
    builder: controllerOptions,
    handler: async (given: Record<string, unknown>) => {
      const config = controllerConfig(given)
      const { runController } = await import('./controller.ts')
      await runController(config)
    },
  })
  .command(
    'status',
    'Show agents, pods that joined the mesh, and why one is not captured',
    async (status: Argv) => (await import('./cli/status.ts')).statusOptions(status),
    async (given: Record<string, unknown>) => {
      const { showStatus } = await import('./cli/status.ts')
      process.exitCode = await showStatus(given)
    },
  )
  .command(
    'analyze',
    'Find what in a cluster, or in files, would not do what it says',
    async (analyze: Argv) => (await import('./cli/analyze.ts')).analyzeOptions(analyze),
    async (given: Record<string, unknown>) => {
      const { showAnalysis } = await import('./cli/analyze.ts')
      process.exitCode = await showAnalysis(given)
    },
  )
  .command(
    'explain',
    'Tell what the mesh would do with a request or connection, step by step, and why',
    async (explain: Argv) => (await import('./cli/explain.ts')).explainOptions(explain),
    async (given: Record<string, unknown>) => {
      const { showExplanation } = await import('./cli/explain.ts')
      process.exitCode = await showExplanation(given)
    },
  )
  .command(
    'authz <pod>',
    'Tell what stands before a pod: its policies, whose tokens are believed, whether plaintext is taken',
    async (authz: Argv) => (await import('./cli/authz.ts')).authzOptions(authz),
    async (given: Record<string, unknown>) => {
      const { showAuthorizations } = await import('./cli/authz.ts')
      process.exitCode = await showAuthorizations(given)
    },
  )
  .command(
    'join <namespace>',
    'Bring a namespace into the mesh: show what that changes, do it, and wait until its pods are captured',
    async (join: Argv) => (await import('./cli/join.ts')).joinOptions(join),
    async (given: Record<string, unknown>) => {
      const { showJoin } = await import('./cli/join.ts')
      process.exitCode = await showJoin('join', given)
    },
  )
  .command(
    'leave <namespace>',
    'Take a namespace out of the mesh: show what that changes, do it, and wait until its pods are released',
    async (leave: Argv) => (await import('./cli/join.ts')).joinOptions(leave),
    async (given: Record<string, unknown>) => {
      const { showJoin } = await import('./cli/join.ts')
      process.exitCode = await showJoin('leave', given)
    },
  )
  .command(
    'release',
    'Leave the pods of this node that no agent cares for any more',
    async (release: Argv) => (await import('./cli/release.ts')).releaseOptions(release),
    async (given: Record<string, unknown>) => {
      const { release } = await import('./cli/release.ts')
      process.exitCode = release(given)
    },
  )
  .command(
    'uninstall',
    'Take the mesh off all nodes, so that its objects can be removed',
    async (uninstall: Argv) => (await import('./cli/uninstall.ts')).uninstallOptions(uninstall),
    async (given: Record<string, unknown>) => {
      const { showUninstall } = await import('./cli/uninstall.ts')
      process.exitCode = await showUninstall(given)
    },
  )
  .command('lab', 'A cluster in a box: Kubernetes API and network namespaces on this machine', async (lab: Argv) => {
    const { labCommands } = await import('../lab/main.ts').catch(withoutLab)
    return labCommands(lab)
  })
  .demandCommand(1, 'Name a command.')
  .strict()
  .fail((message, error) => fail(message ?? error.message))
  .help()

// what a command whose options are loaded finds amiss in them comes this way, and past .fail
await cli.parseAsync().catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)))

/** An image of the agent has no lab. */
function withoutLab(error: Error & { readonly code?: string }): never {
  if (error.code !== 'ERR_MODULE_NOT_FOUND' || !/lab\/main\.[jt]s' imported/.test(error.message)) throw error
  throw new Error('lab: this installation has no lab; run it in a clone of the project (npx weft lab)')
}

function fail(why: string): never {
  process.stderr.write(`weft: ${why}\n`)
  process.exit(2)
}
