// `weft release`: leaves the pods that an agent of this node has kept captured and that no agent cares for any more.

import type { Argv } from 'yargs'
import { pinRootOf, runDirOf } from '../config.ts'
import { isLived, handOverPath } from '../kernel/hand-over.ts'
import { pinsAt } from '../kernel/programs/pins.ts'

const EPILOGUE =
  'An agent keeps captures when it stops (--on-stop=keep), so that fail-closed pods stay closed until the next one. Where ' +
  'none will come, this lets all pods of the node go direct. Needs root, and is refused while an agent answers.'

/** Adds the command's options to yargs. */
export function releaseOptions(yargs: Argv): Argv {
  const text = { type: 'string', requiresArg: true } as const
  return yargs
    .options({
      node: { ...text, demandOption: true, describe: 'Name of the node, as the agent was given it' },
      'pin-root': { ...text, defaultDescription: '/sys/fs/bpf/weft/<node>', describe: 'As the agent was given it' },
      'run-dir': { ...text, defaultDescription: '/run/weft/<node>', describe: 'As the agent was given it' },
    })
    .epilogue(EPILOGUE)
}

/** Releases, says so, and returns the exit code. Throws with one sentence where an agent lives. */
export function release(given: Readonly<Record<string, unknown>>): number {
  const node = String(given['node'])
  const wish = { node, 'pin-root': textOf(given['pin-root']), 'run-dir': textOf(given['run-dir']) }
  if (process.geteuid?.() !== 0) throw new Error('releasing pods needs root: run it with sudo')
  if (isLived(handOverPath(runDirOf(wish))))
    throw new Error(`an agent of ${node} lives: stop it with --on-stop=release`)
  const pins = pinsAt(pinRootOf(wish))
  if (pins.folders().length === 0) throw new Error(`nothing is kept at ${pinRootOf(wish)}`)
  const count = pins.folders().reduce((sum, layout) => sum + pins.folder(layout).folders().length, 0)
  pins.remove()
  process.stdout.write(`${count} pods of ${node} were captured; none is any more\n`)
  return 0
}

const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)
