// Starts a stand-in application as a lab pod would, on loopback, and ends it with the test.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { resolveImage } from '../../lab/apps/images.ts'

const START_LIMIT_MS = 10_000

/** What came out of a JSON answer: asserted, not typed. */
export type Json = ReturnType<typeof JSON.parse>

export interface Running {
  readonly ports: readonly number[]
  readonly url: string
  readonly child: ChildProcess
  /** Sends SIGTERM and resolves with the exit code. */
  readonly stop: () => Promise<number | null>
  readonly output: () => string
}

/** Runs `image` with `args` (port 0: the kernel chooses) and resolves once it listens on every port. */
export async function running(
  t: TestContext,
  image: string,
  args: string[] = ['0'],
  env: Record<string, string> = {},
): Promise<Running> {
  const standIn = resolveImage(image)
  if (!standIn) throw new Error(`no stand-in for ${image}`)
  // Images without an entrypoint take the whole command as args: there only the port is replaced.
  const line = standIn.command.length > 0 ? [...standIn.command, ...args] : [...standIn.args.slice(0, 2), ...args]
  const child = spawn(line[0]!, line.slice(1), {
    env: { PATH: process.env['PATH'], ...standIn.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  let output = ''
  const ports = await new Promise<number[]>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${image} did not listen:\n${output}`)), START_LIMIT_MS)
    const read = (chunk: Buffer) => {
      output += chunk.toString()
      const found = [...output.matchAll(/listens on port (\d+)/g)].map((match) => Number(match[1]))
      if (found.length < (args[0] ?? '').split(',').length) return
      clearTimeout(late)
      resolve(found)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('exit', (code) => {
      clearTimeout(late)
      reject(new Error(`${image} ended with ${code}:\n${output}`))
    })
  })
  const stop = async () => {
    child.kill('SIGTERM')
    const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode]
    return code as number | null
  }
  return { ports, url: `http://127.0.0.1:${ports[0]}`, child, stop, output: () => output }
}
