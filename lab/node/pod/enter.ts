// Entering a running container: the command line that puts a process beside its main one.
import { join } from 'node:path'
import { quote } from '../run.ts'
import { type ContainerRecord, environmentWords } from './launch.ts'

/** Arguments of nsenter(1) to run `argv` in the container's namespaces, cgroup, folder and environment, with its rights. */
export function enterArgs(record: ContainerRecord, argv: readonly string[]): string[] {
  const env = environmentWords(record.env).map(quote).join(' ')
  const script = [
    `echo $$ >${quote(join(record.cgroup, 'cgroup.procs'))}`,
    `exec ${record.rights.map(quote).join(' ')} env -i -C ${quote(record.workingDir)} ${env} "$@"`,
  ].join(' && ')
  const spaces = ['--target', String(record.pid), '--mount', '--uts', '--net', '--root', '--wd']
  return [...spaces, '/bin/sh', '-c', script, 'sh', ...argv]
}
