// A virtual machine that boots a kernel and is gone when the kernel switches it off, or after a bounded time. All in
// software: it needs no KVM, and therefore no rights.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Unpacked } from './packages.ts'

/** Boot and tests together; beside a busy machine they take several times what they take alone. */
const LIMIT_S = 300

/** After that it is killed. */
const GRACE_S = 5

const CONSOLE_BOUND = 1 << 20

/** quiet: errors alone come between the lines of the smoke program. panic=-1: a panic is the end, at once. */
const COMMAND_LINE = 'console=ttyS0 quiet panic=-1'

const QEMU = [
  ...['-accel', 'tcg', '-cpu', 'max', '-m', '1024', '-smp', '1'],
  ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
]

/** What a run came to. */
export interface Run {
  /** What the console and qemu said, at most its last CONSOLE_BOUND characters. */
  readonly console: string
  /** Seconds until init had started the smoke program; null: it never did. */
  readonly bootedS: number | null
  readonly totalS: number
}

/** Boots; returns when the machine is gone. */
export async function boot(kernel: Unpacked, initrd: string, signal: AbortSignal): Promise<Run> {
  const started = performance.now()
  const elapsedS = (): number => (performance.now() - started) / 1000
  const args = [...QEMU, '-kernel', kernel.image, '-initrd', initrd, '-append', COMMAND_LINE]
  // timeout ends it also where nobody is left to do so
  const qemu = spawn('timeout', ['-k', `${GRACE_S}`, `${LIMIT_S}`, 'qemu-system-x86_64', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const stop = (): void => void qemu.kill('SIGTERM')
  signal.addEventListener('abort', stop)
  let said = ''
  let bootedS: number | null = null
  const hear = (chunk: string): void => {
    said = (said + chunk.replaceAll('\r', '')).slice(-CONSOLE_BOUND)
    if (/^booted$/m.test(said)) bootedS ??= elapsedS()
  }
  qemu.stdout.setEncoding('utf8').on('data', hear)
  qemu.stderr.setEncoding('utf8').on('data', hear)
  try {
    await once(qemu, 'close')
  } finally {
    signal.removeEventListener('abort', stop)
  }
  const totalS = elapsedS()
  if (totalS >= LIMIT_S) said += `\nended: it was not over after ${LIMIT_S} s\n`
  return { console: said, bootedS, totalS }
}
