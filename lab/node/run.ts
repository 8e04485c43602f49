// Runs the machine's own tools (ip, nft, mount…) with bounded time and output, and turns a failure into one sentence.
import { spawn } from 'node:child_process'

/** A tool may run this long before it is killed. */
export const TOOL_TIMEOUT_MS = 20_000
/** Output kept of a tool; what is beyond is dropped. */
export const TOOL_OUTPUT_BYTES = 1 << 20

export interface ToolResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a tool to its end with `input` on its standard input. Never throws on a non-zero exit; throws when it cannot start. */
export function runTool(command: string, args: readonly string[], input = ''): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: TOOL_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    })
    const out = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8')
      child[name].on('data', (text: string) => {
        if (out[name].length < TOOL_OUTPUT_BYTES) out[name] += text
      })
    }
    child.on('error', (cause) => {
      reject(new Error(`cannot run ${command}: ${cause.message}`, { cause }))
    })
    child.on('close', (code, signal) => {
      resolve({
        code: code ?? 128,
        stdout: out.stdout,
        stderr: signal ? `${out.stderr}killed by ${signal}` : out.stderr,
      })
    })
    // A tool that ends before reading its input closes the pipe; its exit code tells the story.
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
  })
}

/** Like runTool, but throws an Error with the tool's own words unless it exits 0. Returns its standard output. */
export async function mustRun(command: string, args: readonly string[], input = ''): Promise<string> {
  const result = await runTool(command, args, input)
  if (result.code === 0) return result.stdout
  const said = (result.stderr.trim() || result.stdout.trim() || 'it said nothing').split('\n').slice(0, 4).join('; ')
  throw new Error(`${command} ${args.join(' ')} failed (${String(result.code)}): ${said}`)
}

/** Runs lines of `ip` as one batch, inside network namespace `netns` when given. */
export async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  const where = netns === undefined ? [] : ['-n', netns]
  await mustRun('ip', [...where, '-batch', '-'], lines.join('\n') + '\n')
}

/** Quotes a word for /bin/sh. */
export const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`
