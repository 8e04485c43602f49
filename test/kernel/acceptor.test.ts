// The acceptor where the process has no fd left.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { createInterface } from 'node:readline'
import test from 'node:test'

const acceptor = new URL('../../agent/kernel/acceptor.ts', import.meta.url).href
const nativeDoor = new URL('../../agent/kernel/native.ts', import.meta.url).href

/** Accepts with every fd taken, and frees them after half a second. */
const PROGRAM = `
import { closeSync, openSync } from 'node:fs'
import { openAcceptor } from '${acceptor}'
import { native } from '${nativeDoor}'
const listener = native().listenIn(-1, -1, '127.0.0.1', 0, 64)
let faults = 0, code = '', used = process.cpuUsage()
openAcceptor(listener, {
  onAccept: (fd) => {
    const { user, system } = process.cpuUsage(used)
    native().closeFd(fd)
    console.log(JSON.stringify({ faults, code, cpuMs: (user + system) / 1000 }))
    process.exit(0)
  },
  onFault: (error) => { faults++; code = error.code },
})
console.log(native().ends(listener).localPort)
process.stdin.once('data', () => {
  const taken = []
  try { for (;;) taken.push(openSync('/dev/null')) } catch {}
  used = process.cpuUsage()
  console.error('full')
  setTimeout(() => taken.forEach((fd) => closeSync(fd)), 500)
})
`

test(
  'without fds accepting pauses instead of spinning, and goes on when there are some',
  { timeout: 20_000 },
  async () => {
    const command = ['-c', 'ulimit -n 128; exec "$0" --input-type=module -e "$1"', process.execPath, PROGRAM]
    const child = spawn('sh', command, { stdio: 'pipe' })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const port = Number((await lines.next()).value)
    child.stdin.write('fill\n')
    await once(child.stderr, 'data')
    const client = net.connect(port, '127.0.0.1').on('error', () => undefined)
    const report = JSON.parse(String((await lines.next()).value)) as { faults: number; code: string; cpuMs: number }
    assert.equal(report.code, 'EMFILE')
    assert.ok(report.faults >= 2 && report.faults <= 8, `${report.faults} attempts in 500 ms`)
    assert.ok(report.cpuMs < 200, `${report.cpuMs} ms of CPU`)
    client.destroy()
    if (child.exitCode === null) await once(child, 'exit')
  },
)
