// `weft lab exec`: a command inside a pod's container, or in a node's network namespace.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { NETNS_FOLDER, nodeName, nodeNetns } from '../node/network.ts'
import { enterArgs } from '../node/pod/enter.ts'
import { containerRecord, findContainer, runningLab } from './find.ts'
import { Refusal, requireMachine } from './machine.ts'

export interface ExecWish {
  readonly dir: string
  readonly pod: string | undefined
  readonly node: string | undefined
  readonly container: string | undefined
  readonly command: readonly string[]
}

/** Runs the command with this process' own standard streams; resolves to its exit code (128 + n when signal n ended it). */
export async function execIn(wish: ExecWish): Promise<number> {
  requireMachine()
  if (wish.command.length === 0) throw new Refusal('name a command after --')
  const lab = runningLab(wish.dir)
  let args: string[]
  if (wish.node !== undefined) {
    const names = Array.from({ length: lab.record.nodes }, (_, at) => nodeName(at + 1))
    if (!names.includes(wish.node)) throw new Refusal(`there is no node ${wish.node}; the lab has ${names.join(', ')}`)
    args = [`--net=${NETNS_FOLDER}/${nodeNetns(lab.place.id, wish.node)}`, '--', ...wish.command]
  } else if (wish.pod !== undefined) {
    const found = await findContainer(lab, wish.pod, wish.container)
    args = enterArgs(containerRecord(lab, found), wish.command)
  } else {
    throw new Refusal('name a pod as NAMESPACE/POD, or a node with --node')
  }
  lab.api.close()
  return runHere('nsenter', args)
}

function runHere(command: string, args: readonly string[]): Promise<number> {
  // Ctrl-C reaches the command by the terminal; this process stays for its exit code.
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, () => undefined)
  // cwd: the folder of the caller need not exist where the command runs.
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` }
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', env, cwd: '/' })
    process.once('SIGTERM', () => child.kill('SIGTERM'))
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal ? constants.signals[signal] : 0))
    })
  })
}
